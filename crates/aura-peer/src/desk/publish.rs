//! From a saved file to an entry in the outbox.
//!
//! Invariants:
//! - what is published is what the file held when it was read, and becomes the shadow in the same step;
//! - a file that no longer parses is held back, said so, and published when it parses again;
//! - a file that was emptied a moment ago is not saved yet;
//! - nothing is published while git moves files: they are held until it is known whose they are;
//! - a file that git keeps out of the working tree is not deleted, and many are deleted only when somebody asks;
//! - what is no text is not shared, as the scan has it.

use std::collections::{BTreeMap, BTreeSet};

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    body::{Cause, PatchBody},
    replica,
    units::Made,
};
use aura_proto::{Kind, RepoPath, limits::BODY_BYTES_MAX};
use aura_semantic::{FilePatch, Indexed, Touched, UnitId};
use aura_tree::{AtHead, FileBytes, ReadError, SkipKind, Skipped};
use aura_trust::{KeyRing, SEAL_OVERHEAD_BYTES, SealContext, seal};

/// More deletions than this at once, and more than one file in [`DELETIONS_SHARE`], are not taken for an edit.
const DELETIONS_MAX: usize = 50;
const DELETIONS_SHARE: usize = 10;

use super::{Desk, held::Held, law::Free, take::names};

/// How long a file must have been empty to be published as empty, in milliseconds.
const EMPTY_MS: u64 = 2_000;

/// What a publication is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intent {
    /// The reason, shown to the others.
    pub(crate) why: Option<String>,
    /// Only these symbols; all when empty.
    pub(crate) symbols: Vec<String>,
}

impl Intent {
    /// The part of a change that is wanted, and what the file is once the team knows that part.
    fn narrow(
        &self,
        before: Option<&Indexed>,
        patch: FilePatch,
        after: Option<Indexed>,
    ) -> Option<(FilePatch, Option<Indexed>)> {
        if self.symbols.is_empty() {
            return Some((patch, after));
        }
        let is_wanted = |row: &Touched| {
            let mut symbols = self.symbols.iter();
            symbols.any(|symbol| names(&patch.path, &row.name, symbol))
        };
        let wanted = patch.touched.iter().filter(|row| is_wanted(row));
        let units: BTreeSet<UnitId> = wanted.map(|row| row.unit).collect();
        // A function of a file that comes as one piece comes with its file.
        let is_all = units.len() == patch.touched.len() || patch.is_whole() && !units.is_empty();
        match is_all {
            true => Some((patch, after)),
            false => part_of(before, &patch, &units),
        }
    }
}

/// What a patch does to some units, and what the file is once the team knows that; nothing where it does nothing to them
/// or that cannot be told apart.
pub(super) fn part_of(
    before: Option<&Indexed>,
    patch: &FilePatch,
    units: &BTreeSet<UnitId>,
) -> Option<(FilePatch, Option<Indexed>)> {
    let file = UnitId::file(&patch.path);
    let mut part = patch.clone();
    part.ops
        .retain(|op| units.contains(&op.unit().unwrap_or(file)));
    part.touched.retain(|row| units.contains(&row.unit));
    part.result = None;
    let known = aura_semantic::apply(before, &part).ok()?.after;
    part.result = known.as_ref().map(Indexed::hash);
    (!part.ops.is_empty()).then_some((part, known))
}

impl Desk {
    /// Publishes every saved edit, where saving is what makes it travel.
    pub(crate) fn publish_saved(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        let changed = self.changed_files()?;
        if self.saving_publishes() {
            self.publish_saves(&changed, ring)?;
        }
        Ok(())
    }

    /// Publishes what is saved anywhere, and gives the reason to what has published itself without one.
    /// Answers how many entries were queued for changes, and which patches got the reason.
    pub(crate) fn publish_all(
        &mut self,
        intent: &Intent,
        ring: &KeyRing,
    ) -> Result<(usize, Vec<usize>), Failure> {
        super::intent::check_why(intent.why.as_deref())?;
        let (changed, skipped) = self.changed_and_skipped()?;
        self.name_left_out(&skipped)?;
        let count = self.publish(&changed, intent, ring)?;
        let explained = if self.is_postponed() {
            Vec::new()
        } else {
            self.explain(intent, ring)?
        };
        // Who publishes a part has not decided about the rest.
        if !self.is_postponed() && intent.symbols.is_empty() {
            self.decided()?;
        }
        Ok((count, explained))
    }

