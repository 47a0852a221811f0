//! What this device decides for the team: joins that it owes, settlements, and taking back.
//!
//! Invariants:
//! - a decision follows from every head of each unit that it touches, so that afterwards there is one, but for
//!   versions that nobody was shown;
//! - a decision changes the files of this device first, so it is refused where they have edits of the user;
//! - a text that is not known is never taken for a deletion.

use std::{collections::BTreeSet, sync::Arc};

use aura_api::{Choice, Exit, Failure, shell_operand};
use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    units::{Conflict, DueFollow, DueWhole, Recorded, Side},
};
use aura_proto::RepoPath;
use aura_semantic::{
    Chunk, ContentHash, FileMerge, FilePatch, Indexed, LineMerge, Op, OwnText, Text, Touched,
    UnitId, bring, extract, kept_lines, merge_files, merge_lines, merge_own,
};
use aura_trust::KeyRing;

use super::{Desk, claim::zone_name, held::Held, take::Wanted};

impl Desk {
    /// What follows from new versions: joins that this peer owes, and files in live mode.
    pub(crate) fn settle(&mut self, ring: &KeyRing) {
        for due in self.units.due_merges(&|recorded| self.body(recorded, ring)) {
            let change = self.change(&due.path, due.unit, &due.name, Some(&due.merged));
            let joined = Some((due.unit, due.heads, BTreeSet::new()));
            let queued = change.map(|patch| self.decide(patch, Cause::Merge, joined, ring));
            if matches!(queued, Some(Ok(true))) {
                let text = format!("joined {}", due.name);
                self.notice("merged", Some(due.name), text);
            }
        }
        self.carry_along(ring);
        if self.takes_by_itself() && self.is_still() {
            let wanted = Wanted {
                is_patient: true,
                ..Wanted::default()
            };
            self.take_waiting(&wanted, ring);
        }
        self.publish_released(ring);
        self.loose.save();
        self.compare_conflicts(ring);
    }

    /// Settles a conflict.
    pub(crate) fn resolve(
        &mut self,
        conflict: &Conflict,
        choice: &Choice,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let text = self.chosen(conflict, choice)?;
        let path = checked(&conflict.path)?;
        if let (Some(text), Some(shadow)) = (&text, self.shadow(&path)?)
            && shadow.position(conflict.unit).is_some()
        {
            aura_semantic::splice(&shadow, conflict.unit, text).map_err(|refusal| {
                Failure::new("NOT_ONE_FUNCTION", Exit::USAGE, refusal.to_string()).next(
                    format!("aura resolve {} --edit", conflict.id),
                    "give another text",
                )
            })?;
        }
        let left_out = self.unseen(conflict);
        let is_file = conflict.unit == UnitId::file(&conflict.path);
        let kept = match (&text, &conflict.of_file) {
            // What the file would be is not here.
            (text, Some(_)) => {
                let theirs = conflict.theirs.text.as_ref();
                let theirs = theirs.map(|theirs| self.as_told(&path, theirs.head.bytes()));
                let before = self.shadow(&path)?.or(theirs);
                let before = before.ok_or_else(|| no_text(&conflict.name))?;
                let text = text.as_ref().map(|text| &text.head);
                Some(self.file_change_from(&path, Some(before), text, Some(&left_out)))
            }
            (text, None) if is_file => {
                let (before, text) = (self.shadow(&path)?, text.as_ref().map(|text| &text.head));
                Some(self.file_change_from(&path, before, text, Some(&left_out)))
            }
            (Some(text), _) if self.is_in_deleted(conflict) => {
                let shadow = self.shadow(&path)?;
                let shadow = shadow.filter(|file| file.position(conflict.unit).is_some());
                let Some(shadow) = shadow else {
                    return Err(self.no_container(conflict));
                };
                // Who keeps a function keeps what it is in.
                self.file_with(&path, &shadow, conflict.unit, text)
            }
            _ => self.kept_file(&path, conflict, text.as_ref(), ring),
        };
        let patch = kept
            .or_else(|| self.change(&conflict.path, conflict.unit, &conflict.name, text.as_ref()))
            .or_else(|| self.change_in_absence(&path, conflict, text.as_ref(), ring))
            .or_else(|| {
                let stays = || stays_deleted(&conflict.path, conflict.unit, &conflict.name);
                text.is_none().then(stays)
            })
            .ok_or_else(|| no_place(&conflict.name))?;
        // A third version stays open: nobody has looked at it.
        let versions = match &conflict.of_file {
            Some(of) => of.follows.clone(),
            None => self.shown(conflict),
        };
        let shown = (conflict.unit, versions, left_out);
        self.carry_through(&path, patch, Cause::Resolve, Some(shown), ring)
    }

