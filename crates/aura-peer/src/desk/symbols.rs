//! Which unit a person means, and which units there are.
//!
//! Invariants:
//! - a name means what it names now before it means what was called so once;
//! - a name that means more than one unit is refused, and one that means none is never taken for an empty answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_api::{At, Exit, Failure, shell_operand};
use aura_engine::peer::{
    body::VersionId,
    units::{Moment, Recorded, Then},
};
use aura_proto::RepoPath;
use aura_semantic::{ContentHash, Indexed, UnitId};

use aura_trust::KeyRing;

use super::{Desk, take::names};

/// The id of the failure for a name that nobody has.
const NO_SYMBOL: &str = "AE-NO-SYMBOL";
/// Candidates that are named to whoever meant one of several.
const CANDIDATES_MAX: usize = 5;
/// Files whose names are compared with one that nobody has.
const NEAR_FILES_MAX: usize = 300;
/// How alike a name must be to be offered instead, of 1.
const NEAR: f64 = 0.8;

/// A unit that somebody named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Symbol {
    pub(crate) path: Arc<str>,
    pub(crate) unit: UnitId,
    /// What it is called now, or was last.
    pub(crate) name: String,
}

impl Symbol {
    /// Its full name.
    pub(crate) fn full(&self) -> String {
        full(&self.path, &self.name)
    }

    pub(crate) fn is_file(&self) -> bool {
        self.unit == UnitId::file(&self.path)
    }
}

/// Where what a unit is here comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Its history is not at hand.
    Unknown,
    /// Only git knows it.
    Git,
    /// A recorded patch, and its row.
    Op(usize, usize),
    /// It is saved here and the team was not told.
    Unpublished,
}

/// A unit of the working copy.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) symbol: Symbol,
    pub(crate) kind: &'static str,
    /// Its first line, counted from one; none in the past.
    pub(crate) line: Option<usize>,
    pub(crate) origin: Origin,
}

/// A unit that was there at a moment.
enum Found {
    /// As the working copy has it.
    Here(Sighting),
    /// As a version of it was; its text is not opened yet.
    Then(Symbol, VersionId),
}

impl Found {
    fn symbol(&self) -> &Symbol {
        match self {
            Self::Here(sighting) => &sighting.symbol,
            Self::Then(symbol, _) => symbol,
        }
    }
}

/// What the log last said of a unit.
struct Known<'a> {
    name: &'a Arc<str>,
    is_there: bool,
    is_named_so: bool,
}

impl Desk {
    /// The units that a name means: all of one file when it is a path, else those of one full name.
    pub(crate) fn symbols(&mut self, wanted: &str) -> Result<Vec<Symbol>, Failure> {
        if let Some((path, line)) = place_of(wanted) {
            let found = self.symbol_at(path, line)?;
            return found
                .map(|symbol| vec![symbol])
                .ok_or_else(|| self.no_symbol(wanted));
        }
        if let Some(path) = self.known_path(wanted) {
            return Ok(self.units_of_file(&path));
        }
        let mut found = self.logged(wanted);
        if found.is_empty() {
            found = self.present(wanted)?;
        }
        let full: BTreeSet<String> = found.iter().map(Symbol::full).collect();
        match full.len() {
            0 => Err(self.no_symbol(wanted)),
            1 => Ok(found),
            _ => Err(ambiguous(wanted, &full)),
        }
    }

    /// The one unit that a name means; the file itself when it is a path.
    pub(crate) fn symbol(&mut self, wanted: &str) -> Result<Symbol, Failure> {
        if let Some(path) = self.known_path(wanted) {
            return Ok(Symbol {
                unit: UnitId::file(&path),
                name: path.to_string(),
                path,
            });
        }
        let mut found = self.symbols(wanted)?;
        match (found.pop(), found.pop()) {
            (Some(symbol), None) => Ok(symbol),
            (Some(symbol), Some(_)) => {
                let message = format!("more than one unit is called {}", symbol.full());
                Err(Failure::new("AE-AMBIGUOUS", Exit::USAGE, message).next(
                    format!("aura blame {}", shell_operand(&symbol.path)),
                    "shows their lines; name one as FILE:LINE",
                ))
            }
            (None, _) => Err(self.no_symbol(wanted)),
        }
    }

    fn known_path(&self, wanted: &str) -> Option<Arc<str>> {
        let path = RepoPath::try_from(wanted).ok()?;
        let mut recorded = self.units.recorded().iter();
        let is_logged = recorded.any(|recorded| *recorded.path == *wanted);
        (is_logged || self.files.has(&path)).then(|| wanted.into())
    }

