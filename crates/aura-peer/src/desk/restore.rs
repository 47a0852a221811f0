//! Bringing a text of the past back.
//!
//! Invariants:
//! - a unit with edits that the team was not told of is not touched: nothing could give them back;
//! - no byte outside the unit changes, but for the space around one that comes back;
//! - it is published as the user's own edit, so `undo` takes it back.

use aura_api::{At, Exit, Failure, shell_operand, shell_word};
use aura_engine::peer::{body::VersionId, units::Relation};
use aura_proto::RepoPath;
use aura_semantic::{
    ContentHash, FilePatch, Indexed, Op, OwnText, Refusal, Text, UnitId, UnitKind, apply, bring,
    bring_back, extract, outline, unified,
};
use aura_tree::{Expect, WriteRefusal};
use aura_trust::KeyRing;

use super::{
    Desk,
    decide::{checked, no_place, no_text},
    publish::Intent,
    symbols::Symbol,
    take::{Wanted, explain_write, refusal_id},
    then::{State, Was},
};

/// What a restoration did.
#[derive(Debug)]
pub(crate) struct Restoration {
    pub(crate) symbol: Symbol,
    /// The patch and row whose text it is; none where git alone knows it.
    pub(crate) from: Option<(usize, usize)>,
    /// `restored`, `saved`, `same` or `dry_run`.
    pub(crate) state: &'static str,
    pub(crate) diff: String,
}

/// What somebody asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) symbol: String,
    pub(crate) at: At,
    pub(crate) why: Option<String>,
    pub(crate) is_dry_run: bool,
}

/// Where a unit stood.
struct OldPlace {
    /// It and the units beside it, in order.
    siblings: Vec<UnitId>,
    /// Which of them it is.
    at: usize,
    /// What it was, and its name by itself.
    known: (UnitKind, String),
}

/// A file before and after.
struct Change {
    shadow: Option<Indexed>,
    disk: Option<Vec<u8>>,
    /// What the team will know the file to be.
    told: Option<Indexed>,
    /// What the file will be.
    file: Vec<u8>,
}

impl Desk {
    /// Brings the text that a unit had at a moment back into its file, and publishes it.
    pub(crate) fn restore(&mut self, wish: &Wish, ring: &KeyRing) -> Result<Restoration, Failure> {
        super::intent::check_why(wish.why.as_deref())?;
        let symbol = self.symbol(&wish.symbol)?;
        let past = self.past(&symbol, &wish.at, ring)?;
        let from = past.0.from;
        let path = checked(&symbol.path)?;
        let change = self.change_to(&path, &symbol, &past, ring)?;
        let mut done = Restoration {
            symbol,
            from,
            state: "same",
            diff: String::new(),
        };
        let Some(change) = change else {
            return Ok(done);
        };
        let before = change.disk.as_deref().unwrap_or_default();
        done.diff = unified(before, &change.file);
        done.state = "dry_run";
        if !wish.is_dry_run {
            let why = wish.why.clone().or_else(|| {
                let op = from.map(|(index, row)| self.op_name(index, row))?;
                Some(format!("restored from {op}"))
            });
            done.state = self.carry_back(&path, change, why, ring)?;
        }
        Ok(done)
    }

    /// The name of the operation that a row of a recorded patch is.
    pub(crate) fn op_name(&self, index: usize, row: usize) -> String {
        let recorded = self.units.recorded().get(index);
        let name = recorded.and_then(|recorded| recorded.ops().nth(row));
        name.unwrap_or_else(|| "o-".to_owned())
    }

    /// The text that a unit had; one that it did not have is refused.
    fn past(&self, symbol: &Symbol, at: &At, ring: &KeyRing) -> Result<(Was, OwnText), Failure> {
        let mut was = self.was(symbol, at, ring)?;
        let what = match (was.state, was.text.take()) {
            (State::Present, Some(text)) => return Ok((was, text)),
            (State::Present, None) => return Err(no_text(&symbol.name)),
            (State::Absent, _) => "had not been written then",
            (State::Deleted, _) => "was deleted then",
            (State::Unrecorded, _) if symbol.is_file() => {
                "is not kept as a whole from then, only by its symbols"
            }
            (State::Unrecorded, _) => "has no version in the log from then",
        };
        let message = format!("{} {what}", symbol.name);
        let failure = Failure::new("AE-NOT-THEN", Exit::USAGE, message).next(
            format!("aura log {}", shell_operand(symbol.full())),
            "its versions; name one",
        );
        Err(match was.state {
            State::Unrecorded => {
                let step = format!("git log -p -- {}", shell_word(&symbol.path));
                failure.next(step, "what git has of it")
            }
            State::Absent | State::Deleted | State::Present => failure,
        })
    }