    /// Units of a file in conflict of which somebody has a version that neither text shows.
    fn unseen(&self, conflict: &Conflict) -> BTreeSet<UnitId> {
        if let Some(of) = &conflict.of_file {
            return of.left_out.clone();
        }
        let (path, sides) = (&*conflict.path, [&conflict.mine, &conflict.theirs]);
        let checked = RepoPath::try_from(path).ok();
        let Some(checked) = checked.filter(|_| conflict.unit == UnitId::file(path)) else {
            return BTreeSet::new();
        };
        let texts = sides.into_iter().filter_map(|side| side.text.as_ref());
        let told = texts.map(|text| self.as_told(&checked, text.head.bytes()));
        let shown: Vec<_> = told.map(|file| file.contents()).collect();
        let is_shown = |unit: UnitId, head: VersionId| match self.units.content(path, unit, head) {
            Some(Some(content)) => shown.iter().any(|file| file.get(&unit) == Some(&content)),
            Some(None) | None => true,
        };
        let units = self.units.units_of(path).map(|(_, unit)| unit);
        let units = units.filter(|unit| *unit != conflict.unit);
        let unseen = units.filter(|unit| {
            let heads = self.units.heads(path, *unit);
            !heads.into_iter().all(|head| is_shown(*unit, head))
        });
        unseen.collect()
    }

    /// Whether the container of a unit was deleted.
    fn is_in_deleted(&self, conflict: &Conflict) -> bool {
        let container = self.units.deleted_container(&conflict.path, &conflict.name);
        container.is_some() && conflict.unit != UnitId::file(&conflict.path)
    }

    fn no_container(&self, conflict: &Conflict) -> Failure {
        let above = conflict.name.rsplit_once("::").map_or("", |name| name.0);
        let message = format!("{above}, which {} is in, was deleted here", conflict.name);
        let symbol = format!("{}::{above}", conflict.path);
        let back = format!("aura log {}", shell_operand(&symbol));
        Failure::new("AE-NO-PLACE", Exit::STALE, message).next(
            back,
            "see when it was there; aura restore SYMBOL --at OP brings it back",
        )
    }

    /// The heads that a person has seen: both sides, and what came to the same as either.
    fn shown(&self, conflict: &Conflict) -> Vec<VersionId> {
        let sides = [conflict.mine.content, conflict.theirs.content];
        let is_seen = |head: &VersionId| {
            let content = self.units.content(&conflict.path, conflict.unit, *head);
            content.is_some_and(|content| sides.contains(&content))
        };
        conflict.heads.iter().copied().filter(is_seen).collect()
    }

    /// The text that a choice means; `None` for a deletion.
    fn chosen(&mut self, conflict: &Conflict, choice: &Choice) -> Result<Option<OwnText>, Failure> {
        let is_file = conflict.unit == UnitId::file(&conflict.path);
        let mine = || text_of(&conflict.mine, &conflict.name);
        let theirs = || text_of(&conflict.theirs, &conflict.name);
        Ok(match choice {
            // What this device has done to the file since is in the file; but not what waits to come here.
            Choice::Mine if is_file && !self.waits_for_more(conflict) => {
                match self.shadow(&checked(&conflict.path)?)? {
                    Some(shadow) => Some(OwnText::leaf(&shadow.bytes)),
                    None => mine()?,
                }
            }
            Choice::Mine => mine()?,
            Choice::Theirs => theirs()?,
            Choice::Both => match (mine()?, theirs()?) {
                (Some(mine), Some(theirs)) => {
                    let common = || common_lines(mine.head.bytes(), theirs.head.bytes());
                    let base = conflict.base.clone();
                    let base = base.or_else(|| is_file.then(|| OwnText::leaf(&common())));
                    Some(both(base.as_ref(), &mine, &theirs))
                }
                (one, other) => one.or(other),
            },
            Choice::With { bytes } => {
                let side = mine()?.or(theirs()?);
                let ends_open = |text: &OwnText| !text.head.bytes().ends_with(b"\n");
                // Files end with a line end, functions before it.
                let mut bytes = &bytes[..];
                if side.as_ref().is_none_or(ends_open) {
                    bytes = bytes.trim_ascii_end();
                }
                Some(OwnText {
                    head: Text(bytes.to_vec()),
                    foot: side.and_then(|text| text.foot),
                })
            }
        })
    }

