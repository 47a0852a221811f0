//! What a start makes sure of before anybody can reach it, and what it does without.

use std::{fs, net::TcpListener};

use mothership_tests::{
    Mothership, Outcome,
    mount::Mount,
    strace::{Fault, traced},
};
use serde_json::Value;

use crate::{Site, segment::Segment};

#[test]
fn case_056_nothing_but_keys_and_log_is_needed_to_know_everything() {
    let mut site = Site::new(2);
    site.write(20);
    assert_eq!(site.check(), 40);
    site.team.mothership(&["peer", "revoke", "author-1"]).ok();
    let peers = site.team.mothership(&["peer", "list"]).ok();
    site.stop("-TERM");
    // There is no index and no snapshot: whatever else lies there is worth nothing.
    let keys = ["ca.key", "ca.pem", "mothership.key", "team-name", "tls.key"];
    let mut files = vec![site.team.state()];
    while let Some(path) = files.pop() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            files.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|file| file.unwrap().path()),
            );
        } else if !keys.contains(&name) && !name.ends_with(".wal") {
            fs::remove_file(&path).unwrap();
        }
    }
    fs::write(site.wal().join("spare.tmp"), b"not a segment").unwrap();
    site.start();
    assert_eq!(site.check(), 40);
    let again = site.team.mothership(&["peer", "list"]).ok();
    let known = |peers: &Value| -> Vec<(Value, Value, bool)> {
        let rows = peers["peers"].as_array().unwrap().iter();
        let row = |row: &Value| {
            (
                row["peer"].clone(),
                row["certificate_until"].clone(),
                row["state"] == "revoked",
            )
        };
        rows.map(row).collect()
    };
    assert_eq!(known(&again), known(&peers));
    assert_eq!(Segment::all(&site.wal()).len(), 1);
}

#[test]
fn case_061_a_second_mothership_is_refused_and_the_first_does_not_notice() {
    let mut site = Site::new(2);
    let second = site.command();
    let ended = site.authors.write_until(100, 1, 20, || {
        let refused = Mothership::start(second).err();
        refused.expect("both run").fails(12, "LOCKED");
    });
    for ended in ended {
        ended.unwrap();
    }
    assert_eq!(site.check(), 200);
}

/// The start ends with a storage failure, although its port is taken: it has not come to binding it.
#[track_caller]
fn assert_not_bound(site: &Site, fault: &[String]) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let command = site.team.serve_command(&site.team.state(), &listen);
    let mut command = if fault.is_empty() {
        command
    } else {
        traced(&command, fault)
    };
    Outcome::of(command.output().unwrap()).fails(14, "AE-STORAGE");
}

#[test]
fn case_063_what_cannot_be_written_ends_the_start_before_anything_is_bound() {
    let mut site = Site::new(1);
    site.write(3);
    site.stop("-TERM");
    for file in ["lock", "wal/lock"] {
        let file = site.team.state().join(file);
        let read_only = Fault {
            call: "openat",
            tampering: "error=EROFS".to_owned(),
        };
        let mut args = read_only.args();
        args.extend(["-P", file.to_str().unwrap()].map(str::to_owned));
        assert_not_bound(&site, &args);
    }
    site.start();
    assert_eq!(site.check(), 3);
}

#[test]
fn case_063_on_a_read_only_mount_only_reading_works() {
    if !Mount::is_possible() {
        return;
    }
    let mut site = Site::new(1);
    site.write(3);
    site.stop("-TERM");
    let mark = site.keep();
    let mount = Mount::tmpfs(&site.team.state(), 64 << 20);
    site.restore(&mark);
    mount.make_read_only();
    assert_not_bound(&site, &[]);
    let verified = site.team.mothership(&["wal", "verify"]).ok();
    assert_eq!(verified["entries"], 3);
}
