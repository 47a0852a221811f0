//! From a chain of names to the definitions that it means.
//!
//! Invariants:
//! - no recursion on input: a chain that leads to another chain is a frame on a stack of bounded height;
//! - each question has so much fuel; what does not come to an end means nothing;
//! - what is known to lie outside of the repository means nothing in it, whatever it is called.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::language::UnitKind;
use crate::references::file::{Chain, Definition, NO_UNIT, Step, Use};
use crate::references::graph::{Confidence, File, Graph};
use crate::references::modules::Module;
use crate::references::syntax::Modules;

/// Most chains that lead to each other.
const FRAMES_MAX: usize = 16;
/// Most steps for one chain.
const FUEL: usize = 512;
/// Most steps for one question: ordinary ones take some thousands.
const FUEL_OF_QUESTION: usize = 1 << 22;
/// Most modules that lend all their names to one, directly or not.
pub(super) const WILD_MAX: usize = 128;
/// Most types that one is built upon.
pub(super) const BASES_MAX: usize = 32;
/// Most definitions that a name alone may mean; more say nothing.
pub(super) const BY_NAME_MAX: usize = 8;
/// Most methods of one name that are asked whether their types are built upon another.
pub(super) const OVERRIDING_MAX: usize = 64;
/// Most definitions of a name that are looked at.
const NAMED_MAX: usize = 1024;

/// A definition of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Def<'g> {
    pub(super) file: &'g File,
    pub(super) at: u32,
}

impl PartialEq for Def<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && self.file.path == other.file.path
    }
}

impl<'g> Def<'g> {
    pub(super) fn definition(&self) -> &'g Definition {
        &self.file.refs.definitions[self.at as usize]
    }

    pub(super) fn qualified(&self) -> &'g str {
        self.file.refs.text(self.definition().qualified)
    }

    pub(super) fn key(&self) -> Key<'g> {
        (&self.file.path, self.at)
    }

    /// The qualified name of what contains it.
    pub(super) fn owner(&self) -> Option<&'g str> {
        Some(self.qualified().rsplit_once("::")?.0)
    }

    pub(super) fn is_type(&self) -> bool {
        matches!(self.definition().kind, UnitKind::Class | UnitKind::Type)
    }
}

/// What a chain means so far.
#[derive(Clone, Debug)]
pub(super) enum Value<'g> {
    /// Functions, constants and the like of one name.
    Items(Vec<Def<'g>>),
    /// A value of a type.
    Made(Def<'g>),
    /// A file, or a module within it.
    Module(&'g File, &'g str),
    /// A directory or a package.
    Group(String),
    /// Nothing of this repository.
    Outside,
    /// A type.
    Type(Def<'g>),
    /// Something that may be of this repository.
    Unknown,
}

/// What looking for one name comes to.
pub(super) enum Found<'g> {
    Follow(Box<Frame<'g>>),
    Is(Value<'g>, Confidence),
}

/// A chain on its way.
#[derive(Debug)]
pub(super) struct Frame<'g> {
    pub(super) file: &'g File,
    pub(super) unit: u32,
    pub(super) parts: Vec<(&'g str, Step)>,
    pub(super) at: usize,
    pub(super) value: Option<Value<'g>>,
    pub(super) confidence: Confidence,
    pub(super) rooted: bool,
    /// It is an import, which means what is named, not what that is worth.
    pub(super) is_import: bool,
    /// The value of the last name is awaited, not what the name means.
    pub(super) applies: bool,
}

impl<'g> Frame<'g> {
    pub(super) fn new(file: &'g File, unit: u32, chain: Chain) -> Self {
        let parts = file.refs.chain(chain).iter();
        Self {
            file,
            unit,
            parts: parts
                .map(|part| (file.refs.text(part.name), part.step))
                .collect(),
            at: 0,
            value: None,
            confidence: Confidence::Certain,
            rooted: chain.rooted,
            is_import: false,
            applies: false,
        }
    }

    pub(super) fn named(file: &'g File, unit: u32, names: Vec<&'g str>) -> Self {
        let empty = Chain {
            start: 0,
            len: 0,
            rooted: true,
        };
        Self {
            parts: names.into_iter().map(|name| (name, Step::Plain)).collect(),
            ..Self::new(file, unit, empty)
        }
    }
}

/// A definition as a key: file and position.
pub(super) type Key<'g> = (&'g str, u32);
/// Types that one is built upon, and whether there are others that are not known.
pub(super) type Bases<'g> = (Rc<[Def<'g>]>, bool);
/// Modules that lend their names: file, and prefix within it.
pub(super) type Lenders<'g> = Rc<[(&'g File, &'g str)]>;

