//! Standard output and standard error, and the exit code.
//!
//! Invariants:
//! - a closed pipe ends the process silently with 141;
//! - a failure is one document in JSON mode, else `error:` and `next:` lines.

use std::io::{self, Write};

use aura_api::{Exit, Failure};
use serde_json::{Value, json};

use crate::escape;

/// Prints one line; a reader that left is no error of ours.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(141);
    }
}

/// Prints one line for people beside the output.
pub(crate) fn note(text: &str) {
    // Nobody reads standard error: nothing is lost.
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Prints a document, narrowed to `fields` when given.
pub(crate) fn document(value: &Value, fields: &[String]) {
    let narrowed = if fields.is_empty() {
        value.clone()
    } else {
        narrow(value, fields)
    };
    line(&narrowed.to_string());
}

fn narrow(value: &Value, fields: &[String]) -> Value {
    let mut out = serde_json::Map::new();
    for field in fields {
        out.insert(
            field.clone(),
            value.get(field).cloned().unwrap_or(Value::Null),
        );
    }
    Value::Object(out)
}

/// Tells a failure and answers its exit code.
pub(crate) fn failure(failure: &Failure, is_json: bool) -> Exit {
    if is_json {
        line(&json!({ "schema": "aura.error/1", "error": failure }).to_string());
    } else {
        note(&format!(
            "error: {}  [{}]",
            escape(&failure.message),
            failure.id
        ));
        for next in &failure.next {
            note(&format!("next: {}   ({})", escape(&next.cmd), next.why));
        }
    }
    failure.exit
}
