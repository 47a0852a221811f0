//! What a Mothership that lies about the team cannot have: a reader whom no member admitted.

use std::fs;

use aura_net::Clock;
use aura_proto::{
    Digest, Kind, LogId, PeerId, VersionVector, codec,
    message::{Message, Outcome, PeerCard, PeerEvent, PeerQuery, Role},
};
use aura_trust::{
    InviteSeed, JoinClaims, KeyBody, KeyRing, KeyWrap, MemberCard, MembershipBody, ReceiveKey,
    SealContext, TeamKey, Token, commit, make_join_jwt, open, seal_ring_for_invite, sign_entry,
    sign_receive_key, wrap_key,
};
use mothership_tests::{
    Laptop, RISK, Team, git, token,
    wire::{Device, Wire, next},
};
use tokio::runtime::Runtime;

/// A Mothership that hands out a team's log of its own making: an honest admin, whose log nobody is shown, and a
/// ghost with the keys of the box, who writes another one.
struct Lie {
    runtime: Runtime,
    admin: Device,
    ghost: Device,
    wire: Wire,
    ca_hash: [u8; 32],
}

impl Lie {
    fn of(team: &Team, first: &str) -> Self {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = threads.unwrap();
        let admin = runtime.block_on(Device::join(first, "alice")).unwrap();
        let invite = team.invite();
        let ghost = runtime.block_on(Device::join(&invite, "ghost")).unwrap();
        let wire = runtime.block_on(ghost.connect()).unwrap();
        let ca_hash = Token::parse(first).unwrap().ca_hash;
        Self {
            runtime,
            admin,
            ghost,
            wire,
            ca_hash,
        }
    }

    /// An invite of the honest admin, for a team with this genesis and this first key.
    fn invite(&self, genesis: Digest, key: &TeamKey) -> String {
        let mut ring = KeyRing::new();
        ring.insert(key.duplicate()).unwrap();
        let seed = InviteSeed::new([3; 32]);
        let now_s = Clock::start().wall_ms() / 1_000;
        let claims = JoinClaims {
            audience: self.admin.grant.checkpoint_key,
            subject: None,
            jti: [5; 16],
            issued_at_s: now_s,
            not_before_s: now_s - 5,
            expires_s: now_s + 600,
            role: Role::Member,
            team: self.admin.team(),
            ca_hash: self.ca_hash,
            uses: 1,
            seed_key: seed.key().peer(),
        };
        let token = Token {
            endpoints: self.admin.endpoints.clone(),
            team: self.admin.team(),
            ca_hash: self.ca_hash,
            expires_s: claims.expires_s,
            jwt: make_join_jwt(&self.admin.key, &claims).into(),
            sealed_ring: Some(seal_ring_for_invite(genesis, &ring, &seed)),
            seed,
        };
        token.to_text().unwrap().to_string()
    }

    fn receive_key(&self) -> [u8; 32] {
        ReceiveKey::from_seed([8; 32]).public()
    }

    /// The genesis by which the ghost founds the team.
    fn genesis(&self) -> MembershipBody {
        let receive_key = self.receive_key();
        MembershipBody::Genesis {
            team_name: "acme".to_owned(),
            founder: MemberCard {
                peer: self.ghost.key.peer(),
                name: "ghost".to_owned(),
                role: Role::Admin,
                receive_key,
                receive_key_signature: sign_receive_key(&self.ghost.key, &receive_key).to_vec(),
            },
        }
    }

    /// The key of an epoch, for the ghost and for others.
    fn epoch(&self, key: &TeamKey, parent: Digest, others: &[&PeerCard]) -> KeyBody {
        let me = (self.ghost.key.peer(), self.receive_key());
        let others = others
            .iter()
            .map(|card| (card.peer, card.receive.as_ref().unwrap().key));
        let wrap = |(peer, receive): (PeerId, [u8; 32])| KeyWrap {
            peer,
            wrapped: wrap_key(key, &receive, self.ghost.team(), peer, [1; 32]).unwrap(),
        };
        let mut wraps: Vec<KeyWrap> = std::iter::once(me).chain(others).map(wrap).collect();
        wraps.sort_by_key(|wrap| wrap.peer);
        KeyBody {
            epoch: key.epoch,
            parent,
            commitment: commit(key),
            wraps,
        }
    }

