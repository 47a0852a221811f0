//! Who wrote what a file holds, unit by unit and line by line.
//!
//! A line within a unit belongs to the version that wrote it; a line between units to the newest patch that put it
//! there; what no patch tells of is git's. A blank line between units goes with what follows it.
//!
//! Invariant: nothing here changes anything.

use std::collections::BTreeMap;

use aura_api::{Exit, Failure};
use aura_engine::peer::units::{LineOrigin, Recorded};
use aura_proto::RepoPath;
use aura_semantic::{ContentHash, Indexed, Op, OwnText, UnitId, kept_lines};
use aura_trust::KeyRing;

use super::{Desk, symbols::Origin};

/// Patches of one file that are opened for the lines between its units.
const PATCHES_MAX: usize = 1_000;

/// A file and who wrote it.
#[derive(Debug)]
pub(crate) struct Blame {
    pub(crate) file: Indexed,
    /// Of each unit.
    pub(crate) units: Vec<Origin>,
    /// Of each line.
    pub(crate) lines: Vec<Origin>,
}

impl Desk {
    /// Who wrote a file as it is in the working copy.
    pub(crate) fn blame(&mut self, path: &str, ring: &KeyRing) -> Result<Blame, Failure> {
        let missing = || {
            let message = format!("{path} is no file of this working copy that is shared");
            Failure::new("AE-NO-FILE", Exit::USAGE, message)
                .next("aura find TEXT", "symbols with their files")
        };
        let checked = RepoPath::try_from(path).map_err(|_| missing())?;
        let file = self.copy.root().read_file(&checked);
        let file = file.map_err(|_| missing())?;
        let shadow = self.shadow(&checked)?;
        let head = self.shadows.head_text(&checked)?.unwrap_or_default();
        let file = self.indexed(&checked, file.bytes, shadow.as_ref());
        let told = Self::contents(shadow.as_ref());
        let units: Vec<Origin> = file
            .outline
            .units
            .iter()
            .zip(&file.ids)
            .map(|(unit, id)| self.origin(path, *id, unit.own_hash, told.get(id)))
            .collect();
        let mut lines = vec![None; line_count(&file.bytes)];
        self.blame_units(&file, shadow.as_ref(), ring, &mut lines);
        let between = Between {
            shadow: shadow.as_ref().map_or(&[][..], |shadow| &shadow.bytes),
            head: &head,
            written: self.written_between(path, ring),
        };
        let lines = between.complete(&file.bytes, lines);
        Ok(Blame { file, units, lines })
    }

    /// The lines that are a unit's own.
    fn blame_units(
        &self,
        file: &Indexed,
        shadow: Option<&Indexed>,
        ring: &KeyRing,
        lines: &mut [Option<Origin>],
    ) {
        let mut put = |start: usize, origins: &[Origin]| {
            for (line, origin) in lines.iter_mut().skip(start).zip(origins) {
                // Of two units on one line the newer one counts.
                if line.is_none_or(|known| self.rank(known) < self.rank(*origin)) {
                    *line = Some(*origin);
                }
            }
        };
        let whole = UnitId::file(&file.path);
        if file.outline.units.is_empty() {
            let before = shadow.map(|shadow| OwnText::leaf(&shadow.bytes));
            let text = OwnText::leaf(&file.bytes);
            put(0, &self.blame_text(&file.path, whole, &text, before, ring));
            return;
        }
        let breaks = Breaks::of(&file.bytes);
        for (unit, id) in file.outline.units.iter().zip(&file.ids) {
            let before = shadow.and_then(|shadow| {
                let unit = &shadow.outline.units[shadow.position(*id)?];
                Some(unit.own_text(&shadow.bytes))
            });
            let text = unit.own_text(&file.bytes);
            let origins = self.blame_text(&file.path, *id, &text, before, ring);
            let (head, foot) = origins.split_at(line_count(text.head.bytes()).min(origins.len()));
            put(breaks.before(unit.span.start), head);
            if let Some(inner) = &unit.inner {
                put(breaks.before(inner.end), foot);
            }
        }
    }

    /// Who wrote each line of a unit's text, of which the team knows this copy to have had `before`.
    fn blame_text(
        &self,
        path: &str,
        unit: UnitId,
        text: &OwnText,
        before: Option<OwnText>,
        ring: &KeyRing,
    ) -> Vec<Origin> {
        let now = text.flat();
        let Some(before) = before else {
            return vec![Origin::Unpublished; line_count(&now)];
        };
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let content: Option<ContentHash> = Some(before.hash());
        let version = self.units.working(path, unit, content);
        let known = match version {
            Some(version) if self.units.teller(path, unit, version).is_some() => {
                self.units.line_origins(path, unit, version, &bodies)
            }
            Some(_) | None => vec![LineOrigin::Git; line_count(&before.flat())],
        };
        let origin = |old: Option<usize>| match old.map(|old| known.get(old)) {
            None => Origin::Unpublished,
            Some(Some(LineOrigin::Told(index, row))) => Origin::Op(*index, *row),
            Some(Some(LineOrigin::Git)) => Origin::Git,
            Some(Some(LineOrigin::Unknown) | None) => Origin::Unknown,
        };
        kept_lines(&before.flat(), &now)
            .into_iter()
            .map(origin)
            .collect()
    }

