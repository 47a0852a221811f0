//! From a syntax tree to the references of a file, in one walk with a cursor.
//!
//! Invariants:
//! - no recursion: what stands around a node is a stack of frames;
//! - each node is looked at a bounded number of times;
//! - a name that is bound within a unit refers to nothing outside of it, unless it is bound to something that does.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::{Node, Tree};

use crate::indexed::Indexed;
use crate::language::UnitKind;
use crate::naming::readable;
use crate::outline::Unit;
use crate::references::draft::{Draft, Links};
use crate::references::file::{CHAIN_MAX, Definition, FileReferences, Known, NO_UNIT, Step};
use crate::references::imports;
use crate::references::syntax::{Binding, Syntax};
use crate::references::words::{type_path, type_paths};
use crate::steps::{child_of, part};

/// Most nodes of a pattern that are looked at for names.
const PATTERN_NODES_MAX: usize = 256;
/// Most bytes of a name or a pattern that are read.
const TEXT_BYTES_MAX: usize = 1024;
/// Most bindings of one name that are passed over because they do not hold yet.
const LATER_MAX: usize = 8;

/// The part of a node that a table names; an empty name is the first named child, `$` the last.
pub(super) fn piece<'tree>(node: Node<'tree>, name: &str) -> Option<Node<'tree>> {
    if name.is_empty() {
        let mut cursor = node.walk();
        return node
            .named_children(&mut cursor)
            .find(|child| !child.is_extra());
    }
    if name == "$" {
        let last = node.named_child_count().checked_sub(1)?;
        return node.named_child(u32::try_from(last).ok()?);
    }
    part(node, name)
}

/// A name bound within a unit.
struct Local {
    from: usize,
    to: usize,
    origin: Option<Links>,
}

/// A node around the one at hand.
#[derive(Clone, Copy)]
struct Frame<'a> {
    kind: &'a str,
    end: usize,
    is_scope: bool,
}

pub(super) struct Collect<'a> {
    pub(super) syntax: &'static Syntax,
    pub(super) bytes: &'a [u8],
    units: &'a [Unit],
    pub(super) draft: Draft,
    frames: Vec<Frame<'a>>,
    /// The units around the node at hand, innermost last.
    open: Vec<usize>,
    next: usize,
    locals: BTreeMap<String, Vec<Local>>,
    /// Nodes that are parts of what was taken already.
    pub(super) taken: BTreeSet<usize>,
    /// Starts of names that are bound, not used.
    bound: BTreeSet<usize>,
    /// The declared type or the value of each unit.
    of: BTreeMap<usize, Links>,
    /// Further names of units.
    extra: Vec<(usize, String, Option<Links>)>,
}

/// Reads what a file defines, uses and imports.
pub(super) fn collect<'a>(
    file: &'a Indexed,
    syntax: &'static Syntax,
    tree: &'a Tree,
) -> FileReferences {
    let mut collect: Collect<'a> = Collect {
        syntax,
        bytes: &file.bytes,
        units: &file.outline.units,
        draft: Draft::default(),
        frames: Vec::new(),
        open: Vec::new(),
        next: 0,
        locals: BTreeMap::new(),
        taken: BTreeSet::new(),
        bound: BTreeSet::new(),
        of: BTreeMap::new(),
        extra: Vec::new(),
    };
    let mut cursor = tree.walk();
    let mut goes_down = true;
    loop {
        if goes_down {
            goes_down = collect.enter(cursor.node(), cursor.field_name());
            if goes_down && cursor.goto_first_child() {
                continue;
            }
            collect.frames.pop();
        }
        if cursor.goto_next_sibling() {
            goes_down = true;
        } else if cursor.goto_parent() {
            collect.frames.pop();
            goes_down = false;
        } else {
            break;
        }
    }
    collect.define(file);
    collect.draft.out.language = file.outline.language;
    collect.draft.finish()
}

