//! Zones, as faces ask about them.
//!
//! Invariant: what is answered is what the log says at that moment; a wish is no zone.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
};

use aura_api::{Exit, Failure, Reply, ZoneCall, docs, shell_operand};
use aura_engine::{
    peer::replica::Own,
    zones::{Outcome, Zone},
};
use aura_proto::zone::{ZoneBody, ZoneMode};

use super::{Answer, Until, Waiting, document, reply_of};
use crate::{
    clock::rfc3339,
    daemon::Daemon,
    desk::{
        Desk,
        claim::{Wanted, check_ttl, fence_of, no_zone, not_holder, zone_name},
    },
    docs as shape,
};

/// How long the Mothership may take to give an entry its place, in milliseconds.
const PLACE_MS: u64 = 15_000;

impl Daemon {
    /// Answers a call about zones; what needs a place in the log is answered when it has one.
    pub(in crate::daemon) fn zone(
        &mut self,
        repo: Option<&str>,
        call: ZoneCall,
        reply: &mpsc::Sender<Reply>,
    ) -> Option<Answer> {
        let answer = self.repo_of(repo).and_then(|path| match call {
            ZoneCall::List { mine, path: of } => self.zones(&path, mine, of.as_deref()).map(Some),
            ZoneCall::Claim {
                what,
                why,
                ttl_ms,
                block,
                everywhere,
                take,
                wait_ms,
            } => {
                let wanted = Wanted {
                    what,
                    why,
                    ttl_ms,
                    mode: if block {
                        ZoneMode::Block
                    } else {
                        ZoneMode::Warn
                    },
                    is_everywhere: everywhere,
                    takes: take,
                };
                let deadline_ms = self.clock.mono_ms().saturating_add(wait_ms);
                self.claim(&path, wanted, deadline_ms, reply).map(|()| None)
            }
            ZoneCall::Extend { id, ttl_ms } => {
                let fence = fence_of(&id)?;
                self.own_zone(&path, &id, fence)?;
                check_ttl(ttl_ms)?;
                self.say(
                    &path,
                    &ZoneBody::Extend { fence, ttl_ms },
                    ("extended", vec![id]),
                    reply,
                )
            }
            ZoneCall::Release { ids, all } => self.release(&path, ids, all, reply),
            ZoneCall::Ask { id, text } => self.ask_for_zone(&path, id, &text, reply),
            ZoneCall::Answer { id, grants, text } => {
                self.answer_ask(&path, id, (grants, &text), reply)
            }
        });
        match answer {
            Ok(Some(document)) => Some(Ok(document)),
            Ok(None) => None,
            Err(failure) => Some(Err(failure)),
        }
    }

    fn zones(&mut self, path: &Path, mine: bool, of: Option<&str>) -> Answer {
        let places = match of {
            Some(of) => Some(self.with_desk(path, |desk, ring| desk.places_of(of, ring))?),
            None => None,
        };
        let desk = self.desk_at(path)?;
        let me = self.identity.key.peer();
        let is_meant = |zone: &&Zone| !mine || zone.holder == me;
        let covers = |zone: &&Zone| (places.as_ref()).is_none_or(|places| zone.meets(places));
        let zones = desk.law.zones.live().filter(is_meant).filter(covers);
        let is_up = self.is_control_up();
        let offline_ms = self.clock.mono_ms().saturating_sub(self.offline_since_ms);
        document(&docs::Zones {
            schema: docs::Zones::SCHEMA.to_owned(),
            zones: zones.map(|zone| self.zone_doc(desk, zone)).collect(),
            offline_for_s: (!is_up).then_some(offline_ms / 1_000),
        })
    }

    /// What somebody should know who changes these files.
    pub(in crate::daemon) fn touching(&mut self, repo: Option<&str>, paths: &[String]) -> Answer {
        let path = self.repo_of(repo)?;
        let desk = self.desk_at(&path)?;
        let zones = desk.zones_over(paths, &self.identity.ring).into_iter();
        let open = desk.conflicts_unseen(&self.identity.ring);
        let open = open
            .iter()
            .filter(|conflict| paths.iter().any(|path| *path == *conflict.path));
        document(&docs::Touching {
            schema: docs::Touching::SCHEMA.to_owned(),
            zones: zones.map(|zone| self.zone_doc(desk, zone)).collect(),
            conflicts: open
                .map(|conflict| shape::conflict(desk, conflict, &self.peers, false))
                .collect(),
        })
    }

