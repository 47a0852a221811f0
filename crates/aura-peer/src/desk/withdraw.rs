//! Changes that were in the files and count no more.
//!
//! A zone may have been in the way of a change at its place, the Mothership may have refused it, its author may have been
//! removed, or told others something else.
//!
//! Invariants:
//! - an own change that counts no more is an edit again: what the team is taken to know goes back to what it was before;
//! - a change of somebody else goes out of the file as well, unless this user has edited it since; what was there is kept;
//! - what was told again since stays told;
//! - doing it twice changes nothing, so a process may end anywhere in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use aura_api::Failure;
use aura_engine::peer::{
    body::{Cause, VersionId},
    replica::{Fates, Record},
    units::{Origin, PLACEMENT},
};
use aura_proto::{Entry, RepoPath, Writer};
use aura_semantic::{
    ContentHash, FilePatch, Indexed, Op, OwnText, UnitId, Without, extract, splice, without,
};
use aura_tree::{Expect, WriteRefusal};
use aura_trust::KeyRing;

use super::{
    Desk, Notice, open_body,
    publish::part_of,
    shadow::keep_beside,
    take::{MOVED_RETRY_MS, explain_write},
};

/// What was told after a change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Since {
    /// What came after this record.
    Record(u64),
    /// What is told under this incarnation: the record itself is lost.
    Mend(Writer),
}

impl Since {
    fn has(self, origin: &Origin) -> bool {
        match self {
            Self::Record(lsn) => lsn < origin.lsn,
            Self::Mend(writer) => origin.writer == writer,
        }
    }
}

/// A change that counts no more.
struct Withdrawn {
    since: Since,
    writer: Writer,
    path: RepoPath,
    patch: FilePatch,
    /// For each touched unit, the versions that it followed.
    parents: Vec<Vec<VersionId>>,
    /// Whether it has no place in the log, so that others may never learn what it followed from.
    is_nowhere: bool,
}

impl Withdrawn {
    /// What the patch left a unit as; nothing where it did not touch it.
    fn left(&self, unit: UnitId) -> Option<Option<ContentHash>> {
        let row = self.patch.touched.iter().find(|row| row.unit == unit);
        row.map(|row| row.after)
    }

    /// Whether a unit of a file with these contents is as the patch left it; of what is no unit nothing is known.
    fn is_left(&self, unit: UnitId, here: &BTreeMap<UnitId, ContentHash>) -> bool {
        unit == UnitId::file(self.path.as_str())
            || self.left(unit) == Some(here.get(&unit).copied())
    }

    /// What it was made from of a unit, and the versions that it followed there.
    fn base_of(&self, unit: UnitId) -> Option<(&OwnText, &[VersionId])> {
        let rows = self.patch.touched.iter().zip(&self.parents);
        let (_, parents) = rows.into_iter().find(|(row, _)| row.unit == unit)?;
        let text = self.patch.ops.iter().find_map(|op| match op {
            Op::Replace { base_text, .. } | Op::Rename { base_text, .. }
                if op.unit() == Some(unit) =>
            {
                Some(base_text)
            }
            _ => None,
        })?;
        Some((text, parents))
    }

    fn creates_file(&self) -> bool {
        self.patch.is_whole() && self.patch.base.is_none()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.patch.touched.iter().map(|row| &*row.name).collect();
        names.join(", ")
    }
}

/// What became of a file that had it.
enum Left {
    /// The file is as it was without it; where the file is kept as it was before that.
    Clean(Option<PathBuf>),
    /// This user has edited what it did.
    Edited,
}

impl Desk {
    /// Whether a change that was noted just now counts, or may once it can be opened.
    pub(super) fn is_taken_in(
        &self,
        (writer, author_seq): (Writer, u64),
        lsn: u64,
        fates: &Fates,
    ) -> bool {
        // What is sealed waits in the order of the log, so this one is the last.
        let is_sealed = self.sealed.last().is_some_and(|(sealed, _)| *sealed == lsn);
        let is_recorded = self.units.index_of(writer, author_seq).is_some();
        !fates.is_void(lsn) && (is_recorded || is_sealed)
    }

