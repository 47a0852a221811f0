//! Durable storage that knows nothing of the meaning of the bytes: a segment log with group
//! commit, views over a key-value store, atomic and private files, and the disk seam below the log.
//!
//! Invariants:
//! - an acknowledged record is on disk: every durable position was covered by a sync that succeeded;
//! - the log is the truth, every view can be lost and rebuilt from it;
//! - nothing read from disk is served before its checksum was compared.

pub mod disk;
pub mod faulty;
pub mod files;
pub mod log;
pub mod reader;
pub mod record;
pub mod recovery;
pub mod segment;
pub mod verify;
pub mod views;
pub mod writer;

pub use disk::{Disk, DiskFile, DiskLock, RealDisk, open_private};
pub use faulty::{Crash, FaultyDisk};
pub use files::{
    FileError, FileLock, SecretFile, ensure_private_dir, lock_exclusive, sweep_temporaries,
    write_atomic, write_unsynced,
};
pub use log::{AppendError, CommitError, Log, OpenError, Options, Stat};
pub use reader::{ReadError, Reader};
pub use record::{Hash, Kind, Record, RecordView, ZERO_HASH, chain_hash};
pub use recovery::{Corruption, Damage, Recovery, TornTail};
pub use verify::{Report, VerifyError, salvage, verify, verify_with};
pub use views::{Batch, Kv, MemoryViews, Opened, ViewError, Views};
pub use writer::{Outcome, QueueLimits, Submission, SubmitError, Writer, WriterHandle};
