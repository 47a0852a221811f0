//! Documents as people read them.
//!
//! Invariants:
//! - what needs the reader comes first, one next step last;
//! - every text from outside is escaped.

use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;

use crate::{escape, out};

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => escape(text),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => escape(&other.to_string()),
    }
}

/// Prints a document of any schema.
pub(crate) fn document(value: &Value) {
    match value["schema"].as_str().unwrap_or_default() {
        "aura.status/1" => status(value),
        "aura.join/1" => joined(value),
        "aura.conflicts/1" => conflicts(value),
        "aura.invite/1" | "mothership.invite/1" => invite(value),
        "aura.publish/1" => published(value),
        _ => generic(value),
    }
    for next in value["next"].as_array().into_iter().flatten() {
        out::line(&format!(
            "\nnext: {}   ({})",
            text(&next["cmd"]),
            text(&next["why"])
        ));
    }
}

fn status(value: &Value) {
    let link = &value["link"];
    let head: String = text(&value["repo"]["head"]).chars().take(7).collect();
    let state = match link["state"].as_str() {
        Some("online") => format!("mothership {} ms", text(&link["rtt_ms"])),
        _ => format!(
            "OFFLINE for {} s: {}",
            text(&link["offline_for_s"]),
            text(&link["why"])
        ),
    };
    let branch = text(&value["repo"]["branch"]);
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(&branch);
    out::line(&format!(
        "{} · branch {branch} at {head} · mode {} · {state}",
        text(&value["team"]),
        text(&value["mode"])
    ));
    let needs = value["needs_you"].as_array().cloned().unwrap_or_default();
    if needs.is_empty() {
        out::line("Nothing needs you.");
    } else {
        out::line("\nNeeds you");
        for need in &needs {
            out::line(&format!(
                "  {} {}  {}  {}",
                text(&need["kind"]),
                text(&need["id"]),
                text(&need["symbol"]),
                text(&need["text"])
            ));
        }
    }
    let peers = value["peers"].as_array().cloned().unwrap_or_default();
    if !peers.is_empty() {
        out::line("\nNow");
        let rows = peers.iter().map(|peer| {
            ["name", "state", "path"]
                .map(|key| text(&peer[key]))
                .to_vec()
        });
        table(&[], rows);
    }
    let (mine, incoming) = (&value["mine"], &value["incoming"]);
    out::line(&format!(
        "\nYours: {} published, {} queued. Waiting: {} patches from {}",
        text(&mine["published"]),
        text(&link["queued"]),
        text(&incoming["patches"]),
        text(&incoming["from"])
    ));
    for held in mine["held_back"].as_array().into_iter().flatten() {
        out::line(&format!("note: held back {}", text(held)));
    }
}

fn joined(value: &Value) {
    out::line(&format!(
        "Joined {} as {} ({}).",
        text(&value["team"]),
        text(&value["name"]),
        text(&value["role"])
    ));
    out::line(&format!("  authority   {}", text(&value["ca_words"])));
    out::line(&format!("  this device {}", text(&value["device_words"])));
    out::line(&format!(
        "  indexed     {} units in {} files in {} ms",
        text(&value["units"]),
        text(&value["files"]),
        text(&value["index_ms"])
    ));
    out::line(&format!("  online      {}", text(&value["online"])));
    if value["state"] == "waiting_for_approval" {
        out::line("A member must approve this device before it can read: aura members approve");
    }
}

fn conflicts(value: &Value) {
    let rows = value["conflicts"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        out::line("No open conflicts.");
    }
    let is_one = rows.len() == 1;
    for row in &rows {
        out::line(&format!(
            "{}  {}   {}",
            text(&row["id"]),
            text(&row["symbol"]),
            text(&row["reason"])
        ));
        if !is_one {
            continue;
        }
        for (side, label) in [("base", "base"), ("mine", "yours"), ("theirs", "theirs")] {
            let side = &row[side];
            out::line(&format!(
                "\n  {label}  {} {}",
                text(&side["author"]),
                text(&side["at"])
            ));
            for line in side["text"]
                .as_str()
                .unwrap_or("(deleted or unknown)")
                .lines()
            {
                out::line(&format!("    {}", escape(line)));
            }
        }
        let id = text(&row["id"]);
        out::line(&format!(
            "\nnext: aura resolve {id} --mine | --theirs | --both | --with FILE"
        ));
    }
}

fn invite(value: &Value) {
    out::line(&format!("aura join {}", text(&value["token"])));
    out::note(&format!(
        "note: role {}, {} use(s), until {}{}",
        text(&value["role"]),
        text(&value["uses"]),
        text(&value["expires"]),
        if value["needs_approval"] == true {
            "; a member approves the device afterwards"
        } else {
            ""
        }
    ));
}

fn published(value: &Value) {
    let ops = value["ops"].as_array().cloned().unwrap_or_default();
    match value["state"].as_str() {
        Some("published") => out::line(&format!(
            "published {} change(s), position {}",
            ops.len(),
            text(&value["seq"])
        )),
        Some("queued") => {
            out::line("queued: it is on this disk and is sent when the mothership answers")
        }
        _ => out::line("nothing to publish"),
    }
    for op in &ops {
        out::line(&format!(
            "  {} {} {}",
            text(&op["op"]),
            text(&op["kind"]),
            text(&op["symbol"])
        ));
    }
    for held in value["held_back"].as_array().into_iter().flatten() {
        out::line(&format!("note: held back {}", text(held)));
    }
}

/// Any other document: scalars as lines, lists of rows as tables.
fn generic(value: &Value) {
    let Some(object) = value.as_object() else {
        return;
    };
    for (key, value) in object {
        match value {
            Value::Array(rows) if rows.iter().all(Value::is_object) && key != "next" => {
                if rows.is_empty() {
                    out::line(&format!("{key}: none"));
                    continue;
                }
                let columns: Vec<String> = rows[0]
                    .as_object()
                    .map(|row| row.keys().cloned().collect())
                    .unwrap_or_default();
                let cells = rows
                    .iter()
                    .map(|row| columns.iter().map(|c| text(&row[c])).collect());
                table(&columns, cells);
            }
            _ if key == "schema" || key == "next" => {}
            _ => out::line(&format!("{key}: {}", text(value))),
        }
    }
}

fn table(header: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if !header.is_empty() {
        table.set_header(header.iter().map(|h| h.to_uppercase()));
    }
    for row in rows {
        table.add_row(row);
    }
    out::line(&table.to_string());
}

/// One event of the stream.
pub(crate) fn event(value: &Value) {
    out::line(&format!(
        "{} {:<10} {:<16} {}",
        text(&value["at"]),
        text(&value["kind"]),
        text(&value["actor"]),
        text(&value["text"])
    ));
}