    /// What restoring a version changes; nothing where it is here.
    fn change_to(
        &mut self,
        path: &RepoPath,
        symbol: &Symbol,
        (was, text): &(Was, OwnText),
        ring: &KeyRing,
    ) -> Result<Option<Change>, Failure> {
        let shadow = self.shadow(path)?;
        let disk = self.copy.root().read_file(path).ok();
        let disk = disk.map(|file| file.bytes);
        let current = disk
            .clone()
            .map(|bytes| self.indexed(path, bytes, shadow.as_ref()));
        let (told, here) = (
            Self::contents(shadow.as_ref()).get(&symbol.unit).copied(),
            Self::contents(current.as_ref()).get(&symbol.unit).copied(),
        );
        if told != here {
            let message = format!("you have unpublished edits in {}", symbol.name);
            return Err(Failure::new("CONFLICT", Exit::CONFLICT, message).next(
                "aura publish",
                "makes them known first, so that undo has them",
            ));
        }
        match symbol.is_file() {
            true => self.refuse_file_behind(symbol, shadow.as_ref(), ring)?,
            false => self.refuse_behind(symbol, told)?,
        }
        if told == Some(text.hash()) {
            return Ok(None);
        }
        if symbol.is_file() {
            let bytes = text.head.0.clone();
            return Ok(Some(Change {
                told: Some(self.indexed(path, bytes.clone(), shadow.as_ref())),
                file: bytes,
                shadow,
                disk,
            }));
        }
        let (Some(known), Some(now)) = (&shadow, &current) else {
            let message = format!("{path} is gone, and {} with it", symbol.name);
            let step = format!("aura restore --at OP {}", shell_operand(path));
            return Err(Failure::new("AE-NO-PLACE", Exit::STALE, message)
                .next(step, "brings the file back; see: aura log"));
        };
        let op = match told {
            Some(_) => bring(known, symbol.unit, &symbol.name, Some(text)),
            None => self.reinsertion(known, symbol, text, &was.symbol, ring),
        };
        let op = op.ok_or_else(|| no_place(&symbol.name))?;
        let file = carried(now, op.clone())?.bytes.to_vec();
        Ok(Some(Change {
            told: Some(carried(known, op)?),
            file,
            shadow,
            disk,
        }))
    }

    /// Refuses to write on a version that the team has left: that would begin a conflict.
    fn refuse_behind(&self, symbol: &Symbol, here: Option<ContentHash>) -> Result<(), Failure> {
        self.refuse_forked(symbol)?;
        match self.is_behind(symbol, here) {
            true => Err(behind(symbol)),
            false => Ok(()),
        }
    }

    /// The same for a file as one piece: its units speak for it, and whatever else of it waits would be overwritten.
    fn refuse_file_behind(
        &mut self,
        file: &Symbol,
        shadow: Option<&Indexed>,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let mut units = self.units_of_file(&file.path);
        for symbol in std::iter::once(file).chain(&units) {
            self.refuse_forked(symbol)?;
        }
        let told = Self::contents(shadow);
        units.retain(|symbol| !symbol.is_file());
        let mut units = units.iter();
        let is_behind = units.any(|unit| self.is_behind(unit, told.get(&unit.unit).copied()));
        let wanted = Wanted {
            symbols: vec![file.path.to_string()],
            is_dry_run: true,
            ..Wanted::default()
        };
        let waiting = self.take_waiting(&wanted, ring).into_keys();
        let mut paths = waiting.map(|index| &self.units.recorded()[index].path);
        match is_behind || paths.any(|path| *path == file.path) {
            true => Err(behind(file)),
            false => Ok(()),
        }
    }

