//! A file as nested pieces: units of the outline, the syntax within them, down to single tokens.
//!
//! Invariants:
//! - every token of the file but commas is in exactly one leaf, so leaves and what is between them join to the file;
//! - a unit is one piece with all that is attached to it, wherever it stands;
//! - built with a cursor and a stack: nesting costs no recursion.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::ops::Range;

use tree_sitter::{Node, Tree, TreeCursor};

use crate::indexed::Indexed;
use crate::language::UnitKind;
use crate::value::UnitId;
use crate::walk::is_blank;

/// A unit of the outline that a piece stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: UnitId,
    pub(crate) kind: UnitKind,
    pub(crate) is_named: bool,
    /// The hash of its name.
    pub(crate) name: u64,
}

/// One piece.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The grammar's number for the kind of node; units have that of the first node in them.
    pub(crate) kind: u16,
    /// The field of the parent that the node fills, or zero.
    pub(crate) field: u16,
    pub(crate) unit: Option<Held>,
    /// A comment or the like, which may stand anywhere.
    pub(crate) is_extra: bool,
    pub(crate) is_named: bool,
    pub(crate) span: Range<usize>,
    /// Its parts in order, in [`Pieces::children`].
    children: Range<usize>,
    /// Its tokens in order, in [`Pieces::tokens`].
    tokens: Range<usize>,
    /// How its tokens hang together, in [`Pieces::shape`].
    shape: Range<usize>,
    /// Equal for equal tokens in equal nesting, whatever the white space between them.
    pub(crate) hash: u64,
}

/// What the name of a kind of node tells of it, see [`Pieces::name_in`].
#[derive(Clone, Copy, Debug, Default)]
struct Role {
    has_name: bool,
    lists_names: bool,
    is_case: bool,
}

/// The role of each kind, by its number.
struct Roles(Vec<Role>);

impl Roles {
    fn new(language: &tree_sitter::Language) -> Self {
        let count = u16::try_from(language.node_kind_count()).unwrap_or(u16::MAX);
        let role = |kind: u16| {
            let name = language.node_kind_for_id(kind).unwrap_or_default();
            let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
            Role {
                has_name: has(NAMED_KINDS),
                lists_names: has(NAME_LISTS),
                is_case: has(CASES),
            }
        };
        Self((0..count).map(role).collect())
    }

    fn of(&self, kind: u16) -> Role {
        self.0.get(usize::from(kind)).copied().unwrap_or_default()
    }
}

/// A piece in two halves, see [`Pieces::divided`].
#[derive(Debug)]
pub(crate) struct Divided {
    pub(crate) named: Vec<u64>,
    pub(crate) others: Vec<u64>,
    pub(crate) others_count: usize,
}

/// The pieces of one file version.
pub(crate) struct Pieces<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) language: tree_sitter::Language,
    /// Kinds of nodes whose parts may stand in any order, and of these parts.
    free: &'static [(&'static str, &'static [&'static str])],
    /// Further kinds of nodes in which no key should stand twice.
    keyed: &'static [&'static str],
    /// Kinds of nodes whose parts begin in one column.
    aligned: &'static [&'static str],
    /// The kinds of a comma and a semicolon, see [`Pieces::is_separator`].
    separators: [u16; 2],
    roles: Roles,
    pieces: Vec<Piece>,
    children: Vec<usize>,
    tokens: Vec<u64>,
    /// Tokens and, around those of one node, its kind and [`END`]; nothing of units, comments and separators, which
    /// may stand in one place or another of the same tree.
    shape: Vec<u64>,
    root: usize,
}

impl<'a> Pieces<'a> {
    pub(crate) fn root(&self) -> usize {
        self.root
    }

    pub(crate) fn get(&self, at: usize) -> &Piece {
        &self.pieces[at]
    }

    /// How many pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether a unit is anywhere in the file.
    pub(crate) fn has_unit(&self, id: UnitId) -> bool {
        let mut units = self.pieces.iter().filter_map(|piece| piece.unit);
        units.any(|held| held.id == id)
    }

