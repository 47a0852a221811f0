//! C12: peers of other ages. The Mothership that lacks something is played in the simulation of the engine.

use std::{net::SocketAddr, sync::Arc};

use aura_net::{Clock, Listener};
use aura_proto::{
    AgedActivity, Code, LogId, SignedActivity,
    event::EventRun,
    limits::AUTH_MS_MAX,
    message::{Message, Outcome, Role, feature},
};
use aura_trust::{TlsKey, sign_activity};
use mothership_tests::{
    Team,
    follower::Follower,
    papers,
    raw::Raw,
    scene::{Scene, in_time},
    wire::{Device, Wire, next},
};

const LOG: LogId = LogId([7; 16]);

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_peer_that_lacks_a_feature_meets_nothing_of_it_and_gets_the_same_state() {
    let scene = Scene::new().await;
    let mut author = scene.join("author").await;
    let mut writes = author.connect().await.unwrap();
    let first = author.entry(LOG, b"first").unwrap();
    writes.store(LOG, &[first]).await.unwrap();
    let worker = works(&scene).await;
    let mut peers = Vec::new();
    for features in 0..=feature::ALL {
        peers.push(Peer::new(&scene, features).await);
    }
    let last = author.entry(LOG, b"last").unwrap();
    let outcomes = writes.store(LOG, &[last]).await.unwrap();
    let [Outcome::Stored { seq, .. }] = outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(seq, 2 + peers.len() as u64);
    let mut state = None;
    for peer in &mut peers {
        peer.reach(seq).await;
        // A circuit is offered only when somebody asks for one.
        assert_eq!(peer.met, peer.wire.welcome.features & !feature::RELAY);
        assert_eq!(*state.get_or_insert(peer.copy.cursor), peer.copy.cursor);
    }
    drop((peers, writes, worker));
    scene.is_calm().await;
}

/// A device that has said what it works on.
async fn works(scene: &Scene) -> Wire {
    let device = scene.join("worker").await;
    let mut wire = device.connect().await.unwrap();
    Follower::new(LOG).subscribe(&mut wire).await.unwrap();
    let unsigned = SignedActivity {
        log: LOG,
        writer: device.writer(),
        counter: 1,
        key_epoch: 1,
        sealed: vec![0; 40],
        signature: Vec::new(),
    };
    let said = sign_activity(&device.key, device.team(), unsigned);
    let words = vec![AgedActivity { said, age_ms: 0 }];
    wire.send(0, &Message::Activity(words));
    // What was sent before it has been handled when this is answered.
    wire.heartbeat(1, &[LOG]).await.unwrap();
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_peer_that_says_nothing_is_let_go_and_may_come_again() {
    let scene = Scene::new().await;
    let bob = scene.join("bob").await;
    let raw = Raw::dial(&bob).await.unwrap();
    let clock = Clock::start();
    assert_eq!(raw.until_closed(b"").await, Some(Code::TIMEOUT));
    in_time(clock.mono_ms(), AUTH_MS_MAX + 1_000);
    let mut peer = Peer::new(&scene, feature::ALL).await;
    peer.reach(1).await;
    drop(peer);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_mothership_that_says_nothing_is_left_and_tried_again() {
    let team = Team::new();
    let mut mothership = team.serve("127.0.0.1:0");
    let alice = team.founder(&mothership, "live");
    alice.synced();
    mothership.signal("-TERM");
    // Its certificate is good, and it never greets.
    let ca = papers::authority(&team.state());
    let peer = papers::mothership_key(&team.state()).peer();
    let (tls, now_s) = (TlsKey::from_seed([7; 32]), Clock::start().wall_ms() / 1_000);
    let credentials = papers::issued(&ca, Role::Mothership, peer, &tls, now_s);
    let addr: SocketAddr = mothership.listen.parse().unwrap();
    let mut silent = Listener::bind(addr, &credentials, ca.team(), Arc::new(|_| false)).unwrap();
    let link = silent.next().await.unwrap();
    let clock = Clock::start();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let again = silent.next().await.unwrap();
    in_time(clock.mono_ms(), 2 * AUTH_MS_MAX);
    drop((link, again, silent));
    let listen = mothership.listen.clone();
    let _mothership = team.serve(&listen);
    alice
        .aura(&["wait", "--for", "synced", "--timeout", "60s"])
        .ok();
    let ops = alice.aura(&["log", "score"]).ok();
    assert_eq!(ops["ops"].as_array().unwrap().len(), 1);
}

/// A peer with some features, and those that it has met.
struct Peer {
    wire: Wire,
    copy: Follower,
    met: u64,
}

impl Peer {
    /// Connects, writes one entry of its own and asks for all of them.
    async fn new(scene: &Scene, features: u64) -> Self {
        let mut device: Device = scene.join(&format!("peer-{features}")).await;
        let wire = device.connect_with(features).await.unwrap();
        assert_eq!(wire.welcome.features, features);
        let mut peer = Self {
            wire,
            copy: Follower::new(LOG),
            met: 0,
        };
        let entry = device.entry(LOG, b"mine").unwrap();
        peer.wire.push(LOG, &[entry]);
        while !matches!(peer.take().await, Message::PushAck(_)) {}
        let subscribe = Message::Subscribe(peer.copy.question());
        peer.wire.send(peer.wire.streams[0], &subscribe);
        peer
    }

    async fn reach(&mut self, seq: u64) {
        while self.copy.cursor.0 < seq {
            if let Message::Event(run) = self.take().await {
                self.copy.take(EventRun::decode(&run).unwrap());
            }
        }
    }

    /// The next message; notes the feature that it needs.
    async fn take(&mut self) -> Message {
        let (_, message) = next(&mut self.wire.events).await.unwrap();
        self.met |= match &message {
            Message::Event(run) => match EventRun::decode(run).unwrap().checkpoint {
                Some(_) => feature::CHECKPOINTS,
                None => 0,
            },
            Message::Head(head) if !head.vector.is_empty() => feature::VECTORS,
            Message::Peer(_) => feature::PEER_EVENTS,
            Message::Activity(_) => feature::ACTIVITY,
            _ => 0,
        };
        message
    }
}