    /// Whether the team has a version that is not in what is here.
    fn is_behind(&self, symbol: &Symbol, here: Option<ContentHash>) -> bool {
        let mut standpoint = self.units.standpoint(&symbol.path, symbol.unit, here);
        let is_known =
            |head: &VersionId| self.units.relation_to(&mut standpoint, *head) == Relation::Known;
        let heads = self.units.heads(&symbol.path, symbol.unit);
        !heads.iter().all(is_known)
    }

    fn refuse_forked(&self, symbol: &Symbol) -> Result<(), Failure> {
        if self.units.heads(&symbol.path, symbol.unit).len() < 2 {
            return Ok(());
        }
        let message = format!("{} has versions that exclude each other", symbol.name);
        Err(Failure::new("AE-CONFLICT-OPEN", Exit::CONFLICT, message)
            .next("aura conflicts", "settle it first"))
    }

    /// The insertion that brings a deleted unit back to its old place, or to the end of its container.
    fn reinsertion(
        &mut self,
        file: &Indexed,
        symbol: &Symbol,
        text: &OwnText,
        then: &Symbol,
        ring: &KeyRing,
    ) -> Option<Op> {
        let whole = match text.foot {
            None => text.head.clone(),
            Some(_) => self.whole_text(then, text, ring)?,
        };
        let members = match text.foot {
            None => Vec::new(),
            Some(_) => self.members(symbol, &whole)?,
        };
        let place = self.old_place(symbol, ring);
        let known = place.as_ref().map(|place| place.known.clone());
        let named = (symbol.unit, &*symbol.name);
        let mut op = bring_back(file, named, known, &whole, members)?;
        if let (
            Some(OldPlace { siblings, at, .. }),
            Op::Insert {
                parent,
                after,
                before,
                ..
            },
        ) = (place, &mut op)
        {
            let is_here = |unit: &&UnitId| {
                let position = file.position(**unit);
                let above = position.and_then(|at| file.outline.units[at].parent);
                position.is_some() && above.map(|above| file.ids[above]) == *parent
            };
            let previous = siblings[..at].iter().rev();
            let next = siblings[at + 1..].iter().find(is_here).copied();
            // With nobody left of those before it, it stands before the first of those behind.
            match previous.clone().find(is_here) {
                Some(previous) => *after = Some(*previous),
                None if next.is_some() => *after = previous.clone().next().copied(),
                None => {}
            }
            *before = next;
        }
        // Renamed since, or before.
        let renamed = apply(Some(file), &one(file, op.clone()));
        if let (Err(Refusal::NameChanged { found, .. }), Op::Insert { name, .. }) =
            (renamed, &mut op)
        {
            *name = found;
        }
        Some(op)
    }

    /// The text of a container with its members, as the patch that deleted or wrote it carries it.
    fn whole_text(&self, then: &Symbol, own: &OwnText, ring: &KeyRing) -> Option<Text> {
        let history = self.units.history(&then.path, then.unit);
        let texts = history.iter().rev().filter_map(|(index, _)| {
            let body = self.body_of(*index, ring)?;
            body.patch.ops.into_iter().find_map(|op| match op {
                Op::Delete {
                    unit, base_text, ..
                } if unit == then.unit => Some(base_text),
                Op::Insert { unit, text, .. } if unit == then.unit => Some(text),
                _ => None,
            })
        });
        let is_it = |text: &Text| {
            let units = outline(&then.path, text.bytes(), &self.budget).units;
            units.first().map(|unit| unit.own_hash) == Some(own.hash())
        };
        texts.into_iter().find(is_it)
    }

    /// The ids of the units within a text, by the names that the log knows them by.
    fn members(&self, symbol: &Symbol, whole: &Text) -> Option<Vec<UnitId>> {
        let units = outline(&symbol.path, whole.bytes(), &self.budget).units;
        let own = units.first()?.qualified.clone();
        let ids = units[1..].iter().map(|unit| {
            let below = unit.qualified.strip_prefix(&own)?;
            self.units
                .id_of(&symbol.path, &format!("{}{below}", symbol.name))
        });
        ids.collect()
    }

