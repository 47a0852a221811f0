//! JSON Schemas of all documents, made from the types that the documents are made from.
//!
//! Invariants:
//! - every document has one, and only this module knows how it is derived;
//! - a schema says what a reader of this version takes: what may be null or came later is not required, and fields
//!   that it does not name are allowed, because a version only ever gets more of them.

use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

use crate::docs;

pub(crate) use schemars::JsonSchema;

/// One sort of document.
#[derive(Debug, Clone, Copy)]
pub struct Document {
    /// The value of its `schema` field, such as `aura.status/1`.
    pub name: &'static str,
    derive: fn() -> Schema,
}

macro_rules! documents {
    ($($document:ident,)*) => {
        &[$(Document { name: docs::$document::SCHEMA, derive: derived::<docs::$document> },)*]
    };
}

/// All documents of both programs, by name.
pub const DOCUMENTS: &[Document] = documents![
    Blamed,
    BugReport,
    Config,
    Conflicts,
    DaemonLogs,
    Dag,
    Diff,
    DiffFiles,
    Doctor,
    Down,
    Failed,
    Event,
    ExitCodes,
    Found,
    Hello,
    Impact,
    Inbox,
    SetUp,
    Invite,
    Joined,
    JoinChecked,
    Log,
    ManPages,
    Members,
    Merged,
    MergeExplained,
    MergePreview,
    Sent,
    Mode,
    Netcheck,
    Outline,
    Paused,
    Peers,
    Ping,
    Prompts,
    Published,
    Pulled,
    Resolved,
    Restored,
    Schemas,
    Shown,
    Status,
    TestMessage,
    ThenDoc,
    Touching,
    Undone,
    Version,
    Waited,
    Whoami,
    ZoneDone,
    Zones,
    BoxEvent,
    BoxInvite,
    BoxLog,
    PeerRevoked,
    BoxPeers,
    Ready,
    BoxStatus,
    TokenRevoked,
    Tokens,
    WalStat,
    WalTail,
    WalVerify,
];

impl Document {
    /// The document that a name means for `program`: the whole name, the one without a version, or its last word
    /// alone, which the program's own documents have first.
    pub fn find(name: &str, program: &str) -> Option<&'static Self> {
        let own = format!("{program}.{name}");
        let means: [&dyn Fn(&Self) -> bool; 4] = [
            &|document| document.name == name,
            &|document| document.stem() == name,
            &|document| document.stem() == own,
            &|document| {
                document
                    .stem()
                    .split_once('.')
                    .is_some_and(|(_, word)| word == name)
            },
        ];
        let found =
            |means: &&dyn Fn(&Self) -> bool| DOCUMENTS.iter().find(|document| means(document));
        means.iter().find_map(found)
    }

    /// The name without its version.
    fn stem(&self) -> &'static str {
        self.name
            .split_once('/')
            .map_or(self.name, |(stem, _)| stem)
    }

    /// Its JSON Schema, draft 2020-12.
    pub fn schema(&self) -> Value {
        let mut schema = (self.derive)();
        schema.insert("title".to_owned(), self.name.into());
        schema.to_value()
    }

    /// What it is, in one line for people.
    pub fn about(&self) -> String {
        let schema = self.schema();
        schema["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

fn derived<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(plain));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Takes out what a source file has and a reader of schemas does not want.
fn plain(schema: &mut Schema) {
    // `uint64` and its like are no formats of the draft, and strict validators refuse what they do not know.
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