    /// Whether a publication waits until git has stopped.
    pub(crate) fn is_postponed(&self) -> bool {
        self.postponed.is_some()
    }

    /// Publishes what is saved in these files, as somebody asks for; after git has stopped if it moves files.
    /// Answers how many entries were queued.
    pub(crate) fn publish(
        &mut self,
        paths: &BTreeSet<RepoPath>,
        intent: &Intent,
        ring: &KeyRing,
    ) -> Result<usize, Failure> {
        let count = self.publish_some(paths, intent, true, ring)?;
        if !self.is_still() {
            self.postponed = Some(intent.clone());
        }
        Ok(count)
    }

    /// Publishes what is saved in these files because it was saved.
    pub(super) fn publish_saves(
        &mut self,
        paths: &BTreeSet<RepoPath>,
        ring: &KeyRing,
    ) -> Result<usize, Failure> {
        self.publish_some(paths, &Intent::default(), false, ring)
    }

    /// What was kept back until somebody had settled what becomes of an older file of that name is told now.
    pub(super) fn publish_released(&mut self, ring: &KeyRing) {
        let held = self.held_back.iter();
        let is_free = |path: &RepoPath| !self.units.is_orphaned(path.as_str());
        let free = held.filter(|(path, why)| **why == Held::Orphaned && is_free(path));
        let free: BTreeSet<RepoPath> = free.map(|(path, _)| path.clone()).collect();
        free.iter().for_each(|path| {
            self.held_back.remove(path);
        });
        if self.saving_publishes()
            && !free.is_empty()
            && let Err(failure) = self.publish_saves(&free, ring)
        {
            tracing::warn!(%failure, "what was held back is not published yet");
        }
    }

    fn publish_some(
        &mut self,
        paths: &BTreeSet<RepoPath>,
        intent: &Intent,
        is_asked: bool,
        ring: &KeyRing,
    ) -> Result<usize, Failure> {
        if self.git_moves() {
            self.motion
                .changed(self.clock.mono_ms(), paths.iter().cloned());
            return Ok(0);
        }
        if self.shadows.may_filter() {
            self.forgive_filters(paths)?;
        }
        let stays = self.deletions_that_stay(paths, is_asked)?;
        let mut count = 0;
        for path in paths.difference(&stays) {
            if !is_asked {
                self.bring_up_to_date(path)?;
            }
            count += usize::from(self.publish_file(path, intent, ring)?);
        }
        let left_out = |path| self.held_back.get(path).is_some_and(Held::is_left_out);
        if paths.iter().any(left_out) {
            self.forgive_what_git_has()?;
        }
        self.keep_files();
        self.settle(ring);
        Ok(count)
    }

    /// Files that are gone and are not to be deleted for the team.
    fn deletions_that_stay(
        &mut self,
        paths: &BTreeSet<RepoPath>,
        is_asked: bool,
    ) -> Result<BTreeSet<RepoPath>, Failure> {
        let is_gone = |path: &&RepoPath| {
            let stamp = self.copy.root().stamp(path);
            stamp.is_err() && self.copy.root().lacks(path) && self.shadows.holds(path)
        };
        let mut gone: BTreeSet<RepoPath> = paths.iter().filter(is_gone).cloned().collect();
        if gone.is_empty() {
            return Ok(gone);
        }
        let left_out = self.repo.left_out();
        let left_out = left_out.map_err(|error| super::git_failure(&error))?;
        let mut stays: BTreeSet<RepoPath> = gone.intersection(&left_out).cloned().collect();
        gone.retain(|path| !left_out.contains(path));
        // Counted over all files: a tree that is being emptied is seen in pieces.
        let known = self.files.len();
        let all = self.files.paths().filter(is_gone);
        let all = all.filter(|path| !left_out.contains(path)).count();
        if !is_asked && DELETIONS_MAX < all && known < all * DELETIONS_SHARE {
            let why =
                format!("{all} of {known} files are gone; aura publish deletes them for the team");
            if gone.iter().any(|path| !self.held_back.contains_key(path)) {
                self.notice("held_back", None, why.clone());
            }
            let rows = gone.iter().map(|path| (path.clone(), Held::from(&*why)));
            self.held_back.extend(rows);
            stays.append(&mut gone);
        }
        Ok(stays)
    }

