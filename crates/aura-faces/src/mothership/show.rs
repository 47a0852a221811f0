//! Documents of the Mothership as lines for people.
//!
//! Invariant: every text that came from elsewhere goes through the escaper, here or in [`Table`].

use aura_api::docs;
use serde_json::Value;

use crate::{
    escape::line,
    output::{Screen, Stop, View},
    table::Table,
    when,
};

/// Prints the banner or one event of a serving Mothership, at once.
pub(super) fn served(screen: &mut Screen<'_>, document: &Value) -> Result<(), Stop> {
    if screen.is_json() {
        return screen.document(document);
    }
    let text = match serde_json::from_value::<docs::Ready>(document.clone()) {
        Ok(ready) => banner(&ready),
        Err(_) => event(document),
    };
    screen.text(&text)?;
    screen.flush()
}

fn banner(ready: &docs::Ready) -> String {
    let listen: Vec<String> = ready.listen.iter().map(|address| line(address)).collect();
    let mut text = format!(
        "mothership {}  team \"{}\" ({})\n",
        env!("CARGO_PKG_VERSION"),
        line(&ready.team),
        line(&ready.team_id)
    );
    for (label, value) in [
        ("certificate authority", line(&ready.ca_words)),
        ("listening", listen.join("   ")),
        ("state", line(&ready.state_dir)),
    ] {
        text += &format!("  {label:<22}  {value}\n");
    }
    if let Some(token) = &ready.token {
        text += &format!(
            "\nInvite the first teammate. In a clone of the repository:\n\n  aura join {}\n\n\
             More invites: mothership invite --for NAME\n",
            line(token)
        );
    }
    text + "Ready. Stop with Ctrl-C\n"
}

fn event(document: &Value) -> String {
    let text = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let parts = [
        when::clock(text("at")),
        line(text("kind")),
        line(text("who")),
        line(text("text")),
    ];
    let parts: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("  ")
}

pub(super) fn log(doc: &docs::BoxLog, view: &View) -> String {
    records(&doc.records, view)
}

pub(super) fn wal_tail(doc: &docs::WalTail, view: &View) -> String {
    records(&doc.records, view)
}

fn records(rows: &[docs::WalRecordDoc], view: &View) -> String {
    let mut table = Table::new(&["RECORD", "WHEN", "KIND", "WHAT"]);
    for row in rows {
        let at = row.at.as_deref().map(|at| when::ago(at, view.now));
        table.row([
            row.lsn.to_string(),
            at.unwrap_or_else(|| "-".to_owned()),
            row.kind.clone(),
            row.text.clone(),
        ]);
    }
    table.show(view)
}

pub(super) fn peers(doc: &docs::BoxPeers, view: &View) -> String {
    let mut table = Table::new(&["NAME", "STATE", "ROLE", "SEEN", "LAG", "CERTIFICATE"]);
    for row in &doc.peers {
        let seen = row
            .last_seen
            .as_deref()
            .map(|seen| when::ago(seen, view.now));
        table.row([
            row.name.clone(),
            row.state.clone(),
            row.role.clone(),
            seen.unwrap_or_else(|| "-".to_owned()),
            row.lag.to_string(),
            when::until(&row.certificate_until, view.now),
        ]);
    }
    table.show(view)
}

pub(super) fn status(doc: &docs::BoxStatus, view: &View) -> String {
    let pid = doc
        .pid
        .map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}"));
    let listen: Vec<String> = doc.listen.iter().map(|address| line(address)).collect();
    let mut text = format!(
        "{} ({}){}{pid}{}version {}{}{}\n",
        line(&doc.team),
        line(&doc.team_id),
        view.dot(),
        view.dot(),
        line(&doc.version),
        view.dot(),
        line(&doc.health)
    );
    text += &format!("listening {}\n", listen.join("   "));
    text += &format!("{} of {} peers online\n", doc.online, doc.peers);
    if 0 < doc.circuits || 0 < doc.relayed_bytes {
        let (circuits, bytes) = (doc.circuits, doc.relayed_bytes);
        text += &format!("{circuits} circuits between devices, {bytes} bytes relayed so far\n");
    }
    text += "\n";
    let mut table = Table::new(&["LOG", "LAST", "WRITERS"]);
    for row in &doc.logs {
        table.row([
            row.log.clone(),
            row.seq.to_string(),
            row.writers.to_string(),
        ]);
    }
    text + &table.show(view)
}

pub(super) fn tokens(doc: &docs::Tokens, view: &View) -> String {
    if doc.tokens.is_empty() {
        return "no tokens were made".to_owned();
    }
    let mut table = Table::new(&["ID", "FOR", "ROLE", "STATE", "LEFT", "ENDS", "USED BY"]);
    for row in &doc.tokens {
        table.row([
            row.id.clone(),
            row.name.clone().unwrap_or_else(|| "anybody".to_owned()),
            row.role.clone(),
            row.state.clone(),
            row.uses_left.to_string(),
            when::until(&row.expires, view.now),
            row.used_by.join(", "),
        ]);
    }
    table.show(view)
}

pub(super) fn wal_stat(doc: &docs::WalStat, _: &View) -> String {
    format!(
        "{} records in {} files, {} bytes; durable up to {}; epoch {}",
        doc.records, doc.segments, doc.bytes, doc.durable, doc.epoch
    )
}

pub(super) fn verified(doc: &docs::WalVerify) -> String {
    let word = if doc.ok {
        "everything holds"
    } else {
        "the log is damaged"
    };
    let torn = match doc.torn_tail_bytes {
        0 => String::new(),
        bytes => format!("; an unfinished tail of {bytes} bytes is cut at the next start"),
    };
    format!(
        "{word}: {} records, {} signed entries{torn}\nhead {}",
        doc.records,
        doc.entries,
        line(&doc.head)
    )
}
