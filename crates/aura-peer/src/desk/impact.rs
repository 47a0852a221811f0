//! Who here is touched by what others change.
//!
//! Invariants:
//! - an alert is about code of this device's user: written by this device, or edited here and not told yet;
//! - the graph is as the files were before the change, so what is gone still has its callers; it is so, too, where the
//!   file was written before the graph was there, or before a restart;
//! - what a daemon had not weighed when it ended, however it ended, the next one weighs;
//! - nothing of this is on the way of a save or of a patch: both are taken in when nobody waits, one at a time, in the
//!   order in which they came, a file where it was changed last; only a file that is written before the graph is there
//!   is looked at first;
//! - losing the graph costs a reading of the files, losing what is kept beside the log costs alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use aura_proto::RepoPath;
use aura_semantic::{
    Budget, Confidence, ContentHash, Effect, FileReferences, Graph, Indexed, Op, OwnText,
    Reference, UnitId, effects, effects_in, index,
};
use aura_tree::Root;
use aura_trust::KeyRing;
use serde::{Deserialize, Serialize};

use super::{Desk, Notice, analyses::Analyses, own::Own};

/// Most patches of others that wait to be weighed; of more the oldest are let go.
const PENDING_MAX: usize = 10_000;
/// Most open alerts; of more the oldest are let go.
const OPEN_MAX: usize = 1_000;
/// Nothing is taken in before no more has come for so long, in milliseconds: saves and patches come in bursts.
const QUIET_MS: u64 = 100;
/// The longest that anything waits for that, in milliseconds.
const WAIT_MS_MAX: u64 = 2_000;
/// Most units of one patch that are weighed.
const UNITS_MAX: usize = 128;
/// With more callers than this those two steps away are not looked for.
const NEAR_MAX: usize = 32;

/// Code of this user that uses what somebody else changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Its id is `i-` and this.
    pub(crate) number: u64,
    /// File and qualified name of what uses it.
    pub(crate) caller: (String, String),
    /// File and qualified name of what changed, as it was called before.
    pub(crate) callee: (String, String),
    pub(crate) effect: Effect,
    pub(crate) confidence: Confidence,
    /// What stands between them.
    pub(crate) via: Option<String>,
    /// The author's identity key.
    pub(crate) author: [u8; 32],
    pub(crate) branch: String,
    pub(crate) op: String,
    /// Since when, by the author's clock.
    pub(crate) time_ms: u64,
    /// Until when its user does not want to be asked, by this device's clock; zero where that was never said.
    #[serde(default)]
    snoozed_ms: u64,
}

impl Alert {
    /// Until when it is put off, if it still is.
    pub(crate) fn snoozed_until(&self, now_ms: u64) -> Option<u64> {
        (now_ms < self.snoozed_ms).then_some(self.snoozed_ms)
    }

    pub(crate) fn id(&self) -> String {
        format!("i-{}", self.number)
    }
}

/// Names of units that are not here as the team was told, by file: each file is looked at once for a patch.
type Untold = BTreeMap<Arc<str>, BTreeSet<String>>;

/// What a patch does to a unit.
#[derive(Clone, Copy)]
enum What<'a> {
    Known(Effect),
    /// The unit has another text of its own.
    Texts(UnitId, &'a OwnText, &'a OwnText),
}

/// What is kept over restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    last: u64,
    open: Vec<Alert>,
    /// The last record of the log that was weighed; nothing where all that there was is as good as weighed.
    #[serde(default)]
    weighed: Option<u64>,
    /// Records up to there that came too late for it: their key did.
    #[serde(default)]
    late: BTreeSet<u64>,
    /// The content that files had before a patch was written into them that is still to be weighed.
    #[serde(default)]
    before: BTreeMap<String, [u8; 32]>,
}

/// What is to be taken in, in the order in which it came.
#[derive(Default)]
struct Queue {
    steps: BTreeMap<u64, Step>,
    /// The step of each file that is to be read again.
    files: BTreeMap<RepoPath, u64>,
    next: u64,
    /// When the first and the last of what waits came.
    came_ms: Option<(u64, u64)>,
}

enum Step {
    File(RepoPath),
    /// A patch of somebody else: as recorded, and its record in the log.
    Patch(usize, u64),
}