    /// Where a unit stood and what it was: as the commit at hand has it, else as the patch that wrote it says.
    fn old_place(&mut self, symbol: &Symbol, ring: &KeyRing) -> Option<OldPlace> {
        let path = checked(&symbol.path).ok()?;
        if let Ok(Some(bytes)) = self.shadows.head_text(&path) {
            let head = self.indexed(&path, bytes, None);
            if let Some(place) = head.position(symbol.unit) {
                let parent = head.outline.units[place].parent;
                let units = head.outline.units.iter().zip(&head.ids);
                let siblings = units.filter(|(unit, _)| unit.parent == parent);
                let siblings: Vec<UnitId> = siblings.map(|(_, id)| *id).collect();
                let at = siblings.iter().position(|id| *id == symbol.unit)?;
                let own = &head.outline.units[place];
                return Some(OldPlace {
                    siblings,
                    at,
                    known: (own.kind, own.name.clone()),
                });
            }
        }
        let history = self.units.history(&symbol.path, symbol.unit);
        let place = history.iter().rev().find_map(|(index, _)| {
            let body = self.body_of(*index, ring)?;
            body.patch.ops.into_iter().find_map(|op| match op {
                Op::Insert {
                    unit,
                    kind,
                    name,
                    after,
                    before,
                    ..
                } if unit == symbol.unit => Some((after, before, (kind, name))),
                _ => None,
            })
        });
        let (after, before, known) = place?;
        let at = usize::from(after.is_some());
        let siblings = after.into_iter().chain([symbol.unit]).chain(before);
        Some(OldPlace {
            siblings: siblings.collect(),
            at,
            known,
        })
    }

    /// Writes the file and publishes what it became; answers `restored`, or `saved` when it is held back.
    fn carry_back(
        &mut self,
        path: &RepoPath,
        change: Change,
        why: Option<String>,
        ring: &KeyRing,
    ) -> Result<&'static str, Failure> {
        if self.git_moves() {
            return Err(moved("MOVED: git moves files here".to_owned()));
        }
        let disk = change.disk.as_deref();
        let expect = disk.map_or(Expect::Absent, |bytes| Expect::Hash(blake3::hash(bytes)));
        let now = self.clock.mono_ms();
        let replaced = self.copy.replace(now, path, expect, Some(&change.file));
        replaced.map_err(|refusal| match refusal {
            WriteRefusal::NoSpace => super::publish::no_space(),
            refusal => moved(explain_write(&refusal)),
        })?;
        let Some(patch) = extract(change.shadow.as_ref(), change.told.as_ref()) else {
            return Ok("restored");
        };
        self.count_units(path, change.told.as_ref());
        let intent = Intent {
            why,
            symbols: Vec::new(),
        };
        let queued =
            self.publish_patch(path, &intent, (change.shadow, patch, change.told), ring)?;
        self.settle(ring);
        Ok(if queued { "restored" } else { "saved" })
    }
}

/// A patch of one operation.
fn one(file: &Indexed, op: Op) -> FilePatch {
    FilePatch {
        path: file.path.clone(),
        base: None,
        result: None,
        ops: vec![op],
        touched: Vec::new(),
    }
}

/// A file after one operation.
fn carried(file: &Indexed, op: Op) -> Result<Indexed, Failure> {
    let applied = apply(Some(file), &one(file, op)).map_err(|refusal| refused(&refusal))?;
    applied.after.ok_or_else(|| no_place(&file.path))
}

fn behind(symbol: &Symbol) -> Failure {
    let message = format!("a newer version of {} waits here", symbol.name);
    Failure::new("AE-MOVED", Exit::STALE, message).next(
        format!("aura pull {}", shell_operand(symbol.full())),
        "take it first",
    )
}

fn moved(why: String) -> Failure {
    Failure::new("AE-MOVED", Exit::STALE, why)
        .next(
            "aura restore SYMBOL --at OP",
            "again, when the file is at rest",
        )
        .retryable()
}

fn refused(refusal: &Refusal) -> Failure {
    Failure::new(refusal_id(refusal), Exit::STALE, refusal.to_string())
        .next("aura show OP", "shows the text, to be put in by hand")
}