    pub(crate) fn text(&self, at: usize) -> &'a [u8] {
        &self.bytes[self.pieces[at].span.clone()]
    }

    pub(crate) fn children(&self, at: usize) -> &[usize] {
        &self.children[self.pieces[at].children.clone()]
    }

    pub(crate) fn tokens(&self, at: usize) -> &[u64] {
        &self.tokens[self.pieces[at].tokens.clone()]
    }

    pub(crate) fn shape(&self, at: usize) -> &[u64] {
        // What is within a comment has none.
        let shape = self.shape.get(self.pieces[at].shape.clone());
        shape.unwrap_or_default()
    }

    pub(super) fn kind_name(&self, at: usize) -> &str {
        let kind = self.language.node_kind_for_id(self.pieces[at].kind);
        kind.unwrap_or_default()
    }

    /// The parts of a piece that fill one of these fields, and the others; none if it has no such field.
    pub(crate) fn divided(&self, at: usize, fields: &[&str]) -> Option<Divided> {
        let fields = fields.iter();
        let fields: Vec<u16> = fields
            .filter_map(|name| self.language.field_id_for_name(name))
            .map(NonZero::get)
            .collect();
        let parts = self.children(at).iter();
        let parts = parts.filter(|part| !self.pieces[**part].is_extra);
        let (named, others): (Vec<usize>, Vec<usize>) =
            parts.partition(|part| fields.contains(&self.pieces[**part].field));
        let tokens = |parts: &[usize]| {
            let tokens = parts.iter().flat_map(|part| self.tokens(*part));
            tokens.copied().collect()
        };
        (!named.is_empty()).then(|| Divided {
            named: tokens(&named),
            others: tokens(&others),
            others_count: others.len(),
        })
    }

    /// Whether a piece applies a sign to something.
    pub(crate) fn is_operation(&self, at: usize) -> bool {
        let kind = self.kind_name(at);
        OPERATIONS.iter().any(|word| kind.contains(word))
    }

    /// Its signs, and the tokens of what they are applied to.
    pub(crate) fn operation(&self, at: usize) -> (Vec<&'a [u8]>, Vec<u64>) {
        let (mut signs, mut operands) = (Vec::new(), Vec::new());
        for part in self.children(at) {
            let piece = &self.pieces[*part];
            match piece.is_named {
                _ if piece.is_extra => {}
                true if !self.is_sign(*part) => operands.extend(self.tokens(*part)),
                true | false => signs.push(meaning_of(self.text(*part))),
            }
        }
        (signs, operands)
    }

    /// Whether a named part is a sign all the same, as some grammars have it.
    fn is_sign(&self, at: usize) -> bool {
        self.children(at).is_empty() && self.kind_name(at).contains("operator")
    }

    /// Which kinds of parts of a piece may stand in any order, if any: nothing stands for all.
    pub(crate) fn free(&self, at: usize) -> Option<&'static [&'static str]> {
        let kind = self.kind_name(at);
        let free = self.free.iter().find(|(container, _)| *container == kind);
        free.map(|(_, kinds)| *kinds)
    }

    /// Whether a part may stand anywhere among such kinds.
    pub(crate) fn is_one_of(&self, at: usize, kinds: &[&str]) -> bool {
        let piece = &self.pieces[at];
        let is_known = || self.children(at).is_empty() || self.key_part(at).is_some();
        kinds.is_empty()
            || piece.is_extra
            || !piece.is_named
            || kinds.contains(&self.kind_name(at)) && is_known()
    }

    /// What an element of a list is known by.
    pub(crate) fn key(&self, at: usize) -> &'a [u8] {
        self.text(self.key_part(at).unwrap_or(at))
    }

    fn key_part(&self, at: usize) -> Option<usize> {
        let parts = self.children(at);
        let fields = KEY_FIELDS.map(|name| self.language.field_id_for_name(name));
        let named = fields.into_iter().flatten().find_map(|field| {
            let is_field = |part: &&usize| self.pieces[**part].field == field.get();
            parts.iter().find(is_field).copied()
        });
        let is_before_sign = || {
            let sign = parts.get(1).map(|part| self.text(*part));
            sign.is_some_and(|sign| KEY_SIGNS.contains(&sign))
        };
        named.or_else(|| parts.first().copied().filter(|_| is_before_sign()))
    }

    /// What stands more than once in one list though it is known by its name there, and how often.
    pub(crate) fn doubled(&self) -> BTreeMap<(u16, &'a [u8]), usize> {
        let mut doubled = BTreeMap::new();
        let mut known = Vec::new();
        for at in 0..self.pieces.len() {
            let parts = self.children(at);
            if parts.len() < 2 {
                continue;
            }
            known.clear();
            let is_keyed = self.keyed.contains(&self.kind_name(at)) || self.free(at).is_some();
            let is_listed = !is_keyed && self.is_listed(at);
            known.extend(parts.iter().filter_map(|part| match is_keyed {
                _ if !self.is_element(*part) => None,
                true => self.key_part(*part).map(|key| self.text(key)),
                false => self.name_in(*part, (at, is_listed)),
            }));
            if known.len() < 2 {
                continue;
            }
            known.sort_unstable();
            for same in known.chunk_by(|one, other| one == other) {
                if let [key, _, ..] = same {
                    let most = doubled.entry((self.pieces[at].kind, *key)).or_insert(0);
                    *most = same.len().max(*most);
                }
            }
        }
        doubled
    }

    /// What is referred to, as YAML does it, but not there.
    pub(crate) fn dangling(&self) -> BTreeSet<&'a [u8]> {
        let of_kind = |name: &str| {
            let kind = self.language.id_for_node_kind(name, true);
            let pieces = self.pieces.iter();
            let found = pieces.filter(move |piece| kind != 0 && piece.kind == kind);
            found.filter_map(|piece| self.bytes.get(piece.span.clone()))
        };
        let there: BTreeSet<&[u8]> = of_kind("anchor_name").collect();
        of_kind("alias_name")
            .filter(|name| !there.contains(name))
            .collect()
    }

    /// How many parts begin a line in another column than the first of their block, where that means something.
    pub(crate) fn ragged(&self) -> usize {
        if self.aligned.is_empty() {
            return 0;
        }
        let aligned = self.aligned.iter();
        let aligned: Vec<u16> = aligned
            .map(|kind| self.language.id_for_node_kind(kind, true))
            .collect();
        let column = |part: &usize| {
            let end = self.pieces[*part].span.start;
            // As far as anybody indents, so that long lines cost nothing.
            let before = &self.bytes[end.saturating_sub(COLUMNS_MAX)..end];
            let line = before.iter().rposition(|byte| *byte == b'\n');
            let lead = &before[line.map_or(0, |end| end + 1)..];
            is_blank(lead).then_some(lead)
        };
        let is_aligned = |at: &usize| {
            let piece = &self.pieces[*at];
            piece.unit.is_some() || aligned.contains(&piece.kind)
        };
        // A body has columns of its own, and a comment may stand in any.
        let body = self.language.id_for_node_kind("block", true);
        let is_in_line =
            |part: &&usize| self.pieces[**part].kind != body && !self.pieces[**part].is_extra;
        let blocks = (0..self.pieces.len()).filter(is_aligned);
        let ragged = blocks.map(|at| {
            let parts = self.children(at).iter().filter(is_in_line);
            let mut columns = parts.filter_map(column);
            let first = columns.next();
            columns.filter(|column| Some(*column) != first).count()
        });
        ragged.sum()
    }

    /// Whether something is listed that is no unit.
    pub(crate) fn is_element(&self, at: usize) -> bool {
        let piece = &self.pieces[at];
        piece.is_named && !piece.is_extra && piece.unit.is_none()
    }

    /// What a part is known by among the parts of a piece, where that is its name: a parameter, an attribute, the case
    /// of a switch, a quoted word where they are listed between commas.
    pub(crate) fn name_in(&self, at: usize, (whole, is_listed): (usize, bool)) -> Option<&'a [u8]> {
        let part = self.roles.of(self.pieces[at].kind);
        let whole_role = self.roles.of(self.pieces[whole].kind);
        if part.is_case {
            let value = self.language.field_id_for_name("value")?.get();
            let is_value = |part: &&usize| self.pieces[**part].field == value;
            return self
                .children(at)
                .iter()
                .find(is_value)
                .map(|value| self.text(*value));
        }
        let is_leaf = || self.children(at).is_empty();
        let of_part = || self.key_part(at).map(|key| self.text(key));
        let text = self.text(at);
        let name = match () {
            () if whole_role.lists_names && is_leaf() => Some(text),
            () if part.has_name => of_part(),
            () if is_listed && is_word(text) => Some(text),
            () => None,
        };
        // What has no name may be there more than once.
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        name.filter(|name| name.iter().any(is_letter))
    }

    /// Whether commas stand between the parts of a piece.
    pub(crate) fn is_listed(&self, at: usize) -> bool {
        let parts = self.children(at).len();
        (1..parts).any(|nth| self.gap(at, nth).contains(&b','))
    }

    /// Appends the tokens that white space has.
    pub(crate) fn say(&self, gap: &[u8], tokens: &mut Vec<u64>) {
        let [comma, semicolon] = self.separators;
        tokens.extend(gap.iter().filter_map(|byte| match byte {
            b',' => Some(token(comma, b",")),
            b';' => Some(token(semicolon, b";")),
            _ => None,
        }));
    }

    /// Whether a part of a node is a sign that counts as white space, as it belongs to what is before and behind it:
    /// any comma, and the semicolons of a list without an order.
    fn is_separator(&self, part: &Piece, within: u16) -> bool {
        let [comma, semicolon] = self.separators;
        let kind = || self.language.node_kind_for_id(within).unwrap_or_default();
        let is_listed = || self.free.iter().any(|(container, _)| *container == kind());
        !part.is_named && (part.kind == comma || part.kind == semicolon && is_listed())
    }

    /// The white space between the part before and the part `nth` of a piece.
    pub(crate) fn gap(&self, parent: usize, nth: usize) -> &'a [u8] {
        let parts = self.children(parent);
        let whole = &self.pieces[parent].span;
        let from = match nth.checked_sub(1) {
            Some(before) => self.pieces[parts[before]].span.end,
            None => whole.start,
        };
        let to = match parts.get(nth) {
            Some(part) => self.pieces[*part].span.start,
            None => whole.end,
        };
        &self.bytes[from.min(to)..to]
    }
}