    /// At a start it is looked whether what does not count is still taken as known: a process may have ended before that
    /// was mended. What git has of others is none of it.
    pub(super) fn withdraw_late(
        &mut self,
        mut uncounted: Vec<u64>,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        uncounted.retain(|lsn| {
            self.withdrawn_of(*lsn, ring).is_some_and(|change| {
                change.writer.peer == self.key_peer || !self.may_be_of_git(&change)
            })
        });
        self.withdrawn.extend(uncounted);
        self.withdraw(ring)
    }

    fn may_be_of_git(&mut self, change: &Withdrawn) -> bool {
        if self.shadows.is_local(&change.path) {
            return true;
        }
        let Ok(Some(text)) = self.shadows.head_text(&change.path) else {
            return false;
        };
        let at_head = Self::contents(Some(&self.indexed(&change.path, text, None)));
        let mut rows = change.patch.touched.iter();
        rows.all(|row| at_head.get(&row.unit) == row.after.as_ref())
    }

    /// Takes what counts no more out of what the team is taken to know, the newest first; later where git moves files.
    pub(super) fn withdraw(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        if self.withdrawn.is_empty() {
            return Ok(());
        }
        if self.git_moves() {
            self.retry_in(MOVED_RETRY_MS);
            return Ok(());
        }
        for lsn in self.withdrawn.clone().into_iter().rev() {
            if let Some(change) = self.withdrawn_of(lsn, ring) {
                if !self.take_out(&change)? {
                    self.retry_in(MOVED_RETRY_MS);
                    return Ok(());
                }
                if change.is_nowhere && change.writer.peer != self.key_peer {
                    self.tell_anew(&change, ring)?;
                }
            }
            self.withdrawn.remove(&lsn);
        }
        Ok(())
    }

    /// Takes an own change out of what the team is taken to know: the disk has lost it, and the team never had it.
    pub(super) fn withdraw_lost(
        &mut self,
        entry: &Entry,
        since: Since,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        match self.withdrawn_from(entry, since, ring) {
            Some(change) => self.take_out(&change).map(|_| ()),
            None => Ok(()),
        }
    }

    fn withdrawn_of(&self, lsn: u64, ring: &KeyRing) -> Option<Withdrawn> {
        let record = self.book.read(lsn)?;
        let change = self.withdrawn_from(record.entry()?, Since::Record(lsn), ring)?;
        let is_nowhere = matches!(record, Record::Heard(_));
        Some(Withdrawn {
            is_nowhere,
            ..change
        })
    }

    fn withdrawn_from(&self, entry: &Entry, since: Since, ring: &KeyRing) -> Option<Withdrawn> {
        let body = open_body(entry, ring).filter(|body| body.check().is_ok())?;
        let path = RepoPath::try_from(body.patch.path.as_str()).ok()?;
        let is_here = body.channel == *self.units.channel();
        is_here.then(|| Withdrawn {
            since,
            writer: entry.header().writer,
            path,
            patch: body.patch,
            parents: body.parents,
            is_nowhere: false,
        })
    }

    /// Takes a change out of shadow and file; `false` where its file is being written.
    fn take_out(&mut self, change: &Withdrawn) -> Result<bool, Failure> {
        let shadow = self.shadow(&change.path)?;
        let deletes = change.patch.touched.iter().any(|row| row.after.is_none());
        if shadow.is_none() && !deletes {
            return Ok(true);
        }
        let told = self.told_since(change);
        let here = Self::contents(shadow.as_ref());
        let stands = |unit: UnitId| change.is_left(unit, &here) && !told.contains(&unit);
        let Without { file, left } = without(shadow.as_ref(), &change.patch, &stands);
        let is_same = file.as_ref().map(Indexed::hash) == shadow.as_ref().map(Indexed::hash);
        if is_same && left.is_empty() {
            return Ok(true);
        }
        if change.writer.peer != self.key_peer {
            match self.take_out_of_file(change, (shadow.as_ref(), file.as_ref()), &stands) {
                Ok(left) => self.tell_of_withdrawal(change, &left),
                Err(WriteRefusal::Moved) => return Ok(false),
                Err(refusal) => tracing::warn!(path = %change.path, "{}", explain_write(&refusal)),
            }
        }
        match left.is_empty() {
            true if file.is_none() && !self.shadows.is_tracked(&change.path) => {
                self.shadows.forget(&change.path);
            }
            true => self.shadows.set_told(&change.path, file.as_ref(), false)?,
            // It cannot be told apart: all that HEAD does not have is an edit again.
            false => self.shadows.forget(&change.path),
        }
        if shadow.is_none() && !self.files.has(&change.path) {
            // It may be gone from the disk, and is looked for from now on.
            self.files.count(&change.path, 0);
        }
        // What others made from it waits until it can be carried out again.
        self.wait_again(&change.path);
        self.due.add(change.path.as_str());
        Ok(true)
    }

