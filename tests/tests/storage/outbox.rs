//! A laptop's outbox: what was reported as queued is a promise, whatever becomes of daemon and disk.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use aura_engine::peer::replica::Record;
use aura_store::{RealDisk, verify_with};
use bytes::Bytes;
use mothership_tests::{
    Laptop, Mothership, Outcome, RISK, Team, amount, files,
    proxy::Proxy,
    strace::{Fault, Strace, WRITES, sweep, traced},
    token,
};

/// A laptop whose daemon does not run, and the link that it would use.
struct Away {
    team: Team,
    alice: Laptop,
    proxy: Proxy,
    /// Changes of `score` so far, and those that were reported as queued.
    edits: usize,
    queued: BTreeSet<String>,
    _box: Mothership,
}

impl Away {
    fn new() -> Self {
        let team = Team::new();
        let proxy = Proxy::to("127.0.0.1:1");
        let flags = ["--advertise", &proxy.listen];
        let box_ = team.serve_with(&team.state(), "127.0.0.1:0", &flags);
        proxy.lead_to(&box_.listen);
        let alice = team.founder(&box_, "live");
        alice.aura(&["config", "set", "publish", "intent"]).ok();
        alice.synced();
        alice.aura(&["down"]).ok();
        Self {
            team,
            alice,
            proxy,
            edits: 0,
            queued: BTreeSet::new(),
            _box: box_,
        }
    }

    /// Runs a daemon with a fault and publishes into its outbox while the Mothership is out of reach; answers how
    /// the daemon ended, 0 when it outlived all of it.
    fn publish_under(&mut self, fault: &Fault) -> Option<i32> {
        self.proxy.close();
        let daemon = Foreground::start(&self.alice, fault);
        let mut last = 11;
        if daemon.is_ready {
            for _ in 0..3 {
                last = self.publish().exit;
                if last != 11 {
                    break;
                }
            }
        }
        let ended = daemon.end(&self.alice);
        // A daemon whose one repository cannot be opened serves the others, and says so.
        if last == 14 { Some(14) } else { ended }
    }

    /// Changes `score` and publishes.
    fn publish(&mut self) -> Outcome {
        let (from, to) = (100 + self.edits, 101 + self.edits);
        self.edits += 1;
        self.alice.edit(
            "src/risk.rs",
            &format!("let cap = {from}"),
            &format!("let cap = {to}"),
        );
        let why = format!("cap {to}");
        let mut publish = self.alice.command();
        publish
            .args(["publish", "-m", &why])
            .env("AURA_NO_AUTOSTART", "1");
        let outcome = Outcome::of(publish.output().unwrap());
        if outcome.json["state"] == "queued" {
            self.queued.insert(why);
        }
        outcome
    }

    /// Starts the daemon as it is and lets it reach the Mothership: every promise was kept, once.
    #[track_caller]
    fn check(&mut self) {
        self.proxy.open();
        self.alice.aura(&["up"]).ok();
        self.alice.aura(&["publish"]);
        self.alice.synced();
        let log = self.alice.aura(&["log", "score", "-n", "100000"]).ok();
        let ops = log["ops"].as_array().unwrap();
        let whys: Vec<String> = ops
            .iter()
            .filter_map(|op| op["why"].as_str())
            .map(str::to_owned)
            .collect();
        let known: BTreeSet<String> = whys.iter().cloned().collect();
        assert_eq!(known.len(), whys.len(), "twice: {log}");
        let lost: Vec<_> = self.queued.difference(&known).collect();
        assert!(lost.is_empty(), "{lost:?} was queued and is lost");
        assert!(
            ops.iter().all(|op| op["seq"].is_u64()),
            "not delivered: {log}"
        );
        assert!(ops.len() <= self.edits, "more than was ever saved: {log}");
        let entries = self.team.mothership(&["wal", "verify"]).ok()["entries"].clone();
        // Beside the changes, the team's log holds its founding and its first key.
        assert_eq!(entries, ops.len() + 2);
        self.alice.aura(&["down"]).ok();
    }
}

/// A daemon in the foreground, below strace.
struct Foreground {
    child: Child,
    is_ready: bool,
}

