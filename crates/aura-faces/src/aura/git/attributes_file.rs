//! A file of attributes: git's own, or one of the work tree, whose author may be anybody.
//!
//! Invariants of one in the work tree:
//! - no link is followed, and what is no regular file says nothing, as git has it for a `.gitattributes`;
//! - at most [`BYTES_MAX`] are read, and what is longer is refused: git would heed it;
//! - it is written only where a regular file or nothing stands.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use aura_api::{Exit, Failure, shell_operand};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::attributes;
use crate::aura::local::{replace, write_whole};

/// Longest file that is read from a work tree: 1 MiB, far more than people write.
const BYTES_MAX: u64 = 1 << 20;

/// Where attributes stand.
pub(super) struct AttributesFile {
    pub(super) path: PathBuf,
    is_in_tree: bool,
}

impl AttributesFile {
    /// A file in git's directory, which its owner alone writes.
    pub(super) fn own(path: PathBuf) -> Self {
        let is_in_tree = false;
        Self { path, is_in_tree }
    }

    /// A file of the work tree.
    pub(super) fn in_tree(path: PathBuf) -> Self {
        let is_in_tree = true;
        Self { path, is_in_tree }
    }

    /// Its bytes, if it is there.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = match self.is_in_tree {
            true => read_regular(&self.path),
            false => fs::read(&self.path),
        };
        match bytes {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(self.too_large()),
            Err(error) => Err(storage(&self.path, &error)),
        }
    }

    pub(super) fn has_block(&self) -> Result<bool, Failure> {
        Ok(self.read()?.is_some_and(|it| attributes::has_block(&it)))
    }

    /// Refuses a place where something else stands than a file.
    pub(super) fn check_writable(&self) -> Result<(), Failure> {
        let meta = fs::symlink_metadata(&self.path);
        if self.is_in_tree && meta.is_ok_and(|meta| !meta.is_file()) {
            let path = self.path.display();
            let message = format!("{path} is no file of its own, and git does not heed it");
            return Err(Failure::new("AE-UNSAFE", Exit::UNSAFE, message).next(
                format!("ls -l {}", shell_operand(path)),
                "put a file in its place, or set up without --commit-attributes",
            ));
        }
        Ok(())
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.check_writable()?;
        if self.is_in_tree {
            return replace(&self.path, bytes);
        }
        let dir = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(dir).map_err(|error| storage(dir, &error))?;
        write_whole(&self.path, bytes)
    }

    pub(super) fn remove(&self) -> Result<(), Failure> {
        fs::remove_file(&self.path).map_err(|error| storage(&self.path, &error))
    }

    fn too_large(&self) -> Failure {
        let path = self.path.display();
        let message = format!("{path} is larger than {} MiB", BYTES_MAX >> 20);
        Failure::new("AE-TOO-LARGE", Exit::BUSY, message).next(
            format!("ls -l {}", shell_operand(path)),
            "what it says about merges has to be known; make it shorter",
        )
    }
}

/// What stands in a regular file; a link and everything else count as not found.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would keep whoever opens it until somebody writes.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Err(ErrorKind::NotFound.into()),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(0..=BYTES_MAX) => Ok(bytes),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}

fn storage(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot use {}: {error}", path.display());
    let above = path.parent().unwrap_or(path).to_string_lossy();
    let look = format!("ls -ld {}", shell_operand(&above));
    Failure::new("AE-STORAGE", Exit::STORAGE, message).next(look, "it has to be yours")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::{fs::symlink, net::UnixListener};

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn in_a_work_tree_what_is_no_regular_file_says_nothing_and_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "*.c merge\n").unwrap();
        symlink("file", path("link")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        // Nobody ever writes to it.
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for name in ["link", "socket", "pipe", ".", "nowhere", "file/below"] {
            let file = AttributesFile::in_tree(path(name));
            assert_eq!(file.read().unwrap(), None, "{name}");
            let written = file.write(b"*.d merge\n").map_err(|failure| failure.exit);
            assert_eq!(written.is_ok(), name == "nowhere", "{name}: {written:?}");
        }
        let read = AttributesFile::in_tree(path("file")).read().unwrap();
        assert_eq!(read.unwrap(), b"*.c merge\n");
        // In git's directory a link is its owner's wish.
        let own = AttributesFile::own(path("link"));
        own.write(b"*.d merge\n").unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"*.d merge\n");
    }
}
