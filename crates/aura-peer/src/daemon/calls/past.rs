//! What was: the log, one operation, a file line by line, symbols, and a text brought back.
//!
//! Invariant: nothing here changes anything but `restore`, and that through the desk.

use std::{collections::BTreeSet, sync::Arc};

use aura_api::{At, Next, docs, shell_operand};
use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    units::{Recorded, Shape},
};
use aura_semantic::{ContentHash, Op, OwnText, UnitId, unified};
use serde_json::Value;

use super::{Answer, Listed, document};
use crate::{
    clock::rfc3339,
    daemon::Daemon,
    desk::{
        Desk,
        restore::Wish,
        symbols::{Origin, Symbol, full},
        then::State,
    },
    docs as shape,
};

/// Operations that `log` shows unless told otherwise.
const OPS_MAX: usize = 1_000;
/// Symbols that `find` shows unless told otherwise.
const FOUND_MAX: usize = 1_000;

/// Which units a history is about; all when none.
type Wanted = Option<BTreeSet<(Arc<str>, UnitId)>>;

impl Daemon {
    pub(in crate::daemon) fn log(&mut self, repo: Option<&str>, listed: &Listed) -> Answer {
        let path = self.repo_of(repo)?;
        let actor = match &listed.actor {
            Some(name) => Some(self.peer_named(name)?),
            None => None,
        };
        let (wanted, symbols) = self.wanted(&path, listed.symbol.as_deref())?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let age_ms = listed.since_ms.unwrap_or(u64::MAX);
        let oldest_ms = self.clock.wall_ms().saturating_sub(age_ms);
        let is_listed = |recorded: &Recorded| {
            let (author, time_ms) = (recorded.origin.writer.peer, recorded.origin.time_ms);
            actor.is_none_or(|actor| actor == author)
                && oldest_ms <= time_ms
                && (!listed.is_auto || recorded.cause == Cause::Merge)
        };
        let recorded = desk.units.recorded().iter().enumerate().rev();
        let rows = recorded
            .filter(|(_, recorded)| is_listed(recorded))
            .flat_map(|(index, recorded)| {
                let rows = recorded.touched.iter().enumerate();
                let is_wanted = |unit: UnitId| match &wanted {
                    Some(wanted) => wanted.contains(&(Arc::clone(&recorded.path), unit)),
                    None => true,
                };
                let rows = rows.filter(move |(_, row)| is_wanted(row.0));
                rows.map(move |(row, _)| (index, row))
            });
        let ops = rows.take(listed.limit.unwrap_or(OPS_MAX));
        let ops = ops.filter_map(|(index, row)| shape::op(&desk.units, index, row, &self.peers));
        document(&docs::Log {
            schema: docs::Log::SCHEMA.to_owned(),
            ops: ops.collect(),
            symbols: symbols.iter().map(Symbol::full).collect(),
        })
    }

    /// The units that a name means, with what they were in other files.
    fn wanted(
        &mut self,
        path: &std::path::Path,
        symbol: Option<&str>,
    ) -> Result<(Wanted, Vec<Symbol>), aura_api::Failure> {
        let Some(symbol) = symbol else {
            return Ok((None, Vec::new()));
        };
        let symbols = self.with_desk(path, |desk, _| desk.symbols(symbol))?;
        let desk = self.desks.get(path);
        let lineage = symbols.iter().flat_map(|symbol| {
            let all = desk.map(|desk| desk.lineage(symbol));
            all.into_iter().flatten()
        });
        let wanted = lineage.map(|one| (one.path, one.unit)).collect();
        Ok((Some(wanted), symbols))
    }

    pub(in crate::daemon) fn show(
        &mut self,
        repo: Option<&str>,
        what: &str,
        at: Option<&At>,
    ) -> Answer {
        let path = self.repo_of(repo)?;
        match at {
            Some(at) => self.show_then(&path, what, at),
            None if what.starts_with("o-") => self.show_op(&path, what),
            None => {
                // The newest of a symbol.
                let symbol = self.with_desk(&path, |desk, _| desk.symbol(what))?;
                let desk = self.desks.get(&path);
                let history =
                    desk.map(|desk| (desk, desk.units.history(&symbol.path, symbol.unit)));
                let newest = history.and_then(|(desk, rows)| {
                    let (index, row) = *rows.last()?;
                    Some(desk.op_name(index, row))
                });
                match newest {
                    Some(op) => self.show_op(&path, &op),
                    None => self.show_then(&path, what, &At::Seq(u64::MAX)),
                }
            }
        }
    }

