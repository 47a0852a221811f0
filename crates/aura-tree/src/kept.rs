//! Swapped-out inodes: where they lie, how long, and what comes back from them.
//!
//! A swap file's name tells what it is, so that a crash at any instant leaves nothing unexplained:
//! `w-…` is half-written new content; `x-<new>-<old>-<nonce>-<path>` holds `new` until the trade
//! and the user's inode after it. In the path `/` is written `\`, which no path contains; a path
//! too long for a name is left out.
//!
//! Invariants:
//! - no inode that may hold a user's only copy is unlinked: one is dropped only if its content was
//!   already known to the caller, or the caller has said that it keeps it;
//! - an inode is kept [`GRACE_MS`] after its content was last seen to change;
//! - after `clean_leftovers` no file of an earlier process is left, but for one of a user's that is
//!   too large to be handed over or that the caller could not keep.

#![expect(
    clippy::disallowed_methods,
    reason = "time stamps of files and of watching, no decision"
)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat,
};

use aura_proto::{
    limits::COMPONENT_BYTES_MAX,
    path::{RepoPath, TEMPORARY_PREFIX},
};

use crate::apply::WorkingCopy;
use crate::root::{Root, file_type, open_regular, read_within_budget};

/// Content that a user saved and that is in no file any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The whole content.
    pub bytes: Vec<u8>,
    /// How it was found.
    pub from: RescuedFrom,
    /// The file it was saved to; `None` if that was too long to be noted before a crash.
    pub path: Option<RepoPath>,
}

/// Takes rescued content over; says whether it is kept for good, so that its inode can go.
pub type Keep<'a> = dyn FnMut(Rescued) -> bool + 'a;

/// How rescued content was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RescuedFrom {
    /// An earlier process stopped in the middle of a write.
    Crash,
    /// Two saves crossed an apply, and the other one has the file.
    Displaced,
    /// An editor wrote into the old inode after the file had been replaced.
    LateWrite,
}

/// One swapped-out inode.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) name: SwapName,
    pub(crate) path: RepoPath,
    pub(crate) place: Place,
    pub(crate) since_ms: u64,
    pub(crate) why: Reason,
}

/// Why an inode is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The user's, and nobody has seen its content.
    Displaced,
    /// The user's, whose content the caller knew.
    Replaced(blake3::Hash),
    /// Ours, which was visible for a moment.
    Staged(blake3::Hash),
    /// A copy of the user's, whose inode was taken away and is at its path again.
    GivenBack(blake3::Hash),
}

/// What stands at a name, for telling whether anybody touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) ino: u64,
    pub(crate) kind: Kind,
}

/// The kind of thing that stands at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file that can be read whole.
    Regular(blake3::Hash),
    /// Anything else.
    Other,
}

/// What stands at a name, with its content if that can be read whole.
pub(crate) struct Found {
    pub(crate) print: Fingerprint,
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Fingerprint {
    pub(crate) fn hash(&self) -> Option<blake3::Hash> {
        match self.kind {
            Kind::Regular(hash) => Some(hash),
            Kind::Other => None,
        }
    }
}

/// The directory a swap file lies in.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Beside the target, when git's directory is on another file system.
    Beside(Arc<OwnedFd>),
    /// Our directory inside git's.
    Store(Arc<OwnedFd>),
}

impl Place {
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        match self {
            Self::Beside(handle) | Self::Store(handle) => handle.as_fd(),
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Beside(_) => TEMPORARY_PREFIX,
            Self::Store(_) => "",
        }
    }
}

/// Our directory inside git's.
#[derive(Debug)]
pub(crate) struct Store {
    handle: Arc<OwnedFd>,
    path: PathBuf,
    pub(crate) device: u64,
    /// Directories of the tree that have held swap files.
    elsewhere: Mutex<BTreeSet<String>>,
}

