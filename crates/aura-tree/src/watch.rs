//! Which files changed, told soon and without a watch on anything that is ignored.
//!
//! Invariants:
//! - events keep the kernel's order across git's lock: what changed before `index.lock` appeared is
//!   reported before the `GitMoved` for it, what changed while it was held before the one after;
//! - a lost event shows as `Rescan`, never as silence;
//! - ignored directories hold no watch;
//! - when polling, where order is not to be had, `GitMoved` comes first, so that what a checkout
//!   wrote is never taken for an edit saved before it;
//! - dropping the watcher ends its thread.

#![expect(
    clippy::disallowed_methods,
    reason = "time stamps of files and of watching, no decision"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{CreateKind, Event, EventKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Config, ErrorKind, NullWatcher, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;

use aura_proto::path::RepoPath;

use crate::git::Repo;
use crate::ignores::Ignores;
use crate::motion::Observation;
use crate::root::{FileStamp, Root};
use crate::scan::Walk;

/// What the watcher has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Files appeared, changed or went away; each at most once, sorted.
    Changed(Vec<RepoPath>),
    /// The system has no more watches to give: changes are found by polling, seconds later.
    Degraded,
    /// Git's HEAD, index, lock, refs or state of an operation changed.
    GitMoved,
    /// Something was missed or a directory moved: compare all files.
    Rescan,
}

