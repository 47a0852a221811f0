//! Commands about what was, and what people read of it.
//!
//! Invariant: every text that came from elsewhere goes through the escaper, here or in [`Table`].

use std::path::Path;

use aura_api::{Call, Exit, docs};

use super::{Face, args::Log, local::path_in_repo, show};
use crate::{
    escape::{block, line},
    moment::When,
    output::{Outcome, Paint, View},
    table::Table,
    when,
};

/// Rows of `log` and `find` for people without `--limit`.
const ROWS: usize = 50;

impl Face<'_, '_> {
    pub(super) fn log(&mut self, args: Log) -> Outcome {
        if args.dag {
            let call = Call::Dag {
                symbol: args.symbol,
                quick: args.quick,
            };
            return self.simple(call, dag);
        }
        let now = self.screen.view().now;
        let age_ms = |at_ms: u64| {
            let now_ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
            now_ms.saturating_sub(at_ms)
        };
        let call = Call::Log {
            symbol: args.symbol,
            actor: args.actor,
            since_ms: args.since.map(|since| age_ms(since.ms(now))),
            auto: args.auto,
            limit: self.rows(args.limit),
        };
        self.simple(call, log)
    }

    pub(super) fn show_past(&mut self, what: String, at: Option<When>) -> Outcome {
        let now = self.screen.view().now;
        let document = self.ask(Call::Show {
            what,
            at: at.map(|at| at.at(now)),
        })?;
        if document["schema"] == docs::ThenDoc::SCHEMA {
            self.say(&document, then)?;
        } else if let Some(shape) = self.say(&document, shown)? {
            self.next(&shape.next)?;
        }
        Ok(Exit::DONE)
    }

    pub(super) fn blame(&mut self, file: &Path, by_unit: bool) -> Outcome {
        let path = path_in_repo(&self.dir, file);
        let human = if by_unit { blamed_units } else { blamed_lines };
        self.simple(Call::Blame { path }, human)
    }

    pub(super) fn find(&mut self, text: String, at: Option<When>, limit: Option<usize>) -> Outcome {
        let now = self.screen.view().now;
        let call = Call::Find {
            text,
            at: at.map(|at| at.at(now)),
            limit: self.rows(limit),
        };
        self.simple(call, found)
    }

    pub(super) fn restore(
        &mut self,
        symbol: String,
        at: When,
        why: Option<String>,
        dry_run: bool,
    ) -> Outcome {
        let now = self.screen.view().now;
        let document = self.ask(Call::Restore {
            symbol,
            at: at.at(now),
            why,
            dry_run,
        })?;
        let shape = self.say(&document, restored)?;
        let is_saved = shape.is_some_and(|shape| shape.state == "saved");
        Ok(if is_saved { Exit::PARTLY } else { Exit::DONE })
    }

    /// How many rows to ask for.
    fn rows(&self, limit: Option<usize>) -> Option<usize> {
        limit.or_else(|| (!self.screen.is_json()).then_some(ROWS))
    }
}

fn log(doc: &docs::Log, view: &View) -> String {
    match (&doc.ops[..], &doc.symbols[..]) {
        ([], []) => "nothing yet".to_owned(),
        ([], [symbol, ..]) => format!(
            "{}: nothing was published of it; git has the rest\n",
            line(symbol)
        ),
        (ops, _) => show::ops(ops, view),
    }
}

fn shown(doc: &docs::Shown, view: &View) -> String {
    let mut text = format!(
        "{}  {} {}\n",
        line(&doc.op),
        line(&doc.kind),
        line(&doc.symbol)
    );
    let place = doc.seq.map(|seq| format!(", at {seq}"));
    let place = place.unwrap_or_else(|| ", queued".to_owned());
    let mut row = |label: &str, value: String| text += &format!("  {label:<9} {value}\n");
    row(
        "by",
        format!(
            "{}, {}{place}",
            line(&doc.author),
            when::ago(&doc.at, view.now)
        ),
    );
    row("branch", show::branch(&doc.branch));
    if let Some(commit) = &doc.commit {
        row("on", line(commit.get(..7).unwrap_or(commit)));
    }
    if let Some(why) = &doc.why {
        row("why", line(why));
    }
    if doc.joined {
        row("joined", "by itself: both changes fit together".to_owned());
    }
    if doc.undone {
        row("undone", "its author took it back".to_owned());
    }
    for unit in &doc.units {
        text += &one_unit(unit, view);
    }
    text
}

fn one_unit(unit: &docs::ShownUnitDoc, view: &View) -> String {
    let mut head = format!("{} {} {}", unit.symbol, unit.version, unit.kind);
    if let Some(from) = &unit.renamed_from {
        head += &format!(", was {from}");
    }
    if !unit.parents.is_empty() {
        head += &format!(", follows {}", unit.parents.join(" and "));
    }
    format!("\n{}\n{}", line(&head), colored(&unit.diff, view))
}

