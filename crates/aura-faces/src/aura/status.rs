//! The daily screen.
//!
//! Invariants:
//! - the order is fixed: what needs you, who is around, your own side, what to do now;
//! - a quiet day is two lines.

use aura_api::{Exit, docs};

use super::show::{branch, counted, names, who_is_online};
use crate::{
    escape::line,
    output::{Paint, View},
    when,
};

/// Rows of the peer list; the rest is counted.
const PEERS_SHOWN: usize = 12;
/// Rows of what needs somebody; the rest is counted.
const NEEDS_SHOWN: usize = 20;

/// The code of a state, for `--exit-code`.
pub(super) fn exit(status: &docs::Status) -> Exit {
    let has_conflict = status.needs_you.iter().any(|need| need.kind == "conflict");
    match (status.link.state.as_str(), status.word.as_str()) {
        ("revoked", _) => Exit::REFUSED,
        (_, "error") => Exit::FAILED,
        _ if has_conflict => Exit::CONFLICT,
        (_, "offline") => Exit::UNREACHABLE,
        (_, "partial") => Exit::PARTLY,
        _ => Exit::DONE,
    }
}

/// One line for prompts and bars.
pub(super) fn short(status: &docs::Status) -> String {
    let branch = status
        .repo
        .as_ref()
        .map(|repo| format!(" {}", branch(&repo.branch)))
        .unwrap_or_default();
    let lacking = match status.lacking {
        0 => String::new(),
        lacking => format!(" {lacking}"),
    };
    let mut text = format!("{}{lacking}{branch}", line(&status.word));
    for (count, word) in [
        (count(&status.needs_you), "need you"),
        (status.incoming.patches, "waiting"),
        (status.mine.unpublished, "unpublished"),
        (status.link.queued, "queued"),
    ] {
        if 0 < count {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

/// The whole screen, without the closing `next:` lines.
pub(super) fn screen(status: &docs::Status, view: &View) -> String {
    let mut text = head(status, view) + "\n";
    text.push_str(&trouble(status, view));
    text.extend(status.paused.iter().map(holding_still));
    if is_quiet(status) {
        text.push_str(&quiet(status, view));
        return text;
    }
    text.push_str(&needs(status, view));
    text.push_str(&around(status, view));
    text.push_str(&own(status));
    text
}

fn head(status: &docs::Status, view: &View) -> String {
    let mut parts = vec![
        status
            .team
            .as_deref()
            .map_or_else(|| "no team".to_owned(), line),
    ];
    if let Some(repo) = &status.repo {
        let head: String = repo.head.chars().take(7).collect();
        parts.push(format!(
            "branch {} at {}",
            branch(&repo.branch),
            line(&head)
        ));
    }
    parts.extend(
        status
            .mode
            .as_deref()
            .map(|mode| format!("mode {}", line(mode))),
    );
    let word = match (status.link.state.as_str(), status.link.rtt_ms) {
        ("online", Some(rtt)) => format!("mothership {rtt:.0} ms"),
        ("online", None) => "mothership".to_owned(),
        (state, _) => view.paint(Paint::Warn, &line(state)),
    };
    parts.push(word);
    if status.word == "syncing" {
        parts.push(view.paint(Paint::Warn, "syncing"));
    }
    parts.join(view.dot())
}

/// What is wrong with the link or the store.
fn trouble(status: &docs::Status, view: &View) -> String {
    let link = &status.link;
    let why = link
        .why
        .as_deref()
        .map(|why| format!(": {}", line(why)))
        .unwrap_or_default();
    match link.state.as_str() {
        "online" if status.word == "error" => {
            let word = view.paint(Paint::Bad, "ERROR");
            format!("{word}: this repository is not served{why}\n")
        }
        "online" => String::new(),
        "revoked" => {
            let word = view.paint(Paint::Bad, "REMOVED");
            format!("{word}{why}\n  your files and what is queued are kept\n")
        }
        _ => {
            let word = view.paint(Paint::Warn, "OFFLINE");
            let since = when::span(link.offline_for_s);
            let queued = link.queued;
            format!(
                "{word} for {since}: {}{why}\n  works      your edits are kept; {queued} queued\n  \
                 at return  they are sent in order; nothing to do\n  \
                 moved      if it has another address now: mothership invite there, aura join TOKEN here\n",
                line(&link.endpoint)
            )
        }
    }
}

fn is_quiet(status: &docs::Status) -> bool {
    status.needs_you.is_empty()
        && status.mine.unpublished == 0
        && status.mine.held_back.is_empty()
        && status.zones.is_empty()
        && !status.peers.iter().any(edits_the_same)
        && status.incoming.touching_my_edits == 0
}

/// What `pause` and `resume` answer.
pub(super) fn paused(doc: &docs::Paused, _: &View) -> String {
    match &doc.paused {
        Some(paused) => holding_still(paused),
        None => "nothing is paused; what waited goes on\n".to_owned(),
    }
}

fn holding_still(paused: &docs::PauseDoc) -> String {
    let row = |what: &str, until: &Option<String>| {
        let until = until.as_deref()?;
        let until = match until {
            "resume" => "until aura resume".to_owned(),
            until => format!("until {}", when::clock(until)),
        };
        Some(format!("{what} is paused {until}\n"))
    };
    let rows = [
        row("publishing", &paused.publishing),
        row("taking", &paused.taking),
    ];
    rows.into_iter().flatten().collect()
}

/// Whether somebody edits now what was edited here as well.
fn edits_the_same(peer: &docs::PeerDoc) -> bool {
    peer.doing.iter().any(|doing| doing.now && doing.mine_too)
}

/// What a device is at, if that is known: what is edited on it, or for how long nothing was.
pub(super) fn doing(peer: &docs::PeerDoc, view: &View) -> Option<String> {
    let newest = peer.doing.first()?;
    if !newest.now {
        let idle = when::ago(&newest.at, view.now);
        return Some(format!("idle {}", idle.trim_end_matches(" ago")));
    }
    // What is edited here as well is what somebody has to know of.
    let shared = peer.doing.iter().find(|row| row.now && row.mine_too);
    let row = shared.unwrap_or(newest);
    let what = line(row.symbol.as_deref().unwrap_or(&row.path));
    let on = match row.elsewhere {
        true => format!(" on {}", branch(&row.branch)),
        false => String::new(),
    };
    let too = if row.mine_too { ", as you do" } else { "" };
    Some(format!("editing {what}{on}{too}"))
}

fn quiet(status: &docs::Status, view: &View) -> String {
    let is_there = |peer: &&docs::PeerDoc| peer.state == "online" && peer.path != "self";
    let there: Vec<&docs::PeerDoc> = status.peers.iter().filter(is_there).collect();
    let online: Vec<&str> = there.iter().map(|peer| peer.name.as_str()).collect();
    let busy = there.iter().filter_map(|peer| {
        let doing = doing(peer, view).filter(|_| peer.doing.iter().any(|doing| doing.now))?;
        Some(format!("  {} is {doing}\n", line(&peer.name)))
    });
    let busy: Vec<String> = busy.collect();
    let more = rest(busy.len(), PEERS_SHOWN, "aura peers");
    let linked = status.peers.iter();
    let linked = linked.filter(|peer| peer.path.starts_with("direct") || peer.path == "relayed");
    let linked: Vec<String> = linked.map(|peer| line(&peer.name)).collect();
    let waits = match status.incoming.patches {
        0 => String::new(),
        1 => "; 1 patch waits (aura pull)".to_owned(),
        count => format!("; {count} patches wait (aura pull)"),
    };
    let who = match status.link.state.as_str() {
        "online" => who_is_online(&online),
        _ => match &linked[..] {
            [] => "Who is there is not known without the mothership".to_owned(),
            linked => format!("Without the mothership, linked with {}", linked.join(", ")),
        },
    };
    let busy: String = busy.into_iter().take(PEERS_SHOWN).collect();
    format!("Nothing needs you. {who}{waits}.\n{busy}{more}")
}

fn needs(status: &docs::Status, view: &View) -> String {
    if status.needs_you.is_empty() {
        return String::new();
    }
    let mut text = "\nNeeds you\n".to_owned();
    for need in status.needs_you.iter().take(NEEDS_SHOWN) {
        let since = need
            .since
            .as_deref()
            .map(|since| format!(", {}", when::ago(since, view.now)));
        let kind = view.paint(Paint::Bad, &format!("{:<8}", line(&need.kind)));
        let symbol = need
            .symbol
            .as_deref()
            .map(|symbol| format!("  {}", line(symbol)));
        text.push_str(&format!(
            "  {kind} {}{}   {}{}\n",
            line(&need.id),
            symbol.unwrap_or_default(),
            line(&need.text),
            since.unwrap_or_default()
        ));
    }
    let hidden = status.needs_you.get(NEEDS_SHOWN);
    let command = match hidden.map(|need| need.kind.as_str()) {
        Some("offer") => "aura pull --dry-run",
        _ => "aura conflicts",
    };
    text + &rest(status.needs_you.len(), NEEDS_SHOWN, command)
}

fn around(status: &docs::Status, view: &View) -> String {
    let others: Vec<&docs::PeerDoc> = status
        .peers
        .iter()
        .filter(|peer| peer.path != "self")
        .collect();
    if others.is_empty() {
        return String::new();
    }
    let shown = &others[..others.len().min(PEERS_SHOWN)];
    let width = shown
        .iter()
        .map(|peer| line(&peer.name).chars().count())
        .max()
        .unwrap_or(0);
    let mut text = "\nNow\n".to_owned();
    for peer in shown {
        let state = match peer.state.as_str() {
            "online" => match doing(peer, view) {
                Some(doing) if edits_the_same(peer) => view.paint(Paint::Warn, &doing),
                Some(doing) => view.paint(Paint::Good, &doing),
                None => view.paint(Paint::Good, "online"),
            },
            "offline" => view.paint(Paint::Faint, "offline"),
            other => line(other),
        };
        let seen = match &peer.last_seen {
            Some(seen) if peer.state != "online" => format!(", {}", when::ago(seen, view.now)),
            None if peer.state == "unknown" => String::new(),
            _ => format!("   {}", line(&peer.path)),
        };
        let name = line(&peer.name);
        let gap = " ".repeat(width.saturating_sub(name.chars().count()));
        let key = if peer.reads {
            ""
        } else {
            "   waits for approval"
        };
        text.push_str(&format!("  {name}{gap}   {state}{seen}{key}\n"));
    }
    text + &rest(others.len(), PEERS_SHOWN, "aura peers")
}

fn own(status: &docs::Status) -> String {
    let mine = &status.mine;
    let mut text = "\nYours\n".to_owned();
    text.push_str(&match (mine.unpublished, mine.published) {
        (0, 0) => "  nothing published yet\n".to_owned(),
        (0, published) => format!("  {published} published, nothing waits\n"),
        (unpublished, published) => {
            format!("  {unpublished} not published yet, {published} published\n")
        }
    });
    for held in &mine.held_back {
        text.push_str(&format!("  held back  {}\n", line(held)));
    }
    for zone in &status.zones {
        let covers = line(&zone.covers.join(", "));
        let whose = match zone.mine {
            true => format!("until {} unless you work in it", when::clock(&zone.ends)),
            false => format!("{} keeps others out", line(&zone.holder)),
        };
        let (id, mode) = (line(&zone.id), line(&zone.mode));
        text.push_str(&format!("  zone {id} {covers} ({mode}), {whose}\n"));
    }
    let incoming = &status.incoming;
    if 0 < incoming.patches {
        let from: Vec<&str> = incoming.from.iter().map(String::as_str).collect();
        let touching = match incoming.touching_my_edits {
            0 => "none touch your edits".to_owned(),
            1 => "1 touches your edits".to_owned(),
            count => format!("{count} touch your edits"),
        };
        let count = counted(incoming.patches, "patch", "patches");
        text.push_str(&format!(
            "Waiting: {count} from {}; {touching}\n",
            names(&from)
        ));
    }
    text
}

fn rest(all: usize, shown: usize, command: &str) -> String {
    match all.checked_sub(shown) {
        None | Some(0) => String::new(),
        Some(more) => format!("  and {more} more: {command}\n"),
    }
}

fn count<T>(rows: &[T]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}