    /// A zone as faces see it.
    pub(in crate::daemon) fn zone_doc(&self, desk: &Desk, zone: &Zone) -> docs::ZoneDoc {
        let told = desk.law.said_of(zone);
        // One that was granted began when that was said.
        let began = desk.law.told.get(&zone.fence).or(told);
        let since_ms = began.map_or(0, |told| told.time_ms);
        let activity = desk.law.activity.get(&zone.fence);
        let activity = activity.copied().unwrap_or_default();
        let renewed_ms = activity.renewed_ms.max(since_ms);
        let asks = desk
            .law
            .zones
            .asks()
            .filter(|(_, ask)| ask.fence == zone.fence);
        let asks = asks.map(|(position, ask)| {
            let told = desk.law.told.get(&position);
            docs::AskDoc {
                id: format!("a-{position}"),
                who: shape::name_of(&self.peers, ask.asker),
                text: told
                    .map(|told| told.details.text.clone())
                    .unwrap_or_default(),
                at: rfc3339(told.map_or(0, |told| told.time_ms)),
            }
        });
        docs::ZoneDoc {
            id: zone_name(zone.fence),
            fence: zone.fence,
            holder: shape::name_of(&self.peers, zone.holder),
            mine: zone.holder == self.identity.key.peer(),
            mode: match zone.mode {
                ZoneMode::Warn => "warn",
                ZoneMode::Block => "block",
            }
            .to_owned(),
            covers: desk.covers(zone),
            branch: told.and_then(|told| told.details.branch.clone()),
            why: told
                .map(|told| told.details.text.clone())
                .unwrap_or_default(),
            since: rfc3339(since_ms),
            ends: rfc3339(renewed_ms.saturating_add(zone.ttl_ms)),
            changes: activity.changes,
            last_change: (0 < activity.changes).then(|| rfc3339(activity.last_ms)),
            asks: asks.collect(),
        }
    }

    fn held(&self, path: &Path, fence: u64) -> Result<&Zone, Failure> {
        let zone = self.desk_at(path)?.law.zones.get(fence);
        zone.ok_or_else(|| no_zone(&zone_name(fence)))
    }

    fn own_zone(&self, path: &Path, name: &str, fence: u64) -> Result<(), Failure> {
        let zone = self.held(path, fence)?;
        match zone.holder == self.identity.key.peer() {
            true => Ok(()),
            false => Err(not_holder(name, &shape::name_of(&self.peers, zone.holder))),
        }
    }

    /// A claim needs the Mothership, whose order decides.
    fn refuse_offline(&self) -> Result<(), Failure> {
        if self.is_control_up() {
            return Ok(());
        }
        let message = "zones are claimed in the order of the mothership, which cannot be reached";
        Err(Failure::new("ZONE_UNAVAILABLE", Exit::UNREACHABLE, message)
            .next("aura zone list", "the zones as they were")
            .retryable())
    }

