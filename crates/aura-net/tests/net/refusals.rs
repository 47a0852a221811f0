//! Who is refused, by the side that listens and by the side that dials.

use std::sync::Arc;

use aura_net::{
    Clock, Dialer, Expect, LinkEvent, ListenConfig, Listener, link,
    tls::{ALPN_JOIN, ALPN_LINK},
};
use aura_proto::{Code, message::Role, session::Side};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::team::{
    Member, Team, addrs, calendar, mothership, nobody_left, nobody_revoked, only_revoked,
};

#[tokio::test]
async fn a_member_and_the_mothership_know_each_other_and_share_a_secret() {
    let team = Team::new();
    let (server, member) = (team.member(Role::Mothership), team.member(Role::Agent));
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let expect = Expect {
        role: Role::Mothership,
        peer: Some(server.peer),
    };
    let dialed = member.dialer(expect).race(&addrs(&listener)).await.unwrap();
    let incoming = listener.next().await.unwrap();
    let identity = incoming.identity.unwrap();
    assert_eq!(
        (identity.team, identity.role, identity.peer),
        (team.id(), Role::Agent, member.peer)
    );
    assert_eq!(
        (dialed.identity.role, dialed.identity.peer),
        (Role::Mothership, server.peer)
    );
    assert_eq!(dialed.exporter, incoming.exporter);
    assert_ne!(dialed.exporter, [0; 32]);
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_refused_by_who_listens() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let revoked = team.member(Role::Member);
    let mut listener = team.listener(&server.credentials, only_revoked(revoked.peer));
    let mut bad = team.bad(Role::Member);
    bad.push(("the Mothership's own", team.member(Role::Mothership)));
    let disguised = team.odd(Role::Mothership, &["OWN".to_owned()], false);
    bad.push(("the Mothership's role with a client's usage", disguised));
    bad.push(("revoked", revoked));
    for (what, member) in bad {
        let code = refused_code(&mut listener, &member).await;
        let expected = match what {
            "revoked" => Code::REVOKED,
            what if what.contains("expired") || what.contains("not yet") => Code::BYE,
            _ => Code::UNKNOWN_PEER,
        };
        assert_eq!(code, expected, "{what}");
        nobody_left(&listener).await;
    }
    // The listener is as good as before.
    assert!(
        team.member(Role::Member)
            .dialer(mothership())
            .race(&addrs(&listener))
            .await
            .is_ok()
    );
    assert!(listener.next().await.is_some());
}

#[tokio::test]
async fn a_server_without_a_good_certificate_is_refused_by_who_dials() {
    let team = Team::new();
    let member = team.member(Role::Member);
    for (what, server) in team.bad(Role::Mothership) {
        let mut listener = team.listener(&server.credentials, nobody_revoked());
        let result = member.dialer(mothership()).race(&addrs(&listener)).await;
        let attempts = match result {
            Ok(_) => panic!("{what}: accepted"),
            Err(error) => error.to_string(),
        };
        let word = match what {
            "expired" => "CERTIFICATE_EXPIRED",
            "not yet valid" => "CERTIFICATE_NOT_YET_VALID",
            "without a name" | "with two names" | "wrong team" => "IDENTITY_MISMATCH",
            _ => "",
        };
        assert!(attempts.contains(word), "{what}: {attempts}");
        nothing_came(&mut listener).await;
    }
}

#[tokio::test]
async fn a_revoked_peer_is_refused_by_who_dials_it() {
    let team = Team::new();
    let (answering, dialling) = (team.member(Role::Member), team.member(Role::Member));
    let listener = team.listener(&answering.credentials, nobody_revoked());
    let expect = Expect {
        role: Role::Member,
        peer: Some(answering.peer),
    };
    let revoked = only_revoked(answering.peer);
    let dialer = Dialer::member(&dialling.credentials, expect, revoked, &calendar()).unwrap();
    assert!(
        dialer
            .race(&addrs(&listener))
            .await
            .is_err_and(|error| error.has("REVOKED"))
    );
}

#[tokio::test]
async fn a_member_that_answers_as_the_mothership_is_a_role_mismatch() {
    let team = Team::new();
    let (trap, victim) = (team.member(Role::Admin), team.member(Role::Member));
    let mut listener = team.listener(&trap.credentials, nobody_revoked());
    let result = victim.dialer(mothership()).race(&addrs(&listener)).await;
    assert!(result.is_err_and(|error| error.has("ROLE_MISMATCH")));
    nothing_came(&mut listener).await;
}

