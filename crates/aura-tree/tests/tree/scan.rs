//! What of a working tree may be shared.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use aura_tree::scan;
use aura_tree::scan::{ProblemKind, SkipKind};

use crate::ground::Ground;

fn names(ground: &Ground) -> Vec<String> {
    scan(&ground.repo())
        .unwrap()
        .files
        .into_iter()
        .map(String::from)
        .collect()
}

#[test]
fn ignore_rules_follow_git() {
    let ground = Ground::new(&[
        (".gitignore", "target/\n*.log\n!keep.log\n/only-root.rs\n"),
        ("sub/.gitignore", "!special.log\ngen/**/x.rs\n"),
        ("src/a.rs", ""),
    ]);
    ground.write(".git/info/exclude", "private.rs\n");
    ground.write(".auraignore", "secret/\n!target/\n!x.log\n");
    for name in [
        "target/x.rs",
        "x.log",
        "keep.log",
        "only-root.rs",
        "sub/only-root.rs",
        "sub/special.log",
        "sub/gen/a/x.rs",
        "sub/gen/y.rs",
        "private.rs",
        "secret/key.rs",
        ".eslintrc.js",
    ] {
        ground.write(name, "x");
    }
    assert_eq!(
        names(&ground),
        [
            ".auraignore",
            ".eslintrc.js",
            ".gitignore",
            "keep.log",
            "src/a.rs",
            "sub/.gitignore",
            "sub/gen/y.rs",
            "sub/only-root.rs",
            "sub/special.log",
        ]
    );
    // Git agrees, but for what only we leave out.
    let dirty = ground.repo().dirty().unwrap();
    let git: Vec<_> = dirty
        .into_iter()
        .map(String::from)
        .filter(|n| n != "secret/key.rs")
        .collect();
    let ours: Vec<_> = names(&ground)
        .into_iter()
        .filter(|name| !matches!(name.as_str(), ".gitignore" | "sub/.gitignore" | "src/a.rs"))
        .collect();
    assert_eq!(git, ours);
}

#[test]
fn a_tracked_file_counts_although_a_rule_ignores_it() {
    let ground = Ground::new(&[("gen/a.rs", "")]);
    ground.write(".gitignore", "gen/\n");
    ground.write("gen/b.rs", "");
    assert_eq!(names(&ground), [".gitignore", "gen/a.rs"]);
}

#[test]
fn what_cannot_be_shared_is_named_with_its_reason() {
    let ground = Ground::new(&[("a.rs", "a")]);
    fs::write(ground.at("bin.dat"), b"a\0b").unwrap();
    fs::File::create(ground.at("big.rs"))
        .unwrap()
        .set_len((8 << 20) + 1)
        .unwrap();
    symlink("/etc", ground.at("etc")).unwrap();
    fs::create_dir_all(ground.at("vendor/lib/.git")).unwrap();
    ground.write("vendor/lib/a.rs", "");
    ground.write("nul.rs", "");
    ground.write("new\nline.rs", "");
    ground.write("A.rs", "");
    fs::write(ground.root().join(OsStr::from_bytes(b"\xff.rs")), "").unwrap();
    let scan = scan(&ground.repo()).unwrap();
    let files: Vec<_> = scan.files.iter().map(|path| path.as_str()).collect();
    assert_eq!(files, ["A.rs"]);
    let skipped: Vec<_> = scan
        .skipped
        .iter()
        .map(|s| (s.path.as_str(), s.why))
        .collect();
    assert_eq!(
        skipped,
        [
            ("big.rs", SkipKind::TooLarge),
            ("bin.dat", SkipKind::Binary),
            ("etc", SkipKind::Link),
            ("vendor/lib", SkipKind::NestedRepository),
        ]
    );
    let problems: Vec<_> = scan.problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(problems, ["a.rs", "new\\nline.rs", "nul.rs", "\u{fffd}.rs"]);
    assert!(matches!(
        scan.problems[0].why,
        ProblemKind::Collision { .. }
    ));
    assert!(matches!(scan.problems[1].why, ProblemKind::Name(err) if err.id() == "PATH"));
    assert!(matches!(scan.problems[3].why, ProblemKind::NotText));
}
