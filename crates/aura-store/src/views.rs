//! Views: ordered key-value stores that can be lost at any time and rebuilt from the log.
//!
//! Invariants:
//! - only this module knows the store behind [`Views`];
//! - no panic of that store leaves this module;
//! - a store that cannot be opened is moved aside, never repaired and never trusted;
//! - nothing is durable before `flush`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Bound;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use thiserror::Error;

use crate::disk;
use crate::files::{FileError, FileLock, lock_exclusive};

/// Why a view could not be used; the log still can.
#[derive(Debug, Error)]
pub enum ViewError {
    /// The store failed; reopening moves it aside if it stays so.
    #[error("the view store failed")]
    Store(#[source] io::Error),
    /// The directory could not be used.
    #[error("cannot use the view directory {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Another process has the views open.
    #[error("the views are open elsewhere: {} is locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The store panicked; reopen it.
    #[error("the view store panicked")]
    Panicked,
}

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// Changes that happen together or not at all; a later one of the same key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), None);
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// An ordered map of bytes.
pub trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError>;
    /// Sets a key.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ViewError>;
    /// Removes a key; no error if it is absent.
    fn delete(&self, key: &[u8]) -> Result<(), ViewError>;
    /// Up to `count_max` pairs whose keys start with `prefix`, ascending, behind the key `after`.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count_max: usize,
    ) -> Result<Vec<Pair>, ViewError>;
    /// Sets (or removes) a key if it has the expected value (or is absent); says whether it did.
    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<bool, ViewError>;
    /// Applies all changes or none.
    fn apply(&self, batch: Batch) -> Result<(), ViewError>;
    /// Makes everything so far durable.
    fn flush(&self) -> Result<(), ViewError>;
}

/// How views were opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There were none; fill them from the log.
    Created,
    /// They are as of some flush; catch up from the position stored in them.
    Kept,
    /// They were damaged and moved to `aside`; fill them from the log.
    Rebuilt {
        /// The damaged store, kept until the next damage.
        aside: PathBuf,
    },
}

/// Views on disk.
#[derive(Debug)]
pub struct Views {
    db: sled::Db,
    _lock: FileLock,
}

impl Views {
    /// Opens or creates the views in a directory, beside which the lock and a damaged
    /// predecessor live as `<dir>.lock` and `<dir>.damaged`.
    pub fn open(dir: &Path) -> Result<(Self, Opened), ViewError> {
        let lock = lock(dir)?;
        match open_guarded(dir) {
            Ok(db) => {
                let opened = if db.was_recovered() {
                    Opened::Kept
                } else {
                    Opened::Created
                };
                Ok((Self { db, _lock: lock }, opened))
            }
            Err(error) if is_of_the_machine(&error) => Err(error),
            Err(error) => {
                let aside = move_aside(dir).map_err(|source| ViewError::Io {
                    path: dir.to_path_buf(),
                    source,
                })?;
                tracing::warn!(
                    %error,
                    aside = %aside.display(),
                    "moved damaged views aside; they are rebuilt from the log"
                );
                let db = open_guarded(dir)?;
                Ok((Self { db, _lock: lock }, Opened::Rebuilt { aside }))
            }
        }
    }
}

impl Kv for Views {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        guarded(|| self.db.get(key)).map(|found| found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
        guarded(|| self.db.insert(key, value)).map(|_| ())
    }

