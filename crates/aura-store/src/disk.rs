//! The seam between the log and the world's disk, and its real implementation.
//!
//! Invariants:
//! - the log reaches files only through [`Disk`], so a double can lose, tear and refuse anything;
//! - no call here retries a failed sync: the caller decides what a failure means;
//! - a created directory is durable when `create_dir_all` returns.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// A directory tree as the log needs it; all paths are plain paths of that tree.
pub trait Disk: Send + Sync {
    /// Creates a missing directory and its parents, private to the owner, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates a file for reading and writing; fails with `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Lists the plain files of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Renames a file within one directory, replacing the target; durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, creating it; fails with `WouldBlock` if it is held.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// Bytes an unprivileged writer may still allocate below a directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// A number that outsiders cannot guess; a double gives it from its seed.
    fn nonce(&self) -> u64;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes at an offset; 0 means end of file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `bytes.len()` bytes at an offset and returns how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts or extends the file with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the content and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A held lock; dropping it releases the file.
pub trait DiskLock: Send + Sync {}

/// The operating system's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(error) => return Err(error),
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name());
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        Ok(Box::new(RealLock {
            _file: lock_file(path)?,
        }))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn nonce(&self) -> u64 {
        // The standard library seeds its hash keys from the system's random source.
        RandomState::new().build_hasher().finish()
    }
}

/// Opens a file for reading and writing, or creates one that only its owner may use; never follows a link.
///
/// # Errors
///
/// What the system says, `ELOOP` where a link has this name.
pub fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow())
        .open(path)
}

/// Opens or creates a lock file without following a link, and locks it without waiting.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    let file = open_private(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// `O_NOFOLLOW` in the shape the standard library takes.
pub(crate) fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Holds the descriptor: the kernel frees the lock when it closes.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

/// Writes all bytes at an offset, through short writes and interruptions.
pub(crate) fn write_all_at(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        match file.write_at(rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                at = at.saturating_add(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer from an offset as far as the file goes and returns how many bytes came.
pub(crate) fn read_up_to(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether an error says that there is no room, be it for blocks or for handles, which may come
/// back without a restart.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    is_out_of_handles(error)
        || matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
}

/// Whether the process or the system has no file handle left.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        code == rustix::io::Errno::MFILE.raw_os_error()
            || code == rustix::io::Errno::NFILE.raw_os_error()
    })
}

/// Bytes of one zero write while a segment is prepared.
pub(crate) const ZERO_STEP_BYTES: usize = 1 << 20;

/// Whether all bytes are zero; compares whole pages because it runs over megabytes at every open.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZERO_PAGE.len())
        .all(|page| page == &ZERO_PAGE[..page.len()])
}

/// Length of the bytes without their trailing zeros.
pub(crate) fn trimmed_len(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while 0 < end {
        let start = (end - 1) / ZERO_PAGE.len() * ZERO_PAGE.len();
        let page = &bytes[start..end];
        if !is_zero(page) {
            let kept = page
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |index| index + 1);
            return start + kept;
        }
        end = start;
    }
    0
}

static ZERO_PAGE: [u8; 4096] = [0; 4096];