impl<'a> Collect<'a> {
    pub(super) fn text(&self, node: Node<'_>) -> String {
        let text = &self.bytes[node.byte_range()];
        readable(&text[..text.len().min(TEXT_BYTES_MAX)])
    }

    pub(super) fn slice(&self, node: Node<'_>) -> &'a [u8] {
        &self.bytes[node.byte_range()]
    }

    /// Takes in a node; `false` if nothing in it is to be looked at. Leaves a frame in any case.
    fn enter(&mut self, node: Node<'a>, field: Option<&str>) -> bool {
        let kind = node.kind();
        self.advance(node.start_byte());
        let parent = self.frames.last().map_or("", |frame| frame.kind);
        let is_scope = self.syntax.scopes.contains(&kind);
        self.frames.push(Frame {
            kind,
            end: node.end_byte(),
            is_scope,
        });
        if node.is_extra() && node.child_count() == 0 {
            return false;
        }
        if imports::take(self, node) {
            return false;
        }
        self.declare(node);
        if self.syntax.tokens.contains(&kind) {
            self.tokens(node);
            return true;
        }
        if self.taken.remove(&node.id()) {
            return true;
        }
        let is_path = self.syntax.paths.contains(&kind);
        if is_path && self.syntax.paths.contains(&parent) {
            return true;
        }
        let is_call = self.syntax.calls.iter().any(|call| call.node == kind);
        let is_member = self
            .syntax
            .members
            .iter()
            .any(|(member, ..)| *member == kind);
        if is_call || is_member || is_path {
            let links = self.links(node, true);
            self.use_of(node.start_byte(), links);
            return true;
        }
        let is_name = self.syntax.names.contains(&kind);
        let in_path = self.syntax.paths.contains(&parent);
        if is_name && !in_path && !self.is_label(parent, field) && !self.is_declared(node) {
            let links = Links::path(vec![self.text(node)]);
            self.use_of(node.start_byte(), Some(links));
        }
        true
    }

    fn advance(&mut self, at: usize) {
        while self
            .open
            .last()
            .is_some_and(|unit| self.units[*unit].span.end <= at)
        {
            self.open.pop();
        }
        while self
            .units
            .get(self.next)
            .is_some_and(|unit| unit.span.start <= at)
        {
            if self.units[self.next].span.end > at {
                self.open.push(self.next);
            }
            self.next += 1;
        }
    }

    fn unit(&self) -> Option<&'a Unit> {
        self.open.last().map(|unit| &self.units[*unit])
    }

    fn unit_number(&self) -> u32 {
        let unit = self.open.last().and_then(|unit| u32::try_from(*unit).ok());
        unit.unwrap_or(NO_UNIT)
    }

