//! Writing: what is refused, what survives, what is left behind.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use aura_tree::{Applied, Expect, RescuedFrom, Unsafe, WriteRefusal};

use crate::ground::{Ground, handed_over, holds, path};

fn why(refusal: WriteRefusal) -> Unsafe {
    match refusal {
        WriteRefusal::UnsafeTarget { why } => why,
        other => panic!("expected an unsafe target, got {other:?}"),
    }
}

#[test]
fn a_file_that_holds_what_was_expected_is_replaced_created_and_deleted() {
    let ground = Ground::new(&[("src/a.rs", "old")]);
    let copy = ground.copy();
    let a = path("src/a.rs");
    assert_eq!(
        copy.replace(0, &a, holds("old"), Some(b"new")).unwrap(),
        Applied::Replaced
    );
    assert_eq!(ground.read("src/a.rs"), "new");
    assert_eq!(
        copy.replace(0, &a, holds("new"), Some(b"new")).unwrap(),
        Applied::Unchanged
    );
    let made = path("deep/er/b.rs");
    assert_eq!(
        copy.replace(0, &made, Expect::Absent, Some(b"b")).unwrap(),
        Applied::Created
    );
    assert_eq!(ground.read("deep/er/b.rs"), "b");
    assert_eq!(
        copy.replace(0, &a, holds("new"), None).unwrap(),
        Applied::Deleted
    );
    assert!(!ground.at("src/a.rs").exists());
    assert_eq!(
        copy.replace(0, &a, Expect::Absent, None).unwrap(),
        Applied::Unchanged
    );
    assert_eq!(copy.kept_deadline(), Some(5_000));
    assert_eq!(handed_over(|keep| copy.sweep_kept(4_999, keep)), []);
    assert_eq!(ground.kept(), 2);
    assert_eq!(handed_over(|keep| copy.sweep_kept(5_000, keep)), []);
    assert_eq!((ground.kept(), copy.kept_deadline()), (0, None));
}

#[test]
fn case_064_bytes_are_written_as_they_are() {
    let old: &[u8] = b"\xef\xbb\xbfa\r\nb\n\tc\xe9 \0 no end";
    let new: &[u8] = b"\xef\xbb\xbfa\r\nB\n\tc\xe9 \0 no end";
    let ground = Ground::new(&[]);
    fs::write(ground.at("a.c"), old).unwrap();
    let copy = ground.copy();
    copy.replace(0, &path("a.c"), Expect::Hash(blake3::hash(old)), Some(new))
        .unwrap();
    assert_eq!(fs::read(ground.at("a.c")).unwrap(), new);
}

#[test]
fn case_066_a_file_edited_since_it_was_read_is_left_alone() {
    let ground = Ground::new(&[("a.rs", "base")]);
    let copy = ground.copy();
    ground.write("a.rs", "edited");
    for new in [Some(&b"new"[..]), None] {
        let refused = copy
            .replace(0, &path("a.rs"), holds("base"), new)
            .unwrap_err();
        assert!(matches!(refused, WriteRefusal::Moved), "{refused:?}");
    }
    let refused = copy
        .replace(0, &path("a.rs"), Expect::Absent, Some(b"new"))
        .unwrap_err();
    assert!(matches!(refused, WriteRefusal::Moved), "{refused:?}");
    assert_eq!(ground.read("a.rs"), "edited");
    assert_eq!(ground.kept(), 0);
}

#[test]
fn case_067_what_an_editor_writes_into_the_old_inode_later_comes_back() {
    use std::io::Write as _;
    let ground = Ground::new(&[("a.rs", "old")]);
    let copy = ground.copy();
    let mut editor = fs::OpenOptions::new()
        .write(true)
        .open(ground.at("a.rs"))
        .unwrap();
    copy.replace(0, &path("a.rs"), holds("old"), Some(b"new"))
        .unwrap();
    editor.write_all(b"late edit").unwrap();
    let rescued = handed_over(|keep| copy.sweep_kept(5_000, keep));
    assert_eq!(rescued.len(), 1);
    assert_eq!(rescued[0].bytes, b"late edit");
    assert_eq!(rescued[0].from, RescuedFrom::LateWrite);
    assert_eq!(rescued[0].path, Some(path("a.rs")));
    editor.write_all(b" and more").unwrap();
    assert_eq!(
        handed_over(|keep| copy.sweep_kept(10_000, keep))[0].bytes,
        b"late edit and more"
    );
    assert_eq!(handed_over(|keep| copy.sweep_kept(15_000, keep)), []);
    assert_eq!(ground.kept(), 0);
    assert_eq!(ground.read("a.rs"), "new");
}

