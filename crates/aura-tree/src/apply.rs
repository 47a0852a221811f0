//! Replacing a file of the working tree without losing what its user saves meanwhile.
//!
//! Invariants:
//! - at every instant a target holds exactly its old or its new content (I9);
//! - new content takes the target's place only in exchange for the inode that held what was
//!   expected; whatever else came out is put back (I8);
//! - the inode that came out is kept, since an editor may still write into it;
//! - what was taken and given back is kept, too: whoever read the path between may save over it;
//! - the parent is one open handle from the first check to the last call, so no link swapped in
//!   between leads anywhere.

mod stage;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::{
    AtFlags, Dir, Mode, RenameFlags, fsync, linkat, mkdirat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

use aura_proto::path::{RepoPath, fold_key};

use self::stage::{copy_attributes, put_absent, stage};
use crate::git::Repo;
use crate::kept::{self, Fingerprint, Found, Kept, Kind, Place, Reason, Store, SwapName, found};
use crate::root::{
    FileStamp, ReadError, Root, is_repository, open_component, open_regular, read_within_budget,
    stamp_at,
};

/// A working tree that may be written to, with the place where its swapped-out inodes are kept.
#[derive(Debug)]
pub struct WorkingCopy {
    pub(crate) root: Root,
    pub(crate) store: Store,
    pub(crate) kept: Mutex<Vec<Kept>>,
    /// Whether the file system can exchange two names in one step.
    can_exchange: bool,
}

/// What the caller believes a path holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// A file whose bytes have this BLAKE3 hash.
    Hash(blake3::Hash),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The file is new.
    Created,
    /// The file is gone.
    Deleted,
    /// The file has new content.
    Replaced,
    /// It already was as wanted.
    Unchanged,
}

/// Why nothing was written.
#[derive(Debug, Error)]
pub enum WriteRefusal {
    /// The operating system refused.
    #[error("cannot write file")]
    Io(#[source] io::Error),
    /// The path does not hold what was expected; read it again and merge anew.
    #[error("file changed meanwhile")]
    Moved,
    /// There is no room on the device or in the quota; nothing changed, try again later.
    #[error("no space left")]
    NoSpace,
    /// The target is of a kind that is never written.
    #[error("unsafe target: {why}")]
    UnsafeTarget {
        /// What is wrong with it.
        why: Unsafe,
    },
}

/// What makes a target unsafe to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsafe {
    /// Another name differs only in case or composition.
    #[error("its name collides with an existing one")]
    Collision,
    /// Another user owns it.
    #[error("it belongs to another user")]
    ForeignOwner,
    /// The inode has more than one name.
    #[error("it has several hard links")]
    HardLink,
    /// It, or a directory on the way, is a link.
    #[error("a link is in the way")]
    Link,
    /// A directory on the way is another repository.
    #[error("it is inside another repository")]
    NestedRepository,
    /// It is a directory, pipe, socket or device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Its owner may not write it.
    #[error("it is read-only")]
    ReadOnly,
    /// It is larger than files that are handled.
    #[error("it is too large")]
    TooLarge,
}

