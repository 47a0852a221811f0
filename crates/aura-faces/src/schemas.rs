//! `schema`: what stands in the documents that `--json` prints.
//!
//! Invariant: it shows what the programs are built with, and asks nobody.

use aura_api::{Exit, Failure, docs, schema, schema::Document};

use crate::{
    common::{answer, to_value},
    output::{Outcome, Screen},
    table::Table,
};

/// `schema` of either program: the list of documents, or the schema of one.
pub(crate) fn schema(screen: &mut Screen<'_>, program: &str, name: Option<&str>) -> Outcome {
    let Some(name) = name else {
        return list(screen);
    };
    let Some(document) = Document::find(name, program) else {
        let message = format!("there is no document {name}");
        return Err(Failure::new("AE-NO-SCHEMA", Exit::USAGE, message)
            .next(format!("{program} schema"), "lists all documents by name")
            .into());
    };
    let schema = document.schema();
    answer(screen, &schema, |_| format!("{schema:#}"))?;
    Ok(Exit::DONE)
}

fn list(screen: &mut Screen<'_>) -> Outcome {
    let rows = schema::DOCUMENTS.iter().map(|document| docs::SchemaDoc {
        name: document.name.to_owned(),
        about: document.about(),
    });
    let document = docs::Schemas {
        schema: docs::Schemas::SCHEMA.to_owned(),
        schemas: rows.collect(),
    };
    answer(screen, &to_value(&document), |view| {
        let mut table = Table::new(&["NAME", "ABOUT"]);
        for row in &document.schemas {
            table.row([row.name.clone(), row.about.clone()]);
        }
        table.show(view)
    })?;
    Ok(Exit::DONE)
}
