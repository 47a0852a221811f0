//! What `doctor` hears from the daemon, if one runs.
//!
//! Invariants:
//! - a daemon that is silent ends the wait, and is what is wrong;
//! - what is said of team and link are the daemon's own answers.

use std::{collections::BTreeMap, time::Duration};

use aura_api::{
    Call, Failure, Home,
    docs::{self, CheckDoc},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{FAIL, Findings, Fix, WARN, bad, has_left_over, of_failure, ok};
use crate::{
    aura::{
        Face,
        client::{self, Limit, not_understood},
        show::counted,
    },
    output::Stop,
    when,
};

/// How long a daemon may take to answer without `--timeout`.
const ANSWER: Duration = Duration::from_secs(5);
/// Needs that mean that nothing goes on.
const GRAVE: [&str; 2] = ["fault", "removed"];

impl Face<'_, '_> {
    /// The answer of the daemon that runs; none where none does.
    pub(in crate::aura) fn ask_running(&self, call: Call) -> Result<Option<Value>, Failure> {
        let Some(stream) = self.client()?.running()? else {
            return Ok(None);
        };
        let request = self.request(call)?;
        let limit = Limit::from_now(Some(self.common.timeout.unwrap_or(ANSWER)));
        match client::ask(stream, &request, limit, &mut |_| Ok(())) {
            Ok(document) => Ok(Some(document)),
            Err(Stop::Failed(failure)) => Err(failure),
            // Nothing is printed meanwhile.
            Err(Stop::PipeClosed) => Ok(None),
        }
    }

    pub(super) fn look_at_daemon(&self, home: &Home, findings: &mut Findings) {
        let hello: docs::Hello = match self.ask_running(Call::Hello) {
            Ok(Some(document)) => match understood(document, "its version") {
                Ok(hello) => hello,
                Err(failure) => return findings.add(of_failure("daemon", FAIL, failure)),
            },
            Ok(None) => return not_running(home, findings),
            Err(failure) => return findings.add(silent(failure)),
        };
        findings.add(version(&hello));
        for (call, name, check) in self.questions() {
            let heard = self.ask_running(call);
            match heard.and_then(|heard| heard.map(check).transpose()) {
                Ok(checks) => findings.checks.extend(checks.into_iter().flatten()),
                Err(failure) => findings.add(of_failure(name, WARN, failure)),
            }
        }
    }

    /// What a daemon is asked, what it is about, and what is made of the answer.
    fn questions(&self) -> [(Call, &'static str, Judge); 3] {
        let now = self.screen.view().now;
        [
            (
                Call::Whoami,
                "identity",
                Box::new(move |answer| Ok(vec![identity(&understood(answer, "a name")?, now)])),
            ),
            (
                Call::Status,
                "sync",
                Box::new(|answer| {
                    let status = understood(answer, "a status")?;
                    Ok(vec![sync(&status), needs(&status)])
                }),
            ),
            (
                Call::Netcheck { peer: None },
                "links",
                Box::new(|answer| Ok(vec![links(&understood(answer, "the links")?)])),
            ),
        ]
    }
}

/// Makes checks of an answer.
type Judge = Box<dyn FnOnce(Value) -> Result<Vec<CheckDoc>, Failure>>;

fn understood<T: DeserializeOwned>(document: Value, what: &str) -> Result<T, Failure> {
    serde_json::from_value(document).map_err(|_| not_understood(what))
}

fn not_running(home: &Home, findings: &mut Findings) {
    let start = ("aura up", "starts it");
    let check = match (has_left_over(home), home.has_identity()) {
        (true, _) => {
            findings.fixes.push(Fix::RemoveSocket(home.run_dir()));
            let text = "none runs, and one that did not end by itself has left its socket";
            bad("daemon", WARN, text, start)
        }
        (false, true) => bad("daemon", WARN, "none runs, so nothing is synced", start),
        (false, false) => ok("daemon", "none runs; without a team none is needed"),
    };
    findings.add(check);
}

/// A daemon that cannot be talked to.
fn silent(failure: Failure) -> CheckDoc {
    if failure.id == "AE-TIMEOUT" {
        let step = (
            "aura daemon restart",
            "starts it anew; what is queued is kept",
        );
        return bad("daemon", FAIL, "it runs but does not answer", step);
    }
    of_failure("daemon", FAIL, failure)
}

fn version(hello: &docs::Hello) -> CheckDoc {
    let own = env!("CARGO_PKG_VERSION");
    if hello.version == own {
        return ok("daemon", format!("it answers, version {own}"));
    }
    let text = format!("it is of version {}, this program of {own}", hello.version);
    let step = (
        "aura daemon restart",
        "runs this version; what is queued is kept",
    );
    bad("daemon", WARN, text, step)
}

fn identity(who: &docs::Whoami, now: Timestamp) -> CheckDoc {
    let name = "identity";
    let (Some(own), Some(team)) = (&who.name, &who.team) else {
        let step = (
            "aura join TOKEN",
            "with the line that the mothership printed",
        );
        return bad(name, WARN, "this device is on no team", step);
    };
    let until = who.certificate_until.as_deref();
    let ended = until
        .and_then(|until| until.parse::<Timestamp>().ok())
        .is_some_and(|until| until < now);
    match (until, who.reads) {
        (Some(until), _) if ended => bad(
            name,
            FAIL,
            format!("the certificate of {own} {}", when::until(until, now)),
            (
                "aura reconnect",
                "dials the mothership, which renews it for a while; else: aura join TOKEN",
            ),
        ),
        // A relay keeps what it cannot read.
        (_, false) if who.role.as_deref() != Some("relay") => bad(
            name,
            WARN,
            format!("{own} cannot read yet: an admin of {team} has to approve it"),
            ("aura whoami", "the words that the admin compares"),
        ),
        _ => ok(name, format!("{own}, a member of {team}")),
    }
}

fn sync(status: &docs::Status) -> CheckDoc {
    let name = "sync";
    let link = &status.link;
    let why = link.why.as_deref();
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    match (link.state.as_str(), status.word.as_str()) {
        ("revoked", _) => bad(
            name,
            FAIL,
            format!("this device was removed from the team{why}"),
            (
                "aura join TOKEN",
                "with a fresh invite; your files and what is queued are kept",
            ),
        ),
        (_, "error") => bad(
            name,
            FAIL,
            format!("this clone is not served{why}"),
            ("aura daemon logs", "what is wrong with it"),
        ),
        ("online", word @ ("synced" | "syncing")) => {
            let rtt = link.rtt_ms;
            let rtt = rtt.map_or_else(String::new, |ms| format!(" in {ms:.0} ms"));
            ok(name, format!("{word}; the mothership answers{rtt}"))
        }
        ("online", word) => bad(
            name,
            WARN,
            format!("{word}{why}"),
            ("aura status", "what is missing"),
        ),
        (state, _) => bad(
            name,
            WARN,
            format!(
                "{state} for {}, {} queued{why}",
                when::span(link.offline_for_s),
                link.queued
            ),
            ("aura netcheck", "each address and what became of it"),
        ),
    }
}

/// What waits for a person, by kind.
fn needs(status: &docs::Status) -> CheckDoc {
    let name = "needs";
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for need in &status.needs_you {
        let count = kinds.entry(&need.kind).or_default();
        *count = count.saturating_add(1);
    }
    if kinds.is_empty() {
        return ok(name, "nothing needs you");
    }
    let is_grave = GRAVE.iter().any(|kind| kinds.contains_key(kind));
    let kinds = kinds
        .iter()
        .map(|(kind, count)| format!("{kind} ({count})"));
    bad(
        name,
        if is_grave { FAIL } else { WARN },
        kinds.collect::<Vec<_>>().join(", "),
        ("aura status", "each of them, and what to do"),
    )
}

fn links(net: &docs::Netcheck) -> CheckDoc {
    let is_linked =
        |peer: &&docs::PeerDoc| peer.path.starts_with("direct") || peer.path == "relayed";
    let linked = net.peers.iter().filter(is_linked).count();
    let others = u64::try_from(net.peers.len()).unwrap_or(u64::MAX);
    let text = format!(
        "linked with {linked} of {}; reachable: {}",
        counted(others, "other device", "other devices"),
        net.reachable
    );
    match &net.listens_not {
        None => ok("links", text),
        Some(why) => bad(
            "links",
            WARN,
            format!("{text}; cannot be dialled where it is set to listen: {why}"),
            (
                "aura config get links.listen",
                "where that is; aura config set links.listen changes it",
            ),
        ),
    }
}