    /// Makes a decision known to the team and carries it out here, in whatever mode.
    pub(super) fn carry_through(
        &mut self,
        path: &RepoPath,
        patch: FilePatch,
        cause: Cause,
        shown: Option<Shown>,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let shadow = self.shadow(path)?;
        let disk = self.copy.root().read_file(path).ok();
        let current = disk.map(|file| {
            aura_semantic::index(path.as_str(), file.bytes, shadow.as_ref(), &self.budget)
        });
        self.refuse_dirty(&patch, shadow.as_ref(), current.as_ref())
            .map_err(|why| {
                Failure::new("CONFLICT", Exit::CONFLICT, why)
                    .next("aura publish", "makes your edits known first")
            })?;
        if let Err(why) = self.decide_or_why(patch, cause, shown, ring)? {
            return Err(not_queued(why.as_ref()));
        }
        let own = Wanted {
            from: Some(self.key_peer),
            ..Wanted::default()
        };
        self.take_waiting(&own, ring);
        self.compare_conflicts(ring);
        Ok(())
    }

    /// Takes what others did to units along to where this device has put these meanwhile.
    // spec: patch/3.12
    fn carry_along(&mut self, ring: &KeyRing) {
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let (follows, wholes) = (
            self.units.due_follows(&bodies, &self.left),
            self.units.due_wholes(&bodies, &self.left),
        );
        for due in follows {
            if let Err(failure) = self.carry_one(&due, ring) {
                tracing::warn!(%failure, name = due.name, "an edit did not follow its function");
            }
        }
        for due in wholes {
            if let Err(failure) = self.carry_file(&due, ring) {
                tracing::warn!(%failure, path = due.path, "edits did not follow their file");
            }
        }
    }

    /// Takes what others did in a file along to where this device has put what was in it.
    // spec: patch/3.14
    fn carry_file(&mut self, due: &DueWhole, ring: &KeyRing) -> Result<(), Failure> {
        let (there, gone) = (checked(&due.to)?, checked(&due.path)?);
        let Some(shadow) = self.shadow(&there)? else {
            return Ok(());
        };
        // What still waits to come here comes first.
        let waits = self.waiting_in(&due.to).next().is_some();
        if waits || self.units.is_orphaned(&due.to) {
            return Ok(());
        }
        let base = due.base.bytes();
        let theirs = due.theirs.as_ref().map(Text::bytes);
        let merged = theirs.map(|theirs| merge_files(&due.to, base, &shadow.bytes, theirs));
        let (Some(theirs), Some(FileMerge::Clean { bytes, .. })) = (theirs, merged) else {
            self.left.insert(due.id.clone());
            return Ok(());
        };
        let after = aura_semantic::index(&due.to, bytes, Some(&shadow), &self.budget);
        if let Some(change) = extract(Some(&shadow), Some(&after)) {
            let is_open = |row: &Touched| 1 < self.units.heads(&due.to, row.unit).len();
            if change.touched.iter().any(is_open)
                || !self.decide(change, Cause::Merge, None, ring)?
            {
                return Ok(());
            }
        }
        let before = self.as_told(&gone, theirs);
        let stays = self.file_change_from(&gone, Some(before), None, None);
        let shown = (UnitId::file(&due.path), due.heads.clone(), BTreeSet::new());
        if self.decide(stays, Cause::Resolve, Some(shown), ring)? {
            let text = format!("what others did in {gone} followed to {there}");
            self.notice("merged", Some(due.to.to_string()), text);
        }
        Ok(())
    }

