//! The lists of one file while it is being read.
//!
//! Invariants:
//! - nothing grows past its limit; what is left out is said;
//! - what comes out depends on the file alone, not on the order in which names were met.

use std::collections::{BTreeMap, BTreeSet};

use crate::references::file::{
    Chain, Definition, FIELDS_MAX, Field, FileReferences, IMPORTS_MAX, Import, NAME_BYTES_MAX,
    PARTS_MAX, Part, Pool, Step, USES_MAX, Use,
};

/// A name of a chain with what happens at it.
pub(super) type Link = (String, Step);

/// A chain before its names are in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) links: Vec<Link>,
    pub(super) rooted: bool,
}

impl Links {
    /// A path of plain names.
    pub(super) fn path(names: Vec<String>) -> Self {
        Self {
            links: names.into_iter().map(|name| (name, Step::Plain)).collect(),
            rooted: true,
        }
    }

    /// A value of the type at the end of a path.
    pub(super) fn made(names: Vec<String>) -> Self {
        let mut links = Self::path(names);
        if let Some(last) = links.links.last_mut() {
            last.1 = Step::Made;
        }
        links
    }
}

/// A file's references, with names in the order in which they were met.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) out: FileReferences,
    names: BTreeMap<Box<str>, u32>,
    seen: BTreeSet<(u32, bool, Vec<Part>)>,
}

impl Draft {
    pub(super) fn name(&mut self, text: &str) -> u32 {
        if let Some(known) = self.names.get(text) {
            return *known;
        }
        let at = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.insert(text.into(), at);
        at
    }

    pub(super) fn chain(&mut self, links: &Links) -> Option<Chain> {
        let too_long = links
            .links
            .iter()
            .any(|(name, _)| name.len() > NAME_BYTES_MAX);
        let len = u8::try_from(links.links.len()).ok()?;
        if links.links.is_empty() || too_long || self.out.parts.len() >= PARTS_MAX {
            self.out.cut |= !links.links.is_empty();
            return None;
        }
        let start = u32::try_from(self.out.parts.len()).ok()?;
        for (name, step) in &links.links {
            let name = self.name(name);
            self.out.parts.push(Part { name, step: *step });
        }
        Some(Chain {
            start,
            len,
            rooted: links.rooted,
        })
    }

    pub(super) fn use_of(&mut self, unit: u32, links: &Links) {
        if self.out.uses.len() >= USES_MAX {
            self.out.cut = true;
            return;
        }
        let Some(chain) = self.chain(links) else {
            return;
        };
        let parts = self.out.chain(chain).to_vec();
        if self.seen.insert((unit, chain.rooted, parts)) {
            self.out.uses.push(Use { unit, chain });
        } else {
            self.out.parts.truncate(chain.start as usize);
        }
    }

    pub(super) fn import(
        &mut self,
        within: &str,
        bound: Option<&str>,
        module: &str,
        path: Vec<String>,
    ) {
        let is_loop = module.is_empty() && path.len() == 1 && Some(path[0].as_str()) == bound;
        if self.out.imports.len() >= IMPORTS_MAX || is_loop {
            self.out.cut |= !is_loop;
            return;
        }
        let empty = Chain {
            start: 0,
            len: 0,
            rooted: true,
        };
        let path = if path.is_empty() {
            empty
        } else {
            let Some(path) = self.chain(&Links::path(path)) else {
                return;
            };
            path
        };
        let import = Import {
            within: self.name(within),
            bound: bound.map(|bound| self.name(bound)),
            module: self.name(module),
            path,
        };
        self.out.imports.push(import);
    }

    pub(super) fn field(&mut self, owner: &str, name: &str, of: Option<&Links>, unit: u32) {
        if self.out.fields.len() >= FIELDS_MAX {
            self.out.cut = true;
            return;
        }
        let of = of.and_then(|of| self.chain(of));
        let (owner, name) = (self.name(owner), self.name(name));
        self.out.fields.push(Field {
            owner,
            name,
            of,
            unit,
        });
    }

    pub(super) fn base(&mut self, owner: &str, of: &Links) {
        if self.out.bases.len() >= FIELDS_MAX {
            self.out.cut = true;
            return;
        }
        if let Some(chain) = self.chain(of) {
            let owner = self.name(owner);
            self.out.bases.push((owner, chain));
        }
    }

    pub(super) fn define(&mut self, definition: Definition) {
        self.out.definitions.push(definition);
    }

    /// Sorts the pool and points everything at its new places.
    pub(super) fn finish(self) -> FileReferences {
        let mut out = self.out;
        let mut place = vec![0_u32; self.names.len()];
        for (to, from) in self.names.values().enumerate() {
            place[*from as usize] = u32::try_from(to).unwrap_or(u32::MAX);
        }
        out.pool = Pool::new(self.names.keys().map(|name| &**name));
        let to = |name: &mut u32| *name = place[*name as usize];
        out.parts.iter_mut().for_each(|part| to(&mut part.name));
        out.units
            .iter_mut()
            .for_each(|unit| to(&mut unit.qualified));
        for definition in &mut out.definitions {
            to(&mut definition.name);
            to(&mut definition.qualified);
        }
        for import in &mut out.imports {
            to(&mut import.within);
            to(&mut import.module);
            import.bound.iter_mut().for_each(to);
        }
        for field in &mut out.fields {
            to(&mut field.owner);
            to(&mut field.name);
        }
        out.bases.iter_mut().for_each(|(owner, _)| to(owner));
        // Of what is equal the first in the file goes first.
        out.imports.sort_by_key(|import| import.bound);
        out.fields
            .sort_by_key(|field| (field.owner, field.name, field.of.is_none()));
        out.bases.sort_by_key(|base| base.0);
        let mut order: Vec<u32> = (0..).take(out.definitions.len()).collect();
        order.sort_by_key(|at| (out.definitions[*at as usize].qualified, *at));
        out.by_qualified = order;
        out.shrink();
        out
    }
}