/// Why watching could not start.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The working tree could not be opened.
    #[error("cannot open the working tree")]
    Root(#[source] io::Error),
    /// The thread could not be started.
    #[error("cannot start the watching thread")]
    Thread(#[source] io::Error),
    /// The system refused a watch for a reason other than their number.
    #[error("cannot watch the working tree")]
    Watch(#[source] notify::Error),
}

/// A watch over one working tree and its git directory; ends when dropped.
#[derive(Debug)]
pub struct Watcher {
    raw: Sender<Raw>,
    thread: Option<JoinHandle<()>>,
}

/// How to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// By the system's events, falling back to polling.
    #[default]
    Events,
    /// By polling at this interval from the start.
    Polling {
        /// Milliseconds between two looks at every watched directory.
        interval_ms: u32,
    },
}

impl Watcher {
    /// Starts watching; every watch is in place on return, so nothing saved later is missed.
    pub fn start(repo: &Repo, tx: Sender<WatchEvent>) -> Result<Self, WatchError> {
        Self::start_in(repo, WatchMode::Events, tx)
    }

    /// Starts watching in a given mode.
    pub fn start_in(
        repo: &Repo,
        mode: WatchMode,
        tx: Sender<WatchEvent>,
    ) -> Result<Self, WatchError> {
        let (raw, events) = channel();
        let mut watch = Watch::new(repo, mode, &raw, tx)?;
        watch.watch_git()?;
        watch.watch_tree()?;
        let run = move || watch.run(&events);
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(run);
        Ok(Self {
            raw,
            thread: Some(thread.map_err(WatchError::Thread)?),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.raw.send(Raw::Stop).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What reaches the thread.
#[derive(Debug)]
enum Raw {
    Seen(notify::Result<Event>),
    Stop,
}

/// The state of the thread.
struct Watch {
    backend: Box<dyn notify::Watcher + Send>,
    common_dir: PathBuf,
    git_dir: PathBuf,
    ignores: Ignores,
    out: Sender<WatchEvent>,
    pending: Pending,
    /// Set while changes are found by looking.
    polling: Option<Polling>,
    repo: Repo,
    root: Root,
    /// Directories of the tree with a watch, `""` for the root.
    watched: BTreeSet<String>,
    /// Directories below `refs` with a watch.
    watched_refs: BTreeSet<PathBuf>,
}

/// What the last look at everything showed.
///
/// Done here and not by `notify`, which compares times by the second and so misses the second of
/// two quick saves.
#[derive(Debug)]
struct Polling {
    due: Instant,
    files: BTreeMap<RepoPath, FileStamp>,
    interval: Duration,
    look: Observation,
}

/// What has been seen but not yet told.
#[derive(Debug, Default)]
struct Pending {
    /// Paths with whether they were first seen appearing.
    changed: BTreeMap<RepoPath, bool>,
    first: Option<Instant>,
    git: bool,
    last: Option<Instant>,
    rescan: bool,
}

impl Pending {
    fn touch(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// How long to wait for more.
    fn wait(&self) -> Option<Duration> {
        let (first, last) = (self.first?, self.last?);
        let due = (last + QUIET).min(first + LONGEST);
        Some(due.saturating_duration_since(Instant::now()))
    }
}

impl Watch {
    fn new(
        repo: &Repo,
        mode: WatchMode,
        raw: &Sender<Raw>,
        out: Sender<WatchEvent>,
    ) -> Result<Self, WatchError> {
        let mut watch = Self {
            backend: Box::new(NullWatcher),
            common_dir: repo.common_dir().to_owned(),
            git_dir: repo.git_dir().to_owned(),
            ignores: Ignores::new(repo.common_dir()),
            out,
            pending: Pending::default(),
            polling: None,
            repo: repo.clone(),
            root: Root::open(repo.work_tree()).map_err(WatchError::Root)?,
            watched: BTreeSet::new(),
            watched_refs: BTreeSet::new(),
        };
        match mode {
            WatchMode::Events => match by_events(raw) {
                Ok(backend) => watch.backend = backend,
                Err(err) if is_limit(&err) => watch.degrade(),
                Err(err) => return Err(WatchError::Watch(err)),
            },
            WatchMode::Polling { interval_ms } => {
                watch.start_polling(Duration::from_millis(interval_ms.into()));
            }
        }
        Ok(watch)
    }

    fn run(mut self, events: &Receiver<Raw>) {
        loop {
            let raw = match self.wait() {
                Some(wait) => events.recv_timeout(wait),
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let alive = match raw {
                Ok(Raw::Seen(Ok(event))) => self.event(&event),
                Ok(Raw::Seen(Err(err))) => {
                    tracing::debug!(%err, "watch reported an error");
                    self.pending.rescan = true;
                    self.pending.touch();
                    true
                }
                Ok(Raw::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.poll(),
            };
            let overdue = self.pending.wait().is_some_and(|wait| wait.is_zero());
            if !alive || overdue && !self.flush() {
                return;
            }
        }
    }

    fn wait(&self) -> Option<Duration> {
        let poll = self.polling.as_ref();
        let poll = poll.map(|polling| polling.due.saturating_duration_since(Instant::now()));
        [self.pending.wait(), poll].into_iter().flatten().min()
    }

    /// Looks at everything if it is time to; returns whether anybody still listens.
    fn poll(&mut self) -> bool {
        let Some(mut polling) = self
            .polling
            .take_if(|polling| polling.due <= Instant::now())
        else {
            return true;
        };
        let files = self.stamps();
        // Git is looked at last: what it wrote before the files were looked at shows.
        let look = self.repo.observe();
        let differs = |path: &&RepoPath| files.get(*path) != polling.files.get(*path);
        let all: BTreeSet<_> = files.keys().chain(polling.files.keys()).collect();
        let changed: Vec<_> = all.into_iter().filter(differs).cloned().collect();
        let git = (look != polling.look).then_some(WatchEvent::GitMoved);
        let changed = (!changed.is_empty()).then_some(WatchEvent::Changed(changed));
        polling = Polling {
            due: Instant::now() + polling.interval,
            files,
            look,
            ..polling
        };
        self.polling = Some(polling);
        [git, changed]
            .into_iter()
            .flatten()
            .all(|event| self.out.send(event).is_ok())
    }

    /// The stamps of all files that are not ignored.
    fn stamps(&mut self) -> BTreeMap<RepoPath, FileStamp> {
        let mut walk = Walk::names_only(&self.root, Ignores::new(&self.common_dir));
        walk.run("");
        let stamp = |path| self.root.stamp(&path).ok().map(|stamp| (path, stamp));
        walk.files.into_iter().filter_map(stamp).collect()
    }

    fn start_polling(&mut self, interval: Duration) {
        self.backend = Box::new(NullWatcher);
        let look = self.repo.observe();
        let files = self.stamps();
        self.polling = Some(Polling {
            due: Instant::now() + interval,
            files,
            interval,
            look,
        });
    }

    /// Takes in one event; returns whether anybody still listens.
    fn event(&mut self, event: &Event) -> bool {
        if event.need_rescan() {
            self.pending.rescan = true;
            self.pending.touch();
        }
        if matches!(event.kind, EventKind::Access(access) if !is_close_after_write(access)) {
            return true;
        }
        if event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
            // Told a second time: each half had an event of its own.
            return true;
        }
        let mut alive = true;
        for path in &event.paths {
            if path.starts_with(&self.git_dir) || path.starts_with(&self.common_dir) {
                alive &= self.git_event(path);
            } else if let Ok(below) = path.strip_prefix(self.root.path()) {
                let below = below.to_owned();
                self.tree_event(&below, event.kind);
            }
        }
        alive
    }

    fn git_event(&mut self, path: &Path) -> bool {
        if path.starts_with(self.common_dir.join("refs")) {
            if path.is_dir() && self.watch_refs().is_err() {
                self.pending.rescan = true;
            }
        } else if path == self.common_dir.join("info/exclude") {
            return self.rules_changed();
        } else if path.file_name() == Some(OsStr::new("index.lock")) {
            self.pending.git = true;
            return self.flush();
        } else if !path
            .file_name()
            .is_some_and(|name| GIT_NAMES.iter().any(|known| name == *known))
        {
            return true;
        }
        self.pending.git = true;
        self.pending.touch();
        true
    }

    fn tree_event(&mut self, below: &Path, kind: EventKind) {
        // Names that are no text cannot be shared; the scan reports them.
        let Some(text) = below.to_str() else { return };
        let name = below.file_name().unwrap_or_default();
        if text.is_empty() || below.components().any(|part| part.as_os_str() == ".git") {
            return;
        }
        if Ignores::is_ignore_file(name) {
            self.rules_changed();
        }
        if self.watched.contains(text) && is_departure(kind) {
            return self.directory_gone(text);
        }
        let is_directory = self.root.open_directory(text).is_ok();
        if is_directory {
            if !self.watched.contains(text) && !self.ignores.is_ignored(&self.root, text, true) {
                self.directory_came(text);
            }
            // What went away was a file, and this stands in its place.
            if !is_farewell(kind) {
                return;
            }
        }
        let Ok(path) = RepoPath::try_from(text) else {
            return;
        };
        if self.ignores.is_ignored(&self.root, text, false) {
            return;
        }
        let appeared = is_arrival(kind);
        self.pending.changed.entry(path).or_insert(appeared);
        self.pending.touch();
        if CHANGED_MAX < self.pending.changed.len() {
            self.pending.changed.clear();
            self.pending.rescan = true;
        }
    }

    /// After a change of rules, directories may need a watch that had none.
    fn rules_changed(&mut self) -> bool {
        self.ignores.reload();
        if self.watch_tree().is_err() {
            tracing::warn!("some directories are not watched");
        }
        self.pending.rescan = true;
        self.pending.touch();
        true
    }

    fn directory_gone(&mut self, directory: &str) {
        let below = format!("{directory}/");
        self.watched
            .retain(|watched| watched != directory && !watched.starts_with(&below));
        self.pending.rescan = true;
        self.pending.touch();
    }

    fn directory_came(&mut self, directory: &str) {
        match self.watch_below(directory) {
            Ok(files) => {
                self.pending
                    .changed
                    .extend(files.into_iter().map(|path| (path, false)));
                self.pending.touch();
            }
            Err(err) => {
                tracing::warn!(%err, "a new directory is not watched");
                self.pending.rescan = true;
                self.pending.touch();
            }
        }
    }

    fn watch_tree(&mut self) -> Result<(), WatchError> {
        self.watch_below("").map(drop)
    }

    /// Watches `start` and what is below; returns the files seen once every watch was in place.
    ///
    /// Repeats until a walk finds no directory without a watch, since one made between the walk
    /// and the watch on its parent is reported by nobody.
    fn watch_below(&mut self, start: &str) -> Result<BTreeSet<RepoPath>, WatchError> {
        loop {
            let ignores = std::mem::replace(&mut self.ignores, Ignores::new(&self.common_dir));
            let mut walk = Walk::names_only(&self.root, ignores);
            walk.run(start);
            let Walk {
                ignores,
                directories,
                files,
                ..
            } = walk;
            self.ignores = ignores;
            let fresh: Vec<_> = directories.difference(&self.watched).cloned().collect();
            if fresh.is_empty() {
                return Ok(files);
            }
            for directory in fresh {
                let path = self.root.path().join(&directory);
                match self.watch(&path) {
                    Ok(()) => {}
                    // It is gone again.
                    Err(WatchError::Watch(err)) if is_missing(&err) => {}
                    Err(err) => return Err(err),
                }
                self.watched.insert(directory);
            }
        }
    }

    fn watch_git(&mut self) -> Result<(), WatchError> {
        let common_dir = self.common_dir.clone();
        self.watch(&self.git_dir.clone())?;
        if common_dir != self.git_dir {
            self.watch(&common_dir)?;
        }
        let info = common_dir.join("info");
        if info.is_dir() {
            self.watch(&info)?;
        }
        self.watch_refs()
    }

    /// Watches the directories of branches; there are as many as branch names have prefixes.
    fn watch_refs(&mut self) -> Result<(), WatchError> {
        let mut pending = vec![
            self.common_dir.join("refs"),
            self.common_dir.join("refs/heads"),
        ];
        while let Some(directory) = pending.pop() {
            if !directory.is_dir() {
                continue;
            }
            if self.watched_refs.insert(directory.clone()) {
                self.watch(&directory)?;
            }
            if directory.ends_with("refs") {
                continue;
            }
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            let below = entries
                .flatten()
                .filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
            pending.extend(below.map(|entry| entry.path()));
        }
        Ok(())
    }

    fn watch(&mut self, path: &Path) -> Result<(), WatchError> {
        match self.backend.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => Ok(()),
            Err(err) if is_limit(&err) => {
                self.degrade();
                Ok(())
            }
            Err(err) => Err(WatchError::Watch(err)),
        }
    }

    /// Goes over to polling, after which watches cost nothing and tell nothing.
    fn degrade(&mut self) {
        self.out.send(WatchEvent::Degraded).ok();
        self.pending.rescan = true;
        self.pending.touch();
        self.start_polling(POLL);
    }

    /// Tells what is pending; returns whether anybody still listens.
    fn flush(&mut self) -> bool {
        let Pending {
            changed,
            git,
            rescan,
            ..
        } = std::mem::take(&mut self.pending);
        // A file that came and went in between was an editor's, not a change.
        let changed: Vec<_> = changed
            .into_iter()
            .filter(|(path, appeared)| !appeared || self.exists(path))
            .map(|(path, _)| path)
            .collect();
        let events = [
            rescan.then_some(WatchEvent::Rescan),
            (!changed.is_empty()).then_some(WatchEvent::Changed(changed)),
            git.then_some(WatchEvent::GitMoved),
        ];
        events
            .into_iter()
            .flatten()
            .all(|event| self.out.send(event).is_ok())
    }

    fn exists(&self, path: &RepoPath) -> bool {
        self.root
            .path()
            .join(path.as_str())
            .symlink_metadata()
            .is_ok()
    }
}

fn by_events(raw: &Sender<Raw>) -> notify::Result<Box<dyn notify::Watcher + Send>> {
    let config = Config::default().with_follow_symlinks(false);
    Ok(Box::new(RecommendedWatcher::new(deliver(raw), config)?))
}

fn deliver(raw: &Sender<Raw>) -> impl FnMut(notify::Result<Event>) + Send + 'static + use<> {
    let raw = raw.clone();
    move |event| {
        // The thread has ended: nobody wants to know any more.
        raw.send(Raw::Seen(event)).ok();
    }
}

fn is_close_after_write(access: notify::event::AccessKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    access == AccessKind::Close(AccessMode::Write)
}

fn is_arrival(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(CreateKind::Any | CreateKind::File | CreateKind::Other)
    )
}

fn is_departure(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Modify(ModifyKind::Name(RenameMode::From))
            | EventKind::Remove(RemoveKind::Any | RemoveKind::Folder | RemoveKind::Other)
    )
}

/// Whether a file that was here went away.
fn is_farewell(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(RemoveKind::File)
    )
}

fn is_limit(err: &notify::Error) -> bool {
    matches!(err.kind, ErrorKind::MaxFilesWatch)
        || matches!(&err.kind, ErrorKind::Io(io) if io.kind() == io::ErrorKind::StorageFull)
}

fn is_missing(err: &notify::Error) -> bool {
    matches!(err.kind, ErrorKind::PathNotFound)
        || matches!(&err.kind, ErrorKind::Io(io) if io.kind() == io::ErrorKind::NotFound)
}

/// Quiet after which a save counts as done.
const QUIET: Duration = Duration::from_millis(20);

/// The longest that a change waits for quiet.
const LONGEST: Duration = Duration::from_millis(150);

/// Paths told at once; more are a `Rescan`.
const CHANGED_MAX: usize = 20_000;

/// Time between two looks at every file when the system has no more watches to give.
const POLL: Duration = Duration::from_secs(2);

/// Names in git's directory that tell of a motion.
const GIT_NAMES: [&str; 12] = [
    "AUTO_MERGE",
    "BISECT_LOG",
    "CHERRY_PICK_HEAD",
    "HEAD",
    "MERGE_HEAD",
    "ORIG_HEAD",
    "REVERT_HEAD",
    "index",
    "packed-refs",
    "rebase-apply",
    "rebase-merge",
    "sequencer",
];
