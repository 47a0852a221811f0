//! What a file makes known of other files.
//!
//! Invariants:
//! - an import is walked once with an explicit stack; its paths are bounded.

use tree_sitter::Node;

use crate::references::collect::{Collect, piece};
use crate::references::file::CHAIN_MAX;
use crate::references::syntax::{Bare, ImportRule, Take};
use crate::references::words::paths;
use crate::steps::child_of;

/// Most nodes of one import that are looked at.
const NODES_MAX: usize = 1 << 14;

/// Takes in a node if it is an import, says of which package the file is, or exports something whole.
pub(super) fn take(collect: &mut Collect<'_>, node: Node<'_>) -> bool {
    let syntax = collect.syntax;
    let kind = node.kind();
    if kind == syntax.package && node.is_named() {
        let names = joined(collect, node, ".");
        // Its own word stands before it.
        let name = names
            .strip_prefix("package.")
            .or(names.strip_prefix("namespace."));
        let name = name.unwrap_or(&names);
        collect.draft.out.package.get_or_insert_with(|| name.into());
        return kind != "namespace_declaration";
    }
    let (whole, word) = syntax.default_export;
    if kind == whole && child_of(node, &[word]).is_some() {
        default_export(collect, node);
    }
    let mut rules = syntax.imports.iter().filter(|rule| rule.node == kind);
    let applies = |rule: &&ImportRule| {
        rule.when.is_empty() || rule.when.iter().any(|name| piece(node, name).is_some())
    };
    let Some(rule) = rules.find(applies) else {
        return false;
    };
    import(collect, node, rule);
    true
}

fn joined(collect: &Collect<'_>, node: Node<'_>, sign: &str) -> String {
    let found = paths(collect.slice(node));
    let names: Vec<String> = found.into_iter().flat_map(|path| path.names).collect();
    names.join(sign)
}

fn default_export(collect: &mut Collect<'_>, node: Node<'_>) {
    let inside = node
        .child_by_field_name("declaration")
        .or_else(|| node.child_by_field_name("value"));
    let Some(inside) = inside else {
        return;
    };
    let name = inside.child_by_field_name("name").or(Some(inside));
    let name = name.filter(|name| name.child_count() == 0);
    if let Some(name) = name {
        let name = collect.text(name);
        collect.draft.import("", Some("default"), "", vec![name]);
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'', '`', '<', '>'])
}

fn names(collect: &Collect<'_>, node: Node<'_>) -> Vec<String> {
    let found = paths(collect.slice(node)).into_iter();
    found.flat_map(|path| path.names).take(CHAIN_MAX).collect()
}

/// An import being read.
struct Reading<'a> {
    rule: &'a ImportRule,
    within: &'a str,
    module: String,
    is_wild: bool,
    found: bool,
}

fn import(collect: &mut Collect<'_>, node: Node<'_>, rule: &ImportRule) {
    let module = piece(node, rule.module).filter(|_| !rule.module.is_empty());
    let text = module
        .map(|module| collect.text(module))
        .unwrap_or_default();
    let mut reading = Reading {
        rule,
        within: collect.within(),
        module: unquoted(&text).to_owned(),
        is_wild: !rule.star.is_empty() && child_of(node, &[rule.star]).is_some(),
        found: false,
    };
    let mut stack: Vec<Open<'_>> = Vec::new();
    push_children(&mut stack, node, module, &[]);
    let mut left = NODES_MAX;
    while let Some(open) = stack.pop() {
        let Some(fewer) = left.checked_sub(1) else {
            break;
        };
        left = fewer;
        reading.node(collect, open, &mut stack);
    }
    if reading.found {
        return;
    }
    let is_all = reading.is_wild || rule.bare == Bare::All;
    if is_all {
        collect
            .draft
            .import(reading.within, None, &reading.module, Vec::new());
    } else if rule.bare == Bare::Last {
        let bound = reading.module.rsplit(['/', '.']).next().unwrap_or_default();
        let bound = bound.to_owned();
        collect
            .draft
            .import(reading.within, Some(&bound), &reading.module, Vec::new());
    }
}

/// A node that is still to be read, the kind of its parent, and the path above it.
struct Open<'tree> {
    node: Node<'tree>,
    parent: &'tree str,
    prefix: Vec<String>,
}

fn push_children<'tree>(
    stack: &mut Vec<Open<'tree>>,
    node: Node<'tree>,
    without: Option<Node<'tree>>,
    prefix: &[String],
) {
    let mut cursor = node.walk();
    let children: Vec<Node<'tree>> = node.children(&mut cursor).take(NODES_MAX).collect();
    let kept = children.into_iter().rev().filter(|child| {
        Some(child.id()) != without.map(|without| without.id())
            && child.kind() != "visibility_modifier"
    });
    stack.extend(kept.map(|child| Open {
        node: child,
        parent: node.kind(),
        prefix: prefix.to_vec(),
    }));
}