    /// Whether something of a deleted file that is shown waits to be carried out here.
    pub(super) fn waits_for_more(&self, conflict: &Conflict) -> bool {
        let recorded = self.units.recorded();
        let mut waiting = self.waiting_in(&conflict.path);
        self.units.is_orphaned(&conflict.path) && waiting.any(|index| !recorded[index].is_whole())
    }

    fn carry_one(&mut self, due: &DueFollow, ring: &KeyRing) -> Result<(), Failure> {
        let (path, unit) = &due.to;
        let (there, gone) = (checked(path)?, checked(&due.path)?);
        let Some(shadow) = self
            .shadow(&there)?
            .filter(|_| !self.units.is_orphaned(path))
        else {
            return Ok(());
        };
        let Some(at) = shadow.position(*unit) else {
            return Ok(());
        };
        let here = &shadow.outline.units[at];
        // What still waits to come here comes first.
        let is_newest =
            |head: &VersionId| self.units.content(path, *unit, *head) == Some(Some(here.own_hash));
        if !matches!(&self.units.heads(path, *unit)[..], [head] if is_newest(head)) {
            return Ok(());
        }
        let mine = here.own_text(&shadow.bytes);
        let Some(both) = merge_own(path, &due.base, &mine, &due.theirs) else {
            self.left.insert(due.id.clone());
            return Ok(());
        };
        let name = here.qualified.clone();
        if both != mine {
            let change = self.change(path, *unit, &name, Some(&both));
            let change = change.ok_or_else(|| no_place(&name))?;
            if !self.decide(change, Cause::Merge, None, ring)? {
                return Ok(());
            }
        }
        let stays = match self.shadow(&gone)? {
            Some(_) => self.change(&due.path, due.unit, &due.name, None),
            None => None,
        };
        let stays = stays.unwrap_or_else(|| stays_deleted(&due.path, due.unit, &due.name));
        if self.decide(stays, Cause::Resolve, None, ring)? {
            let text = format!("{} followed to {path}", due.name);
            self.notice("merged", Some(name), text);
        }
        Ok(())
    }

    /// Publishes a patch that follows from every head of what it touches, or of one unit from those `shown`.
    pub(super) fn decide(
        &mut self,
        patch: FilePatch,
        cause: Cause,
        shown: Option<Shown>,
        ring: &KeyRing,
    ) -> Result<bool, Failure> {
        let decided = self.decide_or_why(patch, cause, shown, ring)?;
        Ok(decided.is_ok())
    }

    /// The same; answers why it is not queued, as far as that is known.
    fn decide_or_why(
        &mut self,
        patch: FilePatch,
        cause: Cause,
        shown: Option<Shown>,
        ring: &KeyRing,
    ) -> Result<Result<(), Option<Held>>, Failure> {
        let parents = patch.touched.iter().map(|row| {
            if let Some((unit, versions, _)) = &shown
                && *unit == row.unit
            {
                return versions.clone();
            }
            let is_part = |(.., part): &Shown| part.contains(&row.unit);
            let is_part = shown.as_ref().is_some_and(is_part);
            let heads = self.units.heads(&patch.path, row.unit);
            if heads.is_empty() || is_part || !self.follows_heads(&patch, row.unit) {
                let working = self.units.working(&patch.path, row.unit, row.before);
                return working.into_iter().collect();
            }
            heads
        });
        let parents = parents.collect();
        let parents = match shown {
            Some(_) => parents,
            None => (self.units).with_told_between(&patch, parents, &|index| self.lacks(index)),
        };
        let body = PatchBody {
            channel: self.units.channel().to_owned(),
            commit: self.commit.clone(),
            cause,
            why: None,
            parents,
            patch,
        };
        let path = checked(&body.patch.path)?;
        let held = self.held_back.get(&path).cloned();
        if self.queue(&body, ring)? {
            let path: Arc<str> = body.patch.path.into();
            self.doubt(&path);
            return Ok(Ok(()));
        }
        // No edit waits in the file for it.
        let why = match held {
            Some(held) => self.held_back.insert(path, held),
            None => self.held_back.remove(&path),
        };
        Ok(Err(why))
    }

    /// Whether a patch makes heads of a unit: what stands between units has none.
    pub(super) fn follows_heads(&self, patch: &FilePatch, unit: UnitId) -> bool {
        unit != UnitId::file(&patch.path) || patch.is_whole()
    }

