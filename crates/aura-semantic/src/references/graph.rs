//! The references of all files, and the questions that can be asked of them.
//!
//! Invariants:
//! - an update costs what its file holds; nothing of other files is looked at;
//! - what is asked is found when it is asked, so a graph that was updated equals one that was built anew;
//! - answers depend on the files alone, not on the order in which they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::language::UnitKind;
use crate::references::file::{Definition, FileReferences, NO_UNIT};
use crate::references::resolve::{Def, Resolver};
use crate::references::syntax::Modules;
use crate::value::UnitId;

/// Most callers or callees in one answer.
pub const CALLERS_MAX: usize = 4096;
/// Most names under which one unit is looked for, itself and what imports call it.
const NAMES_MAX: usize = 64;
/// Most references that are looked at for one answer.
const LOOKED_AT_MAX: usize = 1 << 20;
/// Most units that an answer over several steps goes through.
const TRANSITIVE_MAX: usize = 4096;

/// How sure it is that a reference means a unit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The name fits and the unit's type is known where it is used; others fit as well.
    Possible,
    /// One step rests on a guess, and nothing else fits.
    Likely,
    /// Scope, imports and types say so.
    Certain,
}

impl Confidence {
    /// A lower case word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

/// A unit at one end of a reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// How sure it is.
    pub confidence: Confidence,
    /// The file of the unit.
    pub path: Arc<str>,
    /// The unit; none for what stands outside of all units.
    pub unit: Option<UnitId>,
    /// The qualified name of the unit; empty outside of all units.
    pub name: String,
    /// The sort of the unit.
    pub kind: UnitKind,
    /// First line of the unit, counted from one.
    pub line: u32,
}

/// A file in the graph.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: Arc<str>,
    pub(super) refs: FileReferences,
}

type Paths = BTreeSet<Arc<str>>;
type Counted = BTreeMap<Box<str>, BTreeMap<Box<str>, usize>>;

/// Who calls whom in one repository.
#[derive(Debug, Default)]
pub struct Graph {
    pub(super) files: BTreeMap<Arc<str>, File>,
    /// The files in which a name stands.
    mentions: BTreeMap<Box<str>, Paths>,
    /// Definitions by their last name.
    pub(super) named: BTreeMap<Box<str>, BTreeSet<(Arc<str>, u32)>>,
    /// Files by their package.
    pub(super) packages: BTreeMap<Box<str>, Paths>,
    /// Files by their last name.
    pub(super) tails: BTreeMap<Box<str>, Paths>,
    /// What imports call something else, and how often.
    aliases: Counted,
    /// The types that are built upon one of a name, and how often.
    heirs: Counted,
    units: BTreeSet<(UnitId, Arc<str>, u32)>,
    /// What manifests call their directories: name, then directory.
    pub(super) manifests: BTreeSet<(Box<str>, Box<str>)>,
}

