//! Which version wrote each line of a unit.
//!
//! Invariants:
//! - a line belongs to the oldest version that it can be followed back to without a gap;
//! - what it costs has a bound: of a longer history the oldest lines are said to be unknown.

use std::collections::BTreeMap;

use aura_semantic::{UnitId, kept_lines};

use super::{super::body::VersionId, Bodies, Units};

/// Steps from a version to one that it follows that are looked at for one unit.
const STEPS_MAX: usize = 1_000;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOrigin {
    /// It was there before the log said anything of the unit.
    Git,
    /// A recorded patch, and its row.
    Told(usize, usize),
    /// Its history is not at hand.
    Unknown,
}

/// For each line that is looked for, where it stands in one version.
type Sought = Vec<(usize, usize)>;

impl Units {
    /// Who wrote each line of a version of a unit of a file: those of the head, then those of the foot.
    pub fn line_origins(
        &self,
        path: &str,
        unit: UnitId,
        version: VersionId,
        bodies: Bodies<'_>,
    ) -> Vec<LineOrigin> {
        let Some(lines) = self.flat_text(path, unit, version, bodies) else {
            return Vec::new();
        };
        let count = lines.split_inclusive(|byte| *byte == b'\n').count();
        let mut found = vec![LineOrigin::Unknown; count];
        let Some(file) = self.files.get(path) else {
            return found;
        };
        // The deepest first: whoever has been looked at is nobody's descendant that is still to come.
        let mut open: BTreeMap<(u32, VersionId), Sought> = BTreeMap::new();
        let all = (0..count).map(|line| (line, line)).collect();
        open.insert((file.graph.depth(unit, version), version), all);
        let mut steps = 0;
        while let Some(((_, version), mut sought)) = open.pop_last() {
            if STEPS_MAX <= steps {
                break;
            }
            let Some((recorded, row)) = self.teller(path, unit, version) else {
                sought
                    .iter()
                    .for_each(|(line, _)| found[*line] = LineOrigin::Git);
                continue;
            };
            let text = self.flat_text(path, unit, version, bodies);
            for parent in self.parents(path, unit, version) {
                // Somebody may have claimed any number of them.
                steps += 1;
                if sought.is_empty() || STEPS_MAX < steps {
                    break;
                }
                let before = self.flat_text(path, unit, *parent, bodies);
                let Some((text, before)) = text.as_ref().zip(before) else {
                    continue;
                };
                let kept = kept_lines(&before, text);
                let old = |at: &usize| kept.get(*at).copied().flatten();
                let below = sought
                    .iter()
                    .filter_map(|(line, at)| Some((*line, old(at)?)));
                let depth = file.graph.depth(unit, *parent);
                open.entry((depth, *parent)).or_default().extend(below);
                sought.retain(|(_, at)| old(at).is_none());
            }
            let told = LineOrigin::Told(recorded, row);
            sought.iter().for_each(|(line, _)| found[*line] = told);
        }
        found
    }

    fn flat_text(
        &self,
        path: &str,
        unit: UnitId,
        version: VersionId,
        bodies: Bodies<'_>,
    ) -> Option<Vec<u8>> {
        let content = self.content(path, unit, version)??;
        Some(self.text(content, bodies)?.flat())
    }
}
