//! The fields and variants that were met in values, as the tables of the pages must list them.

use std::collections::{BTreeMap, BTreeSet};

use crate::trace::Node;

/// One row of a table: a field and its encoding, or number, name and fields of a variant.
pub(crate) type Row = Vec<String>;

/// Fields in their order, each with the encodings that were seen: an empty list tells less than a full one.
type Fields = Vec<(&'static str, BTreeSet<String>)>;

/// Structs and enums by name.
#[derive(Default)]
pub(crate) struct Shapes {
    structs: BTreeMap<&'static str, Fields>,
    enums: BTreeMap<&'static str, BTreeMap<u32, (&'static str, Fields)>>,
}

impl Shapes {
    /// Takes note of everything in a value.
    pub(crate) fn note(&mut self, node: &Node) {
        match node {
            Node::List(items) | Node::Tuple(items) => items.iter().for_each(|item| self.note(item)),
            Node::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                self.note(key);
                self.note(value);
            }),
            Node::Option(Some(content)) => self.note(content),
            Node::Struct(name, fields) => {
                note_fields(self.structs.entry(name).or_default(), fields);
                fields.iter().for_each(|(_, field)| self.note(field));
            }
            Node::Variant(name, number, variant, content) => {
                let rows = self.enums.entry(name).or_default();
                let (_, row) = rows.entry(*number).or_insert((variant, Fields::new()));
                match content.as_deref() {
                    // The fields of a variant come as a struct of the variant's name.
                    Some(Node::Struct(inner, fields)) if inner == variant => {
                        note_fields(row, fields);
                        fields.iter().for_each(|(_, field)| self.note(field));
                    }
                    Some(content) => {
                        row.resize(1, ("", BTreeSet::new()));
                        row[0].1.insert(content.word());
                        self.note(content);
                    }
                    None => {}
                }
            }
            Node::Blob(_)
            | Node::Bool(_)
            | Node::Bytes(_)
            | Node::Number(..)
            | Node::Option(None)
            | Node::Text(_) => {}
        }
    }

    /// The table that each struct and enum must have.
    pub(crate) fn tables(&self) -> BTreeMap<String, Vec<Row>> {
        let field = |(field, words): &(&str, _)| vec![(*field).to_owned(), word(words)];
        let structs = self.structs.iter().map(|(name, fields)| {
            let rows = fields.iter().map(field).collect();
            ((*name).to_owned(), rows)
        });
        let variant = |(number, (variant, fields)): (&u32, &(&str, _))| {
            vec![number.to_string(), (*variant).to_owned(), fields_of(fields)]
        };
        let enums = self.enums.iter().map(|(name, rows)| {
            let rows = rows.iter().map(variant).collect();
            ((*name).to_owned(), rows)
        });
        structs.chain(enums).collect()
    }
}

fn note_fields(known: &mut Fields, fields: &[(&'static str, Node)]) {
    known.resize(fields.len(), ("", BTreeSet::new()));
    for ((name, words), (field, node)) in known.iter_mut().zip(fields) {
        *name = field;
        words.insert(node.word());
    }
}

/// The one encoding among what was seen; an empty list or option says nothing.
fn word(words: &BTreeSet<String>) -> String {
    let mut told = words
        .iter()
        .filter(|word| !word.is_empty() && !word.ends_with(' '));
    let word = told.next().cloned().unwrap_or_default();
    assert_eq!(told.next(), None, "two encodings: {words:?}");
    word
}

fn fields_of(fields: &Fields) -> String {
    let shown = |(field, words): &(&str, _)| match *field {
        "" => word(words),
        field => format!("`{field}` {}", word(words)),
    };
    match &fields.iter().map(shown).collect::<Vec<_>>()[..] {
        [] => "none".to_owned(),
        shown => shown.join(", "),
    }
}
