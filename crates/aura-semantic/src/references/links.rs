//! From an expression to the chain of names that it is.
//!
//! Invariants:
//! - a chain is followed from its last name to its first in a loop of bounded length.

use tree_sitter::Node;

use crate::references::collect::{Collect, piece};
use crate::references::draft::{Link, Links};
use crate::references::file::{CHAIN_MAX, Step};
use crate::references::words::{paths, type_path};

/// Most nodes on the way from the last name of a chain to its first.
const STEPS_MAX: usize = CHAIN_MAX * 4;

/// A chain that is followed from its end.
struct Way {
    /// The names so far, the last first.
    links: Vec<Link>,
    rooted: bool,
    /// What happens at the next name that is found.
    step: Step,
    takes: bool,
}

impl Way {
    /// What happens at a name; nothing then at the one before it.
    fn passed(&mut self) -> Step {
        std::mem::replace(&mut self.step, Step::Plain)
    }
}

impl Collect<'_> {
    /// The chain that an expression is; with `takes`, its nodes are not looked at again.
    pub(super) fn links(&mut self, node: Node<'_>, takes: bool) -> Option<Links> {
        let mut way = Way {
            links: Vec::new(),
            rooted: false,
            step: Step::Plain,
            takes,
        };
        let mut at = node;
        for _ in 0..STEPS_MAX {
            if way.links.len() >= CHAIN_MAX {
                break;
            }
            if takes && at.id() != node.id() {
                self.taken.insert(at.id());
            }
            match self.towards_root(&mut way, at) {
                Some(before) => at = before,
                None => break,
            }
        }
        let Way {
            mut links, rooted, ..
        } = way;
        links.reverse();
        (!links.is_empty()).then_some(Links { links, rooted })
    }

    /// Takes in one node of a chain; what stands before its name, if anything does.
    fn towards_root<'tree>(&mut self, way: &mut Way, at: Node<'tree>) -> Option<Node<'tree>> {
        let (syntax, kind) = (self.syntax, at.kind());
        if let Some(call) = syntax.calls.iter().find(|call| call.node == kind) {
            if way.step != Step::Plain {
                return None;
            }
            way.step = Step::Call(arguments(at, call.arguments));
            let callee = piece(at, call.callee)?;
            let object = piece(at, call.object).filter(|_| !call.object.is_empty());
            let Some(object) = object.filter(|object| object.id() != callee.id()) else {
                return Some(callee);
            };
            self.name(way, callee);
            return Some(object);
        }
        if let Some((_, object, name)) = syntax.members.iter().find(|member| member.0 == kind) {
            let name = piece(at, name)?;
            self.name(way, name);
            return piece(at, object).filter(|object| object.id() != name.id());
        }
        if let Some((_, of)) = syntax.casts.iter().find(|cast| cast.0 == kind) {
            let path = piece(at, of).and_then(|of| type_path(syntax, self.slice(of)))?;
            way.links.extend(Links::made(path).links.into_iter().rev());
            way.rooted = true;
            return None;
        }
        if let Some((_, inside)) = syntax.through.iter().find(|rule| rule.0 == kind) {
            return piece(at, inside);
        }
        if syntax.paths.contains(&kind) {
            let mut found = paths(self.slice(at)).into_iter();
            let path = found.find(|path| path.depth == 0)?;
            way.rooted = !path.cut;
            for name in path.names.into_iter().rev().take(CHAIN_MAX) {
                let step = way.passed();
                way.links.push((name, step));
            }
        } else if syntax.names.contains(&kind) || self.is_word(at) {
            let step = way.passed();
            way.links.push((self.text(at), step));
            way.rooted = true;
        }
        None
    }

    /// Takes in the name of a member.
    fn name(&mut self, way: &mut Way, name: Node<'_>) {
        if way.takes {
            self.taken.insert(name.id());
        }
        let text = self.text(name);
        let bare = text.trim_start_matches(['.', '?', '!']).to_owned();
        let step = way.passed();
        way.links.push((bare, step));
    }

    fn is_word(&self, node: Node<'_>) -> bool {
        let (syntax, text) = (self.syntax, self.slice(node));
        let words = [syntax.own, syntax.own_type, syntax.above];
        let mut words = words.into_iter().flatten();
        words.any(|word| word.as_bytes() == text)
            || (node.kind() == "crate" && node.child_count() == 0)
    }

    /// Chains among plain tokens: names joined by signs, called if brackets follow.
    pub(super) fn tokens(&mut self, node: Node<'_>) {
        let mut cursor = node.walk();
        let mut chain: Vec<(String, Step)> = Vec::new();
        let (mut joins, mut start, mut cut) = (false, 0, false);
        let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
        for child in children {
            let kind = child.kind();
            let text = self.slice(child);
            if self.syntax.names.contains(&kind) || self.is_word(child) {
                self.taken.insert(child.id());
                if !joins {
                    self.token_chain(&mut chain, start, cut);
                    start = child.start_byte();
                    cut = false;
                }
                chain.push((self.text(child), Step::Plain));
                joins = false;
            } else if matches!(text, b"." | b"::") {
                cut |= chain.is_empty();
                joins = true;
            } else if self.syntax.tokens.contains(&kind) && !joins && text.starts_with(b"(") {
                if let Some(last) = chain.last_mut() {
                    let mut inside = child.walk();
                    let commas = child.children(&mut inside).filter(|c| c.kind() == ",");
                    let count = commas.count() + usize::from(child.named_child_count() > 0);
                    last.1 = Step::Call(u8::try_from(count).unwrap_or(u8::MAX));
                }
            } else {
                self.token_chain(&mut chain, start, cut);
                (joins, cut) = (false, false);
            }
        }
        self.token_chain(&mut chain, start, cut);
    }

    fn token_chain(&mut self, chain: &mut Vec<(String, Step)>, at: usize, cut: bool) {
        let mut links = std::mem::take(chain);
        let excess = links.len().saturating_sub(CHAIN_MAX);
        links.drain(..excess);
        let rooted = !cut && excess == 0;
        let links = Links { links, rooted };
        self.use_of(at, (!links.links.is_empty()).then_some(links));
    }
}

fn arguments(node: Node<'_>, name: &str) -> u8 {
    let Some(list) = piece(node, name).filter(|_| !name.is_empty()) else {
        return u8::MAX;
    };
    let mut cursor = list.walk();
    let given = list
        .named_children(&mut cursor)
        .filter(|child| !child.is_extra());
    u8::try_from(given.take(usize::from(u8::MAX)).count()).unwrap_or(u8::MAX)
}