    fn show_op(&mut self, path: &std::path::Path, op: &str) -> Answer {
        let (index, row, body) = self.with_desk(path, |desk, ring| {
            let (index, row) = desk.operation(op)?;
            Ok((index, row, desk.body_of(index, ring)))
        })?;
        let ring = &self.identity.ring;
        let Some(desk) = self.desks.get(path) else {
            return Ok(Value::Null);
        };
        let recorded = &desk.units.recorded()[index];
        let text = |content: Option<ContentHash>| {
            let bodies = |recorded: &Recorded| desk.body(recorded, ring);
            content.and_then(|content| desk.units.text(content, &bodies))
        };
        let rows = 0..recorded.touched.len();
        let others = rows.filter(|other| *other != row);
        let units: Vec<docs::ShownUnitDoc> = [row]
            .into_iter()
            .chain(others)
            .filter_map(|row| self.shown(desk, (index, row), body.as_ref(), &text))
            .collect();
        let named = shape::op(&desk.units, index, row, &self.peers);
        let author = recorded.origin.writer.peer;
        let next = units
            .first()
            .filter(|unit| unit.before.is_some() || unit.after.is_some());
        let next = next.map(|unit| Next {
            cmd: format!(
                "aura restore --at {} {}",
                unit.op,
                shell_operand(&unit.symbol)
            ),
            why: "brings this text back".to_owned(),
        });
        document(&docs::Shown {
            schema: docs::Shown::SCHEMA.to_owned(),
            op: desk.op_name(index, row),
            symbol: units
                .first()
                .map_or_else(String::new, |unit| unit.symbol.clone()),
            path: recorded.path.to_string(),
            kind: named.map_or_else(|| recorded.kind.to_owned(), |op| op.kind),
            author: shape::name_of(&self.peers, author),
            peer: author.to_string(),
            at: rfc3339(recorded.origin.time_ms),
            seq: recorded.origin.seq,
            why: recorded.why.clone(),
            commit: body.map(|body| body.commit),
            branch: recorded.channel.to_string(),
            joined: recorded.cause == Cause::Merge,
            undone: desk.units.is_undone(index),
            next: next
                .filter(|_| units.first().is_some_and(|unit| unit.after.is_some()))
                .into_iter()
                .collect(),
            units,
        })
    }

    /// What a row of a recorded patch did, with its texts.
    fn shown(
        &self,
        desk: &Desk,
        (index, row): (usize, usize),
        body: Option<&PatchBody>,
        text: &dyn Fn(Option<ContentHash>) -> Option<OwnText>,
    ) -> Option<docs::ShownUnitDoc> {
        let op = shape::op(&desk.units, index, row, &self.peers)?;
        let recorded = &desk.units.recorded()[index];
        let (unit, name, version, _) = recorded.touched.get(row)?;
        let between = body.filter(|_| *unit == UnitId::file(&recorded.path));
        let between = between.map(|body| between_units(&body.patch.ops));
        let is_placed = op.kind == "move" || between.as_ref().is_some_and(Option::is_some);
        let touched = body.and_then(|body| body.patch.touched.get(row));
        let (before, after) = match touched.filter(|_| !is_placed) {
            Some(touched) => (text(touched.before), text(touched.after)),
            None => (None, None),
        };
        let flat = |text: &Option<OwnText>| text.as_ref().map(OwnText::flat);
        let (before, after) = (flat(&before), flat(&after));
        let bytes = |text: &Option<Vec<u8>>| text.clone().unwrap_or_default();
        let diff = match between.flatten() {
            Some(diff) => diff,
            None => unified(&bytes(&before), &bytes(&after)),
        };
        let shown =
            |text: Option<Vec<u8>>| text.map(|text| String::from_utf8_lossy(&text).into_owned());
        let parents = desk.units.parents(&recorded.path, *unit, *version).iter();
        let told = parents.filter(|parent| {
            let teller = desk.units.teller(&recorded.path, *unit, **parent);
            teller.is_some()
        });
        Some(docs::ShownUnitDoc {
            symbol: full(&recorded.path, name),
            path: recorded.path.to_string(),
            parents: told.map(|parent| shape::op_name(*parent)).collect(),
            op: op.op,
            kind: op.kind,
            version: op.version,
            renamed_from: op.renamed_from,
            before: shown(before),
            after: shown(after),
            diff,
        })
    }

