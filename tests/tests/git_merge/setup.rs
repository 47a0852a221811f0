//! How git is set up, and how that is taken back.

use std::{fs, os::unix::fs::symlink, path::Path};

use mothership_tests::{
    Outcome,
    copy::{put, tree},
    repo::Repo,
};

use crate::{BASE, both, one, ours, theirs};

/// The bytes of git's directory that `init` may change.
fn settings(repo: &Repo) -> (Vec<u8>, Option<Vec<u8>>) {
    let git = repo.root.join(".git");
    (
        fs::read(git.join("config")).unwrap(),
        fs::read(git.join("info/attributes")).ok(),
    )
}

#[test]
fn init_is_done_once_and_uninit_gives_back_every_byte() {
    for attributes in [
        None,
        Some(""),
        Some("*.c merge=union"),
        Some("# mine\r\n*.c -diff\r\n\n"),
    ] {
        let repo = one("src/risk.rs", BASE, BASE, BASE);
        let info = repo.root.join(".git/info/attributes");
        if let Some(text) = attributes {
            fs::write(&info, text).unwrap();
        }
        repo.git(&["config", "my.setting", "kept"]);
        let (files, before) = (tree(&repo.root.join(".git")), settings(&repo));
        for args in [&["init", "--dry-run"][..], &["init", "--show"], &["uninit"]] {
            let document = repo.aura(args).ok();
            assert_eq!(document["schema"], "aura.init/1", "{args:?}");
            assert_eq!(tree(&repo.root.join(".git")), files, "{args:?}");
        }
        let first = repo.init();
        assert_eq!(first["steps"][1]["state"], "done", "{first}");
        let after = settings(&repo);
        assert_ne!(after, before);
        let text = String::from_utf8(after.1.clone().unwrap()).unwrap();
        assert!(text.ends_with(attributes.unwrap_or_default()), "{text}");
        let second = repo.init();
        assert_eq!(second["steps"][1]["state"], "present", "{second}");
        assert_eq!(settings(&repo), after);
        assert_eq!(repo.git(&["status", "--porcelain"]), "");
        repo.aura(&["uninit"]).ok();
        assert_eq!(settings(&repo), before);
        assert_eq!(tree(&repo.root.join(".git")), files);
    }
}

#[test]
fn init_shows_every_line_and_those_for_jj() {
    let repo = one("src/risk.rs", BASE, BASE, BASE);
    for _ in 0..2 {
        let (code, text) = repo.said(&["init", "--show"]);
        assert_eq!(code, 0);
        for line in [
            "git config --local merge.aura.driver 'if command -v aura >/dev/null 2>&1; then",
            "*.rs merge=aura",
            "[merge-tools.aura]",
            "branch main, 1 source files in rust",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        repo.init();
    }
    let failed = repo.at(Path::new("/").to_owned()).aura(&["init"]);
    failed.fails(3, "AE-NOT-REPO");
}

#[test]
fn what_gitattributes_say_about_merges_still_holds() {
    let repo = Repo::new();
    let write = |path: &str, text: &str| put(&repo.root.join(path), text.as_bytes());
    write(
        ".gitattributes",
        "[attr]generated -diff merge=ours\n*.json merge=union\n*.min.js generated\n*.py text\n",
    );
    write("vendor/.gitattributes", "*.rs -merge\n/lib.go binary\n");
    write(".git/info/attributes", "mine.rs merge=union\n");
    let paths = [
        "a.rs",
        "a.json",
        "sub/a.json",
        "x.min.js",
        "x.js",
        "a.py",
        "vendor/a.rs",
        "vendor/deep/a.rs",
        "vendor/lib.go",
        "vendor/sub/lib.go",
        "mine.rs",
        "notes.txt",
    ];
    let said = || -> Vec<String> {
        let args = [&["check-attr", "merge", "--"], &paths[..]].concat();
        let lines = repo.git(&args);
        let values = lines
            .lines()
            .map(|line| line.rsplit(": ").next().unwrap().to_owned());
        values.collect()
    };
    let before = said();
    assert!(before.iter().any(|value| value == "unset"), "{before:?}");
    repo.init();
    for ((path, before), after) in paths.iter().zip(&before).zip(said()) {
        let is_ours = before == "unspecified" && !path.ends_with(".txt");
        assert_eq!(after, if is_ours { "aura" } else { before }, "{path}");
    }
}

#[test]
fn a_merge_that_gitattributes_give_to_another_is_left_to_it() {
    let [base, ours, theirs] = ["a\n", "a\nb\n", "a\nc\n"].map(|text| Some(text.as_bytes()));
    let repo = Repo::new();
    fs::write(repo.root.join(".gitattributes"), "*.md merge=union\n").unwrap();
    repo.commit("attributes");
    repo.fork(&[("list.md", [base, ours, theirs])]);
    repo.init();
    repo.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(repo.text("list.md"), "a\nb\nc\n");
    assert!(repo.explained(&[]).is_empty());
    // What is said later is seen, and taken up by the next init.
    fs::write(
        repo.root.join(".gitattributes"),
        "*.md merge=union\n*.rs -merge\n",
    )
    .unwrap();
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(preview["driver"], "stale");
    repo.init();
    let value = repo.git(&["check-attr", "merge", "a.rs"]);
    assert!(value.ends_with(": unset\n"), "{value}");
}

#[test]
fn attributes_for_the_whole_team_stand_in_the_tracked_file() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    fs::write(repo.root.join(".gitattributes"), "*.md merge=union\n").unwrap();
    repo.commit("attributes");
    repo.init();
    let document = repo.aura(&["init", "--commit-attributes"]).ok();
    assert_eq!(document["steps"][1]["state"], "done");
    assert_eq!(settings(&repo).1, None);
    assert_eq!(repo.git(&["status", "--porcelain"]), " M .gitattributes\n");
    let text = repo.text(".gitattributes");
    assert!(
        text.contains("*.rs merge=aura\n") && text.ends_with("*.md merge=union\n"),
        "{text}"
    );
    // It is taken back as long as it is nobody else's.
    repo.aura(&["uninit"]).ok();
    assert_eq!(repo.text(".gitattributes"), "*.md merge=union\n");
    repo.aura(&["init", "--commit-attributes"]).ok();
    repo.commit("for all");
    repo.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(repo.text("src/risk.rs"), both());
    repo.git(&["reset", "-q", "--hard", "HEAD~"]);
    repo.aura(&["uninit"]).ok();
    assert!(repo.text(".gitattributes").contains("merge=aura"));
    // Whoever has not set it up merges by lines, with markers.
    assert_eq!(repo.try_git(&["merge", "topic"]).status.code(), Some(1));
    assert!(repo.text("src/risk.rs").contains("<<<<<<< HEAD\n"));
}