    /// The change that brings a unit, or a whole file, to a text; `None` when there is no place for it here.
    fn change(
        &mut self,
        path: &str,
        unit: UnitId,
        name: &str,
        text: Option<&OwnText>,
    ) -> Option<FilePatch> {
        let checked = RepoPath::try_from(path).ok()?;
        if unit == UnitId::file(path) {
            return self.file_change(&checked, text.map(|text| &text.head)).ok();
        }
        let shadow = self.shadow(&checked).ok()??;
        let op = bring(&shadow, unit, name, text)?;
        let row = Touched {
            unit,
            name: name.to_owned(),
            before: None,
            after: text.map(OwnText::hash),
        };
        let like = FilePatch {
            path: path.to_owned(),
            base: None,
            result: None,
            ops: Vec::new(),
            touched: vec![row],
        };
        Some(self.told(&checked, &shadow, vec![op], &like))
    }

    /// The change that settles a conflict over a unit whose file was deleted here: it stays deleted, or the file comes
    /// back with that text in it.
    fn change_in_absence(
        &mut self,
        path: &RepoPath,
        conflict: &Conflict,
        text: Option<&OwnText>,
        ring: &KeyRing,
    ) -> Option<FilePatch> {
        if self.shadow(path).ok()?.is_some() {
            return None;
        }
        let Some(text) = text else {
            return Some(stays_deleted(&conflict.path, conflict.unit, &conflict.name));
        };
        self.deleted_file(conflict.mine.recorded, ring)?;
        // Who keeps a function keeps what it is in, and what others did to that.
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let before = self.units.kept_text(path.as_str(), &bodies)?;
        let file = self.as_told(path, before.bytes());
        let with = aura_semantic::splice(&file, conflict.unit, text).ok()?;
        let with = Text(with.bytes()?.to_vec());
        Some(self.file_change_from(path, Some(file), Some(&with), None))
    }

    /// The change that keeps a file here that others deleted whole: who keeps a function of it keeps what it is in.
    fn kept_file(
        &mut self,
        path: &RepoPath,
        conflict: &Conflict,
        text: Option<&OwnText>,
        ring: &KeyRing,
    ) -> Option<FilePatch> {
        let text = text?;
        self.deleted_file(conflict.theirs.recorded, ring)?;
        let shadow = self.shadow(path).ok()??;
        self.file_with(path, &shadow, conflict.unit, text)
    }

    /// The file that a patch deletes as one piece.
    fn deleted_file(&self, recorded: usize, ring: &KeyRing) -> Option<Text> {
        match self.body_of(recorded, ring)?.patch.ops.pop() {
            Some(Op::File {
                base_text,
                text: None,
                ..
            }) => base_text,
            _ => None,
        }
    }

    /// The change that makes a file what it is with another text of one unit, whatever heads its other units have.
    fn file_with(
        &mut self,
        path: &RepoPath,
        file: &Indexed,
        unit: UnitId,
        text: &OwnText,
    ) -> Option<FilePatch> {
        let file = aura_semantic::splice(file, unit, text).ok()?;
        let text = Text(file.bytes()?.to_vec());
        self.file_change(path, Some(&text)).ok()
    }

