//! File systems that can do less, made up by taking abilities away.

#![allow(clippy::disallowed_methods)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::apply::{Applied, Expect, WriteRefusal};
use crate::git::Repo;

pub(crate) struct Ground {
    pub(crate) copy: WorkingCopy,
    directory: TempDir,
}

/// A repository whose one file was left alone for a minute.
pub(crate) fn ground() -> Ground {
    let directory = TempDir::new().unwrap();
    for arguments in [
        &["init", "-q"][..],
        &["commit", "-q", "--allow-empty", "-m", "first"],
    ] {
        let git = Command::new("git")
            .args(["-c", "user.name=T", "-c", "user.email=t@example.org"])
            .args(arguments)
            .current_dir(&directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .status();
        assert!(git.unwrap().success());
    }
    fs::create_dir(directory.path().join("src")).unwrap();
    let ground = Ground {
        copy: WorkingCopy::open(&Repo::discover(directory.path()).unwrap()).unwrap(),
        directory,
    };
    ground.save("old");
    let minute_ago = SystemTime::now() - Duration::from_secs(60);
    File::options()
        .write(true)
        .open(ground.file())
        .unwrap()
        .set_modified(minute_ago)
        .unwrap();
    ground
}

impl Ground {
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("src/a.rs")
    }

    pub(crate) fn save(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    pub(crate) fn replace(&self, old: &str, new: &str) -> Result<Applied, WriteRefusal> {
        let expect = Expect::Hash(blake3::hash(old.as_bytes()));
        self.copy.replace(0, &a(), expect, Some(new.as_bytes()))
    }

    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join(directory)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn a() -> RepoPath {
    RepoPath::try_from("src/a.rs").unwrap()
}

/// What a sweep hands over, all of it taken.
pub(crate) fn handed_over(sweep: impl FnOnce(&mut Keep<'_>)) -> Vec<Rescued> {
    let mut found = Vec::new();
    sweep(&mut |rescued| {
        found.push(rescued);
        true
    });
    found
}

#[test]
fn without_exchange_a_file_at_rest_is_replaced_and_its_inode_kept() {
    let mut ground = ground();
    ground.copy.forget_exchange();
    let mut editor = File::options().write(true).open(ground.file()).unwrap();
    assert_eq!(ground.replace("old", "new").unwrap(), Applied::Replaced);
    assert_eq!(fs::read_to_string(ground.file()).unwrap(), "new");
    editor.write_all(b"late").unwrap();
    assert_eq!(
        handed_over(|keep| ground.copy.sweep_kept(GRACE_MS, keep))[0].bytes,
        b"late"
    );
}

#[test]
fn without_exchange_a_file_saved_a_moment_ago_is_left_alone() {
    let mut ground = ground();
    ground.copy.forget_exchange();
    ground.save("just saved");
    assert!(matches!(
        ground.replace("just saved", "new"),
        Err(WriteRefusal::Moved)
    ));
    assert_eq!(fs::read_to_string(ground.file()).unwrap(), "just saved");
    assert_eq!(ground.names(".git/aura/kept"), [""; 0]);
}

#[test]
fn on_another_file_system_the_inode_is_kept_beside_the_file_and_found_after_a_crash() {
    let mut ground = ground();
    ground.copy.store.device = 0;
    ground.replace("old", "new").unwrap();
    let names = ground.names("src");
    assert!(
        names[0].starts_with(".aura-tmp-x-") && names[1] == "a.rs",
        "{names:?}"
    );
    fs::write(ground.directory.path().join("src").join(&names[0]), "late").unwrap();
    fs::write(ground.directory.path().join("src/.aura-tmp-w-1"), "half").unwrap();
    let again = WorkingCopy::open(&Repo::discover(ground.directory.path()).unwrap()).unwrap();
    let rescued = handed_over(|keep| again.clean_leftovers(keep).unwrap());
    assert_eq!((rescued.len(), &rescued[0].bytes[..]), (1, &b"late"[..]));
    assert_eq!(rescued[0].path, Some(a()));
    assert_eq!(ground.names("src"), ["a.rs"]);
    assert_eq!(ground.names(".git/aura/kept"), [""; 0]);
}

#[test]
fn a_name_tells_what_a_crash_left_behind() {
    let ground = ground();
    let place = Place::Store(ground.copy.store.handle.clone());
    let [old, new] = [b"old", b"new"].map(|text| blake3::hash(text));
    let name = SwapName::swap(&place, Some(new), old, &a());
    let told = Leftover::Swap {
        new: tag(&new),
        old: tag(&old),
        path: Some(a()),
    };
    assert_eq!(Leftover::parse(name.as_str()), Some(told));
    let long = RepoPath::try_from(vec!["x-y"; 60].join("/")).unwrap();
    let name = SwapName::swap(&place, None, old, &long);
    assert!(name.as_str().len() <= COMPONENT_BYTES_MAX);
    assert!(matches!(
        Leftover::parse(name.as_str()),
        Some(Leftover::Swap { path: None, .. })
    ));
    assert_eq!(Leftover::parse("README"), None);
}