/// Fields by which an element of a list is known, the first that it has.
const KEY_FIELDS: [&str; 6] = ["key", "name", "property", "left", "declarator", "pattern"];
/// Words in the names of kinds whose parts are known by their names.
const NAMED_KINDS: &[&str] = &[
    "argument",
    "attribute",
    "const_spec",
    "enum",
    "field",
    "pair",
    "parameter",
    "property",
];
/// Words in the names of kinds that apply a sign to something.
const OPERATIONS: &[&str] = &[
    "additive",
    "assignment",
    "binary",
    "boolean_operator",
    "comparison",
    "compound_assign",
    "conjunction",
    "disjunction",
    "equality",
    "infix",
    "multiplicative",
    "range",
];
/// Signs of one meaning, the word or the stricter one first.
const SAME_SIGNS: &[(&[u8], &[u8])] = &[
    (b"and", b"&&"),
    (b"or", b"||"),
    (b"===", b"=="),
    (b"!==", b"!="),
];

/// One of all signs that mean the same.
fn meaning_of(sign: &[u8]) -> &[u8] {
    let same = SAME_SIGNS.iter().find(|(one, _)| *one == sign);
    same.map_or(sign, |(_, other)| other)
}

/// Words in the names of kinds that list mere names.
const NAME_LISTS: &[&str] = &["enum", "parameter"];
/// Words in the names of kinds that are one case of a choice.
const CASES: &[&str] = &["switch_case", "expression_case", "case_statement"];
/// Longest indentation that is looked at, in bytes.
const COLUMNS_MAX: usize = 512;
/// Letters of a word.
const WORD_LETTERS: usize = 3;
/// Signs behind what an element of a list is known by.
const KEY_SIGNS: &[&[u8]] = &[b":", b"=>", b"="];