/// Why a working copy could not be opened for writing.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The place for swapped-out inodes could not be made in git's directory.
    #[error("cannot prepare a directory inside git's")]
    Store(#[source] io::Error),
    /// The root of the working tree could not be opened.
    #[error("cannot open the working tree")]
    Root(#[source] io::Error),
}

impl WorkingCopy {
    /// Opens the working tree of `repo`. Call `clean_leftovers` before the first write.
    pub fn open(repo: &Repo) -> Result<Self, OpenError> {
        let root = Root::open(repo.work_tree()).map_err(OpenError::Root)?;
        let store = Store::open(repo.git_dir()).map_err(OpenError::Store)?;
        let can_exchange = store.can_exchange().map_err(OpenError::Store)?;
        Ok(Self {
            root,
            store,
            kept: Mutex::new(Vec::new()),
            can_exchange,
        })
    }

    /// The open root, for reading.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Makes `path` hold `new`, or nothing, provided it holds what is expected.
    ///
    /// Returns after everything has reached the disk. On any refusal the path holds what its user
    /// last saved. `now_ms` is any clock that never goes back, the same as for `sweep_kept`.
    pub fn replace(
        &self,
        now_ms: u64,
        path: &RepoPath,
        expect: Expect,
        new: Option<&[u8]>,
    ) -> Result<Applied, WriteRefusal> {
        match (expect, new) {
            (Expect::Absent, None) => self.confirm_absent(path),
            (Expect::Absent, Some(new)) => self.create(path, new),
            (Expect::Hash(old), None) => self.delete(now_ms, path, old),
            (Expect::Hash(old), Some(new)) => self.exchange(now_ms, path, old, new),
        }
    }

    fn confirm_absent(&self, path: &RepoPath) -> Result<Applied, WriteRefusal> {
        let found = self.root.open_directory(path.parent().unwrap_or(""));
        let found = found.and_then(|parent| open_regular(parent.as_fd(), leaf(path)));
        match found {
            Err(ReadError::Missing) => Ok(Applied::Unchanged),
            Ok(_) => Err(WriteRefusal::Moved),
            Err(err) => Err(refusal(err)),
        }
    }

    fn create(&self, path: &RepoPath, new: &[u8]) -> Result<Applied, WriteRefusal> {
        let parent = self.make_parents(path)?;
        if crate::root::file_type(parent.as_fd(), leaf(path)).is_some() {
            return Err(WriteRefusal::Moved);
        }
        refuse_collision(parent.as_fd(), path.file_name())?;
        let place = self.store.place_for(&parent, path).map_err(from_io)?;
        let name = SwapName::scratch(&place);
        let staged = stage(&place, &name, new)?;
        let synced = staged.sync_all().map_err(from_io);
        let made = synced.and_then(|()| put_absent(&place, &name, parent.as_fd(), leaf(path)));
        unlinkat(place.directory(), name.as_str(), AtFlags::empty()).ok();
        made?;
        fsync(&parent).map_err(from_errno)?;
        Ok(Applied::Created)
    }

    fn delete(
        &self,
        now_ms: u64,
        path: &RepoPath,
        old: blake3::Hash,
    ) -> Result<Applied, WriteRefusal> {
        let parent = self.parent(path)?;
        check_target(parent.as_fd(), path, old)?;
        let place = self.store.place_for(&parent, path).map_err(from_io)?;
        let name = SwapName::swap(&place, None, old, path);
        renameat(&parent, leaf(path), place.directory(), name.as_str()).map_err(from_errno)?;
        let out = found(place.directory(), &name).print;
        if out.hash() == Some(old) {
            self.keep(now_ms, place, name, path, Reason::Replaced(old));
            fsync(&parent).map_err(from_errno)?;
            return Ok(Applied::Deleted);
        }
        let back = renameat_with(
            place.directory(),
            name.as_str(),
            &parent,
            leaf(path),
            RenameFlags::NOREPLACE,
        );
        match back {
            Ok(()) => {}
            Err(Errno::EXIST) => self.keep(now_ms, place, name, path, Reason::Displaced),
            Err(_) => {
                // Without the flag a link does the same, but leaves the other name behind.
                let linked = linkat(
                    place.directory(),
                    name.as_str(),
                    &parent,
                    leaf(path),
                    AtFlags::empty(),
                );
                match linked {
                    Ok(()) => {
                        unlinkat(place.directory(), name.as_str(), AtFlags::empty()).ok();
                    }
                    Err(_) => self.keep(now_ms, place, name, path, Reason::Displaced),
                }
            }
        }
        Err(WriteRefusal::Moved)
    }

    fn exchange(
        &self,
        now_ms: u64,
        path: &RepoPath,
        old: blake3::Hash,
        new: &[u8],
    ) -> Result<Applied, WriteRefusal> {
        let parent = self.parent(path)?;
        let (target, stamp) = check_target(parent.as_fd(), path, old)?;
        let hash = blake3::hash(new);
        if hash == old {
            return Ok(Applied::Unchanged);
        }
        let place = self.store.place_for(&parent, path).map_err(from_io)?;
        let scratch = SwapName::scratch(&place);
        let staged = stage(&place, &scratch, new)?;
        let name = SwapName::swap(&place, Some(hash), old, path);
        let named = copy_attributes(&target, &staged)
            .and_then(|()| staged.sync_all())
            .and_then(|()| {
                let directory = place.directory();
                Ok(renameat(
                    directory,
                    scratch.as_str(),
                    directory,
                    name.as_str(),
                )?)
            });
        if let Err(err) = named {
            unlinkat(place.directory(), scratch.as_str(), AtFlags::empty()).ok();
            return Err(from_io(err));
        }
        let swap = Swap {
            copy: self,
            now_ms,
            path,
            parent: &parent,
            place,
            name,
        };
        if self.can_exchange {
            swap.run(stamp, (old, hash), &staged)
        } else {
            swap.run_without_exchange(old, &target, &staged)
        }
    }

    fn parent(&self, path: &RepoPath) -> Result<OwnedFd, WriteRefusal> {
        self.root
            .open_directory(path.parent().unwrap_or(""))
            .map_err(refusal)
    }

    /// Opens the parent, making the directories that are missing.
    fn make_parents(&self, path: &RepoPath) -> Result<OwnedFd, WriteRefusal> {
        let mut handle = self.root.open_directory("").map_err(refusal)?;
        for component in path
            .parent()
            .unwrap_or("")
            .split('/')
            .filter(|c| !c.is_empty())
        {
            let below = match open_component(handle.as_fd(), component) {
                Err(ReadError::Missing) => {
                    refuse_collision(handle.as_fd(), component)?;
                    match mkdirat(&handle, component, Mode::from_raw_mode(0o777)) {
                        Ok(()) => fsync(&handle).map_err(from_errno)?,
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(from_errno(errno)),
                    }
                    open_component(handle.as_fd(), component)
                }
                found => found,
            };
            handle = below.map_err(refusal)?;
            if is_repository(handle.as_fd()) {
                return Err(refusal(ReadError::NestedRepository));
            }
        }
        Ok(handle)
    }

    fn keep(&self, since_ms: u64, place: Place, name: SwapName, path: &RepoPath, why: Reason) {
        let kept = Kept {
            name,
            path: path.clone(),
            place,
            since_ms,
            why,
        };
        kept::lock(&self.kept).push(kept);
    }
}

/// New content under `name` in `place`, about to trade places with a target.
struct Swap<'a> {
    copy: &'a WorkingCopy,
    now_ms: u64,
    path: &'a RepoPath,
    parent: &'a OwnedFd,
    place: Place,
    name: SwapName,
}

