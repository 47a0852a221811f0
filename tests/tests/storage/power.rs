//! Power that fails: whatever was not synced is lost, there, or half there, and nothing acknowledged is among it.

use std::{fs, path::Path};

use aura_proto::message::Outcome;
use mothership_tests::{
    Mothership, Team, amount,
    disk::{Disk, TRACE},
    journal::{Author, Authors, LOG},
    mount::{Mount, make_ext4},
    send_signal,
    strace::{self, Call, traced},
    token,
};

use crate::{Site, kill::near_a_full_segment};

/// What a run did to a disk, call by call.
struct Recorded {
    before: Disk,
    calls: Vec<Call>,
}

impl Recorded {
    fn of(before: Disk, trace: &Path) -> Self {
        let mut calls = strace::read(trace);
        calls.sort_by_key(|call| call.ended);
        Self { before, calls }
    }

    /// Cuts the power before every call that changes the disk, or before some of them, and at the end; what is left
    /// is looked at with the place in the trace where it happened.
    fn cut_power(&self, step: usize, mut what_is_left: impl FnMut(usize)) {
        let mut disk = self.before.clone();
        let (mut changes, mut cuts) = (0, 0);
        for call in &self.calls {
            if !disk.is_changed_by(call) {
                continue;
            }
            for way in (0..amount(1, 3)).filter(|_| changes % step == 0) {
                disk.cut_power(changes as u64 * 3 + way);
                what_is_left(call.began);
                cuts += 1;
            }
            changes += 1;
            disk.apply(call);
        }
        disk.cut_power(0);
        what_is_left(usize::MAX);
        println!("{} power cuts", cuts + 1);
    }
}

#[test]
fn case_050_whenever_the_power_fails_what_was_acknowledged_is_there() {
    let (mut site, mark) = near_a_full_segment(8_000);
    let before = Disk::of(&site.team.state());
    let trace = site.team.dir.path().join("trace");
    let mut args = TRACE.to_vec();
    args.extend(["-o", trace.to_str().unwrap()]);
    site.start_with(traced(&site.command(), &args)).unwrap();
    // Batches of several records, and few enough of them that no credit travels back beside the answers.
    let (batches, batch) = (16, 3);
    let author = &mut site.authors.authors[0];
    let first = author.places.len();
    site.authors.runtime.block_on(async {
        let mut wire = author.connect().await.unwrap();
        for from in (first..).step_by(batch).take(batches) {
            wire.push(LOG, author.entries(from..from + batch).unwrap());
            for (author_seq, outcome) in wire.acked().await.unwrap().outcomes {
                let Outcome::Stored { seq, .. } = outcome else {
                    panic!("{outcome:?}")
                };
                author.note(author_seq, seq);
            }
        }
    });
    site.stop("-KILL");
    let attempted = author_0(&mut site).entries.clone();
    let places = author_0(&mut site).places.clone();
    let recorded = Recorded::of(before, &trace);
    let holds_first =
        |call: &&Call| call.name == "pwrite64" && call.args.contains(&format!("author-0 {first}"));
    let first_batch = recorded.calls.iter().find(holds_first).unwrap().began;
    let is_answer = |call: &&Call| call.name == "writev" && call.file().starts_with("socket:");
    let answers = recorded.calls.iter().filter(is_answer);
    let told: Vec<usize> = answers
        .map(|call| call.began)
        .filter(|at| first_batch < *at)
        .take(batches)
        .collect();
    assert_eq!(told.len(), batches);
    recorded.cut_power(amount(7, 1), |at| {
        site.authors.rewind(&mark);
        let acknowledged = told.iter().filter(|told| **told < at).count() * batch;
        author_0(&mut site).entries.clone_from(&attempted);
        author_0(&mut site).places = places[..first + acknowledged].to_vec();
        site.start();
        site.check();
        site.stop("-KILL");
    });
}

fn author_0(site: &mut Site) -> &mut Author {
    &mut site.authors.authors[0]
}

#[test]
fn case_050_whenever_the_power_fails_in_a_first_start_the_next_one_is_good() {
    let team = Team::new();
    let root = team.dir.path().join("disk");
    fs::create_dir(&root).unwrap();
    let state = root.join("box");
    let before = Disk::of(&root);
    let trace = team.dir.path().join("trace");
    let command = team.serve_command(&state, "127.0.0.1:0");
    let mut args = TRACE.to_vec();
    args.extend(["-o", trace.to_str().unwrap()]);
    let box_ = Mothership::start(traced(&command, &args)).unwrap();
    let invite = token(&box_.ready);
    let is_ready = |call: &Call| call.name == "write" && call.file().starts_with("pipe:");
    // What it has said is here before strace has written it down, and a kill would leave it out.
    while !strace::read(&trace).iter().any(is_ready) {
        std::thread::yield_now();
    }
    box_.stop("-KILL");
    let recorded = Recorded::of(before, &trace);
    let told = recorded
        .calls
        .iter()
        .find(|call| is_ready(call))
        .unwrap()
        .began;
    recorded.cut_power(amount(8, 1), |at| {
        let box_ = team.serve_in(&state, "127.0.0.1:0");
        let invite = if told < at {
            invite.clone()
        } else {
            token(&box_.ready)
        };
        Authors::join(&invite, &box_.listen, 1);
    });
}

/// The backing file of a loop device holds what was written to the device, and nothing that only the page cache
/// of the file system above it had.
#[test]
fn case_050_the_image_of_a_real_file_system_holds_what_was_acknowledged() {
    if !Mount::is_possible() {
        return;
    }
    let (mut site, mark) = near_a_full_segment(8_000);
    let dir = site.team.dir.path().to_owned();
    let (state, image, copy) = (site.team.state(), dir.join("image"), dir.join("copy"));
    for cycle in 0..amount(4, 50) {
        make_ext4(&image, 80 << 20);
        let mount = Mount::image(&image, &state);
        site.restore(&mark);
        mount.sync();
        site.start();
        let pid = site.box_().pid();
        // The log goes on in its second segment after about twenty entries.
        let ended = site.authors.write_until(1_000, 2, 1 + cycle * 19 % 50, || {
            send_signal(pid, "-STOP");
            fs::copy(&image, &copy).unwrap();
            send_signal(pid, "-KILL");
        });
        assert!(ended.iter().all(Result::is_err));
        assert_eq!(site.ended(), None);
        drop(mount);
        let _mount = Mount::image(&copy, &state);
        site.start();
        site.check();
        site.stop("-KILL");
    }
}
