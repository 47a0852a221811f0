//! Branches as channels: all of them travel, whichever is looked at.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{
    Team, amount, git,
    proxy::{Proxy, Way},
    token,
};

#[test]
fn c62_what_is_done_on_a_branch_that_nobody_looks_at_is_here_and_looking_costs_the_network_nothing()
{
    let team = Team::new();
    let proxy = Proxy::to("127.0.0.1:1");
    let flags = ["--heartbeat", "5m", "--advertise", &proxy.listen];
    let box_ = team.serve_with(&team.state(), "127.0.0.1:0", &flags);
    proxy.lead_to(&box_.listen);
    let alice = team.founder(&box_, "observe");
    let bob = team.laptop("bob");
    let invite = token(&alice.aura(&["invite"]).ok());
    bob.join(&invite, "bob", "live").ok();
    git(&bob.repo, &["checkout", "-qb", "topic"]);
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.aura(&["publish"]).ok();
    // On her branch nothing has changed, and yet she has it.
    alice.event(|event| event["kind"] == "received" && event["symbol"] == "score");
    alice.event(|event| event["kind"] == "editing" && event["symbol"] == "score");
    assert!(alice.read("src/risk.rs").contains("let cap = 100"));
    bob.aura(&["down"]).ok();
    git(&alice.repo, &["branch", "topic"]);
    alice.synced();
    let passed = || [Way::There, Way::Back].map(|way| proxy.passed(way));
    let before = passed();
    let mut switches = 0;
    for _ in 0..amount(5, 50) {
        for branch in ["topic", "main"] {
            switches += 1;
            git(&alice.repo, &["checkout", "-q", branch]);
            alice.aura(&["status"]).ok();
        }
    }
    assert_eq!(passed(), before, "{switches} switches were told of");
    git(&alice.repo, &["checkout", "-q", "topic"]);
    alice.aura(&["status"]).ok();
    assert!(
        alice.read("src/risk.rs").contains("let cap = 100"),
        "she only looks"
    );
    alice.aura(&["pull"]).ok();
    assert!(alice.read("src/risk.rs").contains("let cap = 101"));
}
