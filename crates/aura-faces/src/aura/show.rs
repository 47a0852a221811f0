//! Documents as lines for people.
//!
//! Invariant: every text that came from elsewhere goes through the escaper, here or in [`Table`].

use aura_api::docs;

use crate::{
    escape::{block, line},
    output::{Paint, View},
    qr,
    table::Table,
    when,
};

/// `bob`, `bob and carol`, `bob, carol and 2 more`.
pub(super) fn names(names: &[&str]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => line(one),
        [one, two] => format!("{} and {}", line(one), line(two)),
        [one, two, three] => format!("{}, {} and {}", line(one), line(two), line(three)),
        [one, two, rest @ ..] => format!("{}, {} and {} more", line(one), line(two), rest.len()),
    }
}

/// `1 patch`, `2 patches`.
pub(super) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// `bob is online`, with the names as they are.
pub(super) fn who_is_online(online: &[&str]) -> String {
    match online {
        [] => "Nobody else is online".to_owned(),
        [one] => format!("{} is online", line(one)),
        several => format!("{} are online", names(several)),
    }
}

/// The name of a branch as people use it.
pub(super) fn branch(name: &str) -> String {
    line(name.strip_prefix("refs/heads/").unwrap_or(name))
}

pub(super) fn joined_in_short(doc: &docs::Joined) -> String {
    format!("joined {} as {}\n", line(&doc.team), line(&doc.name))
}

/// What became of a device that was a member before, and of its clone.
fn joined_again(doc: &docs::Joined, has_token: bool) -> String {
    let token = if has_token {
        "; the token was not used"
    } else {
        ""
    };
    let clone = match doc.clone.as_str() {
        "added" => "This clone was added.",
        "mode" => "This clone was served already and has another mode now.",
        _ => "This clone was served already.",
    };
    let moved = doc.endpoint.as_deref().map(|endpoint| {
        let endpoint = line(endpoint);
        format!(" The mothership is reached at {endpoint} from now on.")
    });
    format!(
        "This device is a member already{token}. {clone}{}\n",
        moved.unwrap_or_default()
    )
}

pub(super) fn joined(doc: &docs::Joined, has_token: bool, view: &View) -> String {
    let tick = view.paint(Paint::Good, view.tick());
    let step = |what: &str, text: String| format!("  {tick} {what:<24} {text}\n");
    let online: Vec<&str> = doc.online.iter().map(String::as_str).collect();
    let mut text = step(
        "team",
        format!("{}, authority {}", line(&doc.team), line(&doc.ca_words)),
    );
    text += &step(
        "you are",
        format!("{} ({})", line(&doc.name), line(&doc.role)),
    );
    let indexed = format!(
        "{} in {} in {} ms",
        counted(doc.units, "unit", "units"),
        counted(doc.files, "file", "files"),
        doc.index_ms
    );
    text += &step("indexed", indexed);
    match &doc.git {
        Some(git) if git.state == "failed" => {
            text += &format!("  - {:<24} {}\n", "git not set up", line(&git.text));
        }
        Some(git) => text += &step("git set up", format!("{}: {}", git.name, line(&git.text))),
        None => {}
    }
    text.push('\n');
    if doc.state == "waiting_for_approval" {
        text += &format!(
            "Joined {}; an admin has to approve this device. Your words: {}\n",
            line(&doc.team),
            line(&doc.device_words)
        );
    } else if doc.was_member {
        text += &joined_again(doc, has_token);
        text += &format!("{}.\n", who_is_online(&online));
    } else {
        text += &format!("Joined {}. {}.\n", line(&doc.team), who_is_online(&online));
    }
    text + &format!("Mode is {}.\n", line(&doc.mode))
}

pub(super) fn settings(doc: &docs::Config, view: &View) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "ORIGIN"]);
    for row in &doc.settings {
        table.row([row.key.clone(), row.value.clone(), row.origin.clone()]);
    }
    table.show(view)
}

