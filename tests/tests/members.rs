//! Who belongs: taken in, sent away, and back again, with the real binaries.
//!
//! Invariant: a device is said to read only when the team's log says so on every device.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, net::TcpListener, path::Path, process::Command};

use aura_proto::{Incarnation, message::Role};
use aura_trust::{LastAccepted, MembershipBody};
use mothership_tests::{
    Laptop, RISK, Team, amount,
    forger::Forger,
    send_signal,
    strace::{Fault, Strace, sweep},
    token,
};

fn invite_for(team: &Team, name: &str) -> String {
    token(&team.mothership(&["invite", "--for", name]).ok())
}

fn state_of(laptop: &Laptop, name: &str) -> String {
    let members = laptop.aura(&["members"]).ok();
    let rows = members["members"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    row.map_or("", |row| row["state"].as_str().unwrap())
        .to_owned()
}

fn is_gone(laptop: &Laptop, name: &str) {
    laptop.event(|event| event["kind"] == "peer_gone" && event["actor"] == name);
    laptop.synced();
}

/// Whom a laptop knows, by name, and their roles.
fn table(laptop: &Laptop) -> Vec<(String, String)> {
    let said = laptop.aura(&["peers"]).ok();
    let rows = said["peers"].as_array().unwrap().iter();
    let word = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.map(|row| (word(row, "name"), word(row, "role")))
        .collect()
}

#[test]
fn c53_a_token_of_whose_addresses_one_answers_joins_at_once_and_stays_connected() {
    // One takes connections and says nothing, as long as this runs; nobody listens at the other.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let [silent_at, dead] = [&silent, &TcpListener::bind("127.0.0.1:0").unwrap()]
        .map(|listener| listener.local_addr().unwrap().to_string());
    let team = Team::new();
    let listen = team.serve("127.0.0.1:0").listen.clone();
    let three = format!("{silent_at},{dead},{listen}");
    let box_ = team.serve_with(&team.state(), &listen, &["--advertise", &three]);
    let alice = team.laptop("alice");
    let join = |laptop: &Laptop, invite: &str, name: &str| {
        let within = ["--no-service", "--timeout", "5s"];
        let args = ["join", invite, "--name", name, "--mode", "live"];
        laptop.aura(&[&args[..], &within].concat())
    };
    join(&alice, &token(&box_.ready), "alice").ok();
    let bob = team.laptop("bob");
    // The addresses of an invite of a laptop are those of the Mothership.
    join(&bob, &token(&alice.aura(&["invite"]).ok()), "bob").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "bob");
    for laptop in [&alice, &bob] {
        laptop.aura(&["down"]).ok();
        laptop.aura(&["up"]).ok();
        laptop.synced();
    }
    assert_eq!(table(&alice), table(&bob));
    assert_eq!(table(&bob).len(), 2);
    drop(silent);
}

#[test]
fn a_removed_person_comes_back_under_the_same_name_with_another_laptop() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let old = team.laptop("old");
    old.join(&invite_for(&team, "bob"), "bob", "live").ok();
    alice.aura(&["members", "approve", "bob"]).ok();
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
    team.mothership(&["peer", "revoke", "bob"]).ok();
    is_gone(&alice, "bob");
    let new = team.laptop("new");
    new.join(&invite_for(&team, "bob"), "bob", "live").ok();
    assert_eq!(state_of(&alice, "bob"), "waiting");
    let approved = alice.aura(&["members", "approve", "bob"]).ok();
    assert_eq!(approved["approved"][0], "bob");
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    new.applied("score");
    assert_eq!(
        new.read("src/risk.rs"),
        RISK.replace("let cap = 100", "let cap = 250")
    );
}

#[test]
fn a_removal_while_every_admin_was_away_frees_the_name_as_well() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let old = team.laptop("old");
    old.join(&invite_for(&team, "bob"), "bob", "live").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "bob");
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
    alice.aura(&["down"]).ok();
    team.mothership(&["peer", "revoke", "bob"]).ok();
    let new = team.laptop("new");
    new.join(&invite_for(&team, "bob"), "bob", "live").ok();
    alice.aura(&["up"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    new.applied("score");
    assert_eq!(new.read("src/risk.rs"), alice.read("src/risk.rs"));
    assert_eq!(state_of(&alice, "bob"), "reads");
}

/// An admin who reads and a member, both forgers, and both known to this laptop.
fn carol_and_mallory(laptop: &Laptop) -> (Forger, Forger) {
    let carol = Forger::join_as(laptop, "carol", "admin");
    let mallory = Forger::join(laptop, "mallory");
    laptop.event(|event| event["kind"] == "peer_added" && event["actor"] == "mallory");
    laptop.synced();
    laptop.aura(&["members", "approve", "carol"]).ok();
    (carol, mallory)
}

#[test]
fn c44_what_an_observer_of_the_roster_writes_all_the_same_reaches_no_file() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let (mut carol, mut mallory) = carol_and_mallory(&alice);
    alice.synced();
    // The Mothership would take patches of a member; that it is one no more, only devices know.
    carol.decides(&MembershipBody::SetRole {
        peer: mallory.device.key.peer(),
        role: Role::Observer,
    });
    // Whoever starts anew hears all of the team's log before it is synced.
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    alice.synced();
    let changed = RISK.replace("let cap = 100", "let cap = 666");
    let body = mallory.draft("src/risk.rs", RISK.as_bytes(), changed.as_bytes());
    mallory.publish(&body);
    alice.event(|event| event["kind"] == "refused" && event["actor"] == "mallory");
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    alice.synced();
    assert_eq!(alice.read("src/risk.rs"), RISK);
    let log = alice.aura(&["log"]).ok();
    assert_eq!(log["ops"], serde_json::json!([]));
}