#[test]
fn case_073_leftovers_of_a_crash_are_cleaned_and_user_content_is_returned() {
    let ground = Ground::new(&[("src/a.rs", "old")]);
    let store = ground.at(".git/aura/kept");
    fs::create_dir_all(&store).unwrap();
    let tag = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..32].to_owned();
    let name = |nonce| format!("x-{}-{}-{nonce}-src\\a.rs", tag("new"), tag("old"));
    fs::write(store.join("w-1"), "half").unwrap();
    fs::write(store.join(name("1")), "new").unwrap();
    fs::write(store.join(name("2")), "old").unwrap();
    fs::write(store.join(name("3")), "saved by the user").unwrap();
    let rescued = handed_over(|keep| ground.copy().clean_leftovers(keep).unwrap());
    assert_eq!(rescued.len(), 1);
    assert_eq!(rescued[0].bytes, b"saved by the user");
    assert_eq!(rescued[0].path, Some(path("src/a.rs")));
    assert_eq!(ground.kept(), 0);
}

#[test]
fn case_076_targets_that_are_no_plain_files_of_ours_are_refused() {
    let ground = Ground::new(&[("a.rs", "a"), ("b.rs", "b"), ("c.rs", "c"), ("d.rs", "d")]);
    let copy = ground.copy();
    let try_on = |name: &str, text: &str| {
        [Some(&b"new"[..]), None]
            .map(|new| why(copy.replace(0, &path(name), holds(text), new).unwrap_err()))
    };
    symlink("a.rs", ground.at("link.rs")).unwrap();
    assert_eq!(try_on("link.rs", "a"), [Unsafe::Link, Unsafe::Link]);
    fs::hard_link(ground.at("b.rs"), ground.at("b2.rs")).unwrap();
    assert_eq!(try_on("b.rs", "b"), [Unsafe::HardLink, Unsafe::HardLink]);
    fs::set_permissions(ground.at("c.rs"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(try_on("c.rs", "c"), [Unsafe::ReadOnly, Unsafe::ReadOnly]);
    fs::create_dir(ground.at("dir.rs")).unwrap();
    assert_eq!(
        try_on("dir.rs", ""),
        [Unsafe::NotRegular, Unsafe::NotRegular]
    );
    assert!(
        Command::new("mkfifo")
            .arg(ground.at("pipe.rs"))
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        try_on("pipe.rs", ""),
        [Unsafe::NotRegular, Unsafe::NotRegular]
    );
    // Only root can give a file away.
    if chown(ground.at("d.rs"), Some(12_345), None).is_ok() {
        assert_eq!(
            try_on("d.rs", "d"),
            [Unsafe::ForeignOwner, Unsafe::ForeignOwner]
        );
    }
    assert_eq!(
        ["a.rs", "b.rs", "c.rs"].map(|name| ground.read(name)),
        ["a", "b", "c"]
    );
    assert_eq!(ground.kept(), 0);
}

#[test]
fn case_076_mode_bits_survive() {
    let ground = Ground::new(&[("run.sh", "old")]);
    fs::set_permissions(ground.at("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    ground
        .copy()
        .replace(0, &path("run.sh"), holds("old"), Some(b"new"))
        .unwrap();
    assert_eq!(
        fs::metadata(ground.at("run.sh")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn case_077_a_full_disk_changes_nothing() {
    let ground = Ground::new(&[("a.rs", "old")]);
    // A limit on file size stands in for the full disk: the same error path, no second disk.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact apply::one_write_under_a_limit";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("TREE_UNDER_LIMIT", ground.root())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(ground.read("a.rs"), "old");
    assert!(!ground.at("b.rs").exists());
    assert_eq!(ground.kept(), 0);
}

/// The child of the test above; alone it checks that the limit is what made the difference.
#[test]
fn one_write_under_a_limit() {
    let big = vec![b'x'; 100_000];
    let Some(root) = std::env::var_os("TREE_UNDER_LIMIT") else {
        let ground = Ground::new(&[("a.rs", "old")]);
        ground
            .copy()
            .replace(0, &path("a.rs"), holds("old"), Some(&big))
            .unwrap();
        return;
    };
    let repo = aura_tree::Repo::discover(root.as_ref()).unwrap();
    let copy = aura_tree::WorkingCopy::open(&repo).unwrap();
    let refused = copy
        .replace(0, &path("a.rs"), holds("old"), Some(&big))
        .unwrap_err();
    assert!(matches!(refused, WriteRefusal::NoSpace), "{refused:?}");
    let refused = copy
        .replace(0, &path("b.rs"), Expect::Absent, Some(&big))
        .unwrap_err();
    assert!(matches!(refused, WriteRefusal::NoSpace), "{refused:?}");
}

#[test]
fn case_082_a_name_that_differs_only_in_case_is_not_created() {
    let ground = Ground::new(&[("src/Main.rs", "a")]);
    let copy = ground.copy();
    for name in ["src/main.rs", "SRC/other.rs"] {
        let refused = copy
            .replace(0, &path(name), Expect::Absent, Some(b"x"))
            .unwrap_err();
        assert_eq!(why(refused), Unsafe::Collision);
    }
}

#[test]
fn nothing_is_written_into_another_repository() {
    let ground = Ground::new(&[("vendor/lib/a.rs", "a")]);
    fs::create_dir(ground.at("vendor/lib/.git")).unwrap();
    let copy = ground.copy();
    let refused = copy
        .replace(0, &path("vendor/lib/a.rs"), holds("a"), Some(b"b"))
        .unwrap_err();
    assert_eq!(why(refused), Unsafe::NestedRepository);
    let refused = copy
        .replace(0, &path("vendor/lib/b.rs"), Expect::Absent, Some(b"b"))
        .unwrap_err();
    assert_eq!(why(refused), Unsafe::NestedRepository);
}

#[test]
fn case_083_a_directory_swapped_for_a_link_leads_nowhere() {
    let ground = Ground::new(&[("dir/a.rs", "old")]);
    let outside = ground.root().parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a.rs"), "old").unwrap();
    let (dir, aside) = (ground.at("dir"), ground.at("aside"));
    let stop = AtomicBool::new(false);
    let copy = ground.copy();
    let mut outcomes = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&dir, &aside).unwrap();
                // An apply may make the directory anew while it is away.
                while symlink(&outside, &dir).is_err() {
                    fs::remove_dir_all(&dir).ok();
                }
                fs::remove_file(&dir).unwrap();
                while fs::rename(&aside, &dir).is_err() {
                    fs::remove_dir_all(&dir).ok();
                }
            }
        });
        let mut holding = "old".to_owned();
        for attempt in 0..200_000_u32 {
            // Under load one side may not get a turn for a long while.
            if 2_000 <= attempt && outcomes.iter().all(|count| 50 < *count) {
                break;
            }
            let next = format!("{attempt}");
            match copy.replace(0, &path("dir/a.rs"), holds(&holding), Some(next.as_bytes())) {
                Ok(_) => {
                    outcomes[0] += 1;
                    holding = next;
                }
                Err(WriteRefusal::Moved | WriteRefusal::UnsafeTarget { .. }) => outcomes[1] += 1,
                Err(other) => panic!("{other:?}"),
            }
            let made = path("dir/new.rs");
            if copy.replace(0, &made, Expect::Absent, Some(b"n")).is_ok() {
                copy.replace(0, &made, holds("n"), None).ok();
            }
            if attempt % 100 == 0 {
                handed_over(|keep| copy.sweep_kept(u64::MAX, keep));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let found: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(found, ["a.rs"]);
    assert_eq!(fs::read_to_string(outside.join("a.rs")).unwrap(), "old");
    assert!(
        outcomes.iter().all(|count| 0 < *count),
        "the race never happened: {outcomes:?}"
    );
}

#[test]
fn a_thousand_replacements_are_quick() {
    let ground = Ground::new(&[("a.rs", "0")]);
    let copy = ground.copy();
    let start = std::time::Instant::now();
    for round in 0..1_000_u32 {
        let (old, new) = (round.to_string(), (round + 1).to_string());
        copy.replace(0, &path("a.rs"), holds(&old), Some(new.as_bytes()))
            .unwrap();
    }
    let took = start.elapsed();
    assert_eq!(ground.kept(), 1_000);
    assert_eq!(handed_over(|keep| copy.sweep_kept(u64::MAX, keep)), []);
    assert_eq!((ground.kept(), ground.read("a.rs").as_str()), (0, "1000"));
    // Three syncs each, at ten milliseconds on a slow disk.
    assert!(took.as_secs() < 30, "{took:?}");
    std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("1000 replace {took:?}\n").as_bytes(),
    )
    .unwrap();
}

#[test]
fn a_link_that_leads_out_is_neither_read_nor_written_through() {
    let ground = Ground::new(&[]);
    let outside = ground.root().parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a.rs"), "secret").unwrap();
    symlink(&outside, ground.at("dir")).unwrap();
    let copy = ground.copy();
    let refused = copy
        .replace(0, &path("dir/a.rs"), holds("secret"), Some(b"x"))
        .unwrap_err();
    assert_eq!(why(refused), Unsafe::Link);
    let refused = copy
        .replace(0, &path("dir/b.rs"), Expect::Absent, Some(b"x"))
        .unwrap_err();
    assert_eq!(why(refused), Unsafe::Link);
    assert!(copy.root().read_file(&path("dir/a.rs")).is_err());
}

#[test]
fn a_pipe_and_a_huge_file_are_refused_without_waiting() {
    let ground = Ground::new(&[]);
    assert!(
        Command::new("mkfifo")
            .arg(ground.at("pipe.rs"))
            .status()
            .unwrap()
            .success()
    );
    fs::File::create(ground.at("big.rs"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let copy = ground.copy();
    let read = |name: &str| copy.root().read_file(&path(name)).unwrap_err();
    assert!(matches!(read("pipe.rs"), aura_tree::ReadError::NotRegular));
    assert!(matches!(
        read("big.rs"),
        aura_tree::ReadError::TooLarge { .. }
    ));
    assert!(matches!(read("none.rs"), aura_tree::ReadError::Missing));
}
