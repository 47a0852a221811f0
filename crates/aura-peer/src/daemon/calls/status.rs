//! The daily screen: what needs you, who is here, what waits.
//!
//! Invariant: nothing here changes anything.

use std::collections::BTreeMap;

use aura_api::{Call, Next, docs, shell_operand};
use aura_engine::peer::{control::Control, units::Conflict};
use aura_proto::{
    message::{PeerCard, Role},
    zone::ZoneMode,
};
use aura_semantic::Effect;
use aura_trust::words;
use serde_json::Value;

use super::{Answer, document, held_back};
use crate::{
    clock::rfc3339,
    daemon::Daemon,
    desk::{Desk, Mode, inbox::Row, pause::Pause, take::Taken},
    docs as shape, team,
};

impl Daemon {
    pub(in crate::daemon) fn status(&mut self, repo: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        let (taken, unpublished) = self.with_desk(&path, |desk, ring| {
            let taken = desk.incoming(ring);
            Ok((taken, desk.unpublished()?))
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let mut needs_you = self.needs(desk);
        if desk.mode == Mode::Ask {
            needs_you.extend(self.offers(desk, &taken));
        }
        let incoming = self.incoming(desk, &taken);
        let enrolment = self.identity.enrolment.as_ref();
        let link = self.link_doc(desk);
        let mut next = next_step(&needs_you, incoming.patches);
        if link.state == "offline" {
            next.push(Next {
                cmd: "aura join TOKEN".to_owned(),
                why: "with a fresh invite, if the mothership has another address now".to_owned(),
            });
        }
        document(&docs::Status {
            schema: docs::Status::SCHEMA.to_owned(),
            at: rfc3339(self.clock.wall_ms()),
            seq: self.event_last(),
            word: desk.standing.word().as_str().to_owned(),
            lacking: desk.standing.word().lacking(),
            team: enrolment.map(|enrolment| enrolment.team_name.clone()),
            name: enrolment.map(|enrolment| enrolment.name.clone()),
            repo: Some(docs::RepoDoc {
                root_commit: desk.repo.root_commit().as_str().to_owned(),
                branch: desk.units.channel().to_owned(),
                head: desk.commit().to_owned(),
                path: desk.path.display().to_string(),
                files: desk.files.len() as u64,
                units: desk.unit_count(),
            }),
            mode: Some(desk.mode.as_str().to_owned()),
            link,
            next,
            needs_you,
            peers: self.peer_rows(Some(&path)),
            incoming,
            mine: self.mine(desk, unpublished),
            zones: self.zones_of_note(desk),
            paused: pause_doc(desk.pause),
            stream: Some(docs::StreamDoc {
                received: desk.flow.received,
                last: desk.flow.last_ms.map(rfc3339),
                delay_ms: desk.flow.delay_p50_ms(),
            }),
        })
    }

    /// Holds still in what is meant, in both where nothing is; or goes on.
    pub(in crate::daemon) fn pause(&mut self, repo: Option<&str>, call: &Call) -> Answer {
        let path = self.repo_of(repo)?;
        let wall_ms = self.clock.wall_ms();
        let pause = self.with_desk(&path, |desk, _| match call {
            Call::Pause {
                publishing,
                taking,
                for_ms,
            } => {
                let both = publishing == taking;
                let until_ms = for_ms.map_or(u64::MAX, |for_ms| wall_ms.saturating_add(for_ms));
                desk.hold_still(Pause {
                    publishing: (*publishing || both).then_some(until_ms),
                    taking: (*taking || both).then_some(until_ms),
                })
            }
            _ => desk.go_on(),
        })?;
        document(&docs::Paused {
            schema: docs::Paused::SCHEMA.to_owned(),
            paused: pause_doc(pause),
        })
    }

    /// What only a person can decide: open conflicts, then devices that wait for the team key.
    fn needs(&self, desk: &Desk) -> Vec<docs::NeedDoc> {
        let conflicts = desk.conflicts_unseen(&self.identity.ring);
        let conflict = |conflict: &Conflict| {
            let row = shape::conflict(desk, conflict, &self.peers, false);
            docs::NeedDoc {
                kind: "conflict".to_owned(),
                id: row.id,
                symbol: Some(row.symbol),
                text: format!(
                    "{} and {} both changed it",
                    row.mine.author, row.theirs.author
                ),
                with: vec![row.theirs.author],
                since: Some(row.since),
            }
        };
        let me = self.identity.key.peer();
        let is_admin = |team: &team::Team| team.roster.is_admin(me);
        let is_admin = self.team.as_ref().is_some_and(is_admin);
        // Whoever waits itself, or may not approve, is not asked to.
        let mut waiting = self.waiting_for_approval();
        let is_being = |team: &team::Team, card: &PeerCard| team.is_being_approved(card.peer);
        waiting.retain(|card| is_admin && !self.team.as_ref().is_some_and(|t| is_being(t, card)));
        let approval = |card: &PeerCard| docs::NeedDoc {
            kind: "approval".to_owned(),
            id: card.name.clone(),
            symbol: None,
            with: vec![card.name.clone()],
            since: None,
            text: format!("{} waits for the team key", card.name),
        };
        let others = waiting.iter().filter(|card| card.peer != me);
        let fault = self.team.as_ref().and_then(|team| team.fault.as_ref());
        let fault = fault.map(|fault| docs::NeedDoc {
            kind: "fault".to_owned(),
            id: "team".to_owned(),
            symbol: None,
            with: Vec::new(),
            since: None,
            text: format!("{fault}; nothing is published"),
        });
        let forks = self.forks_of(desk.book.replica.log()).into_iter();
        let forks = forks.map(|(name, text)| docs::NeedDoc {
            kind: "fault".to_owned(),
            id: "fork".to_owned(),
            symbol: None,
            with: vec![name],
            since: None,
            text,
        });
        let damage = desk.told_of_damage().map(|text| docs::NeedDoc {
            kind: "damage".to_owned(),
            id: "log".to_owned(),
            symbol: None,
            with: Vec::new(),
            since: None,
            text,
        });
        let needs = self.own_standing().into_iter().chain(fault).chain(forks);
        let needs = needs.chain(damage).chain(self.unread(desk));
        let needs = needs.chain(conflicts.iter().map(conflict));
        let needs = needs.chain(self.alerts(desk));
        needs.chain(others.map(approval)).collect()
    }

    /// In the mode that asks: each function that somebody changed and that can be taken.
    fn offers(&self, desk: &Desk, taken: &BTreeMap<usize, Taken>) -> Vec<docs::NeedDoc> {
        let stays = |taken: &Taken| matches!(taken, Taken::Waiting(_) | Taken::Known);
        let offered = taken.iter().filter(|(_, taken)| !stays(taken));
        let ops = offered.flat_map(|(index, _)| shape::ops(&desk.units, *index, &self.peers));
        // Of each function what it would be in the end, by whoever changed it.
        let ops = ops.filter(|op| op.kind != "merge");
        let newest: BTreeMap<String, docs::OpDoc> = ops.map(|op| (op.symbol.clone(), op)).collect();
        let offer = |op: docs::OpDoc| docs::NeedDoc {
            kind: "offer".to_owned(),
            id: op.op,
            text: match &op.why {
                Some(why) => format!("{} by {}: {why}", op.kind, op.author),
                None => format!("{} by {}", op.kind, op.author),
            },
            with: vec![op.author],
            symbol: Some(op.symbol),
            since: Some(op.at),
        };
        newest.into_values().map(offer).collect()
    }

    /// Own code that may no longer work; what changed in its body alone is for who asks.
    fn alerts<'a>(&'a self, desk: &'a Desk) -> impl Iterator<Item = docs::NeedDoc> + 'a {
        let open = desk.open_alerts().iter();
        let now_ms = self.clock.wall_ms();
        let alerts = open.filter(move |alert| {
            let is_off = alert.snoozed_until(now_ms).is_some();
            alert.effect.interrupts() && alert.via.is_none() && !is_off
        });
        alerts.map(|alert| {
            let row = self.alert_doc(alert);
            let branch = row
                .branch
                .strip_prefix("refs/heads/")
                .unwrap_or(&row.branch);
            let what = match alert.effect {
                Effect::Body => "changed it",
                Effect::Deleted => "deleted it",
                Effect::Renamed => "renamed it",
                Effect::Signature => "changed its signature",
            };
            let name = &alert.callee.1;
            docs::NeedDoc {
                kind: "impact".to_owned(),
                id: row.id,
                symbol: Some(row.caller),
                text: format!("calls {name}; {} {what} on {branch}", row.author),
                with: vec![row.author],
                since: Some(row.since),
            }
        })
    }

    /// Whether this device relays and keeps what it cannot read, so that it waits for no key.
    pub(in crate::daemon) fn is_relay_device(&self) -> bool {
        let own = self.identity.enrolment.as_ref();
        own.is_some_and(|own| own.role == Role::Relay)
    }

    /// What stands between this device and its team.
    fn own_standing(&self) -> Option<docs::NeedDoc> {
        let is_barred = self.control.as_ref().is_some_and(Control::is_barred);
        let name = self
            .identity
            .enrolment
            .as_ref()
            .map(|own| own.name.clone())?;
        let (kind, text) = if is_barred {
            let text = "this device was removed from the team: nothing is sent or received";
            ("removed", text.to_owned())
        } else if self.identity.ring.is_empty() && !self.is_relay_device() {
            let words = words(&self.identity.key.peer().0, 6);
            let text = format!("this device waits for an admin, who compares: {words}");
            ("approval", text)
        } else {
            return None;
        };
        Some(docs::NeedDoc {
            kind: kind.to_owned(),
            id: name,
            symbol: None,
            with: Vec::new(),
            since: None,
            text,
        })
    }

    fn incoming(&self, desk: &Desk, taken: &BTreeMap<usize, Taken>) -> docs::IncomingDoc {
        let mut from = Vec::new();
        for index in taken.keys() {
            let author = desk.units.recorded()[*index].origin.writer.peer;
            let name = shape::name_of(&self.peers, author);
            if !from.contains(&name) {
                from.push(name);
            }
        }
        let touching = taken
            .values()
            .filter(|taken| matches!(taken, Taken::Waiting(_)));
        docs::IncomingDoc {
            patches: taken.len() as u64,
            touching_my_edits: touching.count() as u64,
            from,
        }
    }

    /// Messages that were not read, the urgent ones first.
    fn unread(&self, desk: &Desk) -> Vec<docs::NeedDoc> {
        let me = self.identity.key.peer();
        let unread = desk
            .inbox
            .rows()
            .filter(|row| desk.inbox.is_unread(row, me));
        let mut rows: Vec<_> = unread.collect();
        rows.sort_by_key(|row| !row.is_urgent);
        let need = |row: &Row| {
            let doc = self.message_doc(desk, row);
            let urgent = if doc.urgent { "urgent: " } else { "" };
            docs::NeedDoc {
                kind: "message".to_owned(),
                id: doc.id,
                symbol: doc.about,
                with: vec![doc.from],
                since: Some(doc.at),
                text: format!("{urgent}{}", doc.text),
            }
        };
        rows.into_iter().map(need).collect()
    }

    /// Own zones, and those of others that block.
    fn zones_of_note(&self, desk: &Desk) -> Vec<docs::ZoneDoc> {
        let me = self.identity.key.peer();
        let zones = desk.law.zones.live();
        let zones = zones.filter(|zone| zone.holder == me || zone.mode == ZoneMode::Block);
        zones.map(|zone| self.zone_doc(desk, zone)).collect()
    }

    fn mine(&self, desk: &Desk, unpublished: usize) -> docs::MineDoc {
        let me = self.identity.key.peer();
        let recorded = desk.units.recorded().iter();
        let own = recorded.filter(|recorded| recorded.origin.writer.peer == me);
        docs::MineDoc {
            unpublished: unpublished as u64,
            published: own.count() as u64,
            held_back: held_back(desk),
        }
    }

    fn link_doc(&self, desk: &Desk) -> docs::LinkDoc {
        let is_up = self.is_control_up();
        let is_barred = self.control.as_ref().is_some_and(Control::is_barred);
        let state = match (is_barred, is_up) {
            (true, _) => "revoked",
            (false, true) => "online",
            (false, false) => "offline",
        };
        let enrolment = self.identity.enrolment.as_ref();
        let endpoint = enrolment.and_then(|enrolment| enrolment.endpoints.first().cloned());
        let offline_ms = self.clock.mono_ms() - self.offline_since_ms;
        docs::LinkDoc {
            state: state.to_owned(),
            endpoint: endpoint.unwrap_or_default(),
            rtt_ms: self.rtt_ms.filter(|_| is_up).map(|ms| ms as f64),
            offline_for_s: if is_up { 0 } else { offline_ms / 1_000 },
            queued: desk.book.replica.queued(),
            why: self
                .down_why
                .as_ref()
                .map(|(_, detail)| detail.clone())
                .or_else(|| self.trouble(desk)),
        }
    }

    /// What is wrong with the logs that a repository lives of.
    pub(in crate::daemon) fn trouble(&self, desk: &Desk) -> Option<String> {
        let team = self.team.as_ref().and_then(|team| team.trouble());
        let own = desk.fault.as_ref();
        let own = own.map(|(code, detail)| format!("{code}: {detail}"));
        team.map(str::to_owned).or(own)
    }
}

/// What holds still, as faces see it.
fn pause_doc(pause: Pause) -> Option<docs::PauseDoc> {
    let until = |until_ms: u64| match until_ms {
        u64::MAX => "resume".to_owned(),
        until_ms => rfc3339(until_ms),
    };
    (pause != Pause::default()).then(|| docs::PauseDoc {
        publishing: pause.publishing.map(until),
        taking: pause.taking.map(until),
    })
}

fn next_step(needs: &[docs::NeedDoc], patches: u64) -> Vec<Next> {
    let next = match (needs.first(), patches) {
        (Some(need), _) if need.kind == "conflict" => {
            Some((format!("aura conflicts show {}", need.id), "open conflict"))
        }
        (Some(need), _) if need.kind == "impact" => {
            let symbol = need.id.clone();
            Some((
                format!("aura impact ack {symbol}"),
                "when you have looked at it",
            ))
        }
        (Some(need), _) if need.kind == "message" => Some((
            format!("aura msg read {}", need.id),
            "a message that you have not read",
        )),
        (Some(need), _) if need.kind == "offer" => {
            let symbol = shell_operand(need.symbol.as_deref().unwrap_or_default());
            Some((
                format!("aura pull {symbol}"),
                "takes it; aura show, aura diff first; aura pull takes everything",
            ))
        }
        (Some(need), _) if need.kind == "damage" => Some((
            "aura publish".to_owned(),
            "publishes what your files hold; aura diff shows it first",
        )),
        (Some(need), _) if need.kind == "removed" => Some((
            "AURA_HOME=NEW aura join TOKEN".to_owned(),
            "this device does not come back; a new home with a new invite does",
        )),
        (Some(need), _) if need.kind == "approval" && need.with.is_empty() => Some((
            format!("aura members approve {}", shell_operand(&need.id)),
            "an admin runs this after comparing the device words",
        )),
        (Some(need), _) if need.kind == "fault" => Some((
            "aura whoami".to_owned(),
            "ask your team whether its mothership was set up anew",
        )),
        (Some(need), _) => Some((
            format!("aura members approve {}", shell_operand(&need.id)),
            "compare the device words first",
        )),
        (None, 1..) => Some(("aura pull".to_owned(), "take what waits")),
        (None, 0) => None,
    };
    let step = |(cmd, why): (String, &str)| Next {
        cmd,
        why: why.to_owned(),
    };
    next.map(step).into_iter().collect()
}