    /// Every unit of a file that the log speaks of, by the name that it had last.
    pub(super) fn units_of_file(&self, path: &Arc<str>) -> Vec<Symbol> {
        let recorded = self.units.recorded().iter();
        let rows = recorded.filter(|recorded| recorded.path == *path);
        let rows = rows.flat_map(|recorded| &recorded.touched);
        let latest: BTreeMap<UnitId, &Arc<str>> =
            rows.map(|(unit, name, ..)| (*unit, name)).collect();
        let symbol = |(unit, name): (UnitId, &Arc<str>)| Symbol {
            path: Arc::clone(path),
            unit,
            name: name.to_string(),
        };
        latest.into_iter().map(symbol).collect()
    }

    /// The units that the log knows by a name: those that have it now, else those that had it once.
    fn logged(&self, wanted: &str) -> Vec<Symbol> {
        let mut known: BTreeMap<(&Arc<str>, UnitId), Known<'_>> = BTreeMap::new();
        let mut once: BTreeSet<(&Arc<str>, UnitId)> = BTreeSet::new();
        for recorded in self.units.recorded() {
            for (unit, name, version, _) in &recorded.touched {
                let key = (&recorded.path, *unit);
                let is_meant = |name: &str| names(&recorded.path, name, wanted);
                let is_named_so = is_meant(name);
                let former = recorded.former_name(*unit);
                if is_named_so || former.is_some_and(|former| is_meant(former)) {
                    once.insert(key);
                }
                let content = self.units.content(&recorded.path, *unit, *version);
                known.insert(
                    key,
                    Known {
                        name,
                        is_there: content.flatten().is_some(),
                        is_named_so,
                    },
                );
            }
        }
        known.retain(|key, _| once.contains(key));
        // What is there under this name, then what was deleted under it, then what is called otherwise now.
        for better in [
            |known: &Known<'_>| known.is_named_so && known.is_there,
            |known: &Known<'_>| known.is_named_so,
        ] {
            if known.values().any(better) {
                known.retain(|_, known| better(known));
                break;
            }
        }
        let symbol = |((path, unit), known): ((&Arc<str>, UnitId), Known<'_>)| Symbol {
            path: Arc::clone(path),
            unit,
            name: known.name.to_string(),
        };
        known.into_iter().map(symbol).collect()
    }

    /// The units of the working copy that a name means.
    fn present(&mut self, wanted: &str) -> Result<Vec<Symbol>, Failure> {
        let last = wanted.rsplit("::").next().unwrap_or(wanted);
        let is_meant = |path: &str, name: &str| names(path, name, wanted);
        let found = self.look_for(last, &is_meant, usize::MAX)?;
        Ok(found.into_iter().map(|found| found.symbol).collect())
    }

    /// Units of the working copy whose names contain a text, upper and lower case alike.
    pub(crate) fn find(&mut self, text: &str, limit: usize) -> Result<Vec<Sighting>, Failure> {
        let wanted = text.to_lowercase();
        let is_meant = |path: &str, name: &str| contains(path, name, &wanted);
        let name = text.rsplit_once('/').map_or(text, |(_, name)| {
            name.split_once("::").map_or("", |(_, name)| name)
        });
        self.look_for(name, &is_meant, limit)
    }

    /// The same as it was at a moment: of what the log speaks, that; of what it does not, what the working copy has.
    /// Of more than `limit` that are found one more is answered.
    pub(crate) fn find_at(
        &mut self,
        text: &str,
        moment: Moment,
        limit: usize,
        ring: &KeyRing,
    ) -> Result<Vec<Sighting>, Failure> {
        let here = self.find(text, usize::MAX)?;
        let then = self.units.all_at(moment);
        let told: BTreeSet<(Arc<str>, UnitId)> = then
            .iter()
            .map(|(path, unit, ..)| (Arc::clone(path), *unit))
            .collect();
        let is_silent = |found: &Sighting| {
            let key = (Arc::clone(&found.symbol.path), found.symbol.unit);
            found.origin == Origin::Git && !told.contains(&key)
        };
        let here = here.into_iter().filter(is_silent).map(Found::Here);
        let wanted = text.to_lowercase();
        let then = then.into_iter().filter_map(|(path, unit, name, then)| {
            let Then::Version(version) = then else {
                return None;
            };
            let is_meant = unit != UnitId::file(&path) && contains(&path, &name, &wanted);
            let name = name.to_string();
            is_meant.then_some(Found::Then(Symbol { path, unit, name }, version))
        });
        let mut found: Vec<Found> = here.chain(then).collect();
        found.sort_by_cached_key(|found| found.symbol().full());
        // Before texts are opened: that costs, and nobody sees the others.
        found.truncate(limit.saturating_add(1));
        let sighting = |found| match found {
            Found::Here(sighting) => sighting,
            Found::Then(symbol, version) => self.sighting_of(symbol, version, ring),
        };
        Ok(found.into_iter().map(sighting).collect())
    }

