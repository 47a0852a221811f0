//! Own code that uses what others changed, and what uses a symbol.
//!
//! Invariant: it is answered when all that has arrived is weighed, or says that it is not.

use std::{path::Path, sync::mpsc};

use aura_api::{Exit, Failure, Reply, docs};
use aura_proto::PeerId;
use aura_semantic::Reference;

use super::{Answer, document, reply_of};
use crate::{
    clock::rfc3339,
    daemon::{Daemon, Until, Waiting},
    desk::{Desk, impact::Alert, take::names},
    docs as shape,
};

/// How long a call waits until the files are read and what arrived is weighed, in milliseconds.
const WEIGHED_MS: u64 = 10_000;

/// What a call for alerts is about.
pub(super) struct Asked {
    pub(super) symbol: Option<String>,
    pub(super) ack: Vec<String>,
    pub(super) snooze_ms: Option<u64>,
}

impl Daemon {
    pub(super) fn when_weighed(
        &mut self,
        repo: Option<&str>,
        asked: Asked,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<(), Failure> {
        let path = self.repo_of(repo)?;
        self.waiting.push(Waiting {
            until: Until::Weighed,
            repo: Some(path.clone()),
            deadline_ms: self.clock.mono_ms() + WEIGHED_MS,
            reply: reply.clone(),
            answer: Box::new(move |daemon, is_ready| {
                Some(reply_of(daemon.impact(&path, asked, is_ready)))
            }),
        });
        Ok(())
    }

    fn impact(&mut self, path: &Path, asked: Asked, is_ready: bool) -> Answer {
        let Asked {
            symbol,
            ack,
            snooze_ms,
        } = asked;
        let now_ms = self.clock.wall_ms();
        let (mut acked, mut snoozed) = (Vec::new(), Vec::new());
        self.with_desk(path, |desk, _| {
            let done = match snooze_ms {
                Some(for_ms) => desk
                    .snooze(&ack, now_ms.saturating_add(for_ms))
                    .map(|ids| snoozed = ids),
                None => desk.acknowledge(&ack).map(|()| acked = ack),
            };
            done.map_err(|id| no_alert(&id))
        })?;
        let Some(desk) = self.desks.get(path) else {
            return Ok(serde_json::Value::Null);
        };
        let callers = symbol.as_deref().map(|symbol| callers(desk, symbol));
        if let (Some(symbol), Some(None), true) = (&symbol, &callers, is_ready) {
            return Err(no_symbol(symbol));
        }
        let is_about = |alert: &&Alert| {
            let (path, name) = &alert.callee;
            symbol
                .as_ref()
                .is_none_or(|symbol| names(path, name, symbol))
        };
        let alerts = desk.open_alerts().iter().filter(is_about);
        let alerts = alerts.map(|alert| self.alert_doc(alert)).collect();
        document(&docs::Impact {
            schema: docs::Impact::SCHEMA.to_owned(),
            ready: is_ready,
            alerts,
            callers: callers.flatten().unwrap_or_default(),
            symbol,
            acked,
            snoozed,
        })
    }

    pub(super) fn alert_doc(&self, alert: &Alert) -> docs::AlertDoc {
        let full = |(path, name): &(String, String)| named(path, name);
        docs::AlertDoc {
            id: alert.id(),
            caller: full(&alert.caller),
            callee: full(&alert.callee),
            kind: alert.effect.word().to_owned(),
            confidence: alert.confidence.word().to_owned(),
            via: alert.via.clone(),
            author: shape::name_of(&self.peers, PeerId(alert.author)),
            branch: alert.branch.clone(),
            op: alert.op.clone(),
            since: rfc3339(alert.time_ms),
            snoozed_until: alert.snoozed_until(self.clock.wall_ms()).map(rfc3339),
        }
    }
}

fn named(path: &str, name: &str) -> String {
    if name.is_empty() {
        path.to_owned()
    } else {
        format!("{path}::{name}")
    }
}

/// What uses the units of a name; none if there are no such units.
fn callers(desk: &Desk, symbol: &str) -> Option<Vec<docs::CallerDoc>> {
    let found = desk.callers_of(symbol);
    if found.is_empty() {
        return None;
    }
    let row = |callee: &Reference, caller: Reference| docs::CallerDoc {
        symbol: named(&caller.path, &caller.name),
        callee: named(&callee.path, &callee.name),
        path: caller.path.to_string(),
        line: u64::from(caller.line),
        kind: caller.kind.word().to_owned(),
        confidence: caller.confidence.word().to_owned(),
    };
    let rows = found.into_iter().flat_map(|(callee, callers)| {
        let rows = callers.into_iter().map(|caller| row(&callee, caller));
        rows.collect::<Vec<_>>()
    });
    Some(rows.collect())
}

fn no_symbol(symbol: &str) -> Failure {
    let message = format!("no unit here is called {symbol}");
    Failure::new("AE-NO-SYMBOL", Exit::USAGE, message)
        .next("aura outline FILE", "the units of a file")
}

fn no_alert(id: &str) -> Failure {
    let message = format!("there is no open alert {id}");
    Failure::new("AE-NO-ALERT", Exit::USAGE, message).next("aura impact", "the open ones")
}