    fn delete(&self, key: &[u8]) -> Result<(), ViewError> {
        guarded(|| self.db.remove(key)).map(|_| ())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count_max: usize,
    ) -> Result<Vec<Pair>, ViewError> {
        guarded(|| {
            let mut pairs = Vec::new();
            for pair in self
                .db
                .range::<&[u8], _>((start(prefix, after), Bound::Unbounded))
            {
                let (key, value) = pair?;
                if pairs.len() == count_max || !key.starts_with(prefix) {
                    break;
                }
                pairs.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
            }
            Ok(pairs)
        })
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<bool, ViewError> {
        guarded(|| self.db.compare_and_swap(key, expected, value)).map(|swapped| swapped.is_ok())
    }

    fn apply(&self, batch: Batch) -> Result<(), ViewError> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch.changes {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        guarded(|| self.db.apply_batch(changes))
    }

    fn flush(&self) -> Result<(), ViewError> {
        guarded(|| self.db.flush()).map(|_| ())
    }
}

/// Views in memory, for tests and for callers that keep nothing.
#[derive(Debug, Default)]
pub struct MemoryViews {
    pairs: Mutex<BTreeMap<Vec<u8>, Bytes>>,
}

impl MemoryViews {
    fn pairs(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Bytes>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for MemoryViews {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.pairs().get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
        self.pairs()
            .insert(key.to_vec(), Bytes::copy_from_slice(value));
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), ViewError> {
        self.pairs().remove(key);
        Ok(())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count_max: usize,
    ) -> Result<Vec<Pair>, ViewError> {
        let pairs = self.pairs();
        let range = pairs.range::<[u8], _>((start(prefix, after), Bound::Unbounded));
        let found = range
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(count_max);
        Ok(found
            .map(|(key, value)| (Bytes::copy_from_slice(key), value.clone()))
            .collect())
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<bool, ViewError> {
        let mut pairs = self.pairs();
        if pairs.get(key).map(Bytes::as_ref) != expected {
            return Ok(false);
        }
        match value {
            Some(value) => pairs.insert(key.to_vec(), Bytes::copy_from_slice(value)),
            None => pairs.remove(key),
        };
        Ok(true)
    }

    fn apply(&self, batch: Batch) -> Result<(), ViewError> {
        let mut pairs = self.pairs();
        for (key, value) in batch.changes {
            match value {
                Some(value) => pairs.insert(key, value.into()),
                None => pairs.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), ViewError> {
        Ok(())
    }
}

/// Where a scan starts: at the prefix, or behind a key that lies within or after it.
fn start<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if prefix <= after => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

fn lock(dir: &Path) -> Result<FileLock, ViewError> {
    // The store reports a live holder like damage, so its own lock cannot be asked.
    lock_exclusive(&beside(dir, "lock")).map_err(|error| match error {
        FileError::Locked { path } => ViewError::Locked { path },
        FileError::Io { path, source } => ViewError::Io { path, source },
        FileError::NotFound { path }
        | FileError::Exists { path }
        | FileError::TooLarge { path, .. }
        | FileError::UnsafePermissions { path, .. } => ViewError::Io {
            path,
            source: io::ErrorKind::NotFound.into(),
        },
    })
}

fn open_guarded(dir: &Path) -> Result<sled::Db, ViewError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        // The caller flushes together with the log position that the views reflect.
        .flush_every_ms(None);
    // A thread of its own: damage may make the store panic or exhaust the stack.
    let opened = thread::Builder::new()
        .name("views-open".into())
        .spawn(move || config.open())
        .map_err(ViewError::Store)?
        .join();
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(error)) => Err(store_error(error)),
        Err(_) => Err(ViewError::Panicked),
    }
}

fn guarded<R>(call: impl FnOnce() -> sled::Result<R>) -> Result<R, ViewError> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(store_error(error)),
        Err(_) => Err(ViewError::Panicked),
    }
}

fn store_error(error: sled::Error) -> ViewError {
    ViewError::Store(match error {
        sled::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    })
}

/// Whether the machine refused, in which case the store may be perfectly good.
fn is_of_the_machine(error: &ViewError) -> bool {
    let ViewError::Store(error) = error else {
        return false;
    };
    disk::is_out_of_handles(error)
        || matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::OutOfMemory
        )
}

fn move_aside(dir: &Path) -> io::Result<PathBuf> {
    let aside = beside(dir, "damaged");
    match fs::remove_dir_all(&aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::rename(dir, &aside)?;
    Ok(aside)
}

fn beside(dir: &Path, ending: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(ending);
    dir.with_file_name(name)
}

/// Memory for pages; the store's default of 1 GiB is more than a laptop's daemon may take.
const CACHE_BYTES: u64 = 32 << 20;
