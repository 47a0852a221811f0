//! A log that the disk has damaged: what is whole goes on, and the rest is kept for its user.
//!
//! The log up to the damage is copied into a directory of its own, which then takes the place of the damaged one, with
//! what the team is taken to know. Most of what is lost the team has, and it is fetched again; only then it is known what
//! it does not have, and that is an edit again.
//!
//! Invariants:
//! - the damaged directory is kept as it was found, but for the report that is added;
//! - the mended log goes on under a new incarnation: numbers behind the damage may be known to others;
//! - whatever moment the process ends in, the next start finds one of the two in place, whole;
//! - until its user publishes, nothing is published only because it was saved, and nothing at all before the lost end was
//!   fetched: it would follow from what this device does not know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    body::PatchBody,
    replica::{Own, Record},
    units::Origin,
};
use aura_proto::{Entry, Incarnation, RepoPath, codec};
use aura_semantic::{ContentHash, FilePatch, Indexed, Op, OwnText, Text, UnitId};
use aura_store::{
    Corruption, Disk, FileError, Log, Options, RealDisk, RecordView, VerifyError,
    ensure_private_dir, salvage, verify_with, write_atomic,
};
use aura_trust::KeyRing;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Desk, Mode, open_body, storage, take::MOVED_RETRY_MS, withdraw::Since};
use crate::{book::Book, clock::random, tip::Tip};

/// What is known of the damage, in the damaged directory; its first line is shown.
const REPORT: &str = "damage.txt";
/// What a mended directory remembers of the log that it took the place of.
const MEND: &str = "mend";
/// Records that are copied with one sync.
const BATCH: u64 = 1_000;

/// What is known of the log that a mended one took the place of.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Mend {
    /// The last record that was whole.
    end: u64,
    /// Position up to which the damaged log had placed entries.
    placed: u64,
}

impl Mend {
    pub(super) fn of(state_dir: &Path) -> Option<Self> {
        codec::decode(&fs::read(state_dir.join(MEND)).ok()?).ok()
    }

    /// Whether a change was here before the damage.
    fn knew(self, origin: &Origin) -> bool {
        origin.lsn <= self.end || origin.seq.is_some_and(|seq| self.had(origin.lsn, seq))
    }

    /// Whether an entry is one that was lost and is back: what it did is in the files.
    pub(super) fn had(self, lsn: u64, seq: u64) -> bool {
        self.end < lsn && seq <= self.placed
    }
}

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
    let mut book = match open(&log) {
        Err(failure) if failure.exit == Exit::INTEGRITY && mend(state_dir, ring)? => open(&log),
        book => book,
    }?;
    if let Some((tip, found)) = book.lost() {
        note_loss(state_dir, tip, found).map_err(|error| storage(&error))?;
        book.forget_lost();
    }
    Ok(book)
}

/// Records that the end of a log is gone without a trace in it.
fn note_loss(state_dir: &Path, tip: Tip, found: u64) -> Result<(), FileError> {
    let mend = Mend {
        end: found.min(tip.lsn),
        placed: tip.seq,
    };
    write_atomic(&state_dir.join(MEND), &codec::encode(&mend), 0o600)?;
    let dir = beside(state_dir, "damaged");
    retire(state_dir, &dir).ok();
    ensure_private_dir(&dir)?;
    let text = format!(
        "the log of this clone has lost its end: it once had {} records; what the team has of it is fetched again; \
         nothing is published by saving until you run aura publish\n",
        tip.lsn
    );
    tracing::error!(records = tip.lsn, found, "the log has lost its end");
    write_atomic(&dir.join(REPORT), text.as_bytes(), 0o600)
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
    carry(state_dir, &mended).map_err(|error| storage(&error))?;
    let damaged = beside(state_dir, "damaged");
    let (behind, placed) = behind(&old, &found)?;
    let mend = Mend {
        end: found.first_lsn.saturating_sub(1),
        placed,
    };
    let mend = codec::encode(&mend);
    write_atomic(&mended.join(MEND), &mend, 0o600).map_err(|error| storage(&error))?;
    let report = report(&found, &behind, &damaged, ring);
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

/// Takes over what was not derived from the log alone: what the team is taken to know, and which moves wait.
fn carry(from: &Path, to: &Path) -> io::Result<()> {
    copy_dir(&from.join("shadow"), &to.join("shadow"))?;
    let loose = fs::copy(from.join("loose"), to.join("loose"));
    // Without it nothing old is carried out again.
    loose.map(|_| ()).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    ensure_private_dir(to).map_err(io::Error::other)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let copy = to.join(file.file_name());
        match file.file_type()?.is_dir() {
            true => copy_dir(&file.path(), &copy)?,
            false => {
                fs::copy(file.path(), &copy)?;
                fs::File::open(&copy)?.sync_all()?;
            }
        }
    }
    RealDisk.sync_dir(to)
}