    /// Writes entries into the team's log as the ghost; answers the hash of the first.
    fn tells(&mut self, bodies: &[(Kind, Vec<u8>)]) -> Digest {
        let mut entries = Vec::new();
        for (kind, body) in bodies {
            let (seq, prev) = (self.ghost.tip.0 + 1, self.ghost.tip.1);
            let mut header = self.ghost.header(LogId::TEAM, seq, prev);
            header.kind = *kind;
            header.key_epoch = 0;
            let entry = sign_entry(&self.ghost.key, &header, body).unwrap();
            self.ghost.tip = (seq, entry.hash());
            entries.push(entry);
        }
        let stored = self.wire.store(LogId::TEAM, &entries);
        let stored = self.runtime.block_on(stored).unwrap();
        let is_stored = |outcome: &Outcome| matches!(outcome, Outcome::Stored { .. });
        assert!(stored.iter().all(is_stored), "{stored:?}");
        entries[0].hash()
    }

    /// The card of a device, as the Mothership shows it.
    fn card_of(&self, name: &str) -> PeerCard {
        self.runtime.block_on(async {
            let mut wire = self.admin.connect().await.unwrap();
            let mut cards = None;
            while cards.is_none() {
                let (_, message) = next(&mut wire.events).await.unwrap();
                if let Message::Peer(PeerEvent::Snapshot(shown)) = message {
                    cards = Some(shown);
                }
            }
            let mut cards = cards.unwrap().into_iter();
            let peers = vec![cards.find(|card| card.name == name).unwrap().peer];
            wire.send(0, &Message::PeerQuery(PeerQuery { peers }));
            loop {
                let (_, message) = next(&mut wire.events).await.unwrap();
                if let Message::Peer(PeerEvent::Known(mut cards)) = message {
                    return cards.pop().unwrap();
                }
            }
        })
    }

    /// How many entries a repository's log has, and under which keys.
    fn entries_of(&self, laptop: &Laptop, keys: &[TeamKey]) -> Vec<Option<usize>> {
        let root = git(&laptop.repo, &["rev-list", "--max-parents=0", "HEAD"]);
        let log = LogId::of_repository(self.ghost.team(), &root);
        self.runtime.block_on(async {
            let mut wire = self.admin.connect().await.unwrap();
            let start = (0, Digest::ZERO);
            let head = wire.subscribe(log, start, VersionVector::default()).await;
            let head = head.unwrap();
            let mut read = Vec::new();
            while (read.len() as u64) < head.seq {
                for placed in wire.run().await.unwrap().entries {
                    let context = SealContext::from(placed.entry.header());
                    let opens = |key: &TeamKey| open(key, &context, &placed.entry.body()).is_ok();
                    read.push(keys.iter().position(opens));
                }
            }
            read
        })
    }
}

fn add(card: &PeerCard) -> MembershipBody {
    MembershipBody::Add(MemberCard {
        peer: card.peer,
        name: card.name.clone(),
        role: Role::Member,
        receive_key: card.receive.as_ref().unwrap().key,
        receive_key_signature: card.receive.as_ref().unwrap().signature.clone(),
    })
}

/// Asserts that a laptop has noticed, says so, and seals nothing any more.
#[track_caller]
fn is_at_fault(laptop: &Laptop, wanted: &str) {
    laptop.synced();
    let status = laptop.aura(&["status"]).ok();
    assert_eq!(status["word"], "error", "{status}");
    assert_eq!(status["needs_you"][0]["kind"], "fault", "{status}");
    let text = status["needs_you"][0]["text"].as_str().unwrap();
    assert!(text.contains(wanted), "{text}");
    laptop.save("src/risk.rs", RISK.replace("100", "4711"));
    let published = laptop.aura(&["publish"]).ok();
    assert_eq!(published["ops"], serde_json::json!([]), "{published}");
    let held = published["held_back"][0].as_str().unwrap();
    assert!(held.contains(wanted), "{held}");
}

