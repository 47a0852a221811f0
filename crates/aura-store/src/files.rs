//! Single files that must be whole, private or held by one process.
//!
//! Invariants:
//! - a file written here is at every instant the old or the new content, also after a power cut;
//! - a secret is created once, readable by its owner only, and never replaced;
//! - a secret that others could have read, or that is not a plain file of ours, is not used.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::disk;

/// Why a file or directory could not be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is there already and is never replaced.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// It is not there.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than a file of its kind can be.
    #[error("{} has more than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// Others could read or replace it, or it is not what it should be.
    #[error("{} is unsafe: {problem}", path.display())]
    UnsafePermissions {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        problem: Unsafe,
    },
}

/// What makes a private file or directory unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unsafe {
    /// Group or others have a permission; the mode bits are given.
    #[error("mode {0:04o} lets others in")]
    Mode(u32),
    /// It is not a directory.
    #[error("it is not a directory")]
    NotDirectory,
    /// It is not a plain file.
    #[error("it is not a plain file")]
    NotFile,
    /// It belongs to another user; the user number is given.
    #[error("it belongs to user {0}")]
    Owner(u32),
    /// It is a symbolic link.
    #[error("it is a symbolic link")]
    Symlink,
}

/// Replaces or creates a file so that a reader, or a restart, sees the old or the new content.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write_by_rename(path, bytes, mode, true)?;
    sync_parent(path).map_err(io_error(path))
}

/// Like [`write_atomic`] for readers and after a killed process; after a power cut anything may be there.
///
/// For what can be made again: a sum must tell whether it is whole.
pub fn write_unsynced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write_by_rename(path, bytes, mode, false)
}

fn write_by_rename(path: &Path, bytes: &[u8], mode: u32, synced: bool) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, mode)
        .and_then(|file| if synced { file.sync_all() } else { Ok(()) })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // Whatever is left is swept at the next start.
        let _ = fs::remove_file(&temporary);
        io_error(path)(error)
    })
}

/// Removes temporary files that a crash left in a directory; returns how many.
pub fn sweep_temporaries(dir: &Path) -> Result<usize, FileError> {
    let mut count = 0;
    for entry in fs::read_dir(dir).map_err(io_error(dir))? {
        let path = entry.map_err(io_error(dir))?.path();
        let is_ours = path
            .extension()
            .is_some_and(|extension| extension == TEMPORARY);
        if is_ours && path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            fs::remove_file(&path).map_err(io_error(&path))?;
            count += 1;
        }
    }
    Ok(count)
}

/// A file that only its owner may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
}

impl SecretFile {
    /// Names a secret; nothing is touched.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates it durably with mode 0600; fails with `Exists` if anything is there.
    ///
    /// The content is complete before the name appears, so a crash leaves no half secret.
    pub fn create(&self, secret: &[u8]) -> Result<(), FileError> {
        let temporary = temporary_beside(&self.path);
        let created = write_new(&temporary, secret, 0o600)
            // A hard link, unlike a rename, never replaces what is there.
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::hard_link(&temporary, &self.path));
        let _ = fs::remove_file(&temporary);
        match created {
            Ok(()) => sync_parent(&self.path).map_err(io_error(&self.path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(FileError::Exists {
                path: self.path.clone(),
            }),
            Err(error) => Err(io_error(&self.path)(error)),
        }
    }

    /// Reads it if it is a plain file of this user that nobody else may open.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let path = &self.path;
        let before = path.symlink_metadata().map_err(io_error(path))?;
        check_file(path, &before)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(disk::nofollow())
            .open(path)
            .map_err(io_error(path))?;
        // The name may have changed hands since; what counts is what was opened.
        check_file(path, &file.metadata().map_err(io_error(path))?)?;
        let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
        let limit = SECRET_BYTES_MAX as u64 + 1;
        file.take(limit)
            .read_to_end(&mut secret)
            .map_err(io_error(path))?;
        if SECRET_BYTES_MAX < secret.len() {
            return Err(FileError::TooLarge {
                path: path.clone(),
                max: SECRET_BYTES_MAX as u64,
            });
        }
        Ok(secret)
    }
}

/// Creates a directory with mode 0700, or checks that an existing one is ours alone.
pub fn ensure_private_dir(path: &Path) -> Result<(), FileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path).map_err(io_error(path))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error(path)(error)),
    }
    let meta = path.symlink_metadata().map_err(io_error(path))?;
    if meta.is_symlink() {
        return Err(not_safe(path, Unsafe::Symlink));
    }
    if !meta.is_dir() {
        return Err(not_safe(path, Unsafe::NotDirectory));
    }
    check_owner(path, &meta)
}

/// A held lock; dropping it, or the end of the process, releases it.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// Takes a lock file for this process, creating it; never waits.
pub fn lock_exclusive(path: &Path) -> Result<FileLock, FileError> {
    match disk::lock_file(path) {
        Ok(file) => Ok(FileLock { _file: file }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(FileError::Locked {
            path: path.to_path_buf(),
        }),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn check_file(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    if meta.is_symlink() {
        return Err(not_safe(path, Unsafe::Symlink));
    }
    if !meta.is_file() {
        return Err(not_safe(path, Unsafe::NotFile));
    }
    check_owner(path, meta)
}

fn check_owner(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_safe(path, Unsafe::Owner(meta.uid())));
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(not_safe(path, Unsafe::Mode(mode)));
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode & 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    // The umask has no say in a mode that was asked for, and nobody reads a half-written file.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.{TEMPORARY}", process::id()));
    path.with_file_name(name)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => FileError::NotFound { path },
        _ => FileError::Io { path, source },
    }
}

fn not_safe(path: &Path, problem: Unsafe) -> FileError {
    FileError::UnsafePermissions {
        path: path.to_path_buf(),
        problem,
    }
}

/// Largest secret: a key, a certificate chain or a token, never bulk.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

const TEMPORARY: &str = "aura-tmp";

static COUNT: AtomicU64 = AtomicU64::new(0);