/// Whether a text is a quoted one that says enough for nobody to mean it twice.
fn is_word(text: &[u8]) -> bool {
    let is_quoted = text.first().is_some_and(|first| b"\"'`".contains(first));
    let letters = text.iter().filter(|byte| byte.is_ascii_alphabetic());
    is_quoted && WORD_LETTERS <= letters.count()
}

/// A piece under construction.
struct Open {
    piece: Piece,
    parts: Vec<usize>,
    /// The unit whose members may stand in it, if it is within one.
    within: Option<usize>,
    /// Where the wrapped unit ends, for a piece that is one.
    end: Option<usize>,
    is_node: bool,
    /// Whether the shape says where it begins.
    is_begun: bool,
    /// Whether it is only around a unit, which then has its parts.
    is_wrapper: bool,
}

struct Build<'a> {
    file: &'a Indexed,
    pieces: Pieces<'a>,
    /// The next unit of the outline that has not been met.
    next: usize,
    open: Vec<Open>,
}

/// Takes a parsed file apart.
pub(crate) fn pieces<'a>(file: &'a Indexed, tree: &Tree) -> Pieces<'a> {
    let bytes = &file.bytes[..];
    let mut build = Build {
        file,
        pieces: Pieces {
            bytes,
            language: tree.language().to_owned(),
            free: file
                .outline
                .language
                .map_or(&[], |language| language.0.free),
            keyed: file
                .outline
                .language
                .map_or(&[], |language| language.0.keyed),
            aligned: file
                .outline
                .language
                .map_or(&[], |language| language.0.aligned),
            separators: [",", ";"].map(|sign| tree.language().id_for_node_kind(sign, false)),
            roles: Roles::new(&tree.language()),
            pieces: Vec::new(),
            children: Vec::new(),
            tokens: Vec::new(),
            shape: Vec::new(),
            root: 0,
        },
        next: 0,
        open: Vec::new(),
    };
    let mut cursor = tree.walk();
    let mut root = build.node(cursor.node(), 0);
    root.piece.span = 0..bytes.len();
    build.open.push(root);
    build.descend(&mut cursor);
    while 1 < build.open.len() {
        build.close();
    }
    build.close();
    build.pieces.root = build.pieces.pieces.len() - 1;
    build.pieces
}

