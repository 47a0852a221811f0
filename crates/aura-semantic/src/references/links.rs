//! From an expression to the chain of names that it is.
//!
//! Invariants:
//! - a chain is followed from its last name to its first in a loop of bounded length.

use tree_sitter::Node;

use crate::references::collect::{Collect, piece};
use crate::references::draft::Links;
use crate::references::file::{CHAIN_MAX, Step};
use crate::references::words::{paths, type_path};

/// Most nodes on the way from the last name of a chain to its first.
const STEPS_MAX: usize = CHAIN_MAX * 4;

impl Collect<'_> {
    /// The chain that an expression is; with `takes`, its nodes are not looked at again.
    pub(super) fn links(&mut self, node: Node<'_>, takes: bool) -> Option<Links> {
        let syntax = self.syntax;
        let mut links = Vec::new();
        let mut rooted = false;
        let mut at = node;
        // What happens at the next name that is found.
        let mut step = Step::Plain;
        for _ in 0..STEPS_MAX {
            if links.len() >= CHAIN_MAX {
                break;
            }
            let kind = at.kind();
            if takes && at.id() != node.id() {
                self.taken.insert(at.id());
            }
            if let Some(call) = syntax.calls.iter().find(|call| call.node == kind) {
                if step != Step::Plain {
                    break;
                }
                step = Step::Call(arguments(at, call.arguments));
                let callee = piece(at, call.callee)?;
                if call.object.is_empty() {
                    at = callee;
                    continue;
                }
                let object = piece(at, call.object).filter(|object| object.id() != callee.id());
                let Some(object) = object else {
                    at = callee;
                    continue;
                };
                if takes {
                    self.taken.insert(callee.id());
                }
                links.push((self.text(callee), std::mem::replace(&mut step, Step::Plain)));
                at = object;
            } else if let Some((_, object, name)) =
                syntax.members.iter().find(|member| member.0 == kind)
            {
                let name = piece(at, name)?;
                if takes {
                    self.taken.insert(name.id());
                }
                let text = self.text(name);
                let bare = text.trim_start_matches(['.', '?', '!']).to_owned();
                links.push((bare, std::mem::replace(&mut step, Step::Plain)));
                let Some(object) = piece(at, object).filter(|object| object.id() != name.id())
                else {
                    break;
                };
                at = object;
            } else if let Some((_, of)) = syntax.casts.iter().find(|cast| cast.0 == kind) {
                let path = piece(at, of).and_then(|of| type_path(syntax, self.slice(of)));
                if let Some(path) = path {
                    links.extend(Links::made(path).links.into_iter().rev());
                    rooted = true;
                }
                break;
            } else if let Some((_, inside)) = syntax.through.iter().find(|rule| rule.0 == kind) {
                let Some(inside) = piece(at, inside) else {
                    break;
                };
                at = inside;
            } else if syntax.paths.contains(&kind) {
                let mut found = paths(self.slice(at)).into_iter();
                let path = found.find(|path| path.depth == 0)?;
                rooted = !path.cut;
                for name in path.names.into_iter().rev().take(CHAIN_MAX) {
                    links.push((name, std::mem::replace(&mut step, Step::Plain)));
                }
                break;
            } else {
                if syntax.names.contains(&kind) || self.is_word(at) {
                    links.push((self.text(at), step));
                    rooted = true;
                }
                break;
            }
        }
        links.reverse();
        let is_some = !links.is_empty();
        is_some.then_some(Links { links, rooted })
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
