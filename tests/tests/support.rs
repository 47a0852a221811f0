//! `aura doctor` and `aura bugreport` with the real binaries.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use mothership_tests::{Laptop, Mothership, Team, files, git, send_signal};
use serde_json::Value;

fn alone() -> (Team, Mothership, Laptop) {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.synced();
    (team, box_, alice)
}

/// The state of a check, and what is said of it.
#[track_caller]
fn check(doctor: &Value, name: &str) -> (String, String) {
    let checks = doctor["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name}: {doctor}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("state"), text("text"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_running(laptop: &Laptop) -> bool {
    laptop.aura(&["version"]).ok()["daemon"].is_string()
}

#[test]
fn a_member_whose_link_is_up_is_told_that_nothing_fails() {
    let (_team, _box, alice) = alone();
    let doctor = alice.aura(&["doctor"]).ok();
    assert_eq!(doctor["schema"], "aura.doctor/1");
    for name in [
        "git", "clone", "home", "daemon", "identity", "sync", "needs", "links",
    ] {
        assert_eq!(check(&doctor, name).0, "ok", "{doctor}");
    }
    // Git would not find this program, and says so.
    assert_eq!(check(&doctor, "merge driver").0, "warn", "{doctor}");
    assert_ne!(doctor["state"], "fail");
}

#[test]
fn a_doctor_starts_nothing_and_changes_nothing_unless_it_is_told_to_fix() {
    let (_team, _box, alice) = alone();
    alice.aura(&["down"]).ok();
    alice.aura(&["uninit"]).ok();
    fs::set_permissions(&alice.home, fs::Permissions::from_mode(0o755)).unwrap();
    let doctor = alice.aura(&["doctor"]).ok();
    for name in ["home", "merge driver", "daemon"] {
        assert_eq!(check(&doctor, name).0, "warn", "{doctor}");
    }
    assert_eq!(doctor["fixed"].as_array().unwrap().len(), 0);
    assert!(!is_running(&alice));
    assert_eq!(mode(&alice.home), 0o755);
    assert!(!alice.repo.join(".git/info/attributes").exists());
    let fixed = alice.aura(&["doctor", "--fix"]).ok();
    assert_eq!(fixed["fixed"].as_array().unwrap().len(), 2, "{fixed}");
    assert_eq!(mode(&alice.home), 0o700);
    let attributes = alice.read(".git/info/attributes");
    assert!(attributes.contains("merge=aura"), "{attributes}");
    assert_eq!(git(&alice.repo, &["status", "--porcelain"]), "");
    assert_eq!(check(&fixed, "home").0, "ok");
    assert!(!is_running(&alice));
}

#[test]
fn the_socket_of_a_killed_daemon_is_removed_and_the_next_one_starts() {
    let (_team, _box, alice) = alone();
    let pid = alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    // A daemon that lives keeps its socket.
    let living = alice.aura(&["doctor", "--fix"]).ok();
    assert_eq!(check(&living, "daemon").0, "ok", "{living}");
    assert!(is_running(&alice));
    send_signal(u32::try_from(pid).unwrap(), "-KILL");
    let is_seen = (0..1_000).any(|_| {
        let doctor = alice.aura(&["doctor"]).ok();
        check(&doctor, "daemon").1.contains("left its socket")
    });
    assert!(is_seen);
    let fixed = alice.aura(&["doctor", "--fix"]).ok();
    assert_eq!(fixed["fixed"][0]["check"], "daemon", "{fixed}");
    assert!(!alice.home.join("run/daemon.sock").exists());
    alice.aura(&["up"]).ok();
    let doctor = alice.aura(&["doctor"]).ok();
    assert_eq!(check(&doctor, "daemon").0, "ok", "{doctor}");
}

#[test]
fn a_kept_log_that_the_disk_damaged_is_named() {
    let (_team, _box, alice) = alone();
    let damaged = alice.home.join("repos/0123.damaged");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("damage.txt"), "5 records lost\n").unwrap();
    let (state, text) = check(&alice.aura(&["doctor"]).ok(), "damage");
    assert_eq!(state, "warn");
    assert!(text.contains("0123.damaged: 5 records lost"), "{text}");
}

#[test]
fn outside_of_a_clone_and_without_a_team_a_doctor_and_a_report_have_something_to_say() {
    let team = Team::new();
    let mut nobody = team.laptop("nobody");
    nobody.repo = team.dir.path().to_owned();
    let doctor = nobody.aura(&["doctor"]).ok();
    for (name, state) in [("clone", "warn"), ("home", "warn"), ("daemon", "ok")] {
        assert_eq!(check(&doctor, name).0, state, "{doctor}");
    }
    // Nothing publishes what lies here.
    let report = nobody.aura(&["bugreport"]).ok();
    let path = Path::new(report["path"].as_str().unwrap());
    assert_eq!(path.parent(), Some(team.dir.path()));
    assert!(!nobody.home.exists());
}