/// How many changes of files below `zz/` a laptop knows.
fn known(laptop: &Laptop) -> usize {
    let is_meant = |op: &serde_json::Value| {
        op["symbol"]
            .as_str()
            .is_some_and(|symbol| symbol.contains("zz/"))
    };
    laptop.log(&[]).iter().filter(|op| is_meant(op)).count()
}

fn restart(laptop: &Laptop) {
    laptop.aura(&["down"]).ok();
    laptop.aura(&["up"]).ok();
    laptop.synced();
}

/// Waits until the team's log has an entry by which `name` is no member any more.
fn is_removed(laptop: &Laptop, name: &str) {
    is_gone(laptop, name);
    laptop.synced();
}

#[test]
fn what_a_removed_member_had_acknowledged_counts_on_every_device_running_or_restarted() {
    const ENTRIES: usize = 40;
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let carol = team.member(&alice, "carol", "observe");
    let mut mallory = Forger::join(&alice, "mallory");
    mallory.reaches(&alice);
    mallory.reaches(&carol);
    alice.synced();
    // Text that does not pack, so that it is still on its way when the removal overtakes it.
    let mut x = 88_172_645_463_325_252_u64;
    let entries: Vec<_> = (0..ENTRIES)
        .map(|k| {
            let mut text = String::new();
            while text.len() < 700_000 {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                text.push_str(&format!("{x:x}\n"));
            }
            let body = mallory.creation(&format!("zz/big{k}.txt"), &text);
            mallory.entry(&body.encode())
        })
        .collect();
    let pid = alice.pid();
    send_signal(pid, "-STOP");
    for entry in &entries {
        mallory.push(entry);
    }
    team.mothership(&["peer", "revoke", "mallory"]).ok();
    send_signal(pid, "-CONT");
    for laptop in [&alice, &carol] {
        is_removed(laptop, "mallory");
        assert_eq!(known(laptop), ENTRIES, "while it ran");
    }
    for laptop in [&alice, &carol] {
        restart(laptop);
        assert_eq!(known(laptop), ENTRIES, "after a restart");
    }
}

#[test]
fn a_removal_that_un_counts_entries_does_so_in_daemons_that_run_as_well() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let (mut carol, mut mallory) = carol_and_mallory(&alice);
    for k in 0..3 {
        mallory.publish(&mallory.creation(&format!("zz/{k}.txt"), "here\n"));
    }
    mallory.reaches(&alice);
    alice.synced();
    assert_eq!(known(&alice), 3);
    carol.decides(&MembershipBody::Remove {
        peer: mallory.device.key.peer(),
        reason: String::new(),
        last_accepted: vec![LastAccepted {
            log: mallory.log(),
            incarnation: Incarnation(1),
            author_seq: 2,
        }],
    });
    alice.event(|event| event["kind"] == "recounted");
    assert_eq!(known(&alice), 2);
    restart(&alice);
    assert_eq!(known(&alice), 2);
}

#[test]
fn c44_a_demotion_holds_at_once_for_a_daemon_that_runs_and_leaves_what_was_written_before_it() {
    for restarts in [false, true] {
        let team = Team::new();
        let box_ = team.serve("127.0.0.1:0");
        let alice = team.founder(&box_, "observe");
        let (mut carol, mut mallory) = carol_and_mallory(&alice);
        mallory.publish(&mallory.creation("zz/before.txt", "here\n"));
        mallory.reaches(&alice);
        alice.synced();
        carol.decides(&MembershipBody::SetRole {
            peer: mallory.device.key.peer(),
            role: Role::Observer,
        });
        if restarts {
            restart(&alice);
        }
        mallory.publish(&mallory.creation("zz/after.txt", "here\n"));
        alice.event(|event| event["kind"] == "refused" && event["actor"] == "mallory");
        assert_eq!(known(&alice), 1, "{restarts}");
        restart(&alice);
        assert_eq!(known(&alice), 1, "{restarts}");
    }
}