    fn show_then(&mut self, path: &std::path::Path, what: &str, at: &At) -> Answer {
        let (symbol, was) = self.with_desk(path, |desk, ring| {
            let symbol = desk.symbol(what)?;
            let was = desk.was(&symbol, at, ring)?;
            Ok((symbol, was))
        })?;
        let Some(desk) = self.desks.get(path) else {
            return Ok(Value::Null);
        };
        let state = match was.state {
            State::Absent => "absent",
            State::Deleted => "deleted",
            State::Present => "present",
            State::Unrecorded => "unrecorded",
        };
        let op = was.from;
        let op = op.and_then(|(index, row)| shape::op(&desk.units, index, row, &self.peers));
        let text = was.text.map(|text| text.flat());
        let at = match at {
            At::Op(op) => op.clone(),
            At::Seq(u64::MAX) => "now".to_owned(),
            At::Seq(seq) => seq.to_string(),
            At::TimeMs(ms) => rfc3339(*ms),
        };
        document(&docs::ThenDoc {
            schema: docs::ThenDoc::SCHEMA.to_owned(),
            symbol: symbol.full(),
            path: symbol.path.to_string(),
            at,
            state: state.to_owned(),
            op,
            text: text.map(|text| String::from_utf8_lossy(&text).into_owned()),
        })
    }

    pub(in crate::daemon) fn blame(&mut self, repo: Option<&str>, file: &str) -> Answer {
        let path = self.repo_of(repo)?;
        let blame = self.with_desk(&path, |desk, ring| desk.blame(file, ring))?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let units = blame.file.outline.units.iter().zip(&blame.units);
        let units = units.map(|(unit, origin)| {
            let (word, op) = self.origin(desk, *origin);
            let (op, author, at, why) = match op {
                Some(op) => (Some(op.op), Some(op.author), Some(op.at), op.why),
                None => (None, None, None, None),
            };
            docs::BlamedUnitDoc {
                symbol: full(file, &unit.qualified),
                kind: unit.kind.word().to_owned(),
                start_line: unit.start_line as u64,
                end_line: unit.end_line as u64,
                origin: word.to_owned(),
                op,
                author,
                at,
                why,
            }
        });
        let text = String::from_utf8_lossy(&blame.file.bytes).into_owned();
        let texts = text
            .split_inclusive('\n')
            .map(|line| line.trim_end_matches(['\r', '\n']));
        let lines = (1..).zip(texts).zip(&blame.lines);
        let lines = lines.map(|((line, text), origin)| {
            let (word, op) = self.origin(desk, *origin);
            let (op, author, at) = match op {
                Some(op) => (Some(op.op), Some(op.author), Some(op.at)),
                None => (None, None, None),
            };
            docs::BlamedLineDoc {
                line,
                origin: word.to_owned(),
                op,
                author,
                at,
                text: text.to_owned(),
            }
        });
        document(&docs::Blamed {
            schema: docs::Blamed::SCHEMA.to_owned(),
            path: file.to_owned(),
            units: units.collect(),
            lines: lines.collect(),
        })
    }

    /// Where something comes from in one word, and the operation if it is one.
    fn origin(&self, desk: &Desk, origin: Origin) -> (&'static str, Option<docs::OpDoc>) {
        match origin {
            Origin::Unknown => ("unknown", None),
            Origin::Git => ("git", None),
            Origin::Unpublished => ("unpublished", None),
            Origin::Op(index, row) => ("op", shape::op(&desk.units, index, row, &self.peers)),
        }
    }