impl Foreground {
    /// Starts it and waits until it listens to faces, or has ended.
    fn start(laptop: &Laptop, fault: &Fault) -> Self {
        let mut command = laptop.command();
        command.args(["daemon", "run"]);
        let (call, tampering) = (fault.call, &fault.tampering);
        let trace = format!("trace=listen,{call}");
        let inject = format!("inject={call}:{tampering}");
        let mut child = traced(&command, &["-e", &trace, "-e", &inject])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("listen("));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, is_ready }
    }

    /// Asks it to stop, unless the fault was faster; answers its exit code.
    fn end(mut self, laptop: &Laptop) -> Option<i32> {
        laptop.aura(&["down"]);
        self.child.wait().unwrap().code()
    }
}

#[test]
fn c05_a_daemon_killed_at_any_write_keeps_what_it_queued() {
    let mut away = Away::new();
    // Its git helpers write as well; what it does with a plain write is always followed by a sync.
    let all = ["pwrite64", "fdatasync", "fsync", "rename", "unlink"];
    let calls = &all[..amount(3, 5)];
    let kills = sweep(calls, amount(6, 1), Fault::kill, |fault| {
        let exit = away.publish_under(fault);
        assert!(matches!(exit, None | Some(0)), "{fault:?}: {exit:?}");
        away.check();
        exit.is_none()
    });
    println!("{kills} kills");
}

#[test]
fn case_051_a_daemon_whose_sync_failed_promises_nothing_and_ends() {
    let mut away = Away::new();
    let broken = |call, n| Fault::error(call, "EIO", n);
    let fails = sweep(&["fdatasync"], amount(4, 1), broken, |fault| {
        let exit = away.publish_under(fault);
        assert!(matches!(exit, Some(0 | 14)), "{fault:?}: {exit:?}");
        away.check();
        exit == Some(14)
    });
    assert!(amount(1, 4) <= fails, "only {fails} syncs failed");
}

/// The files of all logs below a directory.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| path.extension() == Some("wal".as_ref());
    files(dir).into_iter().filter(is_log).collect()
}

#[test]
fn case_052_a_laptop_without_space_says_so_and_goes_on_when_it_has_some() {
    let mut away = Away::new();
    away.proxy.close();
    let pid = away.alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    for n in amount(vec![1, 2], (1..=10).collect()) {
        // What is no promise, as which text a parser is at, may be lost.
        let logs = logs(&away.alice.home).into_iter();
        let logs = logs.flat_map(|log| ["-P".to_owned(), log.display().to_string()]);
        let mut full = Fault::error("pwrite64", "ENOSPC", n).args();
        full.extend(logs);
        let strace = Strace::attach(u32::try_from(pid).unwrap(), &full);
        for _ in 1..n {
            assert_eq!(away.publish().exit, 11);
        }
        away.publish().fails(13, "NO_SPACE");
        drop(strace);
        // The same edit, now that there is space.
        assert_eq!(away.alice.aura(&["publish"]).exit, 11);
    }
    let again = away.alice.aura(&["up"]).ok()["pid"].as_u64();
    assert_eq!(again, Some(pid), "it was restarted");
    away.check();
}

#[test]
fn c05_a_join_killed_at_any_write_is_finished_by_the_same_command() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut members = 1;
    let calls = amount(&["pwrite64", "fsync"][..], WRITES);
    let kills = sweep(calls, amount(7, 1), Fault::kill, |fault| {
        members += 1;
        let name = format!("laptop-{members}");
        let laptop = team.laptop(&name);
        let invite = token(&alice.aura(&["invite"]).ok());
        let mut join = laptop.command();
        join.args(["join", &invite, "--name", &name, "--no-service"]);
        // Strace stands beside, because the daemon outlives the command.
        let mut args = fault.args();
        args.push("-D".to_owned());
        let mut join = traced(&join, &args);
        let exit = join
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .code();
        // Where only the command was killed, its daemon still has the fault before it.
        laptop.aura(&["down"]);
        let mut joined = laptop.join(&invite, &name, "live");
        if joined.exit == 5 {
            // That daemon came up only now, and the fault ended it before it answered.
            joined = laptop.join(&invite, &name, "live");
        }
        assert_eq!(joined.exit, 0, "{fault:?}: {joined:?}");
        assert_eq!(laptop.aura(&["status"]).ok()["link"]["state"], "online");
        let peers = team.mothership(&["peer", "list"]).ok();
        assert_eq!(peers["peers"].as_array().unwrap().len(), members);
        exit != Some(0)
    });
    println!("{kills} kills");
}

