//! What a command prints: documents, lines for people, failures.
//!
//! Invariants:
//! - with JSON, standard output carries documents only and standard error stays for progress;
//! - a reader that goes away stops the command, it is no failure.

use std::io::{self, ErrorKind, Write};

use aura_api::{Exit, Failure, Next, docs};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    common::{Color, Common, to_value},
    escape,
    world::{Env, Terminals, World},
};

/// How a command line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an exit code, everything said.
    Done(Exit),
    /// Nobody reads any more.
    PipeClosed,
}

/// Why a command did not come to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed.
    Failed(Failure),
    /// Nobody reads any more.
    PipeClosed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What most commands return.
pub(crate) type Outcome = Result<Exit, Stop>;

/// How texts are made for the reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// The moment that `ago` counts from.
    pub(crate) now: Timestamp,
    /// Escape sequences for colour are wanted.
    pub(crate) colored: bool,
    /// Signs beyond ASCII are not.
    pub(crate) ascii: bool,
    /// A terminal reads it, so tables may be fitted to its width.
    pub(crate) fitted: bool,
    /// How wide that is, in columns.
    pub(crate) columns: usize,
}

/// Columns of a terminal that does not say.
const COLUMNS: u16 = 80;

/// Colours that carry meaning; words always say the same.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    /// Fine.
    Good,
    /// Needs somebody.
    Bad,
    /// Degraded.
    Warn,
    /// Less important.
    Faint,
}

impl View {
    /// Text that is safe already, in a colour.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.colored {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Good => 32,
            Paint::Bad => 31,
            Paint::Warn => 33,
            Paint::Faint => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// What stands between the parts of a line.
    pub(crate) fn dot(&self) -> &'static str {
        if self.ascii { " - " } else { " · " }
    }

    /// What stands for this program in a prompt.
    pub(crate) fn mark(&self) -> &'static str {
        if self.ascii { "<>" } else { "⇄" }
    }

    /// What stands before a step that worked.
    pub(crate) fn tick(&self) -> &'static str {
        if self.ascii { "+" } else { "✓" }
    }
}

/// Standard output and error of one command.
pub(crate) struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    fields: Option<Vec<Vec<String>>>,
    is_quiet: bool,
    verbose: u8,
    gives_advice: bool,
    view: View,
    err_view: View,
    terminals: Terminals,
}

impl<'a> Screen<'a> {
    /// The screen of a world, as its flags and environment want it.
    pub(crate) fn new(
        (out, err): (&'a mut dyn Write, &'a mut dyn Write),
        common: &Common,
        env: &Env,
        terminals: Terminals,
        now: Timestamp,
    ) -> Self {
        let view = |is_terminal| View {
            now,
            colored: is_colored(common.color, env, is_terminal),
            ascii: !is_utf8(env),
            fitted: is_terminal,
            columns: terminals
                .columns
                .filter(|columns| 0 < *columns)
                .unwrap_or(COLUMNS)
                .into(),
        };
        Self {
            out,
            err,
            fields: common.json.as_deref().map(parse_fields),
            is_quiet: common.quiet,
            verbose: common.verbose,
            gives_advice: env.text("AURA_ADVICE") != Some("0"),
            view: view(terminals.out),
            err_view: view(terminals.err),
            terminals,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.fields.is_some()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Whether somebody sits before both the questions and the answers.
    pub(crate) fn is_interactive(&self) -> bool {
        self.terminals.input && self.terminals.err && !self.is_json()
    }

    /// Whether a line may be drawn over.
    pub(crate) fn is_live(&self) -> bool {
        self.terminals.out && !self.is_json()
    }

    /// Whether progress may be drawn on standard error.
    pub(crate) fn draws_progress(&self) -> bool {
        self.terminals.err && !self.is_json() && !self.is_quiet
    }

    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// The document of this call.
    pub(crate) fn document(&mut self, document: &Value) -> Result<(), Stop> {
        let narrowed = match &self.fields {
            Some(fields) if !fields.is_empty() => {
                if let Some(field) = fields.iter().find(|field| !has(document, field)) {
                    return Err(no_field(document, field).into());
                }
                narrow(document, fields)
            }
            _ => document.clone(),
        };
        self.write(&(escape::json(&narrowed.to_string()) + "\n"))?;
        self.flush()
    }

    /// Lines for people, safe already.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        self.write(text)?;
        if !text.ends_with('\n') {
            self.write("\n")?;
        }
        Ok(())
    }

    /// Bytes as they are, for output that a program reads.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.out.write_all(bytes).map_err(stop)
    }

