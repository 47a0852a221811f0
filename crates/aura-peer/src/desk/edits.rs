//! What is saved here and was not told to the team.
//!
//! Invariant: it is found as publishing finds it, and nothing is changed by looking.

use std::collections::BTreeSet;

use aura_api::Failure;
use aura_proto::RepoPath;
use aura_semantic::{FilePatch, Indexed, UnitId};

use super::{Desk, take::names};

/// One unit with an edit that the team does not know.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) path: RepoPath,
    pub(crate) unit: UnitId,
    pub(crate) name: String,
    /// What it is here; `None` if it is gone, or is what stands between units.
    pub(crate) mine: Option<String>,
    /// What the team was told; `None` if that is nothing.
    pub(crate) team: Option<String>,
}

/// A file as the team knows it, as it is, and what lies between.
type BeforeAndAfter = (Option<Indexed>, FilePatch, Option<Indexed>);

impl Desk {
    /// The edits in these symbols, or in all files.
    pub(crate) fn edits(&mut self, symbols: &[String]) -> Result<Vec<Edit>, Failure> {
        let mut edits = Vec::new();
        for path in self.changed_files()? {
            let Some((before, patch, after)) = self.edit_of(&path)? else {
                continue;
            };
            let is_wanted = |name: &str| {
                let mut wanted = symbols.iter();
                symbols.is_empty() || wanted.any(|symbol| names(path.as_str(), name, symbol))
            };
            let rows = patch.touched.iter().filter(|row| is_wanted(&row.name));
            edits.extend(rows.map(|row| Edit {
                path: path.clone(),
                unit: row.unit,
                name: row.name.clone(),
                mine: text_of(after.as_ref(), row.unit, &patch),
                team: text_of(before.as_ref(), row.unit, &patch),
            }));
        }
        Ok(edits)
    }

    /// How many files have something that the team was not told: where a save is told at once, what is held back.
    pub(crate) fn unpublished(&mut self) -> Result<usize, Failure> {
        let mut files: BTreeSet<RepoPath> = self.held_back.keys().cloned().collect();
        if !self.saving_publishes() {
            for path in self.changed_files()? {
                if !files.contains(&path) && self.differs(&path) {
                    files.insert(path);
                }
            }
        }
        Ok(files.len())
    }

    fn differs(&self, path: &RepoPath) -> bool {
        self.if_differs(path).is_some()
    }

    /// What a file is, inside nothing where it is gone, if that is not what the team knows.
    fn if_differs(&self, path: &RepoPath) -> Option<Option<Vec<u8>>> {
        match self.copy.root().read_file(path) {
            Ok(file) => (!self.shadows.equals(path, &file.bytes)).then_some(Some(file.bytes)),
            Err(aura_tree::ReadError::Missing) => self.shadows.holds(path).then_some(None),
            Err(_) => None,
        }
    }

    pub(super) fn edit_of(&mut self, path: &RepoPath) -> Result<Option<BeforeAndAfter>, Failure> {
        let Some(disk) = self.if_differs(path) else {
            return Ok(None);
        };
        let disk = disk.filter(|bytes| !aura_tree::is_binary(bytes));
        let before = self.shadow(path)?;
        let after = disk.map(|bytes| self.indexed(path, bytes, before.as_ref()));
        let patch = aura_semantic::extract(before.as_ref(), after.as_ref());
        Ok(patch.map(|patch| (before, patch, after)))
    }
}

/// What a unit says; of a file as one piece the whole file.
fn text_of(file: Option<&Indexed>, unit: UnitId, patch: &FilePatch) -> Option<String> {
    let file = file?;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if unit == UnitId::file(&file.path) {
        return patch.is_whole().then(|| lossy(&file.bytes));
    }
    let at = file.position(unit)?;
    Some(lossy(&file.outline.units[at].own_text(&file.bytes).flat()))
}
