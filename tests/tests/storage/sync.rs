//! An acknowledgement comes after the sync that covers it, and after a failed sync nothing comes.

use aura_net::Clock;
use mothership_tests::{
    Mothership, Team, amount,
    strace::{self, Call, Fault, Strace, sweep, traced},
};

use crate::{
    Site,
    kill::{near_a_full_segment, roll_under},
};

#[test]
fn case_048_every_acknowledgement_is_sent_after_a_sync_that_covers_its_entry() {
    let mut site = Site::new(1);
    let trace = site.team.dir.path().join("trace");
    let calls = "trace=pwrite64,fdatasync,recvfrom,sendto,writev";
    let strace = Strace::attach(
        site.box_().pid(),
        &["-y", "-s", "0", "-e", calls, "-o", trace.to_str().unwrap()],
    );
    // Short links, so that nothing but acknowledgements travels back: no credit is due yet.
    for _ in 0..10 {
        site.write(100);
    }
    drop(strace);
    let calls = strace::read(&trace);
    let is_record = |call: &Call| call.name == "pwrite64" && call.file().ends_with(".wal");
    let is_arrival = |call: &Call| call.name == "recvfrom" && 0 < call.answer;
    let is_answer = |call: &Call| matches!(&call.name[..], "sendto" | "writev");
    let mut acknowledged = 0;
    for (at, record) in calls.iter().enumerate().filter(|(_, call)| is_record(call)) {
        let covers = |call: &&Call| {
            call.name == "fdatasync" && call.file() == record.file() && record.ended < call.began
        };
        let sync = calls[at..]
            .iter()
            .find(covers)
            .expect("it was never synced");
        assert_eq!(sync.answer, 0, "{sync:?}");
        // The author sends its next entry only after it got the answer to this one.
        let arrived = calls[..at].iter().rposition(is_arrival).unwrap();
        let link = calls[arrived].file();
        let answers = calls[arrived + 1..]
            .iter()
            .filter(|call| call.file() == link)
            .take_while(|call| !is_arrival(call))
            .filter(|call| is_answer(call));
        for answer in answers {
            assert!(
                sync.ended < answer.began,
                "{answer:?} was sent before {sync:?}"
            );
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 1_000);
}

fn broken(call: &'static str, n: usize) -> Fault {
    Fault::error(call, "EIO", n)
}

#[test]
fn case_051_after_a_failed_sync_nothing_is_acknowledged_and_the_process_ends() {
    let mut site = Site::new(1);
    site.stop("-TERM");
    let mark = site.keep();
    for n in amount(vec![1, 2, 3, 10, 40], (1..=200).collect()) {
        site.restore(&mark);
        site.start();
        let _strace = Strace::attach(site.box_().pid(), &broken("fdatasync", n).args());
        let mut failed = Clock::start();
        let before = u32::try_from(n).unwrap() - 1;
        let ended = site
            .authors
            .write_until(n + 5, 1, before, || failed = Clock::start());
        assert_eq!(site.ended(), Some(14));
        let took_ms = failed.mono_ms();
        assert!(took_ms <= 2_000, "it went on for {took_ms} ms");
        assert!(ended[0].is_err());
        assert_eq!(site.authors.acknowledged(), n - 1);
        site.start();
        assert!(!site.said().contains("TAIL_TRUNCATED"));
        site.check();
        site.write(2);
        site.stop("-KILL");
    }
}

#[test]
fn case_051_a_sync_that_fails_while_the_log_goes_on_in_its_next_segment() {
    let (mut site, mark) = near_a_full_segment(12_000);
    let fails = sweep(&["fdatasync", "fsync"], amount(9, 1), broken, |fault| {
        site.restore(&mark);
        match roll_under(&mut site, fault, 1) {
            Some(14) => true,
            Some(0) => false,
            exit => panic!("{fault:?}: ended with {exit:?}"),
        }
    });
    assert!(amount(5, 50) <= fails, "only {fails} syncs failed");
}

#[test]
fn case_051_a_first_start_on_a_failing_disk_ends_and_the_next_one_is_good() {
    let fails = sweep(&["fdatasync", "fsync"], amount(5, 1), broken, |fault| {
        let team = Team::new();
        let command = team.serve_command(&team.state(), "127.0.0.1:0");
        let exit = match Mothership::start(traced(&command, &fault.args())) {
            Ok(box_) => box_.stop("-TERM"),
            Err(outcome) => outcome.code(),
        };
        assert!(Mothership::start(command).is_ok(), "{fault:?}");
        assert!(
            matches!(exit, Some(0 | 14)),
            "{fault:?}: ended with {exit:?}"
        );
        exit == Some(14)
    });
    assert!(amount(5, 25) <= fails, "only {fails} syncs failed");
}