    /// A unit as a version of it was.
    fn sighting_of(&self, symbol: Symbol, version: VersionId, ring: &KeyRing) -> Sighting {
        let (path, unit) = (&symbol.path, symbol.unit);
        let content = self.units.content(path, unit, version).flatten();
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let text = content.and_then(|content| self.units.text(content, &bodies));
        let kind = text.and_then(|text| {
            let units = aura_semantic::outline(path, &text.flat(), &self.budget).units;
            units.first().map(|unit| unit.kind.word())
        });
        let told = self.units.teller(path, unit, version);
        Sighting {
            kind: kind.unwrap_or("unknown"),
            line: None,
            origin: told.map_or(Origin::Git, |(index, row)| Origin::Op(index, row)),
            symbol,
        }
    }

    /// Units of the working copy that `is_meant` accepts, where the file holds all words of `needle`.
    fn look_for(
        &mut self,
        needle: &str,
        is_meant: &dyn Fn(&str, &str) -> bool,
        limit: usize,
    ) -> Result<Vec<Sighting>, Failure> {
        let words = words(needle);
        let paths: Vec<RepoPath> = self.files.paths().cloned().collect();
        let mut found = Vec::new();
        for path in paths {
            let Ok(file) = self.copy.root().read_file(&path) else {
                continue;
            };
            if !words.iter().all(|word| holds(&file.bytes, word)) {
                continue;
            }
            let outline = aura_semantic::outline(path.as_str(), &file.bytes, &self.budget);
            let mut units = outline.units.iter();
            if !units.any(|unit| is_meant(path.as_str(), &unit.qualified)) {
                continue;
            }
            let shadow = self.shadow(&path)?;
            let here = self.indexed(&path, file.bytes, shadow.as_ref());
            let told = Self::contents(shadow.as_ref());
            for (unit, id) in here.outline.units.iter().zip(&here.ids) {
                if unit.name.is_empty() || !is_meant(path.as_str(), &unit.qualified) {
                    continue;
                }
                found.push(Sighting {
                    origin: self.origin(path.as_str(), *id, unit.own_hash, told.get(id)),
                    kind: unit.kind.word(),
                    line: Some(unit.start_line),
                    symbol: Symbol {
                        path: path.as_str().into(),
                        unit: *id,
                        name: unit.qualified.clone(),
                    },
                });
            }
            if limit < found.len() {
                break;
            }
        }
        Ok(found)
    }

    /// A file of the working copy with the ids that the log uses.
    pub(super) fn indexed(
        &self,
        path: &RepoPath,
        bytes: Vec<u8>,
        shadow: Option<&Indexed>,
    ) -> Indexed {
        let mut here = aura_semantic::index(path.as_str(), bytes, shadow, &self.budget);
        if shadow.is_none() {
            self.identify(&mut here, None);
        }
        here
    }

    /// Where a unit with this content comes from, of which the team knows this copy to have `told`.
    pub(super) fn origin(
        &self,
        path: &str,
        unit: UnitId,
        content: ContentHash,
        told: Option<&ContentHash>,
    ) -> Origin {
        if told != Some(&content) {
            return Origin::Unpublished;
        }
        let version = self.units.working(path, unit, Some(content));
        let told = version.and_then(|version| self.units.teller(path, unit, version));
        told.map_or(Origin::Git, |(index, row)| Origin::Op(index, row))
    }

    /// The innermost unit around a line of a file, counted from one.
    fn symbol_at(&mut self, path: &str, line: usize) -> Result<Option<Symbol>, Failure> {
        let Ok(checked) = RepoPath::try_from(path) else {
            return Ok(None);
        };
        let Ok(file) = self.copy.root().read_file(&checked) else {
            return Ok(None);
        };
        let shadow = self.shadow(&checked)?;
        let here = self.indexed(&checked, file.bytes, shadow.as_ref());
        let units = here.outline.units.iter().zip(&here.ids);
        let mut around =
            units.filter(|(unit, _)| (unit.start_line..=unit.end_line).contains(&line));
        // Containers stand before their members.
        Ok(around.next_back().map(|(unit, id)| Symbol {
            path: path.into(),
            unit: *id,
            name: unit.qualified.clone(),
        }))
    }

