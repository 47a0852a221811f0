//! From the team's versions to the working copy: take, join, settle, undo.
//!
//! Invariants:
//! - a unit with edits that the team does not know is never written by anybody but its user;
//! - bytes outside the units that a patch names stay as they are, in the file and in the shadow alike;
//! - a patch that was refused is not carried out again before something that it depends on has changed.

use std::{collections::BTreeMap, sync::Arc};

use aura_api::{Choice, Exit, Failure};
use aura_engine::peer::{
    body::{Cause, VersionId},
    units::{Conflict, Relation},
};
use aura_proto::{PeerId, RepoPath};
use aura_semantic::{
    Chunk, ContentHash, FilePatch, Indexed, LineMerge, OwnText, Refusal, Text, UnitId, merge_lines,
};
use aura_tree::{Expect, WriteRefusal};
use aura_trust::KeyRing;

use super::{Desk, Mode, batch, publish::Proposal};

/// What became of one waiting patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Written.
    Applied,
    /// The working copy had it already.
    Known,
    /// It would be written.
    WouldApply,
    /// It stays: why.
    Waiting(String),
}

/// What the outcome of a waiting patch was found for; while it stays, so does the outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    shadow: Option<ContentHash>,
    disk: Result<Option<ContentHash>, String>,
    /// For each touched unit how the patch stands to the version here, and whether the text of that is known.
    units: Vec<(Relation, bool)>,
}

/// A patch carried out in memory.
struct Written {
    expect: Expect,
    file: Option<Indexed>,
    shadow: Option<Indexed>,
}

/// Which waiting patches to take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) symbols: Vec<String>,
    pub(crate) from: Option<PeerId>,
    pub(crate) is_dry_run: bool,
}

impl Desk {
    /// What follows from new versions: joins that this peer owes, and files in live mode.
    pub(crate) fn settle(&mut self, ring: &KeyRing) {
        for due in self.units.due_merges(&|recorded| self.body(recorded, ring)) {
            let proposal = Proposal {
                unit: due.unit,
                name: &due.name,
                path: &due.path,
                base: Some(&due.mine),
                text: Some(&due.merged),
                parents: due.heads.clone(),
                cause: Cause::Merge,
            };
            if self.propose(proposal, ring).unwrap_or(false) {
                self.notice(
                    "merged",
                    Some(due.name.clone()),
                    format!("joined {}", due.name),
                );
            }
        }
        if self.mode == Mode::Live && !self.motion.is_moving() {
            self.take_waiting(&Wanted::default(), ring);
        }
        self.compare_conflicts(ring);
    }

    /// Takes waiting patches in order, again and again until nothing moves.
    pub(crate) fn take_waiting(
        &mut self,
        wanted: &Wanted,
        ring: &KeyRing,
    ) -> BTreeMap<usize, Taken> {
        let mut taken = BTreeMap::new();
        loop {
            let before = self.waiting.len();
            for index in self.waiting.clone() {
                if !self.is_wanted(index, wanted) {
                    continue;
                }
                let outcome = self.take(index, wanted.is_dry_run, ring);
                match &outcome {
                    Taken::Applied | Taken::Known => {
                        self.waiting.remove(&index);
                        self.tried.remove(&index);
                    }
                    Taken::WouldApply | Taken::Waiting(_) => {}
                }
                if outcome != Taken::Known {
                    taken.insert(index, outcome);
                }
            }
            if self.waiting.len() == before {
                return taken;
            }
        }
    }

    /// Patches that the working copy does not have yet, without those that others made superfluous.
    pub(crate) fn incoming(&mut self, ring: &KeyRing) -> BTreeMap<usize, Taken> {
        self.take_waiting(
            &Wanted {
                is_dry_run: true,
                ..Wanted::default()
            },
            ring,
        )
    }

    fn is_wanted(&self, index: usize, wanted: &Wanted) -> bool {
        let Some(recorded) = self.units.recorded().get(index) else {
            return false;
        };
        let on_channel = *recorded.channel == *self.units.channel();
        let from = wanted
            .from
            .is_none_or(|from| recorded.origin.writer.peer == from);
        let symbol = wanted.symbols.is_empty()
            || recorded.touched.iter().any(|(_, name, ..)| {
                wanted
                    .symbols
                    .iter()
                    .any(|symbol| names(&recorded.path, name, symbol))
            });
        on_channel && from && symbol
    }