/// A function whose every word would be noticed.
const LEDGER: &str = "pub fn zebra_total(quokka: u32) -> u32 {\n    quokka * 31337000\n}\n";

/// Alice, in whose state every name and every text is a canary, and an invite that her log tells.
fn telling(team: &Team, box_: &Mothership) -> (Laptop, Laptop, String) {
    let alice = team.founder(box_, "live");
    let wombat = team.member(&alice, "wombat", "live");
    let wait = ["wait", "--for", "peer:wombat", "--timeout", "30s"];
    alice.aura(&wait).ok();
    fs::write(alice.repo.join("src/numbat.rs"), LEDGER).unwrap();
    alice.aura(&["publish"]).ok();
    fs::write(alice.repo.join("src/kiosk.rs"), "fn broken( {\n").unwrap();
    let why = "the tender of tuesday";
    alice
        .aura(&["zone", "claim", "zebra_total", "--why", why])
        .ok();
    let text = "please stop the server now";
    wombat.aura(&["msg", "send", "@alice", text]).ok();
    alice.event(|event| event["kind"] == "message");
    let invite = team.invite();
    let log = alice.home.join("daemon.log");
    let said = fs::read_to_string(&log).unwrap_or_default();
    let repo = alice.repo.display();
    let planted = format!("{said}error: {invite} of wombat: {LEDGER}\n{repo}\n");
    fs::write(&log, planted).unwrap();
    (alice, wombat, invite)
}

#[test]
fn a_report_has_no_name_no_code_and_no_secret() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let (alice, _wombat, invite) = telling(&team, &box_);
    let report = alice.aura(&["bugreport"]).ok();
    let path = Path::new(report["path"].as_str().unwrap());
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(report["bytes"], text.len());
    assert_eq!(mode(path), 0o600);
    let lower = text.to_lowercase();
    let names = [
        "wombat", "alice", "acme", "zebra", "numbat", "kiosk", "risk.rs",
    ];
    let texts = ["quokka", "31337", "tuesday", "tender", "stop the server"];
    let secrets = ["ms1-", &invite[4..20].to_lowercase(), "begin certificate"];
    let dir = team.dir.path().display().to_string().to_lowercase();
    let places = [box_.listen.as_str(), &dir];
    let canaries = names.iter().chain(&texts).chain(&secrets).chain(&places);
    for canary in canaries {
        assert!(!lower.contains(canary), "{canary}: {text}");
    }
    let files = files(&alice.home.join("identity"));
    let files = files.iter().map(|file| fs::read(file).unwrap());
    for secret in files.filter(|secret| 16 <= secret.len()) {
        let mut parts = text.as_bytes().windows(16);
        assert!(!parts.any(|some| some == &secret[..16]), "{text}");
    }
    let helps = ["\"word\": \"", "peer-1", "symbol-1", "CLONE", "[token]"];
    for part in helps
        .iter()
        .chain(&["AURA_HOME", "daemon.log", "git version"])
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_report_is_not_written_where_it_would_be_published_nor_over_a_file() {
    let (team, _box, alice) = alone();
    let report = alice.aura(&["bugreport"]).ok();
    let path = Path::new(report["path"].as_str().unwrap());
    assert_eq!(path.parent(), Some(alice.home.as_path()));
    assert_eq!(git(&alice.repo, &["status", "--porcelain"]), "");
    let inside = alice.aura(&["bugreport", "-o", "report.txt"]);
    inside.fails(2, "AE-USAGE");
    assert!(!alice.repo.join("report.txt").exists());
    // What git ignores is not published.
    fs::write(alice.repo.join(".git/info/exclude"), "report.txt\n").unwrap();
    alice.aura(&["bugreport", "-o", "report.txt"]).ok();
    let outside = team.dir.path().join("report.txt");
    let outside = outside.to_str().unwrap();
    let report = alice.aura(&["bugreport", "-o", outside]).ok();
    assert_eq!(report["path"], outside);
    let again = alice.aura(&["bugreport", "-o", outside]);
    again.fails(12, "AE-EXISTS");
}

#[test]
fn a_report_starts_no_daemon() {
    let (_team, _box, alice) = alone();
    alice.aura(&["down"]).ok();
    let report = alice.aura(&["bugreport"]).ok();
    let text = fs::read_to_string(report["path"].as_str().unwrap()).unwrap();
    assert!(text.contains("no daemon runs"), "{text}");
    assert!(!is_running(&alice));
}