    /// A patch of these operations; names come from the rows of `like`.
    pub(super) fn told(
        &self,
        path: &RepoPath,
        shadow: &Indexed,
        ops: Vec<Op>,
        like: &FilePatch,
    ) -> FilePatch {
        let before = Self::contents(Some(shadow));
        let mut touched = Vec::new();
        for op in &ops {
            let unit = op.unit().unwrap_or(UnitId::file(path.as_str()));
            let name = like.touched.iter().find(|row| row.unit == unit);
            touched.push(Touched {
                unit,
                name: name.map_or_else(|| path.to_string(), |row| row.name.clone()),
                before: before.get(&unit).copied(),
                after: match op {
                    Op::Replace { text, .. } | Op::Rename { text, .. } => Some(text.hash()),
                    Op::Insert { text, .. } => Some(OwnText::leaf(text.bytes()).hash()),
                    Op::Delete { .. } | Op::File { .. } | Op::Gap { .. } | Op::Move { .. } => None,
                },
            });
            if let (Op::Delete { .. }, Some(at)) = (op, shadow.position(unit)) {
                let inside = at + 1..shadow.outline.units[at].end;
                touched.extend(inside.map(|at| Touched {
                    unit: shadow.ids[at],
                    name: shadow.outline.units[at].qualified.clone(),
                    before: Some(shadow.outline.units[at].own_hash),
                    after: None,
                }));
            }
        }
        let mut seen = BTreeSet::new();
        touched.retain(|row| seen.insert(row.unit));
        let mut patch = FilePatch {
            path: path.to_string(),
            base: Some(shadow.hash()),
            result: None,
            ops,
            touched,
        };
        let after = aura_semantic::apply(Some(shadow), &patch).ok();
        patch.result = after
            .and_then(|applied| applied.after)
            .map(|file| file.hash());
        let file = UnitId::file(path.as_str());
        if let Some(row) = patch.touched.iter_mut().find(|row| row.unit == file) {
            row.after = patch.result.or(row.before);
        }
        patch
    }

    /// The change that brings a whole file to a text, and settles every unit that the team knows of it.
    pub(super) fn file_change(
        &mut self,
        path: &RepoPath,
        text: Option<&Text>,
    ) -> Result<FilePatch, Failure> {
        let before = self.shadow(path)?;
        Ok(self.file_change_from(path, before, text, None))
    }

    /// A text as a file of the team, with the ids that the log uses.
    pub(super) fn as_told(&self, path: &RepoPath, text: &[u8]) -> Indexed {
        let mut told = aura_semantic::index(path.as_str(), text, None, &self.budget);
        self.identify(&mut told, None);
        told
    }

    /// Whether a change of a file as one piece says something of a unit, which it finds in one version and leaves in
    /// another; what `is_left` out of a text that was shown is said nothing of.
    fn is_said(
        &self,
        path: &str,
        (unit, was, is): (UnitId, Option<ContentHash>, Option<ContentHash>),
        stays: bool,
        is_left: bool,
    ) -> bool {
        let heads = self.units.heads(path, unit);
        let is_settled = match heads[..] {
            // Whoever lacks an earlier deletion of it takes this one.
            _ if was.is_some() && is.is_none() => false,
            [] => was == is,
            [head] => self.units.working(path, unit, is) == Some(head),
            _ => false,
        };
        let is_absent = was.is_none() && is.is_none();
        // What is a conflict by itself is settled by itself.
        let is_orphaned = self.units.is_orphaned(path);
        let is_apart = is_orphaned && self.units.is_apart(path, unit) || is_left && is_absent;
        // Nor is anything said of what neither text shows and somebody has.
        let lives = |head: &VersionId| self.units.content(path, unit, *head) != Some(None);
        let is_unseen = is_absent && stays && heads.iter().any(lives);
        !is_settled && !is_apart && !is_unseen
    }

    /// The same from what the file is, or would be if it were here, so that those who have it keep what they did; what is
    /// not here of units that are `left_out` is not settled.
    pub(super) fn file_change_from(
        &self,
        path: &RepoPath,
        before: Option<Indexed>,
        text: Option<&Text>,
        left_out: Option<&BTreeSet<UnitId>>,
    ) -> FilePatch {
        let after = text.map(|text| {
            let bytes = text.bytes();
            let mut after =
                aura_semantic::index(path.as_str(), bytes, before.as_ref(), &self.budget);
            if before.is_none() {
                self.identify(&mut after, None);
            }
            after
        });
        let file = UnitId::file(path.as_str());
        let (was, is) = (
            Self::contents(before.as_ref()),
            Self::contents(after.as_ref()),
        );
        let mut touched = vec![Touched {
            unit: file,
            name: path.to_string(),
            before: was.get(&file).copied(),
            after: is.get(&file).copied(),
        }];
        let named = [&before, &after].into_iter().flatten().flat_map(|file| {
            let names = file.outline.units.iter().map(|unit| &*unit.qualified);
            names.zip(file.ids.iter().copied())
        });
        let mut seen = BTreeSet::from([file]);
        for (name, unit) in named.chain(self.units.units_of(path.as_str())) {
            let (was, is) = (was.get(&unit).copied(), is.get(&unit).copied());
            let is_left = left_out.is_some_and(|left| left.contains(&unit));
            let is_said = self.is_said(path.as_str(), (unit, was, is), text.is_some(), is_left);
            if seen.insert(unit) && is_said {
                touched.push(Touched {
                    unit,
                    name: name.to_owned(),
                    before: was,
                    after: is,
                });
            }
        }
        let base = touched[0].before;
        FilePatch {
            path: path.to_string(),
            base,
            result: touched[0].after,
            ops: vec![Op::File {
                base,
                base_text: before.map(|before| Text(before.bytes.to_vec())),
                text: text.cloned(),
            }],
            touched,
        }
    }
}

