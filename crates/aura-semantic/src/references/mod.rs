//! Who calls whom: the references between the units of a repository.
//!
//! A file gives its definitions, what its units use, and its imports ([`references`]); a [`Graph`] holds those of all
//! files and answers who calls a unit.
//!
//! Invariants:
//! - what differs between languages is in their tables;
//! - a name that cannot mean a unit is no reference to it, however alike they are;
//! - every list and every search has a limit.

mod collect;
mod draft;
mod file;
mod graph;
mod imports;
mod links;
mod members;
mod modules;
mod resolve;
mod scope;
pub(crate) mod syntax;
mod words;

pub use file::FileReferences;
pub use graph::{CALLERS_MAX, Confidence, Graph, Reference};

use tree_sitter::Tree;

use crate::indexed::{Indexed, index_with_tree};
use crate::outline::{Budget, Outline, parsed};

/// Finds the units of a file, and what it defines, uses and imports; its bytes are read once.
pub fn analyse(path: &str, bytes: &[u8], budget: &Budget) -> (Outline, FileReferences) {
    let (file, tree) = index_with_tree(path, bytes, None, budget);
    let references = references_in(&file, tree);
    (file.outline, references)
}

/// Finds what a file defines, uses and imports.
///
/// Parses the file again within its budget; a file without a grammar, or one that is handled as a whole, has nothing.
/// Of `go.mod`, `Cargo.toml` and `package.json` only the name is read.
pub fn references(file: &Indexed) -> FileReferences {
    references_in(file, parsed(&file.path, &file.bytes, &file.budget).1)
}

fn references_in(file: &Indexed, tree: Option<Tree>) -> FileReferences {
    if let Some(name) = modules::manifest(&file.path, &file.bytes) {
        return FileReferences {
            package: Some(name),
            ..FileReferences::default()
        };
    }
    let is_known = |language: &crate::language::Language| !language.0.references.names.is_empty();
    let language = file.outline.language.filter(is_known);
    match (language.filter(|_| file.is_structured()), tree) {
        (Some(language), Some(tree)) => collect::collect(file, language.0.references, &tree),
        _ => FileReferences::default(),
    }
}