/// The directory of a path, without a slash at the end.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn tail(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many files it holds.
    pub fn files_count(&self) -> usize {
        self.files.len()
    }

    /// Puts a file's references in place of those it had; without any the file is gone.
    ///
    /// Paths are relative to the repository, with `/` between their parts.
    pub fn update(&mut self, path: &str, refs: Option<FileReferences>) {
        if let Some(old) = self.files.remove(path) {
            self.index(&old, false);
        }
        if let Some(refs) = refs {
            let path: Arc<str> = path.into();
            let file = File {
                path: path.clone(),
                refs,
            };
            self.index(&file, true);
            self.files.insert(path, file);
        }
    }

    fn index(&mut self, file: &File, adds: bool) {
        let refs = &file.refs;
        let path = &file.path;
        let mentioned: BTreeSet<u32> = refs.parts.iter().map(|part| part.name).collect();
        for name in mentioned {
            put(&mut self.mentions, refs.text(name), path.clone(), adds);
        }
        for (at, definition) in (0_u32..).zip(&refs.definitions) {
            put(
                &mut self.named,
                refs.text(definition.name),
                (path.clone(), at),
                adds,
            );
        }
        for (at, unit) in (0_u32..).zip(&refs.units) {
            let row = (unit.id, path.clone(), at);
            if adds {
                self.units.insert(row);
            } else {
                self.units.remove(&row);
            }
        }
        for import in &refs.imports {
            let last = refs.chain(import.path).last();
            let Some((last, bound)) = last.zip(import.bound) else {
                continue;
            };
            if last.name != bound {
                count(
                    &mut self.aliases,
                    refs.text(last.name),
                    refs.text(bound),
                    adds,
                );
            }
        }
        for (owner, base) in &refs.bases {
            if let Some(base) = refs.chain(*base).last() {
                let owner = refs.text(*owner).rsplit("::").next().unwrap_or_default();
                count(&mut self.heirs, refs.text(base.name), owner, adds);
            }
        }
        put(&mut self.tails, tail(path), path.clone(), adds);
        let package = match refs.syntax().modules {
            Modules::Folder => Some(folder(path)),
            Modules::Package => Some(refs.package.as_deref().unwrap_or_default()),
            _ => None,
        };
        if let Some(package) = package {
            put(&mut self.packages, package, path.clone(), adds);
        }
        if let (None, Some(name)) = (refs.language, &refs.package) {
            let row = (name.clone(), folder(path).into());
            if adds {
                self.manifests.insert(row);
            } else {
                self.manifests.remove(&row);
            }
        }
    }

    /// The units of this name: the qualified one, with or without the path and `::` before it, or the last part.
    pub fn find(&self, name: &str) -> Vec<UnitId> {
        let (path, inside) = self
            .files
            .keys()
            .filter_map(|path| Some((path, name.strip_prefix(&**path)?.strip_prefix("::")?)))
            .next()
            .map_or((None, name), |(path, inside)| (Some(path), inside));
        let last = inside.rsplit("::").next().unwrap_or(inside);
        let rows = self.named.get(last).into_iter().flatten();
        let mut exact = Vec::new();
        let mut others = Vec::new();
        for (at, definition) in rows.filter(|row| path.is_none_or(|path| *path == row.0)) {
            let refs = &self.files[at].refs;
            let definition = &refs.definitions[*definition as usize];
            let Some(unit) = refs.units.get(definition.unit as usize) else {
                continue;
            };
            let qualified = refs.text(definition.qualified);
            if qualified == inside {
                exact.push(unit.id);
            } else if qualified.ends_with(&format!("::{inside}")) {
                others.push(unit.id);
            }
        }
        let mut found = if exact.is_empty() { others } else { exact };
        found.dedup();
        found
    }

    /// The units of a file that have this qualified name, more than one where parameters tell them apart.
    pub fn units_of(&self, path: &str, qualified: &str) -> Vec<UnitId> {
        let Some(file) = self.files.get(path) else {
            return Vec::new();
        };
        let defined = file.refs.defined(qualified);
        let units = defined.map(|at| file.refs.definitions[at].unit);
        let found = units.filter_map(|unit| file.refs.units.get(unit as usize));
        found.map(|unit| unit.id).collect()
    }

    /// Where a unit stands and what it is.
    pub fn unit(&self, unit: UnitId) -> Option<Reference> {
        let (file, at) = self.places(unit).next()?;
        Some(reference(file, at, Confidence::Certain))
    }

    fn places(&self, unit: UnitId) -> impl Iterator<Item = (&File, u32)> {
        let start = (unit, Arc::from(""), 0);
        let rows = self
            .units
            .range(start..)
            .take_while(move |row| row.0 == unit);
        rows.filter_map(|(_, path, at)| Some((self.files.get(path)?, *at)))
    }

    /// The units that refer to a unit, the surest first, then by path and line.
    ///
    /// A unit that only refers to itself is no caller. At most [`CALLERS_MAX`].
    pub fn callers(&self, unit: UnitId) -> Vec<Reference> {
        let mut found: BTreeMap<(Arc<str>, u32), Confidence> = BTreeMap::new();
        let mut resolver = Resolver::new(self);
        let mut left = LOOKED_AT_MAX;
        for (file, at) in self.places(unit) {
            let is_it = |definition: &&Definition| definition.unit == at;
            for definition in file.refs.definitions.iter().filter(is_it) {
                let names = self.names(file, definition);
                for name in &names {
                    for path in self.mentions.get(&**name).into_iter().flatten() {
                        let user = &self.files[path];
                        mentioned(
                            &mut resolver,
                            (file, at),
                            (user, name),
                            &mut left,
                            &mut found,
                        );
                    }
                }
            }
        }
        let qualified = self.unit(unit).map(|unit| unit.name);
        let mut callers = self.ranked(found);
        // What is added to a type names it, as it must.
        callers.retain(|caller| {
            caller.kind != UnitKind::Impl || Some(&caller.name) != qualified.as_ref()
        });
        callers
    }

    /// The names under which a definition may be used.
    fn names(&self, file: &File, definition: &Definition) -> BTreeSet<String> {
        let refs = &file.refs;
        let name = refs.text(definition.name);
        let mut names = BTreeSet::from([name.to_owned()]);
        let mut queue = vec![name.to_owned()];
        let container = refs.text(definition.qualified).rsplit("::").nth(1);
        let is_maker = refs.syntax().makers.contains(&name) || container == Some(name);
        if let Some(container) = container.filter(|_| is_maker) {
            queue.push(container.to_owned());
            let words = refs.syntax().own_type.iter();
            names.extend(words.map(|word| (*word).to_owned()));
            names.insert(container.to_owned());
        }
        if self.is_default(file, name) {
            queue.push("default".to_owned());
        }
        while let Some(name) = queue.pop() {
            let aliases = self.aliases.get(&*name);
            let heirs = self.heirs.get(&*name).filter(|_| is_maker);
            let all = aliases.into_iter().chain(heirs);
            for bound in all.flat_map(BTreeMap::keys) {
                if names.len() < NAMES_MAX && names.insert(bound.to_string()) {
                    queue.push(bound.to_string());
                }
            }
        }
        names
    }

    fn is_default(&self, file: &File, name: &str) -> bool {
        let refs = &file.refs;
        let default = refs.name("default");
        let is_it = |import: &crate::references::file::Import| {
            let path = refs.chain(import.path);
            import.bound == default && path.last().is_some_and(|last| refs.text(last.name) == name)
        };
        name == "default" || (default.is_some() && refs.imports.iter().any(is_it))
    }

    /// The units that a unit refers to, the surest first, then by path and line. At most [`CALLERS_MAX`].
    pub fn callees(&self, unit: UnitId) -> Vec<Reference> {
        let mut found: BTreeMap<(Arc<str>, u32), Confidence> = BTreeMap::new();
        let mut resolver = Resolver::new(self);
        for (file, at) in self.places(unit) {
            for used in file.refs.uses.iter().filter(|used| used.unit == at) {
                for (def, confidence) in resolver.resolve(file, used) {
                    let key = (def.file.path.clone(), def.definition().unit);
                    if key != (file.path.clone(), at) {
                        note(&mut found, key, confidence);
                    }
                }
            }
        }
        self.ranked(found)
    }

    /// The units from which a unit is reached in at most so many steps, each with the number of steps.
    ///
    /// A way is as sure as its least sure step; the shortest way counts.
    pub fn reached_from(&self, unit: UnitId, steps_max: usize) -> Vec<(usize, Reference)> {
        let mut seen = BTreeSet::from([unit]);
        let mut found = Vec::new();
        let mut edge = vec![(unit, Confidence::Certain)];
        for step in 1..=steps_max {
            let mut next = Vec::new();
            for (unit, confidence) in edge {
                for mut caller in self.callers(unit) {
                    caller.confidence = caller.confidence.min(confidence);
                    let is_new = caller.unit.is_some_and(|unit| seen.insert(unit));
                    if let Some(unit) = caller.unit.filter(|_| is_new) {
                        next.push((unit, caller.confidence));
                        found.push((step, caller));
                    }
                    if found.len() >= TRANSITIVE_MAX {
                        return found;
                    }
                }
            }
            edge = next;
        }
        found
    }

    fn ranked(&self, found: BTreeMap<(Arc<str>, u32), Confidence>) -> Vec<Reference> {
        let rows = found.into_iter();
        let mut all: Vec<Reference> = rows
            .map(|((path, at), confidence)| reference(&self.files[&path], at, confidence))
            .collect();
        all.sort_by(|one, other| {
            let key =
                |reference: &Reference| (reference.path.clone(), reference.line, reference.unit);
            let sure = other.confidence.cmp(&one.confidence);
            sure.then_with(|| key(one).cmp(&key(other)))
        });
        all.truncate(CALLERS_MAX);
        all
    }
}