#[test]
fn case_052_what_a_full_laptop_could_not_take_arrives_when_there_is_space() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let pid = bob.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    let full = Fault {
        call: "pwrite64",
        tampering: "error=ENOSPC".to_owned(),
    };
    let strace = Strace::attach(u32::try_from(pid).unwrap(), &full.args());
    for cap in 101..104 {
        alice.edit(
            "src/risk.rs",
            &format!("let cap = {}", cap - 1),
            &format!("let cap = {cap}"),
        );
        alice.aura(&["publish"]).ok();
    }
    bob.event(|event| event["kind"] == "no_space");
    assert_eq!(bob.read("src/risk.rs"), RISK);
    drop(strace);
    bob.event(|event| event["kind"] == "applied" && bob.read("src/risk.rs").contains("cap = 103"));
    let log = bob.aura(&["log", "score"]).ok();
    assert_eq!(log["ops"].as_array().unwrap().len(), 3, "{log}");
    assert_eq!(
        bob.aura(&["up"]).ok()["pid"].as_u64(),
        Some(pid),
        "it was restarted"
    );
}

/// Flips a bit in the `nth` own entry of the only log below `repos`.
fn rot(repos: &Path, nth: usize) {
    let dirs = fs::read_dir(repos).unwrap().map(|dir| dir.unwrap().path());
    let [dir] = &dirs.collect::<Vec<_>>()[..] else {
        panic!("one clone");
    };
    let log = dir.join("log");
    let mut own = Vec::new();
    verify_with(&RealDisk, &log, |record| {
        if let Ok(Record::Own(entry)) = Record::decode(&Bytes::copy_from_slice(record.payload)) {
            own.push(entry);
        }
    })
    .unwrap();
    let entry = own[nth - 1].bytes();
    let found = logs(&log).into_iter().find_map(|file| {
        let bytes = fs::read(&file).unwrap();
        let at = bytes.windows(entry.len()).position(|some| some == entry)?;
        Some((file, bytes, at))
    });
    let (file, mut bytes, at) = found.unwrap();
    bytes[at + entry.len() / 2] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn case_100_of_a_damaged_queue_all_before_is_sent_and_all_behind_waits_for_its_user() {
    let count = amount(20, 1_000);
    let bad = count / 2;
    let away = Away::new();
    let bob = away.team.member(&away.alice, "bob", "live");
    let alice = &away.alice;
    alice.aura(&["config", "set", "publish", "save"]).ok();
    let name = |n: usize| format!("src/n{n}.rs");
    let text = |n: usize, value: usize| format!("pub fn f{n}() -> usize {{\n    {value}\n}}\n");
    // One file is known to the team and not to git.
    alice.save(&name(0), text(0, 7));
    bob.event(|event| event["kind"] == "applied" && bob.repo.join(name(0)).exists());
    away.proxy.close();
    for n in 1..=count {
        alice.save(&name(n), text(n, n));
        alice.aura(&["publish", "--no-wait"]);
    }
    alice.save(&name(0), text(0, 8));
    alice.aura(&["publish", "--no-wait"]);
    alice.aura(&["down"]).ok();
    rot(&alice.home.join("repos"), 1 + bad);
    away.proxy.open();
    alice.aura(&["up"]).ok();
    alice.synced();
    bob.synced();
    for n in 1..=count {
        let has = |laptop: &Laptop| fs::read_to_string(laptop.repo.join(name(n))).ok();
        assert_eq!(has(alice), Some(text(n, n)), "{n} is lost");
        assert_eq!(has(&bob).is_some(), n < bad, "{n}");
    }
    assert_eq!(bob.read(&name(0)), text(0, 7));
    let status = alice.aura(&["status"]).ok();
    let said = damage_told(
        &status,
        count + 1 - bad,
        &[&text(count, count), &text(0, 8)],
    );
    // A start changes nothing of it, and neither does another save.
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    alice.synced();
    let status = alice.aura(&["status"]).ok();
    assert_eq!(status["needs_you"][0]["text"], said);
    // What would be published is shown before it is: the lost ones, the one on top of what the team has, and the save.
    assert_eq!(status["mine"]["unpublished"], count - bad + 3);
    shows_unpublished(
        alice,
        &[
            (&name(count), "mine", &text(count, count)),
            ("src/n0.rs::f0", "team", text(0, 7).trim_end()),
        ],
    );
    let nothing = serde_json::json!([]);
    assert_eq!(alice.aura(&["log", "score"]).ok()["ops"], nothing);
    assert_eq!(alice.aura(&["publish"]).ok()["state"], "published");
    alice.synced();
    bob.synced();
    for n in 0..=count {
        assert_eq!(alice.read(&name(n)), bob.read(&name(n)));
    }
    assert_eq!(bob.read(&name(0)), text(0, 8));
    assert!(bob.read("src/risk.rs").contains("let cap = 101"));
    assert_eq!(alice.aura(&["status"]).ok()["needs_you"], nothing);
    for laptop in [alice, &bob] {
        assert_eq!(laptop.conflicts(), Vec::<serde_json::Value>::new());
    }
    alice.save(&name(0), text(0, 9));
    bob.event(|event| event["kind"] == "applied" && bob.read(&name(0)) == text(0, 9));
}

#[test]
fn case_100_of_a_damaged_team_log_the_start_names_a_cure_that_works() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let members = alice.aura(&["members"]).ok();
    alice.aura(&["down"]).ok();
    let log = alice.home.join("team/log");
    let [file] = &logs(&log)[..] else {
        panic!("one segment");
    };
    let mut bytes = fs::read(file).unwrap();
    // The seal of a segment that goes on says so.
    bytes[600] ^= 1;
    fs::write(file, bytes).unwrap();
    let refused = alice.aura(&["up"]);
    let cure = refused.json["error"]["next"][0]["cmd"].as_str().unwrap();
    assert_eq!((refused.exit, &cure[..3]), (15, "mv "), "{cure}");
    let cured = Command::new("sh").args(["-c", cure]).status();
    assert!(cured.unwrap().success());
    alice.aura(&["up"]).ok();
    alice.synced();
    assert_eq!(alice.aura(&["members"]).ok(), members);
}

