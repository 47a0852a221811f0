//! Merges that git makes, with `aura` as its merge driver, and without a team.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path, process::Stdio};

use mothership_tests::{
    amount,
    copy::{put, tree},
    repo::Repo,
};
use serde_json::Value;

const BASE: &str = "\
use std::fmt;

fn cap(a: u32) -> u32 {
    a.min(100)
}

fn load() -> u32 {
    7
}
";

/// Both added an import at one place and a function at the end: git alone sees two conflicts.
fn ours() -> String {
    BASE.replace("fmt;\n", "fmt;\nuse std::fs;\n") + "\nfn mine() {\n    one();\n}\n"
}

fn theirs() -> String {
    BASE.replace("fmt;\n", "fmt;\nuse std::io;\n") + "\nfn other() {\n    two();\n}\n"
}

fn both() -> String {
    BASE.replace("fmt;\n", "fmt;\nuse std::fs;\nuse std::io;\n")
        + "\nfn mine() {\n    one();\n}\n\nfn other() {\n    two();\n}\n"
}

/// One file that both sides changed.
fn one(path: &str, base: &str, ours: &str, theirs: &str) -> Repo {
    let versions = [base, ours, theirs].map(|text| Some(text.as_bytes()));
    Repo::forked(&[(path, versions)])
}

/// Both changed the body of one function.
fn clash() -> Repo {
    let side = |cap: &str| BASE.replace("100", cap);
    one("src/risk.rs", BASE, &side("200"), &side("300"))
}

/// What git leaves of a merge without the driver.
fn alone(repo: &Repo, path: &str) -> (Option<i32>, Vec<u8>) {
    let merged = repo.try_git(&["merge", "-q", "-m", "merged", "topic"]);
    let found = (merged.status.code(), repo.bytes(path));
    repo.git(&["reset", "-q", "--hard", "ORIG_HEAD"]);
    found
}

#[test]
fn a_merge_is_clean_where_git_alone_conflicts() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    assert_eq!(alone(&repo, "src/risk.rs").0, Some(1));
    repo.init();
    repo.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(repo.text("src/risk.rs"), both());
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let merges = repo.explained(&[]);
    let file = &merges[0]["files"][0];
    assert_eq!(
        (&merges[0]["ours"], &merges[0]["theirs"]),
        (&"HEAD".into(), &"topic".into())
    );
    assert_eq!(
        (&file["verdict"], &file["level"]),
        (&"clean".into(), &"units".into())
    );
    assert_eq!(file["ours"][1], "mine (added)");
    assert_eq!(file["theirs"][1], "other (added)");
}