/// Definitions with how sure they are.
pub(super) type Hits<'g> = Vec<(Def<'g>, Confidence)>;

/// Answers one question; what it found on the way may be used again.
pub(super) struct Resolver<'g> {
    pub(super) graph: &'g Graph,
    /// Steps left for the whole question.
    left: usize,
    pub(super) fuel: usize,
    /// Looking for types that others are built upon: members say nothing then.
    pub(super) is_plain: bool,
    /// The modules that lend their names, as they were found.
    pub(super) lent: BTreeMap<(&'g str, &'g str), Lenders<'g>>,
    /// What types are built upon, and whether there is more.
    pub(super) bases: BTreeMap<Key<'g>, Bases<'g>>,
    /// Members of types by name.
    pub(super) members: BTreeMap<(Key<'g>, &'g str), Rc<[Def<'g>]>>,
    /// What may be called in place of methods.
    pub(super) overriding: BTreeMap<Key<'g>, Rc<[Def<'g>]>>,
    /// The modules that a file imports from.
    pub(super) imported: BTreeMap<&'g str, Rc<BTreeSet<Module>>>,
}

impl<'g> Resolver<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            left: FUEL_OF_QUESTION,
            lent: BTreeMap::new(),
            bases: BTreeMap::new(),
            members: BTreeMap::new(),
            overriding: BTreeMap::new(),
            imported: BTreeMap::new(),
            fuel: 0,
            is_plain: false,
        }
    }

    /// The definitions that a use refers to, on its whole way.
    pub(super) fn resolve(&mut self, file: &'g File, used: &Use) -> Hits<'g> {
        let given = FUEL.min(self.left);
        self.fuel = given;
        let mut hits = Vec::new();
        self.run(Frame::new(file, used.unit, used.chain), &mut hits);
        self.left -= given - self.fuel;
        hits
    }

    /// What a path of types and modules means.
    pub(super) fn type_at(&mut self, file: &'g File, chain: Chain) -> Option<Value<'g>> {
        self.plain(Frame::new(file, NO_UNIT, chain))
    }

    /// The same without regard to members, so that it does not lead back here.
    pub(super) fn plain(&mut self, frame: Frame<'g>) -> Option<Value<'g>> {
        let before = std::mem::replace(&mut self.is_plain, true);
        let value = self.run(frame, &mut Vec::new());
        self.is_plain = before;
        value
    }

    pub(super) fn run(&mut self, first: Frame<'g>, hits: &mut Hits<'g>) -> Option<Value<'g>> {
        let mut frames = vec![first];
        let mut given: Option<(Value<'g>, Confidence)> = None;
        loop {
            self.fuel = self.fuel.checked_sub(1)?;
            let height = frames.len();
            let frame = frames.last_mut()?;
            let pushed = if let Some((value, confidence)) = given.take() {
                frame.confidence = frame.confidence.min(confidence);
                if frame.applies {
                    frame.applies = false;
                    frame.at += 1;
                    frame.value = Some(value);
                    None
                } else {
                    self.arrive(frame, value, (height == 1).then_some(&mut *hits))
                }
            } else if frame.at >= frame.parts.len() {
                let value = frame.value.take().unwrap_or(Value::Outside);
                given = Some((value, frame.confidence));
                frames.pop();
                if frames.is_empty() {
                    return given.map(|(value, _)| value);
                }
                None
            } else {
                match self.look(frame) {
                    Found::Follow(next) => Some(*next),
                    Found::Is(value, confidence) => {
                        frame.confidence = frame.confidence.min(confidence);
                        self.arrive(frame, value, (height == 1).then_some(&mut *hits))
                    }
                }
            };
            if let Some(next) = pushed {
                if height >= FRAMES_MAX {
                    return None;
                }
                frames.push(next);
            }
        }
    }

    /// Takes what the name at hand means, and goes on with what that is worth.
    pub(super) fn arrive(
        &mut self,
        frame: &mut Frame<'g>,
        value: Value<'g>,
        hits: Option<&mut Hits<'g>>,
    ) -> Option<Frame<'g>> {
        let (name, step) = frame.parts[frame.at];
        let is_last = frame.at + 1 == frame.parts.len();
        let is_base = hits.is_some();
        let value = fitted(value, step);
        if let Some(hits) = hits {
            self.hit(frame, &value, step, hits);
        }
        let is_done = is_last && (is_base || frame.is_import);
        let next = match (value, step) {
            (value, _) if is_done => value,
            (Value::Type(def), Step::Call(_) | Step::Made) => Value::Made(def),
            (Value::Items(defs), step) => {
                let is_value = |def: &Def<'_>| def.definition().kind == UnitKind::Constant;
                let applies = match step {
                    Step::Call(_) => !defs.first().is_some_and(is_value),
                    Step::Plain | Step::Made => defs.first().is_some_and(is_value),
                };
                let first = defs.first().filter(|_| applies);
                let of = first.and_then(|def| Some((*def, def.definition().of?)));
                if let Some((def, of)) = of {
                    frame.applies = true;
                    return Some(Frame::new(def.file, def.definition().unit, of));
                }
                Value::Unknown
            }
            (Value::Made(def), Step::Call(_)) => {
                let syntax = frame.file.refs.syntax();
                let stays = syntax.above.contains(&name) || syntax.passes.contains(&name);
                if stays {
                    Value::Made(def)
                } else {
                    Value::Unknown
                }
            }
            (value, _) => value,
        };
        // One guess is enough: what follows an unknown is found by its name again.
        if matches!(next, Value::Unknown) {
            frame.confidence = Confidence::Certain;
        }
        frame.value = Some(next);
        frame.at += 1;
        None
    }

    /// Notes the definitions that a name means.
    pub(super) fn hit(
        &mut self,
        frame: &Frame<'g>,
        value: &Value<'g>,
        step: Step,
        hits: &mut Hits<'g>,
    ) {
        let confidence = frame.confidence;
        match value {
            Value::Items(defs) => {
                let fits = |def: &&Def<'g>| match (step, def.definition().parameters) {
                    (Step::Call(given), Some(taken)) => given == taken || given == u8::MAX,
                    _ => true,
                };
                let fitting: Vec<Def<'g>> = defs.iter().filter(fits).copied().collect();
                let (of, confidence) = match (defs.len(), fitting.len()) {
                    (1, _) => (defs.clone(), confidence),
                    (_, 1) => (fitting, confidence),
                    (_, 0) => (defs.clone(), confidence.min(Confidence::Likely)),
                    _ => (fitting, confidence.min(Confidence::Likely)),
                };
                let is_above = frame.at.checked_sub(1).is_some_and(|before| {
                    let above = frame.file.refs.syntax().above;
                    above.contains(&frame.parts[before].0)
                });
                for def in of {
                    hits.push((def, confidence));
                    let others = self.linked(def).into_iter();
                    hits.extend(others.map(|other| (other, confidence)));
                    if matches!(step, Step::Call(_)) && !is_above {
                        let others = self.overriding(def);
                        let others = others.iter().map(|other| (*other, Confidence::Possible));
                        hits.extend(others);
                    }
                }
            }
            Value::Type(def) => {
                // A member that calls its type by the word for it does not depend on the name.
                if !is_word(frame) {
                    hits.push((*def, confidence));
                }
                if let Step::Call(_) = step {
                    let makers = frame.file.refs.syntax().makers.iter().copied();
                    let own_name = def.file.refs.text(def.definition().name);
                    for maker in makers.chain([own_name]) {
                        let made = self.member(*def, (maker, step), maker != own_name);
                        if let Some(Found::Is(made @ Value::Items(_), _)) = made {
                            self.hit(frame, &made, step, hits);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Definitions by their last name, in languages that know those of a file.
    pub(super) fn named(&self, name: &str, file: &File) -> impl Iterator<Item = Def<'g>> + use<'g> {
        let family = file.refs.syntax().family;
        let graph = self.graph;
        let rows = graph.named.get(name).into_iter().flatten().take(NAMED_MAX);
        let defs = rows.map(|(path, at)| Def {
            file: &graph.files[path],
            at: *at,
        });
        defs.filter(move |def| def.file.refs.syntax().family == family)
    }

    pub(super) fn look(&mut self, frame: &Frame<'g>) -> Found<'g> {
        let (name, step) = frame.parts[frame.at];
        let syntax = frame.file.refs.syntax();
        let Some(value) = &frame.value else {
            if !frame.rooted {
                return self.by_name(frame.file, name, step);
            }
            if frame.is_import {
                let root = self.root(frame.file, frame.unit, (name, step));
                return root.unwrap_or(OUTSIDE);
            }
            let found = self.scope(frame.file, frame.unit, (name, step));
            return found.unwrap_or(OUTSIDE);
        };
        match value {
            Value::Module(file, prefix) => {
                if syntax.modules == Modules::Tree
                    && let Some(found) = self.upward(file, prefix, name)
                {
                    return found;
                }
                let start = [(*file, *prefix)];
                self.in_modules(&start, name).unwrap_or(OUTSIDE)
            }
            Value::Group(group) => self.in_group(frame.file, group, name).unwrap_or(OUTSIDE),
            Value::Made(def) if syntax.passes.contains(&name) => {
                let found = self.member(*def, (name, step), true);
                found.unwrap_or(Found::Is(Value::Made(*def), Confidence::Certain))
            }
            Value::Type(def) | Value::Made(def) => {
                let found = self.member(*def, (name, step), true);
                found.unwrap_or_else(|| self.derived(*def, (name, step)))
            }
            Value::Unknown => self.by_name(frame.file, name, step),
            Value::Items(_) | Value::Outside => OUTSIDE,
        }
    }
}

pub(super) const OUTSIDE: Found<'static> = Found::Is(Value::Outside, Confidence::Certain);

/// Whether the name at hand is the word for the type around it.
fn is_word(frame: &Frame<'_>) -> bool {
    let own_type = frame.file.refs.syntax().own_type;
    own_type.contains(&frame.parts[frame.at].0)
}

pub(super) fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}::{name}")
    }
}

/// The definitions of a qualified name in a file.
pub(super) fn defined<'g>(file: &'g File, qualified: &str) -> Vec<Def<'g>> {
    let at = |at| Def {
        file,
        at: u32::try_from(at).unwrap_or_default(),
    };
    file.refs.defined(qualified).map(at).collect()
}

/// Of functions and values of one name, those that are used like this.
pub(super) fn fitted(value: Value<'_>, step: Step) -> Value<'_> {
    let Value::Items(defs) = value else {
        return value;
    };
    let is_value = |def: &Def<'_>| def.definition().kind == UnitKind::Constant;
    let has_both = defs.iter().any(is_value) && !defs.iter().all(is_value);
    let wanted = !matches!(step, Step::Call(_));
    let fits = |def: &Def<'_>| !has_both || is_value(def) == wanted;
    Value::Items(defs.into_iter().filter(fits).collect())
}

/// What contains a qualified name, from the inside out, and nothing at last.
pub(super) fn outwards(qualified: &str) -> impl Iterator<Item = &str> {
    fn above<'a>(at: &&'a str) -> Option<&'a str> {
        let up = at.rsplit_once("::").map_or("", |(up, _)| up);
        (!at.is_empty()).then_some(up)
    }
    std::iter::successors(Some(qualified), above).take(BASES_MAX)
}
