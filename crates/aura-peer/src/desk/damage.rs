//! A log that the disk has damaged: what is whole goes on, and the rest is kept for its user.
//!
//! The log up to the damage is copied into a directory of its own, which then takes the place of the damaged one. So
//! everything else that was derived from the lost records goes as well, and is derived anew.
//!
//! Invariants:
//! - the damaged directory is kept as it was found, but for the report that is added;
//! - the mended log goes on under a new incarnation: numbers behind the damage may be known to others;
//! - whatever moment the process ends in, the next start finds one of the two in place, whole;
//! - until its user publishes, nothing is published only because it was saved.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    body::PatchBody,
    replica::{Own, Record},
};
use aura_proto::{Entry, Incarnation, RepoPath};
use aura_semantic::{ContentHash, FilePatch, Indexed, Op, OwnText, Text, UnitId};
use aura_store::{
    Corruption, Disk, Log, Options, RealDisk, RecordView, VerifyError, ensure_private_dir, salvage,
    verify_with, write_atomic,
};
use aura_trust::KeyRing;
use bytes::Bytes;

use super::{Desk, open_body, storage};
use crate::{book::Book, clock::random};

/// What is known of the damage, in the damaged directory; its first line is shown.
const REPORT: &str = "damage.txt";
/// Records that are copied with one sync.
const BATCH: u64 = 1_000;

/// A damaged log whose user has not decided yet.
#[derive(Debug)]
pub(crate) struct Damage {
    /// What happened, in a sentence.
    pub(crate) text: String,
    dir: PathBuf,
}

fn beside(state_dir: &Path, what: &str) -> PathBuf {
    state_dir.with_extension(what)
}

impl Damage {
    /// The damage that somebody has to decide about, if there is one.
    pub(super) fn open_of(state_dir: &Path) -> Option<Self> {
        let dir = beside(state_dir, "damaged");
        let report = fs::read_to_string(dir.join(REPORT)).ok()?;
        let text = report.lines().next().unwrap_or_default().to_owned();
        Some(Self { text, dir })
    }

    /// Its user has decided; what was kept stays where it can be found.
    fn close(self, state_dir: &Path) -> Result<(), Failure> {
        retire(state_dir, &self.dir).map_err(|error| storage(&error))
    }
}

/// Opens the log of a clone, or what is whole of it.
pub(super) fn open_or_mend(
    state_dir: &Path,
    ring: &KeyRing,
    open: impl Fn(&Path) -> Result<Book, Failure>,
) -> Result<Book, Failure> {
    let log = state_dir.join("log");
    finish(state_dir)?;
    ensure_private_dir(state_dir).map_err(|error| storage(&error))?;
    match open(&log) {
        Err(failure) if failure.exit == Exit::INTEGRITY && mend(state_dir, ring)? => open(&log),
        book => book,
    }
}

/// Ends what a process began that ended between two renames.
fn finish(state_dir: &Path) -> Result<(), Failure> {
    let mended = beside(state_dir, "mended");
    let done = match (mended.exists(), state_dir.exists()) {
        (true, false) => swap_in(state_dir, &mended),
        (true, true) => fs::remove_dir_all(&mended),
        (false, _) => Ok(()),
    };
    done.map_err(|error| storage(&error))
}

/// Puts what is whole of the log in the place of the damaged directory; whether that could be done.
fn mend(state_dir: &Path, ring: &KeyRing) -> Result<bool, Failure> {
    let (old, mended) = (state_dir.join("log"), beside(state_dir, "mended"));
    ensure_private_dir(&mended).map_err(|error| storage(&error))?;
    let Some(found) = copy_whole(&old, &mended.join("log"))? else {
        // It is whole, so something else is wrong with it.
        fs::remove_dir_all(&mended).map_err(|error| storage(&error))?;
        return Ok(false);
    };
    // This working copy was looked at before, so a file that git does not have is not taken as known.
    fs::write(mended.join("files"), b"").map_err(|error| storage(&error))?;
    let damaged = beside(state_dir, "damaged");
    let report = report(&old, &found, &damaged, ring)?;
    tracing::error!(log = %old.display(), error = %found, "the log is damaged; what is whole of it goes on");
    write_atomic(&state_dir.join(REPORT), report.as_bytes(), 0o600)
        .map_err(|error| storage(&error))?;
    let swapped = retire(state_dir, &damaged)
        .and_then(|()| fs::rename(state_dir, &damaged))
        .and_then(|()| swap_in(state_dir, &mended));
    swapped.map_err(|error| storage(&error))?;
    Ok(true)
}