impl Swap<'_> {
    fn run(
        self,
        before: FileStamp,
        (old, new): (blake3::Hash, blake3::Hash),
        staged: &File,
    ) -> Result<Applied, WriteRefusal> {
        let ours = fingerprint_of(staged, new)?;
        // Writing the new content took its time. What is given back a moment later may have been read meanwhile by
        // an editor that then saves over a save of its own.
        let now = stamp_at(self.parent.as_fd(), self.path.file_name());
        let is_as_checked = matches!(now, Ok(now) if now == before);
        if !is_as_checked {
            unlinkat(self.place.directory(), self.name.as_str(), AtFlags::empty()).ok();
            return Err(WriteRefusal::Moved);
        }
        if let Err(errno) = self.trade() {
            unlinkat(self.place.directory(), self.name.as_str(), AtFlags::empty()).ok();
            return Err(match errno {
                Errno::NOENT => WriteRefusal::Moved,
                errno => from_errno(errno),
            });
        }
        let out = found(self.place.directory(), &self.name);
        if out.print.hash() == Some(old) {
            fsync(self.parent)
                .and(fsync(self.place.directory()))
                .map_err(from_errno)?;
            let Self {
                copy,
                now_ms,
                path,
                place,
                name,
                ..
            } = self;
            copy.keep(now_ms, place, name, path, Reason::Replaced(old));
            return Ok(Applied::Replaced);
        }
        self.put_back(ours, out);
        Err(WriteRefusal::Moved)
    }

    /// Gives the name back to the newest content that the user saved.
    ///
    /// Each trade shows what the user did since the one before: if what we had put there comes out
    /// untouched, nobody saved meanwhile. Otherwise it is newer than what went in and goes back in.
    fn put_back(self, ours: Fingerprint, out: Found) {
        let mut placed = ours;
        let mut in_hand = self.saved(out);
        let mut given_back = None;
        let mut why = match ours.hash() {
            Some(hash) => Reason::Staged(hash),
            None => Reason::Displaced,
        };
        for _ in 0..TRADES_MAX {
            match self.trade() {
                Ok(()) => {}
                // The user deleted or moved the file meanwhile: what came out is theirs to keep.
                Err(_) => {
                    why = Reason::Displaced;
                    break;
                }
            }
            let out = found(self.place.directory(), &self.name);
            let was = std::mem::replace(&mut placed, in_hand.print);
            given_back = in_hand.bytes;
            in_hand = out;
            if in_hand.print == was {
                break;
            }
            why = Reason::Displaced;
        }
        tracing::debug!(path = %self.path, ?placed, "gave way to a save");
        if let Some(bytes) = given_back {
            self.keep_given_back(&bytes);
            // A save may have ended while its inode was on the way back.
            match self.copy.root.read_file(self.path) {
                Ok(now) if now.bytes != bytes => self.keep_given_back(&now.bytes),
                _ => {}
            }
        }
        let Self {
            copy,
            now_ms,
            path,
            place,
            name,
            ..
        } = self;
        copy.keep(now_ms, place, name, path, why);
    }

    /// What was traded out, once the save that emptied it a moment ago has written it.
    ///
    /// What is given back while it is empty has no second copy, and whoever read what stood there meanwhile saves over
    /// what the save writes into it.
    fn saved(&self, mut out: Found) -> Found {
        for _ in 0..SAVE_MS_MAX {
            if out.bytes.as_ref().is_none_or(|bytes| !bytes.is_empty()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            out = found(self.place.directory(), &self.name);
        }
        out
    }

    /// Keeps another copy of what stands at the target again, until it is known that nobody saved over it who had read
    /// what stood there for a moment.
    fn keep_given_back(&self, bytes: &[u8]) {
        let name = SwapName::swap(
            &self.place,
            None,
            blake3::Hash::from_bytes([0; 32]),
            self.path,
        );
        match stage(&self.place, &name, bytes) {
            Ok(_) => {
                let why = Reason::GivenBack(blake3::hash(bytes));
                let place = self.place.clone();
                self.copy.keep(self.now_ms, place, name, self.path, why);
            }
            Err(error) => tracing::warn!(%error, path = %self.path, "a save has no second copy"),
        }
    }

    fn trade(&self) -> Result<(), Errno> {
        renameat_with(
            self.place.directory(),
            self.name.as_str(),
            self.parent,
            leaf(self.path),
            RenameFlags::EXCHANGE,
        )
    }

    /// Without exchange no order of calls is safe from a save by rename, so a file that was saved a
    /// moment ago is left alone. The old inode gets a second name first and is kept as usual.
    fn run_without_exchange(
        self,
        old: blake3::Hash,
        target: &File,
        staged: &File,
    ) -> Result<Applied, WriteRefusal> {
        let Self {
            copy,
            now_ms,
            path,
            parent,
            place,
            name,
        } = self;
        let modified = |file: &File| Ok::<_, io::Error>(file.metadata()?.mtime());
        let age = modified(staged).and_then(|ours| Ok(ours.saturating_sub(modified(target)?)));
        let kept = SwapName::swap(&place, None, old, path);
        let tried = age.map_err(from_io).and_then(|age| {
            if age <= RECENT_SECONDS {
                return Err(WriteRefusal::Moved);
            }
            linkat(
                parent,
                leaf(path),
                place.directory(),
                kept.as_str(),
                AtFlags::empty(),
            )
            .map_err(from_errno)?;
            if found(place.directory(), &kept).print.hash() != Some(old) {
                unlinkat(place.directory(), kept.as_str(), AtFlags::empty()).ok();
                return Err(WriteRefusal::Moved);
            }
            renameat(place.directory(), name.as_str(), parent, leaf(path)).map_err(from_errno)
        });
        if let Err(refused) = tried {
            unlinkat(place.directory(), name.as_str(), AtFlags::empty()).ok();
            return Err(refused);
        }
        fsync(parent)
            .and(fsync(place.directory()))
            .map_err(from_errno)?;
        copy.keep(now_ms, place, kept, path, Reason::Replaced(old));
        Ok(Applied::Replaced)
    }
}