#[test]
fn a_conflict_has_markers_with_unit_and_reason_and_git_knows_all_three_versions() {
    let repo = clash();
    repo.init();
    let merged = repo.try_git(&["merge", "topic"]);
    assert_eq!(merged.status.code(), Some(1));
    let expected = BASE.replace(
        "    a.min(100)\n",
        "<<<<<<< HEAD: function cap, body changed by both\n    a.min(200)\n=======\n    \
         a.min(300)\n>>>>>>> topic\n",
    );
    assert_eq!(repo.text("src/risk.rs"), expected);
    assert_eq!(repo.git(&["status", "--porcelain"]), "UU src/risk.rs\n");
    assert_eq!(repo.stages("src/risk.rs"), "1 2 3");
    let (code, text) = repo.said(&["merge", "explain", "src/risk.rs"]);
    assert_eq!(code, 0);
    assert!(text.contains("topic merged into HEAD"), "{text}");
    assert!(
        text.contains("function cap, body changed by both"),
        "{text}"
    );
    assert!(text.contains("ours   changed cap (body)"), "{text}");
    // And git goes on as ever.
    fs::write(repo.root.join("src/risk.rs"), BASE).unwrap();
    repo.commit("settled");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

#[test]
fn markers_are_as_long_and_show_as_much_as_git_is_told() {
    let repo = clash();
    repo.init();
    let merge = |style: &str| {
        let style = format!("merge.conflictStyle={style}");
        repo.try_git(&["-c", &style, "merge", "topic"]);
        let text = repo.text("src/risk.rs");
        repo.git(&["merge", "--abort"]);
        text
    };
    let base = repo.git(&["merge-base", "main", "topic"]);
    for style in ["diff3", "zdiff3"] {
        let text = merge(style);
        let middle = format!("||||||| {}\n    a.min(100)\n=======\n", &base[..7]);
        assert!(text.contains(&middle), "{style}: {text}");
    }
    assert!(!merge("merge").contains("|||||||"));
    fs::write(
        repo.root.join(".gitattributes"),
        "*.rs conflict-marker-size=12\n",
    )
    .unwrap();
    let text = merge("diff3");
    assert!(text.contains("\n<<<<<<<<<<<< HEAD: "), "{text}");
    assert!(text.contains("\n============\n"), "{text}");
}

#[test]
fn a_rebase_and_a_cherry_pick_name_the_sides_as_git_does() {
    for command in [&["rebase", "topic"][..], &["cherry-pick", "topic"]] {
        let repo = clash();
        repo.init();
        repo.git(&["config", "merge.conflictStyle", "diff3"]);
        let (picked, subject) = match command[0] {
            "rebase" => ("main", "our side"),
            _ => ("topic", "their side"),
        };
        let picked = repo.git(&["rev-parse", "--short", picked]);
        let name = format!("{} ({subject})", picked.trim());
        assert_eq!(repo.try_git(command).status.code(), Some(1), "{command:?}");
        let text = repo.text("src/risk.rs");
        for line in [
            "<<<<<<< HEAD: function cap, body changed by both".to_owned(),
            format!("||||||| parent of {name}"),
            format!(">>>>>>> {name}"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let merge = &repo.explained(&[])[0];
        assert_eq!(merge["theirs"], name, "{command:?}");
        assert_eq!(merge["base"], format!("parent of {name}"));
    }
}

#[test]
fn each_pick_of_a_rebase_is_explained_by_itself() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    repo.init();
    let second = ours().replace("    one();", "    one();\n    three();");
    fs::write(repo.root.join("src/risk.rs"), second).unwrap();
    repo.commit("once more");
    repo.git(&["rebase", "-q", "topic"]);
    let merged = both().replace("    one();", "    one();\n    three();");
    assert_eq!(repo.text("src/risk.rs"), merged);
    let merges = repo.explained(&["-n", "9"]);
    let picks: Vec<&str> = merges
        .iter()
        .map(|merge| merge["theirs"].as_str().unwrap())
        .collect();
    assert!(
        picks[0].ends_with("(once more)") && picks[1].ends_with("(our side)"),
        "{picks:?}"
    );
    assert_eq!(repo.explained(&[]).len(), 1);
    assert_eq!(repo.explained(&["README", "-n", "9"]).len(), 0);
}

#[test]
fn without_the_program_git_merges_lines_with_its_usual_markers() {
    let repo = clash();
    let expected = alone(&repo, "src/risk.rs");
    repo.init();
    let merged = repo.git_alone(&["merge", "-q", "topic"]);
    assert_eq!((merged.status.code(), repo.bytes("src/risk.rs")), expected);
    assert!(repo.text("src/risk.rs").contains("<<<<<<< HEAD\n"));
    assert_eq!(repo.stages("src/risk.rs"), "1 2 3");
}

#[test]
fn nesting_that_kills_other_tools_is_merged_as_git_merges_it() {
    let nest = |depth: usize, inner: &str| "[".repeat(depth) + inner + &"]".repeat(depth);
    let text = |depth: usize, one: &str, two: &str| {
        let deep = nest(depth, "0");
        format!("const one = {one};\n\nconst deep = {deep};\n\nconst two = {two};\n")
    };
    for depth in [3_000, 100_000] {
        // Far apart: both changes.
        let repo = one(
            "a.js",
            &text(depth, "1", "1"),
            &text(depth, "2", "1"),
            &text(depth, "1", "2"),
        );
        repo.init();
        repo.git(&["merge", "-q", "-m", "merged", "topic"]);
        assert_eq!(repo.text("a.js"), text(depth, "2", "2"));
        // At one place: a conflict, and nothing of either side is lost.
        let repo = one(
            "a.js",
            &text(depth, "1", "1"),
            &text(depth, "2", "1"),
            &text(depth, "3", "1"),
        );
        let expected = alone(&repo, "a.js");
        repo.init();
        let merged = repo.try_git(&["merge", "-q", "topic"]);
        assert_eq!(merged.status.code(), Some(1));
        if depth == 100_000 {
            assert_eq!(repo.bytes("a.js"), expected.1);
            let file = &repo.explained(&[])[0]["files"][0];
            assert_eq!(
                (&file["level"], &file["because"]),
                (&"text".into(), &"too_deep".into())
            );
        } else {
            let text = repo.text("a.js");
            assert!(
                text.contains("const one = 2;\n=======\nconst one = 3;\n"),
                "{}",
                &text[..200]
            );
        }
    }
}

#[test]
fn an_import_added_by_both_merges_beside_3000_levels() {
    let deep = "(".repeat(3_000) + "1" + &")".repeat(3_000);
    let text = |import: &str| format!("use a;\n{import}\nfn deep() -> u32 {{\n    {deep}\n}}\n");
    let repo = one("a.rs", &text(""), &text("use b;\n"), &text("use c;\n"));
    assert_eq!(alone(&repo, "a.rs").0, Some(1));
    repo.init();
    repo.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(repo.text("a.rs"), text("use b;\nuse c;\n"));
}

#[test]
fn a_worker_that_is_killed_leaves_what_git_alone_would() {
    for (ours, theirs) in [
        (BASE.replace("100", "200"), BASE.replace("100", "300")),
        (BASE.replace("100", "200"), BASE.replace('7', "8")),
    ] {
        let repo = one("src/risk.rs", BASE, &ours, &theirs);
        let expected = alone(&repo, "src/risk.rs");
        repo.init();
        let command = "aura --timeout 0 merge-driver -- %O %A %B %L %P %S %X %Y";
        repo.git(&["config", "merge.aura.driver", command]);
        let merged = repo.try_git(&["merge", "-q", "-m", "merged", "topic"]);
        assert_eq!((merged.status.code(), repo.bytes("src/risk.rs")), expected);
        let file = &repo.explained(&[])[0]["files"][0];
        assert_eq!(
            (&file["level"], &file["because"]),
            (&"text".into(), &"worker_late".into())
        );
    }
}

#[test]
fn what_is_no_source_text_is_merged_as_git_merges_it() {
    let long = |text: &str| {
        format!(
            "{}fn a() {{ {text} }}\n",
            "// a line of it\n".repeat(80_000)
        )
    };
    let cases: [(&str, [Vec<u8>; 3], &str); 4] = [
        (
            "blob.rs",
            [b"\0one", b"\0two", b"\0six"].map(|text| text.to_vec()),
            "binary",
        ),
        (
            "long.rs",
            ["1", "2", "3"].map(|text| long(text).into_bytes()),
            "too_large",
        ),
        (
            "broken.rs",
            ["1", "2", "3"].map(|text| format!("}} }} ) {text} ] fn )\n").into_bytes()),
            "broken",
        ),
        (
            "latin.rs",
            [b"// \xe4\n", b"// \xf6\n", b"// \xfc\n"].map(|text| text.to_vec()),
            "",
        ),
    ];
    for (path, texts, because) in cases {
        let versions = texts.each_ref().map(|text| Some(&text[..]));
        let repo = Repo::forked(&[(path, versions)]);
        let expected = alone(&repo, path);
        repo.init();
        let merged = repo.try_git(&["merge", "-q", "-m", "merged", "topic"]);
        assert_eq!(merged.status.code(), expected.0, "{path}");
        assert_eq!(repo.stages(path), "1 2 3", "{path}");
        if because.is_empty() {
            let text = repo.bytes(path);
            let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
            assert!(
                has(b"// \xf6\n") && has(b"// \xfc\n") && has(b"<<<<<<< HEAD"),
                "{path}"
            );
        } else {
            assert_eq!(repo.bytes(path), expected.1, "{path}");
            assert_eq!(
                repo.explained(&[])[0]["files"][0]["because"],
                because,
                "{path}"
            );
        }
    }
}

#[test]
fn line_ends_and_the_mark_of_an_encoding_stay() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let mark = |text: &str| format!("\u{feff}{text}");
    let open = |text: &str| text.trim_end().to_owned();
    let changes: [&dyn Fn(&str) -> String; 4] =
        [&crlf, &mark, &|text| mark(&crlf(text)), &|text| {
            open(&crlf(text))
        }];
    for change in changes {
        let repo = one("a.rs", &change(BASE), &change(&ours()), &change(&theirs()));
        repo.init();
        repo.git(&["merge", "-q", "-m", "merged", "topic"]);
        assert_eq!(repo.text("a.rs"), change(&both()));
        let side = |cap: &str| change(&BASE.replace("100", cap));
        let repo = one("a.rs", &change(BASE), &side("200"), &side("300"));
        repo.init();
        assert_eq!(repo.try_git(&["merge", "topic"]).status.code(), Some(1));
        let text = repo.text("a.rs");
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        assert!(
            text.contains(&format!("a.min(200){end}======={end}")),
            "{text}"
        );
        assert_eq!(
            text.starts_with('\u{feff}'),
            change(BASE).starts_with('\u{feff}')
        );
        assert!(
            !end.starts_with('\r') || !text.replace("\r\n", "").contains('\n'),
            "{text}"
        );
    }
}

#[test]
fn what_both_added_or_one_deleted_is_no_less_than_git_says() {
    let added = |body: &str| format!("fn same() {{\n    {body};\n}}\n");
    let [one_text, other_text] = ["one()", "two()"].map(added);
    let apart = ["fn one() {}\n", "fn two() {}\n"];
    let changed = BASE.replace('7', "8");
    let repo = Repo::forked(&[
        (
            "added.rs",
            [None, Some(one_text.as_bytes()), Some(other_text.as_bytes())],
        ),
        (
            "apart.rs",
            [None, Some(apart[0].as_bytes()), Some(apart[1].as_bytes())],
        ),
        (
            "gone.rs",
            [Some(BASE.as_bytes()), None, Some(changed.as_bytes())],
        ),
        (
            "kept.rs",
            [Some(BASE.as_bytes()), Some(changed.as_bytes()), None],
        ),
    ]);
    repo.init();
    assert_eq!(repo.try_git(&["merge", "topic"]).status.code(), Some(1));
    let text = repo.text("added.rs");
    assert!(text.contains("one()") && text.contains("two()"), "{text}");
    assert!(text.contains("<<<<<<< HEAD: function same, "), "{text}");
    assert_eq!(repo.stages("added.rs"), "2 3");
    let text = repo.text("apart.rs");
    assert!(
        text.contains("fn one() {}\n") && text.contains("fn two() {}\n"),
        "{text}"
    );
    assert_eq!(
        (repo.stages("gone.rs"), repo.stages("kept.rs")),
        ("1 3".into(), "1 2".into())
    );
    assert_eq!(
        (repo.text("gone.rs"), repo.text("kept.rs")),
        (changed.clone(), changed)
    );
}

#[test]
fn odd_names_reach_the_driver_whole() {
    for path in [
        "-C.rs",
        "--json.rs",
        "a b/it's \"x\" $HOME `id`.rs",
        "ä\u{1f600}.rs",
        "a;b&c|d.rs",
    ] {
        let repo = one(path, BASE, &ours(), &theirs());
        repo.init();
        repo.git(&["merge", "-q", "-m", "merged", "topic"]);
        assert_eq!(repo.text(path), both(), "{path}");
        assert_eq!(repo.explained(&[])[0]["files"][0]["path"], path);
    }
}

#[test]
fn the_driver_ends_with_0_or_1_whatever_it_is_given() {
    let repo = Repo::new();
    let file = |name: &str, text: &str| fs::write(repo.root.join(name), text).unwrap();
    let run = |args: &[&str]| {
        file("base", "a\n");
        file("ours", "b\n");
        file("theirs", "c\n");
        let args = [&["merge-driver"], args].concat();
        let mut command = repo.aura_command(&args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.stdout, b"", "{args:?}");
        (output.status.code(), repo.text("ours"))
    };
    let markers = "<<<<<<< ours\nb\n=======\nc\n>>>>>>> theirs\n".to_owned();
    for args in [
        &["base", "ours", "theirs"][..],
        &["base", "ours", "theirs", "7", "x.txt"],
        &["base", "ours", "theirs", "no", "x.rs", "%S", "%X", "%Y"],
        &["--", "base", "ours", "theirs", "0", "x.unknown", "", "", ""],
        &[
            "base",
            "ours",
            "theirs",
            "99999999999999999999",
            "--no-such-flag",
        ],
    ] {
        let (code, text) = run(args);
        assert_eq!(code, Some(1), "{args:?}");
        // Where there is a grammar, the conflict may be told of.
        assert_eq!(
            text.replace(": both inserted here", "")
                .replace(": changed by both", ""),
            markers
        );
    }
    assert_eq!(
        run(&["nowhere", "ours", "theirs", "7", "x.rs"]),
        (Some(1), "b\n".to_owned())
    );
    assert_eq!(
        run(&["base", "ours", "base", "7", "x.rs"]),
        (Some(0), "b\n".to_owned())
    );
    assert_eq!(run(&["base", "base", "theirs", "7", "x.rs"]).0, Some(0));
    assert_eq!(repo.text("base"), "c\n");
}

#[test]
fn a_conflict_style_that_cannot_be_asked_for_still_gives_markers() {
    let repo = Repo::new();
    for name in ["base", "ours", "theirs"] {
        fs::write(repo.root.join(name), format!("{name}\n")).unwrap();
    }
    // No git in reach.
    let mut command = repo.aura_command(&["merge-driver", "base", "ours", "theirs", "7", "x.txt"]);
    let output = command.env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        repo.text("ours"),
        "<<<<<<< ours\nours\n=======\ntheirs\n>>>>>>> theirs\n"
    );
}

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

