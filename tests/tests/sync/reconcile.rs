//! Coming back: only what is new travels, repetition changes nothing, one bad entry spoils no other.

use aura_proto::{
    Code, Digest, Entry, Incarnation, LogId, Writer,
    event::EventRun,
    message::{Message, Outcome},
};
use aura_trust::sign_entry;
use mothership_tests::{
    amount,
    follower::Follower,
    scene::Scene,
    wire::{Device, Wire, refused},
};

use crate::Random;

const LOG: LogId = LogId([7; 16]);

#[tokio::test(flavor = "multi_thread")]
async fn c13_after_a_pause_exactly_the_new_entries_travel() {
    let scene = Scene::new().await;
    let mut author = Author::new(&scene, "author").await;
    let shared = amount(1_000, 10_000);
    author.write(shared).await;
    let reader = scene.join("reader").await;
    let mut copy = Follower::new(LOG);
    let mut wire = reader.connect().await.unwrap();
    copy.subscribe(&mut wire).await.unwrap();
    copy.until(&mut wire, shared as u64).await.unwrap();
    drop(wire);
    let new = author.write(7).await;
    let mut wire = reader.connect().await.unwrap();
    // Before the first entry nothing but metadata comes, and little of it.
    let head = copy.subscribe(&mut wire).await.unwrap();
    assert_eq!((head.seq, head.vector.len()), (shared as u64 + 7, 1));
    let mut taken = Vec::new();
    while copy.cursor.0 < head.seq {
        taken.extend(copy.take(wire.run().await.unwrap()));
    }
    let taken: Vec<Entry> = taken.into_iter().map(|placed| placed.entry).collect();
    assert_eq!(taken, new);
    author.comes_next(&mut copy, &mut wire).await;
    drop((wire, author));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c14_frames_repeated_in_any_order_from_three_links_change_nothing() {
    let mut scene = Scene::new().await;
    let mut frames = Vec::new();
    for n in 0..3 {
        let mut author = Author::new(&scene, &format!("author-{n}")).await;
        for _ in 0..5 {
            let entries = author.write(4).await;
            frames.push((entries, author.last.clone()));
        }
    }
    let mut copy = Follower::new(LOG);
    let mut links = Vec::new();
    for n in 0..3 {
        links.push(
            scene
                .join(&format!("repeater-{n}"))
                .await
                .connect()
                .await
                .unwrap(),
        );
    }
    let head = copy.subscribe(&mut links[0]).await.unwrap();
    copy.until(&mut links[0], head.seq).await.unwrap();
    for seed in 0..amount(3, 100) {
        let mut random = Random(seed);
        let mut again: Vec<_> = frames.iter().chain(&frames).collect();
        random.shuffle(&mut again);
        for (entries, outcomes) in again {
            let link = &mut links[random.below(3)];
            // Whoever carries an entry, it has the place that it had.
            assert_eq!(&link.store(LOG, entries).await.unwrap(), outcomes);
        }
        let head_now = Follower::new(LOG).subscribe(&mut links[1]).await.unwrap();
        assert_eq!(
            (head_now.seq, head_now.hash),
            (head.seq, head.hash),
            "seed {seed}"
        );
    }
    assert_eq!(copy.cursor, (head.seq, head.hash));
    drop(links);
    scene.restart("-KILL").await;
    assert_eq!(scene.entries(LOG), head.seq);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c16_a_return_without_news_is_one_question_and_one_answer() {
    let mut scene = Scene::new().await;
    let mut author = Author::new(&scene, "author").await;
    author.write(300).await;
    let reader = scene.join("reader").await;
    let mut copy = Follower::new(LOG);
    let mut wire = reader.connect().await.unwrap();
    let first = copy.subscribe(&mut wire).await.unwrap();
    copy.until(&mut wire, first.seq).await.unwrap();
    drop(wire);
    let mut wire = reader.connect().await.unwrap();
    let again = copy.subscribe(&mut wire).await.unwrap();
    assert_eq!(again, first);
    author.comes_next(&mut copy, &mut wire).await;
    // A Mothership that died and came back says so, and has everything.
    scene.restart("-KILL").await;
    let mut wire = reader.connect().await.unwrap();
    let after = copy.subscribe(&mut wire).await.unwrap();
    assert!(again.epoch < after.epoch);
    assert_eq!((after.seq, after.hash), copy.cursor);
    author.wire = author.device.connect().await.unwrap();
    author.comes_next(&mut copy, &mut wire).await;
    drop((wire, author));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c18_three_forged_entries_of_250_are_refused_one_by_one() {
    let scene = Scene::new().await;
    // Entries of ten authors, so that a bad one breaks no chain of a good one.
    let mut devices = Vec::new();
    for n in 0..10 {
        devices.push(scene.join(&format!("author-{n}")).await);
    }
    let batch: Vec<Entry> = (0..247)
        .map(|n| {
            devices[n % 10]
                .entry(LOG, format!("{n}").as_bytes())
                .unwrap()
        })
        .collect();
    let stranger = devices[0].header(LOG, 1, Digest::ZERO);
    let nobody = aura_trust::IdentityKey::from_seed([9; 32]);
    let writer = Writer {
        peer: nobody.peer(),
        incarnation: Incarnation(1),
    };
    let of_nobody = sign_entry(&nobody, &aura_proto::Header { writer, ..stranger }, b"x").unwrap();
    let mut unsigned = batch[100].bytes().to_vec();
    unsigned[200] ^= 1;
    let mut altered = batch[101].bytes().to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let mut bytes: Vec<Vec<u8>> = batch.iter().map(|entry| entry.bytes().to_vec()).collect();
    let forged = [
        (60, of_nobody.bytes().to_vec(), Code::WRONG_AUTHOR),
        (120, unsigned, Code::BAD_SIGNATURE),
        (180, altered, Code::BAD_SIGNATURE),
    ];
    for (at, entry, _) in &forged {
        bytes.insert(*at, entry.clone());
    }
    let carrier = scene.join("carrier").await;
    let mut wire = carrier.connect().await.unwrap();
    let run = aura_proto::event::encode_push(LOG, bytes.iter().map(Vec::as_slice));
    for round in 0..2 {
        wire.send(wire.streams[0], &Message::Push(run.clone()));
        let outcomes = wire.acked().await.unwrap().outcomes;
        assert_eq!(outcomes.len(), 250);
        for (at, (_, outcome)) in outcomes.iter().enumerate() {
            match forged.iter().find(|row| row.0 == at) {
                Some((_, _, code)) => assert_eq!(*outcome, Outcome::Refused(*code)),
                None => assert!(
                    matches!(outcome, Outcome::Stored { .. }),
                    "{at}: {outcome:?}"
                ),
            }
        }
        assert_eq!(scene.entries(LOG), 247, "round {round}");
    }
    // The next sync of whoever has them all sends nothing.
    let mut copy = Follower::new(LOG);
    let head = copy.subscribe(&mut wire).await.unwrap();
    copy.until(&mut wire, head.seq).await.unwrap();
    drop(wire);
    let mut wire = carrier.connect().await.unwrap();
    let again = copy.subscribe(&mut wire).await.unwrap();
    assert_eq!((again.seq, again.hash), copy.cursor);
    for device in &devices {
        assert_eq!(again.vector.get(&device.writer()), device.tip.0);
    }
    drop(wire);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c18_a_removed_sender_is_refused_with_all_that_it_sends() {
    let scene = Scene::new().await;
    let mut bob = scene.join("bob").await;
    let mut wire = bob.connect().await.unwrap();
    let entries: Vec<Entry> = (0..20).map(|_| bob.entry(LOG, b"late").unwrap()).collect();
    scene.team.mothership(&["peer", "revoke", "bob"]).ok();
    wire.push(LOG, &entries);
    assert_eq!(refused(wire.acked().await), Code::REVOKED);
    // Nor does another member bring them in.
    let mut carrier = scene.join("carrier").await.connect().await.unwrap();
    let outcomes = carrier.store(LOG, &entries).await.unwrap();
    assert_eq!(outcomes, [Outcome::Refused(Code::REVOKED); 20]);
    assert_eq!(scene.entries(LOG), 0);
    drop(carrier);
    scene.is_calm().await;
}

/// A device that writes.
struct Author {
    device: Device,
    wire: Wire,
    /// What became of the entries written last.
    last: Vec<Outcome>,
}

impl Author {
    async fn new(scene: &Scene, name: &str) -> Self {
        let device = scene.join(name).await;
        let wire = device.connect().await.unwrap();
        Self {
            device,
            wire,
            last: Vec::new(),
        }
    }

    /// Writes entries in batches; answers them when all are stored.
    async fn write(&mut self, count: usize) -> Vec<Entry> {
        let entry = |_| self.device.entry(LOG, b"some change").unwrap();
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        for batch in entries.chunks(250) {
            self.last = self.wire.store(LOG, batch).await.unwrap();
            let stored = |outcome: &Outcome| matches!(outcome, Outcome::Stored { .. });
            assert!(self.last.iter().all(stored), "{:?}", self.last);
        }
        entries
    }

    /// Writes one more entry; asserts that it is the very next thing that a subscriber gets.
    async fn comes_next(&mut self, copy: &mut Follower, wire: &mut Wire) {
        let new = self.write(1).await;
        let (_, message) = wire.next().await.unwrap();
        let Message::Event(run) = message else {
            panic!("{message:?}");
        };
        let taken = copy.take(EventRun::decode(&run).unwrap());
        assert_eq!((taken.len(), &taken[0].entry), (1, &new[0]));
    }
}