impl Queue {
    /// A file that changes again is read after what came before that.
    fn push(&mut self, step: Step, now_ms: u64) {
        let (first, _) = self.came_ms.unwrap_or((now_ms, now_ms));
        self.came_ms = Some((first, now_ms));
        match &step {
            Step::File(path) => {
                if let Some(earlier) = self.files.insert(path.clone(), self.next) {
                    self.steps.remove(&earlier);
                }
            }
            Step::Patch(..) if self.patches() < PENDING_MAX => {}
            Step::Patch(..) => {
                let mut steps = self.steps.iter();
                let oldest = steps.find(|(_, step)| matches!(step, Step::Patch(..)));
                if let Some(at) = oldest.map(|(at, _)| *at) {
                    self.steps.remove(&at);
                }
            }
        }
        self.steps.insert(self.next, step);
        self.next += 1;
    }

    fn pop(&mut self) -> Option<Step> {
        let (_, step) = self.steps.pop_first()?;
        if let Step::File(path) = &step {
            self.files.remove(path);
        }
        self.rest();
        Some(step)
    }

    /// What comes next begins a burst of its own, if nothing waits any more.
    fn rest(&mut self) {
        if self.steps.is_empty() {
            self.came_ms = None;
        }
    }

    /// How many patches wait: all that is no file.
    fn patches(&self) -> usize {
        self.steps.len() - self.files.len()
    }

    fn deadline(&self) -> Option<u64> {
        let (first, last) = self.came_ms?;
        Some((last + QUIET_MS).min(first + WAIT_MS_MAX))
    }

    /// The records of the patches in the log.
    fn records(&self) -> impl Iterator<Item = u64> {
        self.steps.values().filter_map(|step| match step {
            Step::Patch(_, lsn) => Some(*lsn),
            Step::File(_) => None,
        })
    }

    /// Lets patches go by their records.
    fn retain_patches(&mut self, keeps: impl Fn(u64) -> bool) {
        self.steps.retain(|_, step| match step {
            Step::Patch(_, lsn) => keeps(*lsn),
            Step::File(_) => true,
        });
        self.rest();
    }
}

/// The names that the units which a patch touches had before it, through all containers.
fn names_before(patch: &aura_semantic::FilePatch) -> BTreeMap<UnitId, String> {
    let rows = patch.touched.iter().filter(|row| row.after.is_some());
    let mut names: BTreeMap<UnitId, String> =
        rows.map(|row| (row.unit, row.name.clone())).collect();
    // What was renamed, from the innermost on: a container is named as its containers are after the patch.
    let renames = patch.ops.iter().filter_map(|op| match op {
        Op::Rename { unit, from, to, .. } => {
            let after = names.get(unit)?.clone();
            let around = after.strip_suffix(to.as_str())?;
            let before = format!("{around}{from}");
            Some((after, before))
        }
        _ => None,
    });
    let mut renames: Vec<(String, String)> = renames.collect();
    renames.sort_by_key(|(after, _)| std::cmp::Reverse(after.len()));
    for (after, before) in &renames {
        for name in names.values_mut() {
            let rest = name.strip_prefix(after.as_str());
            if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with("::")) {
                *name = format!("{before}{rest}");
            }
        }
    }
    names
}

/// The graph of a working copy, and what it was asked.
pub(super) struct Impacts {
    at: PathBuf,
    kept: Kept,
    is_saved: bool,
    graph: Option<Graph>,
    /// What the graph is to know of files that were written before it is there.
    before: BTreeMap<RepoPath, FileReferences>,
    queue: Queue,
    /// What this device wrote, as far as the log was read.
    own: Own,
}

impl Impacts {
    pub(super) fn open(state_dir: &Path, analyses: &Analyses) -> Self {
        let at = state_dir.join("impact.json");
        let kept = std::fs::read(&at).ok();
        let kept: Option<Kept> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let kept = kept.unwrap_or_default();
        let before = kept.before.iter().filter_map(|(path, content)| {
            let references = analyses.known_references(path, *content)?;
            Some((RepoPath::try_from(path.as_str()).ok()?, references))
        });
        Self {
            at,
            before: before.collect(),
            kept,
            is_saved: true,
            graph: None,
            queue: Queue::default(),
            own: Own::default(),
        }
    }

    /// A file may have changed.
    pub(super) fn touch(&mut self, path: &RepoPath, now_ms: u64) {
        self.queue.push(Step::File(path.clone()), now_ms);
    }