fn swap_in(state_dir: &Path, mended: &Path) -> io::Result<()> {
    fs::rename(mended, state_dir)?;
    state_dir
        .parent()
        .map_or(Ok(()), |dir| RealDisk.sync_dir(dir))
}

/// Gives a directory of which nobody has to decide any more a name of its own.
fn retire(state_dir: &Path, damaged: &Path) -> io::Result<()> {
    if !damaged.exists() {
        return Ok(());
    }
    let names = (1_u32..).map(|n| beside(state_dir, &format!("damaged-{n}")));
    match names.into_iter().find(|name| !name.exists()) {
        Some(name) => fs::rename(damaged, name),
        None => Ok(()),
    }
}

/// Copies every record before the damage into a new log, each to the position that it had, and a new incarnation
/// behind them; answers what is damaged.
fn copy_whole(from: &Path, to: &Path) -> Result<Option<Corruption>, Failure> {
    let new = Log::open(Arc::new(RealDisk), to, Options::peer());
    let (mut log, _) = new.map_err(|error| storage(&error))?;
    let mut copied: Result<(), Failure> = Ok(());
    let visit = |record: RecordView<'_>| {
        // The first record, which opened the log, is in the new one already.
        if copied.is_ok() && record.lsn != 1 {
            copied = append(&mut log, record.payload, record.lsn.is_multiple_of(BATCH));
        }
    };
    let found = match verify_with(&RealDisk, from, visit) {
        Ok(_) => return Ok(None),
        Err(VerifyError::Corrupt(found)) => found,
        Err(error) => return Err(storage(&error)),
    };
    copied?;
    let incarnation = Record::Incarnation(Incarnation(u64::from_be_bytes(random())));
    append(&mut log, &incarnation.encode(), true)?;
    Ok(Some(found))
}

fn append(log: &mut Log, payload: &[u8], commits: bool) -> Result<(), Failure> {
    log.append(&[payload]).map_err(|error| storage(&error))?;
    if commits {
        log.commit().map_err(|error| storage(&error))?;
    }
    Ok(())
}

/// What is told of the damage: a sentence, then every own change behind it that can be read and has no place.
fn report(
    log: &Path,
    found: &Corruption,
    damaged: &Path,
    ring: &KeyRing,
) -> Result<String, Failure> {
    let mut behind: BTreeMap<Own, Entry> = BTreeMap::new();
    let visit =
        |record: RecordView<'_>| match Record::decode(&Bytes::copy_from_slice(record.payload)) {
            Ok(Record::Own(entry)) => {
                behind.insert(Own::of(&entry), entry);
            }
            Ok(Record::OwnPlaced { own, .. } | Record::Retired(own)) => {
                behind.remove(&own);
            }
            Ok(_) | Err(_) => {}
        };
    salvage(&RealDisk, log, found, visit).map_err(|error| storage(&error))?;
    let records = match (found.first_lsn, found.last_lsn) {
        (first, last) if first < last => format!("records {first} to {last} are"),
        (first, _) => format!("record {first} is"),
    };
    let report = damaged.join(REPORT);
    let mut text = format!(
        "the disk has damaged the log of this clone: {records} lost; what stood before goes on, \
         {} changes of yours behind are kept in {}; nothing is published by saving until you run aura publish\n",
        behind.len(),
        report.display()
    );
    for (own, entry) in &behind {
        text.push_str(&shown(own, open_body(entry, ring).as_ref()));
    }
    Ok(text)
}

/// One change as a person reads it.
fn shown(own: &Own, body: Option<&PatchBody>) -> String {
    let Some(body) = body else {
        return format!(
            "\n==== {}: not a change of code, or sealed with a key that is not here\n",
            own.author_seq
        );
    };
    let why = body.why.as_deref().unwrap_or("no reason given");
    let mut text = format!("\n==== {} {} ({why})\n", own.author_seq, body.patch.path);
    for op in &body.patch.ops {
        let (what, after) = shown_op(op);
        text.push_str(&format!("---- {what}\n{after}\n"));
    }
    text
}