/// Runs `aura` with so little memory that it ends soon if it reads without end.
fn aura_in_little_memory(repo: &Repo, args: &[&str]) -> Outcome {
    let mut command = repo.command("sh", &repo.path());
    command.args(["-c", "ulimit -v 600000; exec aura --json \"$@\"", "sh"]);
    Outcome::of(command.args(args).output().unwrap())
}

#[test]
fn attributes_that_are_no_file_of_their_own_say_nothing_and_are_not_written() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    let victim = repo.root.with_file_name("victim");
    fs::write(&victim, "*.rs merge=union\n").unwrap();
    fs::create_dir(repo.root.with_file_name("directory")).unwrap();
    let attributes = repo.root.join(".gitattributes");
    for target in ["../victim", "../nowhere", "../directory", "/dev/zero"] {
        symlink(target, &attributes).unwrap();
        let nested = repo.root.join("src/.gitattributes");
        symlink(target, &nested).unwrap();
        let refused = aura_in_little_memory(&repo, &["init", "--commit-attributes"]);
        let refused = refused.fails(16, "AE-UNSAFE");
        let step = &refused["error"]["next"][0]["cmd"];
        assert!(step.as_str().unwrap().starts_with("ls -l "), "{refused}");
        aura_in_little_memory(&repo, &["init"]).ok();
        let lines = String::from_utf8(settings(&repo).1.unwrap()).unwrap();
        assert!(!lines.contains("union"), "{target}: {lines}");
        let preview = aura_in_little_memory(&repo, &["merge", "preview", "topic"]).ok();
        assert_eq!(preview["driver"], "set_up", "{target}");
        aura_in_little_memory(&repo, &["uninit"]).ok();
        assert_eq!(fs::read_link(&attributes).unwrap(), Path::new(target));
        assert!(!repo.root.with_file_name("nowhere").exists());
        fs::remove_file(attributes.as_path()).unwrap();
        fs::remove_file(nested).unwrap();
    }
    assert_eq!(fs::read(&victim).unwrap(), b"*.rs merge=union\n");
}

#[test]
fn attributes_that_are_too_long_to_be_read_are_not_passed_over() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    let long = "*.md merge=union\n".repeat(70_000);
    fs::write(repo.root.join("src/.gitattributes"), long).unwrap();
    repo.aura(&["init"]).fails(13, "AE-TOO-LARGE");
    assert_eq!(settings(&repo).1, None);
}

#[test]
fn linked_work_trees_share_the_driver_and_have_each_their_own_record() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    let root = repo.root.with_file_name("linked");
    repo.git(&[
        "worktree",
        "add",
        "-q",
        "-b",
        "side",
        root.to_str().unwrap(),
        "main",
    ]);
    let linked = repo.at(root);
    linked.init();
    assert_eq!(repo.init()["steps"][1]["state"], "present");
    linked.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(linked.text("src/risk.rs"), both());
    assert_eq!(linked.explained(&["src/risk.rs"]).len(), 1);
    assert_eq!(repo.explained(&[]).len(), 0);
    linked.aura(&["uninit"]).ok();
    assert_eq!(
        repo.aura(&["merge", "preview", "topic"]).ok()["driver"],
        "missing"
    );
}
