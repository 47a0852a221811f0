//! What was published and received: list it, take it, settle it, take it back.
//!
//! Invariant: a file is written only through the desk.

use std::collections::BTreeMap;

use aura_api::{Choice, Next, docs};
use aura_semantic::{FilePatch, Op, UnitId};
use serde_json::Value;

use super::{Answer, document, no_conflict};
use crate::daemon::Daemon;
use crate::desk::{
    claim::Meant,
    symbols::full,
    take::{Taken, Wanted},
};
use crate::docs as shape;

impl Daemon {
    pub(in crate::daemon) fn conflicts(&mut self, repo: Option<&str>, id: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        let found = self.with_desk(&path, |desk, ring| Ok(desk.conflicts(ring)))?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let conflicts: Vec<docs::ConflictDoc> = found
            .iter()
            .filter(|conflict| id.is_none_or(|id| conflict.id.starts_with(id)))
            .map(|conflict| shape::conflict(desk, conflict, &self.peers, true))
            .collect();
        if let (Some(id), []) = (id, &conflicts[..]) {
            return Err(no_conflict(id));
        }
        document(&docs::Conflicts {
            schema: docs::Conflicts::SCHEMA.to_owned(),
            conflicts,
        })
    }

    pub(in crate::daemon) fn resolve(
        &mut self,
        repo: Option<&str>,
        ids: &[String],
        choice: &Choice,
    ) -> Answer {
        let path = self.repo_of(repo)?;
        let first = self
            .desks
            .get(&path)
            .map_or(0, |desk| desk.units.recorded().len());
        let resolved = self.with_desk(&path, |desk, ring| {
            let mut count = 0;
            for id in ids {
                let found = desk
                    .conflicts(ring)
                    .into_iter()
                    .find(|c| c.id.starts_with(id.as_str()));
                let conflict = found.ok_or_else(|| no_conflict(id))?;
                desk.resolve(&conflict, choice, ring)?;
                count += 1;
            }
            Ok(count)
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let ops = shape::ops_since(&desk.units, first, &self.peers);
        let next = ops
            .last()
            .map(|op| Next {
                cmd: format!("aura undo {}", op.op),
                why: "takes it back".to_owned(),
            })
            .into_iter()
            .collect();
        document(&docs::Resolved {
            schema: docs::Resolved::SCHEMA.to_owned(),
            ops,
            resolved,
            next,
        })
    }

    pub(in crate::daemon) fn undo(&mut self, repo: Option<&str>, op: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        let first = self
            .desks
            .get(&path)
            .map_or(0, |desk| desk.units.recorded().len());
        let (op, symbols) = self.with_desk(&path, |desk, ring| match op {
            Some(pull) if pull.starts_with("p-") => Ok((pull.to_owned(), desk.undo_pull(pull)?)),
            op => desk.undo(op, ring),
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let ops = shape::ops_since(&desk.units, first, &self.peers);
        document(&docs::Undone {
            schema: docs::Undone::SCHEMA.to_owned(),
            op,
            symbols,
            ops,
        })
    }

    pub(in crate::daemon) fn diff(&mut self, repo: Option<&str>, symbols: &[String]) -> Answer {
        let path = self.repo_of(repo)?;
        self.with_desk(&path, |desk, _| desk.check_symbols(symbols))?;
        let wanted = Wanted {
            symbols: symbols.to_vec(),
            is_dry_run: true,
            ..Wanted::default()
        };
        let (edits, taken) = self.with_desk(&path, |desk, ring| {
            let edits = desk.edits(symbols)?;
            Ok((edits, desk.take_waiting(&wanted, ring)))
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let mut units: BTreeMap<(String, UnitId), docs::DiffDoc> = BTreeMap::new();
        for edit in edits {
            let symbol = full(edit.path.as_str(), &edit.name);
            let row = docs::DiffDoc {
                symbol,
                path: edit.path.to_string(),
                state: "unpublished".to_owned(),
                mine: edit.mine,
                team: edit.team,
            };
            units.insert((row.path.clone(), edit.unit), row);
        }
        for index in taken.keys() {
            let Some(body) = desk.body_of(*index, &self.identity.ring) else {
                continue;
            };
            for row in body.patch.touched.iter() {
                let team = text_after(&body.patch, row.unit);
                let symbol = full(&body.patch.path, &row.name);
                let key = (body.patch.path.clone(), row.unit);
                let known = units.entry(key).or_insert_with(|| docs::DiffDoc {
                    symbol,
                    path: body.patch.path.clone(),
                    state: "incoming".to_owned(),
                    mine: None,
                    team: None,
                });
                if known.state == "unpublished" {
                    known.state = "both".to_owned();
                }
                known.team = team;
            }
        }
        let units = units.into_values().collect();
        document(&docs::Diff {
            schema: docs::Diff::SCHEMA.to_owned(),
            units,
        })
    }

    pub(in crate::daemon) fn pull(
        &mut self,
        repo: Option<&str>,
        (symbols, from, files): (Vec<String>, Option<String>, Option<&str>),
        is_dry_run: bool,
    ) -> Answer {
        let path = self.repo_of(repo)?;
        let files = files.map(Meant::of).transpose()?;
        let from = match from {
            None => None,
            Some(name) => Some(self.peer_named(&name)?),
        };
        self.with_desk(&path, |desk, _| desk.check_symbols(&symbols))?;
        let wanted = Wanted {
            symbols,
            from,
            files,
            is_dry_run,
            is_patient: false,
        };
        let (taken, op) = self.with_desk(&path, |desk, ring| Ok(desk.pull(&wanted, ring)))?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let mut units = Vec::new();
        for (index, taken) in &taken {
            let recorded = &desk.units.recorded()[*index];
            let (outcome, why) = match taken {
                Taken::Applied => ("applied", None),
                Taken::Known => ("known", None),
                Taken::WouldApply => ("would_apply", None),
                Taken::Waiting(why) | Taken::Partly(why) if why.starts_with("CONFLICT") => {
                    ("conflict", Some(why.clone()))
                }
                Taken::Waiting(why) | Taken::Partly(why) => ("waiting", Some(why.clone())),
            };
            for (_, name, ..) in &recorded.touched {
                units.push(docs::PulledDoc {
                    symbol: format!("{}::{name}", recorded.path),
                    path: recorded.path.to_string(),
                    from: shape::name_of(&self.peers, recorded.origin.writer.peer),
                    outcome: outcome.to_owned(),
                    why: why.clone(),
                });
            }
        }
        let applied = units
            .iter()
            .filter(|unit| unit.outcome == "applied")
            .count() as u64;
        document(&docs::Pulled {
            schema: docs::Pulled::SCHEMA.to_owned(),
            units,
            applied,
            op,
        })
    }
}

/// What a patch leaves a unit as; nothing where it is gone, or only its place or what is around it is new.
fn text_after(patch: &FilePatch, unit: UnitId) -> Option<String> {
    let text = patch.ops.iter().find_map(|op| match op {
        Op::Replace { text, .. } | Op::Rename { text, .. } if op.unit() == Some(unit) => {
            Some(text.flat())
        }
        Op::Insert { text, .. } if op.unit() == Some(unit) => Some(text.bytes().to_vec()),
        Op::File {
            text: Some(text), ..
        } if unit == UnitId::file(&patch.path) => Some(text.bytes().to_vec()),
        _ => None,
    })?;
    Some(String::from_utf8_lossy(&text).into_owned())
}