impl Store {
    pub(crate) fn open(git_dir: &Path) -> io::Result<Self> {
        let path = git_dir.join(DIRECTORY);
        fs::create_dir_all(&path)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())?;
        let device = File::from(handle.try_clone()?).metadata()?.dev();
        Ok(Self {
            handle: Arc::new(handle),
            path,
            device,
            elsewhere: Mutex::default(),
        })
    }

    /// Tries an exchange in our own directory.
    pub(crate) fn can_exchange(&self) -> io::Result<bool> {
        let place = Place::Store(self.handle.clone());
        let [a, b] = [SwapName::scratch(&place), SwapName::scratch(&place)];
        for name in [&a, &b] {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(openat(
                &self.handle,
                name.as_str(),
                flags,
                Mode::RUSR | Mode::WUSR,
            )?);
        }
        let flags = RenameFlags::EXCHANGE;
        let done = renameat_with(&self.handle, a.as_str(), &self.handle, b.as_str(), flags);
        for name in [&a, &b] {
            unlinkat(&self.handle, name.as_str(), AtFlags::empty())?;
        }
        Ok(done.is_ok())
    }

    /// Where the swap files of targets in `parent` must lie to be renamed in one step.
    pub(crate) fn place_for(&self, parent: &OwnedFd, path: &RepoPath) -> io::Result<Place> {
        if File::from(parent.try_clone()?).metadata()?.dev() == self.device {
            return Ok(Place::Store(self.handle.clone()));
        }
        self.note_elsewhere(path.parent().unwrap_or(""))?;
        Ok(Place::Beside(Arc::new(parent.try_clone()?)))
    }

    /// Notes, before the first swap file lies there, a directory to be cleaned after a crash.
    fn note_elsewhere(&self, directory: &str) -> io::Result<()> {
        let mut elsewhere = lock(&self.elsewhere);
        if elsewhere.contains(directory) {
            return Ok(());
        }
        let list = self.path.join(ELSEWHERE);
        let mut list = OpenOptions::new().create(true).append(true).open(list)?;
        // No checked path contains a line end.
        list.write_all(format!("{directory}\n").as_bytes())?;
        list.sync_all()?;
        elsewhere.insert(directory.to_owned());
        Ok(())
    }

    fn noted_elsewhere(&self) -> BTreeSet<String> {
        let list = fs::read_to_string(self.path.join(ELSEWHERE)).unwrap_or_default();
        let is_directory = |line: &&str| line.is_empty() || RepoPath::try_from(*line).is_ok();
        list.lines()
            .filter(is_directory)
            .map(str::to_owned)
            .collect()
    }
}

/// The name of a swap file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SwapName(String);

impl SwapName {
    /// A name for content that is still being written.
    pub(crate) fn scratch(place: &Place) -> Self {
        Self(format!("{}w-{}", place.prefix(), nonce()))
    }