    /// A unit with those of other files that it was before and became later, itself first.
    pub(crate) fn lineage(&self, symbol: &Symbol) -> Vec<Symbol> {
        let mut all = vec![symbol.clone()];
        let mut at = 0;
        while let Some(one) = all.get(at).cloned() {
            at += 1;
            let before = self.units.came_from(&one.path, one.unit);
            let after = self.went_to(&one);
            for (path, unit) in before.into_iter().chain(after) {
                let is_known = all
                    .iter()
                    .any(|known| known.path == path && known.unit == unit);
                if !is_known {
                    let name = one.name.clone();
                    all.push(Symbol { path, unit, name });
                }
            }
        }
        all
    }

    /// The unit of another file that a deleted one became.
    fn went_to(&self, symbol: &Symbol) -> Option<(Arc<str>, UnitId)> {
        let simple = |name: &str| name.rsplit("::").next().unwrap_or(name).to_owned();
        let wanted = simple(&symbol.name);
        let recorded = self.units.recorded().iter();
        let others = recorded.filter(|recorded| recorded.path != symbol.path);
        let rows = others.flat_map(|recorded| {
            let rows = recorded.touched.iter();
            rows.map(|(unit, name, ..)| (&recorded.path, *unit, name))
        });
        let alike: BTreeSet<(&Arc<str>, UnitId)> = rows
            .filter(|(.., name)| simple(name) == wanted)
            .map(|(path, unit, _)| (path, unit))
            .collect();
        let is_it = |(path, unit): &(&Arc<str>, UnitId)| {
            let from = self.units.came_from(path, *unit);
            from.is_some_and(|(path, unit)| path == symbol.path && unit == symbol.unit)
        };
        let found = alike.into_iter().find(is_it);
        found.map(|(path, unit)| (Arc::clone(path), unit))
    }

    /// The recorded patch and row that an operation's name means.
    pub(crate) fn operation(&self, op: &str) -> Result<(usize, usize), Failure> {
        let recorded = self.units.recorded();
        let rows = recorded.iter().enumerate().flat_map(|(index, recorded)| {
            let named = recorded.ops().enumerate();
            named.map(move |(row, name)| (name, index, row))
        });
        let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (name, index, row) in rows.filter(|(name, ..)| name.starts_with(op)) {
            // Equal edits made apart are one version: the first that told of it.
            found.entry(name).or_insert((index, row));
        }
        let exact = found.get(op).copied();
        match (exact, found.len()) {
            _ if op.len() <= "o-".len() => Err(no_op(op)),
            (Some(exact), _) => Ok(exact),
            (None, 0) => Err(no_op(op)),
            (None, 1) => found
                .pop_first()
                .map(|(_, found)| found)
                .ok_or_else(|| no_op(op)),
            (None, _) => {
                let message = format!("more than one operation begins with {op}");
                let mut failure = Failure::new("AE-AMBIGUOUS", Exit::USAGE, message);
                for (name, (index, row)) in found.iter().take(CANDIDATES_MAX) {
                    let recorded: &Recorded = &recorded[*index];
                    let symbol = full(&recorded.path, &recorded.touched[*row].1);
                    failure = failure.next(format!("aura show {name}"), symbol);
                }
                Err(failure)
            }
        }
    }

    /// The moment that a request names.
    pub(crate) fn moment(&self, at: &At) -> Result<Moment, Failure> {
        Ok(match at {
            At::Op(op) => Moment::Behind(self.operation(op)?.0),
            At::Seq(seq) => Moment::Seq(*seq),
            At::TimeMs(ms) => Moment::Time(*ms),
        })
    }