    /// Units of a change that were told again since, as it left them.
    fn told_since(&self, change: &Withdrawn) -> BTreeSet<UnitId> {
        let path = change.path.as_str();
        let of_file = UnitId::file(path);
        let mut told = BTreeSet::new();
        for index in self.units.patches_of(path) {
            let recorded = &self.units.recorded()[index];
            if !change.since.has(&recorded.origin) {
                continue;
            }
            // What stands between units has no content of its own: whoever could tell the same again has told it.
            let peer = recorded.origin.writer.peer;
            let may_repeat = peer == self.key_peer || peer == change.writer.peer;
            for (unit, _, version, number) in &recorded.touched {
                let content = self.units.content(path, *unit, *version);
                let is_again = match (*unit == of_file, *number == PLACEMENT) {
                    (true, _) if change.creates_file() => {
                        recorded.is_whole() && content != Some(None)
                    }
                    (true, _) | (_, true) => may_repeat,
                    (false, false) => content.is_some() && content == change.left(*unit),
                };
                if is_again {
                    told.insert(*unit);
                }
            }
        }
        told
    }

    /// What this device has made of units from a change that nobody else may have follows from what that followed as
    /// well, from now on.
    fn tell_anew(&mut self, change: &Withdrawn, ring: &KeyRing) -> Result<(), Failure> {
        for row in &change.patch.touched {
            let Some((base, parents)) = change.base_of(row.unit) else {
                continue;
            };
            let Some(shadow) = self.shadow(&change.path)? else {
                return Ok(());
            };
            if !self.has_made(change, row.unit, &shadow) {
                continue;
            }
            let before = splice(&shadow, row.unit, base).ok();
            let patch = before.and_then(|spliced| {
                let before = spliced.after?;
                let patch = extract(Some(&before), Some(&shadow))?;
                part_of(Some(&before), &patch, &BTreeSet::from([row.unit]))
            });
            if let Some((patch, _)) = patch {
                let heads = self.units.heads(change.path.as_str(), row.unit);
                let versions: BTreeSet<VersionId> =
                    heads.into_iter().chain(parents.to_vec()).collect();
                let follows = (row.unit, versions.into_iter().collect(), BTreeSet::new());
                self.decide(patch, Cause::Merge, Some(follows), ring)?;
            }
        }
        Ok(())
    }

    /// Whether a unit is as this device has told it after a change.
    fn has_made(&self, change: &Withdrawn, unit: UnitId, shadow: &Indexed) -> bool {
        let path = change.path.as_str();
        let content = Self::contents(Some(shadow)).get(&unit).copied();
        let version = self.units.working(path, unit, content);
        let teller = version.and_then(|version| self.units.teller(path, unit, version));
        teller.is_some_and(|(index, _)| self.is_own_since(change, index))
    }

    /// Whether this device has told something that it made in a file after a change.
    fn has_built_on(&self, change: &Withdrawn) -> bool {
        let mut patches = self.units.patches_of(change.path.as_str()).into_iter();
        patches.any(|index| self.is_own_since(change, index))
    }

    fn is_own_since(&self, change: &Withdrawn, index: usize) -> bool {
        let origin = &self.units.recorded()[index].origin;
        origin.writer.peer == self.key_peer && change.since.has(origin)
    }