    /// A patch of somebody else arrived.
    pub(super) fn push(&mut self, index: usize, lsn: u64, now_ms: u64) {
        self.queue.push(Step::Patch(index, lsn), now_ms);
        self.is_saved &= self.kept.weighed < Some(lsn);
    }

    /// The log is shown anew.
    pub(super) fn replays(&mut self) {
        self.queue.retain_patches(|_| false);
        self.own.clear();
    }

    /// The log was shown up to its record `last`; what of it was weighed is not weighed again.
    pub(super) fn replayed(&mut self, last: u64) {
        let weighed = self.kept.weighed.map_or(last, |weighed| weighed.min(last));
        let late = &self.kept.late;
        self.queue
            .retain_patches(|lsn| weighed < lsn || late.contains(&lsn));
        self.is_saved &= self.kept.weighed == Some(weighed);
        self.kept.weighed = Some(weighed);
        self.forget_before();
        self.save();
    }

    fn has_weighed(&mut self, lsn: u64) {
        self.kept.weighed = self.kept.weighed.max(Some(lsn));
        self.kept.late.remove(&lsn);
        if self.queue.patches() == 0 {
            self.is_saved = false;
        }
        self.forget_before();
    }

    /// With everything weighed nobody asks what files were before.
    fn forget_before(&mut self) {
        if self.queue.patches() == 0 {
            self.is_saved &= self.kept.before.is_empty();
            self.kept.before.clear();
            self.before.clear();
        }
    }

    /// Puts what changed on the disk. That a patch arrived needs no word: it is behind what was weighed.
    pub(super) fn save(&mut self) {
        if self.is_saved {
            return;
        }
        let lsns = self.queue.records();
        self.kept.late = lsns.filter(|lsn| Some(*lsn) <= self.kept.weighed).collect();
        let bytes = serde_json::to_vec(&self.kept).unwrap_or_default();
        match aura_store::write_unsynced(&self.at, &bytes, 0o600) {
            Ok(()) => self.is_saved = true,
            Err(error) => {
                tracing::warn!(error = crate::chain(&error), "open alerts are not kept");
            }
        }
    }
}

/// The graph of some files; many of them take a while.
pub(crate) fn build(root: &Root, paths: &[RepoPath], analyses: &Analyses) -> Graph {
    let budget = Budget::default();
    let mut graph = Graph::new();
    let mut found = Vec::new();
    for path in paths {
        let Ok(file) = root.read_file(path) else {
            continue;
        };
        let (path, content) = (path.as_str(), blake3::hash(&file.bytes));
        let references = analyses.references_of(path, content, &file.bytes, &budget);
        graph.update(path, Some(references));
        found.push((path, content));
    }
    analyses.keep(found.into_iter());
    graph
}

/// What each name of a file means: of several units the first.
fn texts(file: &Indexed) -> BTreeMap<&str, ContentHash> {
    let units = file.outline.units.iter().rev();
    units
        .map(|unit| (unit.qualified.as_str(), unit.own_hash))
        .collect()
}

impl Desk {
    /// The files that the graph is to be built of.
    pub(crate) fn files_for_graph(&self) -> Vec<RepoPath> {
        self.files.paths().cloned().collect()
    }

    pub(crate) fn analyses(&self) -> Arc<Analyses> {
        Arc::clone(&self.analyses)
    }

    pub(crate) fn has_graph(&mut self, mut graph: Graph) {
        let now_ms = self.clock.mono_ms();
        for (path, references) in std::mem::take(&mut self.impacts.before) {
            graph.update(path.as_str(), Some(references));
            self.impacts.touch(&path, now_ms);
        }
        self.impacts.graph = Some(graph);
    }

    /// A patch was written into a file that held these bytes.
    pub(super) fn written_over(&mut self, path: &RepoPath, bytes: &[u8]) {
        let impacts = &mut self.impacts;
        let is_known = impacts.kept.before.contains_key(path.as_str());
        if impacts.queue.patches() == 0 || is_known {
            return;
        }
        let (name, content) = (path.as_str(), blake3::hash(bytes));
        impacts.kept.before.insert(name.to_owned(), content.into());
        impacts.is_saved = false;
        if impacts.graph.is_none() {
            let (analyses, budget) = (&self.analyses, &self.budget);
            let references = analyses.references_of(name, content, bytes, budget);
            impacts.before.insert(path.clone(), references);
        }
    }