/// Adds what of one file refers to a unit by a name.
fn mentioned<'g>(
    resolver: &mut Resolver<'g>,
    (file, at): (&'g File, u32),
    (user, name): (&'g File, &str),
    left: &mut usize,
    found: &mut BTreeMap<(Arc<str>, u32), Confidence>,
) {
    let Some(wanted) = user.refs.name(name) else {
        return;
    };
    for used in &user.refs.uses {
        let parts = user.refs.chain(used.chain);
        let is_itself = used.unit == at && user.path == file.path;
        if is_itself || !parts.iter().any(|part| part.name == wanted) {
            continue;
        }
        let Some(fewer) = left.checked_sub(1) else {
            return;
        };
        *left = fewer;
        let is_it = |def: &Def<'_>| def.file.path == file.path && def.definition().unit == at;
        for (def, confidence) in resolver.resolve(user, used) {
            if is_it(&def) {
                note(found, (user.path.clone(), used.unit), confidence);
            }
        }
    }
}

fn note(
    found: &mut BTreeMap<(Arc<str>, u32), Confidence>,
    key: (Arc<str>, u32),
    confidence: Confidence,
) {
    let known = found.entry(key).or_insert(confidence);
    *known = (*known).max(confidence);
}

fn reference(file: &File, at: u32, confidence: Confidence) -> Reference {
    let known = file.refs.units.get(at as usize).filter(|_| at != NO_UNIT);
    Reference {
        confidence,
        path: file.path.clone(),
        unit: known.map(|known| known.id),
        name: known.map_or_else(String::new, |known| {
            file.refs.text(known.qualified).to_owned()
        }),
        kind: known.map_or(UnitKind::File, |known| known.kind),
        line: known.map_or(1, |known| known.line),
    }
}

fn put<V: Ord>(map: &mut BTreeMap<Box<str>, BTreeSet<V>>, key: &str, value: V, adds: bool) {
    if adds {
        if let Some(values) = map.get_mut(key) {
            values.insert(value);
        } else {
            map.insert(key.into(), BTreeSet::from([value]));
        }
    } else if let Some(values) = map.get_mut(key) {
        values.remove(&value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}

fn count(counted: &mut Counted, of: &str, what: &str, adds: bool) {
    if adds {
        let inside = counted.entry(of.into()).or_default();
        *inside.entry(what.into()).or_default() += 1;
        return;
    }
    let Some(inside) = counted.get_mut(of) else {
        return;
    };
    if let Some(times) = inside.get_mut(what) {
        *times -= 1;
        if *times == 0 {
            inside.remove(what);
        }
    }
    if inside.is_empty() {
        counted.remove(of);
    }
}