/// Opens the target and refuses what must not be written or is not what was expected.
fn check_target(
    parent: BorrowedFd<'_>,
    path: &RepoPath,
    old: blake3::Hash,
) -> Result<(File, FileStamp), WriteRefusal> {
    let mut file = open_regular(parent, leaf(path)).map_err(refusal)?;
    let meta = file.metadata().map_err(from_io)?;
    let stamp = FileStamp::of(&meta);
    let why = if 1 < meta.nlink() {
        Some(Unsafe::HardLink)
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        Some(Unsafe::ForeignOwner)
    } else if meta.mode() & 0o200 == 0 {
        Some(Unsafe::ReadOnly)
    } else {
        None
    };
    if let Some(why) = why {
        return Err(WriteRefusal::UnsafeTarget { why });
    }
    let bytes = read_within_budget(&mut file, meta.len()).map_err(refusal)?;
    if blake3::hash(&bytes) != old {
        return Err(WriteRefusal::Moved);
    }
    Ok((file, stamp))
}

/// Refuses a new name that some file system would take for one that is there.
fn refuse_collision(directory: BorrowedFd<'_>, name: &str) -> Result<(), WriteRefusal> {
    let key = fold_key(name);
    for entry in Dir::read_from(directory).map_err(from_errno)? {
        let entry = entry.map_err(from_errno)?;
        let other = String::from_utf8_lossy(entry.file_name().to_bytes());
        if other != name && fold_key(&other) == key {
            return Err(WriteRefusal::UnsafeTarget {
                why: Unsafe::Collision,
            });
        }
    }
    Ok(())
}

