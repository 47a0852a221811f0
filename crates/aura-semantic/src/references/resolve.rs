//! From a chain of names to the definitions that it means.
//!
//! Invariants:
//! - no recursion on input: a chain that leads to another chain is a frame on a stack of bounded height;
//! - each question has so much fuel; what does not come to an end means nothing;
//! - what is known to lie outside of the repository means nothing in it, whatever it is called.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::language::UnitKind;
use crate::references::file::{Chain, Definition, Import, NO_UNIT, Step, Use};
use crate::references::graph::{Confidence, File, Graph, folder};
use crate::references::modules::Module;
use crate::references::syntax::{Modules, Syntax};

/// Most chains that lead to each other.
const FRAMES_MAX: usize = 16;
/// Most steps for one chain.
const FUEL: usize = 512;
/// Most modules that lend all their names to one, directly or not.
const WILD_MAX: usize = 128;
/// Most types that one is built upon.
const BASES_MAX: usize = 32;
/// Most definitions that a name alone may mean; more say nothing.
const BY_NAME_MAX: usize = 8;
/// Most methods of one name that are asked whether their types are built upon another.
const OVERRIDING_MAX: usize = 64;
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

    fn qualified(&self) -> &'g str {
        self.file.refs.text(self.definition().qualified)
    }

    /// The qualified name of what contains it.
    fn owner(&self) -> Option<&'g str> {
        Some(self.qualified().rsplit_once("::")?.0)
    }

    fn is_type(&self) -> bool {
        matches!(self.definition().kind, UnitKind::Class | UnitKind::Type)
    }
}

