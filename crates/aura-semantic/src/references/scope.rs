//! What a name means where it stands: scopes, modules, imports.
//!
//! Invariants:
//! - what is nearer goes before what is farther;
//! - modules that lend each other their names are gone through once.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::language::UnitKind;
use crate::references::file::{Import, NO_UNIT, Step};
use crate::references::graph::{Confidence, File};
use crate::references::modules::Module;
use crate::references::resolve::{
    BY_NAME_MAX, Def, Found, Frame, Lenders, OUTSIDE, Resolver, Value, WILD_MAX, joined, outwards,
};
use crate::references::syntax::Modules;

impl<'g> Resolver<'g> {
    /// What a bare name means in a unit.
    pub(super) fn scope(
        &mut self,
        file: &'g File,
        unit: u32,
        (name, step): (&'g str, Step),
    ) -> Option<Found<'g>> {
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
                let found = (syntax.bare_members && !self.is_plain)
                    .then(|| self.member(def, (name, step), true));
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
            .or_else(|| self.root(file, unit, (name, step)))
            .or_else(|| self.everywhere(file, name))
    }

    /// The type whose method stands outside of it.
    pub(super) fn owner_elsewhere(
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
    pub(super) fn own(&mut self, file: &'g File, within: &'g str, word: &str) -> Option<Found<'g>> {
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
            let base = self.bases(of_type).0.first().copied()?;
            Value::Made(base)
        } else if syntax.own_type.contains(&word) {
            Value::Type(of_type)
        } else {
            Value::Made(of_type)
        };
        Some(Found::Is(value, Confidence::Certain))
    }

    /// The modules whose names a module has as its own, itself first.
    pub(super) fn lenders(&mut self, file: &'g File, prefix: &'g str) -> Lenders<'g> {
        let key = (&*file.path, prefix);
        if let Some(known) = self.lent.get(&key) {
            return known.clone();
        }
        let mut all = vec![(file, prefix)];
        let mut seen = BTreeSet::from([key]);
        let mut next = 0;
        while next < all.len() && all.len() < WILD_MAX {
            let (file, prefix) = all[next];
            next += 1;
            for import in file.refs.wild_imports() {
                self.fuel = self.fuel.saturating_sub(1);
                if let Some(lent) = self.lent(file, prefix, import)
                    && seen.insert((&*lent.0.path, lent.1))
                {
                    all.push(lent);
                }
            }
        }
        let all: Lenders<'g> = all.into();
        self.lent.insert(key, all.clone());
        all
    }

    /// The module that an import of all names takes them from, as far as paths alone say.
    pub(super) fn lent(
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
    pub(super) fn tree_start(
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
                .or_else(|| at(self.graph.tree_named(name)?))
                .or_else(|| {
                    // A module beside the root, as it was named before paths began with `crate`.
                    let root = self.graph.tree_crate(&file.path)?;
                    self.tree_inside((self.graph.files.get(&root)?, ""), name)
                }),
        }
    }

    pub(super) fn tree_up(&self, file: &'g File, within: &'g str) -> Option<(&'g File, &'g str)> {
        if !within.is_empty() {
            return Some((file, within.rsplit_once("::").map_or("", |(up, _)| up)));
        }
        let up = self.graph.tree_parent(&file.path)?;
        Some((self.graph.files.get(&up)?, ""))
    }

    pub(super) fn tree_inside(
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
    pub(super) fn upward(&self, file: &'g File, prefix: &'g str, name: &str) -> Option<Found<'g>> {
        let (file, prefix) = match name {
            "self" => (file, prefix),
            "super" => self.tree_up(file, prefix)?,
            _ => return None,
        };
        Some(Found::Is(Value::Module(file, prefix), Confidence::Certain))
    }

    /// What a name means in some modules, the first that knows it, or those that lend them their names.
    pub(super) fn in_modules(
        &mut self,
        starts: &[(&'g File, &'g str)],
        name: &'g str,
    ) -> Option<Found<'g>> {
        for (file, prefix) in starts {
            for (at, (lender, prefix)) in self.lenders(file, prefix).iter().enumerate() {
                self.fuel = self.fuel.saturating_sub(1);
                if let Some(found) = self.in_module(lender, prefix, name, at == 0) {
                    return Some(found);
                }
            }
        }
        None
    }

    pub(super) fn in_module(
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
        let holds = |import: &&Import| {
            let within = file.refs.text(import.within);
            within == prefix || within.is_empty()
        };
        let import = file.refs.imports_of(name).iter().find(holds)?;
        Some(self.follow(file, import))
    }

    /// Goes after an import.
    pub(super) fn follow(&mut self, file: &'g File, import: &Import) -> Found<'g> {
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

    pub(super) fn file_value(&self, path: &str) -> Option<Found<'g>> {
        let file = self.graph.files.get(path)?;
        Some(Found::Is(Value::Module(file, ""), Confidence::Certain))
    }

    pub(super) fn value_of(&self, defs: Vec<Def<'g>>) -> Value<'g> {
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
    pub(super) fn beside(&self, file: &'g File, name: &str) -> Option<Found<'g>> {
        let package = self.graph.package_of(file)?;
        self.of_package(file, package, name)
    }

    pub(super) fn of_package(
        &self,
        file: &'g File,
        package: &str,
        name: &str,
    ) -> Option<Found<'g>> {
        let is_in = |def: &Def<'g>| {
            def.qualified() == name && self.graph.package_of(def.file) == Some(package)
        };
        let defs: Vec<Def<'g>> = self.named(name, file).filter(is_in).collect();
        (!defs.is_empty()).then(|| Found::Is(self.value_of(defs), Confidence::Certain))
    }

    pub(super) fn in_group(&self, file: &'g File, group: &str, name: &str) -> Option<Found<'g>> {
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
    pub(super) fn root(
        &mut self,
        file: &'g File,
        unit: u32,
        (name, step): (&'g str, Step),
    ) -> Option<Found<'g>> {
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
                for import in file.refs.wild_imports() {
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
                        && let Some(found) = self.member(def, (name, step), true)
                    {
                        return Some(found);
                    }
                }
                let is_there = self.graph.has_package(name);
                is_there.then(|| Found::Is(Value::Group(name.to_owned()), Confidence::Certain))
            }
            Modules::Folder => {
                // Packages whose names are known as if they were its own.
                let mut lenders = file.refs.wild_imports().iter();
                lenders.find_map(|import| {
                    match self.graph.module(file, file.refs.text(import.module))? {
                        Module::Group(group) => self.of_package(file, &group, name),
                        Module::File(_) => None,
                    }
                })
            }
            _ => None,
        }
    }

    /// What a name means where names are known everywhere.
    pub(super) fn everywhere(&self, file: &'g File, name: &str) -> Option<Found<'g>> {
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
}