    /// Files that differ from their blobs as git checked them out, by line ends or a filter, are no edits.
    fn forgive_filters(&mut self, paths: &BTreeSet<RepoPath>) -> Result<(), Failure> {
        let mut off_head = BTreeMap::new();
        for path in paths {
            if let Ok(file) = self.copy.root().read_file(path)
                && self.shadows.is_off_head(path, &file.bytes)
            {
                off_head.insert(path.clone(), file.bytes);
            }
        }
        if off_head.is_empty() {
            return Ok(());
        }
        let named = off_head.keys().cloned().collect();
        let at_head = self
            .repo
            .classify_after_motion(&named)
            .map_err(|error| super::git_failure(&error))?;
        for (path, bytes) in off_head {
            if at_head.get(&path) == Some(&AtHead::Equal) {
                self.shadows.adopt(&path, &bytes)?;
                self.due.add(path.as_str());
            }
        }
        Ok(())
    }

    fn publish_file(
        &mut self,
        path: &RepoPath,
        intent: &Intent,
        ring: &KeyRing,
    ) -> Result<bool, Failure> {
        let stamp = self.copy.root().stamp(path);
        if stamp.is_ok_and(|stamp| self.is_unchanged(path, &stamp)) {
            self.held_back.remove(path);
            return Ok(false);
        }
        let Some(disk) = self.read_to_publish(path) else {
            return Ok(false);
        };
        let is_same = match &disk {
            Some(file) => self.shadows.equals(path, &file.bytes),
            None => !self.shadows.holds(path),
        };
        if is_same {
            self.held_back.remove(path);
            if let Some(file) = disk {
                self.found_equal(path, &file.meta);
            }
            return Ok(false);
        }
        if disk
            .as_ref()
            .is_some_and(|file| self.is_emptied_just_now(file))
        {
            self.retry_in(EMPTY_MS);
            return Ok(false);
        }
        if (disk.as_ref()).is_some_and(|file| aura_tree::is_binary(&file.bytes)) {
            self.hold_back(path.as_str(), Held::Binary);
            return Ok(false);
        }
        let Some(before) = self.shadow_or_later(path) else {
            return Ok(false);
        };
        if before.is_none() && self.units.is_orphaned(path.as_str()) {
            self.hold_back(path.as_str(), Held::Orphaned);
            return Ok(false);
        }
        let mtime_ns = disk.as_ref().map(|file| file.meta.mtime_ns);
        let after = disk
            .map(|file| file.bytes)
            .map(|bytes| aura_semantic::index(path.as_str(), bytes, before.as_ref(), &self.budget));
        if let (Some(before), Some(after)) = (&before, &after)
            && before.outline.errors < after.outline.errors
        {
            self.hold_back(path.as_str(), "it does not parse");
            self.edited(path, mtime_ns, &[]);
            return Ok(false);
        }
        self.held_back.remove(path);
        let Some(patch) = aura_semantic::extract(before.as_ref(), after.as_ref()) else {
            return Ok(false);
        };
        self.edited(path, mtime_ns, &patch.touched);
        // What is gone is looked for until the team knows it.
        let is_gone = after.is_none();
        if !is_gone {
            self.count_units(path, after.as_ref());
        }
        let is_told = self.publish_patch(path, intent, (before, patch, after), ring)?;
        if is_gone && is_told {
            self.count_units(path, None);
        }
        Ok(is_told)
    }

    /// What a file is now, inside nothing where it is gone; nothing when that is not to be published.
    fn read_to_publish(&mut self, path: &RepoPath) -> Option<Option<FileBytes>> {
        match self.copy.root().read_file(path) {
            Ok(file) => return Some(Some(file)),
            Err(_) if self.copy.root().lacks(path) => return Some(None),
            Err(ReadError::Link) => self.hold_back(path.as_str(), Held::Link),
            Err(ReadError::TooLarge { .. }) => self.hold_back(path.as_str(), Held::TooLarge),
            // Unreadable or still being written: the next event or scan looks again.
            Err(_) => {}
        }
        None
    }

    /// Whether an editor that saves in place may be about to write what it has emptied.
    fn is_emptied_just_now(&self, file: &FileBytes) -> bool {
        let changed_ms = file.meta.mtime_ns / 1_000_000;
        let now_ms = i128::from(self.clock.wall_ms());
        file.bytes.is_empty() && now_ms < changed_ms + i128::from(EMPTY_MS)
    }

