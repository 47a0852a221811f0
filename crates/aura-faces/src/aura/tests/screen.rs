//! What people see.
//!
//! Invariant: text is compared as a whole, so a changed word is seen.

use super::*;

#[test]
fn a_quiet_status_is_two_lines() {
    let laptop = Laptop::new();
    laptop.daemon(|_| done(value(&status())));
    let run = laptop.run(&["status"]);
    assert_eq!(
        run.out,
        "acme · branch feat/limits at 3f1c9ab · mode observe · mothership 11 ms\n\
         Nothing needs you. bob is online.\n"
    );
    assert_eq!((run.exit(), run.err.as_str()), (0, ""));
}

#[test]
fn a_status_names_needs_then_people_then_own_side_then_one_step() {
    let laptop = Laptop::new();
    let mut busy = status();
    busy.needs_you = vec![conflict()];
    busy.mine.held_back = vec!["src/a.rs: line 88".to_owned()];
    busy.incoming = docs::IncomingDoc {
        patches: 6,
        touching_my_edits: 0,
        from: vec!["bob".to_owned(), "carol".to_owned()],
    };
    busy.next = vec![aura_api::Next {
        cmd: "aura conflicts show c-12".to_owned(),
        why: "x".to_owned(),
    }];
    laptop.daemon(move |_| done(value(&busy)));
    assert_eq!(
        laptop.run(&["status"]).out,
        "acme · branch feat/limits at 3f1c9ab · mode observe · mothership 11 ms\n\
         \nNeeds you\n  conflict c-12  src/risk.rs::score   you and bob both changed it, 3 min ago\n\
         \nNow\n  bob     online   via mothership\n  carol   away, 12 min ago\n\
         \nYours\n  3 published, nothing waits\n  held back  src/a.rs: line 88\n\
         Waiting: 6 patches from bob and carol; none touch your edits\n\
         next: aura conflicts show c-12\n"
    );
    assert_eq!(
        laptop.run(&["status", "--short"]).out,
        "synced feat/limits, 1 need you, 6 waiting\n"
    );
}

#[test]
fn status_ends_with_the_code_of_the_state_only_when_asked() {
    type Change = fn(&mut docs::Status);
    let table: [(Change, u8); 6] = [
        (|_| {}, 0),
        (|status| status.needs_you = vec![conflict()], 7),
        (|status| status.word = "offline".to_owned(), 6),
        (|status| status.word = "partial".to_owned(), 11),
        (|status| status.word = "error".to_owned(), 1),
        (|status| status.link.state = "revoked".to_owned(), 4),
    ];
    for (change, exit) in table {
        let laptop = Laptop::new();
        let mut changed = status();
        change(&mut changed);
        laptop.daemon(move |_| done(value(&changed)));
        assert_eq!(
            laptop.run(&["status", "--exit-code", "--json"]).exit(),
            exit
        );
        assert_eq!(laptop.run(&["status"]).exit(), 0);
    }
}

// case_108
#[test]
fn hostile_names_do_not_reach_the_terminal_in_text_nor_in_json() {
    let hostile = "bob\x1b]0;x\x07\u{202e}\nnext: rm -rf";
    let laptop = Laptop::new();
    let mut bad = status();
    bad.team = Some(hostile.to_owned());
    bad.peers[1].name = hostile.to_owned();
    bad.needs_you = vec![docs::NeedDoc {
        text: hostile.to_owned(),
        ..conflict()
    }];
    laptop.daemon(move |_| done(value(&bad)));
    for args in [
        &["status"][..],
        &["status", "--short"],
        &["status", "--json"],
    ] {
        let run = laptop.run(args);
        let is_safe = |sign: char| sign == '\n' || (!sign.is_control() && sign != '\u{202e}');
        assert!(run.out.chars().all(is_safe), "{:?}", run.out);
        assert!(
            !run.out.lines().any(|line| line.starts_with("next: rm")),
            "{}",
            run.out
        );
    }
    assert_eq!(laptop.run(&["status", "--json"]).json()["team"], hostile);
}

#[test]
fn without_a_terminal_or_a_locale_there_is_no_colour_and_no_sign_beyond_ascii() {
    let mut laptop = Laptop::new();
    laptop.daemon(|_| done(value(&status())));
    laptop.env.retain(|(name, _)| *name != "LANG");
    assert!(laptop.run(&["status"]).out.is_ascii());
    let mut offline = status();
    offline.link.state = "offline".to_owned();
    let other = Laptop::new();
    other.daemon(move |_| done(value(&offline)));
    assert!(!other.run(&["status"]).out.contains('\x1b'));
    assert!(
        other
            .run(&["status", "--color", "always"])
            .out
            .contains("\x1b[33m")
    );
}
