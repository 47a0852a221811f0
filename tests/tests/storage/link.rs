//! Answers that get lost, and authors that all write at once.

use std::collections::BTreeSet;

use aura_proto::message::Outcome;
use mothership_tests::{
    Team,
    journal::LOG,
    proxy::{Fate, Proxy, Way},
};
use tokio::task::block_in_place;

use crate::Site;

#[test]
fn case_062_a_push_whose_answer_is_lost_five_times_is_one_entry_in_one_place() {
    let mut site = Site::new(1);
    let proxy = Proxy::to(&site.box_().listen);
    site.authors.find(&proxy.listen);
    let author = &mut site.authors.authors[0];
    site.authors.runtime.block_on(async {
        let mut lost = 0;
        for _ in 0..5 {
            let mut wire = author.connect().await.unwrap();
            proxy.set(Way::Back, Fate::Lose);
            wire.push(LOG, author.entries(0..1).unwrap());
            lost = block_in_place(|| proxy.wait_lost(Way::Back, lost));
            proxy.set(Way::Back, Fate::Pass);
            proxy.cut();
            wire.acked().await.expect_err("the answer was lost");
        }
        for _ in 0..5 {
            let mut wire = author.connect().await.unwrap();
            wire.push(LOG, author.entries(0..1).unwrap());
            let outcomes = wire.acked().await.unwrap().outcomes;
            let [(1, Outcome::Stored { seq, .. })] = outcomes[..] else {
                panic!("{outcomes:?}")
            };
            author.note(1, seq);
        }
    });
    assert_eq!(site.check(), 1);
}

#[test]
fn case_062_a_daemon_that_lost_an_answer_has_published_once() {
    let team = Team::new();
    let proxy = Proxy::to("127.0.0.1:1");
    let box_ = team.serve_with(
        &team.state(),
        "127.0.0.1:0",
        &["--advertise", &proxy.listen],
    );
    proxy.lead_to(&box_.listen);
    let alice = team.founder(&box_, "live");
    alice.synced();
    let stored = || {
        team.mothership(&["wal", "verify"]).ok()["entries"]
            .as_u64()
            .unwrap()
    };
    let before = stored();
    proxy.set(Way::Back, Fate::Lose);
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let queued = alice.aura(&["publish", "--no-wait"]).ok();
    assert_eq!(queued["state"], "queued");
    proxy.wait_lost(Way::Back, 0);
    proxy.set(Way::Back, Fate::Pass);
    proxy.cut();
    alice.synced();
    assert_eq!(stored(), before + 1);
    let log = alice.aura(&["log", "score"]).ok();
    assert_eq!(log["ops"].as_array().unwrap().len(), 1, "{log}");
}

#[test]
fn c07_four_writers_of_800_entries_make_3200_unique_ids() {
    let mut site = Site::new(4);
    for ended in site.authors.write(800, 32) {
        ended.unwrap();
    }
    let entries = site
        .authors
        .authors
        .iter()
        .flat_map(|author| &author.entries);
    let ids: BTreeSet<[u8; 32]> = entries.map(|entry| entry.hash().0).collect();
    let places: BTreeSet<u64> = site
        .authors
        .authors
        .iter()
        .flat_map(|author| author.places.clone())
        .collect();
    assert_eq!((ids.len(), places.len()), (3_200, 3_200));
    assert_eq!(site.check(), 3_200);
}