#[tokio::test]
async fn the_mothership_that_answers_as_a_member_is_a_role_mismatch() {
    let team = Team::new();
    let (server, member) = (team.member(Role::Mothership), team.member(Role::Member));
    let listener = team.listener(&server.credentials, nobody_revoked());
    let expect = Expect {
        role: Role::Member,
        peer: Some(server.peer),
    };
    let result = member.dialer(expect).race(&addrs(&listener)).await;
    assert!(result.is_err_and(|error| error.has("ROLE_MISMATCH")));
}

#[tokio::test]
async fn another_member_than_the_one_dialled_is_an_identity_mismatch() {
    let team = Team::new();
    let (wanted, found, dialling) = (
        team.member(Role::Member),
        team.member(Role::Member),
        team.member(Role::Member),
    );
    let mut listener = team.listener(&found.credentials, nobody_revoked());
    let expect = Expect {
        role: Role::Member,
        peer: Some(wanted.peer),
    };
    let result = dialling.dialer(expect).race(&addrs(&listener)).await;
    assert!(result.is_err_and(|error| error.has("IDENTITY_MISMATCH")));
    nothing_came(&mut listener).await;
}

#[tokio::test]
async fn a_newcomer_reaches_the_server_whose_authority_its_token_names() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let dialer = Dialer::newcomer(team.ca.public_key_hash(), &calendar()).unwrap();
    let dialed = dialer.race(&addrs(&listener)).await.unwrap();
    let incoming = listener.next().await.unwrap();
    assert!(
        incoming.identity.is_none(),
        "a newcomer has no identity yet"
    );
    assert_eq!(dialed.identity.peer, server.peer);
    assert_eq!(dialed.exporter, incoming.exporter);
    assert!(
        dialed
            .certificates
            .contains(&team.ca.certificate().to_vec())
    );
}

#[tokio::test]
async fn a_look_alike_with_another_authority_receives_nothing_from_a_newcomer() {
    let (team, look_alike) = (Team::new(), Team::new());
    let trap = look_alike.member(Role::Mothership);
    // It may even show our authority's certificate: its leaf is not signed by it.
    let mut borrowed = trap.credentials.clone();
    borrowed.ca = team.ca.certificate().to_vec();
    for (credentials, word) in [(&trap.credentials, "SERVER_PIN_MISMATCH"), (&borrowed, "")] {
        let mut listener = look_alike.listener_with_any(credentials);
        let dialer = Dialer::newcomer(team.ca.public_key_hash(), &calendar()).unwrap();
        let error = dialer
            .race(&addrs(&listener))
            .await
            .err()
            .expect("a look-alike was believed");
        assert!(error.to_string().contains(word), "{error}");
        nothing_came(&mut listener).await;
    }
}

#[tokio::test]
async fn a_member_cannot_pose_as_the_server_towards_a_newcomer() {
    let team = Team::new();
    let trap = team.member(Role::Admin);
    let mut listener = team.listener(&trap.credentials, nobody_revoked());
    let dialer = Dialer::newcomer(team.ca.public_key_hash(), &calendar()).unwrap();
    assert!(
        dialer
            .race(&addrs(&listener))
            .await
            .is_err_and(|error| error.has("ROLE_MISMATCH"))
    );
    nothing_came(&mut listener).await;
}

#[tokio::test]
async fn a_client_without_a_certificate_or_without_our_protocol_is_refused() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let member = team.member(Role::Member);
    let cases = [
        ("no certificate", None, Some(ALPN_LINK)),
        ("no protocol", Some(&member), None),
        ("another protocol", Some(&member), Some(&b"h2"[..])),
    ];
    for (what, member, alpn) in cases {
        let refused = match raw(&listener, &careless(member, alpn)).await {
            Err(_) => true,
            Ok(mut stream) => stream.read_u8().await.is_err(),
        };
        assert!(refused, "{what}");
        nothing_came(&mut listener).await;
    }
    assert!(
        raw(&listener, &careless(None, Some(ALPN_JOIN)))
            .await
            .is_ok()
    );
    assert!(listener.next().await.is_some());
}

