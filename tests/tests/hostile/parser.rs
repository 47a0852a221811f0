//! A grammar whose code fails on a text: here it is killed, as an abort or the lack of memory would end it.

use std::path::PathBuf;

use mothership_tests::{Laptop, Team, strace::Strace};

fn texts(laptop: &Laptop) -> PathBuf {
    laptop.home.join("parsing")
}

/// Ends the daemon while it parses what is saved.
fn dies_of(laptop: &Laptop, text: &str) {
    let file = texts(laptop);
    // The first write says what is parsed; at the second, when that is over, it is killed.
    let args = [
        "-P",
        file.to_str().unwrap(),
        "-e",
        "inject=pwrite64:signal=KILL:when=2",
    ];
    let strace = Strace::attach(laptop.pid(), &args);
    laptop.save("src/risk.rs", text);
    strace.waits();
    let left = std::fs::read(file).unwrap();
    assert!(left.iter().any(|byte| *byte != 0), "it names no text");
}

#[test]
fn case_071_a_text_that_ended_the_daemon_is_parsed_by_another_process_first() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let first = alice.read("src/risk.rs");

    // Where it was chance, what was saved travels as ever.
    let second = first.replace("100", "200");
    dies_of(&alice, &second);
    alice.aura(&["up"]).ok();
    bob.applied("score");
    assert_eq!(bob.read("src/risk.rs"), second);
    assert_eq!(alice.log(&[])[0]["kind"], "replace");

    // Where the other process dies as well, the daemon goes on, and the text travels as a whole.
    let third = first.replace("100", "300");
    dies_of(&alice, &third);
    alice.save("src/risk.rs", &second);
    let pid = alice.pid();
    alice
        .aura(&["wait", "--for", "up", "--timeout", "30s"])
        .ok();
    let args = ["-P", "/proc/self/exe", "-e", "inject=execve:signal=KILL"];
    let strace = Strace::attach(pid, &args);
    alice.save("src/risk.rs", &third);
    alice.aura(&["publish"]).ok();
    strace.cut();
    bob.applied("src/risk.rs");
    bob.synced();
    assert_eq!(bob.read("src/risk.rs"), third);
    assert_eq!(alice.log(&[])[0]["kind"], "file");

    // It stays so for this text, without another trial, and is over with the next one.
    alice.aura(&["down"]).ok();
    assert_ne!(alice.pid(), pid);
    alice
        .aura(&["wait", "--for", "up", "--timeout", "30s"])
        .ok();
    let fourth = third.replace("300", "400") + "\nfn more() {}\n";
    alice.save("src/risk.rs", &fourth);
    alice.aura(&["publish"]).ok();
    let kinds = alice.log(&[]);
    assert_eq!(kinds[0]["kind"], "file", "{kinds:?}");
    let fifth = fourth.replace("more", "most");
    alice.save("src/risk.rs", &fifth);
    alice.aura(&["publish"]).ok();
    bob.applied("most");
    assert_eq!(bob.read("src/risk.rs"), fifth);
    assert_eq!(alice.log(&[])[0]["kind"], "rename");
}