/// Every own entry behind the damage that can be read and has no place there, and the last position that any has.
fn behind(log: &Path, found: &Corruption) -> Result<(BTreeMap<Own, Entry>, u64), Failure> {
    let (mut behind, mut placed_to) = (BTreeMap::new(), 0);
    let visit = |record: RecordView<'_>| {
        let seq = match Record::decode(&Bytes::copy_from_slice(record.payload)) {
            Ok(Record::Own(entry)) => {
                behind.insert(Own::of(&entry), entry);
                0
            }
            Ok(Record::OwnPlaced { own, seq, .. }) => {
                behind.remove(&own);
                seq
            }
            Ok(Record::Retired(own)) => {
                behind.remove(&own);
                0
            }
            Ok(Record::Placed(placed)) => placed.seq,
            Ok(Record::HeardPlaced(settled)) => settled.seq,
            Ok(_) | Err(_) => 0,
        };
        placed_to = placed_to.max(seq);
    };
    salvage(&RealDisk, log, found, visit).map_err(|error| storage(&error))?;
    Ok((behind, placed_to))
}

/// What is told of the damage: a sentence, then every own change behind it that can be read and has no place.
fn report(
    found: &Corruption,
    behind: &BTreeMap<Own, Entry>,
    damaged: &Path,
    ring: &KeyRing,
) -> String {
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
    for (own, entry) in behind {
        text.push_str(&shown(own, open_body(entry, ring).as_ref()));
    }
    text
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

/// An operation with the text of another one of the same unit, or of the same place between units.
fn with_text_of(op: &Op, other: &Op) -> Option<Op> {
    let mut op = op.clone();
    let is_same = match (&mut op, other) {
        (
            Op::Gap {
                parent,
                after,
                next,
                text,
                ..
            },
            Op::Gap {
                parent: container,
                after: previous,
                next: follower,
                text: known,
                ..
            },
        ) => {
            text.clone_from(known);
            (&*parent, &*after, &*next) == (container, previous, follower)
        }
        (
            Op::Replace { unit, text, .. },
            Op::Replace {
                unit: same,
                text: known,
                ..
            },
        ) => {
            text.clone_from(known);
            unit == same
        }
        _ => false,
    };
    is_same.then_some(op)
}

/// What the log tells of a file, or what is lost followed from.
struct Told {
    gaps: BTreeSet<Text>,
    moved: BTreeSet<UnitId>,
    contents: BTreeSet<(UnitId, Option<ContentHash>)>,
    /// What of that was here before the damage, in the order of the log.
    had: Vec<FilePatch>,
}

impl Told {
    fn of(desk: &Desk, path: &RepoPath, lost: &[FilePatch], ring: &KeyRing) -> Self {
        let mut told = Self {
            gaps: BTreeSet::new(),
            moved: BTreeSet::new(),
            contents: BTreeSet::new(),
            had: Vec::new(),
        };
        for index in desk.units.patches_of(path.as_str()) {
            let Some(body) = desk.body_of(index, ring) else {
                continue;
            };
            told.base(&body.patch);
            let origin = &desk.units.recorded()[index].origin;
            if desk.mend.is_some_and(|mend| mend.knew(origin)) {
                told.had.push(body.patch.clone());
            }
            for op in body.patch.ops {
                match op {
                    Op::Gap { text, .. } => told.gaps.insert(text),
                    Op::Move { unit, .. } => told.moved.insert(unit),
                    _ => false,
                };
            }
            let rows = body.patch.touched.into_iter();
            told.contents.extend(rows.map(|row| (row.unit, row.after)));
        }
        let of_file = lost.iter().filter(|patch| *patch.path == *path.as_str());
        of_file.for_each(|patch| told.base(patch));
        told
    }

    /// What a patch was made from was there before it.
    fn base(&mut self, patch: &FilePatch) {
        // That something was not there is no deletion.
        let rows = patch.touched.iter().filter(|row| row.before.is_some());
        self.contents.extend(rows.map(|row| (row.unit, row.before)));
        let gaps = patch.ops.iter().filter_map(|op| match op {
            Op::Gap { base_text, .. } => Some(base_text.clone()),
            _ => None,
        });
        self.gaps.extend(gaps);
    }

    /// What an operation of which the log tells nothing was made from: what it brings about, with the text that was here
    /// before; nothing where the log tells of no such text.
    fn base_of(&self, op: &Op) -> Option<Op> {
        let patches = self.had.iter().rev();
        let mut newest = patches.flat_map(|patch| patch.ops.iter().rev());
        newest.find_map(|told| with_text_of(op, told))
    }

    /// Whether a file has a unit of which the log tells nothing.
    fn lacks_some(&self, contents: &BTreeMap<UnitId, ContentHash>, path: &RepoPath) -> bool {
        let file = UnitId::file(path.as_str());
        let mut units = contents.iter().filter(|(unit, _)| **unit != file);
        units.any(|(unit, content)| !self.contents.contains(&(*unit, Some(*content))))
    }

    /// Whether the log tells what an operation of this patch leads to.
    fn has(&self, op: &Op, patch: &FilePatch) -> bool {
        match op {
            Op::Gap { text, .. } => self.gaps.contains(text),
            Op::Move { unit, .. } => self.moved.contains(unit),
            Op::Delete { .. }
            | Op::File { .. }
            | Op::Insert { .. }
            | Op::Rename { .. }
            | Op::Replace { .. } => {
                let unit = op.unit().unwrap_or(UnitId::file(&patch.path));
                let row = patch.touched.iter().find(|row| row.unit == unit);
                row.is_none_or(|row| self.contents.contains(&(unit, row.after)))
            }
        }
    }
}

impl Desk {
    /// The log is known as far as it goes: what the disk has lost and the team does not have either is an edit again.
    pub(super) fn recall(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        if !self.is_recall_due || !self.book.replica.is_caught_up() {
            return Ok(());
        }
        if self.git_moves() {
            self.retry_in(MOVED_RETRY_MS);
            return Ok(());
        }
        // Whatever is an edit again goes out soon, where saving is what makes it travel.
        self.retry_in(0);
        self.is_recall_due = false;
        let recalled = self.recall_lost(ring);
        match recalled {
            Ok(()) => self.book.forget_cut(),
            Err(_) => self.is_recall_due = true,
        }
        recalled
    }

    fn recall_lost(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        let mut lost = Vec::new();
        if let Some(damage) = &self.damage {
            let log = damage.dir.join("log");
            let behind = match verify_with(&RealDisk, &log, |_| {}) {
                Err(VerifyError::Corrupt(found)) => behind(&log, &found)?.0,
                Ok(_) | Err(_) => BTreeMap::new(),
            };
            let since = Since::Mend(self.book.replica.writer());
            for (own, entry) in behind.iter().rev() {
                // It may have had a place that was lost with the record that told it.
                if self
                    .units
                    .index_of(self.writer(*own), own.author_seq)
                    .is_none()
                {
                    self.withdraw_lost(entry, since, ring)?;
                    lost.extend(open_body(entry, ring).map(|body| body.patch));
                }
            }
        }
        for path in self.shadows.told() {
            self.forget_unknown(&path, &lost, ring)?;
        }
        for path in self.shadows.gone() {
            self.forget_deletion(&path, &lost, ring)?;
        }
        self.due = super::pass::Due::All;
        Ok(())
    }

    /// A deletion of a file of which the log tells nothing is an edit again.
    fn forget_deletion(
        &mut self,
        path: &RepoPath,
        lost: &[FilePatch],
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let told = Told::of(self, path, lost, ring);
        let file = UnitId::file(path.as_str());
        if told.contents.contains(&(file, None)) {
            return Ok(());
        }
        match self.shadows.is_tracked(path) {
            true => self.shadows.forget(path),
            false => match self.rebuilt(path, None, &told, ring) {
                Some(known) => self.shadows.set_told(path, Some(&known), false)?,
                None => return Ok(()),
            },
        }
        if !self.files.has(path) {
            self.files.count(path, 0);
        }
        Ok(())
    }

    /// Takes out of a shadow what neither the log nor HEAD has.
    fn forget_unknown(
        &mut self,
        path: &RepoPath,
        lost: &[FilePatch],
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let Some(shadow) = self.shadow(path)? else {
            return Ok(());
        };
        let told = Told::of(self, path, lost, ring);
        let Some(head) = self.shadows.head_text(path)? else {
            if told.lacks_some(&Self::contents(Some(&shadow)), path) {
                let rebuilt = self.rebuilt(path, Some(&shadow), &told, ring);
                self.shadows.set_told(path, rebuilt.as_ref(), false)?;
            }
            return Ok(());
        };
        let head = self.indexed(path, head, None);
        let Some(patch) = aura_semantic::extract(Some(&head), Some(&shadow)) else {
            return Ok(());
        };
        let is_known = |op: &Op| told.has(op, &patch);
        if patch.ops.iter().all(is_known) {
            return Ok(());
        }
        let mut known = patch.clone();
        // Who takes what comes by itself had the newest of it in the file.
        let takes = self.mode == Mode::Live;
        let ops = known.ops.drain(..).filter_map(|op| match is_known(&op) {
            true => Some(op),
            false if takes => told.base_of(&op),
            false => None,
        });
        known.ops = ops.collect();
        known.result = None;
        let known = aura_semantic::apply(Some(&head), &known);
        let after = known.ok().and_then(|applied| applied.after);
        self.shadows
            .set_told(path, after.as_ref().or(Some(&head)), false)
    }

    /// What the log alone makes of a file that git does not have, as far as this working copy has it.
    fn rebuilt(
        &self,
        path: &RepoPath,
        shadow: Option<&Indexed>,
        told: &Told,
        ring: &KeyRing,
    ) -> Option<Indexed> {
        let here = Self::contents(shadow);
        let file = UnitId::file(path.as_str());
        // Own ones were in it, and so was what something unknown followed from.
        let had = |unit: UnitId, after: Option<ContentHash>| match here.get(&unit) {
            Some(content) if told.contents.contains(&(unit, Some(*content))) => {
                after == Some(*content)
            }
            Some(_) => true,
            None => shadow.is_none() || after.is_none(),
        };
        let mut known = None;
        for index in self.units.patches_of(path.as_str()) {
            let Some(body) = self.body_of(index, ring) else {
                continue;
            };
            let is_own = self.units.recorded()[index].origin.writer.peer == self.key_peer;
            let rows = body.patch.touched.iter();
            let mut units = rows.filter(|row| row.unit != file);
            if (is_own || units.all(|row| had(row.unit, row.after)))
                && let Ok(applied) = aura_semantic::apply(known.as_ref(), &body.patch)
            {
                known = applied.after;
            }
        }
        known
    }

    /// Why nothing can be published yet, if the disk has lost a part of the log that is still to be fetched.
    pub(super) fn lost_end(&self) -> Option<&'static str> {
        let is_lost = self.damage.is_some() && self.is_recall_due;
        is_lost.then_some(
            "what the disk has lost of the log is fetched first; aura status shows the link",
        )
    }

    /// What its user is told of a damage that is not decided about.
    pub(crate) fn told_of_damage(&self) -> Option<String> {
        let text = &self.damage.as_ref()?.text;
        Some(match self.lost_end() {
            Some(why) => format!("{text}; {why}"),
            None => text.clone(),
        })
    }

    /// Whether what is saved is published by that alone.
    pub(super) fn saving_publishes(&self) -> bool {
        let is_held = self.damage.is_some() || self.pause.publishing.is_some();
        self.publishing == super::Publishing::Save && !is_held
    }

    /// Its user has published, so the damage is decided about.
    pub(super) fn decided(&mut self) -> Result<(), Failure> {
        if self.is_recall_due {
            return Ok(());
        }
        match self.damage.take() {
            Some(damage) => damage.close(&self.state_dir),
            None => Ok(()),
        }
    }
}
