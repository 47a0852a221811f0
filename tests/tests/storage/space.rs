//! Disks that are full: what does not fit is refused, everything else goes on, and so does the process.

use mothership_tests::{
    amount,
    mount::Mount,
    strace::{Fault, Strace},
};

use crate::Site;

#[track_caller]
fn assert_no_space(ended: Result<(), mothership_tests::wire::Failure>) {
    let refused = ended.expect_err("there was space").to_string();
    assert!(refused.contains("NO_SPACE"), "{refused}");
}

#[test]
fn case_052_a_write_that_finds_no_space_is_refused_and_leaves_nothing_behind() {
    let mut site = Site::new(2);
    let errors = amount(&["ENOSPC"][..], &["ENOSPC", "EDQUOT", "EFBIG"]);
    for error in errors {
        for n in amount(vec![1, 4], (1..=30).collect()) {
            let full = Fault::error("pwrite64", error, n).args();
            let strace = Strace::attach(site.box_().pid(), &full);
            assert_no_space(site.write_by(0, n));
            site.check();
            let verified = site.team.mothership(&["wal", "verify"]).ok();
            assert_eq!(verified["torn_tail_bytes"], 0, "{verified}");
            drop(strace);
            site.write(1);
        }
    }
    site.stop("-KILL");
    site.start();
    assert!(!site.said().contains("TAIL_TRUNCATED"));
    site.check();
}

#[test]
fn case_052_without_room_for_a_segment_members_are_removed_and_nothing_is_restarted() {
    let mut site = site_of_several_sizes();
    let spare = site.wal().join("spare.tmp");
    let full = Fault {
        call: "openat",
        tampering: "error=ENOSPC".to_owned(),
    };
    let mut args = full.args();
    args.extend(["-P", spare.to_str().unwrap()].map(str::to_owned));
    let strace = Strace::attach(site.box_().pid(), &args);
    fill_and_recover(&mut site, || drop(strace));
}

/// Fills what is left to the last byte that pushes may use, shows what still works, and lets space return.
fn fill_and_recover(site: &mut Site, make_space: impl FnOnce()) {
    for author in 0..3 {
        assert_no_space(site.write_by(author, 1_000));
    }
    site.check();
    let revoked = site.team.mothership(&["peer", "revoke", "author-3"]).ok();
    assert_eq!(revoked["name"], "author-3");
    let refused = site.write_by(3, 1).expect_err("it was removed").to_string();
    assert!(refused.contains("REVOKED"), "{refused}");
    for author in 0..3 {
        assert_no_space(site.write_by(author, 1));
    }
    make_space();
    for author in 0..3 {
        site.write_by(author, 2).unwrap();
    }
    site.check();
    site.stop("-KILL");
    site.start();
    site.check();
    let refused = site.write_by(3, 1).expect_err("it was removed").to_string();
    assert!(refused.contains("REVOKED"), "{refused}");
}

#[test]
fn case_052_a_small_disk_fills_up_and_grows() {
    if !Mount::is_possible() {
        return;
    }
    let mut site = site_of_several_sizes();
    site.stop("-TERM");
    let mark = site.keep();
    let mount = Mount::tmpfs(&site.team.state(), 24 << 20);
    site.restore(&mark);
    site.start();
    fill_and_recover(&mut site, || mount.resize(64 << 20));
    // The disk lives as long as its last user.
    drop(site);
}

/// Authors whose entries are large, small and smallest, and one to be removed.
fn site_of_several_sizes() -> Site {
    let mut site = Site::new(4);
    for (author, bytes) in [(0, 1_000_000), (1, 10_000), (2, 0)] {
        site.authors.authors[author].body_bytes = bytes;
    }
    site
}