    /// A name for content that trades places with `path`.
    pub(crate) fn swap(
        place: &Place,
        new: Option<blake3::Hash>,
        old: blake3::Hash,
        path: &RepoPath,
    ) -> Self {
        let new = new.map_or_else(|| "0".repeat(TAG_CHARS), |hash| tag(&hash));
        let head = format!("{}x-{new}-{}-{}-", place.prefix(), tag(&old), nonce());
        let path = path.as_str().replace('/', "\\");
        let fits = head.len() + path.len() <= COMPONENT_BYTES_MAX;
        Self(if fits { head + &path } else { head })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the name of a swap file tells.
#[derive(Debug, PartialEq, Eq)]
enum Leftover {
    /// Half-written new content.
    Scratch,
    /// New content or the user's.
    Swap {
        new: String,
        old: String,
        path: Option<RepoPath>,
    },
}

impl Leftover {
    fn parse(name: &str) -> Option<Self> {
        if name.starts_with("w-") {
            return Some(Self::Scratch);
        }
        let mut parts = name.strip_prefix("x-")?.splitn(4, '-');
        let (new, old) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let path = parts.nth(1)?.replace('\\', "/");
        Some(Self::Swap {
            new,
            old,
            path: RepoPath::try_from(path).ok(),
        })
    }
}

impl WorkingCopy {
    /// Looks once more at inodes whose grace time is over, and drops those.
    ///
    /// `keep` gets what users saved into them after they had been replaced. The inode of content
    /// that just changed, or that is not kept, stays for another grace time.
    pub fn sweep_kept(&self, now_ms: u64, keep: &mut Keep<'_>) {
        lock(&self.kept).retain_mut(|kept| {
            let is_young = now_ms < kept.since_ms.saturating_add(GRACE_MS);
            is_young || kept.sweep(&self.root, now_ms, keep)
        });
    }

    /// When the next inode's grace time is over, in milliseconds.
    pub fn kept_deadline(&self) -> Option<u64> {
        lock(&self.kept)
            .iter()
            .map(|kept| kept.since_ms.saturating_add(GRACE_MS))
            .min()
    }

    /// Looks at every kept inode now, whatever its age; for a stop of the process.
    pub fn sweep_all(&self, keep: &mut Keep<'_>) {
        lock(&self.kept)
            .retain_mut(|kept| kept.sweep(&self.root, 0, keep) && kept.sweep(&self.root, 0, keep));
    }

    /// Removes what an earlier process left; `keep` gets the content that was only there.
    ///
    /// To be called before the first write and while no other process writes to the same tree.
    pub fn clean_leftovers(&self, keep: &mut Keep<'_>) -> io::Result<()> {
        let mut is_clean = clean_directory(self.store.handle.as_fd(), "", keep)?;
        for directory in self.store.noted_elsewhere() {
            if let Ok(handle) = self.root.open_directory(&directory) {
                is_clean &= clean_directory(handle.as_fd(), TEMPORARY_PREFIX, keep)?;
            }
        }
        if !is_clean {
            // The next start looks there again.
            return Ok(());
        }
        match fs::remove_file(self.store.path.join(ELSEWHERE)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            Ok(()) | Err(_) => {}
        }
        lock(&self.store.elsewhere).clear();
        Ok(())
    }
}

impl Kept {
    /// Returns whether the inode must be kept on.
    fn sweep(&mut self, root: &Root, now_ms: u64, keep: &mut Keep<'_>) -> bool {
        let Some(bytes) = read(self.place.directory(), self.name.as_str()) else {
            // Gone, or a thing that cannot be read and is left where it is.
            return false;
        };
        let hash = blake3::hash(&bytes);
        let from = match self.why {
            Reason::Displaced => Some(RescuedFrom::Displaced),
            Reason::Replaced(known) | Reason::Staged(known) if known == hash => None,
            // An editor that empties a file before it writes is still at it.
            Reason::Replaced(_) | Reason::Staged(_) if bytes.is_empty() => None,
            Reason::Replaced(_) | Reason::Staged(_) => Some(RescuedFrom::LateWrite),
            Reason::GivenBack(known) if self.is_at_its_path(root, known) => None,
            Reason::GivenBack(_) => Some(RescuedFrom::Displaced),
        };
        let changed = match self.why {
            Reason::Displaced => true,
            Reason::Replaced(known) | Reason::Staged(known) => known != hash,
            Reason::GivenBack(_) => from.is_some(),
        };
        let rescued = from.map(|from| Rescued {
            bytes,
            from,
            path: Some(self.path.clone()),
        });
        if changed {
            if rescued.is_none_or(keep) {
                self.why = Reason::Replaced(hash);
            }
            self.since_ms = now_ms;
            return true;
        }
        self.drop_inode();
        false
    }

    fn is_at_its_path(&self, root: &Root, content: blake3::Hash) -> bool {
        let there = root.read_file(&self.path);
        there.is_ok_and(|there| blake3::hash(&there.bytes) == content)
    }

    fn drop_inode(&self) {
        unlinkat(self.place.directory(), self.name.as_str(), AtFlags::empty()).ok();
    }
}

/// Answers whether nothing is left that `keep` would not take.
fn clean_directory(
    directory: BorrowedFd<'_>,
    prefix: &str,
    keep: &mut Keep<'_>,
) -> io::Result<bool> {
    let mut is_clean = true;
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory)? {
        if let Ok(name) = entry?.file_name().to_str() {
            names.insert(name.to_owned());
        }
    }
    for name in names {
        let Some(leftover) = name.strip_prefix(prefix).and_then(Leftover::parse) else {
            continue;
        };
        if let Leftover::Swap { new, old, path } = leftover {
            match read(directory, &name) {
                Some(bytes) => {
                    let found = tag(&blake3::hash(&bytes));
                    // An emptied file is no save: the editor died or will write again.
                    if found != new && found != old && !bytes.is_empty() {
                        let rescued = Rescued {
                            bytes,
                            from: RescuedFrom::Crash,
                            path,
                        };
                        if !keep(rescued) {
                            is_clean = false;
                            continue;
                        }
                    }
                }
                None => continue,
            }
        }
        unlinkat(directory, name.as_str(), AtFlags::empty())?;
    }
    Ok(is_clean)
}

/// What stands at a name; a thing that cannot be read whole is `Other`.
pub(crate) fn found(directory: BorrowedFd<'_>, name: &SwapName) -> Found {
    let stat = rustix::fs::statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
    let ino = stat.map_or(0, |stat| stat.st_ino);
    let bytes = read(directory, name.as_str());
    let kind = bytes
        .as_ref()
        .map_or(Kind::Other, |bytes| Kind::Regular(blake3::hash(bytes)));
    Found {
        print: Fingerprint { ino, kind },
        bytes,
    }
}

fn read(directory: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    if file_type(directory, OsStr::new(name)) != Some(FileType::RegularFile) {
        return None;
    }
    let mut file = open_regular(directory, OsStr::new(name)).ok()?;
    let len = file.metadata().ok()?.len();
    read_within_budget(&mut file, len).ok()
}

fn tag(hash: &blake3::Hash) -> String {
    hash.to_hex()[..TAG_CHARS].to_owned()
}

/// A number no other name of this process, or of one that ran before, has.
fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    format!(
        "{:x}_{nanos:x}_{:x}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Takes a lock whose data stays whole even if a holder panicked between two pushes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long an inode is kept after its content last changed.
pub const GRACE_MS: u64 = 5_000;

/// Our directory inside git's.
const DIRECTORY: &str = "aura/kept";

/// Names the directories of the tree that have held swap files.
const ELSEWHERE: &str = "elsewhere";

/// Characters of a hash in a name: 128 bits.
const TAG_CHARS: usize = 32;

#[cfg(test)]
pub(crate) mod tests;