/// Everything below a repository, git's directory included.
fn everything(repo: &Repo) -> Vec<(String, Vec<u8>)> {
    tree(&repo.root).into_iter().collect()
}

fn row<'a>(document: &'a Value, path: &str) -> &'a Value {
    let mut rows = document["files"].as_array().unwrap().iter();
    rows.find(|row| row["path"] == path)
        .unwrap_or_else(|| panic!("{path} is not in {document}"))
}

#[test]
fn a_preview_says_what_the_merge_then_does_and_touches_nothing() {
    let text = |text: &str| text.as_bytes().to_vec();
    let [base, mine, other] = [text(BASE), text(&ours()), text(&theirs())];
    let cap = |cap: &str| text(&BASE.replace("100", cap));
    let load = text(&BASE.replace('7', "8"));
    let (two, three) = (cap("200"), cap("300"));
    // Of other words, or they would be taken for each other.
    let words =
        |word: &str, end: &str| text(&format!("{}{end}", format!("fn {word}() {{}}\n").repeat(9)));
    let repo = Repo::forked(&[
        ("units.rs", [Some(&base), Some(&mine), Some(&other)]),
        ("lines.rs", [Some(&base), Some(&two), Some(&load)]),
        ("clash.rs", [Some(&base), Some(&two), Some(&three)]),
        ("same.rs", [Some(&base), Some(&two), Some(&two)]),
        ("alone.rs", [Some(&base), Some(&two), Some(&base)]),
        (
            "gone.rs",
            [
                Some(&words("gone", "")),
                None,
                Some(&words("gone", "// more\n")),
            ],
        ),
        (
            "both.rs",
            [
                None,
                Some(&words("both", "// one\n")),
                Some(&words("both", "// two\n")),
            ],
        ),
        (
            "notes.txt",
            [Some(b"a\nb\nc\n"), Some(b"A\nb\nc\n"), Some(b"a\nb\nC\n")],
        ),
        ("words.txt", [Some(b"a\n"), Some(b"b\n"), Some(b"c\n")]),
        ("blob.rs", [Some(b"\0a"), Some(b"\0b"), Some(b"\0c")]),
        (
            "old.rs",
            [
                Some(&words("old", "")),
                Some(&words("old", "// more\n")),
                None,
            ],
        ),
        ("new.rs", [None, None, Some(&words("new", ""))]),
    ]);
    repo.init();
    // A look at the index may freshen it; it is done before.
    repo.git(&["status"]);
    let before = everything(&repo);
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(
        repo.aura(&["merge", "preview", "topic", "--exit-code"])
            .exit,
        7
    );
    assert!(everything(&repo) == before, "something was touched");
    assert_eq!(
        (&preview["driver"], &preview["clean"]),
        (&"set_up".into(), &false.into())
    );

    assert_eq!(repo.try_git(&["merge", "topic"]).status.code(), Some(1));
    let unmerged = repo.unmerged();
    let mut foreseen: Vec<String> = preview["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["verdict"] == "conflict")
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    foreseen.sort();
    assert_eq!(foreseen, unmerged);
    assert_eq!(row(&preview, "units.rs")["level"], "units");
    assert_eq!(row(&preview, "lines.rs")["level"], "lines");
    assert_eq!(row(&preview, "notes.txt")["verdict"], "clean");
    assert_eq!(row(&preview, "blob.rs")["because"], "binary");
    assert_eq!(row(&preview, "clash.rs")["reasons"][0]["unit"], "cap");
    assert_eq!(row(&preview, "clash.rs")["reasons"][0]["part"], "body");
    assert_eq!(
        row(&preview, "old.rs")["reasons"][0]["code"],
        "deleted_by_theirs"
    );
    assert_eq!(
        row(&preview, "gone.rs")["reasons"][0]["code"],
        "deleted_by_ours"
    );
    assert_eq!(preview["taken"], 3, "same.rs, alone.rs, new.rs");
    // What the driver then did is told in the same rows.
    for file in repo.explained(&[])[0]["files"].as_array().unwrap() {
        assert_eq!(row(&preview, file["path"].as_str().unwrap()), file);
    }
}

#[test]
fn a_file_that_one_side_renamed_is_foreseen_where_it_stands_now() {
    let renamed = BASE.replace('7', "8");
    let repo = one("src/risk.rs", BASE, BASE, &BASE.replace("100", "300"));
    repo.git(&["mv", "src/risk.rs", "src/danger.rs"]);
    fs::write(repo.root.join("src/danger.rs"), &renamed).unwrap();
    repo.commit("renamed");
    repo.init();
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(row(&preview, "src/danger.rs")["verdict"], "clean");
    repo.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(repo.text("src/danger.rs"), renamed.replace("100", "300"));
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(preview["kind"], "up_to_date");
    repo.git(&["checkout", "-q", "topic"]);
    let preview = repo.aura(&["merge", "preview", "main"]).ok();
    assert_eq!(preview["kind"], "fast_forward");
    repo.aura(&["merge", "preview", "nowhere"])
        .fails(2, "AE-USAGE");
    repo.aura(&["merge", "preview", "--", "--help"])
        .fails(2, "AE-USAGE");
}

/// A merge written by hand: where it is, base, ours and theirs, and what is to come out where it is clean.
struct Case {
    path: String,
    versions: [Vec<u8>; 3],
    merged: Option<Vec<u8>>,
}

/// The cases that the engine is tested with, every so many of them.
fn cases(every: usize) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/aura-semantic/tests/cases");
    let files = tree(&root).into_iter();
    let read = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8(bytes).unwrap();
        // What needs another encoding is the engine's own business.
        let sections = text
            .split("=== ")
            .skip(1)
            .map(|section| section.split_once('\n'));
        let sections: Option<Vec<(&str, &str)>> = sections.collect();
        let sections =
            sections.filter(|found| found.iter().all(|(head, _)| !head.contains(' ')))?;
        let section = |name: &str| {
            let found = sections.iter().find(|(head, _)| *head == name);
            found.map(|(_, text)| text.as_bytes().to_vec())
        };
        let (stem, _) = name.rsplit_once('.')?;
        Some(Case {
            path: stem.to_owned(),
            versions: [section("base")?, section("ours")?, section("theirs")?],
            merged: section("merged"),
        })
    };
    files.step_by(every).filter_map(read).collect()
}