    fn take(&mut self, index: usize, is_dry_run: bool, ring: &KeyRing) -> Taken {
        let Ok(path) = RepoPath::try_from(&*self.units.recorded()[index].path) else {
            return Taken::Waiting("PATH: its path is not allowed here".to_owned());
        };
        let shadow = self.shadow(&path);
        let disk = match self.copy.root().read_file(&path) {
            Ok(file) => Ok(Some(file.bytes)),
            Err(aura_tree::ReadError::Missing) => Ok(None),
            Err(error) => Err(format!("UNSAFE_TARGET: {}", crate::chain(&error))),
        };
        let standing = self.standing(index, shadow.as_ref(), &disk);
        match self.tried.get(&index) {
            Some((before, taken @ Taken::Waiting(_))) if *before == standing => {
                return taken.clone();
            }
            Some((before, taken)) if *before == standing && is_dry_run => return taken.clone(),
            Some(_) | None => {}
        }
        let Some(body) = self.body_of(index, ring) else {
            return Taken::Waiting("its body cannot be read".to_owned());
        };
        let contents = Self::contents(shadow.as_ref());
        let plan = self
            .units
            .plan(&body, &|unit| contents.get(&unit).copied(), &|recorded| {
                self.body(recorded, ring)
            });
        let patch = match plan {
            Ok(None) => return Taken::Known,
            Ok(Some(patch)) => patch,
            Err(obstacle) => {
                let why = if self.units.heads(obstacle.unit).len() < 2 {
                    "BASE_MISMATCH: this working copy has another version of"
                } else {
                    "CONFLICT: concurrent with the version here of"
                };
                return Taken::Waiting(format!("{why} {}", obstacle.name));
            }
        };
        let disk = match disk {
            Ok(disk) => disk,
            Err(why) => return Taken::Waiting(why),
        };
        let written = self.prepare(&path, shadow, disk, &patch);
        let taken = match &written {
            Ok(_) => Taken::WouldApply,
            Err(why) => Taken::Waiting(why.clone()),
        };
        self.tried.insert(index, (standing, taken.clone()));
        match written {
            Ok(written) if !is_dry_run => self.write(&path, &patch, &written),
            Ok(_) | Err(_) => taken,
        }
    }

    /// What the outcome of a waiting patch depends on.
    fn standing(
        &self,
        index: usize,
        shadow: Option<&Indexed>,
        disk: &Result<Option<Vec<u8>>, String>,
    ) -> Standing {
        let contents = Self::contents(shadow);
        let unit = |(unit, _, version, _): &(UnitId, Arc<str>, VersionId, usize)| {
            let content = contents.get(unit).copied();
            let has_text = content.is_some_and(|content| self.units.carries(content));
            (self.units.relation(*unit, content, *version), has_text)
        };
        Standing {
            shadow: shadow.map(Indexed::hash),
            disk: disk
                .as_ref()
                .map(|disk| disk.as_deref().map(ContentHash::of))
                .map_err(Clone::clone),
            units: self.units.recorded()[index]
                .touched
                .iter()
                .map(unit)
                .collect(),
        }
    }

    /// Applies a patch to file and shadow, both in memory.
    fn prepare(
        &self,
        path: &RepoPath,
        shadow: Option<Indexed>,
        disk: Option<Vec<u8>>,
        patch: &FilePatch,
    ) -> Result<Written, String> {
        let expect = disk
            .as_ref()
            .map_or(Expect::Absent, |bytes| Expect::Hash(blake3::hash(bytes)));
        let is_same = disk.as_deref() == shadow.as_ref().map(|shadow| &shadow.bytes[..]);
        let current = if is_same {
            shadow.clone()
        } else {
            disk.map(|bytes| {
                aura_semantic::index(path.as_str(), bytes, shadow.as_ref(), &self.budget)
            })
        };
        self.refuse_dirty(patch, shadow.as_ref(), current.as_ref())?;
        let applied = aura_semantic::apply(current.as_ref(), patch).map_err(|r| explain(&r))?;
        let shadow = if is_same {
            applied.after.clone()
        } else {
            aura_semantic::apply(shadow.as_ref(), patch)
                .map_err(|r| explain(&r))?
                .after
        };
        Ok(Written {
            expect,
            file: applied.after,
            shadow,
        })
    }