    fn rank(&self, origin: Origin) -> (u8, u64, usize) {
        match origin {
            Origin::Unknown => (0, 0, 0),
            Origin::Git => (1, 0, 0),
            Origin::Op(index, _) => {
                let seq = self.units.recorded()[index].origin.seq;
                (2, seq.unwrap_or(u64::MAX), index)
            }
            Origin::Unpublished => (3, 0, 0),
        }
    }

    /// The lines that patches of a file put between its units, each with the newest that did.
    fn written_between(&self, path: &str, ring: &KeyRing) -> BTreeMap<Vec<u8>, Origin> {
        let mut written = BTreeMap::new();
        let recorded = self.units.recorded().iter().enumerate().rev();
        let own = recorded.filter(|(_, recorded)| {
            *recorded.path == *path && *recorded.channel == *self.units.channel()
        });
        for (index, recorded) in own.take(PATCHES_MAX) {
            let Some(body) = self.body(recorded, ring) else {
                continue;
            };
            for op in &body.patch.ops {
                let (before, after) = match op {
                    Op::Gap {
                        base_text, text, ..
                    } => (base_text.bytes(), text.bytes()),
                    Op::Insert { gap, .. } | Op::Move { gap, .. } => (&[][..], gap.bytes()),
                    Op::File {
                        base_text, text, ..
                    } => (
                        base_text.as_ref().map_or(&[][..], |text| text.bytes()),
                        text.as_ref().map_or(&[][..], |text| text.bytes()),
                    ),
                    Op::Delete { .. } | Op::Rename { .. } | Op::Replace { .. } => continue,
                };
                let unit = op.unit().unwrap_or(UnitId::file(path));
                let row = recorded.touched.iter().position(|row| row.0 == unit);
                let kept = kept_lines(before, after);
                let lines = after.split_inclusive(is_end).zip(kept);
                for (line, _) in lines.filter(|(_, kept)| kept.is_none()) {
                    let line = line.trim_ascii_end().to_vec();
                    let origin = Origin::Op(index, row.unwrap_or(0));
                    written.entry(line).or_insert(origin);
                }
            }
        }
        written
    }
}

/// What is known of the lines that no unit has.
struct Between<'a> {
    shadow: &'a [u8],
    head: &'a [u8],
    written: BTreeMap<Vec<u8>, Origin>,
}

impl Between<'_> {
    fn complete(&self, bytes: &[u8], lines: Vec<Option<Origin>>) -> Vec<Origin> {
        let (told, at_head) = (kept_lines(self.shadow, bytes), kept_lines(self.head, bytes));
        let is_kept = |kept: &[Option<usize>], at: usize| kept.get(at).copied().flatten().is_some();
        let texts: Vec<&[u8]> = bytes.split_inclusive(is_end).collect();
        let mut found = vec![Origin::Unknown; lines.len()];
        let mut behind = Origin::Unknown;
        for (at, known) in lines.iter().enumerate().rev() {
            let text = texts.get(at).copied().unwrap_or_default().trim_ascii_end();
            found[at] = match known {
                Some(known) => *known,
                None if !is_kept(&told, at) => Origin::Unpublished,
                None if text.is_empty() && is_kept(&at_head, at) => Origin::Git,
                None if text.is_empty() => behind,
                None => match self.written.get(text) {
                    Some(written) => *written,
                    None if is_kept(&at_head, at) => Origin::Git,
                    None => Origin::Unknown,
                },
            };
            behind = found[at];
        }
        found
    }
}

fn is_end(byte: &u8) -> bool {
    *byte == b'\n'
}

fn line_count(bytes: &[u8]) -> usize {
    bytes.split_inclusive(is_end).count()
}

/// Where the lines of a text end; it is found once and asked for each unit.
struct Breaks(Vec<usize>);

impl Breaks {
    fn of(bytes: &[u8]) -> Self {
        let breaks = bytes.iter().enumerate().filter(|(_, byte)| is_end(byte));
        Self(breaks.map(|(at, _)| at).collect())
    }

    /// How many lines end before an offset: the line in which it stands, counted from zero.
    fn before(&self, offset: usize) -> usize {
        self.0.partition_point(|at| *at < offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_stands_in_the_line_that_counting_from_the_start_gives() {
        for text in ["", "a", "\n", "a\n\nbc\n", "\n\na\r\nb"] {
            let breaks = Breaks::of(text.as_bytes());
            for offset in 0..=text.len() + 1 {
                let before = text.bytes().take(offset).filter(is_end).count();
                assert_eq!(breaks.before(offset), before, "{offset} in {text:?}");
            }
        }
    }
}
