//! Flags and small parts that both command lines share.
//!
//! Invariant: a flag means the same in both programs.

use std::{path::PathBuf, time::Duration};

use aura_api::{Exit, Failure, docs};
use aura_proto::message::{VERSION_MAX, VERSION_MIN};
use clap::{Args, Command, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::{
    duration, escape,
    output::{Outcome, Screen, Stop, View},
    table::Table,
};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the environment says no.
    #[default]
    Auto,
    /// Also in pipes.
    Always,
    /// Not at all.
    Never,
}

/// Flags of every command.
#[derive(Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Common {
    /// Stand in this directory
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
    /// Answer with one JSON document; FIELDS narrows it, such as link.state,peers.name
    #[arg(long, value_name = "FIELDS", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) json: Option<String>,
    /// Colour the output
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t)]
    pub(crate) color: Color,
    /// Print the answer only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice, say everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Never ask
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Give up after this long, such as 500ms, 30s or 5m
    #[arg(long, value_name = "DURATION", global = true, value_parser = duration::parse_timeout)]
    pub(crate) timeout: Option<Duration>,
}

/// Prints a document: as JSON, or as text for people.
pub(crate) fn answer(
    screen: &mut Screen<'_>,
    document: &Value,
    human: impl FnOnce(&View) -> String,
) -> Result<(), Stop> {
    if screen.is_json() {
        screen.document(document)
    } else {
        let text = human(&screen.view());
        screen.text(&text)
    }
}

/// A document that is made here.
pub(crate) fn to_value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("documents have text keys only, so they are always JSON")
}

/// `help exit-codes`.
pub(crate) fn exit_codes(screen: &mut Screen<'_>) -> Outcome {
    let rows = Exit::TABLE.iter().map(|(exit, meaning)| (exit.0, *meaning));
    let signals = [
        (130, "interrupted"),
        (141, "the reader of the output went away"),
    ];
    let rows: Vec<(u8, &str)> = rows.chain(signals).collect();
    let codes = rows.iter().map(|(code, meaning)| docs::ExitCodeDoc {
        code: *code,
        meaning: (*meaning).to_owned(),
    });
    let document = docs::ExitCodes {
        schema: docs::ExitCodes::SCHEMA.to_owned(),
        codes: codes.collect(),
    };
    answer(screen, &to_value(&document), |view| {
        let mut table = Table::new(&["CODE", "MEANING"]);
        for (code, meaning) in rows {
            table.row([code.to_string(), meaning.to_owned()]);
        }
        table.show(view)
    })?;
    Ok(Exit::DONE)
}

/// `help` about a command, or about the exit codes.
pub(crate) fn help(screen: &mut Screen<'_>, mut program: Command, topic: &[String]) -> Outcome {
    if topic == ["exit-codes"] {
        return exit_codes(screen);
    }
    program.build();
    let mut command = &mut program;
    for name in topic {
        let Some(below) = command.find_subcommand_mut(name) else {
            let message = format!("there is no help about {}", topic.join(" "));
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("aura help", "the commands; the other topic is exit-codes")
                .into());
        };
        command = below;
    }
    let text = command.render_long_help();
    let colored = screen.view().colored;
    screen.text(&if colored {
        text.ansi().to_string()
    } else {
        text.to_string()
    })?;
    Ok(Exit::DONE)
}

/// `version` of either program.
pub(crate) fn version(screen: &mut Screen<'_>, program: &str, daemon: Option<String>) -> Outcome {
    let document = docs::Version {
        schema: docs::Version::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon,
        protocol_min: VERSION_MIN,
        protocol_max: VERSION_MAX,
    };
    answer(screen, &to_value(&document), |_| {
        let mut text = format!("{program} {}\n", document.version);
        if program == "aura" {
            let daemon = document.daemon.as_deref().map(escape::line);
            text.push_str(&format!(
                "daemon   {}\n",
                daemon.as_deref().unwrap_or("not running")
            ));
        }
        text + &format!(
            "protocol {} to {}\n",
            document.protocol_min, document.protocol_max
        )
    })?;
    if document
        .daemon
        .as_ref()
        .is_some_and(|daemon| *daemon != document.version)
    {
        screen.note("program and daemon differ; run: aura daemon restart");
    }
    Ok(Exit::DONE)
}