    /// Hands everything to the reader now.
    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush().map_err(stop)
    }

    /// A line on standard error for people; not with JSON or `-q`.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.is_json() && !self.is_quiet {
            self.complain(&format!("note: {text}\n"));
        }
    }

    /// A line on standard error when `-v` asks for it.
    pub(crate) fn detail(&mut self, text: &str) {
        if 0 < self.verbose && !self.is_json() {
            self.complain(&format!("{text}\n"));
        }
    }

    /// A question on standard error, without a line end.
    pub(crate) fn ask(&mut self, text: &str) {
        self.complain(text);
        self.err.flush().ok();
    }

    /// What to do now, on standard output below the answer.
    pub(crate) fn next(&mut self, steps: &[Next]) -> Result<(), Stop> {
        if !self.gives_advice || self.is_quiet {
            return Ok(());
        }
        let text: String = steps
            .iter()
            .map(|step| format!("next: {}\n", escape::line(&step.cmd)))
            .collect();
        self.text(&text)
    }

    /// Says why the command failed; the exit code is the failure's.
    pub(crate) fn failure(&mut self, failure: &Failure) -> Ended {
        if self.is_json() {
            return match write_failure_json(failure, &mut self.out) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ended::PipeClosed,
                _ => Ended::Done(failure.exit),
            };
        }
        let mut text = format!(
            "{} {}  [{}]\n",
            self.err_view.paint(Paint::Bad, "error:"),
            safe(&failure.message),
            escape::line(&failure.id)
        );
        if self.gives_advice {
            for step in &failure.next {
                text.push_str(&format!("next: {}\n", safe(&step.cmd)));
                if !step.why.is_empty() {
                    text.push_str(&format!("      {}\n", safe(&step.why)));
                }
            }
        }
        // The reader of the answer may be gone; the failure is said all the same.
        self.out.flush().ok();
        self.complain(&text);
        Ended::Done(failure.exit)
    }

    fn complain(&mut self, text: &str) {
        // Nobody is left to be told that standard error is closed.
        self.err.write_all(text.as_bytes()).ok();
    }

    fn write(&mut self, text: &str) -> Result<(), Stop> {
        self.out.write_all(text.as_bytes()).map_err(stop)
    }
}

/// Writes `aura.error/1`.
pub(crate) fn write_failure_json(failure: &Failure, mut out: impl Write) -> io::Result<()> {
    let mut error = failure.clone();
    error.message = escape::without_tokens(&error.message);
    for step in &mut error.next {
        step.cmd = escape::without_tokens(&step.cmd);
    }
    let schema = docs::Failed::SCHEMA.to_owned();
    let document = to_value(&docs::Failed { schema, error });
    writeln!(out, "{}", escape::json(&document.to_string()))?;
    out.flush()
}

/// Finishes a command: says its failure, flushes, gives the exit code.
pub(crate) fn finish(screen: &mut Screen<'_>, outcome: Outcome) -> Ended {
    let flushed = |screen: &mut Screen<'_>, exit| match screen.flush() {
        Ok(()) => Ended::Done(exit),
        Err(Stop::PipeClosed) => Ended::PipeClosed,
        Err(Stop::Failed(failure)) => screen.failure(&failure),
    };
    match outcome {
        Ok(exit) => flushed(screen, exit),
        Err(Stop::PipeClosed) => Ended::PipeClosed,
        Err(Stop::Failed(failure)) => screen.failure(&failure),
    }
}

/// What clap could not read, or the help that was asked for.
pub(crate) fn usage(world: &mut World<'_>, error: &clap::Error) -> Ended {
    let is_json = world
        .args
        .iter()
        .any(|arg| crate::process::is_json_flag(&arg.to_string_lossy()));
    let common = Common {
        json: is_json.then(String::new),
        ..Common::default()
    };
    let mut screen = Screen::new(
        (&mut *world.out, &mut *world.err),
        &common,
        &world.env,
        world.terminals,
        world.now,
    );
    let text = error.render();
    if !error.use_stderr() {
        let colored = screen.view.colored;
        let shown = if colored {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        let printed = screen.text(&shown).map(|()| Exit::DONE);
        return finish(&mut screen, printed);
    }
    let text = escape::block(&escape::without_tokens(&text.to_string()));
    if is_json {
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let program = if text.contains("Usage: mothership") {
            "mothership"
        } else {
            "aura"
        };
        let failure = Failure::new("AE-USAGE", Exit::USAGE, message)
            .next(format!("{program} --help"), "the commands and their flags");
        return screen.failure(&failure);
    }
    screen.complain(&text);
    Ended::Done(Exit::USAGE)
}

fn safe(text: &str) -> String {
    escape::line(&escape::without_tokens(text))
}

fn stop(error: io::Error) -> Stop {
    if error.kind() == ErrorKind::BrokenPipe {
        return Stop::PipeClosed;
    }
    let message = format!("cannot write the output: {error}");
    Stop::Failed(Failure::new("AE-OUTPUT", Exit::STORAGE, message))
}

fn is_colored(color: Color, env: &Env, is_terminal: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if env.get("NO_COLOR").is_some() => false,
        Color::Auto if env.is_on("CLICOLOR_FORCE") => true,
        Color::Auto => {
            let is_off = env.text("CLICOLOR") == Some("0") || env.text("TERM") == Some("dumb");
            is_terminal && !is_off
        }
    }
}

fn is_utf8(env: &Env) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| env.text(name));
    set.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

fn parse_fields(text: &str) -> Vec<Vec<String>> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| name.split('.').map(str::to_owned).collect())
        .collect()
}