    /// Queues what is wanted of a file's change and takes it as known.
    pub(super) fn publish_patch(
        &mut self,
        path: &RepoPath,
        intent: &Intent,
        (before, patch, after): (Option<Indexed>, FilePatch, Option<Indexed>),
        ring: &KeyRing,
    ) -> Result<bool, Failure> {
        let Some((patch, after)) = intent.narrow(before.as_ref(), patch, after) else {
            return Ok(false);
        };
        let (patch, after, blocked) = match self.free_of_zones(before.as_ref(), &patch, ring) {
            Free::All => (patch, after, None),
            Free::Part(part, fence) => (part.0, part.1, Some(fence)),
            Free::Nothing(fence) => {
                self.hold_back(path.as_str(), Held::Zone(fence));
                return Ok(false);
            }
        };
        let made = Made {
            commit: self.commit.clone(),
            why: intent.why.clone(),
            is_sure: self.adopted.remove(path),
        };
        let is_whole = patch.is_whole();
        let body = self.units.body(patch, made, &|index| self.lacks(index));
        if let Some(body) = body
            && !self.queue(&body, ring)?
        {
            return Ok(false);
        }
        self.shadows.set_told(path, after.as_ref(), is_whole)?;
        self.due.add(path.as_str());
        if let Some(fence) = blocked {
            self.hold_back(path.as_str(), Held::Zone(fence));
        }
        Ok(true)
    }

    /// Seals a body and puts it into the outbox; `false` when it is held back, a failure when the disk is full.
    pub(super) fn queue(&mut self, body: &PatchBody, ring: &KeyRing) -> Result<bool, Failure> {
        self.queue_for(body, None, ring)
    }

    /// Like [`Desk::queue`], in place of an own entry that can never be placed.
    pub(super) fn queue_for(
        &mut self,
        body: &PatchBody,
        replaces: Option<replica::Own>,
        ring: &KeyRing,
    ) -> Result<bool, Failure> {
        let path = &body.patch.path;
        // spec: identity/5.5
        if let Some(why) = self.distrust.clone() {
            self.hold_back(path, &*why);
            return Ok(false);
        }
        let card = self.roster.member(self.key_peer);
        if card.is_some_and(|card| !card.role.may_write()) {
            self.hold_back(path, "this device only reads: it is an observer");
            return Ok(false);
        }
        if self.pause.publishing.is_some() && replaces.is_none() {
            self.hold_back(path, Held::Paused);
            return Ok(false);
        }
        if let (Some(why), None) = (self.lost_end(), replaces) {
            self.hold_back(path, why);
            return Ok(false);
        }
        if let Some(fence) = self.blocking(&body.patch, ring).into_values().next() {
            self.hold_back(path, Held::Zone(fence));
            return Ok(false);
        }
        if ring.current().is_none() {
            self.hold_back(path, "this device does not have the team key yet");
            return Ok(false);
        }
        if body.check().is_err() {
            self.hold_back(path, "the change touches too many functions at once");
            return Ok(false);
        }
        let plain = body.encode();
        if BODY_BYTES_MAX < plain.len() + SEAL_OVERHEAD_BYTES {
            self.hold_back(path, "the change is too large for one entry");
            return Ok(false);
        }
        if !self.book.replica.has_room(plain.len()) {
            self.hold_back(path, "the queue is full until the mothership is back");
            return Ok(false);
        }
        let fence = self.fence_for(&body.patch, ring);
        if !self.author((Kind::PATCH, fence), &plain, replaces, ring) {
            return Err(no_space());
        }
        if body.cause == Cause::Edit {
            let symbol = body.patch.touched.first().map(|row| row.name.clone());
            let text = symbol.clone().unwrap_or_else(|| path.clone());
            self.notice("published", symbol, text);
        }
        Ok(true)
    }

    /// What the next own entry is sealed for.
    pub(super) fn next_context(&self, kind: Kind) -> SealContext {
        let replica = &self.book.replica;
        SealContext {
            team: self.team,
            log: replica.log(),
            writer: replica.writer(),
            author_seq: replica.next_number(),
            kind,
        }
    }