#[tokio::test]
async fn who_enrols_nobody_begins_no_session_with_strangers() {
    let team = Team::new();
    let device = team.member(Role::Member);
    let config = ListenConfig {
        calendar: calendar(),
        enrols: false,
        ..ListenConfig::default()
    };
    let mut listener = team.listener_with(&device.credentials, nobody_revoked(), config);
    let refused = raw(&listener, &careless(None, Some(ALPN_JOIN))).await;
    assert!(refused.is_err());
    nothing_came(&mut listener).await;
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let mut stream = TcpStream::connect(listener.local()).await.unwrap();
    stream.write_all(&tls12_hello()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // Record type 21 is an alert, level 2 fatal, description 70 protocol_version.
    assert_eq!((answer[0], &answer[5..7]), (21, &[2, 70][..]));
    nothing_came(&mut listener).await;
}

#[tokio::test]
async fn no_session_ever_resumes_another() {
    let team = Team::new();
    let (server, member) = (team.member(Role::Mothership), team.member(Role::Member));
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let mut config = careless(Some(&member), Some(ALPN_LINK));
    config.resumption = Resumption::in_memory_sessions(64);
    config.enable_early_data = true;
    for round in 0..20 {
        let mut stream = raw(&listener, &config).await.unwrap();
        assert_eq!(
            stream.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Full),
            "round {round}"
        );
        assert!(!stream.get_ref().1.is_early_data_accepted());
        let mut incoming = listener.next().await.unwrap();
        // A ticket would come before the first byte of the application.
        incoming.stream.write_all(b"x").await.unwrap();
        incoming.stream.flush().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_new_socket() {
    let team = Team::new();
    let (old, new) = (team.member(Role::Mothership), team.member(Role::Mothership));
    let mut listener = team.listener(&old.credentials, nobody_revoked());
    let member = team.member(Role::Member);
    let first = member
        .dialer(mothership())
        .race(&addrs(&listener))
        .await
        .unwrap();
    listener.renewer().renew(&new.credentials).unwrap();
    let second = member
        .dialer(mothership())
        .race(&addrs(&listener))
        .await
        .unwrap();
    assert_eq!(
        (first.identity.peer, second.identity.peer),
        (old.peer, new.peer)
    );
    assert!(listener.next().await.is_some() && listener.next().await.is_some());
}

impl Team {
    /// A listener that does not check its own certificate against its team.
    fn listener_with_any(&self, credentials: &aura_net::Credentials) -> Listener {
        self.listener(credentials, nobody_revoked())
    }
}

/// Dials as `member` and says with what code the link ends.
async fn refused_code(listener: &mut Listener, member: &Member) -> Code {
    let dialed = member
        .dialer(mothership())
        .race(&addrs(listener))
        .await
        .unwrap();
    let (_handle, _, mut events) =
        link::spawn(dialed.stream, Side::Client, false, &[], Clock::start());
    tokio::select! {
        event = events.recv() => match event {
            Some(LinkEvent::Closed { code, by_peer: true, .. }) => code,
            // An ended certificate is no verdict: it can be renewed.
            Some(LinkEvent::Closed { detail, .. }) if detail.contains("CertificateExpired") => {
                Code::BYE
            }
            other => panic!("{other:?}"),
        },
        _ = listener.next() => panic!("accepted"),
    }
}

/// Asserts that no handshake was finished, once all have ended.
async fn nothing_came(listener: &mut Listener) {
    nobody_left(listener).await;
    let now = std::future::ready(());
    tokio::select! {
        biased;
        _ = listener.next() => panic!("a handshake was finished"),
        () = now => {}
    }
}

async fn raw(listener: &Listener, config: &ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(listener.local()).await?;
    let name = ServerName::IpAddress(listener.local().ip().into());
    TlsConnector::from(Arc::new(config.clone()))
        .connect(name, tcp)
        .await
}

/// A client that believes everybody.
fn careless(member: Option<&Member>, alpn: Option<&[u8]>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless));
    let mut config = match member {
        None => builder.with_no_client_auth(),
        Some(member) => {
            let chain = vec![CertificateDer::from(member.credentials.certificate.clone())];
            let key = PrivatePkcs8KeyDer::from(member.credentials.key.to_vec());
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
                .unwrap()
        }
    };
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    config
}

#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A ClientHello that speaks TLS 1.2 and offers our protocol.
fn tls12_hello() -> Vec<u8> {
    let alpn = [&[0, 16, 0, 9, 0, 7, 6][..], ALPN_LINK].concat();
    let schemes = [0, 13, 0, 4, 0, 2, 8, 7];
    let groups = [0, 10, 0, 4, 0, 2, 0, 29];
    let extensions = [&alpn[..], &schemes, &groups].concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[42; 32]);
    // No session, ECDHE-ECDSA with AES-128-GCM, no compression.
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut message = vec![1, 0];
    message.extend_from_slice(&(body.len() as u16).to_be_bytes());
    message.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(message.len() as u16).to_be_bytes());
    record.extend_from_slice(&message);
    record
}
