//! From the team's versions to the working copy.
//!
//! Invariants:
//! - a unit with edits that the team does not know is never written by anybody but its user;
//! - bytes outside the units that a patch names stay as they are, in the file and in the shadow alike;
//! - a patch that was refused is not carried out again before something that it depends on has changed.

use std::{collections::BTreeMap, sync::Arc};

use aura_engine::peer::{body::VersionId, units::Relation};
use aura_proto::{PeerId, RepoPath};
use aura_semantic::{ContentHash, FilePatch, Indexed, Refusal, UnitId};
use aura_tree::{Expect, WriteRefusal};
use aura_trust::KeyRing;

use super::{Desk, batch};

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
    /// For each touched unit how the patch stands to the version here.
    units: Vec<Relation>,
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
        let content = |unit: UnitId| contents.get(&unit).copied();
        let plan = self.units.plan(&body, &content, shadow.as_ref());
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
            self.units
                .relation(*unit, contents.get(unit).copied(), *version)
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
    pub(super) fn refuse_dirty(
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