pub(super) fn setting_values(doc: &docs::Config, _: &View) -> String {
    doc.settings
        .iter()
        .map(|row| line(&row.value) + "\n")
        .collect()
}

pub(super) fn conflicts(doc: &docs::Conflicts, view: &View) -> String {
    if doc.conflicts.is_empty() {
        return "no open conflicts".to_owned();
    }
    let mut table = Table::new(&["ID", "SYMBOL", "WITH", "SINCE", "WHY"]);
    for row in &doc.conflicts {
        table.row([
            row.id.clone(),
            row.symbol.clone(),
            row.theirs.author.clone(),
            when::ago(&row.since, view.now),
            row.reason.clone(),
        ]);
    }
    table.show(view)
}

pub(super) fn conflict_in_full(doc: &docs::Conflicts, view: &View) -> String {
    doc.conflicts
        .iter()
        .map(|conflict| one_conflict(conflict, view))
        .collect()
}

fn one_conflict(conflict: &docs::ConflictDoc, view: &View) -> String {
    let mut text = format!(
        "{}  {}   open {}, {}\n",
        line(&conflict.id),
        line(&conflict.symbol),
        when::ago(&conflict.since, view.now),
        line(&conflict.reason)
    );
    let theirs = format!("{}'s", line(&conflict.theirs.author));
    let sides = [
        ("base".to_owned(), conflict.base.as_ref()),
        ("yours".to_owned(), Some(&conflict.mine)),
        (theirs, Some(&conflict.theirs)),
    ];
    for (label, side) in sides {
        let Some(side) = side else { continue };
        let op = side.op.as_deref().map_or_else(|| "-".to_owned(), line);
        let at = side
            .at
            .as_deref()
            .map(|at| when::ago(at, view.now))
            .unwrap_or_default();
        let head = format!("--- {label}  {op}  {at}").trim_end().to_owned();
        text += &format!("\n{}\n", view.paint(Paint::Faint, &head));
        match (&side.text, side.deleted) {
            (_, true) => text += "(deleted)\n",
            (Some(body), false) => {
                text += &block(body);
                if !body.ends_with('\n') {
                    text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    let id = line(&conflict.id);
    text + &format!("\nnext: aura resolve {id} --mine | --theirs | --both | --edit\n")
}

pub(super) fn diff(doc: &docs::Diff, view: &View) -> String {
    if doc.units.is_empty() {
        return "nothing differs from the team's newest".to_owned();
    }
    let mut table = Table::new(&["SYMBOL", "STATE"]);
    for row in &doc.units {
        table.row([row.symbol.clone(), row.state.clone()]);
    }
    let mut text = table.show(view);
    for row in &doc.units {
        if row.mine.is_none() && row.team.is_none() {
            continue;
        }
        text += &format!("\n{}\n", line(&row.symbol));
        for (label, side) in [("yours", &row.mine), ("team's", &row.team)] {
            if let Some(side) = side {
                // What somebody wrote starts no line of this screen.
                let shown = block(side);
                let rows = shown.lines().map(|row| format!("  | {row}\n"));
                text += &format!("--- {label}\n{}", rows.collect::<String>());
            }
        }
    }
    text
}

pub(super) fn hello(doc: &docs::Hello, _: &View) -> String {
    let mut text = format!(
        "the daemon is running (pid {}, version {}) in {}\n",
        doc.pid,
        line(&doc.version),
        line(&doc.home)
    );
    for repo in &doc.repos {
        text += &format!("  serves {}\n", line(repo));
    }
    text
}

/// An invite of either program.
pub(crate) struct Invited<'a> {
    pub(crate) token: &'a str,
    pub(crate) expires: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) uses: u32,
    pub(crate) needs_approval: bool,
}

impl Invited<'_> {
    /// What to hand on, and what it is good for.
    pub(crate) fn text(&self, view: &View) -> String {
        let whom = self
            .name
            .map(|name| format!(" for {}", line(name)))
            .unwrap_or_default();
        let often = match self.uses {
            1 => "works once".to_owned(),
            uses => format!("works {uses} times"),
        };
        let mut text = format!(
            "Invite{whom} ({often}, ends {}). In a clone of the repository:\n\n  aura join {}\n\n",
            when::until(self.expires, view.now),
            line(self.token)
        );
        if self.needs_approval {
            text += "An admin then runs: aura members approve NAME\n";
        }
        text
    }

    /// The same, with the token drawn below it if that is wanted; or why it is not drawn.
    pub(crate) fn shown(&self, view: &View, is_drawn: bool) -> (String, Option<String>) {
        let text = self.text(view);
        match is_drawn.then(|| qr::drawn(self.token, view)) {
            Some(Ok(code)) => (format!("{text}\n{code}"), None),
            Some(Err(why)) => (text, Some(why)),
            None => (text, None),
        }
    }
}

/// Operations, one a line.
pub(super) fn ops(rows: &[docs::OpDoc], view: &View) -> String {
    let mut table = Table::new(&["OP", "WHEN", "WHO", "WHAT", "SYMBOL", "WHY"]);
    for row in rows {
        let queued = if row.seq.is_none() { " (queued)" } else { "" };
        table.row([
            row.op.clone(),
            when::ago(&row.at, view.now) + queued,
            row.author.clone(),
            row.kind.clone(),
            format!("{} {}", row.symbol, row.version),
            remarks(row),
        ]);
    }
    table.show(view)
}

/// The reason of an operation, and what else is worth a word.
fn remarks(row: &docs::OpDoc) -> String {
    let renamed = row.renamed_from.as_ref();
    let moved = row.moved_from.as_ref();
    let joined = (!row.joined.is_empty()).then(|| format!("joined {}", row.joined.join(" and ")));
    let parts = [
        row.why.clone(),
        renamed.map(|from| format!("was {from}")),
        moved.map(|from| format!("moved from {from}")),
        joined,
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

pub(super) fn impact(doc: &docs::Impact, view: &View) -> String {
    let mut text: String = doc
        .acked
        .iter()
        .map(|id| format!("closed {}\n", line(id)))
        .collect();
    for id in &doc.snoozed {
        text += &format!("put off {}\n", line(id));
    }
    if !doc.ready {
        text += "the files are still being read; there may be more\n";
    }
    let (off, alerts): (Vec<_>, Vec<_>) = doc
        .alerts
        .iter()
        .partition(|alert| alert.snoozed_until.is_some());
    if !off.is_empty() && doc.snoozed.is_empty() {
        text += &format!(
            "{} put off\n",
            counted(off.len() as u64, "alert is", "alerts are")
        );
    }
    if !alerts.is_empty() {
        let mut table = Table::new(&["ID", "YOURS", "CALLS", "WHAT", "WHO", "WHEN", "BRANCH"]);
        for row in alerts {
            let via = row.via.as_ref().map(|via| format!(" via {via}"));
            table.row([
                row.id.clone(),
                row.caller.clone(),
                row.callee.clone() + &via.unwrap_or_default(),
                row.kind.clone(),
                row.author.clone(),
                when::ago(&row.since, view.now),
                branch(&row.branch),
            ]);
        }
        text += &table.show(view);
    } else if doc.symbol.is_none() && doc.acked.is_empty() && off.is_empty() {
        text += "nothing that others changed is used by what you wrote\n";
    }
    if let Some(symbol) = &doc.symbol {
        if doc.callers.is_empty() {
            return text + &format!("nothing here uses {}\n", line(symbol));
        }
        let mut table = Table::new(&["CALLER", "LINE", "KIND", "HOW SURE", "USES"]);
        for row in &doc.callers {
            table.row([
                row.symbol.clone(),
                row.line.to_string(),
                row.kind.clone(),
                row.confidence.clone(),
                row.callee.clone(),
            ]);
        }
        text += &table.show(view);
    }
    text
}

pub(super) fn members(doc: &docs::Members, view: &View) -> String {
    let mut text = String::new();
    for name in &doc.approved {
        text += &format!("approved {}\n", line(name));
    }
    let mut table = Table::new(&["NAME", "ROLE", "STATE", "WORDS"]);
    for row in &doc.members {
        let words = row.device_words.clone();
        table.row([row.name.clone(), row.role.clone(), row.state.clone(), words]);
    }
    text + &table.show(view)
}

/// The words to compare before an approval.
pub(super) fn waiting(doc: &docs::Members, wanted: &[String]) -> String {
    let is_meant = |member: &&docs::MemberDoc| {
        member.state == "waiting" && (wanted.is_empty() || wanted.contains(&member.name))
    };
    let row = |member: &docs::MemberDoc| {
        format!(
            "  {} ({})   {}\n",
            line(&member.name),
            line(&member.role),
            line(&member.device_words)
        )
    };
    doc.members.iter().filter(is_meant).map(row).collect()
}

/// How this device is reached, and how each other one.
pub(super) fn netcheck(doc: &docs::Netcheck, view: &View) -> String {
    let rtt = doc
        .rtt_ms
        .map(|ms| format!(", {ms} ms"))
        .unwrap_or_default();
    let mut text = format!("mothership: {}{rtt}\n", line(&doc.mothership));
    let address = |row: &docs::AddressDoc| format!("{} ({})", line(&row.address), line(&row.class));
    let listens: Vec<String> = doc.listens.iter().map(address).collect();
    let listens = match (listens.is_empty(), &doc.listens_not) {
        (_, Some(why)) => format!("no other device can dial this one: {}", line(why)),
        (true, None) => "no other device can dial this one".to_owned(),
        (false, None) => format!("listens at {}", listens.join(", ")),
    };
    let (visibility, reachable) = (line(&doc.visibility), line(&doc.reachable));
    text += &format!("this device: {visibility}, {listens}; reached so far: {reachable}\n");
    for peer in &doc.peers {
        let rtt = peer
            .rtt_ms
            .map(|ms| format!(", {ms} ms"))
            .unwrap_or_default();
        let why = peer
            .why
            .as_deref()
            .map(|why| format!("   why: {}", line(why)));
        let why = why.unwrap_or_default();
        text += &format!("\n{}: {}{rtt}{why}\n", line(&peer.name), line(&peer.path));
        let mut table = Table::new(&["  ADDRESS", "NETWORK", "OUTCOME", "MS", "AGO"]);
        for tried in &peer.tried {
            table.row([
                format!("  {}", tried.address),
                tried.class.clone(),
                tried.result.clone(),
                tried.ms.to_string(),
                format!("{} s", tried.age_ms / 1_000),
            ]);
        }
        if !peer.tried.is_empty() {
            text += &table.show(view);
        }
    }
    text.trim_end().to_owned()
}

/// The answer of another device.
pub(super) fn pong(doc: &docs::Ping) -> String {
    let address = doc
        .address
        .as_deref()
        .map(|address| format!(" ({})", line(address)));
    let (name, address) = (line(&doc.peer), address.unwrap_or_default());
    format!(
        "{name}{address} answered in {} ms, {}",
        doc.rtt_ms,
        line(&doc.path)
    )
}

/// How a message reached another device.
pub(super) fn way(doc: &docs::TestMessage) -> String {
    let mut text = format!("{} answered in {} ms", line(&doc.peer), doc.rtt_ms);
    for hop in &doc.hops {
        let took = hop
            .rtt_ms
            .map_or_else(|| "no answer".to_owned(), |ms| format!("{ms} ms"));
        text += &format!("\n  over {}, {took}", line(&hop.name));
    }
    text
}

pub(super) fn peers(rows: &[docs::PeerDoc], view: &View) -> String {
    let head = [
        "NAME", "STATE", "ROLE", "DOING", "PATH", "MS", "SEEN", "READS",
    ];
    let mut table = Table::new(&head);
    for row in rows {
        let seen = row
            .last_seen
            .as_deref()
            .map(|seen| when::ago(seen, view.now));
        table.row([
            row.name.clone(),
            row.state.clone(),
            row.role.clone(),
            super::status::doing(row, view).unwrap_or_else(|| "-".to_owned()),
            row.path.clone(),
            row.rtt_ms
                .map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
            seen.unwrap_or_else(|| "-".to_owned()),
            if row.reads { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.show(view)
}

pub(super) fn published(doc: &docs::Published, view: &View) -> String {
    let count = u64::try_from(doc.ops.len()).unwrap_or(u64::MAX);
    let new = count.saturating_sub(doc.explained);
    let changes = counted(new, "change", "changes");
    let mut said = match (doc.state.as_str(), new) {
        _ if doc.postponed => "git moves files; it is done when git has stopped\n".to_owned(),
        ("nothing", _) => "nothing to publish\n".to_owned(),
        ("queued", 1..) => format!("queued {changes}; sent when the mothership is reached\n"),
        ("queued", 0) => {
            let waits = counted(doc.queued, "waits", "wait");
            format!("nothing new to publish; {waits} until the mothership is reached\n")
        }
        (_, 0) => String::new(),
        _ => {
            let at = doc.seq.map(|seq| format!(" at {seq}")).unwrap_or_default();
            format!("published {changes}{at}\n")
        }
    };
    if 0 < doc.explained {
        let given = counted(doc.explained, "change", "changes");
        said += &format!("gave the reason to {given} published before\n");
    }
    if doc.ops.is_empty() {
        said
    } else {
        said + &ops(&doc.ops, view)
    }
}

pub(super) fn pulled(doc: &docs::Pulled, view: &View) -> String {
    if doc.units.is_empty() {
        return "nothing waits".to_owned();
    }
    let mut table = Table::new(&["SYMBOL", "FROM", "OUTCOME", "WHY"]);
    for row in &doc.units {
        let why = row.why.clone().unwrap_or_default();
        table.row([
            row.symbol.clone(),
            row.from.clone(),
            row.outcome.clone(),
            why,
        ]);
    }
    let mut text = table.show(view);
    text += &format!("{} applied\n", doc.applied);
    if let Some(op) = &doc.op {
        text += &format!("undo: aura undo {}\n", line(op));
    }
    text
}

pub(super) fn resolved(doc: &docs::Resolved, view: &View) -> String {
    let mut text = match doc.resolved {
        1 => "1 conflict is settled\n".to_owned(),
        count => format!("{count} conflicts are settled\n"),
    };
    if !doc.ops.is_empty() {
        text += &ops(&doc.ops, view);
    }
    for step in &doc.next {
        text += &format!("undo: {}\n", line(&step.cmd));
    }
    text
}

pub(super) fn undone(doc: &docs::Undone, _: &View) -> String {
    let mut text = format!("took back {}\n", line(&doc.op));
    for symbol in &doc.symbols {
        text += &format!("  {}\n", line(symbol));
    }
    text
}

pub(super) fn whoami(doc: &docs::Whoami, view: &View) -> String {
    let until = doc
        .certificate_until
        .as_deref()
        .map(|until| when::until(until, view.now));
    let reads = if doc.reads {
        "yes"
    } else {
        "not yet; an admin has to approve this device"
    };
    let rows = [
        ("name", doc.name.as_deref()),
        ("team", doc.team.as_deref()),
        ("role", doc.role.as_deref()),
        ("device", doc.peer.as_deref()),
        ("words", doc.device_words.as_deref()),
        ("authority", doc.ca_words.as_deref()),
        ("certificate", until.as_deref()),
        ("reads", Some(reads)),
    ];
    let row = |(label, value): (&str, Option<&str>)| {
        format!("{label:<12} {}\n", line(value.unwrap_or("-")))
    };
    rows.into_iter().map(row).collect()
}