    /// Seals an encoded body and puts it into the outbox; `false` when the disk is full or there is no key.
    pub(super) fn author(
        &mut self,
        (kind, fence): (Kind, u64),
        plain: &[u8],
        replaces: Option<replica::Own>,
        ring: &KeyRing,
    ) -> bool {
        let Some(key) = ring.current() else {
            return false;
        };
        let context = self.next_context(kind);
        let author_seq = context.author_seq;
        // spec: patch/1.3
        let body = seal(key, &context, crate::clock::random(), plain);
        let time_ms = self.clock.wall_ms();
        let before = self.book.replica.queued();
        let key_epoch = key.epoch;
        let input = replica::Input::Author {
            kind,
            fence,
            key_epoch,
            body,
            time_ms,
            author_seq,
            replaces,
        };
        self.feed(input, ring);
        before < self.book.replica.queued() || self.book.replica.next_number() != author_seq
    }

    /// The shadow of a file; where git cannot be asked for it, none, and it is tried again.
    fn shadow_or_later(&mut self, path: &RepoPath) -> Option<Option<Indexed>> {
        let shadow = self.shadow(path);
        if let Err(failure) = &shadow {
            tracing::warn!(%failure, %path, "what the team has cannot be read");
            self.retry_at_ms = Some(self.clock.mono_ms() + super::RETRY_MS);
        }
        shadow.ok()
    }

    /// The shadow of a file with the ids that the log uses.
    pub(super) fn shadow(&mut self, path: &RepoPath) -> Result<Option<Indexed>, Failure> {
        let Some((bytes, ids)) = self.shadows.get(path)? else {
            return Ok(None);
        };
        let is_parsed = |parsed: &Indexed| parsed.path == path.as_str() && *parsed.bytes == *bytes;
        if !self.parsed.as_ref().is_some_and(is_parsed) {
            let (path, budget) = (path.as_str(), &self.budget);
            self.parsed = Some(match self.analyses.outline(path, &bytes) {
                Some(outline) => Indexed::known(path, bytes, outline, budget),
                None => aura_semantic::index(path, bytes, None, budget),
            });
        }
        let mut shadow = self.parsed.clone();
        if let Some(shadow) = &mut shadow {
            self.identify(shadow, ids);
        }
        Ok(shadow)
    }

    /// Names what the scan left out for what it is, unless git has it as it is.
    pub(super) fn name_left_out(&mut self, skipped: &[Skipped]) -> Result<(), Failure> {
        let named = |skipped: &Skipped| {
            let why = match skipped.why {
                SkipKind::Binary => Held::Binary,
                SkipKind::Link => Held::Link,
                SkipKind::TooLarge => Held::TooLarge,
                SkipKind::NestedRepository | SkipKind::NotRegular => return None,
            };
            Some((RepoPath::try_from(skipped.path.as_str()).ok()?, why))
        };
        for (path, why) in skipped.iter().filter_map(named) {
            self.held_back.insert(path, why);
        }
        self.forgive_what_git_has()
    }

    /// What was left out for what it is and is in git as it is needs nobody's attention.
    pub(super) fn forgive_what_git_has(&mut self) -> Result<(), Failure> {
        if self.held_back.values().any(Held::is_left_out) {
            let dirty = self.repo.dirty();
            let dirty = dirty.map_err(|error| super::git_failure(&error))?;
            self.held_back
                .retain(|path, why| !why.is_left_out() || dirty.contains(path));
        }
        Ok(())
    }

    fn hold_back(&mut self, path: &str, why: impl Into<Held>) {
        let Ok(known) = RepoPath::try_from(path) else {
            return;
        };
        let why = why.into();
        let text = format!("{path}: {why}");
        if self.held_back.insert(known, why.clone()) != Some(why) {
            self.notice("held_back", None, text);
        }
    }

    pub(super) fn count_units(&mut self, path: &RepoPath, after: Option<&Indexed>) {
        self.impacts.touch(path, self.clock.mono_ms());
        match after {
            Some(after) => self.files.count(path, after.outline.units.len()),
            None => self.files.remove(path),
        }
    }
}

pub(super) fn no_space() -> Failure {
    let message = "the disk is full; what is saved stays in its file and was not queued";
    Failure::new("NO_SPACE", Exit::BUSY, message)
        .next("aura publish", "again, when there is space")
        .retryable()
}
