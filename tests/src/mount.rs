//! File systems that a test makes for itself, where the machine lets it mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::amount;

/// A mounted file system; unmounted when dropped.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Whether this process may mount. What asks for it adds to cases that are shown without; the long run insists.
    pub fn is_possible() -> bool {
        let dir = tempfile::tempdir().unwrap();
        let is_possible = Self::new(&["-t", "tmpfs", "tmpfs"], dir.path()).is_some();
        assert!(
            is_possible || amount(true, false),
            "the long run mounts file systems"
        );
        is_possible
    }

    /// A file system in memory with room for so many bytes.
    pub fn tmpfs(at: &Path, bytes: u64) -> Self {
        let size = format!("size={bytes}");
        Self::new(&["-t", "tmpfs", "-o", &size, "tmpfs"], at).unwrap()
    }

    /// Gives a file system in memory another size.
    pub fn resize(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        run("mount", &["-o", &size], &self.at);
    }

    /// Forbids every write.
    pub fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro"], &self.at);
    }

    /// The ext4 in an image file.
    pub fn image(image: &Path, at: &Path) -> Self {
        Self::new(&["-o", "loop", image.to_str().unwrap()], at).unwrap()
    }

    /// Makes everything in it durable.
    pub fn sync(&self) {
        run("sync", &["-f"], &self.at);
    }

    fn new(args: &[&str], at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(args).arg(at).output().unwrap();
        mounted.status.success().then(|| Self { at: at.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At once, even if a test that failed left somebody behind in it.
        Command::new("umount").arg("-l").arg(&self.at).status().ok();
    }
}

/// Makes an image file with an empty ext4 of so many bytes.
pub fn make_ext4(image: &Path, bytes: u64) {
    fs::File::create(image).unwrap().set_len(bytes).unwrap();
    run("mkfs.ext4", &["-q", "-F"], image);
}

fn run(program: &str, args: &[&str], at: &Path) {
    let output = Command::new(program).args(args).arg(at).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}