#[test]
fn c44_an_observer_reads_and_what_it_writes_gets_nowhere() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice
        .aura(&["config", "set", "members.approve", "ask"])
        .ok();
    let olga = team.laptop("olga");
    let invite = token(&team.mothership(&["invite", "--role", "observer"]).ok());
    olga.join(&invite, "olga", "live").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "olga");
    // Before somebody agrees, it reads nothing.
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    alice.aura(&["publish"]).ok();
    olga.synced();
    assert!(olga.read("src/risk.rs").contains("let cap = 100"));
    alice.aura(&["members", "approve", "olga"]).ok();
    olga.applied("score");
    olga.edit("src/risk.rs", "name.to_owned()", "name.into()");
    let refused = olga.aura(&["publish"]);
    let why = refused.json["held_back"][0].as_str().unwrap_or_default();
    assert!(why.contains("only reads"), "{refused:?}");
    assert!(olga.read("src/risk.rs").contains("name.into()"));
    alice.synced();
    assert!(alice.read("src/risk.rs").contains("name.to_owned()"));
    assert_eq!(alice.log(&[]).len(), 1);
}

#[test]
fn c44_nobody_becomes_an_admin_of_the_roster_without_a_person_who_agreed() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let carol = team.laptop("carol");
    let invite = token(&team.mothership(&["invite", "--role", "admin"]).ok());
    carol.join(&invite, "carol", "live").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "carol");
    alice.synced();
    carol.synced();
    alice.aura(&["down"]).ok();
    let erin = team.laptop("erin");
    erin.join(&invite_for(&team, "erin"), "erin", "live").ok();
    carol.event(|event| event["kind"] == "peer_added" && event["actor"] == "erin");
    carol
        .aura(&["members", "approve", "erin"])
        .fails(4, "FORBIDDEN");
    alice.aura(&["up"]).ok();
    alice.synced();
    alice.aura(&["members", "approve", "carol"]).ok();
    alice.synced();
    carol.synced();
    alice.aura(&["down"]).ok();
    let fred = team.laptop("fred");
    fred.join(&invite_for(&team, "fred"), "fred", "live").ok();
    carol.event(|event| event["kind"] == "peer_added" && event["actor"] == "fred");
    carol.aura(&["members", "approve", "fred"]).ok();
    carol.synced();
    assert_eq!(state_of(&carol, "fred"), "reads");
}

#[test]
fn a_founder_killed_at_any_sync_still_founds_the_team() {
    let kills = sweep(&["fdatasync"], amount(6, 1), Fault::kill, |fault| {
        let team = Team::new();
        let box_ = team.serve("127.0.0.1:0");
        let alice = team.laptop("alice");
        let pid = alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
        let strace = Strace::attach(u32::try_from(pid).unwrap(), &fault.args());
        let was_killed = alice.join(&token(&box_.ready), "alice", "live").exit != 0;
        if was_killed {
            strace.bury();
        } else {
            drop(strace);
        }
        alice.join(&token(&box_.ready), "alice", "live").ok();
        alice.synced();
        assert_eq!(state_of(&alice, "alice"), "reads");
        let bob = team.laptop("bob");
        bob.join(&invite_for(&team, "bob"), "bob", "live").ok();
        alice.aura(&["members", "approve", "bob"]).ok();
        alice.synced();
        assert_eq!(state_of(&alice, "bob"), "reads", "{fault:?}");
        was_killed
    });
    assert!(amount(1, 4) <= kills, "only {kills} kills");
}

/// Puts a copy of one home in the place of another.
fn copy_home(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[test]
fn an_approval_that_waits_on_a_disk_whose_numbers_were_taken_is_carried_out_all_the_same() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let (bob, carol) = (team.laptop("bob"), team.laptop("carol"));
    bob.join(&invite_for(&team, "bob"), "bob", "live").ok();
    carol
        .join(&invite_for(&team, "carol"), "carol", "live")
        .ok();
    alice.synced();
    alice.aura(&["down"]).ok();
    let listen = box_.listen.clone();
    let [before, queued] = ["before", "queued"].map(|name| team.dir.path().join(name));
    copy_home(&alice.home, &before);
    alice.aura(&["up"]).ok();
    alice.synced();
    box_.stop("-TERM");
    alice.event(|event| event["kind"] == "link" && event["text"] != "connected to acme");
    alice.aura(&["members", "approve", "bob"]).ok();
    alice.aura(&["down"]).ok();
    copy_home(&alice.home, &queued);
    let _box = team.serve(&listen);
    // The other life of this device says something else under the same numbers.
    copy_home(&before, &alice.home);
    alice.aura(&["up"]).ok();
    alice.synced();
    alice.aura(&["members", "approve", "carol"]).ok();
    alice.synced();
    alice.aura(&["down"]).ok();
    copy_home(&queued, &alice.home);
    alice.aura(&["up"]).ok();
    alice.synced();
    assert_eq!(state_of(&alice, "carol"), "reads");
    assert_eq!(state_of(&alice, "bob"), "reads");
    bob.synced();
    assert_eq!(bob.aura(&["whoami"]).ok()["reads"], true);
}

