//! What a disk holds after a power cut, computed from the system calls of the process that used it.
//!
//! Stricter than any file system: a name is durable after a sync of its directory, content after a sync of its
//! file, and of what was not synced each 512-byte sector is there or not as a seed says.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aura_proto::Digest;

use crate::strace::Call;

const SECTOR_BYTES: usize = 512;

/// Arguments that make strace write down everything that [`Disk::apply`] needs, whole.
pub const TRACE: [&str; 5] = [
    "-y",
    "-s",
    "8388608",
    "-e",
    "trace=openat,mkdir,write,pwrite64,rename,linkat,unlink,fsync,fdatasync,sendto,writev",
];

#[derive(Clone, Default)]
struct Inode {
    is_dir: bool,
    durable: Vec<u8>,
    /// Writes since the last sync: where each ended in the trace, its offset and its bytes.
    pending: Vec<(usize, usize, Vec<u8>)>,
    /// Where a plain `write` goes on.
    cursor: usize,
}

/// A directory tree, as it is and as a power cut would leave it.
#[derive(Clone)]
pub struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

impl Disk {
    /// A tree as it lies on the disk now, all of it durable.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
        };
        disk.add(root);
        disk.durable_names = disk.names.clone();
        disk
    }

    fn add(&mut self, path: &Path) {
        let meta = path.symlink_metadata().unwrap();
        if !meta.is_dir() && !meta.is_file() {
            return;
        }
        let inode = self.make(path.to_owned(), meta.is_dir());
        if meta.is_file() {
            self.inodes[inode].durable = fs::read(path).unwrap();
            return;
        }
        for entry in fs::read_dir(path).unwrap() {
            self.add(&entry.unwrap().path());
        }
    }

    fn make(&mut self, path: PathBuf, is_dir: bool) -> usize {
        self.inodes.push(Inode {
            is_dir,
            ..Inode::default()
        });
        self.names.insert(path, self.inodes.len() - 1);
        self.inodes.len() - 1
    }

    /// Whether a call succeeded and did something to this tree.
    pub fn is_changed_by(&self, call: &Call) -> bool {
        let changes = match &call.name[..] {
            "openat" => call.args.contains("O_CREAT"),
            "fdatasync" | "fsync" | "linkat" | "mkdir" | "pwrite64" | "rename" | "unlink"
            | "write" => true,
            _ => false,
        };
        changes && 0 <= call.answer && call.args.contains(self.root.to_str().unwrap())
    }

    /// Takes a call that changed the tree into account, in the order in which calls ended.
    pub fn apply(&mut self, call: &Call) {
        let paths: Vec<PathBuf> = call.strings().into_iter().map(to_path).collect();
        let is_ours = |path: &&PathBuf| path.starts_with(&self.root);
        let named = paths.iter().find(is_ours).cloned();
        match (&call.name[..], named) {
            ("mkdir", Some(path)) => drop(self.make(path, true)),
            ("openat", Some(path)) if !self.names.contains_key(&path) => {
                self.make(path, false);
            }
            ("unlink", Some(path)) => drop(self.names.remove(&path)),
            ("rename", Some(from)) => {
                let inode = self.names.remove(&from).unwrap();
                self.names.insert(paths[1].clone(), inode);
            }
            ("linkat", Some(from)) => {
                let inode = self.names[&from];
                self.names.insert(paths[1].clone(), inode);
            }
            ("write" | "pwrite64", _) => self.write(call),
            ("fsync" | "fdatasync", _) => self.sync(call),
            _ => {}
        }
    }

    fn write(&mut self, call: &Call) {
        let Some(index) = self.names.get(Path::new(call.file())).copied() else {
            return;
        };
        let inode = &mut self.inodes[index];
        let mut bytes = call.strings().pop().unwrap();
        bytes.truncate(usize::try_from(call.answer).unwrap());
        let offset = match &call.name[..] {
            "pwrite64" => call.args.rsplit(", ").next().unwrap().parse().unwrap(),
            _ => inode.cursor,
        };
        inode.cursor = offset + bytes.len();
        inode.pending.push((call.ended, offset, bytes));
    }

    fn sync(&mut self, call: &Call) {
        let path = Path::new(call.file());
        let Some(index) = self.names.get(path).copied() else {
            return;
        };
        if self.inodes[index].is_dir {
            self.durable_names
                .retain(|name, _| name.parent() != Some(path));
            let inside = self
                .names
                .iter()
                .filter(|(name, _)| name.parent() == Some(path));
            self.durable_names
                .extend(inside.map(|(name, inode)| (name.clone(), *inode)));
            return;
        }
        let inode = &mut self.inodes[index];
        let (synced, pending) = std::mem::take(&mut inode.pending)
            .into_iter()
            .partition(|(ended, _, _)| *ended < call.began);
        inode.pending = pending;
        for (_, offset, bytes) in synced {
            put(&mut inode.durable, offset, &bytes);
        }
    }

    /// Replaces the tree on the disk by what a power cut at this moment leaves.
    pub fn cut_power(&self, seed: u64) {
        fs::remove_dir_all(&self.root).unwrap();
        let mut luck = Luck { seed, drawn: 0 };
        // Whether a name that was not synced is there already depends on the seed as well.
        let names = if luck.draw() {
            &self.names
        } else {
            &self.durable_names
        };
        for (path, index) in names {
            let inode = &self.inodes[*index];
            if !path.parent().unwrap().exists() {
                // What cannot be reached is lost.
                continue;
            }
            if inode.is_dir {
                DirBuilder::new().mode(0o700).create(path).unwrap();
                continue;
            }
            let mut bytes = inode.durable.clone();
            for (_, offset, written) in &inode.pending {
                for (number, sector) in written.chunks(SECTOR_BYTES).enumerate() {
                    if luck.draw() {
                        put(&mut bytes, offset + number * SECTOR_BYTES, sector);
                    }
                }
            }
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// What of it arrived: nothing, everything, or every other thing by chance.
struct Luck {
    seed: u64,
    drawn: u64,
}

impl Luck {
    fn draw(&mut self) -> bool {
        self.drawn += 1;
        match self.seed % 4 {
            0 => false,
            1 => true,
            _ => {
                let draw = [self.seed.to_le_bytes(), self.drawn.to_le_bytes()].concat();
                Digest::of(&draw).0[0] < 128
            }
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    bytes.resize(bytes.len().max(offset + written.len()), 0);
    bytes[offset..offset + written.len()].copy_from_slice(written);
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8(bytes).unwrap_or_default())
}
