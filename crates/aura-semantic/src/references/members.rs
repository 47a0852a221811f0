//! What a name means in a type: members, fields, what a type is built upon, and what is built upon it.
//!
//! Invariants:
//! - types that are built upon each other are gone through once, and only so many;
//! - a name alone means a method only of a type that the file knows.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use crate::language::UnitKind;
use crate::references::file::{NO_UNIT, Step};
use crate::references::graph::{Confidence, File, folder};
use crate::references::modules::Module;
use crate::references::resolve::{
    BASES_MAX, BY_NAME_MAX, Bases, Def, Found, Frame, OUTSIDE, OVERRIDING_MAX, Resolver, Value,
    defined,
};
use crate::references::syntax::Modules;

impl<'g> Resolver<'g> {
    /// The definitions of what is only declared, in files that know the declaration.
    pub(super) fn linked(&mut self, def: Def<'g>) -> Vec<Def<'g>> {
        if def.file.refs.syntax().modules != Modules::Include {
            return Vec::new();
        }
        let name = def.file.refs.text(def.definition().name);
        let mut others = Vec::new();
        for other in self.named(name, def.file) {
            let is_other = other != def && other.qualified() == def.qualified();
            let is_hidden = other.definition().is_private || def.definition().is_private;
            if !is_other || is_hidden {
                continue;
            }
            if self.knows(other.file, def.file) || self.knows(def.file, other.file) {
                others.push(other);
            }
        }
        others
    }

    /// What a type is built upon, as far as it is known, and whether there is more.
    pub(super) fn bases(&mut self, def: Def<'g>) -> Bases<'g> {
        if self.is_plain {
            return (Rc::new([]), true);
        }
        if let Some(known) = self.bases.get(&def.key()) {
            return known.clone();
        }
        let mut found = Vec::new();
        let mut has_more = false;
        let chains = def.file.refs.bases(def.definition().qualified);
        for chain in chains.take(BASES_MAX) {
            match self.type_at(def.file, chain) {
                Some(Value::Type(base)) if base != def => found.push(base),
                _ => has_more = true,
            }
        }
        let bases: Bases<'g> = (found.into(), has_more);
        // Without fuel nothing was found out.
        if self.fuel > 0 {
            self.bases.insert(def.key(), bases.clone());
        }
        bases
    }

    /// A member of a type, or of what it is built upon.
    pub(super) fn member(
        &mut self,
        def: Def<'g>,
        (name, step): (&'g str, Step),
        goes_up: bool,
    ) -> Option<Found<'g>> {
        let mut queue = VecDeque::from([def]);
        let mut seen = BTreeSet::new();
        let mut has_more = false;
        while let Some(of) = queue.pop_front() {
            self.fuel = self.fuel.saturating_sub(1);
            if seen.len() >= BASES_MAX || !seen.insert((of.file.path.clone(), of.at)) {
                continue;
            }
            let field = of.file.refs.field(of.definition().qualified, name);
            // What is only named is the field, what is called the method.
            let members = match field {
                Some(_) if step == Step::Plain => Rc::new([]),
                _ => self.own_members(of, name),
            };
            if !members.is_empty() {
                return Some(Found::Is(
                    self.value_of(members.to_vec()),
                    Confidence::Certain,
                ));
            }
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
                queue.extend(bases.iter().copied());
                has_more |= more;
            }
        }
        has_more.then_some(OUTSIDE)
    }

    fn own_members(&mut self, of: Def<'g>, name: &'g str) -> Rc<[Def<'g>]> {
        let key = (of.key(), name);
        if let Some(known) = self.members.get(&key).filter(|_| !self.is_plain) {
            return known.clone();
        }
        let type_name = of.file.refs.text(of.definition().name);
        let mut members: Vec<Def<'g>> = self.named(name, of.file).collect();
        members.retain(|def| {
            let owner = def.owner().unwrap_or_default();
            owner.rsplit("::").next() == Some(type_name) && self.belongs(*def, owner, of)
        });
        let members: Rc<[Def<'g>]> = members.into();
        if self.fuel > 0 && !self.is_plain {
            self.members.insert(key, members.clone());
        }
        members
    }

    /// Whether the type that a definition says it is a member of is this one.
    pub(super) fn belongs(&mut self, def: Def<'g>, owner: &'g str, of: Def<'g>) -> bool {
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
            || (owner == of.qualified() && self.knows(def.file, of.file))
    }

    /// Whether a file has the names of another as its own.
    pub(super) fn knows(&mut self, file: &'g File, other: &File) -> bool {
        let lenders = self.lenders(file, "");
        lenders.iter().any(|(file, _)| file.path == other.path)
    }

    /// A member of types that are built upon one that only promises it.
    pub(super) fn derived(&mut self, of: Def<'g>, (name, step): (&'g str, Step)) -> Found<'g> {
        let found = self.below(of, name);
        if !found.is_empty() {
            return Found::Is(Value::Items(found), Confidence::Likely);
        }
        // Where types need not say what they are built upon, any that its file knows may be.
        let is_promise = of.file.refs.syntax().modules == Modules::Folder && self.is_bare(of);
        if !is_promise {
            return OUTSIDE;
        }
        match self.by_name(of.file, name, step) {
            Found::Is(value, _) => Found::Is(value, Confidence::Possible),
            follow => follow,
        }
    }

