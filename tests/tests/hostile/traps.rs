//! A working tree made to break whoever reads it.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
};

use mothership_tests::{
    Laptop, Team, amount,
    copy::{put, tree},
    token,
};

/// Names that no member could hold, or that mean something else elsewhere.
fn bad_names() -> [&'static [u8]; 12] {
    [
        b"two\nlines.rs",
        b"esc\x1b[2J.rs",
        "bidi\u{202e}sr.rs".as_bytes(),
        b"latin\xe9.rs",
        b".GIT/config",
        b".git./config",
        b"git~1/config",
        ".g\u{200c}it/config".as_bytes(),
        b"sub/.Git/hooks/post-checkout",
        b".aura/config",
        b"COM1.rs",
        b"back\\slash.rs",
    ]
}

fn save_bad_names(laptop: &Laptop, text: &[u8]) {
    for name in bad_names() {
        put(&laptop.repo.join(OsStr::from_bytes(name)), text);
    }
}

/// Files that are long, deep, many or no text, and things that are no files.
fn set_traps(laptop: &Laptop, outside: &Path) {
    laptop.save("line.rs", "x".repeat(100 << 20));
    laptop.save("nested.rs", "(".repeat(1_000_000) + &")".repeat(1_000_000));
    laptop.save("unclosed.ts", "[{".repeat(500_000));
    laptop.save("latin.rs", b"fn l() {\n    \"caf\xe9\xff\";\n}\n");
    save_bad_names(laptop, b"fn trap() {}\n");
    let at = |name: &str| laptop.repo.join(name);
    symlink(outside, at("out")).unwrap();
    symlink(outside.join("secret.rs"), at("secret.rs")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("/dev/zero", at("zero.rs")).unwrap();
    for device in [["pipe.rs", "p"].as_slice(), &["zeroes.rs", "c", "1", "5"]] {
        let mut command = Command::new("mknod");
        let made = command.args(device).current_dir(&laptop.repo).status();
        assert!(made.unwrap().success(), "only root can make {device:?}");
    }
    UnixListener::bind(at("socket.rs")).unwrap();
}

#[test]
fn s08_every_trap_of_a_working_tree_has_an_outline_or_a_clear_no() {
    let team = Team::new();
    let alice = team.laptop("alice");
    set_traps(&alice, team.dir.path());
    let answers = [
        ("line.rs", 0, "too_large"),
        ("nested.rs", 0, "too_deep"),
        ("unclosed.ts", 0, "too_deep"),
        ("latin.rs", 0, "\"l\""),
        ("two\nlines.rs", 0, "trap"),
        ("bidi\u{202e}sr.rs", 0, "trap"),
        ("zeroes.rs", 2, "larger than"),
        ("socket.rs", 2, "cannot read"),
        ("out", 2, "cannot read"),
        ("loop", 2, "cannot read"),
    ];
    for (file, exit, answer) in answers {
        let outlined = alice.aura(&["outline", file]);
        assert_eq!(outlined.exit, exit, "{file:?}");
        assert!(outlined.stdout.contains(answer), "{file:?}");
    }
}

#[test]
fn s08_a_working_tree_full_of_traps_is_served_within_bounds() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let outside = team.dir.path().join("outside");
    put(&outside.join("secret.rs"), b"fn secret() {}\n");
    set_traps(&alice, &outside);
    let function = |n: u32| format!("fn f{n}() -> u32 {{\n    {n}\n}}\n");
    let many: String = (0..amount(20_000, 100_000)).map(function).collect();
    alice.save("many.rs", &many);
    let outside_before = tree(&outside);

    alice.join(&token(&box_.ready), "alice", "live").ok();
    let cpu_ms_max = amount(5_000, 25_000);
    let cpu = alice.cpu_ms();
    assert!(cpu < cpu_ms_max, "{cpu} ms to join");
    let auto = ["config", "set", "members.approve", "auto"];
    alice.aura(&auto).ok();
    let bob = team.member(&alice, "bob", "live");
    let before = alice.cpu_ms();
    alice.save("many.rs", many.replacen("    500\n", "    501\n", 1));
    alice.save("nested.rs", "(".repeat(1_000_001));
    save_bad_names(&alice, b"fn trap() { 1 }\n");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.applied("score");
    let cpu = alice.cpu_ms() - before;
    assert!(cpu < cpu_ms_max, "{cpu} ms to publish");
    let peak = alice.peak_kib();
    assert!(peak < amount(160, 512) << 10, "{peak} KiB");

    // One unit of a large file travels by itself, a file without units as a whole, and no bad name at all.
    let log = alice.log(&[]);
    let mut symbols: Vec<&str> = log
        .iter()
        .map(|op| op["symbol"].as_str().unwrap())
        .collect();
    symbols.sort_unstable();
    let expected = ["many.rs::f500", "nested.rs", "src/risk.rs::score"];
    assert_eq!(symbols, expected);
    assert_eq!(bob.files().into_keys().collect::<Vec<_>>(), ["src/risk.rs"]);
    assert_eq!(tree(&outside), outside_before);
}
