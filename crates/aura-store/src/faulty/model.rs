//! What the double remembers: live and durable content, and what is planned to go wrong.
//!
//! Invariants:
//! - only what is dirty can be lost, and only a sync or a lucky sector makes it durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::segment::SECTOR_BYTES;

pub(super) struct State {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) live: BTreeMap<PathBuf, u64>,
    pub(super) durable: BTreeMap<PathBuf, u64>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) pending: Vec<Change>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Counts crashes; a handle of another generation is dead.
    pub(super) generation: u64,
    pub(super) random: u64,
    pub(super) plan: Plan,
    pub(super) counts: Counts,
    pub(super) is_down: bool,
}

#[derive(Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) dirty: BTreeSet<usize>,
}

#[derive(Clone)]
pub(super) enum Change {
    Link {
        path: PathBuf,
        inode: u64,
    },
    Unlink {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: u64,
    },
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) crash_at_op: Option<u64>,
    pub(super) fail_sync_at: Option<u64>,
    pub(super) no_space_at_write: Option<u64>,
    pub(super) capacity: Option<u64>,
    pub(super) has_short_writes: bool,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) ops: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
}

/// What a mutating call may still do.
pub(super) enum Gate {
    Go,
    /// The machine stops in the middle of this call.
    Last,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
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
        }
    }

    /// The next number of the seed's sequence (SplitMix64).
    pub(super) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn flip(&mut self) -> bool {
        self.next_random() & 1 == 1
    }

    pub(super) fn new_inode(&mut self) -> u64 {
        let number = self.inodes.last_key_value().map_or(0, |(last, _)| last + 1);
        self.inodes.insert(number, Inode::default());
        number
    }

    pub(super) fn gate(&mut self) -> io::Result<Gate> {
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

    pub(super) fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(down)
    }

    pub(super) fn used(&self) -> u64 {
        let linked: BTreeSet<u64> = self.live.values().copied().collect();
        let lens = self
            .inodes
            .iter()
            .filter(|(number, _)| linked.contains(number));
        lens.map(|(_, inode)| inode.live.len() as u64).sum()
    }

    pub(super) fn change(&mut self, change: Change) -> io::Result<()> {
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

    pub(super) fn lose(&mut self, all: bool) {
        for change in std::mem::take(&mut self.pending) {
            if !all && self.flip() {
                apply(&mut self.durable, &change);
            }
        }
        self.live = self.durable.clone();
        let numbers: Vec<u64> = self.inodes.keys().copied().collect();
        for number in numbers {
            let dirty = self.inodes.get(&number).map(|inode| inode.dirty.clone());
            let kept: Vec<usize> = dirty
                .unwrap_or_default()
                .into_iter()
                .filter(|_| !all && self.flip())
                .collect();
            if let Some(inode) = self.inodes.get_mut(&number) {
                inode.lose_all_but(&kept);
            }
        }
    }

    /// Counts a sync; `true` if it must fail.
    pub(super) fn sync_fails(&mut self) -> bool {
        let sync = self.counts.syncs;
        self.counts.syncs += 1;
        self.plan.fail_sync_at == Some(sync)
    }
}

impl Inode {
    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        let old = self.live.len();
        if old < end {
            self.live.resize(end, 0);
            self.mark(old, end);
        }
        self.live[at..end].copy_from_slice(bytes);
        self.mark(at, end);
    }

    pub(super) fn mark(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty
                .extend(from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES);
        }
    }

    /// Writes back the dirty sectors and nothing else: what an earlier failed sync forgot stays
    /// lost until somebody writes it again.
    pub(super) fn sync(&mut self) {
        let dirty: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
        if self.live.len() < self.durable.len() {
            self.durable.truncate(self.live.len());
        }
        self.forget_all_but(&dirty);
    }

    pub(super) fn lose_all_but(&mut self, kept: &[usize]) {
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

pub(super) fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &Change) {
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

impl Inode {
    /// A failed sync: some sectors reached the disk, the others stay in the cache as if clean.
    pub(super) fn forget_all_but(&mut self, kept: &[usize]) {
        let cache = self.live.clone();
        self.lose_all_but(kept);
        self.live = cache;
    }
}

/// Bytes of a write that stops at a sector boundary, or nowhere.
pub(super) fn cut(len: usize, at: usize, random: u64) -> usize {
    let sectors = (at + len).div_ceil(SECTOR_BYTES) - at / SECTOR_BYTES;
    let kept = usize::try_from(random % (sectors as u64 + 1)).unwrap_or(0);
    ((at / SECTOR_BYTES + kept) * SECTOR_BYTES)
        .saturating_sub(at)
        .min(len)
}

/// Bytes up to the end of the first sector: the least that a short write writes.
pub(super) fn first_sector(len: usize, at: usize) -> usize {
    (SECTOR_BYTES - at % SECTOR_BYTES).min(len)
}

pub(super) fn down() -> io::Error {
    io::Error::other("the machine is down")
}

pub(super) fn broken() -> io::Error {
    io::Error::other("input/output error")
}
