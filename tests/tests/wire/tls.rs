//! B. TLS, certificates, revocation.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use aura_net::{
    Clock, Credentials, Listener,
    tls::{ALPN_JOIN, ALPN_LINK},
};
use aura_proto::{
    Code,
    message::{Message, PeerEvent, PeerState, Role, feature},
    session::Class,
};
use aura_trust::{Ca, IdentityKey, TlsKey, public_key_hash};
use mothership_tests::{
    Laptop, Mothership, Team,
    papers::{self, Odd},
    raw::{self, careless, careless_member, is_refused, shake, tls12_hello},
    scene::Scene,
    wire::{Device, hello, next, refused},
};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{ClientConnection, HandshakeKind, client::Resumption};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn case_018_a_certificate_that_is_not_a_members_gets_nobody_in() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let listen = &scene.mothership.listen;
    for (what, credentials) in bad_members(&scene, &eve) {
        let config = careless_member(&credentials);
        assert!(is_refused(listen, config).await, "{what}");
    }
    let long = chain_of(20, &eve);
    let config = careless(&long, &eve.tls.pkcs8(), &[ALPN_LINK]);
    assert!(is_refused(listen, config).await, "a chain of 20");
    // What was wrong with the others was the certificate.
    assert!(!is_refused(listen, careless_member(&eve.credentials)).await);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_019_nothing_but_tls_1_3_with_a_protocol_of_ours_is_spoken() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let listen = &scene.mothership.listen;
    let chain = [eve.credentials.certificate.clone()];
    for alpn in ["", "h2", "aura/0", "AURA/1"] {
        let alpn: Vec<&[u8]> = alpn.split_terminator(' ').map(str::as_bytes).collect();
        let config = careless(&chain, &eve.tls.pkcs8(), &alpn);
        assert!(is_refused(listen, config).await, "{alpn:?}");
    }
    let mut stream = TcpStream::connect(listen).await.unwrap();
    stream.write_all(&tls12_hello()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // Record type 21 is an alert, level 2 fatal, description 70 protocol_version.
    assert_eq!((answer[0], &answer[5..7]), (21, &[2, 70][..]));
    // Without a certificate only enrolment is served.
    assert!(is_refused(listen, careless(&[], &[], &[ALPN_LINK])).await);
    let joining = Arc::new(careless(&[], &[], &[ALPN_JOIN]));
    assert!(shake(listen, &joining).await.is_ok());
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_020_a_member_that_answers_as_the_mothership_hears_nothing() {
    let team = Team::new();
    let mut mothership = team.serve("127.0.0.1:0");
    let alice = team.founder(&mothership, "live");
    let invite = team.invite();
    let trap = Device::join(&team.invite(), "trap").await.unwrap();
    mothership.signal("-TERM");
    let mut listener = listen(&mothership, &trap.credentials).await;
    let why = restarted(&alice);
    assert!(why.contains("ROLE_MISMATCH"), "{why}");
    let status = alice.aura(&["status", "--exit-code"]);
    assert_eq!(
        (status.exit, &status.json["link"]["state"]),
        (6, &"offline".into())
    );
    // Nor does a newcomer say anything.
    let bob = team.laptop("bob");
    bob.join(&invite, "bob", "live").fails(4, "ROLE_MISMATCH");
    nobody_came(&mut listener).await;
    // With the trap gone everything is as it was.
    drop(listener);
    let listen = mothership.listen.clone();
    drop(mothership);
    let _mothership = team.serve(&listen);
    alice
        .aura(&["wait", "--for", "synced", "--timeout", "60s"])
        .ok();
    bob.join(&invite, "bob", "live").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn h09_both_ends_refuse_whoever_the_authority_does_not_vouch_for() {
    let team = Team::new();
    let mut mothership = team.serve("127.0.0.1:0");
    let alice = team.founder(&mothership, "live");
    let ca = papers::authority(&team.state());
    let (key, now_s) = (papers::mothership_key(&team.state()), now_s());
    let tls = TlsKey::from_seed([7; 32]);
    let odd = || Odd::of(ca.team(), Role::Mothership, key.peer(), now_s);
    let stranger = Ca::create([8; 32], [8; 16], now_s, "stranger").unwrap();
    let ended = Odd {
        valid_s: (now_s - 7_200, now_s - 3_600),
        ..odd()
    };
    let early = Odd {
        valid_s: (now_s + 600, now_s + 7_200),
        ..odd()
    };
    let client = Odd {
        usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
        ..odd()
    };
    let of_stranger = Odd::of(stranger.team(), Role::Mothership, key.peer(), now_s);
    let other = IdentityKey::from_seed([9; 32]).peer();
    let servers = [
        ("UnknownIssuer", odd().signed_by(&stranger, &tls)),
        ("UnknownIssuer", odd().self_signed(&tls)),
        ("CERTIFICATE_EXPIRED", ended.signed_by(&ca, &tls)),
        ("CERTIFICATE_NOT_YET_VALID", early.signed_by(&ca, &tls)),
        ("extended key usage", client.signed_by(&ca, &tls)),
        ("IDENTITY_MISMATCH", of_stranger.signed_by(&ca, &tls)),
        (
            "IDENTITY_MISMATCH",
            papers::issued(&ca, Role::Mothership, other, &tls, now_s),
        ),
    ];
    mothership.signal("-TERM");
    for (word, server) in servers {
        let mut listener = listen(&mothership, &server).await;
        let why = restarted(&alice);
        assert!(why.contains(word), "{word}: {why}");
        nobody_came(&mut listener).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_022_a_name_in_a_certificate_says_nothing() {
    let scene = Scene::new().await;
    let mut bob = scene.join("bob").await;
    let mut admin = scene.admin.connect().await.unwrap();
    let ca = papers::authority(&scene.team.state());
    let disguise = Odd {
        common_name: "admin".to_owned(),
        ..Odd::of(ca.team(), Role::Admin, bob.key.peer(), now_s())
    };
    bob.credentials = disguise.signed_by(&ca, &bob.tls);
    let _link = bob.connect().await.unwrap();
    let came = loop {
        match next(&mut admin.events).await.unwrap() {
            (_, Message::Peer(PeerEvent::State { peer, state, .. }))
                if peer != scene.admin.key.peer() =>
            {
                break (peer, state);
            }
            _ => {}
        }
    };
    assert_eq!(came, (bob.key.peer(), PeerState::Online));
    let peers = scene.peers();
    let row = peers
        .iter()
        .find(|peer| peer["peer"] == bob.key.peer().to_string());
    let row = row.unwrap();
    assert_eq!(
        (&row["name"], &row["state"]),
        (&"bob".into(), &"online".into())
    );
    // Nor does the role in a certificate make an admin: the list of members says member.
    assert_eq!(row["role"], "member");
    drop((admin, _link));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_024_no_session_is_ever_resumed_and_a_removed_device_stays_out() {
    let scene = Scene::new().await;
    let bob = scene.join("bob").await;
    let mut config = careless_member(&bob.credentials);
    config.resumption = Resumption::in_memory_sessions(256);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for round in 0..100 {
        let mut stream = shake(&scene.mothership.listen, &config).await.unwrap();
        let greeting = raw::message(Class::Control, 0, &Message::Hello(hello(feature::ALL)));
        stream.write_all(&greeting).await.unwrap();
        stream.flush().await.unwrap();
        // A ticket would come before the first byte of the application.
        stream.read_u8().await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(
            session.handshake_kind(),
            Some(HandshakeKind::Full),
            "round {round}"
        );
        assert_eq!(session.tls13_tickets_received(), 0);
        assert!(!session.is_early_data_accepted());
    }
    scene.team.mothership(&["peer", "revoke", "bob"]).ok();
    assert!(is_refused(&scene.mothership.listen, (*config).clone()).await);
    assert_eq!(refused(bob.connect().await.map(drop)), Code::REVOKED);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_026_a_removed_device_gets_no_fresh_certificate() {
    let scene = Scene::new().await;
    let bob = scene.join("bob").await;
    let fresh = TlsKey::from_seed([7; 32]);
    // Before, both keys may be renewed; the certificate that comes is of use.
    for tls in [&bob.tls, &fresh] {
        bob.renew(tls).await.unwrap();
    }
    scene.team.mothership(&["peer", "revoke", "bob"]).ok();
    for tls in [&bob.tls, &fresh] {
        assert_eq!(refused(bob.renew(tls).await), Code::REVOKED);
    }
    // Under another identity it is nobody.
    let nobody = Device {
        key: IdentityKey::from_seed([9; 32]),
        ..bob
    };
    assert_eq!(refused(nobody.renew(&fresh).await), Code::UNKNOWN_PEER);
    // With the identity and the token that it once had it stays out.
    assert_eq!(
        refused(Device::join(&scene.invite, "bob").await),
        Code::TOKEN_REPLAYED
    );
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_031_what_is_sent_before_the_handshake_has_ended_is_never_processed() {
    let scene = Scene::new().await;
    let bob = scene.join("bob").await;
    let config = Arc::new(careless_member(&bob.credentials));
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut flight = Vec::new();
    session.write_tls(&mut flight).unwrap();
    // A record of application data, as early data is, right behind the ClientHello.
    let greeting = raw::message(Class::Control, 0, &Message::Hello(hello(feature::ALL)));
    flight.extend([23, 3, 3, 0, greeting.len() as u8]);
    flight.extend(&greeting);
    let mut tcp = std::net::TcpStream::connect(&scene.mothership.listen).unwrap();
    tcp.write_all(&flight).unwrap();
    let mut answer = Vec::new();
    let ended = session
        .complete_io(&mut tcp)
        .and_then(|_| rustls::Stream::new(&mut session, &mut tcp).read_to_end(&mut answer));
    let ended = ended.unwrap_err().downcast::<rustls::Error>().unwrap();
    // The record does not decrypt under any key of the session.
    let alert = rustls::AlertDescription::BadRecordMac;
    assert_eq!(ended, rustls::Error::AlertReceived(alert));
    assert_eq!(answer, b"");
    scene.is_calm().await;
}

/// Certificates for a client that nobody of the team may accept, with what is wrong.
fn bad_members(scene: &Scene, of: &Device) -> Vec<(&'static str, Credentials)> {
    let ca = papers::authority(&scene.team.state());
    let stranger = Ca::create([8; 32], [8; 16], now_s(), "stranger").unwrap();
    let (tls, peer, now_s) = (&of.tls, of.key.peer(), now_s());
    let odd = || Odd::of(ca.team(), Role::Member, peer, now_s);
    let server = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let two = vec![odd().names.remove(0), "https://a.example".to_owned()];
    let box_key = scene.admin.grant.checkpoint_key;
    vec![
        ("self-signed", odd().self_signed(tls)),
        ("other authority", odd().signed_by(&stranger, tls)),
        (
            "expired",
            Odd {
                valid_s: (now_s - 7_200, now_s - 60),
                ..odd()
            }
            .signed_by(&ca, tls),
        ),
        (
            "not yet valid",
            Odd {
                valid_s: (now_s + 600, now_s + 7_200),
                ..odd()
            }
            .signed_by(&ca, tls),
        ),
        (
            "for servers",
            Odd {
                usages: server,
                ..odd()
            }
            .signed_by(&ca, tls),
        ),
        (
            "of an authority",
            Odd {
                is_ca: true,
                ..odd()
            }
            .signed_by(&ca, tls),
        ),
        (
            "without a name",
            Odd {
                names: Vec::new(),
                ..odd()
            }
            .signed_by(&ca, tls),
        ),
        (
            "with two names",
            Odd {
                names: two,
                ..odd()
            }
            .signed_by(&ca, tls),
        ),
        (
            "of another team",
            Odd::of(stranger.team(), Role::Member, peer, now_s).signed_by(&ca, tls),
        ),
        (
            "the Mothership's",
            papers::issued(&ca, Role::Mothership, box_key, tls, now_s),
        ),
    ]
}

/// A leaf under a chain of `len` certificates that begins at an authority of its own.
fn chain_of(len: usize, of: &Device) -> Vec<Vec<u8>> {
    let now_s = now_s();
    let mut chain = Vec::new();
    let mut above = Ca::create([20; 32], [20; 16], now_s, "top").unwrap();
    for n in 1..len - 1 {
        let below = Ca::create([n as u8; 32], [n as u8; 16], now_s, "between").unwrap();
        chain.insert(0, below.certificate().to_vec());
        above = below;
    }
    let leaf = Odd::of(of.team(), Role::Member, of.key.peer(), now_s).signed_by(&above, &of.tls);
    chain.insert(0, leaf.certificate);
    chain
}

/// Listens in the place of a Mothership that was stopped.
async fn listen(stopped: &Mothership, credentials: &Credentials) -> Listener {
    let addr: SocketAddr = stopped.listen.parse().unwrap();
    let (_, team) = public_key_hash(&credentials.ca).unwrap();
    let bound = async {
        loop {
            // Whoever listened here before may still be letting go.
            match Listener::bind(addr, credentials, team, Arc::new(|_| false)) {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), bound)
        .await
        .unwrap()
}

/// Starts the daemon anew; why it is offline.
fn restarted(laptop: &Laptop) -> String {
    laptop.aura(&["down"]).ok();
    laptop.aura(&["up"]).ok();
    let offline = laptop.event(|event| event["kind"] == "link");
    offline["text"].as_str().unwrap().to_owned()
}

/// Asserts that no handshake was finished, once all have ended.
async fn nobody_came(listener: &mut Listener) {
    while listener.strangers() != 0 {
        tokio::task::yield_now().await;
    }
    tokio::select! {
        biased;
        _ = listener.next() => panic!("a handshake was finished"),
        () = std::future::ready(()) => {}
    }
}

fn now_s() -> u64 {
    Clock::start().wall_ms() / 1_000
}