    /// Takes somebody else's change out of the file, where its user has not edited what it did.
    fn take_out_of_file(
        &mut self,
        change: &Withdrawn,
        (shadow, after): (Option<&Indexed>, Option<&Indexed>),
        stands: &dyn Fn(UnitId) -> bool,
    ) -> Result<Left, WriteRefusal> {
        let path = &change.path;
        let disk = self.copy.root().read_file(path).ok();
        let disk = disk.map(|file| file.bytes);
        let is_shadow = shadow.map(|shadow| &shadow.bytes[..]) == disk.as_deref();
        let (file, is_clean) = match &disk {
            // Its user goes on in a file that the change has made.
            _ if change.creates_file() && (!is_shadow || self.has_built_on(change)) => {
                return Ok(Left::Edited);
            }
            _ if is_shadow => (after.cloned(), true),
            Some(disk) => {
                let now = self.indexed(path, disk.clone(), shadow);
                let here = Self::contents(Some(&now));
                let is_left = |unit: UnitId| change.is_left(unit, &here);
                let mut units = change.patch.touched.iter().map(|row| row.unit);
                let is_edited = units.any(|unit| stands(unit) && !is_left(unit));
                let taken = without(Some(&now), &change.patch, &|unit| {
                    stands(unit) && is_left(unit)
                });
                (taken.file, !is_edited && taken.left.is_empty())
            }
            // Its user has deleted it.
            None => return Ok(Left::Edited),
        };
        let bytes = file.as_ref().map(|file| &file.bytes[..]);
        let mut kept = None;
        if bytes != disk.as_deref() {
            let expect = disk
                .as_deref()
                .map_or(Expect::Absent, |disk| Expect::Hash(blake3::hash(disk)));
            kept = disk.and_then(|disk| self.keep_beside(path, &disk));
            self.copy
                .replace(self.clock.mono_ms(), path, expect, bytes)?;
            self.count_units(path, file.as_ref());
        }
        Ok(match is_clean {
            true => Left::Clean(kept),
            false => Left::Edited,
        })
    }

    fn keep_beside(&self, path: &RepoPath, bytes: &[u8]) -> Option<PathBuf> {
        let (dir, wall_ms) = (self.shadows.rescue_dir(), self.clock.wall_ms());
        let kept = keep_beside(&dir, wall_ms, path.as_str(), bytes);
        if let Err(error) = &kept {
            tracing::warn!(%path, %error, "the file as it was could not be kept");
        }
        kept.ok()
    }

    fn tell_of_withdrawal(&mut self, change: &Withdrawn, left: &Left) {
        let (names, path) = (change.names(), &change.path);
        let text = match left {
            Left::Clean(Some(kept)) => format!(
                "the change of {names} counts no more and was taken out of {path}; the file as it was is {}",
                kept.display()
            ),
            Left::Clean(None) => {
                format!("the change of {names} counts no more; {path} is as it was before it")
            }
            Left::Edited => format!(
                "the change of {names} counts no more; it stays in {path}, where you have gone on since"
            ),
        };
        self.notices.push(Notice {
            kind: "withdrawn",
            symbol: change.patch.touched.first().map(|row| row.name.clone()),
            peer: Some(change.writer.peer),
            text,
        });
    }

    /// The changes that count no more, and the void ones of the same files: what stood on them may be out of the way.
    pub(super) fn withdraw_with(&mut self, gone: Vec<u64>, void: Vec<u64>, ring: &KeyRing) {
        let paths: BTreeSet<RepoPath> = gone
            .iter()
            .filter_map(|lsn| Some(self.withdrawn_of(*lsn, ring)?.path))
            .collect();
        if !paths.is_empty() {
            let concerns = |lsn: &u64| {
                let change = self.withdrawn_of(*lsn, ring);
                change.is_some_and(|change| paths.contains(&change.path))
            };
            let more: Vec<u64> = void.into_iter().filter(concerns).collect();
            self.withdrawn.extend(more);
        }
        self.withdrawn.extend(gone);
    }

    /// The records of the changes that count now.
    pub(super) fn counted_records(&self) -> BTreeSet<u64> {
        let recorded = self.units.recorded().iter();
        recorded.map(|recorded| recorded.origin.lsn).collect()
    }
}