/// A change with what goes and what comes in colour.
fn colored(diff: &str, view: &View) -> String {
    let mut text = String::new();
    for row in block(diff).lines() {
        let row = match row.as_bytes().first() {
            Some(b'+') => view.paint(Paint::Good, row),
            Some(b'-') => view.paint(Paint::Bad, row),
            Some(b'@') => view.paint(Paint::Faint, row),
            _ => row.to_owned(),
        };
        text += &format!("{row}\n");
    }
    text
}

fn then(doc: &docs::ThenDoc, view: &View) -> String {
    let state = match doc.state.as_str() {
        "present" => "",
        "deleted" => ": deleted",
        "absent" => ": not written yet",
        _ => ": as git has it",
    };
    let by = doc.op.as_ref().map(|op| {
        format!(
            "  ({} by {}, {})",
            line(&op.op),
            line(&op.author),
            when::ago(&op.at, view.now)
        )
    });
    let head = format!(
        "{} at {}{state}{}\n",
        line(&doc.symbol),
        line(&doc.at),
        by.unwrap_or_default()
    );
    let text = doc.text.as_deref().map(block).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    head + &text + end
}

/// Where something is from, in a word, when no operation says it.
fn origin(word: &str) -> String {
    match word {
        "git" => "from git".to_owned(),
        "unpublished" => "not published".to_owned(),
        other => other.to_owned(),
    }
}

fn blamed_lines(doc: &docs::Blamed, view: &View) -> String {
    let mut table = Table::new(&["OP", "WHO", "WHEN", "LINE", "TEXT"]);
    for row in &doc.lines {
        let when = row.at.as_deref().map(|at| when::ago(at, view.now));
        table.row([
            row.op.clone().unwrap_or_else(|| origin(&row.origin)),
            row.author.clone().unwrap_or_default(),
            when.unwrap_or_default(),
            row.line.to_string(),
            row.text.replace('\t', "    "),
        ]);
    }
    table.show(view)
}

fn blamed_units(doc: &docs::Blamed, view: &View) -> String {
    if doc.units.is_empty() {
        return "it has no units; see its lines: aura blame FILE\n".to_owned();
    }
    let mut table = Table::new(&["LINES", "KIND", "SYMBOL", "OP", "WHO", "WHEN", "WHY"]);
    for row in &doc.units {
        let when = row.at.as_deref().map(|at| when::ago(at, view.now));
        table.row([
            format!("{}-{}", row.start_line, row.end_line),
            row.kind.clone(),
            row.symbol.clone(),
            row.op.clone().unwrap_or_else(|| origin(&row.origin)),
            row.author.clone().unwrap_or_default(),
            when.unwrap_or_default(),
            row.why.clone().unwrap_or_default(),
        ]);
    }
    table.show(view)
}

fn found(doc: &docs::Found, view: &View) -> String {
    if doc.symbols.is_empty() {
        return "no symbol's name contains it\n".to_owned();
    }
    let mut table = Table::new(&["SYMBOL", "KIND", "LINE", "LAST", "WHO", "WHEN"]);
    for row in &doc.symbols {
        let when = row.at.as_deref().map(|at| when::ago(at, view.now));
        table.row([
            row.symbol.clone(),
            row.kind.clone(),
            row.line.map(|line| line.to_string()).unwrap_or_default(),
            row.op.clone().unwrap_or_else(|| origin(&row.origin)),
            row.author.clone().unwrap_or_default(),
            when.unwrap_or_default(),
        ]);
    }
    let more = if doc.more { "and more; see -n\n" } else { "" };
    table.show(view) + more
}

fn restored(doc: &docs::Restored, view: &View) -> String {
    let from = doc.from.as_deref().map_or_else(|| "git".to_owned(), line);
    let symbol = line(&doc.symbol);
    let mut text = match doc.state.as_str() {
        "same" => format!("{symbol} has the text of {from} already\n"),
        "dry_run" => format!("would restore {symbol} from {from}:\n"),
        "saved" => format!("restored {symbol} from {from}; it is not published yet: aura status\n"),
        _ => format!("restored {symbol} from {from}\n"),
    };
    text += &colored(&doc.diff, view);
    for step in &doc.next {
        text += &format!("undo: {}\n", line(&step.cmd));
    }
    text
}

fn dag(doc: &docs::Dag, view: &View) -> String {
    let mut text = match doc.diverged_units {
        0 => "every unit has one newest version\n".to_owned(),
        count => format!(
            "{} more than one newest version\n",
            show::counted(count, "unit has", "units have")
        ),
    };
    if let Some(conflicts) = doc.conflicts {
        text += &format!(
            "{}\n",
            show::counted(conflicts, "open conflict", "open conflicts")
        );
    }
    if doc.units.is_empty() {
        return text;
    }
    let mut table = Table::new(&["SYMBOL", "VERSIONS", "HEADS", "FORKS", "JOINS"]);
    for row in &doc.units {
        table.row([
            row.symbol.clone(),
            row.versions.to_string(),
            row.heads.join(" "),
            row.forks.join(" "),
            row.merges.join(" "),
        ]);
    }
    text + &table.show(view)
}