    /// Replaces the file; nothing is written on any refusal.
    fn write(&mut self, path: &RepoPath, patch: &FilePatch, written: &Written) -> Taken {
        let bytes = written.file.as_ref().map(|file| &file.bytes[..]);
        let row = self.batch.is_some().then(|| batch::Row {
            path: path.clone(),
            before: self.copy.root().read_file(path).ok().map(|file| file.bytes),
            after: bytes.map(<[u8]>::to_vec),
            shadow: self.shadows.kept(path),
        });
        let replaced = self
            .copy
            .replace(self.clock.mono_ms(), path, written.expect, bytes)
            .map_err(|refusal| explain_write(&refusal));
        let kept = replaced.and_then(|_| {
            self.shadows
                .set(path, written.shadow.as_ref())
                .map_err(|failure| failure.message)
        });
        if let Err(why) = kept {
            return Taken::Waiting(why);
        }
        if let (Some(batch), Some(row)) = (&mut self.batch, row) {
            batch.note(row);
        }
        let symbol = patch.touched.first().map(|row| row.name.clone());
        self.notice("applied", symbol.clone(), symbol.unwrap_or_default());
        Taken::Applied
    }

    /// Refuses to touch units that the user has edited since the shadow was taken.
    fn refuse_dirty(
        &self,
        patch: &FilePatch,
        shadow: Option<&Indexed>,
        current: Option<&Indexed>,
    ) -> Result<(), String> {
        let (known, here) = (Self::contents(shadow), Self::contents(current));
        let file = UnitId::file(&patch.path);
        for row in patch.touched.iter().filter(|row| row.unit != file) {
            if known.get(&row.unit) != here.get(&row.unit)
                && here.get(&row.unit) != row.after.as_ref()
            {
                return Err(format!(
                    "CONFLICT: you have unpublished edits in {}",
                    row.name
                ));
            }
        }
        Ok(())
    }

    /// Settles a conflict; answers the text that was chosen.
    pub(crate) fn resolve(
        &mut self,
        conflict: &Conflict,
        choice: &Choice,
        ring: &KeyRing,
    ) -> Result<(), Failure> {
        let mine = conflict.mine.text.as_ref();
        let theirs = conflict.theirs.text.as_ref();
        let text: Option<OwnText> = match choice {
            Choice::Mine => mine.cloned(),
            Choice::Theirs => theirs.cloned(),
            Choice::Both => match (mine, theirs) {
                (Some(mine), Some(theirs)) => Some(both(conflict.base.as_ref(), mine, theirs)),
                (one, other) => one.or(other).cloned(),
            },
            Choice::With { bytes } => {
                let foot = mine.or(theirs).and_then(|text| text.foot.clone());
                Some(OwnText {
                    head: Text(bytes.clone()),
                    foot,
                })
            }
        };
        let path = RepoPath::try_from(conflict.path.as_str())
            .map_err(|error| Failure::new("PATH", Exit::USAGE, error.to_string()))?;
        let base = mine.or(theirs).cloned();
        if let (Some(text), Some(shadow)) = (&text, self.shadow(&path))
            && shadow.position(conflict.unit).is_some()
        {
            aura_semantic::splice(&shadow, conflict.unit, text).map_err(|refusal| {
                Failure::new("NOT_ONE_FUNCTION", Exit::USAGE, refusal.to_string()).next(
                    format!("aura resolve {} --edit", conflict.id),
                    "give another text",
                )
            })?;
        }
        let proposal = Proposal {
            unit: conflict.unit,
            name: &conflict.name,
            path: &conflict.path,
            base: base.as_ref(),
            text: text.as_ref(),
            parents: conflict.heads.clone(),
            cause: Cause::Resolve,
        };
        if !self.propose(proposal, ring)? {
            return Err(Failure::new(
                "AE-NOT-QUEUED",
                Exit::BUSY,
                "the settlement was not queued",
            ));
        }
        self.take_own(ring);
        Ok(())
    }