#[test]
fn a_team_log_with_another_genesis_than_the_invite_names_is_a_fault_and_nothing_is_sealed() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let mut lie = Lie::of(&team, &token(&box_.ready));
    let true_key = TeamKey::new(1, [7; 32]);
    let bob = team.laptop("bob");
    let invite = lie.invite(Digest([9; 32]), &true_key);
    bob.join(&invite, "bob", "live").ok();
    let card = lie.card_of("bob");
    let keys = [TeamKey::new(1, [0x11; 32]), TeamKey::new(2, [0x22; 32])];
    let first = lie.epoch(&keys[0], Digest::ZERO, &[]);
    let second = lie.epoch(&keys[1], commit(&keys[0]), &[&card]);
    lie.tells(&[
        (Kind::MEMBERSHIP, lie.genesis().encode()),
        (Kind::KEY, first.encode()),
        (Kind::MEMBERSHIP, add(&card).encode()),
        (Kind::KEY, second.encode()),
    ]);
    // Whoever starts anew hears all of the team's log before it is synced.
    for _ in 0..2 {
        bob.aura(&["down"]).ok();
        bob.aura(&["up"]).ok();
        is_at_fault(&bob, "not the founding");
    }
    assert_eq!(lie.entries_of(&bob, &keys), [None; 0]);
    let [first, second] = keys;
    let known = [true_key, first, second];
    assert_eq!(lie.entries_of(&bob, &known), [None; 0]);
}

#[test]
fn a_key_that_the_log_has_under_its_number_as_another_one_is_a_fault_before_a_later_one_is_taken() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let mut lie = Lie::of(&team, &token(&box_.ready));
    let keys = [TeamKey::new(1, [0x11; 32]), TeamKey::new(2, [0x22; 32])];
    let genesis = lie.tells(&[(Kind::MEMBERSHIP, lie.genesis().encode())]);
    let bob = team.laptop("bob");
    let invite = lie.invite(genesis, &TeamKey::new(1, [7; 32]));
    bob.join(&invite, "bob", "live").ok();
    let card = lie.card_of("bob");
    let first = lie.epoch(&keys[0], Digest::ZERO, &[]);
    let second = lie.epoch(&keys[1], commit(&keys[0]), &[&card]);
    lie.tells(&[
        (Kind::KEY, first.encode()),
        (Kind::MEMBERSHIP, add(&card).encode()),
        (Kind::KEY, second.encode()),
    ]);
    bob.aura(&["down"]).ok();
    bob.aura(&["up"]).ok();
    is_at_fault(&bob, "epoch 1 has another key");
    assert_eq!(lie.entries_of(&bob, &keys), [None; 0]);
}

#[test]
fn the_genesis_that_was_accepted_first_is_the_only_one_after_the_log_was_lost() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.laptop("bob");
    bob.join(&team.invite(), "bob", "live").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "bob");
    alice.synced();
    let pinned = [&alice, &bob].map(|laptop| {
        laptop.synced();
        laptop.aura(&["down"]).ok();
        let file = laptop.home.join("identity/genesis");
        let pinned: Digest = codec::decode(&fs::read(&file).unwrap()).unwrap();
        fs::remove_dir_all(laptop.home.join("team")).unwrap();
        pinned
    });
    assert_eq!(pinned[0], pinned[1]);
    alice.aura(&["up"]).ok();
    alice.synced();
    alice.event(|event| event["kind"] == "state" && event["text"] == "synced");
    // To a device that knows another genesis, what the Mothership shows is another team.
    let other = codec::encode(&Digest([9; 32]));
    fs::write(bob.home.join("identity/genesis"), other).unwrap();
    bob.aura(&["up"]).ok();
    is_at_fault(&bob, "not the founding");
}