    /// Refuses names that nobody has.
    pub(crate) fn check_symbols(&mut self, wanted: &[String]) -> Result<(), Failure> {
        for symbol in wanted {
            match self.symbols(symbol) {
                Err(failure) if failure.id == NO_SYMBOL => return Err(failure),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// A failure for a name that nobody has, with those that are nearly it.
    fn no_symbol(&self, wanted: &str) -> Failure {
        let message = format!("there is no symbol {wanted}, here or in the log");
        let mut failure = Failure::new(NO_SYMBOL, Exit::USAGE, message);
        let simple = wanted.rsplit("::").next().unwrap_or(wanted).to_lowercase();
        let mut near: Vec<(f64, String)> = self
            .all_names()
            .into_iter()
            .filter_map(|(path, name)| {
                let own = name.rsplit("::").next().unwrap_or(&name).to_lowercase();
                let alike = strsim::jaro_winkler(&own, &simple);
                (NEAR <= alike).then(|| (alike, full(&path, &name)))
            })
            .collect();
        near.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        for (_, name) in near.into_iter().take(CANDIDATES_MAX) {
            let step = format!("aura log {}", shell_operand(name));
            failure = failure.next(step, "a name that is nearly it");
        }
        let step = format!("aura find {}", shell_operand(simple));
        failure.next(step, "names that contain it")
    }

    /// Names of the log and, where that is quick, of the working copy.
    fn all_names(&self) -> BTreeSet<(String, String)> {
        let recorded = self.units.recorded().iter();
        let rows = recorded.flat_map(|recorded| {
            let names = recorded.touched.iter().map(|(_, name, ..)| name);
            names.map(|name| (recorded.path.to_string(), name.to_string()))
        });
        let mut all: BTreeSet<(String, String)> = rows.collect();
        if self.files.len() <= NEAR_FILES_MAX {
            for path in self.files.paths() {
                let Ok(file) = self.copy.root().read_file(path) else {
                    continue;
                };
                let outline = aura_semantic::outline(path.as_str(), &file.bytes, &self.budget);
                let names = outline.units.into_iter().map(|unit| unit.qualified);
                let named = names.filter(|name| !name.is_empty());
                all.extend(named.map(|name| (path.to_string(), name)));
            }
        }
        all
    }
}

/// `src/risk.rs::score`, or the path alone for a file.
pub(crate) fn full(path: &str, name: &str) -> String {
    match name == path {
        true => path.to_owned(),
        false => format!("{path}::{name}"),
    }
}

/// Whether a name contains a text of lower case; one with a slash is looked for in the path, too.
fn contains(path: &str, name: &str, wanted: &str) -> bool {
    match wanted.contains('/') {
        true => full(path, name).to_lowercase().contains(wanted),
        false => name.to_lowercase().contains(wanted),
    }
}

/// The file and line of `src/risk.rs:42`.
fn place_of(wanted: &str) -> Option<(&str, usize)> {
    let (path, line) = wanted.rsplit_once(':')?;
    let line = line.parse().ok()?;
    (!path.is_empty() && !path.ends_with(':')).then_some((path, line))
}

/// What must stand in a file for a unit of it to have a name: runs of letters, digits and underscores.
fn words(needle: &str) -> Vec<Vec<u8>> {
    // Letters beyond ASCII change their bytes with their case.
    let words = needle.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    let words = words.filter(|word| !word.is_empty() && needle.is_ascii());
    words
        .map(|word| word.to_ascii_lowercase().into_bytes())
        .collect()
}

/// Whether bytes hold a word of lower case in any case.
fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

fn no_op(op: &str) -> Failure {
    let message = format!("there is no operation {op}");
    Failure::new("AE-NO-OP", Exit::USAGE, message)
        .next("aura log", "lists operations with their names")
}

fn ambiguous(wanted: &str, candidates: &BTreeSet<String>) -> Failure {
    let message = format!("{wanted} means {} symbols", candidates.len());
    let failure = Failure::new("AE-AMBIGUOUS", Exit::USAGE, message);
    let candidates = candidates.iter().take(CANDIDATES_MAX);
    candidates.fold(failure, |failure, name| {
        failure.next(format!("aura log {}", shell_operand(name)), "one of them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_and_a_line_and_a_full_name_is_none() {
        assert_eq!(place_of("src/risk.rs:42"), Some(("src/risk.rs", 42)));
        for other in ["src/risk.rs::score", "src/risk.rs::7", "score", ":3", "a:b"] {
            assert_eq!(place_of(other), None, "{other}");
        }
    }

    #[test]
    fn words_are_looked_for_in_any_case_and_only_where_bytes_tell() {
        assert_eq!(words("Risk::sco"), [b"risk".to_vec(), b"sco".to_vec()]);
        assert!(words("Größe").is_empty());
        assert!(holds(b"fn Score()", b"score") && !holds(b"fn scor", b"score"));
        assert!(!holds(b"", b"a"));
    }

    #[test]
    fn a_file_is_called_by_its_path_alone() {
        assert_eq!(full("a.rs", "a.rs"), "a.rs");
        assert_eq!(full("a.rs", "f"), "a.rs::f");
    }
}