    /// Takes back the newest, or the named, operation of this device.
    pub(crate) fn undo(
        &mut self,
        op: Option<&str>,
        ring: &KeyRing,
    ) -> Result<(String, Vec<String>), Failure> {
        let me = self.key_peer;
        let found = self.units.recorded().iter().rposition(|recorded| {
            recorded.origin.writer.peer == me
                && match op {
                    Some(op) => recorded.op() == op,
                    None => recorded.cause != Cause::Undo,
                }
        });
        let Some(index) = found else {
            return Err(Failure::new(
                "AE-NO-OP",
                Exit::USAGE,
                "there is no such operation of yours",
            )
            .next("aura log", "lists operations with their names"));
        };
        let recorded = self.units.recorded()[index].clone();
        let Some(body) = self.body_of(index, ring) else {
            return Err(Failure::new(
                "AE-NO-BODY",
                Exit::REFUSED,
                "its body cannot be read",
            ));
        };
        for ((unit, version, _), row) in body.versions().zip(&body.patch.touched) {
            if self.units.heads(unit) != [version] {
                let message = format!("{} has changed since", row.name);
                return Err(Failure::new("AE-MOVED", Exit::STALE, message)
                    .next(format!("aura log {}", row.name), "see what came after"));
            }
        }
        let mut names = Vec::new();
        for ((unit, version, _), row) in body.versions().zip(&body.patch.touched) {
            let text = |content: Option<ContentHash>| {
                self.units
                    .text(content?, &|recorded| self.body(recorded, ring))
            };
            let (now, then) = (text(row.after), text(row.before));
            let proposal = Proposal {
                unit,
                name: &row.name,
                path: &body.patch.path,
                base: now.as_ref(),
                text: then.as_ref(),
                parents: vec![version],
                cause: Cause::Undo,
            };
            if self.propose(proposal, ring)? {
                names.push(row.name.clone());
            }
        }
        self.take_own(ring);
        Ok((recorded.op(), names))
    }

    /// Writes what this device decided itself, in whatever mode.
    fn take_own(&mut self, ring: &KeyRing) {
        let wanted = Wanted {
            from: Some(self.key_peer),
            ..Wanted::default()
        };
        self.take_waiting(&wanted, ring);
        self.compare_conflicts(ring);
    }
}

/// Whether `symbol`, as typed, means the unit `name` of `path`.
pub(crate) fn names(path: &str, name: &str, symbol: &str) -> bool {
    let full = format!("{path}::{name}");
    symbol == name
        || symbol == full
        || name.ends_with(&format!("::{symbol}"))
        || full.ends_with(&format!("/{symbol}"))
        || symbol == path
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

fn explain(refusal: &Refusal) -> String {
    format!("{}: {refusal}", refusal_id(refusal))
}

fn refusal_id(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Ambiguous { .. } => "AMBIGUOUS",
        Refusal::BaseMismatch { .. } => "BASE_MISMATCH",
        Refusal::Conflict(_) => "CONFLICT",
        Refusal::NameChanged { .. } => "NAME_CHANGED",
        Refusal::NotOneFunction { .. } => "NOT_ONE_FUNCTION",
        Refusal::ParseBudget => "PARSE_BUDGET",
        Refusal::TooDeep => "TOO_DEEP",
        Refusal::TooLarge => "TOO_LARGE",
        Refusal::Unsupported { .. } => "UNSUPPORTED",
        Refusal::WouldNotParse { .. } => "WOULD_NOT_PARSE",
    }
}

pub(super) fn explain_write(refusal: &WriteRefusal) -> String {
    let id = match refusal {
        WriteRefusal::Moved => "MOVED",
        WriteRefusal::NoSpace => "NO_SPACE",
        WriteRefusal::UnsafeTarget { .. } => "UNSAFE_TARGET",
        _ => "STORAGE",
    };
    format!("{id}: {}", crate::chain(refusal))
}
