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

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock};
use crate::segment::SECTOR_BYTES;

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

struct State {
    inodes: BTreeMap<u64, Inode>,
    live: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    pending: Vec<Change>,
    locks: BTreeSet<PathBuf>,
    /// Counts crashes; a handle of another generation is dead.
    generation: u64,
    random: u64,
    plan: Plan,
    counts: Counts,
    is_down: bool,
}

#[derive(Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum Change {
    Link { path: PathBuf, inode: u64 },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
}

#[derive(Default)]
struct Plan {
    crash_at_op: Option<u64>,
    fail_sync_at: Option<u64>,
    no_space_at_write: Option<u64>,
    capacity: Option<u64>,
    has_short_writes: bool,
}

#[derive(Default)]
struct Counts {
    ops: u64,
    writes: u64,
    syncs: u64,
}

/// What a mutating call may still do.
enum Gate {
    Go,
    /// The machine stops in the middle of this call.
    Last,
}

impl FaultyDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            inodes: BTreeMap::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            dirs: BTreeSet::new(),
            pending: Vec::new(),
            locks: BTreeSet::new(),
            generation: 0,
            random: seed,
            plan: Plan::default(),
            counts: Counts::default(),
            is_down: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
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
        state.plan = Plan { capacity: state.plan.capacity, ..Plan::default() };
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
        let inode = Inode { live: bytes.clone(), durable: bytes, dirty: BTreeSet::new() };
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

impl State {
    /// The next number of the seed's sequence (SplitMix64).
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn flip(&mut self) -> bool {
        self.next_random() & 1 == 1
    }

    fn new_inode(&mut self) -> u64 {
        let number = self.inodes.last_key_value().map_or(0, |(last, _)| last + 1);
        self.inodes.insert(number, Inode::default());
        number
    }

    fn gate(&mut self) -> io::Result<Gate> {
        if self.is_down {
            return Err(down());
        }
        let op = self.counts.ops;
        self.counts.ops += 1;
        if self.plan.crash_at_op == Some(op) {
            self.is_down = true;
            return Ok(Gate::Last);
        }
        Ok(Gate::Go)
    }

    fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(down)
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<u64> = self.live.values().copied().collect();
        let lens = self.inodes.iter().filter(|(number, _)| linked.contains(number));
        lens.map(|(_, inode)| inode.live.len() as u64).sum()
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let gate = self.gate()?;
        if matches!(gate, Gate::Last) && self.flip() {
            return Err(down());
        }
        apply(&mut self.live, &change);
        self.pending.push(change);
        match gate {
            Gate::Go => Ok(()),
            Gate::Last => Err(down()),
        }
    }

    fn lose(&mut self, all: bool) {
        for change in std::mem::take(&mut self.pending) {
            if !all && self.flip() {
                apply(&mut self.durable, &change);
            }
        }
        self.live = self.durable.clone();
        let numbers: Vec<u64> = self.inodes.keys().copied().collect();
        for number in numbers {
            let dirty = self.inodes.get(&number).map(|inode| inode.dirty.clone());
            let kept: Vec<usize> =
                dirty.unwrap_or_default().into_iter().filter(|_| !all && self.flip()).collect();
            if let Some(inode) = self.inodes.get_mut(&number) {
                inode.lose_all_but(&kept);
            }
        }
    }

    /// Counts a sync; `true` if it must fail.
    fn sync_fails(&mut self) -> bool {
        let sync = self.counts.syncs;
        self.counts.syncs += 1;
        self.plan.fail_sync_at == Some(sync)
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        let old = self.live.len();
        if old < end {
            self.live.resize(end, 0);
            self.mark(old, end);
        }
        self.live[at..end].copy_from_slice(bytes);
        self.mark(at, end);
    }

    fn mark(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty.extend(from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES);
        }
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.live);
        self.dirty.clear();
    }

    fn lose_all_but(&mut self, kept: &[usize]) {
        for sector in kept {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(self.live.len());
            if to <= from {
                continue;
            }
            if self.durable.len() < to {
                self.durable.resize(to, 0);
            }
            self.durable[from..to].copy_from_slice(&self.live[from..to]);
        }
        self.live.clone_from(&self.durable);
        self.dirty.clear();
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &Change) {
    match change {
        Change::Link { path, inode } => {
            names.insert(path.clone(), *inode);
        }
        Change::Unlink { path } => {
            names.remove(path);
        }
        Change::Rename { from, to, inode } => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
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
        state.change(Change::Link { path: path.to_path_buf(), inode })?;
        let generation = state.generation;
        drop(state);
        Ok(Box::new(FaultyFile { disk: self.clone(), inode, generation }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        if state.is_down {
            return Err(down());
        }
        let inode = *state.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        let generation = state.generation;
        drop(state);
        Ok(Box::new(FaultyFile { disk: self.clone(), inode, generation }))
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
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).collect())
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
        state.change(Change::Unlink { path: path.to_path_buf() })
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
            let (Change::Link { path, .. } | Change::Unlink { path } | Change::Rename { to: path, .. }) =
                &change;
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
        Ok(Box::new(FaultyLock { disk: self.clone(), path: path.to_path_buf(), generation }))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.plan.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
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
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.live.len());
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
            let kept: Vec<usize> =
                dirty.into_iter().filter(|_| !all && state.flip()).collect();
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

impl Inode {
    /// A failed sync: some sectors reached the disk, the others stay in the cache as if clean.
    fn forget_all_but(&mut self, kept: &[usize]) {
        let cache = self.live.clone();
        self.lose_all_but(kept);
        self.live = cache;
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

/// Bytes of a write that stops at a sector boundary, or nowhere.
fn cut(len: usize, at: usize, random: u64) -> usize {
    let sectors = (at + len).div_ceil(SECTOR_BYTES) - at / SECTOR_BYTES;
    let kept = usize::try_from(random % (sectors as u64 + 1)).unwrap_or(0);
    ((at / SECTOR_BYTES + kept) * SECTOR_BYTES).saturating_sub(at).min(len)
}

/// Bytes up to the end of the first sector: the least that a short write writes.
fn first_sector(len: usize, at: usize) -> usize {
    (SECTOR_BYTES - at % SECTOR_BYTES).min(len)
}

fn down() -> io::Error {
    io::Error::other("the machine is down")
}

fn broken() -> io::Error {
    io::Error::other("input/output error")
}
