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

// case_108
#[test]
fn code_and_reasons_of_the_past_do_not_reach_the_terminal_as_they_are() {
    let hostile = "a\x1b]0;x\x07\u{202e}\nnext: rm -rf";
    let laptop = Laptop::new();
    laptop.daemon(move |request| {
        let unit = json!({"op": hostile, "symbol": hostile, "path": hostile, "kind": hostile,
            "version": hostile, "parents": [hostile], "renamed_from": hostile, "before": hostile,
            "after": hostile, "diff": format!("+{hostile}\n")});
        done(match request.call {
            Call::Show { at: None, .. } => json!({"schema": "aura.show/1", "op": hostile,
                "symbol": hostile, "path": hostile, "kind": hostile, "author": hostile,
                "peer": "p", "at": hostile, "seq": 1, "why": hostile, "commit": hostile,
                "branch": hostile, "joined": true, "undone": true, "units": [unit], "next": []}),
            Call::Show { .. } => json!({"schema": "aura.then/1", "symbol": hostile,
                "path": hostile, "at": hostile, "state": "present", "op": null, "text": hostile}),
            Call::Blame { .. } => json!({"schema": "aura.blame/1", "path": hostile,
                "units": [{"symbol": hostile, "kind": hostile, "start_line": 1, "end_line": 2,
                    "origin": hostile, "op": null, "author": hostile, "at": hostile, "why": hostile}],
                "lines": [{"line": 1, "origin": hostile, "op": null, "author": hostile,
                    "at": hostile, "text": hostile}]}),
            Call::Find { .. } => json!({"schema": "aura.find/1", "more": false, "symbols": [
                {"symbol": hostile, "path": hostile, "kind": hostile, "line": 1,
                    "origin": hostile, "op": null, "author": hostile, "at": hostile}]}),
            _ => json!({"schema": "aura.restore/1", "symbol": hostile, "path": hostile,
                "from": hostile, "state": "restored", "diff": format!("+{hostile}\n"), "ops": [],
                "next": [{"cmd": hostile, "why": hostile}]}),
        })
    });
    for args in [
        &["show", "o-1"][..],
        &["show", "a", "--at", "1"],
        &["blame", "a.rs"],
        &["blame", "a.rs", "--units"],
        &["find", "a"],
        &["restore", "a", "--at", "o-1"],
    ] {
        let run = laptop.run(args);
        assert_eq!(run.exit(), 0, "{args:?}: {}", run.err);
        let is_safe = |sign: char| sign == '\n' || (!sign.is_control() && sign != '\u{202e}');
        assert!(run.out.chars().all(is_safe), "{args:?}: {:?}", run.out);
        assert!(run.out.contains("\\u{1b}"), "{args:?}: {}", run.out);
    }
}
