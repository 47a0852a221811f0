//! What of the code this device wrote, wherever others have taken it since.
//!
//! Invariant: it is found from the log alone, in the order in which that was read, and found again when it is read anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_engine::peer::units::{Recorded, Units};
use aura_proto::PeerId;
use aura_semantic::UnitId;

/// Units by file and name.
#[derive(Debug, Default)]
pub(super) struct Own {
    names: BTreeSet<(Arc<str>, Arc<str>)>,
    units: BTreeMap<(Arc<str>, UnitId), Arc<str>>,
    /// How many patches of the log were read.
    read: usize,
}

impl Own {
    /// The log is read anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether this device wrote what has this name in a file now.
    pub(super) fn has(&self, path: &Arc<str>, name: &str) -> bool {
        self.names.contains(&(Arc::clone(path), Arc::from(name)))
    }

    /// Reads on in the log.
    pub(super) fn read(&mut self, units: &Units, device: PeerId) {
        let recorded = units.recorded();
        for (index, patch) in recorded.iter().enumerate().skip(self.read) {
            if patch.origin.writer.peer == device {
                for (unit, name, ..) in &patch.touched {
                    self.insert(&patch.path, *unit, name);
                }
            } else {
                self.follow(units, index, patch);
            }
        }
        self.read = recorded.len();
    }

    fn insert(&mut self, path: &Arc<str>, unit: UnitId, name: &Arc<str>) {
        self.names.insert((Arc::clone(path), Arc::clone(name)));
        self.units
            .insert((Arc::clone(path), unit), Arc::clone(name));
    }

    /// Somebody else may have renamed some of it, or taken it to another file.
    fn follow(&mut self, units: &Units, index: usize, patch: &Recorded) {
        for (row, (unit, name, ..)) in patch.touched.iter().enumerate() {
            if let Some(from) = patch.former_name(*unit) {
                self.rename_members(&patch.path, from, name);
            }
            let here = (Arc::clone(&patch.path), *unit);
            if self.units.contains_key(&here) {
                self.insert(&patch.path, *unit, name);
                let is_gone = patch.is_whole() || units.deed(index, row) == "delete";
                let went = is_gone.then(|| units.went_to(index, *unit)).flatten();
                if let Some((path, to, _)) = went {
                    self.insert(&path, to, name);
                }
            } else if let Some((path, from, _)) = units.moved_by(index, row)
                && self.units.contains_key(&(path, from))
            {
                self.insert(&patch.path, *unit, name);
            }
        }
    }

    /// What is within a unit has another name with it, though nothing says so of each.
    fn rename_members(&mut self, path: &Arc<str>, from: &str, to: &str) {
        let of_file = self.units.iter().filter(|((other, _), _)| other == path);
        let members = of_file.filter_map(|((_, unit), name)| {
            let rest = name.strip_prefix(from)?;
            let name = rest.starts_with("::").then(|| format!("{to}{rest}"))?;
            Some((*unit, Arc::from(name)))
        });
        let members: Vec<(UnitId, Arc<str>)> = members.collect();
        for (unit, name) in members {
            self.insert(path, unit, &name);
        }
    }
}