#[test]
fn every_case_of_the_engine_is_foreseen_and_merged_by_git() {
    let cases = cases(amount(20, 1));
    assert!(amount(20, 400) < cases.len(), "{} cases", cases.len());
    let files: Vec<_> = cases
        .iter()
        .map(|case| {
            let versions = case.versions.each_ref().map(|text| Some(&text[..]));
            (case.path.as_str(), versions)
        })
        .collect();
    let repo = Repo::new();
    // Files that look alike are not to be taken for each other.
    repo.git(&["config", "merge.renames", "false"]);
    repo.commit("start");
    repo.fork(&files);
    repo.init();
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    repo.try_git(&["merge", "-q", "-m", "merged", "topic"]);
    let unmerged = repo.unmerged();
    for case in &cases {
        let is_unmerged = unmerged.contains(&case.path);
        let mut rows = preview["files"].as_array().unwrap().iter();
        let row = rows.find(|row| row["path"] == case.path.as_str());
        let is_foreseen = row.is_some_and(|row| row["verdict"] == "conflict");
        assert_eq!(is_foreseen, is_unmerged, "{}", case.path);
        assert_eq!(is_unmerged, case.merged.is_none(), "{}", case.path);
        match &case.merged {
            Some(merged) => assert_eq!(&repo.bytes(&case.path), merged, "{}", case.path),
            None => assert!(
                repo.text(&case.path).contains("<<<<<<< HEAD"),
                "{}",
                case.path
            ),
        }
    }
}