/// What a laptop says of its damaged log; so many changes behind the damage are kept, these texts among them.
fn damage_told(status: &serde_json::Value, behind: usize, texts: &[&str]) -> String {
    let need = &status["needs_you"][0];
    assert_eq!(need["kind"], "damage", "{status}");
    let said = need["text"].as_str().unwrap();
    let behind = format!("{behind} changes of yours behind");
    assert!(said.contains(&behind), "{said}");
    let (_, report) = said.split_once("are kept in ").unwrap();
    let (report, _) = report.split_once(';').unwrap();
    let report = fs::read_to_string(report).unwrap();
    assert!(texts.iter().all(|text| report.contains(text)));
    said.to_owned()
}

/// All that differs is this laptop's own, and these symbols have these texts on that side.
fn shows_unpublished(laptop: &Laptop, symbols: &[(&str, &str, &str)]) {
    let diff = laptop.aura(&["diff"]).ok();
    let rows = diff["units"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["state"] == "unpublished"));
    for (symbol, side, text) in symbols {
        let row = rows.iter().find(|row| row["symbol"] == *symbol).unwrap();
        assert_eq!(row[*side], *text);
    }
}

#[test]
fn case_056_a_laptop_needs_nothing_but_keys_and_logs_to_know_what_it_has() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    let before = alice.aura(&["log"]).ok()["ops"].clone();
    let repos = alice.home.join("repos");
    let repo = fs::read_dir(&repos)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let kept = || {
        fs::read_dir(repo.join("shadow"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
    };
    assert!(kept().next().is_some());
    for is_damaged in [true, false] {
        alice.aura(&["down"]).ok();
        for file in kept() {
            if is_damaged {
                fs::write(file, b"not a shadow").unwrap();
            } else {
                fs::remove_file(file).unwrap();
            }
        }
        alice.aura(&["up"]).ok();
        alice.synced();
        assert_eq!(alice.aura(&["publish"]).ok()["state"], "nothing");
        assert_eq!(alice.aura(&["log"]).ok()["ops"], before);
        assert!(alice.read("src/risk.rs").contains("cap = 250"));
    }
}