    /// Whether all that has happened is weighed.
    pub(crate) fn is_weighed(&self) -> bool {
        self.impacts.graph.is_some() && self.weigh_deadline().is_none()
    }

    /// When there is something to weigh, by the monotonic clock in milliseconds.
    pub(crate) fn weigh_deadline(&self) -> Option<u64> {
        let deadline = self.impacts.queue.deadline();
        deadline.filter(|_| self.impacts.graph.is_some())
    }

    /// Weighs a patch of others or takes in a file that has changed, whichever came first.
    pub(crate) fn weigh(&mut self, ring: &KeyRing) {
        let Some(mut graph) = self.impacts.graph.take() else {
            return;
        };
        match self.impacts.queue.pop() {
            Some(Step::Patch(index, lsn)) => {
                self.weigh_patch(&graph, index, ring);
                self.impacts.has_weighed(lsn);
                self.impacts.save();
            }
            Some(Step::File(path)) => {
                let file = self.copy.root().read_file(&path).ok();
                let path = path.as_str();
                let read = |bytes: &[u8]| self.analyses.references(path, bytes, &self.budget);
                graph.update(path, file.map(|file| read(&file.bytes)));
            }
            None => {}
        }
        self.impacts.graph = Some(graph);
    }

    fn weigh_patch(&mut self, graph: &Graph, index: usize, ring: &KeyRing) {
        self.impacts.own.read(&self.units, self.key_peer);
        let Some(body) = self.body_of(index, ring) else {
            return;
        };
        let path = body.patch.path.as_str();
        let (mut untold, mut shadow) = (Untold::new(), None);
        // First who cares, which mostly nobody does; what happened is looked at afterwards.
        for (name, what) in self.named_in(graph, &body.patch) {
            let mut found = Vec::new();
            for unit in graph.units_of(path, &name) {
                let mut tell = |caller, via| found.push((caller, via));
                self.touched_by(graph, unit, &mut untold, &mut tell);
            }
            let effect = match what {
                _ if found.is_empty() => continue,
                What::Known(effect) => Some(effect),
                What::Texts(unit, before, after) => {
                    let shadow = shadow.get_or_insert_with(|| {
                        let path = RepoPath::try_from(path).ok()?;
                        self.shadow(&path).ok().flatten()
                    });
                    let all = effects_in(shadow.as_ref(), path, unit, before, after);
                    all.into_iter().max()
                }
            };
            for (caller, via) in found {
                if let Some(effect) = effect {
                    self.alert(index, (path, &name), effect, &caller, via);
                }
            }
        }
    }

