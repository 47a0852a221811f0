//! The root of a working tree as an open handle, and reading below it.
//!
//! Invariants:
//! - every component is opened relative to the handle of the one above it, without following links;
//! - nothing but regular files and directories is ever opened for longer than it takes to see that;
//! - opening never blocks, whatever stands at the path;
//! - no more than [`FILE_BYTES_MAX`] of a file is held.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use thiserror::Error;

use aura_proto::path::RepoPath;

/// An open working tree.
#[derive(Debug)]
pub struct Root {
    handle: OwnedFd,
    path: PathBuf,
}

/// What a file looked like when it was read; equal stamps mean the bytes need not be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Time of the last change of the inode in nanoseconds since 1970; no program can set it back.
    pub ctime_ns: i128,
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub len: u64,
    /// Permission bits.
    pub mode: u32,
    /// Time of the last modification in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Names of the inode.
    pub nlink: u64,
}

/// A file's content with the stamp that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBytes {
    /// The whole content.
    pub bytes: Vec<u8>,
    /// Taken after the bytes from the same handle.
    pub meta: FileStamp,
}

/// Why a file could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file changed while it was read, more than once.
    #[error("file keeps changing")]
    Busy,
    /// The operating system refused.
    #[error("cannot read file")]
    Io(#[source] io::Error),
    /// A component on the way, or the file itself, is a link.
    #[error("a link is in the way")]
    Link,
    /// Nothing is there.
    #[error("no such file")]
    Missing,
    /// A directory on the way is a repository of its own.
    #[error("path is inside another repository")]
    NestedRepository,
    /// It is a directory, a device, a socket or a pipe.
    #[error("not a regular file")]
    NotRegular,
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("file has {bytes} bytes, more than are handled")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
}

impl Root {
    /// Opens the directory at `path`, which is itself trusted and may be reached through links.
    pub fn open(path: &Path) -> io::Result<Self> {
        let handle = rustix::fs::open(path, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self {
            handle,
            path: path.to_owned(),
        })
    }

    /// Where the root was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory below the root, given as text of checked components; `""` is the root.
    pub(crate) fn open_directory(&self, directory: &str) -> Result<OwnedFd, ReadError> {
        let mut handle = self.handle.try_clone().map_err(ReadError::Io)?;
        for component in directory
            .split('/')
            .filter(|component| !component.is_empty())
        {
            handle = open_component(handle.as_fd(), component)?;
            if is_repository(handle.as_fd()) {
                return Err(ReadError::NestedRepository);
            }
        }
        Ok(handle)
    }

    /// Whether no file is at a path: nothing, a directory, or another thing where its directory was.
    pub fn lacks(&self, path: &RepoPath) -> bool {
        match self.open_directory(path.parent().unwrap_or("")) {
            Ok(parent) => file_type(parent.as_fd(), OsStr::new(path.file_name()))
                .is_none_or(|kind| kind == FileType::Directory),
            Err(ReadError::Missing | ReadError::NotRegular) => true,
            Err(_) => false,
        }
    }

    /// Reads a file, at most [`FILE_BYTES_MAX`].
    ///
    /// A file that changes under the read is read again, so that a stamp never vouches for bytes
    /// of which half are older.
    pub fn read_file(&self, path: &RepoPath) -> Result<FileBytes, ReadError> {
        let parent = self.open_directory(path.parent().unwrap_or(""))?;
        for _ in 0..READ_ATTEMPTS {
            let mut file = open_regular(parent.as_fd(), OsStr::new(path.file_name()))?;
            let before = file.metadata().map_err(ReadError::Io)?;
            let bytes = read_within_budget(&mut file, before.len())?;
            let meta = FileStamp::of(&file.metadata().map_err(ReadError::Io)?);
            if meta == FileStamp::of(&before) && meta.len == len_of(&bytes) {
                return Ok(FileBytes { bytes, meta });
            }
        }
        Err(ReadError::Busy)
    }

    /// The stamp of a file, without opening the file.
    pub fn stamp(&self, path: &RepoPath) -> Result<FileStamp, ReadError> {
        let parent = self.open_directory(path.parent().unwrap_or(""))?;
        stamp_at(parent.as_fd(), path.file_name())
    }
}

impl FileStamp {
    /// The stamp in a file's metadata.
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            ino: meta.ino(),
            len: meta.len(),
            mode: meta.mode() & 0o7777,
            mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            nlink: meta.nlink(),
        }
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the widths differ by system"
    )]
    fn of_stat(stat: &Stat) -> Self {
        Self {
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            ino: stat.st_ino,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            mode: u32::from(stat.st_mode) & 0o7777,
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            nlink: u64::from(stat.st_nlink),
        }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

/// The stamp of a regular file by name below `parent`.
pub(crate) fn stamp_at(parent: BorrowedFd<'_>, name: &str) -> Result<FileStamp, ReadError> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| match errno {
        Errno::NOENT => ReadError::Missing,
        errno => ReadError::Io(errno.into()),
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(FileStamp::of_stat(&stat)),
        FileType::Symlink => Err(ReadError::Link),
        _ => Err(ReadError::NotRegular),
    }
}

/// Opens one directory by name below `parent`.
pub(crate) fn open_component(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, ReadError> {
    openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => ReadError::Missing,
        Errno::LOOP => ReadError::Link,
        Errno::NOTDIR => match file_type(parent, OsStr::new(name)) {
            Some(FileType::Symlink) => ReadError::Link,
            Some(_) | None => ReadError::NotRegular,
        },
        errno => ReadError::Io(errno.into()),
    })
}

/// Opens a regular file by name below `parent`; a pipe or device is closed again unread.
pub(crate) fn open_regular(parent: BorrowedFd<'_>, name: &OsStr) -> Result<File, ReadError> {
    // Asked first so that a device is not even opened; the handle is asked again below.
    if !matches!(file_type(parent, name), Some(FileType::RegularFile) | None) {
        return Err(match file_type(parent, name) {
            Some(FileType::Symlink) => ReadError::Link,
            Some(_) | None => ReadError::NotRegular,
        });
    }
    let handle = openat(parent, name, REGULAR, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => ReadError::Missing,
        Errno::LOOP => ReadError::Link,
        Errno::NXIO | Errno::ISDIR => ReadError::NotRegular,
        errno => ReadError::Io(errno.into()),
    })?;
    let file = File::from(handle);
    if !file.metadata().map_err(ReadError::Io)?.is_file() {
        return Err(ReadError::NotRegular);
    }
    Ok(file)
}

/// Reads to the end, holding at most [`FILE_BYTES_MAX`] bytes.
pub(crate) fn read_within_budget(file: &mut File, hint: u64) -> Result<Vec<u8>, ReadError> {
    if FILE_BYTES_MAX < hint {
        return Err(ReadError::TooLarge { bytes: hint });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(hint).unwrap_or(0).saturating_add(1));
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    if FILE_BYTES_MAX < len_of(&bytes) {
        return Err(ReadError::TooLarge {
            bytes: len_of(&bytes),
        });
    }
    Ok(bytes)
}

/// The kind of whatever stands at `name`, a link itself included; `None` when nothing does.
pub(crate) fn file_type(parent: BorrowedFd<'_>, name: &OsStr) -> Option<FileType> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

/// Whether a directory is the root of a repository, a submodule's included.
pub(crate) fn is_repository(directory: BorrowedFd<'_>) -> bool {
    statat(directory, ".git", AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Bytes of a file that is handled at all; larger ones are no source a person edits.
pub const FILE_BYTES_MAX: u64 = 8 << 20;

/// Reads of one file before it counts as busy.
const READ_ATTEMPTS: u32 = 4;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
