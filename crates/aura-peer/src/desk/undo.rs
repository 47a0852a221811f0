//! Taking an own operation back.
//!
//! Invariant: nothing is taken back that somebody has built on since.

use aura_api::{Exit, Failure, shell_operand};
use aura_engine::peer::body::{Cause, VersionId};
use aura_proto::RepoPath;
use aura_semantic::{FilePatch, Op, OwnText, UnitId, bring};
use aura_trust::KeyRing;

use super::{
    Desk,
    decide::{checked, no_place, no_text},
};

impl Desk {
    /// Takes back the newest, or the named, operation of this device.
    pub(crate) fn undo(
        &mut self,
        op: Option<&str>,
        ring: &KeyRing,
    ) -> Result<(String, Vec<String>), Failure> {
        let me = self.key_peer;
        let recorded = self.units.recorded();
        let found = (0..recorded.len()).rev().find(|index| {
            let recorded = &recorded[*index];
            recorded.origin.writer.peer == me
                && match op {
                    Some(op) => recorded.ops().any(|known| known == op),
                    None => recorded.cause != Cause::Undo && !self.units.is_undone(*index),
                }
        });
        let Some(index) = found else {
            let message = "there is no such operation of yours";
            return Err(Failure::new("AE-NO-OP", Exit::USAGE, message)
                .next("aura log", "lists operations with their names"));
        };
        let name = self.units.recorded()[index].op();
        let Some(body) = self.body_of(index, ring) else {
            return Err(no_text(&name));
        };
        for ((unit, ..), row) in body.versions().zip(&body.patch.touched) {
            let heads = self.units.heads(&body.patch.path, unit);
            // What came after and was taken back leads to the same content again.
            let is_here = |head: &VersionId| {
                self.units.content(&body.patch.path, unit, *head) == Some(row.after)
            };
            let is_agreed = matches!(&heads[..], [head] if is_here(head));
            if self.follows_heads(&body.patch, unit) && !is_agreed {
                let message = format!("{} has changed since", row.name);
                return Err(Failure::new("AE-MOVED", Exit::STALE, message).next(
                    format!("aura log {}", shell_operand(&row.name)),
                    "see what came after",
                ));
            }
        }
        let path = checked(&body.patch.path)?;
        let patch = match self.brought_back(index) {
            true => self.file_change(&path, None)?,
            false => self.reverse(&path, &body.patch)?,
        };
        let symbols = body.patch.touched.iter().map(|row| row.name.clone());
        let symbols = symbols.collect();
        self.carry_through(&path, patch, Cause::Undo, None, ring)?;
        Ok((name, symbols))
    }

    /// Whether an own settlement brought a file back that this device had deleted.
    fn brought_back(&self, index: usize) -> bool {
        let recorded = &self.units.recorded()[index];
        let (path, file) = (&*recorded.path, UnitId::file(&recorded.path));
        let is_own_deletion = |version: &VersionId| {
            let teller = self.units.teller(path, file, *version);
            let teller = teller.map(|(told, _)| self.units.recorded()[told].origin.writer.peer);
            self.units.content(path, file, *version) == Some(None) && teller == Some(self.key_peer)
        };
        let mut parents = self.units.file_parents(index).iter();
        recorded.cause == Cause::Resolve && parents.any(is_own_deletion)
    }

    /// The patch that undoes a patch where it was made.
    fn reverse(&mut self, path: &RepoPath, patch: &FilePatch) -> Result<FilePatch, Failure> {
        if let [Op::File { base_text, .. }] = &patch.ops[..] {
            return self.file_change(path, base_text.as_ref());
        }
        let shadow = self.shadow(path)?.ok_or_else(|| no_place(path.as_str()))?;
        let row = |unit: UnitId| patch.touched.iter().find(|row| row.unit == unit);
        let mut ops = Vec::new();
        for op in patch.ops.iter().rev() {
            let then = match op {
                Op::Replace { base_text, .. } | Op::Rename { base_text, .. } => {
                    Some(base_text.clone())
                }
                Op::Delete { base_text, .. } => Some(OwnText::leaf(base_text.bytes())),
                Op::Insert { .. } => None,
                Op::Gap {
                    parent,
                    after,
                    next,
                    base_text,
                    text,
                } => {
                    ops.push(Op::Gap {
                        parent: *parent,
                        after: *after,
                        next: *next,
                        base_text: text.clone(),
                        text: base_text.clone(),
                    });
                    continue;
                }
                Op::Move { name, .. } => {
                    let message = format!("{name} was moved; a move is not taken back");
                    return Err(Failure::new("AE-NO-UNDO", Exit::REFUSED, message)
                        .next("aura publish", "move it in the file, save and publish"));
                }
                Op::File { .. } => continue,
            };
            let unit = op.unit().unwrap_or(UnitId::file(path.as_str()));
            let row = row(unit).ok_or_else(|| no_place(path.as_str()))?;
            let is_whole = then.as_ref().map(OwnText::hash) == row.before;
            let op = bring(&shadow, unit, &row.name, then.as_ref()).filter(|_| is_whole);
            ops.push(op.ok_or_else(|| no_place(&row.name))?);
        }
        Ok(self.told(path, &shadow, ops, patch))
    }
}