    fn claim(
        &mut self,
        path: &Path,
        wanted: Wanted,
        deadline_ms: u64,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<(), Failure> {
        self.refuse_offline()?;
        let claim = self.with_desk(path, |desk, ring| desk.claim_of(&wanted, ring))?;
        let obstacle = match wanted.takes {
            true => None,
            false => self.desk_at(path)?.law.zones.obstacle(&claim.zone).cloned(),
        };
        if let Some(zone) = obstacle {
            let by = zone.fence;
            return self.when_free((path.to_owned(), by), wanted, deadline_ms, reply);
        }
        let own = self.with_desk(path, |desk, ring| desk.claim(claim, &wanted, ring))?;
        let for_answer = path.to_owned();
        let again = reply.clone();
        self.when_placed((path.to_owned(), own), reply, move |daemon, outcome| {
            match outcome {
                // Somebody was faster.
                Some((_, Outcome::Held { by })) if daemon.clock.mono_ms() < deadline_ms => {
                    let at = (for_answer.clone(), by);
                    match daemon.when_free(at, wanted, deadline_ms, &again) {
                        Ok(()) => None,
                        Err(failure) => Some(Err(failure)),
                    }
                }
                outcome => Some(daemon.claimed(&for_answer, outcome)),
            }
        });
        Ok(())
    }

    /// Claims again when the zone that is in the way is over, or says that it is held.
    fn when_free(
        &mut self,
        (path, by): (PathBuf, u64),
        wanted: Wanted,
        deadline_ms: u64,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<(), Failure> {
        if deadline_ms <= self.clock.mono_ms() {
            return Err(self.is_held(&path, by));
        }
        let again = reply.clone();
        self.waiting.push(Waiting {
            until: Until::Free(by),
            repo: Some(path.clone()),
            deadline_ms,
            reply: reply.clone(),
            answer: Box::new(move |daemon, holds| {
                if !holds {
                    return Some(Reply::Failed(daemon.is_held(&path, by)));
                }
                let claimed = daemon.claim(&path, wanted, deadline_ms, &again);
                claimed.err().map(Reply::Failed)
            }),
        });
        Ok(())
    }

    /// What is said of a zone that is in the way.
    fn is_held(&self, path: &Path, by: u64) -> Failure {
        let name = zone_name(by);
        let found = self.desk_at(path).ok();
        let found = found.and_then(|desk| Some(self.zone_doc(desk, desk.law.zones.get(by)?)));
        let message = match &found {
            Some(doc) => format!(
                "{name} already covers {} ({}): {} holds it since {}, until {} unless it is worked in: {}",
                doc.covers.join(", "),
                doc.mode,
                doc.holder,
                doc.since,
                doc.ends,
                doc.why
            ),
            None => format!("{name} was in the way, and is over now"),
        };
        let failure = Failure::new("ZONE_HELD", Exit::ZONE_HELD, message)
            .next(
                format!("aura zone ask {name} \"text\""),
                "asks its holder for it",
            )
            .next(
                "aura zone claim WHAT --wait 30m",
                "waits for it; or --take, which its holder hears",
            )
            .retryable();
        match found {
            Some(doc) => failure.with("holder", doc.holder).with("fence", doc.fence),
            None => failure.with("fence", by),
        }
    }

    fn claimed(&mut self, path: &Path, outcome: Option<(u64, Outcome)>) -> Answer {
        match outcome {
            Some((fence, Outcome::Granted { taken })) => {
                let waiting = self.with_desk(path, |desk, ring| Ok(desk.behind_in(fence, ring)))?;
                let desk = self.desk_at(path)?;
                let zone = desk.law.zones.get(fence);
                document(&docs::ZoneDone {
                    schema: docs::ZoneDone::SCHEMA.to_owned(),
                    state: "claimed".to_owned(),
                    ids: vec![zone_name(fence)],
                    zone: zone.map(|zone| self.zone_doc(desk, zone)),
                    taken: taken.into_iter().map(zone_name).collect(),
                    waiting,
                })
            }
            Some((_, Outcome::Held { by })) => Err(self.is_held(path, by)),
            Some(_) => {
                let message = "this device holds as many zones as one may";
                Err(Failure::new("AE-ZONE-LIMIT", Exit::BUSY, message)
                    .next("aura zone release --all", "gives its zones back"))
            }
            None => Err(unplaced()),
        }
    }

    /// Answers when an own entry about zones is at its place.
    fn when_placed(
        &mut self,
        (path, own): (PathBuf, Own),
        reply: &mpsc::Sender<Reply>,
        answer: impl FnOnce(&mut Self, Option<(u64, Outcome)>) -> Option<Answer> + Send + 'static,
    ) {
        let for_answer = path.clone();
        self.waiting.push(Waiting {
            until: Until::Judged(own),
            repo: Some(path),
            deadline_ms: self.clock.mono_ms() + PLACE_MS,
            reply: reply.clone(),
            answer: Box::new(move |daemon, _| {
                let desk = daemon.desks.get(&for_answer);
                let outcome = desk.and_then(|desk| desk.outcome(own).cloned());
                answer(daemon, outcome).map(reply_of)
            }),
        });
    }

    /// Writes an entry and answers when it is at its place, or at once when that will take a while.
    fn say(
        &mut self,
        path: &Path,
        body: &ZoneBody,
        (state, ids): (&'static str, Vec<String>),
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<serde_json::Value>, Failure> {
        let own = self.with_desk(path, |desk, ring| desk.say(body, ring))?;
        self.done_when_placed(path, own, (state, ids), reply)
    }

    fn done_when_placed(
        &mut self,
        path: &Path,
        own: Own,
        (state, ids): (&'static str, Vec<String>),
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<serde_json::Value>, Failure> {
        let done = move |state: &str, ids: Vec<String>| {
            document(&docs::ZoneDone {
                schema: docs::ZoneDone::SCHEMA.to_owned(),
                state: state.to_owned(),
                ids,
                zone: None,
                taken: Vec::new(),
                waiting: 0,
            })
        };
        if !self.is_control_up() {
            return done("queued", ids).map(Some);
        }
        self.when_placed((path.to_owned(), own), reply, move |_, outcome| {
            Some(match outcome {
                Some((_, Outcome::Void)) => Err(no_zone(&ids.join(", "))),
                Some(_) => done(state, ids),
                None => Err(unplaced()),
            })
        });
        Ok(None)
    }

    fn release(
        &mut self,
        path: &Path,
        mut ids: Vec<String>,
        all: bool,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<serde_json::Value>, Failure> {
        let me = self.identity.key.peer();
        if all {
            let live = self.desk_at(path)?.law.zones.live();
            let own = live.filter(|zone| zone.holder == me);
            ids = own.map(|zone| zone_name(zone.fence)).collect();
        }
        let mut fences = Vec::new();
        for id in &ids {
            let fence = fence_of(id)?;
            // What is over is released: whoever says so twice has what it wants.
            if self.desk_at(path)?.law.zones.get(fence).is_some() {
                self.own_zone(path, id, fence)?;
                fences.push(fence);
            }
        }
        let mut last = None;
        for fence in fences {
            let body = ZoneBody::End { fence };
            last = Some(self.with_desk(path, |desk, ring| desk.say(&body, ring))?);
        }
        match last {
            Some(own) => self.done_when_placed(path, own, ("released", ids), reply),
            None => document(&docs::ZoneDone {
                schema: docs::ZoneDone::SCHEMA.to_owned(),
                state: "nothing".to_owned(),
                ids,
                zone: None,
                taken: Vec::new(),
                waiting: 0,
            })
            .map(Some),
        }
    }

    fn ask_for_zone(
        &mut self,
        path: &Path,
        id: String,
        text: &str,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<serde_json::Value>, Failure> {
        self.refuse_offline()?;
        let fence = fence_of(&id)?;
        if self.held(path, fence)?.holder == self.identity.key.peer() {
            let message = format!("{id} is your own");
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message).next(
                format!("aura zone release {}", shell_operand(&id)),
                "ends it",
            ));
        }
        let own = self.with_desk(path, |desk, ring| desk.ask_for(fence, text, ring))?;
        self.done_when_placed(path, own, ("asked", vec![id]), reply)
    }

    fn answer_ask(
        &mut self,
        path: &Path,
        id: String,
        (grants, text): (bool, &str),
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<serde_json::Value>, Failure> {
        let number = id.strip_prefix("a-").and_then(|number| number.parse().ok());
        let ask = number.and_then(|ask| Some((ask, self.desk_at(path).ok()?.law.zones.ask(ask)?)));
        let Some((position, ask)) = ask else {
            let message = format!("there is no open question {id}");
            return Err(Failure::new("AE-NO-ZONE", Exit::USAGE, message)
                .next("aura zone list --mine", "names those about your zones"));
        };
        self.own_zone(path, &zone_name(ask.fence), ask.fence)?;
        let own = self.with_desk(path, |desk, ring| {
            desk.answer((position, grants), text, ring)
        })?;
        let state = if grants { "granted" } else { "denied" };
        self.done_when_placed(path, own, (state, vec![id]), reply)
    }
}

fn unplaced() -> Failure {
    let message = "the mothership has not placed it yet; it may still do so";
    Failure::new("AE-TIMEOUT", Exit::TIMEOUT, message)
        .next("aura zone list --mine", "whether it did")
        .retryable()
}
