//! Bringing a text of the past back.
//!
//! Invariants:
//! - a unit with edits that the team was not told of is not touched: nothing could give them back;
//! - no byte outside the unit changes, but for the space around one that comes back;
//! - it is published as the user's own edit, so `undo` takes it back.

use aura_api::{At, Exit, Failure};
use aura_engine::peer::{
    body::VersionId,
    units::{Relation, Then},
};
use aura_proto::RepoPath;
use aura_semantic::{
    ContentHash, FilePatch, Indexed, Op, OwnText, Refusal, Text, UnitId, apply, bring, extract,
    outline, unified,
};
use aura_tree::{Expect, WriteRefusal};
use aura_trust::KeyRing;

use super::{
    Desk,
    decide::{checked, no_place, no_text},
    publish::Intent,
    symbols::Symbol,
    take::{explain_write, refusal_id},
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

/// A version of a unit, under the name that it has in the log.
struct Past {
    symbol: Symbol,
    version: VersionId,
    content: ContentHash,
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
        let past = self.past(&symbol, &wish.at)?;
        let from = self
            .units
            .teller(&past.symbol.path, past.symbol.unit, past.version);
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

    /// The version that a unit had; one that it did not have is refused.
    fn past(&self, symbol: &Symbol, at: &At) -> Result<Past, Failure> {
        let moment = self.moment(at)?;
        let lineage = self.lineage(symbol);
        let named = match at {
            At::Op(op) => Some(self.operation(op)?),
            At::Seq(_) | At::TimeMs(_) => None,
        };
        // Whoever names an operation on the unit means that version, whatever came beside it.
        let told = named.and_then(|(index, row)| {
            let recorded = &self.units.recorded()[index];
            let (unit, _, version, _) = recorded.touched.get(row)?;
            let is_it = |one: &&Symbol| one.path == recorded.path && one.unit == *unit;
            let one = lineage.iter().find(is_it)?;
            let content = self.units.content(&one.path, *unit, *version)?;
            let then = match content {
                Some(_) => Then::Version(*version),
                None => Then::Deleted(*version),
            };
            Some((one, then))
        });
        let then = |one| (one, self.units.at(&symbol.path, symbol.unit, moment));
        let (one, then) = told.unwrap_or_else(|| then(symbol));
        let not_then = |what: &str| {
            let message = format!("{} {what}", symbol.name);
            Err(Failure::new("AE-NOT-THEN", Exit::USAGE, message).next(
                format!("aura log {}", symbol.full()),
                "its versions; name one",
            ))
        };
        match then {
            Then::Version(version) => match self.units.content(&one.path, one.unit, version) {
                Some(Some(content)) => Ok(Past {
                    symbol: one.clone(),
                    version,
                    content,
                }),
                Some(None) | None => Err(no_text(&symbol.name)),
            },
            Then::Deleted(_) => not_then("was deleted then"),
            Then::Absent => not_then("had not been written then"),
            Then::Unrecorded => not_then("has no version in the log from then; git has that one"),
        }
    }

    /// What restoring a version changes; nothing where it is here.
    fn change_to(
        &mut self,
        path: &RepoPath,
        symbol: &Symbol,
        past: &Past,
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
        self.refuse_behind(symbol, told)?;
        if told == Some(past.content) {
            return Ok(None);
        }
        let text = self
            .units
            .text(past.content, &|recorded| self.body(recorded, ring))
            .ok_or_else(|| no_past_text(symbol))?;
        if symbol.is_file() {
            let bytes = text.head.0;
            return Ok(Some(Change {
                told: Some(self.indexed(path, bytes.clone(), shadow.as_ref())),
                file: bytes,
                shadow,
                disk,
            }));
        }
        let (Some(known), Some(now)) = (&shadow, &current) else {
            let message = format!("{path} is gone, and {} with it", symbol.name);
            let step = format!("aura restore {path} --at OP");
            return Err(Failure::new("AE-NO-PLACE", Exit::STALE, message)
                .next(step, "brings the file back; see: aura log"));
        };
        let op = match told {
            Some(_) => bring(known, symbol.unit, &symbol.name, Some(&text)),
            None => self.reinsertion(known, symbol, &text, past, ring),
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
        let heads = self.units.heads(&symbol.path, symbol.unit);
        if 1 < heads.len() {
            let message = format!("{} has versions that exclude each other", symbol.name);
            return Err(Failure::new("AE-CONFLICT-OPEN", Exit::CONFLICT, message)
                .next("aura conflicts", "settle it first"));
        }
        let mut standpoint = self.units.standpoint(&symbol.path, symbol.unit, here);
        let is_known =
            |head: &VersionId| self.units.relation_to(&mut standpoint, *head) == Relation::Known;
        if heads.iter().all(is_known) {
            return Ok(());
        }
        let message = format!("a newer version of {} waits here", symbol.name);
        Err(Failure::new("AE-MOVED", Exit::STALE, message)
            .next(format!("aura pull {}", symbol.full()), "take it first"))
    }

    /// The insertion that brings a deleted unit back to its old place, or to the end of its container.
    fn reinsertion(
        &mut self,
        file: &Indexed,
        symbol: &Symbol,
        text: &OwnText,
        past: &Past,
        ring: &KeyRing,
    ) -> Option<Op> {
        let whole = match text.foot {
            None => text.head.clone(),
            Some(_) => self.whole_text(past, ring)?,
        };
        let leaf = OwnText::leaf(whole.bytes());
        let mut op = bring(file, symbol.unit, &symbol.name, Some(&leaf))?;
        let old_place = self.old_place(symbol, ring);
        if let Op::Insert {
            parent,
            after,
            before,
            members,
            ..
        } = &mut op
        {
            *members = self.members(symbol, &whole)?;
            if let Some((siblings, at)) = old_place {
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
        }
        Some(op)
    }

    /// The text of a container with its members, as the patch that deleted or wrote it carries it.
    fn whole_text(&self, past: &Past, ring: &KeyRing) -> Option<Text> {
        let history = self.units.history(&past.symbol.path, past.symbol.unit);
        let texts = history.iter().rev().filter_map(|(index, _)| {
            let body = self.body_of(*index, ring)?;
            body.patch.ops.into_iter().find_map(|op| match op {
                Op::Delete {
                    unit, base_text, ..
                } if unit == past.symbol.unit => Some(base_text),
                Op::Insert { unit, text, .. } if unit == past.symbol.unit => Some(text),
                _ => None,
            })
        });
        let is_it = |text: &Text| {
            let units = outline(&past.symbol.path, text.bytes(), &self.budget).units;
            units.first().map(|unit| unit.own_hash) == Some(past.content)
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

    /// The units that stood beside a unit, and which of them it is: as the commit at hand has them, else as the patch
    /// that wrote it says.
    fn old_place(&mut self, symbol: &Symbol, ring: &KeyRing) -> Option<(Vec<UnitId>, usize)> {
        let path = checked(&symbol.path).ok()?;
        if let Ok(Some(bytes)) = self.shadows.head_text(&path) {
            let head = self.indexed(&path, bytes, None);
            if let Some(at) = head.position(symbol.unit) {
                let parent = head.outline.units[at].parent;
                let units = head.outline.units.iter().zip(&head.ids);
                let siblings = units.filter(|(unit, _)| unit.parent == parent);
                let siblings: Vec<UnitId> = siblings.map(|(_, id)| *id).collect();
                let at = siblings.iter().position(|id| *id == symbol.unit)?;
                return Some((siblings, at));
            }
        }
        let history = self.units.history(&symbol.path, symbol.unit);
        let place = history.iter().rev().find_map(|(index, _)| {
            let body = self.body_of(*index, ring)?;
            body.patch.ops.into_iter().find_map(|op| match op {
                Op::Insert {
                    unit,
                    after,
                    before,
                    ..
                } if unit == symbol.unit => Some((after, before)),
                _ => None,
            })
        });
        let (after, before) = place?;
        let at = usize::from(after.is_some());
        let siblings = after.into_iter().chain([symbol.unit]).chain(before);
        Some((siblings.collect(), at))
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

/// A file after one operation.
fn carried(file: &Indexed, op: Op) -> Result<Indexed, Failure> {
    let patch = FilePatch {
        path: file.path.clone(),
        base: None,
        result: None,
        ops: vec![op],
        touched: Vec::new(),
    };
    let applied = apply(Some(file), &patch).map_err(|refusal| refused(&refusal))?;
    applied.after.ok_or_else(|| no_place(&file.path))
}

/// A failure for a version whose text no patch carries.
fn no_past_text(symbol: &Symbol) -> Failure {
    if !symbol.is_file() {
        return no_text(&symbol.name);
    }
    let message = format!("the log keeps {} by its parts, not as a whole", symbol.path);
    Failure::new("AE-NO-BODY", Exit::REFUSED, message).next(
        format!("aura log {}", symbol.path),
        "its symbols; restore one of them",
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
