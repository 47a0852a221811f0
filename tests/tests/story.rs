//! An hour of work of two people and an agent in one repository, as commands that anybody could type.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{Laptop, Mothership, Team, git, token};
use serde_json::Value;

const TAX: &str = "pub fn vat(net: u64) -> u64 {\n    net / 5\n}\n\npub fn gross(net: u64) -> u64 {\n    net + vat(net)\n}\n";

/// Alice, who founded the team, Bob, who looks before he takes, and an agent of Alice's.
struct Office {
    alice: Laptop,
    bob: Laptop,
    agent: Laptop,
    _box: Mothership,
    _team: Team,
}

fn office() -> Office {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    let agent = team.laptop("claude");
    let invite = token(&alice.aura(&["invite", "--role", "agent"]).ok());
    agent.join(&invite, "claude", "live").ok();
    for laptop in [&alice, &bob, &agent] {
        laptop.synced();
    }
    Office {
        alice,
        bob,
        agent,
        _box: box_,
        _team: team,
    }
}

fn texts(rows: &Value, field: &str) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[field].as_str().unwrap().to_owned())
        .collect()
}

fn received(laptop: &Laptop, symbol: &str) {
    laptop.event(|event| event["kind"] == "received" && event["symbol"] == symbol);
}

/// Nine o'clock: the agent writes a module, its reason comes after it, and Bob takes it once its tests pass.
fn morning(office: &Office) {
    let Office {
        alice, bob, agent, ..
    } = office;
    agent.save("src/tax.rs", TAX);
    received(alice, "src/tax.rs");
    let said = agent.aura(&["intent", "VAT of invoices"]).ok();
    assert!(0 < said["explained"].as_u64().unwrap(), "{said}");
    received(bob, "src/tax.rs");
    let refused = bob.aura(&["pull", "--path", "src", "--check", "false"]);
    assert_eq!((refused.exit, refused.id()), (1, "AE-CHECK"));
    assert!(
        !bob.repo.join("src/tax.rs").exists(),
        "nothing is left of it"
    );
    bob.aura(&[
        "pull",
        "--path",
        "src",
        "--check",
        "grep -q gross src/tax.rs",
    ])
    .ok();
    assert_eq!(bob.read("src/tax.rs"), TAX);
    let log = bob.aura(&["log", "vat"]).ok();
    assert_eq!(log["ops"][0]["author"], "claude", "{log}");
    assert_eq!(log["ops"][0]["why"], "VAT of invoices");
}

/// Ten: Bob claims what he rewrites; the agent's edit of it waits, what it writes beside it goes.
fn in_a_zone(office: &Office) {
    let Office {
        alice, bob, agent, ..
    } = office;
    let args = ["zone", "claim", "vat", "--block", "--why", "reduced rates"];
    let zone = bob.aura(&args).ok()["ids"][0].as_str().unwrap().to_owned();
    agent.event(|event| event["text"].as_str().unwrap_or_default().contains(&zone));
    agent.edit("src/tax.rs", "net / 5", "net * 19 / 100");
    let held = agent.event(|event| event["kind"] == "held_back");
    assert!(held["text"].as_str().unwrap().contains(&zone), "{held}");
    agent.edit("src/tax.rs", "net + vat(net)", "vat(net) + net");
    received(alice, "gross");
    assert!(alice.read("src/tax.rs").contains("net / 5"));
    agent.aura(&["zone", "ask", &zone, "19 % is wanted"]).ok();
    let asked = bob.event(|event| event["kind"] == "zone_ask");
    assert_eq!(asked["actor"], "claude", "{asked}");
    // Bob answers in words instead, and goes on.
    bob.aura(&[
        "msg",
        "send",
        "@claude",
        "rates come from a table",
        "--about",
        "vat",
    ])
    .ok();
    agent.event(|event| event["kind"] == "message");
    let inbox = agent.aura(&["inbox", "--unread"]).ok();
    assert_eq!(
        texts(&inbox["messages"], "text"),
        ["rates come from a table"]
    );
    let id = inbox["messages"][0]["id"].as_str().unwrap().to_owned();
    agent.aura(&["msg", "ack", &id]).ok();
    // The agent gives its edit up, and Bob publishes his.
    agent.edit("src/tax.rs", "net * 19 / 100", "net / 5");
    bob.edit("src/tax.rs", "net / 5", "net * rate() / 100");
    bob.aura(&["publish", "-m", "rates from a table"]).ok();
    agent.applied("vat");
    assert!(agent.read("src/tax.rs").contains("rate()"));
    bob.aura(&["zone", "release", &zone]).ok();
    assert_eq!(
        agent.aura(&["conflicts"]).ok()["conflicts"],
        serde_json::json!([])
    );
}

/// Eleven: two change one function at once, git is told before it pushes, and one of them settles it.
fn a_conflict(office: &Office) {
    let Office { alice, bob, .. } = office;
    bob.aura(&["pull"]).ok();
    bob.aura(&["pause", "--out"]).ok();
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 200");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 150");
    received(bob, "score");
    bob.aura(&["resume"]).ok();
    bob.aura(&["publish"]).json["state"].as_str().unwrap();
    let conflict = bob.event(|event| event["kind"] == "conflict");
    let id = conflict["text"]
        .as_str()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let status = bob.aura(&["status", "--exit-code"]);
    assert_eq!(status.exit, 7, "{status:?}");
    alice.event(|event| event["kind"] == "conflict");
    bob.aura(&["resolve", &id, "--theirs"]).ok();
    alice.event(|event| event["kind"] == "resolved");
    alice.synced();
    bob.synced();
    for laptop in [alice, bob] {
        assert!(laptop.read("src/risk.rs").contains("let cap = 150"));
        assert_eq!(laptop.conflicts(), Vec::<Value>::new());
    }
}

/// Noon: somebody takes a change back, looks at what was, commits, and everybody goes to lunch.
fn noon(office: &Office) {
    let Office {
        alice, bob, agent, ..
    } = office;
    alice.edit("src/risk.rs", "cmp::min(a, cap)", "cmp::max(a, cap)");
    alice.aura(&["publish"]).ok();
    alice.aura(&["undo"]).ok();
    assert!(alice.read("src/risk.rs").contains("cmp::min(a, cap)"));
    alice.synced();
    bob.synced();
    bob.aura(&["pull"]).ok();
    let blame = bob.aura(&["blame", "src/tax.rs"]).ok();
    let authors = blame.to_string();
    assert!(
        authors.contains("claude") && authors.contains("bob"),
        "{authors}"
    );
    for laptop in [alice, bob, agent] {
        laptop.synced();
        git(&laptop.repo, &["add", "-A"]);
        git(&laptop.repo, &["commit", "-q", "-m", "morning"]);
    }
    let trees = [alice, bob, agent].map(|laptop| git(&laptop.repo, &["rev-parse", "HEAD^{tree}"]));
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
    for laptop in [alice, bob, agent] {
        laptop.synced();
        let status = laptop.aura(&["status"]).ok();
        assert_eq!(status["mine"]["unpublished"], 0, "{status}");
        assert_eq!(status["incoming"]["patches"], 0, "{status}");
    }
}

#[test]
fn an_hour_of_two_people_and_an_agent_in_one_repository() {
    let office = office();
    morning(&office);
    in_a_zone(&office);
    a_conflict(&office);
    noon(&office);
}