    /// Whether a type has neither fields nor methods.
    fn is_bare(&self, of: Def<'g>) -> bool {
        let (refs, definition) = (&of.file.refs, of.definition());
        let has_fields = refs
            .fields
            .iter()
            .any(|field| field.owner == definition.qualified);
        let prefix = format!("{}::", of.qualified());
        let has_methods = || {
            let mut all = refs.definitions.iter();
            all.any(|other| refs.text(other.qualified).starts_with(&prefix))
        };
        !has_fields && !has_methods()
    }

    /// What may be called in place of a method, because its type is built upon the method's.
    pub(super) fn overriding(&mut self, def: Def<'g>) -> Rc<[Def<'g>]> {
        if let Some(known) = self.overriding.get(&def.key()) {
            return known.clone();
        }
        let kind = def.definition().kind;
        let is_method = matches!(kind, UnitKind::Method | UnitKind::Declaration);
        let owner = def.owner().filter(|_| is_method);
        let name = def.file.refs.text(def.definition().name);
        let all = owner.map(|owner| defined(def.file, owner));
        let mut types = all.unwrap_or_default();
        types.retain(Def::is_type);
        let below = types.into_iter().flat_map(|of| self.below(of, name));
        let found: Rc<[Def<'g>]> = below.collect();
        if self.fuel > 0 {
            self.overriding.insert(def.key(), found.clone());
        }
        found
    }

    /// Members of this name of types that are built upon one.
    pub(super) fn below(&mut self, of: Def<'g>, name: &str) -> Vec<Def<'g>> {
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

    pub(super) fn is_built_upon(&mut self, one: Def<'g>, of: Def<'g>) -> bool {
        let mut all = vec![one];
        let mut next = 0;
        while next < all.len() && all.len() < BASES_MAX {
            for base in self.bases(all[next]).0.iter().copied() {
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
    pub(super) fn by_name(&mut self, file: &'g File, name: &str, step: Step) -> Found<'g> {
        let unknown = Found::Is(Value::Unknown, Confidence::Certain);
        let Step::Call(_) = step else {
            return unknown;
        };
        if file.refs.syntax().common.contains(&name) {
            return unknown;
        }
        let is_method = |def: &Def<'g>| {
            let kind = def.definition().kind;
            matches!(kind, UnitKind::Method | UnitKind::Declaration)
        };
        let mut defs: Vec<Def<'g>> = self.named(name, file).filter(is_method).collect();
        defs.retain(|def| {
            let owner = def.owner().and_then(|owner| owner.rsplit("::").next());
            owner.is_some_and(|owner| self.is_visible(file, def, owner))
        });
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

    /// Whether a file shows that it has to do with the type of a method.
    pub(super) fn is_visible(&mut self, file: &'g File, def: &Def<'g>, owner: &str) -> bool {
        let package = self.graph.package_of(file);
        let is_beside = package.is_some() && package == self.graph.package_of(def.file);
        if file.path == def.file.path || is_beside || file.refs.name(owner).is_some() {
            return true;
        }
        let of_file = Module::File(def.file.path.clone());
        let is_folder = file.refs.syntax().modules == Modules::Folder;
        let of_folder = is_folder.then(|| Module::Group(folder(&def.file.path).to_owned()));
        let imported = self.imported(file);
        imported.contains(&of_file) || of_folder.is_some_and(|of| imported.contains(&of))
    }

    /// The modules that a file names in its imports.
    fn imported(&mut self, file: &'g File) -> Rc<BTreeSet<Module>> {
        if let Some(known) = self.imported.get(&*file.path) {
            return known.clone();
        }
        let named = file.refs.imports.iter().map(|import| import.module);
        let named: BTreeSet<u32> = named.collect();
        let modules = named.into_iter().filter_map(|name| {
            self.fuel = self.fuel.saturating_sub(1);
            self.graph.module(file, file.refs.text(name))
        });
        let modules: Rc<BTreeSet<Module>> = Rc::new(modules.collect());
        self.imported.insert(&file.path, modules.clone());
        modules
    }
}