/// A unit, and the versions of it that a person has chosen from; and units of which only what is changed was shown.
pub(super) type Shown = (UnitId, Vec<VersionId>, BTreeSet<UnitId>);

pub(super) fn checked(path: &str) -> Result<RepoPath, Failure> {
    RepoPath::try_from(path)
        .map_err(|error| Failure::new(error.id(), Exit::USAGE, error.to_string()))
}

/// The text of a side; `None` when it deleted the unit.
fn text_of(side: &Side, name: &str) -> Result<Option<OwnText>, Failure> {
    match (&side.text, side.content) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(no_text(name)),
    }
}

pub(super) fn no_text(name: &str) -> Failure {
    let message = format!("the text of {name} cannot be read");
    Failure::new("AE-NO-BODY", Exit::REFUSED, message)
        .next("aura members", "see whether this device reads")
}

/// The patch that leaves a unit deleted of which there is nothing here.
fn stays_deleted(path: &str, unit: UnitId, name: &str) -> FilePatch {
    let nothing = Text::default();
    FilePatch {
        path: path.to_owned(),
        base: None,
        result: None,
        ops: vec![Op::Delete {
            unit,
            name: name.to_owned(),
            base: ContentHash::of(nothing.bytes()),
            base_text: nothing,
        }],
        touched: vec![Touched {
            unit,
            name: name.to_owned(),
            before: None,
            after: None,
        }],
    }
}

pub(super) fn no_place(name: &str) -> Failure {
    let message = format!("{name} has no place in the file here");
    Failure::new("AE-NO-PLACE", Exit::STALE, message)
        .next("aura pull", "take what waits, or edit the file and save it")
}

/// The lines that both texts have.
fn common_lines(mine: &[u8], theirs: &[u8]) -> Vec<u8> {
    let kept = kept_lines(mine, theirs);
    let lines = theirs.split_inclusive(|byte| *byte == b'\n').zip(kept);
    let common = lines.filter(|(_, kept)| kept.is_some());
    common.flat_map(|(line, _)| line.to_vec()).collect()
}

/// Both texts where they differ, mine first.
fn both(base: Option<&OwnText>, mine: &OwnText, theirs: &OwnText) -> OwnText {
    let base = base.map_or(&[][..], |base| base.head.bytes());
    let head = match merge_lines(base, mine.head.bytes(), theirs.head.bytes()) {
        LineMerge::Clean(bytes) => bytes,
        LineMerge::Conflict(chunks) => chunks
            .into_iter()
            .flat_map(|chunk| match chunk {
                Chunk::Clean(bytes) => bytes,
                Chunk::Conflict { ours, theirs, .. } => [ours, theirs].concat(),
            })
            .collect(),
    };
    OwnText {
        head: Text(head),
        foot: mine.foot.clone(),
    }
}

/// What is said of a decision that cannot be told to the team.
fn not_queued(why: Option<&Held>) -> Failure {
    match why {
        Some(why @ Held::Zone(fence)) => {
            let name = zone_name(*fence);
            Failure::new("ZONE_HELD", Exit::ZONE_HELD, why.to_string()).next(
                format!("aura zone ask {name} \"text\""),
                "asks its holder for it",
            )
        }
        Some(why) => Failure::new(
            "AE-NOT-QUEUED",
            Exit::BUSY,
            format!("it was not queued: {why}"),
        )
        .next("aura status", "what waits, and for what"),
        None => Failure::new("AE-NOT-QUEUED", Exit::BUSY, "it was not queued")
            .next("aura status", "see what is held back"),
    }
}