    /// The qualified name of the module within the file.
    pub(super) fn within(&self) -> &'a str {
        let is_module = |unit: &&usize| {
            let unit = &self.units[**unit];
            unit.kind == UnitKind::Module && unit.qualified.ends_with(&unit.name)
        };
        let module = self.open.iter().rev().find(is_module);
        module.map_or("", |unit| &self.units[*unit].qualified)
    }

    /// The qualified name of the type around the node at hand.
    fn owner(&self) -> Option<&'a str> {
        let is_type = |unit: &&usize| {
            matches!(
                self.units[**unit].kind,
                UnitKind::Class | UnitKind::Impl | UnitKind::Type
            )
        };
        let owner = self.open.iter().rev().find(is_type);
        let named = owner.map(|unit| self.units[*unit].qualified.as_str());
        // A method that stands outside of its type says in its name whose it is.
        let outside = || Some(self.unit()?.qualified.rsplit_once("::")?.0);
        named.or_else(outside)
    }

    /// The end of the innermost scope, if it lies within the unit at hand.
    fn scope(&self, unit: &Unit) -> Option<usize> {
        let scope = self.frames.iter().rev().find(|frame| frame.is_scope);
        scope
            .map(|frame| frame.end)
            .filter(|end| *end <= unit.span.end)
    }

    fn is_label(&self, parent: &str, field: Option<&str>) -> bool {
        let is_it = |(kind, name): &&(&str, &str)| {
            *kind == parent && (name.is_empty() || field == Some(*name))
        };
        self.syntax.labels.iter().any(|label| is_it(&label))
    }

    fn is_declared(&self, node: Node<'_>) -> bool {
        let named = |unit: &usize| {
            let span = self.units[*unit].name_span.as_ref();
            span.is_some_and(|span| span.start <= node.start_byte() && node.end_byte() <= span.end)
        };
        self.bound.contains(&node.start_byte()) || self.open.iter().rev().take(2).any(named)
    }

    /// Notes a use, seen through what its first name is bound to.
    pub(super) fn use_of(&mut self, at: usize, links: Option<Links>) {
        let Some(links) = links.and_then(|links| self.seen_through(links, at)) else {
            return;
        };
        let unit = self.unit_number();
        self.draft.use_of(unit, &links);
    }

    /// Puts in place of a name that is bound here what it is bound to.
    fn seen_through(&mut self, mut links: Links, at: usize) -> Option<Links> {
        if !links.rooted {
            return Some(links);
        }
        let first = links.links.first()?.clone();
        let Some(bound) = self.locals.get_mut(&first.0) else {
            return Some(links);
        };
        while bound.last().is_some_and(|local| local.to <= at) {
            bound.pop();
        }
        let holds = |local: &&Local| local.from <= at && at < local.to;
        match bound.iter().rev().take(LATER_MAX).find(holds) {
            None => return Some(links),
            Some(local) => {
                let origin = local.origin.clone();
                links.links.remove(0);
                let origin = origin.and_then(|mut origin| {
                    let last = origin.links.last_mut()?;
                    match (last.1, first.1) {
                        (_, Step::Plain) => {}
                        (Step::Plain, step) => last.1 = step,
                        _ => return None,
                    }
                    Some(origin)
                });
                match origin {
                    Some(mut origin) => {
                        origin.links.append(&mut links.links);
                        links = origin;
                    }
                    None => links.rooted = false,
                }
            }
        }
        if links.links.len() > CHAIN_MAX {
            let excess = links.links.len() - CHAIN_MAX;
            links.links.drain(..excess);
            links.rooted = false;
        }
        (!links.links.is_empty()).then_some(links)
    }

    /// Notes what a node binds, declares as a field, is built upon or gives back.
    fn declare(&mut self, node: Node<'_>) {
        let (kind, syntax) = (node.kind(), self.syntax);
        for binding in syntax
            .bindings
            .iter()
            .filter(|binding| binding.node == kind)
        {
            self.bind(node, binding);
        }
        for (_, name, bound) in syntax.generics.iter().filter(|rule| rule.0 == kind) {
            let Some(name) = piece(node, name) else {
                continue;
            };
            let bound = piece(node, bound).filter(|bound| bound.id() != name.id());
            let origin = bound.and_then(|bound| type_path(syntax, self.slice(bound)));
            let to = self.unit().map_or(node.end_byte(), |unit| unit.span.end);
            self.local(name, node.start_byte()..to, origin.map(Links::path));
        }
        if syntax.nested.contains(&kind) {
            self.hide_nested(node);
        }
        for (_, name, of_type, when) in syntax.fields.iter().filter(|rule| rule.0 == kind) {
            if when.is_empty() || child_of(node, &[when]).is_some() {
                self.fields(node, name, of_type);
            }
        }
        for (_, name) in syntax.bases.iter().filter(|rule| rule.0 == kind) {
            let owner = self.owner();
            if let (Some(list), Some(owner)) = (piece(node, name), owner) {
                for path in type_paths(syntax, self.slice(list)) {
                    self.draft.base(owner, &Links::path(path));
                }
            }
        }
        for (_, of_type, _) in syntax.embeds.iter().filter(|rule| rule.0 == kind) {
            let is_named = syntax
                .embeds
                .iter()
                .any(|rule| node.child_by_field_name(rule.2).is_some());
            let of = piece(node, of_type).filter(|_| !is_named);
            let path = of.and_then(|of| type_path(syntax, self.slice(of)));
            if let (Some(path), Some(owner)) = (path, self.owner()) {
                self.draft.base(owner, &Links::path(path));
            }
        }
        for (_, name) in syntax.returns.iter().filter(|rule| rule.0 == kind) {
            let here = self
                .unit()
                .filter(|unit| node.start_byte() < unit.signature.end);
            let Some(unit) = here.and(self.open.last().copied()) else {
                continue;
            };
            let of = piece(node, name).and_then(|of| type_path(syntax, self.slice(of)));
            if let (Some(of), false) = (of, self.of.contains_key(&unit)) {
                self.of.insert(unit, Links::made(of));
            }
        }
    }

    /// A function within a body hides others of its name.
    fn hide_nested(&mut self, node: Node<'_>) {
        let is_unit = |unit: &Unit| {
            unit.core.start == node.start_byte() || unit.inner.is_some() || unit.body.is_none()
        };
        let Some(unit) = self.unit().filter(|unit| !is_unit(unit)) else {
            return;
        };
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let inside = self
            .frames
            .iter()
            .rev()
            .skip(1)
            .find(|frame| frame.is_scope);
        let to = inside.map_or(unit.span.end, |frame| frame.end);
        if Some(name.byte_range()) != unit.name_span {
            self.local(name, unit.span.start..to, None);
        }
    }

    fn local(&mut self, name: Node<'_>, holds: std::ops::Range<usize>, origin: Option<Links>) {
        self.bound.insert(name.start_byte());
        let text = self.text(name);
        self.locals.entry(text).or_default().push(Local {
            from: holds.start,
            to: holds.end,
            origin,
        });
    }

    fn bind(&mut self, node: Node<'_>, binding: &Binding) {
        let mut names = Vec::new();
        let mut patterns = Vec::new();
        for part in binding.names {
            let mut cursor = node.walk();
            let before = patterns.len();
            patterns.extend(node.children_by_field_name(part, &mut cursor));
            if patterns.len() == before {
                patterns.extend(piece(node, part));
            }
        }
        for pattern in &patterns {
            self.pattern(*pattern, &mut names);
        }
        let value = piece(node, binding.value).filter(|_| !binding.value.is_empty());
        if imports::require(self, value, &patterns) {
            names.iter().for_each(|name| {
                self.bound.insert(name.start_byte());
            });
            return;
        }
        let declared = piece(node, binding.of_type).filter(|_| !binding.of_type.is_empty());
        let declared = declared.and_then(|of| type_path(self.syntax, self.slice(of)));
        let is_declared = declared.is_some();
        let mut origin = declared.map(Links::made);
        if origin.is_none() {
            let value = value.map(|value| match value.kind() {
                "expression_list" => value.named_child(0).unwrap_or(value),
                _ => value,
            });
            origin = value.and_then(|value| self.links(value, false));
        }
        let origin = origin.and_then(|origin| match self.locals_of(&origin) {
            true => self.seen_through(origin, node.start_byte()),
            false => Some(origin),
        });
        self.own_field(&patterns, origin.as_ref());
        let opens = patterns.first().is_some_and(|first| self.opens(*first));
        for (at, name) in names.into_iter().enumerate() {
            let is_worth = is_declared || (at == 0 && opens);
            let origin = origin.clone().filter(|_| is_worth);
            self.bind_name(node, name, origin);
        }
    }

    fn locals_of(&self, links: &Links) -> bool {
        let first = links.links.first();
        first.is_some_and(|(name, _)| self.locals.contains_key(name))
    }

    /// Whether the first name of a pattern is worth the value.
    fn opens(&self, pattern: Node<'_>) -> bool {
        let text = self.slice(pattern);
        let text = &text[..text.len().min(TEXT_BYTES_MAX)];
        let is_open = |open: &str| text.starts_with(open.as_bytes());
        let has_one = !text.contains(&b'{') && !text.contains(&b'[');
        let plain = has_one && !text.contains(&b'(');
        plain || self.syntax.opens.iter().any(|open| is_open(open))
    }

    fn bind_name(&mut self, node: Node<'_>, name: Node<'_>, origin: Option<Links>) {
        let text = self.text(name);
        let words = [self.syntax.own, self.syntax.own_type];
        if words.into_iter().flatten().any(|word| *word == text) {
            return;
        }
        let Some((at, unit)) = self.open.last().copied().zip(self.unit()) else {
            return;
        };
        let scope = self.scope(unit).filter(|_| unit.inner.is_none());
        if let Some(to) = scope {
            let body = unit.body.as_ref().map_or(0, |body| body.start);
            let is_parameter = name.start_byte() < body;
            // Parameters of the unit itself live as long as its body.
            let to = if to <= body { unit.span.end } else { to };
            let from = if is_parameter {
                node.start_byte()
            } else {
                node.end_byte().min(to)
            };
            // The body of what binds is within the node for loops and branches.
            let holds = node
                .child_by_field_name("body")
                .or_else(|| node.child_by_field_name("consequence"));
            let from = holds.map_or(from, |body| body.start_byte().min(from));
            self.local(name, from..to, origin);
            return;
        }
        self.bound.insert(name.start_byte());
        if unit.name_span == Some(name.byte_range()) {
            if let Some(origin) = origin {
                self.of.entry(at).or_insert(origin);
            }
        } else {
            self.extra.push((at, text, origin));
        }
    }

    /// The names of a pattern, as far as they are bound by it.
    fn pattern<'tree>(&self, pattern: Node<'tree>, names: &mut Vec<Node<'tree>>) {
        let mut stack = vec![pattern];
        let mut left = PATTERN_NODES_MAX;
        while let Some(node) = stack.pop() {
            let kind = node.kind();
            let Some(fewer) = left.checked_sub(1) else {
                break;
            };
            left = fewer;
            let is_other = self.syntax.paths.contains(&kind)
                || self
                    .syntax
                    .members
                    .iter()
                    .any(|(member, ..)| *member == kind)
                || self.syntax.calls.iter().any(|call| call.node == kind);
            if is_other {
                continue;
            }
            if node.child_count() == 0 {
                let is_name =
                    self.syntax.names.contains(&kind) || kind.ends_with("identifier_pattern");
                let capital = self.slice(node).first().is_some_and(u8::is_ascii_uppercase);
                let is_bound = !(self.syntax.capitals_refer && capital);
                let is_type = kind == "type_identifier" && self.syntax.capitals_refer;
                if is_name && is_bound && !is_type {
                    names.push(node);
                }
                continue;
            }
            let mut cursor = node.walk();
            let mut inside: Vec<Node<'tree>> = Vec::new();
            if cursor.goto_first_child() {
                loop {
                    let skipped = matches!(
                        cursor.field_name(),
                        Some(
                            "value"
                                | "right"
                                | "type"
                                | "default_value"
                                | "parameters"
                                | "key"
                                | "size"
                        )
                    );
                    if !skipped {
                        inside.push(cursor.node());
                    }
                    if inside.len() >= PATTERN_NODES_MAX || !cursor.goto_next_sibling() {
                        break;
                    }
                }
            }
            stack.extend(inside.into_iter().rev());
        }
    }

    /// `self.name = value` makes a field.
    fn own_field(&mut self, patterns: &[Node<'_>], origin: Option<&Links>) {
        let [target] = patterns else {
            return;
        };
        let rule = self
            .syntax
            .members
            .iter()
            .find(|rule| rule.0 == target.kind());
        let Some((_, object, name)) = rule else {
            return;
        };
        let (object, name) = (piece(*target, object), piece(*target, name));
        let Some((object, name)) = object.zip(name) else {
            return;
        };
        if let Some(owner) = self.owner()
            && self.syntax.own.contains(&self.text(object).as_str())
        {
            let (name, unit) = (self.text(name), self.unit_number());
            self.draft.field(owner, &name, origin, unit);
        }
    }

    fn fields(&mut self, node: Node<'_>, name: &str, of_type: &str) {
        let Some(owner) = self.owner() else {
            return;
        };
        let of = piece(node, of_type).filter(|_| !of_type.is_empty());
        let of = of.and_then(|of| type_path(self.syntax, self.slice(of)));
        let of = of.map(Links::made);
        let of = of.and_then(|of| self.seen_through_type(of, node.start_byte()));
        let mut cursor = node.walk();
        let mut patterns: Vec<Node<'_>> = node.children_by_field_name(name, &mut cursor).collect();
        if patterns.is_empty() {
            patterns.extend(piece(node, name));
        }
        let mut names = Vec::new();
        for pattern in patterns {
            self.pattern(pattern, &mut names);
        }
        let unit = self.unit_number();
        for name in names {
            self.bound.insert(name.start_byte());
            let text = self.text(name);
            self.draft.field(owner, &text, of.as_ref(), unit);
        }
    }

    fn seen_through_type(&mut self, of: Links, at: usize) -> Option<Links> {
        match self.locals_of(&of) {
            true => self.seen_through(of, at),
            false => Some(of),
        }
    }

    fn define(&mut self, file: &Indexed) {
        for (at, unit) in self.units.iter().enumerate() {
            let qualified = self.draft.name(&unit.qualified);
            self.draft.out.units.push(Known {
                id: file.ids[at],
                qualified,
                kind: unit.kind,
                line: u32::try_from(unit.start_line).unwrap_or(u32::MAX),
            });
            let silent = matches!(
                unit.kind,
                UnitKind::Import | UnitKind::Statement | UnitKind::Impl
            );
            if silent || unit.name.is_empty() {
                continue;
            }
            let of = self.of.remove(&at);
            let exported = self.syntax.export_prefixes.iter();
            let stripped = exported.filter_map(|prefix| unit.qualified.strip_prefix(prefix));
            let name = stripped
                .min_by_key(|name| name.len())
                .unwrap_or(&unit.qualified)
                .to_owned();
            self.definition(at, &name, of);
        }
        for (at, name, of) in std::mem::take(&mut self.extra) {
            let around = self.units[at].parent.map(|parent| &self.units[parent]);
            let qualified = match around.map(|around| around.qualified.as_str()) {
                Some(around) => format!("{around}::{name}"),
                None => name,
            };
            self.definition(at, &qualified, of);
        }
    }

    fn definition(&mut self, at: usize, qualified: &str, of: Option<Links>) {
        let unit = &self.units[at];
        let last = qualified.rsplit([':', '.']).next().unwrap_or(qualified);
        let of = of.and_then(|of| self.draft.chain(&of));
        let private = self.syntax.private;
        let is_private = !private.is_empty()
            && self.bytes[unit.signature.clone()].starts_with(private.as_bytes())
            && unit
                .parent
                .is_none_or(|parent| self.units[parent].kind == UnitKind::Module);
        let definition = Definition {
            unit: u32::try_from(at).unwrap_or(NO_UNIT),
            name: self.draft.name(last),
            qualified: self.draft.name(qualified),
            kind: unit.kind,
            parameters: arity(&unit.parameters),
            of,
            is_private,
        };
        self.draft.define(definition);
    }
}

/// How many parameters the text of their types has.
fn arity(parameters: &str) -> Option<u8> {
    let inside = parameters.strip_prefix('(')?.strip_suffix(')')?;
    if inside.trim().is_empty() || inside == "void" {
        return Some(0);
    }
    if inside.contains("...") || inside.contains('=') {
        return None;
    }
    let mut depth = 0_usize;
    let mut commas = 0_u8;
    for next in inside.bytes() {
        match next {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' | b')' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => commas = commas.saturating_add(1),
            _ => {}
        }
    }
    Some(commas.saturating_add(1))
}