impl Build<'_> {
    /// Visits every node below the root.
    fn descend(&mut self, cursor: &mut TreeCursor<'_>) {
        if !cursor.goto_first_child() {
            return;
        }
        let mut depth = 1_usize;
        while 0 < depth {
            let node = cursor.node();
            let field = cursor.field_id().map_or(0, NonZero::get);
            self.leave(node.start_byte());
            self.enter(node);
            let mut opened = self.node(node, field);
            opened.is_begun = !opened.is_wrapper && 0 < node.child_count();
            if opened.is_begun {
                self.pieces.shape.push(begin(opened.piece.kind));
            }
            self.open.push(opened);
            if cursor.goto_first_child() {
                depth += 1;
                continue;
            }
            self.leaf(node);
            self.close_node();
            while 0 < depth && !cursor.goto_next_sibling() {
                cursor.goto_parent();
                depth -= 1;
                if 0 < depth {
                    self.close_node();
                }
            }
        }
    }

    fn node(&self, node: Node<'_>, field: u16) -> Open {
        let within = self.open.last().and_then(|open| open.within);
        Open {
            piece: Piece {
                kind: node.kind_id(),
                field,
                unit: None,
                is_extra: node.is_extra(),
                is_named: node.is_named(),
                span: self.said(node),
                children: 0..0,
                tokens: self.pieces.tokens.len()..0,
                shape: self.pieces.shape.len()..0,
                hash: u64::from(node.kind_id()),
            },
            parts: Vec::new(),
            within,
            end: None,
            is_node: true,
            is_begun: false,
            is_wrapper: self.is_wrapper(node),
        }
    }

    /// Whether a node is the first of a unit and belongs to what it is around.
    fn is_wrapper(&self, node: Node<'_>) -> bool {
        let language = self.file.outline.language;
        let is_around = |(kind, _): &(&str, &str)| *kind == node.kind();
        self.open
            .last()
            .is_some_and(|open| !open.is_node || open.is_wrapper)
            && language.is_some_and(|language| language.0.wrappers.iter().any(is_around))
    }

    /// Where a node stands, without the white space that some grammars give it at its end.
    fn said(&self, node: Node<'_>) -> Range<usize> {
        let span = node.byte_range();
        let text = self.pieces.bytes.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_ascii_end().len()
    }

    /// Closes units that end before an offset.
    fn leave(&mut self, start: usize) {
        while let Some(open) = self.open.last()
            && !open.is_node
            && open.end.is_some_and(|end| end <= start)
        {
            self.close();
        }
    }

    /// Opens the units that begin with a node.
    fn enter(&mut self, node: Node<'_>) {
        let language = self.file.outline.language;
        if language.is_some_and(|language| language.0.transparent.contains(&node.kind())) {
            return;
        }
        while let Some(unit) = self.file.outline.units.get(self.next) {
            let within = self.open.last().and_then(|open| open.within);
            let is_here = unit.parent == within
                && unit.span.start <= node.start_byte()
                && self.said(node).end <= unit.span.end;
            if !is_here {
                // A unit that the syntax does not show as one is text of what is around it.
                if unit.span.end <= node.start_byte() {
                    self.next += 1;
                    continue;
                }
                return;
            }
            let mut open = self.node(node, 0);
            open.piece.unit = self.file.ids.get(self.next).map(|id| Held {
                id: *id,
                kind: unit.kind,
                is_named: !unit.name.is_empty(),
                name: token(0, unit.name.as_bytes()),
            });
            open.piece.is_extra = false;
            open.piece.is_named = true;
            open.within = Some(self.next);
            open.end = Some(unit.span.end);
            open.is_node = false;
            open.is_wrapper = false;
            self.next += 1;
            self.open.push(open);
        }
    }

    fn leaf(&mut self, node: Node<'_>) {
        let text = &self.pieces.bytes[self.said(node)];
        let token = token(node.kind_id(), text);
        if !text.is_empty() {
            self.pieces.tokens.push(token);
            self.pieces.shape.push(token);
        }
        if let Some(open) = self.open.last_mut() {
            open.piece.hash = token;
        }
    }

    /// Closes the innermost node, and units in it that are still open.
    fn close_node(&mut self) {
        while let Some(open) = self.open.last() {
            let is_node = open.is_node;
            self.close();
            if is_node {
                return;
            }
        }
    }

    /// Whether something that is not in any of its parts stands in a piece.
    fn has_words(&self, piece: &Piece) -> bool {
        let parts = &self.pieces.children[piece.children.clone()];
        let Some(last) = parts.last() else {
            return false;
        };
        let says = |range: Range<usize>| {
            let text = self.pieces.bytes.get(range).unwrap_or_default();
            let is_space = |byte: &u8| byte.is_ascii_whitespace() || b",;\\".contains(byte);
            !text.iter().all(is_space)
        };
        let mut from = piece.span.start;
        let is_between = parts.iter().any(|part| {
            let span = &self.pieces.pieces[*part].span;
            let gap = from..span.start;
            from = span.end;
            says(gap)
        });
        is_between || says(self.pieces.pieces[*last].span.end..piece.span.end)
    }

    fn close(&mut self) {
        let Some(Open {
            mut piece,
            parts,
            is_node,
            is_begun,
            is_wrapper,
            ..
        }) = self.open.pop()
        else {
            return;
        };
        if is_wrapper && let Some(around) = self.open.last_mut() {
            around.parts.extend(parts);
            return;
        }
        piece.tokens.end = self.pieces.tokens.len();
        if is_begun {
            self.pieces.shape.push(END);
        }
        piece.shape.end = self.pieces.shape.len();
        if !is_node && let (Some(first), Some(last)) = (parts.first(), parts.last()) {
            let [first, last] = [first, last].map(|part| &self.pieces.pieces[*part]);
            piece.span = first.span.start..last.span.end;
            piece.tokens = first.tokens.start..last.tokens.end;
            piece.shape = first.shape.start..last.shape.end;
        }
        let from = self.pieces.children.len();
        for part in parts {
            // What the parser made up or what is empty has no text.
            if self.pieces.pieces[part].span.is_empty() {
                continue;
            }
            piece.hash = mix(piece.hash, self.pieces.pieces[part].hash);
            self.pieces.children.push(part);
        }
        piece.children = from..self.pieces.children.len();
        if !self.open.is_empty() && self.has_words(&piece) {
            // Some grammars have no nodes for the words of a text.
            self.pieces.children.truncate(from);
            piece.children = from..from;
            piece.hash = token(piece.kind, &self.pieces.bytes[piece.span.clone()]);
            self.pieces.shape.truncate(piece.shape.start);
            self.pieces.shape.push(piece.hash);
            piece.shape.end = self.pieces.shape.len();
        }
        if piece.is_extra || piece.span.is_empty() {
            self.pieces.shape.truncate(piece.shape.start);
            piece.shape.end = piece.shape.start;
        }
        let around = self.open.last().map(|around| around.piece.kind);
        if around.is_some_and(|around| self.pieces.is_separator(&piece, around)) {
            self.pieces.shape.truncate(piece.shape.start);
            return;
        }
        let at = self.pieces.pieces.len();
        self.pieces.pieces.push(piece);
        if let Some(around) = self.open.last_mut() {
            around.parts.push(at);
        }
    }
}

/// What a shape says where the tokens of a node end.
pub(crate) const END: u64 = 0;

/// What a shape says where the tokens of a node begin.
pub(crate) fn begin(kind: u16) -> u64 {
    u64::from(kind) + 1
}

/// The hash of a token.
pub(crate) fn token(kind: u16, text: &[u8]) -> u64 {
    let seed = mix(SEED, u64::from(kind));
    text.iter()
        .fold(seed, |hash, byte| mix(hash, u64::from(*byte)))
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
