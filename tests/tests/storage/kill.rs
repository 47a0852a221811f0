//! Processes that are killed: at random moments, and at every system call that touches a disk.

use std::fs::{self, DirEntry};

use aura_net::Clock;
use mothership_tests::{
    Mothership, Team, amount,
    journal::{Authors, Mark},
    send_signal,
    strace::{Fault, Strace, WRITES, sweep, traced},
    token,
};

use crate::{Site, segment::Segment};

#[test]
fn case_049_killed_at_random_it_keeps_what_it_acknowledged() {
    let mut site = Site::new(8);
    for cycle in 0..amount(10_u32, 200) {
        let pid = site.box_().pid();
        let after = 1 + cycle * 37 % 100;
        let ended = site
            .authors
            .write_until(1_000, 4, after, || send_signal(pid, "-KILL"));
        assert!(ended.iter().all(Result::is_err), "the kill came too late");
        assert_eq!(site.ended(), None);
        site.start();
        site.check();
    }
}

#[test]
fn case_049_a_log_of_100_000_entries_is_ready_in_two_seconds() {
    let mut site = Site::new(8);
    for ended in site.authors.write(12_500, 128) {
        ended.unwrap();
    }
    site.stop("-KILL");
    let clock = Clock::start();
    site.start();
    let ready_ms = clock.mono_ms();
    assert!(ready_ms <= 2_000, "ready after {ready_ms} ms");
    let status = site.team.mothership(&["status"]).ok();
    assert_eq!(status["logs"][0]["seq"], 100_000, "{status}");
}

#[test]
fn c05_a_first_start_killed_at_any_write_is_finished_by_the_next() {
    let kills = sweep(WRITES, amount(11, 1), Fault::kill, |kill| {
        let team = Team::new();
        let command = team.serve_command(&team.state(), "127.0.0.1:0");
        let is_killed = match Mothership::start(traced(&command, &kill.args())) {
            Ok(box_) => box_.stop("-TERM") != Some(0),
            Err(outcome) => outcome.code().is_none(),
        };
        let box_ = Mothership::start(command).expect("the next start does not finish it");
        let mut authors = Authors::join(&token(&box_.ready), &box_.listen, 1);
        authors.write(1, 1).pop().unwrap().unwrap();
        assert_eq!(authors.check(), 1);
        let mut left = fs::read_dir(team.state()).unwrap().map(Result::unwrap);
        let is_temporary = |file: DirEntry| file.path().extension() == Some("aura-tmp".as_ref());
        assert!(!left.any(is_temporary), "{kill:?} left something behind");
        is_killed
    });
    assert!(amount(8, 60) <= kills, "only {kills} kills");
}

/// Two authors, and a log that goes on in its second segment after so many bytes of records more.
pub(crate) fn near_a_full_segment(room_bytes: usize) -> (Site, Mark) {
    let mut site = Site::new(2);
    for body_bytes in [1_000_000, 0] {
        site.authors.fill(body_bytes);
        site.write(7);
    }
    let segment = Segment::newest(&site.wal());
    let small = segment.records.last().unwrap().len();
    let left = segment.bytes.len() - RESERVE_BYTES - segment.end() - room_bytes;
    // Three entries, none longer than an entry may be.
    site.authors.fill(left / 3 - small);
    site.write_by(0, 3).unwrap();
    site.authors.fill(0);
    site.check();
    site.stop("-TERM");
    let mark = site.keep();
    (site, mark)
}

/// The end of a segment that pushes leave free.
const RESERVE_BYTES: usize = 64 << 10;

/// Starts below strace and writes into the next segment; answers how that ended. What the fault left is started
/// and checked.
pub(crate) fn roll_under(site: &mut Site, fault: &Fault, window: usize) -> Option<i32> {
    let command = traced(&site.command(), &fault.args());
    let exit = match site.start_with(command) {
        Err(outcome) => outcome.code(),
        Ok(()) => {
            let ended = site.authors.write(30, window);
            let is_alive = ended.iter().all(Result::is_ok);
            if is_alive {
                site.stop("-TERM")
            } else {
                site.ended()
            }
        }
    };
    site.start();
    let count = site.check();
    if exit == Some(0) {
        assert_eq!(count, 31 + 60);
        assert_eq!(Segment::all(&site.wal()).len(), 2, "the log has not rolled");
    }
    site.stop("-KILL");
    exit
}

#[test]
fn c05_killed_at_any_write_it_keeps_what_it_acknowledged() {
    let (mut site, mark) = near_a_full_segment(12_000);
    let windows = amount(&[2][..], &[1, 2, 3, 4, 6, 8, 12]);
    let sweep = |window: &usize| {
        sweep(WRITES, amount(11, 1), Fault::kill, |kill| {
            site.restore(&mark);
            let exit = roll_under(&mut site, kill, *window);
            assert!(matches!(exit, None | Some(0)), "ended with {exit:?}");
            exit.is_none()
        })
    };
    let kills: usize = windows.iter().map(sweep).sum();
    assert!(amount(12, 500) <= kills, "only {kills} kills");
    println!("{kills} kills");
}

#[test]
fn c05_whatever_is_cut_off_behind_the_last_acknowledged_entry_costs_nothing() {
    let mut site = Site::new(2);
    for round in 0..amount(5, 40) {
        site.write(2);
        let strace = Strace::attach(
            site.box_().pid(),
            &Fault::kill("fdatasync", 1 + round % 3).args(),
        );
        let ended = site.authors.write(10, 2);
        assert!(ended.iter().all(Result::is_err));
        assert_eq!(site.ended(), None);
        drop(strace);
        let mut segment = Segment::newest(&site.wal());
        let authors = &site.authors.authors;
        let acked = authors
            .iter()
            .map(|author| &author.entries[author.places.len() - 1]);
        // The last of some author may stand in an older segment.
        let safe = acked.filter_map(|entry| segment.find(entry));
        let safe = safe.map(|record| record.end).max();
        let safe = safe.expect("the newest segment has what was acknowledged last");
        let room = segment.end() + 100 - safe;
        segment.bytes.truncate(safe + (round * 61) % room);
        segment.save();
        site.start();
        site.check();
    }
}