/// What a chain means so far.
#[derive(Clone, Debug)]
enum Value<'g> {
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
enum Found<'g> {
    Follow(Box<Frame<'g>>),
    Is(Value<'g>, Confidence),
}

/// A chain on its way.
#[derive(Debug)]
pub(super) struct Frame<'g> {
    file: &'g File,
    unit: u32,
    parts: Vec<(&'g str, Step)>,
    at: usize,
    value: Option<Value<'g>>,
    confidence: Confidence,
    rooted: bool,
    /// It is an import, which means what is named, not what that is worth.
    is_import: bool,
    /// The value of the last name is awaited, not what the name means.
    applies: bool,
}

impl<'g> Frame<'g> {
    fn new(file: &'g File, unit: u32, chain: Chain) -> Self {
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

    fn named(file: &'g File, unit: u32, names: Vec<&'g str>) -> Self {
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

/// Definitions with how sure they are.
pub(super) type Hits<'g> = Vec<(Def<'g>, Confidence)>;

/// Answers one question; what it found on the way may be used again.
pub(super) struct Resolver<'g> {
    graph: &'g Graph,
    fuel: usize,
    /// Looking for types that others are built upon: members say nothing then.
    is_plain: bool,
}

impl<'g> Resolver<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            fuel: 0,
            is_plain: false,
        }
    }

    /// The definitions that a use refers to, on its whole way.
    pub(super) fn resolve(&mut self, file: &'g File, used: &Use) -> Hits<'g> {
        self.fuel = FUEL;
        let mut hits = Vec::new();
        self.run(Frame::new(file, used.unit, used.chain), &mut hits);
        hits
    }

    /// What a path of types and modules means.
    fn type_at(&mut self, file: &'g File, chain: Chain) -> Option<Value<'g>> {
        self.plain(Frame::new(file, NO_UNIT, chain))
    }

    /// The same without regard to members, so that it does not lead back here.
    fn plain(&mut self, frame: Frame<'g>) -> Option<Value<'g>> {
        let before = std::mem::replace(&mut self.is_plain, true);
        let value = self.run(frame, &mut Vec::new());
        self.is_plain = before;
        value
    }

    fn run(&mut self, first: Frame<'g>, hits: &mut Hits<'g>) -> Option<Value<'g>> {
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
    fn arrive(
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
    fn hit(&mut self, frame: &Frame<'g>, value: &Value<'g>, step: Step, hits: &mut Hits<'g>) {
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
                        let others = self.overriding(def).into_iter();
                        hits.extend(others.map(|other| (other, Confidence::Possible)));
                    }
                }
            }
            Value::Type(def) => {
                hits.push((*def, confidence));
                if let Step::Call(_) = step {
                    let makers = frame.file.refs.syntax().makers.iter().copied();
                    let own_name = def.file.refs.text(def.definition().name);
                    for maker in makers.chain([own_name]) {
                        let made = self.member(*def, maker, maker != own_name);
                        if let Some(Found::Is(made @ Value::Items(_), _)) = made {
                            self.hit(frame, &made, step, hits);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// The definitions of what is only declared, in files that know the declaration.
    fn linked(&self, def: Def<'g>) -> Vec<Def<'g>> {
        if def.file.refs.syntax().modules != Modules::Include {
            return Vec::new();
        }
        let name = def.file.refs.text(def.definition().name);
        let mut others = Vec::new();
        for other in self.named(name, def.file) {
            let is_other = other != def && other.qualified() == def.qualified();
            let is_hidden = other.definition().is_private || def.definition().is_private;
            let knows = || {
                self.lenders(other.file, "")
                    .iter()
                    .any(|(file, _)| file.path == def.file.path)
                    || self
                        .lenders(def.file, "")
                        .iter()
                        .any(|(file, _)| file.path == other.file.path)
            };
            if is_other && !is_hidden && knows() {
                others.push(other);
            }
        }
        others
    }

    /// Definitions by their last name, in languages that know those of a file.
    fn named(&self, name: &str, file: &File) -> impl Iterator<Item = Def<'g>> + use<'g> {
        let family = file.refs.syntax().family;
        let graph = self.graph;
        let rows = graph.named.get(name).into_iter().flatten().take(NAMED_MAX);
        let defs = rows.map(|(path, at)| Def {
            file: &graph.files[path],
            at: *at,
        });
        defs.filter(move |def| def.file.refs.syntax().family == family)
    }

    fn look(&mut self, frame: &Frame<'g>) -> Found<'g> {
        let (name, step) = frame.parts[frame.at];
        let syntax = frame.file.refs.syntax();
        let Some(value) = &frame.value else {
            if !frame.rooted {
                return self.by_name(frame.file, name, step);
            }
            if frame.is_import {
                let root = self.root(frame.file, frame.unit, name);
                return root.unwrap_or(OUTSIDE);
            }
            return self.scope(frame.file, frame.unit, name).unwrap_or(OUTSIDE);
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
                let found = self.member(*def, name, true);
                found.unwrap_or(Found::Is(Value::Made(*def), Confidence::Certain))
            }
            Value::Type(def) | Value::Made(def) => {
                let found = self.member(*def, name, true);
                found.unwrap_or_else(|| self.derived(*def, name))
            }
            Value::Unknown => self.by_name(frame.file, name, step),
            Value::Items(_) | Value::Outside => OUTSIDE,
        }
    }

    /// What a bare name means in a unit.
    fn scope(&mut self, file: &'g File, unit: u32, name: &'g str) -> Option<Found<'g>> {
        let syntax = file.refs.syntax();
        let within = file.refs.units.get(unit as usize);
        let within = within.map_or("", |unit| file.refs.text(unit.qualified));
        let is_word = |words: &[&str]| words.contains(&name);
        if is_word(syntax.own) || is_word(syntax.own_type) || is_word(syntax.above) {
            return self.own(file, within, name);
        }
        let mut starts: Vec<(&'g File, &'g str)> = Vec::new();
        for prefix in outwards(within) {
            let container = file.refs.defined(prefix).next();
            let container = container.map(|at| Def {
                file,
                at: u32::try_from(at).unwrap_or_default(),
            });
            let of_type = container
                .filter(Def::is_type)
                .or_else(|| self.owner_elsewhere(file, within, prefix));
            if let Some(def) = of_type {
                let found =
                    (syntax.bare_members && !self.is_plain).then(|| self.member(def, name, true));
                if let Some(found) = found.flatten() {
                    return Some(found);
                }
                continue;
            }
            let is_module = match container {
                Some(def) => def.definition().kind == UnitKind::Module,
                None => prefix.is_empty() || syntax.bare_members,
            };
            if is_module {
                starts.push((file, prefix));
            }
        }
        if let Some(found) = self.in_modules(&starts, name) {
            return Some(found);
        }
        self.beside(file, name)
            .or_else(|| self.root(file, unit, name))
            .or_else(|| self.everywhere(file, name))
    }

    /// The type whose method stands outside of it.
    fn owner_elsewhere(
        &mut self,
        file: &'g File,
        within: &'g str,
        prefix: &'g str,
    ) -> Option<Def<'g>> {
        let syntax = file.refs.syntax();
        let is_owner = !prefix.is_empty() && within.len() > prefix.len();
        if self.is_plain || !is_owner || !syntax.bare_members {
            return None;
        }
        let name = prefix.rsplit("::").next()?;
        match self.plain(Frame::named(file, NO_UNIT, vec![name]))? {
            Value::Type(def) => Some(def),
            _ => None,
        }
    }

    /// The type or the object around a unit, or what the type is built upon.
    fn own(&mut self, file: &'g File, within: &'g str, word: &str) -> Option<Found<'g>> {
        let syntax = file.refs.syntax();
        let of_type = outwards(within).find_map(|prefix| {
            let mut all = file.refs.defined(prefix).map(|at| Def {
                file,
                at: u32::try_from(at).unwrap_or_default(),
            });
            all.find(Def::is_type)
        });
        let of_type = match of_type {
            Some(def) => Some(def),
            None => {
                let owner = within.rsplit_once("::")?.0;
                let name = owner.rsplit("::").next()?;
                let found = self.plain(Frame::named(file, NO_UNIT, vec![name]));
                match found? {
                    Value::Type(def) => Some(def),
                    _ => None,
                }
            }
        }?;
        let value = if syntax.above.contains(&word) && !syntax.own.contains(&word) {
            if syntax.modules == Modules::Tree {
                return None;
            }
            let base = self.bases(of_type).0.into_iter().next()?;
            Value::Made(base)
        } else if syntax.own_type.contains(&word) {
            Value::Type(of_type)
        } else {
            Value::Made(of_type)
        };
        Some(Found::Is(value, Confidence::Certain))
    }

    /// The modules whose names a module has as its own, itself first.
    fn lenders(&self, file: &'g File, prefix: &'g str) -> Vec<(&'g File, &'g str)> {
        let mut all = vec![(file, prefix)];
        let mut next = 0;
        while next < all.len() && all.len() < WILD_MAX {
            let (file, prefix) = all[next];
            next += 1;
            for import in file
                .refs
                .imports
                .iter()
                .filter(|import| import.bound.is_none())
            {
                if let Some(lent) = self.lent(file, prefix, import)
                    && !all
                        .iter()
                        .any(|(other, at)| other.path == lent.0.path && *at == lent.1)
                {
                    all.push(lent);
                }
            }
        }
        all
    }

    /// The module that an import of all names takes them from, as far as paths alone say.
    fn lent(
        &self,
        file: &'g File,
        prefix: &'g str,
        import: &Import,
    ) -> Option<(&'g File, &'g str)> {
        let refs = &file.refs;
        let modules = refs.syntax().modules;
        let parts = refs.chain(import.path);
        if modules == Modules::Tree {
            let within = refs.text(import.within);
            if within != prefix {
                return None;
            }
            let mut names = parts.iter().map(|part| refs.text(part.name));
            let first = names.next()?;
            let mut at = self.tree_start(file, within, first)?;
            for name in names {
                at = self.tree_inside(at, name)?;
            }
            return Some(at);
        }
        let mut at = match self.graph.module(file, refs.text(import.module))? {
            Module::File(path) => path,
            Module::Group(_) => return None,
        };
        for part in parts {
            match self.graph.child(&at, refs.text(part.name))? {
                Module::File(path) => at = path,
                Module::Group(_) => return None,
            }
        }
        let lent = self.graph.files.get(&at)?;
        // An include stands for the text, wherever that puts it.
        Some((
            lent,
            if modules == Modules::Include {
                prefix
            } else {
                ""
            },
        ))
    }

    /// The module that a path of a tree begins with.
    fn tree_start(
        &self,
        file: &'g File,
        within: &'g str,
        name: &'g str,
    ) -> Option<(&'g File, &'g str)> {
        let at = |path: Arc<str>| Some((self.graph.files.get(&path)?, ""));
        match name {
            "crate" => at(self.graph.tree_crate(&file.path)?),
            "self" => Some((file, within)),
            "super" => self.tree_up(file, within),
            _ => self
                .tree_inside((file, within), name)
                .or_else(|| at(self.graph.tree_named(name)?)),
        }
    }

    fn tree_up(&self, file: &'g File, within: &'g str) -> Option<(&'g File, &'g str)> {
        if !within.is_empty() {
            return Some((file, within.rsplit_once("::").map_or("", |(up, _)| up)));
        }
        let up = self.graph.tree_parent(&file.path)?;
        Some((self.graph.files.get(&up)?, ""))
    }

    fn tree_inside(
        &self,
        (file, prefix): (&'g File, &'g str),
        name: &str,
    ) -> Option<(&'g File, &'g str)> {
        if prefix.is_empty()
            && let Some(Module::File(path)) = self.graph.child(&file.path, name)
        {
            return Some((self.graph.files.get(&path)?, ""));
        }
        let qualified = joined(prefix, name);
        let mut all = file.refs.defined(&qualified);
        let at = all.find(|at| file.refs.definitions[*at].kind == UnitKind::Module)?;
        Some((file, file.refs.text(file.refs.definitions[at].qualified)))
    }

    /// `self` and `super` within a path.
    fn upward(&self, file: &'g File, prefix: &'g str, name: &str) -> Option<Found<'g>> {
        let (file, prefix) = match name {
            "self" => (file, prefix),
            "super" => self.tree_up(file, prefix)?,
            _ => return None,
        };
        Some(Found::Is(Value::Module(file, prefix), Confidence::Certain))
    }

    /// What a name means in some modules, the first that knows it, or those that lend them their names.
    fn in_modules(&mut self, starts: &[(&'g File, &'g str)], name: &'g str) -> Option<Found<'g>> {
        for (file, prefix) in starts {
            for (at, (lender, prefix)) in self.lenders(file, prefix).into_iter().enumerate() {
                self.fuel = self.fuel.saturating_sub(1);
                if let Some(found) = self.in_module(lender, prefix, name, at == 0) {
                    return Some(found);
                }
            }
        }
        None
    }

    fn in_module(
        &mut self,
        file: &'g File,
        prefix: &'g str,
        name: &'g str,
        is_here: bool,
    ) -> Option<Found<'g>> {
        let defs: Vec<Def<'g>> = file
            .refs
            .defined(&joined(prefix, name))
            .map(|at| Def {
                file,
                at: u32::try_from(at).unwrap_or_default(),
            })
            .filter(|def| {
                is_here
                    || !def.definition().is_private
                    || file.refs.syntax().modules == Modules::Include
            })
            .collect();
        if !defs.is_empty() {
            return Some(Found::Is(self.value_of(defs), Confidence::Certain));
        }
        if prefix.is_empty() {
            match self.graph.child(&file.path, name) {
                Some(Module::File(path)) => return self.file_value(&path),
                Some(Module::Group(group)) => {
                    return Some(Found::Is(Value::Group(group), Confidence::Certain));
                }
                None => {}
            }
        }
        let wanted = file.refs.name(name)?;
        let binds = |import: &&Import| {
            import.bound == Some(wanted) && {
                let within = file.refs.text(import.within);
                within == prefix || within.is_empty()
            }
        };
        let mut imports = file.refs.imports.iter().filter(binds);
        let import = imports.next()?;
        Some(self.follow(file, import))
    }

    /// Goes after an import.
    fn follow(&mut self, file: &'g File, import: &Import) -> Found<'g> {
        let refs = &file.refs;
        let mut frame = Frame::new(file, NO_UNIT, import.path);
        frame.is_import = true;
        let modules = refs.syntax().modules;
        let module = refs.text(import.module);
        let within = refs.text(import.within);
        frame.value = match modules {
            Modules::Tree => None,
            Modules::Dotted if module.is_empty() => None,
            Modules::Include if module.is_empty() => None,
            Modules::Package if module.is_empty() => Some(Value::Group(String::new())),
            _ => match self.graph.module(file, module) {
                Some(Module::File(path)) => match self.graph.files.get(&path) {
                    Some(file) => Some(Value::Module(file, "")),
                    None => return OUTSIDE,
                },
                Some(Module::Group(group)) => Some(Value::Group(group)),
                None => return OUTSIDE,
            },
        };
        if modules == Modules::Tree
            && let Some((first, _)) = frame.parts.first()
        {
            let Some((file, prefix)) = self.tree_start(file, within, first) else {
                // A type, or another import of the same module.
                let known =
                    frame.parts.len() > 1 && *first != refs.text(import.bound.unwrap_or_default());
                frame.is_import = !known;
                return if known {
                    Found::Follow(Box::new(frame))
                } else {
                    OUTSIDE
                };
            };
            frame.value = Some(Value::Module(file, prefix));
            frame.parts.remove(0);
        }
        Found::Follow(Box::new(frame))
    }

    fn file_value(&self, path: &str) -> Option<Found<'g>> {
        let file = self.graph.files.get(path)?;
        Some(Found::Is(Value::Module(file, ""), Confidence::Certain))
    }

    fn value_of(&self, defs: Vec<Def<'g>>) -> Value<'g> {
        if let Some(def) = defs.iter().find(|def| def.is_type()) {
            return Value::Type(*def);
        }
        let is_module = |def: &&Def<'_>| def.definition().kind == UnitKind::Module;
        if let Some(def) = defs.iter().find(is_module) {
            let name = def.file.refs.text(def.definition().name);
            let inside = self.graph.child(&def.file.path, name);
            if let Some(Module::File(path)) = inside
                && let Some(file) = self.graph.files.get(&path)
            {
                return Value::Module(file, "");
            }
            return Value::Module(def.file, def.qualified());
        }
        Value::Items(defs)
    }

    /// What the other files of a package call by this name.
    fn beside(&self, file: &'g File, name: &str) -> Option<Found<'g>> {
        let package = self.graph.package_of(file)?;
        self.of_package(file, package, name)
    }

    fn of_package(&self, file: &'g File, package: &str, name: &str) -> Option<Found<'g>> {
        let is_in = |def: &Def<'g>| {
            def.qualified() == name && self.graph.package_of(def.file) == Some(package)
        };
        let defs: Vec<Def<'g>> = self.named(name, file).filter(is_in).collect();
        (!defs.is_empty()).then(|| Found::Is(self.value_of(defs), Confidence::Certain))
    }

    fn in_group(&self, file: &'g File, group: &str, name: &str) -> Option<Found<'g>> {
        match file.refs.syntax().modules {
            Modules::Folder => self.of_package(file, group, name),
            Modules::Package => self.of_package(file, group, name).or_else(|| {
                let below = if group.is_empty() {
                    name.to_owned()
                } else {
                    format!("{group}.{name}")
                };
                let is_there = self.graph.has_package(&below);
                is_there.then_some(Found::Is(Value::Group(below), Confidence::Certain))
            }),
            Modules::Dotted => match self.graph.grouped(group, name)? {
                Module::File(path) => self.file_value(&path),
                Module::Group(group) => Some(Found::Is(Value::Group(group), Confidence::Certain)),
            },
            _ => None,
        }
    }

    /// What a path that begins outside of the file begins with.
    fn root(&mut self, file: &'g File, unit: u32, name: &'g str) -> Option<Found<'g>> {
        match file.refs.syntax().modules {
            Modules::Tree => {
                let within = file.refs.units.get(unit as usize);
                let within = within.map_or("", |unit| file.refs.text(unit.qualified));
                let is_module = |prefix: &&str| {
                    let mut all = file.refs.defined(prefix);
                    all.any(|at| file.refs.definitions[at].kind == UnitKind::Module)
                };
                let within = outwards(within).find(is_module).unwrap_or("");
                let (file, prefix) = self.tree_start(file, within, name)?;
                Some(Found::Is(Value::Module(file, prefix), Confidence::Certain))
            }
            Modules::Dotted => match self.graph.module(file, name)? {
                Module::File(path) => self.file_value(&path),
                Module::Group(group) => Some(Found::Is(Value::Group(group), Confidence::Certain)),
            }
            .filter(|_| unit == NO_UNIT),
            Modules::Package => {
                // All names of a package, or of a type.
                for import in file
                    .refs
                    .imports
                    .iter()
                    .filter(|import| import.bound.is_none())
                {
                    let parts = file.refs.chain(import.path);
                    let names: Vec<&str> =
                        parts.iter().map(|part| file.refs.text(part.name)).collect();
                    if let Some(found) = self.of_package(file, &names.join("."), name) {
                        return Some(found);
                    }
                    let (last, package) = names.split_last()?;
                    if let Some(Found::Is(Value::Type(def), _)) =
                        self.of_package(file, &package.join("."), last)
                        && !self.is_plain
                        && let Some(found) = self.member(def, name, true)
                    {
                        return Some(found);
                    }
                }
                let is_there = self.graph.has_package(name);
                is_there.then(|| Found::Is(Value::Group(name.to_owned()), Confidence::Certain))
            }
            _ => None,
        }
    }

    /// What a name means where names are known everywhere.
    fn everywhere(&self, file: &'g File, name: &str) -> Option<Found<'g>> {
        if file.refs.syntax().modules != Modules::Everywhere || file.refs.language.is_none() {
            return None;
        }
        let is_open = |def: &Def<'g>| {
            def.definition().kind != UnitKind::Method && !def.definition().is_private
        };
        let defs: Vec<Def<'g>> = self.named(name, file).filter(is_open).collect();
        let confidence = match defs.len() {
            0 => return None,
            1 => Confidence::Likely,
            len if len <= BY_NAME_MAX => Confidence::Possible,
            _ => return None,
        };
        Some(Found::Is(self.value_of(defs), confidence))
    }

    /// What a type is built upon, as far as it is known, and whether there is more.
    fn bases(&mut self, def: Def<'g>) -> (Vec<Def<'g>>, bool) {
        let mut found = Vec::new();
        let mut has_more = false;
        if self.is_plain {
            return (found, true);
        }
        let qualified = def.definition().qualified;
        let chains = def
            .file
            .refs
            .bases
            .iter()
            .filter(|base| base.0 == qualified);
        for (_, chain) in chains.take(BASES_MAX) {
            match self.type_at(def.file, *chain) {
                Some(Value::Type(base)) if base != def => found.push(base),
                _ => has_more = true,
            }
        }
        (found, has_more)
    }

    /// A member of a type, or of what it is built upon.
    fn member(&mut self, def: Def<'g>, name: &'g str, goes_up: bool) -> Option<Found<'g>> {
        let mut queue = VecDeque::from([def]);
        let mut seen = BTreeSet::new();
        let mut has_more = false;
        while let Some(of) = queue.pop_front() {
            self.fuel = self.fuel.saturating_sub(1);
            if seen.len() >= BASES_MAX || !seen.insert((of.file.path.clone(), of.at)) {
                continue;
            }
            let members = self.own_members(of, name);
            if !members.is_empty() {
                return Some(Found::Is(self.value_of(members), Confidence::Certain));
            }
            let refs = &of.file.refs;
            let wanted = refs.name(name);
            let qualified = of.definition().qualified;
            let field = refs
                .fields
                .iter()
                .find(|field| field.owner == qualified && Some(field.name) == wanted);
            if let Some(field) = field {
                return Some(match field.of {
                    Some(of_field) => {
                        Found::Follow(Box::new(Frame::new(of.file, field.unit, of_field)))
                    }
                    None => Found::Is(Value::Unknown, Confidence::Certain),
                });
            }
            if goes_up {
                let (bases, more) = self.bases(of);
                queue.extend(bases);
                has_more |= more;
            }
        }
        has_more.then_some(OUTSIDE)
    }

    fn own_members(&mut self, of: Def<'g>, name: &'g str) -> Vec<Def<'g>> {
        let type_name = of.file.refs.text(of.definition().name);
        let candidates: Vec<Def<'g>> = self.named(name, of.file).collect();
        let mut members = Vec::new();
        for def in candidates {
            let Some(owner) = def.owner() else {
                continue;
            };
            if owner.rsplit("::").next() != Some(type_name) {
                continue;
            }
            if self.belongs(def, owner, of) {
                members.push(def);
            }
        }
        members
    }

    /// Whether the type that a definition says it is a member of is this one.
    fn belongs(&mut self, def: Def<'g>, owner: &'g str, of: Def<'g>) -> bool {
        if def.file.path == of.file.path {
            return owner == of.qualified() || def.file.refs.defined(owner).next().is_none();
        }
        let is_own = def.file.refs.defined(owner).any(|at| {
            let kind = def.file.refs.definitions[at].kind;
            matches!(kind, UnitKind::Class | UnitKind::Type)
        });
        if is_own || self.is_plain {
            return false;
        }
        let name = owner.rsplit("::").next().unwrap_or(owner);
        let found = self.plain(Frame::named(def.file, NO_UNIT, vec![name]));
        matches!(found, Some(Value::Type(found)) if found == of)
            || (owner == of.qualified()
                && self
                    .lenders(def.file, "")
                    .iter()
                    .any(|(file, _)| file.path == of.file.path))
    }

    /// A member of types that are built upon one that only promises it.
    fn derived(&mut self, of: Def<'g>, name: &'g str) -> Found<'g> {
        let found = self.below(of, name);
        if found.is_empty() {
            return OUTSIDE;
        }
        Found::Is(Value::Items(found), Confidence::Likely)
    }

    /// What may be called in place of a method, because its type is built upon the method's.
    fn overriding(&mut self, def: Def<'g>) -> Vec<Def<'g>> {
        let is_method = matches!(
            def.definition().kind,
            UnitKind::Method | UnitKind::Declaration
        );
        let Some(owner) = def.owner().filter(|_| is_method) else {
            return Vec::new();
        };
        let name = def.file.refs.text(def.definition().name);
        let all = defined(def.file, owner).into_iter();
        let types: Vec<Def<'g>> = all.filter(Def::is_type).collect();
        types
            .into_iter()
            .flat_map(|of| self.below(of, name))
            .collect()
    }

    /// Members of this name of types that are built upon one.
    fn below(&mut self, of: Def<'g>, name: &str) -> Vec<Def<'g>> {
        if self.is_plain || !of.is_type() {
            return Vec::new();
        }
        let candidates: Vec<Def<'g>> = self.named(name, of.file).collect();
        let mut found = Vec::new();
        for def in candidates.into_iter().take(OVERRIDING_MAX) {
            let is_other = def.owner().is_some_and(|owner| owner != of.qualified());
            let owner = def.owner().filter(|_| is_other);
            let types = owner
                .map(|owner| defined(def.file, owner))
                .unwrap_or_default();
            let is_built_upon = types.into_iter().any(|one| self.is_built_upon(one, of));
            if is_built_upon {
                found.push(def);
            }
        }
        found
    }

    fn is_built_upon(&mut self, one: Def<'g>, of: Def<'g>) -> bool {
        let mut all = vec![one];
        let mut next = 0;
        while next < all.len() && all.len() < BASES_MAX {
            for base in self.bases(all[next]).0 {
                if base == of {
                    return true;
                }
                if !all.contains(&base) {
                    all.push(base);
                }
            }
            next += 1;
        }
        false
    }

    /// Methods of this name of types that a file knows.
    fn by_name(&self, file: &'g File, name: &str, step: Step) -> Found<'g> {
        let unknown = Found::Is(Value::Unknown, Confidence::Certain);
        let Step::Call(_) = step else {
            return unknown;
        };
        let syntax = file.refs.syntax();
        if syntax.common.contains(&name) {
            return unknown;
        }
        let is_visible = |def: &Def<'g>| {
            let owner = def.owner().and_then(|owner| owner.rsplit("::").next());
            let is_method = matches!(
                def.definition().kind,
                UnitKind::Method | UnitKind::Declaration
            );
            is_method && owner.is_some_and(|owner| self.is_visible(file, def, owner, syntax))
        };
        let defs: Vec<Def<'g>> = self.named(name, file).filter(is_visible).collect();
        let is_mentioned = |def: &Def<'g>| {
            let owner = def.owner().and_then(|owner| owner.rsplit("::").next());
            owner.is_some_and(|owner| file.refs.name(owner).is_some())
        };
        match defs.len() {
            0 => unknown,
            1 if is_mentioned(&defs[0]) => Found::Is(Value::Items(defs), Confidence::Likely),
            len if len <= BY_NAME_MAX => Found::Is(Value::Items(defs), Confidence::Possible),
            _ => unknown,
        }
    }

    fn is_visible(&self, file: &'g File, def: &Def<'g>, owner: &str, syntax: &Syntax) -> bool {
        let package = self.graph.package_of(file);
        let is_beside = package.is_some() && package == self.graph.package_of(def.file);
        let imports = || {
            file.refs.imports.iter().any(|import| {
                let module = self.graph.module(file, file.refs.text(import.module));
                match module {
                    Some(Module::File(path)) => path == def.file.path,
                    Some(Module::Group(group)) => {
                        syntax.modules == Modules::Folder && folder(&def.file.path) == group
                    }
                    None => false,
                }
            })
        };
        file.path == def.file.path || is_beside || file.refs.name(owner).is_some() || imports()
    }
}

const OUTSIDE: Found<'static> = Found::Is(Value::Outside, Confidence::Certain);

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}::{name}")
    }
}

/// The definitions of a qualified name in a file.
fn defined<'g>(file: &'g File, qualified: &str) -> Vec<Def<'g>> {
    let at = |at| Def {
        file,
        at: u32::try_from(at).unwrap_or_default(),
    };
    file.refs.defined(qualified).map(at).collect()
}

/// Of functions and values of one name, those that are used like this.
fn fitted(value: Value<'_>, step: Step) -> Value<'_> {
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
fn outwards(qualified: &str) -> impl Iterator<Item = &str> {
    fn above<'a>(at: &&'a str) -> Option<&'a str> {
        let up = at.rsplit_once("::").map_or("", |(up, _)| up);
        (!at.is_empty()).then_some(up)
    }
    std::iter::successors(Some(qualified), above).take(BASES_MAX)
}
