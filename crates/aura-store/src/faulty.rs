//! A disk in memory that forgets, tears and refuses as a seed says.
//!
//! Model: a write changes the live content and marks its sectors dirty; a sync makes them durable.
//! A power cut keeps, for each dirty sector and each unsynced directory change, what the seed says,
//! so later sectors may survive while earlier ones are lost. A kill loses nothing.
//!
//! Invariants:
//! - synced content and synced directory changes survive every crash;
//! - a sector is never half old and half new;
//! - one seed and one sequence of calls give one content;
//! - handles and locks from before a crash are dead.

mod model;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock};
use model::{Change, Gate, Inode, Plan, State, apply, broken, cut, down, first_sector};

/// How a machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies and the system lives: every completed write stays.
    Kill,
    /// Unsynced sectors and directory changes survive or not as the seed says.
    Power,
    /// Everything unsynced is lost.
    PowerLosesAll,
}

/// The double; clones are the same disk.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the machine in the `at`-th mutating call from now (0 is the next); `None` never.
    pub fn crash_at(&self, at: Option<u64>) {
        let mut state = self.state();
        state.plan.crash_at_op = at.map(|at| state.counts.ops.saturating_add(at));
    }

    /// Fails the `at`-th sync from now with `EIO`, once; what it covered may be lost.
    pub fn fail_sync_at(&self, at: u64) {
        let mut state = self.state();
        state.plan.fail_sync_at = Some(state.counts.syncs.saturating_add(at));
    }

    /// Fails the `at`-th write from now with `ENOSPC`, once.
    pub fn no_space_at_write(&self, at: u64) {
        let mut state = self.state();
        state.plan.no_space_at_write = Some(state.counts.writes.saturating_add(at));
    }

    /// Bounds the bytes of all files; `None` is without bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().plan.capacity = bytes;
    }

    /// Lets writes of more than one sector stop early, as the seed says.
    pub fn set_short_writes(&self, on: bool) {
        self.state().plan.has_short_writes = on;
    }

    /// Mutating calls so far.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.state().counts.ops
    }

    /// Syncs so far, of files and directories.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        self.state().counts.syncs
    }

    /// Writes so far.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.state().counts.writes
    }

    /// Whether a planned crash has stopped the machine.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state().is_down
    }

    /// Stops the machine, applies the losses and starts it again without planned faults.
    pub fn crash(&self, how: Crash) {
        let mut state = self.state();
        match how {
            Crash::Kill => {}
            Crash::Power => state.lose(false),
            Crash::PowerLosesAll => state.lose(true),
        }
        state.generation += 1;
        state.locks.clear();
        state.plan = Plan {
            capacity: state.plan.capacity,
            ..Plan::default()
        };
        state.is_down = false;
    }

    /// The live content of a file, as after a kill.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.live.get(path)?;
        state.inodes.get(inode).map(|inode| inode.live.clone())
    }

    /// Replaces the content of a file durably, as somebody else would while the machine is off.
    pub fn set_content(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let number = match state.live.get(path) {
            Some(number) => *number,
            None => state.new_inode(),
        };
        let inode = Inode {
            live: bytes.clone(),
            durable: bytes,
            dirty: BTreeSet::new(),
        };
        state.inodes.insert(number, inode);
        state.live.insert(path.to_path_buf(), number);
        state.durable.insert(path.to_path_buf(), number);
    }

    /// Removes a file durably, as somebody else would while the machine is off.
    pub fn discard(&self, path: &Path) {
        let mut state = self.state();
        state.live.remove(path);
        state.durable.remove(path);
    }

    /// A copy of the whole disk as it is now, everything durable and without faults.
    #[must_use]
    pub fn snapshot(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        {
            let state = self.state();
            copy.state().dirs.clone_from(&state.dirs);
            for (path, number) in &state.live {
                if let Some(inode) = state.inodes.get(number) {
                    copy.set_content(path, inode.live.clone());
                }
            }
        }
        copy
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.dirs.contains(dir) {
            return Ok(());
        }
        if matches!(state.gate()?, Gate::Last) {
            return Err(down());
        }
        state.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|dir| state.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = state.new_inode();
        state.change(Change::Link {
            path: path.to_path_buf(),
            inode,
        })?;
        let generation = state.generation;
        drop(state);
        Ok(Box::new(FaultyFile {
            disk: self.clone(),
            inode,
            generation,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        if state.is_down {
            return Err(down());
        }
        let inode = *state.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        let generation = state.generation;
        drop(state);
        Ok(Box::new(FaultyFile {
            disk: self.clone(),
            inode,
            generation,
        }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        if state.is_down {
            return Err(down());
        }
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.live.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| path.file_name())
            .map(OsString::from)
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = *state.live.get(from).ok_or(io::ErrorKind::NotFound)?;
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        state.change(Change::Rename { from, to, inode })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.live.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Unlink {
            path: path.to_path_buf(),
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if matches!(state.gate()?, Gate::Last) {
            return Err(down());
        }
        if state.sync_fails() {
            return Err(broken());
        }
        let pending = std::mem::take(&mut state.pending);
        for change in pending {
            let (Change::Link { path, .. }
            | Change::Unlink { path }
            | Change::Rename { to: path, .. }) = &change;
            if path.parent() == Some(dir) {
                apply(&mut state.durable, &change);
            } else {
                state.pending.push(change);
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state();
        if state.is_down {
            return Err(down());
        }
        if !path.parent().is_some_and(|dir| state.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !state.locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let generation = state.generation;
        drop(state);
        Ok(Box::new(FaultyLock {
            disk: self.clone(),
            path: path.to_path_buf(),
            generation,
        }))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state
            .plan
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }

    fn nonce(&self) -> u64 {
        self.state().next_random()
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    inode: u64,
    generation: u64,
}

impl FaultyFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.is_down || state.generation != self.generation {
            return Err(down());
        }
        Ok(state)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let inode = state.inode(self.inode)?;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(inode.live.len());
        let count = buffer.len().min(inode.live.len() - start);
        buffer[..count].copy_from_slice(&inode.live[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let gate = state.gate()?;
        let write = state.counts.writes;
        state.counts.writes += 1;
        if state.plan.no_space_at_write == Some(write) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let grown = (at + bytes.len()).saturating_sub(state.inode(self.inode)?.live.len());
        if let Some(capacity) = state.plan.capacity
            && 0 < grown
            && capacity < state.used().saturating_add(grown as u64)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = match gate {
            Gate::Last => cut(bytes.len(), at, state.next_random()),
            Gate::Go if state.plan.has_short_writes => {
                cut(bytes.len(), at, state.next_random()).max(first_sector(bytes.len(), at))
            }
            Gate::Go => bytes.len(),
        };
        state.inode(self.inode)?.write(&bytes[..count], at);
        match gate {
            Gate::Go => Ok(count),
            Gate::Last => Err(down()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if matches!(state.gate()?, Gate::Last) {
            return Err(down());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let inode = state.inode(self.inode)?;
        let old = inode.live.len();
        inode.live.resize(len, 0);
        inode.mark(old.min(len), old.max(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let gate = state.gate()?;
        if state.sync_fails() {
            // The kernel marks the pages clean: what was not written yet is gone from its books.
            let all = state.flip();
            let dirty = std::mem::take(&mut state.inode(self.inode)?.dirty);
            let kept: Vec<usize> = dirty.into_iter().filter(|_| !all && state.flip()).collect();
            state.inode(self.inode)?.forget_all_but(&kept);
            return Err(broken());
        }
        match gate {
            Gate::Go => {
                state.inode(self.inode)?.sync();
                Ok(())
            }
            Gate::Last => Err(down()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inode(self.inode)?.live.len() as u64)
    }
}

struct FaultyLock {
    disk: FaultyDisk,
    path: PathBuf,
    generation: u64,
}

impl DiskLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation {
            state.locks.remove(&self.path);
        }
    }
}