fn fingerprint_of(file: &File, hash: blake3::Hash) -> Result<Fingerprint, WriteRefusal> {
    let meta = file.metadata().map_err(from_io)?;
    Ok(Fingerprint {
        ino: meta.ino(),
        kind: Kind::Regular(hash),
    })
}

fn leaf(path: &RepoPath) -> &OsStr {
    OsStr::new(path.file_name())
}

fn refusal(err: ReadError) -> WriteRefusal {
    let why = match err {
        ReadError::Busy | ReadError::Missing => return WriteRefusal::Moved,
        ReadError::Io(err) => return from_io(err),
        ReadError::Link => Unsafe::Link,
        ReadError::NestedRepository => Unsafe::NestedRepository,
        ReadError::NotRegular => Unsafe::NotRegular,
        ReadError::TooLarge { .. } => Unsafe::TooLarge,
    };
    WriteRefusal::UnsafeTarget { why }
}

fn from_errno(errno: Errno) -> WriteRefusal {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => WriteRefusal::NoSpace,
        Errno::NOENT => WriteRefusal::Moved,
        Errno::LOOP => WriteRefusal::UnsafeTarget { why: Unsafe::Link },
        errno => WriteRefusal::Io(errno.into()),
    }
}

fn from_io(err: io::Error) -> WriteRefusal {
    match Errno::from_io_error(&err) {
        Some(errno) => from_errno(errno),
        None => WriteRefusal::Io(err),
    }
}

/// Trades of one apply: a user would have to save this often within a millisecond.
const TRADES_MAX: u32 = 64;

/// How long a save that emptied a file may take until it writes, in milliseconds; one does it in a small part of one.
const SAVE_MS_MAX: u32 = 8;

/// Seconds a file must have been left alone where names cannot be exchanged.
const RECENT_SECONDS: i64 = 2;

#[cfg(test)]
impl WorkingCopy {
    /// Behaves as on a file system that cannot exchange names.
    pub(crate) fn forget_exchange(&mut self) {
        self.can_exchange = false;
    }
}