fn shown_op(op: &Op) -> (String, String) {
    let own = |text: &OwnText| {
        let foot = text.foot.as_ref().map(lossy).unwrap_or_default();
        lossy(&text.head) + &foot
    };
    match op {
        Op::Delete { name, .. } => (format!("{name}: deleted"), String::new()),
        Op::File { text: None, .. } => ("the file: deleted".to_owned(), String::new()),
        Op::File {
            text: Some(text), ..
        } => ("the file".to_owned(), lossy(text)),
        Op::Gap { text, .. } => ("between functions".to_owned(), lossy(text)),
        Op::Insert { name, text, .. } => (format!("{name}: added"), lossy(text)),
        Op::Move { name, .. } => (format!("{name}: moved"), String::new()),
        Op::Rename { from, to, text, .. } => (format!("{from}: called {to}"), own(text)),
        Op::Replace { name, text, .. } => (name.clone(), own(text)),
    }
}

fn lossy(text: &Text) -> String {
    String::from_utf8_lossy(text.bytes()).into_owned()
}

/// Whether a patch is in the files: it is this device's own, or its units are as it left them, or own ones followed it.
fn is_here(
    (patch, is_own): &(FilePatch, bool),
    later: &[(FilePatch, bool)],
    disk: &BTreeMap<UnitId, ContentHash>,
) -> bool {
    let follows = |unit: UnitId| {
        let own = later.iter().filter(|(_, is_own)| *is_own);
        own.flat_map(|(patch, _)| &patch.touched)
            .any(|row| row.unit == unit)
    };
    let rows = patch.touched.iter();
    let mut units = rows.filter(|row| row.unit != UnitId::file(&patch.path));
    *is_own || units.all(|row| disk.get(&row.unit) == row.after.as_ref() || follows(row.unit))
}

impl Desk {
    /// Takes back what the shadows say of the log, where the log no longer says it.
    ///
    /// A tracked file is compared with HEAD; of another one, the log is all that can be asked.
    pub(super) fn recall(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        match self.book.was_cut || self.damage.is_some() {
            true => self.edit_again(ring),
            false => Ok(()),
        }
    }

    /// Whatever the log does not say, and the files hold, is an edit again.
    pub(super) fn edit_again(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        self.shadows.forget_told();
        let mut files: BTreeMap<RepoPath, Vec<(FilePatch, bool)>> = BTreeMap::new();
        for recorded in self.units.recorded() {
            let path = RepoPath::try_from(&*recorded.path).ok();
            let is_meant = |path: &RepoPath| {
                let is_here = *recorded.channel == *self.units.channel();
                is_here && !self.shadows.is_tracked(path) && !self.shadows.is_local(path)
            };
            if let Some(path) = path.filter(is_meant)
                && let Some(body) = self.body(recorded, ring)
            {
                let is_own = recorded.origin.writer.peer == self.key_peer;
                files.entry(path).or_default().push((body.patch, is_own));
            }
        }
        for (path, patches) in files {
            let disk = self.copy.root().read_file(&path).ok();
            let disk = disk.map(|file| self.indexed(&path, file.bytes, None));
            let disk = Self::contents(disk.as_ref());
            let mut known = None;
            for (n, patch) in patches.iter().enumerate() {
                if is_here(patch, &patches[n + 1..], &disk)
                    && let Ok(applied) = aura_semantic::apply(known.as_ref(), &patch.0)
                {
                    known = applied.after;
                }
            }
            let is_as_kept = |known: &Indexed| self.shadows.equals(&path, &known.bytes);
            if known.as_ref().is_some_and(|known| !is_as_kept(known)) {
                self.shadows.set_told(&path, known.as_ref(), false)?;
            }
        }
        Ok(())
    }

    /// Whether what is saved is published by that alone.
    pub(super) fn saving_publishes(&self) -> bool {
        self.publishing == super::Publishing::Save && self.damage.is_none()
    }

    /// Its user has published, so the damage is decided about.
    pub(super) fn decided(&mut self) -> Result<(), Failure> {
        match self.damage.take() {
            Some(damage) => damage.close(&self.state_dir),
            None => Ok(()),
        }
    }
}