/// Whether a document may have a field; what lies below an empty list or null cannot be known.
fn has(document: &Value, field: &[String]) -> bool {
    let Some((name, rest)) = field.split_first() else {
        return true;
    };
    match document {
        Value::Object(object) => object.get(name).is_some_and(|below| has(below, rest)),
        Value::Array(rows) => rows.is_empty() || rows.iter().any(|row| has(row, field)),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn no_field(document: &Value, field: &[String]) -> Failure {
    let names = document.as_object().into_iter().flat_map(Map::keys);
    let names: Vec<&str> = names.map(String::as_str).collect();
    let message = format!(
        "the answer has no field {}; the command was carried out",
        field.join(".")
    );
    Failure::new("AE-USAGE", Exit::USAGE, message).next(
        format!("--json={}", names.first().unwrap_or(&"schema")),
        format!("one or more of {}", names.join(", ")),
    )
}

/// Keeps the schema and the named fields; `peers.name` reaches into each row. What is not there is null.
fn narrow(document: &Value, fields: &[Vec<String>]) -> Value {
    let mut kept = Map::new();
    if let Some(schema) = document.get("schema") {
        kept.insert("schema".to_owned(), schema.clone());
    }
    let mut kept = Value::Object(kept);
    for field in fields {
        keep(document, field, &mut kept);
    }
    kept
}

/// Deepest field path that is followed.
const FIELD_DEPTH_MAX: usize = 8;

fn keep(from: &Value, field: &[String], into: &mut Value) {
    let Some((name, rest)) = field.split_first() else {
        return;
    };
    let (Value::Object(into), true) = (into, field.len() <= FIELD_DEPTH_MAX) else {
        return;
    };
    let found = from.get(name).unwrap_or(&Value::Null);
    match found {
        _ if rest.is_empty() => {
            into.insert(name.clone(), found.clone());
        }
        Value::Array(rows) => {
            let slot = into
                .entry(name.clone())
                .or_insert_with(|| Value::Array(vec![Value::Object(Map::new()); rows.len()]));
            if let Value::Array(slots) = slot {
                rows.iter()
                    .zip(slots)
                    .for_each(|(row, slot)| keep(row, rest, slot));
            }
        }
        _ => {
            let slot = into
                .entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            keep(found, rest, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env(pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }

    #[test]
    fn colour_follows_flag_then_environment_then_terminal() {
        type Row<'a> = (Color, &'a [(&'a str, &'a str)], bool, bool);
        let table: [Row<'_>; 9] = [
            (Color::Auto, &[], true, true),
            (Color::Auto, &[], false, false),
            (Color::Auto, &[("NO_COLOR", "1")], true, false),
            (Color::Auto, &[("NO_COLOR", "")], true, true),
            (Color::Auto, &[("TERM", "dumb")], true, false),
            (Color::Auto, &[("CLICOLOR", "0")], true, false),
            (Color::Auto, &[("CLICOLOR_FORCE", "1")], false, true),
            (Color::Always, &[("NO_COLOR", "1")], false, true),
            (Color::Never, &[("CLICOLOR_FORCE", "1")], true, false),
        ];
        for (color, pairs, is_terminal, expected) in table {
            assert_eq!(
                is_colored(color, &env(pairs), is_terminal),
                expected,
                "{color:?} {pairs:?}"
            );
        }
    }

    #[test]
    fn signs_beyond_ascii_need_a_locale_for_them() {
        assert!(is_utf8(&env(&[("LANG", "de_DE.UTF-8")])));
        assert!(!is_utf8(&env(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")])));
        assert!(!is_utf8(&env(&[])));
    }

    #[test]
    fn fields_narrow_a_document_and_reach_into_rows() {
        let document = json!({
            "schema": "aura.peers/1", "link": {"state": "online", "rtt_ms": 1},
            "peers": [{"name": "bob", "state": "online"}, {"name": "carol", "state": "away"}],
        });
        let fields = parse_fields("link.state, peers.name,peers.state,nothing");
        let expected = json!({
            "schema": "aura.peers/1", "link": {"state": "online"},
            "peers": [{"name": "bob", "state": "online"}, {"name": "carol", "state": "away"}],
            "nothing": null,
        });
        assert_eq!(narrow(&document, &fields), expected);
    }

    #[test]
    fn a_failure_document_has_the_whole_contract_and_no_token() {
        let failure = Failure::new("AE-X", Exit::REFUSED, "cannot use ms1-abc-9d")
            .next("aura join ms1-abc-9d", "again")
            .retryable();
        let mut out = Vec::new();
        write_failure_json(&failure, &mut out).unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["schema"], "aura.error/1");
        assert_eq!(value["error"]["id"], "AE-X");
        assert_eq!(value["error"]["exit"], 4);
        assert_eq!(value["error"]["retryable"], true);
        assert_eq!(value["error"]["message"], "cannot use ms1-[redacted]");
        assert_eq!(value["error"]["next"][0]["cmd"], "aura join ms1-[redacted]");
    }
}