    pub(in crate::daemon) fn find(
        &mut self,
        repo: Option<&str>,
        text: &str,
        at: Option<&At>,
        limit: Option<usize>,
    ) -> Answer {
        let path = self.repo_of(repo)?;
        let limit = limit.unwrap_or(FOUND_MAX);
        let found = self.with_desk(&path, |desk, ring| match at {
            Some(at) => desk.find_at(text, desk.moment(at)?, limit, ring),
            None => desk.find(text, limit),
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let more = limit < found.len();
        let symbols = found.into_iter().take(limit).map(|found| {
            let (word, op) = self.origin(desk, found.origin);
            let (op, author, at) = match op {
                Some(op) => (Some(op.op), Some(op.author), Some(op.at)),
                None => (None, None, None),
            };
            docs::FoundDoc {
                symbol: found.symbol.full(),
                path: found.symbol.path.to_string(),
                kind: found.kind.to_owned(),
                line: found.line.map(|line| line as u64),
                origin: word.to_owned(),
                op,
                author,
                at,
            }
        });
        document(&docs::Found {
            schema: docs::Found::SCHEMA.to_owned(),
            symbols: symbols.collect(),
            more,
        })
    }

    pub(in crate::daemon) fn restore(&mut self, repo: Option<&str>, wish: Wish) -> Answer {
        let path = self.repo_of(repo)?;
        let desk = self.desks.get(&path);
        let first = desk.map_or(0, |desk| desk.units.recorded().len());
        let done = self.with_desk(&path, |desk, ring| desk.restore(&wish, ring))?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let ops = shape::ops_since(&desk.units, first, &self.peers);
        let next = ops.first().map(|op| Next {
            cmd: format!("aura undo {}", op.op),
            why: "takes it back".to_owned(),
        });
        document(&docs::Restored {
            schema: docs::Restored::SCHEMA.to_owned(),
            symbol: done.symbol.full(),
            path: done.symbol.path.to_string(),
            from: done.from.map(|(index, row)| desk.op_name(index, row)),
            state: done.state.to_owned(),
            diff: done.diff,
            ops,
            next: next.into_iter().collect(),
        })
    }

    pub(in crate::daemon) fn dag(
        &mut self,
        repo: Option<&str>,
        symbol: Option<&str>,
        is_quick: bool,
    ) -> Answer {
        let path = self.repo_of(repo)?;
        let (wanted, _) = self.wanted(&path, symbol)?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let ring = &self.identity.ring;
        let diverged = desk.units.forked_count() as u64;
        let conflicts = (!is_quick).then(|| desk.conflicts_unseen(ring).len() as u64);
        let is_meant = |shape: &Shape| match &wanted {
            Some(wanted) => wanted.contains(&(Arc::clone(&shape.path), shape.unit)),
            None => 1 < shape.heads.len() || !shape.forks.is_empty() || !shape.merges.is_empty(),
        };
        let named = |versions: &[VersionId]| versions.iter().copied().map(shape::op_name).collect();
        let units = (!is_quick).then(|| desk.units.shapes().into_iter());
        let units = units.into_iter().flatten().filter(is_meant);
        let units = units.map(|shape| docs::DagUnitDoc {
            symbol: full(&shape.path, &shape.name),
            versions: shape.versions as u64,
            heads: named(&shape.heads),
            forks: named(&shape.forks),
            merges: named(&shape.merges),
        });
        let units = units.collect();
        document(&docs::Dag {
            schema: docs::Dag::SCHEMA.to_owned(),
            diverged: 0 < diverged,
            diverged_units: diverged,
            conflicts,
            units,
        })
    }
}

/// What operations change between units, as `diff -u` shows it; nothing when the file changes as one piece.
fn between_units(ops: &[Op]) -> Option<String> {
    let mut diff = String::new();
    for op in ops {
        match op {
            Op::File { .. } => return None,
            Op::Gap {
                base_text, text, ..
            } => diff += &unified(base_text.bytes(), text.bytes()),
            Op::Delete { .. }
            | Op::Insert { .. }
            | Op::Move { .. }
            | Op::Rename { .. }
            | Op::Replace { .. } => {}
        }
    }
    Some(diff)
}