#[test]
fn an_approval_that_the_disk_did_not_take_is_no_approval() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let bob = team.laptop("bob");
    bob.join(&invite_for(&team, "bob"), "bob", "live").ok();
    let pid = alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    let full = Fault {
        call: "pwrite64",
        tampering: "error=ENOSPC:when=1+".to_owned(),
    };
    let strace = Strace::attach(u32::try_from(pid).unwrap(), &full.args());
    alice
        .aura(&["members", "approve", "bob"])
        .fails(13, "NO_SPACE");
    drop(strace);
    alice.aura(&["members", "approve", "bob"]).ok();
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
}

/// What a laptop says needs its user, and the next step that it offers.
fn needs(laptop: &Laptop) -> (Vec<(String, String)>, String) {
    let status = laptop.aura(&["status"]).ok();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let rows = status["needs_you"].as_array().unwrap().iter();
    let rows = rows.map(|row| (word(&row["kind"]), word(&row["id"])));
    (rows.collect(), word(&status["next"][0]["cmd"]))
}

#[test]
fn only_admins_are_asked_to_approve_and_everybody_else_is_told_whom_to_ask() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let bob = team.member(&alice, "bob", "live");
    let erin = team.laptop("erin");
    let joined = erin.join(&invite_for(&team, "erin"), "erin", "live").ok();
    let why = joined["next"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("an admin"), "{why}");
    for laptop in [&alice, &bob] {
        laptop.event(|event| event["kind"] == "peer_added" && event["actor"] == "erin");
    }
    let own = |name: &str| ("approval".to_owned(), name.to_owned());
    let command = "aura members approve erin";
    let (rows, next) = needs(&erin);
    assert_eq!((rows, &*next), (vec![own("erin")], command));
    let (rows, _) = needs(&alice);
    assert!(rows.contains(&own("erin")), "{rows:?}");
    assert_eq!(needs(&bob), (Vec::new(), String::new()));
    for laptop in [&bob, &erin] {
        let refused = laptop.aura(&["members", "approve", "erin"]);
        let refused = refused.fails(4, "FORBIDDEN");
        let said = refused["error"]["message"].as_str().unwrap();
        assert!(said.contains("ask alice"), "{said}");
        assert_eq!(refused["error"]["next"][0]["cmd"], command);
    }
    let approved = alice.aura(&["members", "approve", "erin"]).ok();
    let rows = approved["members"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "erin").unwrap();
    assert!(
        row["state"] == "approved" || row["state"] == "reads",
        "{row}"
    );
    alice.synced();
    assert_eq!(state_of(&alice, "erin"), "reads");
}

#[test]
fn a_device_without_a_link_says_of_nobody_that_he_is_there_and_still_knows_the_names() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "live");
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.aura(&["publish"]).ok();
    alice.event(|event| event["kind"] == "received" && event["actor"] == "bob");
    alice.synced();
    box_.stop("-TERM");
    alice.event(|event| event["kind"] == "link" && event["text"] != "connected to acme");
    for _ in 0..2 {
        let peers = alice.aura(&["peers"]).ok();
        let rows = peers["peers"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == "bob").unwrap();
        assert_eq!(
            (&row["state"], &row["path"]),
            (&"unknown".into(), &"none".into())
        );
        let ops = alice.log(&[]);
        assert_eq!(ops[0]["author"], "bob", "{ops:?}");
        alice.aura(&["down"]).ok();
        alice.aura(&["up"]).ok();
    }
}

#[test]
fn a_removed_device_says_so_and_publishes_nothing() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    bob.synced();
    let revoked = team.plain_mothership(&["peer", "revoke", "bob"]);
    assert!(revoked.stdout.contains("AURA_HOME"), "{revoked:?}");
    bob.event(|event| event["kind"] == "link" && event["text"] != "connected to acme");
    let status = bob.aura(&["status"]).ok();
    assert_eq!(status["link"]["state"], "revoked");
    assert_eq!(status["link"]["why"], "this device was removed");
    let (rows, next) = needs(&bob);
    assert_eq!(rows, [("removed".to_owned(), "bob".to_owned())]);
    assert!(next.contains("AURA_HOME"), "{next}");
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.aura(&["publish"]).fails(4, "REVOKED");
    let shown = bob.plain(&["status"]).stdout;
    assert!(!shown.contains("Nothing needs you"), "{shown}");
    assert!(!shown.contains("online"), "{shown}");
}