    /// The units of files here that a patch changes, by their names before; at most [`UNITS_MAX`].
    fn named_in<'a>(
        &self,
        graph: &Graph,
        patch: &'a aura_semantic::FilePatch,
    ) -> BTreeMap<String, What<'a>> {
        let mut found = BTreeMap::new();
        let mut note = |name: String, what: What<'a>| {
            if found.len() < UNITS_MAX && !graph.units_of(&patch.path, &name).is_empty() {
                found.entry(name).or_insert(what);
            }
        };
        let names = names_before(patch);
        // The worst first, as there may be too many.
        for row in &patch.touched {
            if row.before.is_some() && row.after.is_none() {
                note(row.name.clone(), What::Known(Effect::Deleted));
            }
        }
        let is_rename = |op: &&Op| matches!(op, Op::Rename { .. });
        let (renames, others): (Vec<&Op>, Vec<&Op>) = patch.ops.iter().partition(is_rename);
        for op in renames.into_iter().chain(others) {
            match op {
                Op::Replace {
                    unit,
                    name,
                    base_text,
                    text,
                    ..
                } => {
                    let name = names.get(unit).unwrap_or(name).clone();
                    note(name, What::Texts(*unit, base_text, text));
                }
                Op::Rename { unit, from, .. } => {
                    let name = names.get(unit).unwrap_or(from).clone();
                    note(name, What::Known(Effect::Renamed));
                }
                Op::File {
                    base_text: Some(before),
                    text,
                    ..
                } => {
                    let before = index(&patch.path, before.bytes(), None, &self.budget);
                    let after = text.as_ref().map_or(&[][..], |text| text.bytes());
                    let after = index(&patch.path, after, Some(&before), &self.budget);
                    let units = before.ids.iter().zip(&before.outline.units);
                    let units: BTreeMap<UnitId, &str> =
                        units.map(|(id, unit)| (*id, &*unit.qualified)).collect();
                    let mut worst: BTreeMap<&str, Effect> = BTreeMap::new();
                    for change in effects(&before, &after) {
                        if let Some(name) = units.get(&change.unit) {
                            let known = worst.entry(name).or_insert(change.effect);
                            *known = (*known).max(change.effect);
                        }
                    }
                    let mut worst: Vec<(&str, Effect)> = worst.into_iter().collect();
                    worst.sort_by_key(|(_, effect)| std::cmp::Reverse(*effect));
                    for (name, effect) in worst {
                        note(name.to_owned(), What::Known(effect));
                    }
                }
                Op::File { .. }
                | Op::Delete { .. }
                | Op::Gap { .. }
                | Op::Insert { .. }
                | Op::Move { .. } => {}
            }
        }
        found
    }

    /// Tells of own code that uses a unit, directly or through one other.
    fn touched_by(
        &mut self,
        graph: &Graph,
        unit: UnitId,
        untold: &mut Untold,
        tell: &mut dyn FnMut(Reference, Option<String>),
    ) {
        let is_sure = |caller: &Reference| caller.confidence >= Confidence::Likely;
        let near: Vec<Reference> = graph.callers(unit).into_iter().filter(is_sure).collect();
        let mut seen: BTreeSet<UnitId> = near.iter().filter_map(|caller| caller.unit).collect();
        seen.insert(unit);
        let looks_farther = near.len() <= NEAR_MAX;
        for caller in near {
            if self.is_own(&caller, untold) {
                tell(caller, None);
                continue;
            }
            let Some(between) = caller.unit.filter(|_| looks_farther) else {
                continue;
            };
            let via = format!("{}::{}", caller.path, caller.name);
            for far in graph.callers(between).into_iter().filter(is_sure) {
                let is_new = far.unit.is_some_and(|unit| seen.insert(unit));
                if is_new && self.is_own(&far, untold) {
                    tell(far, Some(via.clone()));
                }
            }
        }
    }

    /// Whether this device wrote a unit, or has an edit of it that nobody knows.
    fn is_own(&mut self, unit: &Reference, untold: &mut Untold) -> bool {
        if self.impacts.own.has(&unit.path, &unit.name) {
            return true;
        }
        let names = untold.entry(Arc::clone(&unit.path));
        let names = names.or_insert_with(|| self.untold_in(&unit.path).unwrap_or_default());
        names.contains(&unit.name)
    }

    /// The units of a file that are not here as the team was told, by name; nothing where that is not known.
    fn untold_in(&mut self, path: &str) -> Option<BTreeSet<String>> {
        let path = RepoPath::try_from(path).ok()?;
        let file = self.copy.root().read_file(&path).ok()?;
        if self.shadows.equals(&path, &file.bytes) {
            return None;
        }
        let shadow = self.shadow(&path).ok()?;
        let here = index(path.as_str(), file.bytes, shadow.as_ref(), &self.budget);
        let told = shadow.as_ref().map(texts).unwrap_or_default();
        let mut here = texts(&here);
        here.retain(|name, text| told.get(name) != Some(text));
        Some(here.into_keys().map(str::to_owned).collect())
    }

    /// Opens an alert, unless the same is open and as bad.
    fn alert(
        &mut self,
        index: usize,
        (path, name): (&str, &str),
        effect: Effect,
        caller: &Reference,
        via: Option<String>,
    ) {
        let recorded = &self.units.recorded()[index];
        let origin = recorded.origin;
        let place = (caller.path.to_string(), caller.name.clone());
        let callee = (path.to_owned(), name.to_owned());
        let kept = &mut self.impacts.kept;
        let author = origin.writer.peer.0;
        let is_same =
            |open: &Alert| open.caller == place && open.callee == callee && open.author == author;
        let known = kept.open.iter().position(is_same);
        if known.is_some_and(|at| kept.open[at].effect >= effect) {
            return;
        }
        let number = match known {
            Some(at) => kept.open.remove(at).number,
            None => kept.last + 1,
        };
        kept.last = kept.last.max(number);
        if kept.open.len() >= OPEN_MAX {
            kept.open.remove(0);
        }
        let alert = Alert {
            number,
            caller: place,
            callee,
            effect,
            confidence: caller.confidence,
            via,
            author,
            branch: recorded.channel.to_string(),
            op: recorded.op(),
            time_ms: origin.time_ms,
            // One that got worse is asked again.
            snoozed_ms: 0,
        };
        let symbol = format!("{}::{}", alert.caller.0, alert.caller.1);
        self.notices.push(Notice {
            kind: "impact",
            symbol: Some(symbol),
            peer: Some(origin.writer.peer),
            text: format!("{} calls {path}::{name}: {}", alert.id(), effect.word()),
        });
        kept.open.push(alert);
        self.impacts.is_saved = false;
    }

    /// Alerts that nobody has acknowledged, the oldest first.
    pub(crate) fn open_alerts(&self) -> &[Alert] {
        &self.impacts.kept.open
    }

    /// Closes alerts, all or none; answers the first that is not open.
    pub(crate) fn acknowledge(&mut self, ids: &[String]) -> Result<(), String> {
        self.are_open(ids)?;
        if !ids.is_empty() {
            let open = &mut self.impacts.kept.open;
            open.retain(|alert| !ids.contains(&alert.id()));
            self.impacts.is_saved = false;
            self.impacts.save();
        }
        Ok(())
    }

    /// Puts alerts off, all or none, and every open one if none is named; answers which, or the first that is not
    /// open.
    pub(crate) fn snooze(&mut self, ids: &[String], until_ms: u64) -> Result<Vec<String>, String> {
        self.are_open(ids)?;
        let open = self.impacts.kept.open.iter_mut();
        let named = open.filter(|alert| ids.is_empty() || ids.contains(&alert.id()));
        let done = named.map(|alert| {
            alert.snoozed_ms = until_ms;
            alert.id()
        });
        let done = done.collect();
        self.impacts.is_saved = false;
        self.impacts.save();
        Ok(done)
    }

    fn are_open(&self, ids: &[String]) -> Result<(), String> {
        let open = self.open_alerts();
        let missing = |id: &&String| open.iter().all(|alert| alert.id() != **id);
        ids.iter()
            .find(missing)
            .map_or(Ok(()), |id| Err(id.clone()))
    }

    /// What uses the units of a name: each unit with its callers; none while the graph is being built.
    pub(crate) fn callers_of(&self, symbol: &str) -> Vec<(Reference, Vec<Reference>)> {
        let Some(graph) = &self.impacts.graph else {
            return Vec::new();
        };
        let units = graph.find(symbol).into_iter();
        units
            .filter_map(|unit| Some((graph.unit(unit)?, graph.callers(unit))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(name: &str) -> Step {
        Step::File(RepoPath::try_from(name).unwrap())
    }

    fn drained(queue: &mut Queue) -> Vec<String> {
        let steps = std::iter::from_fn(|| queue.pop());
        steps
            .map(|step| match step {
                Step::File(path) => path.to_string(),
                Step::Patch(index, _) => index.to_string(),
            })
            .collect()
    }

    #[test]
    fn a_file_is_read_behind_the_last_patch_that_came_before_it_changed() {
        let mut queue = Queue::default();
        for step in [
            file("a"),
            Step::Patch(1, 1),
            file("b"),
            Step::Patch(2, 2),
            file("a"),
        ] {
            queue.push(step, 0);
        }
        assert_eq!(drained(&mut queue), ["1", "b", "2", "a"]);
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn what_comes_in_a_burst_waits_for_its_end_but_not_for_ever() {
        let mut queue = Queue::default();
        queue.push(file("a"), 1_000);
        assert_eq!(queue.deadline(), Some(1_000 + QUIET_MS));
        queue.push(Step::Patch(1, 1), 1_050);
        assert_eq!(queue.deadline(), Some(1_050 + QUIET_MS));
        queue.push(file("b"), 2_950);
        assert_eq!(queue.deadline(), Some(1_000 + WAIT_MS_MAX));
    }

    #[test]
    fn of_too_many_patches_the_oldest_are_let_go_and_no_file_is() {
        let mut queue = Queue::default();
        queue.push(file("a"), 0);
        (0..=PENDING_MAX).for_each(|index| queue.push(Step::Patch(index, 0), 0));
        let left = drained(&mut queue);
        assert_eq!(left.len(), 1 + PENDING_MAX);
        assert_eq!(left[..2], ["a", "1"]);
    }
}
