//! What `doctor` and `bugreport` want to know about git and the clone.
//!
//! Invariant: nothing is changed by looking.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use aura_api::Failure;

use super::{
    Git, fields,
    setup::{self, Places},
};
use crate::aura::Face;

/// The clone in which a command stands.
pub(in crate::aura) struct CloneHere {
    pub(in crate::aura) root: PathBuf,
    /// Whether the merge driver is `set_up`, `stale` or `missing`, or why that cannot be known.
    pub(in crate::aura) driver: Result<&'static str, Failure>,
    /// What is the matter with the program that git would run.
    pub(in crate::aura) program: Option<String>,
}

impl Face<'_, '_> {
    /// What git says its version is.
    pub(in crate::aura) fn git_version(&self) -> Result<String, Failure> {
        let said = self.git().ask(&["--version"])?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// The clone here, or why there is none.
    pub(in crate::aura) fn clone_here(&self) -> Result<CloneHere, Failure> {
        let places = Places::find(self.git())?;
        Ok(CloneHere {
            driver: setup::state(self.git(), &places),
            program: self.not_found().map(|step| step.text),
            root: places.root,
        })
    }

    /// The files of a clone that git tracks or would track, from its root.
    pub(in crate::aura) fn files_of(&self, root: &Path) -> Result<Vec<PathBuf>, Failure> {
        let (dir, env) = (root, &self.env);
        let listing =
            Git { dir, env }.ask(&["ls-files", "-z", "-c", "-o", "--exclude-standard"])?;
        let path = |path: &[u8]| PathBuf::from(OsStr::from_bytes(path));
        Ok(fields(&listing).map(path).collect())
    }

    /// Whether a file would belong to a clone, so that others get it.
    pub(in crate::aura) fn would_be_shared(&self, file: &Path) -> bool {
        let Some(dir) = file.parent() else {
            return false;
        };
        let is_in_clone = dir.ancestors().any(|above| above.join(".git").exists());
        let ignored = || {
            let name = file.file_name().and_then(OsStr::to_str)?;
            let git = Git {
                dir,
                env: &self.env,
            };
            let said = git.say(&["check-ignore", "-q", "--", name]).ok()?;
            (said.code == Some(0)).then_some(())
        };
        is_in_clone && ignored().is_none()
    }
}

/// How many directories hold these files, with the one that holds them all.
pub(in crate::aura) fn directories(files: &[PathBuf]) -> u64 {
    let above = files.iter().flat_map(|file| file.ancestors().skip(1));
    let mut all: BTreeSet<&Path> = above.collect();
    all.insert(Path::new(""));
    u64::try_from(all.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_above_a_file_counts_once() {
        let files = ["a.rs", "src/b.rs", "src/c/d/e.rs", "src/c/f.rs"].map(PathBuf::from);
        assert_eq!(directories(&files), 4);
        assert_eq!(directories(&[]), 1);
    }
}