impl Reading<'_> {
    fn node<'tree>(
        &mut self,
        collect: &mut Collect<'_>,
        open: Open<'tree>,
        stack: &mut Vec<Open<'tree>>,
    ) {
        let Open {
            node: at,
            parent,
            mut prefix,
        } = open;
        let kind = at.kind();
        let rule = self.rule;
        let within_limits = prefix.len() < CHAIN_MAX;
        if let Some((_, part)) = rule.lists.iter().find(|list| list.0 == kind) {
            let path = piece(at, part);
            prefix.extend(path.map(|path| names(collect, path)).unwrap_or_default());
            if within_limits {
                push_children(stack, at, path, &prefix);
            }
            return;
        }
        if let Some((_, path, alias)) = rule.aliases.iter().find(|alias| alias.0 == kind) {
            let Some(path) = piece(at, path) else {
                return;
            };
            let alias = piece(at, alias).map(|alias| collect.text(alias));
            prefix.extend(names(collect, path));
            return self.named(collect, prefix, alias);
        }
        if rule.wild.contains(&kind) {
            prefix.extend(names(collect, at));
            self.found = true;
            return collect
                .draft
                .import(self.within, None, &self.module, prefix);
        }
        let leaf = rule
            .leaves
            .iter()
            .find(|(around, leaf, _)| *leaf == kind && (around.is_empty() || *around == parent));
        match leaf.map(|leaf| leaf.2) {
            Some(take) => self.leaf(collect, at, take, prefix),
            None => push_children(stack, at, None, &prefix),
        }
    }

    fn leaf(
        &mut self,
        collect: &mut Collect<'_>,
        at: Node<'_>,
        take: Take,
        mut prefix: Vec<String>,
    ) {
        let text = collect.text(at);
        self.found = true;
        match take {
            Take::Default => {
                let path = vec!["default".to_owned()];
                collect
                    .draft
                    .import(self.within, Some(&text), &self.module, path);
            }
            Take::Module => {
                collect
                    .draft
                    .import(self.within, Some(&text), &self.module, prefix);
            }
            Take::Head => {
                let whole = names(collect, at);
                if let Some(head) = whole.into_iter().next() {
                    collect
                        .draft
                        .import(self.within, Some(&head.clone()), &head, Vec::new());
                }
            }
            Take::Name => {
                let path = names(collect, at);
                let is_itself = !prefix.is_empty() && path == ["self"];
                if !is_itself {
                    prefix.extend(path);
                }
                if self.is_wild {
                    collect
                        .draft
                        .import(self.within, None, &self.module, prefix);
                } else {
                    self.named(collect, prefix, None);
                }
            }
        }
    }

    fn named(&mut self, collect: &mut Collect<'_>, path: Vec<String>, alias: Option<String>) {
        self.found = true;
        let last = path.last().cloned();
        if let Some(bound) = alias.or(last) {
            // Without a module the path says it all; where modules are files, it is this one.
            let path: Vec<String> = path.into_iter().take(CHAIN_MAX).collect();
            collect
                .draft
                .import(self.within, Some(&bound), &self.module, path);
        }
    }
}

/// Takes in `name = require("module")`; `false` if it is nothing of the kind.
pub(super) fn require(
    collect: &mut Collect<'_>,
    value: Option<Node<'_>>,
    patterns: &[Node<'_>],
) -> bool {
    let word = collect.syntax.require;
    let Some(value) = value.filter(|_| !word.is_empty()) else {
        return false;
    };
    let callee = value.child_by_field_name("function");
    let is_it = callee.is_some_and(|callee| collect.slice(callee) == word.as_bytes());
    let argument = value
        .child_by_field_name("arguments")
        .and_then(|list| list.named_child(0))
        .filter(|argument| is_it && argument.kind() == "string");
    let (Some(argument), [pattern]) = (argument, patterns) else {
        return false;
    };
    let module = collect.text(argument);
    let module = unquoted(&module).to_owned();
    if pattern.child_count() == 0 {
        let bound = collect.text(*pattern);
        collect.draft.import("", Some(&bound), &module, Vec::new());
        return true;
    }
    let mut cursor = pattern.walk();
    let children: Vec<Node<'_>> = pattern.named_children(&mut cursor).collect();
    for child in children {
        let key = child.child_by_field_name("key").unwrap_or(child);
        let bound = child.child_by_field_name("value").unwrap_or(child);
        if key.child_count() == 0 && bound.child_count() == 0 {
            let (key, bound) = (collect.text(key), collect.text(bound));
            collect.draft.import("", Some(&bound), &module, vec![key]);
        }
    }
    true
}
