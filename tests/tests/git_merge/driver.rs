//! What the driver makes of a file, and what it leaves to git.

use std::{fs, process::Stdio};

use mothership_tests::{binary, repo::Repo};

use crate::{BASE, alone, both, clash, one, ours, theirs};

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
fn without_the_program_a_binary_conflict_does_not_keep_git_from_the_rest() {
    let cap = |cap: &str| BASE.replace("100", cap);
    let (load, three) = (BASE.replace('7', "8"), cap("300"));
    let texts = [BASE, &load, &three].map(|text| Some(text.as_bytes()));
    let blobs: [&[u8]; 3] = [b"\0one", b"\0two", b"\0six"];
    let repo = Repo::forked(&[("blob.rs", blobs.map(Some)), ("risk.rs", texts)]);
    let expected = alone(&repo, "blob.rs");
    repo.init();
    let merged = repo.git_alone(&["merge", "-q", "topic"]);
    assert_eq!((merged.status.code(), repo.bytes("blob.rs")), expected);
    assert_eq!(repo.stages("blob.rs"), "1 2 3");
    assert_eq!(repo.text("risk.rs"), load.replace("100", "300"));
}

/// What stands in the place of `aura`: the program itself, for which the disk is full.
fn without_space() -> String {
    let program = binary("aura");
    format!(
        "trap '' XFSZ; ulimit -f 0; exec {} \"$@\"",
        program.display()
    )
}

#[test]
fn a_result_that_cannot_be_written_is_merged_by_git_and_never_our_side_alone() {
    let repo = clash();
    let expected = alone(&repo, "src/risk.rs");
    repo.init();
    repo.replace_program(&without_space());
    let merged = repo.try_git(&["merge", "-q", "topic"]);
    assert_eq!((merged.status.code(), repo.bytes("src/risk.rs")), expected);
    assert_eq!(repo.stages("src/risk.rs"), "1 2 3");
}

#[test]
fn where_nobody_can_write_a_result_git_stops_and_nothing_is_merged() {
    // The program alone, as somebody may register it; the program that is gone, with git's own try on a full disk.
    let cases = [
        (Some("aura merge-driver %O %A %B"), without_space()),
        (None, "ln -sf /dev/full \"$4\"; exit 2".to_owned()),
    ];
    for (driver, program) in cases {
        let repo = clash();
        let ours = repo.bytes("src/risk.rs");
        repo.init();
        repo.replace_program(&program);
        if let Some(driver) = driver {
            repo.git(&["config", "merge.aura.driver", driver]);
        }
        let merged = repo.try_git(&["merge", "-q", "topic"]);
        assert!(!matches!(merged.status.code(), Some(0 | 1)), "{merged:?}");
        assert_eq!(repo.bytes("src/risk.rs"), ours);
        assert_eq!(repo.unmerged(), [""; 0]);
        assert!(!repo.root.join(".git/MERGE_HEAD").exists());
    }
}

#[test]
fn a_program_that_is_another_or_dies_leaves_what_git_alone_would() {
    // It knows no such command; a parse that went wrong; killed by the system; killed by a person.
    for script in ["exit 2", "exit 70", "kill -KILL $$", "kill -TERM $$"] {
        let repo = clash();
        let expected = alone(&repo, "src/risk.rs");
        repo.init();
        repo.replace_program(script);
        let merged = repo.try_git(&["merge", "-q", "topic"]);
        assert_eq!(
            (merged.status.code(), repo.bytes("src/risk.rs")),
            expected,
            "{script}"
        );
        assert_eq!(repo.stages("src/risk.rs"), "1 2 3");
    }
}

#[test]
fn what_was_stashed_comes_back_function_by_function() {
    let repo = one("src/risk.rs", BASE, &ours(), BASE);
    repo.init();
    repo.git(&["checkout", "-q", "topic"]);
    fs::write(repo.root.join("src/risk.rs"), theirs()).unwrap();
    repo.git(&["stash", "-q"]);
    repo.git(&["merge", "-q", "main"]);
    repo.git(&["stash", "pop", "-q"]);
    assert_eq!(repo.text("src/risk.rs"), both());
    let merge = &repo.explained(&[])[0];
    assert_eq!(
        (&merge["ours"], &merge["theirs"]),
        (&"Updated upstream".into(), &"Stashed changes".into())
    );
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
fn the_driver_ends_with_0_or_1_or_makes_git_stop_whatever_it_is_given() {
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
    // No merge at all: git is to stop.
    for args in [
        &["nowhere", "ours", "theirs", "7", "x.rs"][..],
        &["base", "ours"],
    ] {
        assert_eq!(run(args), (Some(255), "b\n".to_owned()), "{args:?}");
    }
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
