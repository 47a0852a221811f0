//! The daily screen: what needs you, who is here, what waits.
//!
//! Invariant: nothing here changes anything.

use aura_api::{Next, docs};
use aura_engine::peer::control::Control;

use super::{Answer, document, held_back};
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::desk::take::Taken;
use crate::docs as shape;

impl Daemon {
    pub(in crate::daemon) fn status(&mut self, repo: Option<&str>) -> Answer {
        let found = self.repo_of(repo);
        let path = match (found, &self.identity.enrolment) {
            (Ok(path), _) => Some(path),
            (Err(failure), _) if failure.id != "AE-NOT-JOINED" => return Err(failure),
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(_)) => return Err(failure),
        };
        let incoming = match &path {
            Some(path) => self.with_desk(path, |desk, ring| Ok(desk.incoming(ring)))?,
            None => Default::default(),
        };
        let is_up = self.control.as_ref().is_some_and(Control::is_up);
        let desk = path.as_ref().and_then(|path| self.desks.get(path));
        let me = self.identity.key.peer();
        let mut needs_you = Vec::new();
        let mut from = Vec::new();
        let (mut patches, mut touching) = (0, 0);
        if let Some(desk) = desk {
            for conflict in desk.conflicts(&self.identity.ring) {
                let row = shape::conflict(desk, &conflict, &self.peers, false);
                let text = format!(
                    "{} and {} both changed it",
                    row.mine.author, row.theirs.author
                );
                needs_you.push(docs::NeedDoc {
                    kind: "conflict".to_owned(),
                    id: row.id,
                    symbol: Some(row.symbol),
                    with: vec![row.theirs.author],
                    since: Some(row.since),
                    text,
                });
            }
            for (index, taken) in &incoming {
                patches += 1;
                if matches!(taken, Taken::Waiting(_)) {
                    touching += 1;
                }
                let name = shape::name_of(
                    &self.peers,
                    desk.units.recorded()[*index].origin.writer.peer,
                );
                if !from.contains(&name) {
                    from.push(name);
                }
            }
        }
        for card in self
            .waiting_for_approval()
            .iter()
            .filter(|card| card.peer != me)
        {
            needs_you.push(docs::NeedDoc {
                kind: "approval".to_owned(),
                id: card.name.clone(),
                symbol: None,
                with: vec![card.name.clone()],
                since: None,
                text: format!("{} waits for the team key", card.name),
            });
        }
        let next = match (needs_you.first(), patches) {
            (Some(need), _) if need.kind == "conflict" => {
                Some((format!("aura conflicts show {}", need.id), "open conflict"))
            }
            (Some(need), _) => Some((
                format!("aura members approve {}", need.id),
                "compare the device words first",
            )),
            (None, 1..) => Some(("aura pull".to_owned(), "take what waits")),
            (None, 0) => None,
        };
        let queued = desk.map_or(0, |desk| desk.book.replica.queued());
        let is_synced = desk.is_none_or(|desk| desk.book.replica.is_synced());
        let word = match (
            is_up,
            desk.is_some_and(|desk| desk.fault.is_some()),
            is_synced,
        ) {
            (_, true, _) => "error",
            (false, ..) => "offline",
            (true, false, false) => "syncing",
            (true, false, true) => "synced",
        };
        let is_barred = self.control.as_ref().is_some_and(Control::is_barred);
        let link = docs::LinkDoc {
            state: if is_barred {
                "revoked"
            } else if is_up {
                "online"
            } else {
                "offline"
            }
            .to_owned(),
            endpoint: self
                .identity
                .enrolment
                .as_ref()
                .and_then(|e| e.endpoints.first().cloned())
                .unwrap_or_default(),
            rtt_ms: self.rtt_ms.filter(|_| is_up).map(|ms| ms as f64),
            offline_for_s: if is_up {
                0
            } else {
                (self.clock.mono_ms() - self.offline_since_ms) / 1_000
            },
            queued,
            why: self.down_why.as_ref().map(|(_, detail)| detail.clone()),
        };
        let repo = desk.map(|desk| docs::RepoDoc {
            root_commit: desk.repo.root_commit().as_str().to_owned(),
            branch: desk.units.channel().to_owned(),
            head: desk.commit().to_owned(),
            path: desk.path.display().to_string(),
            files: desk.files.len() as u64,
            units: desk.unit_count(),
        });
        document(&docs::Status {
            schema: docs::Status::SCHEMA.to_owned(),
            at: rfc3339(self.clock.wall_ms()),
            seq: self.event_last(),
            word: word.to_owned(),
            team: self
                .identity
                .enrolment
                .as_ref()
                .map(|e| e.team_name.clone()),
            name: self.identity.enrolment.as_ref().map(|e| e.name.clone()),
            repo,
            mode: desk.map(|desk| desk.mode.as_str().to_owned()),
            link,
            needs_you,
            peers: self.peer_rows(),
            incoming: docs::IncomingDoc {
                patches,
                touching_my_edits: touching,
                from,
            },
            mine: docs::MineDoc {
                unpublished: desk.map_or(0, |desk| desk.held_back.len() as u64),
                published: desk.map_or(0, |desk| {
                    desk.units
                        .recorded()
                        .iter()
                        .filter(|r| r.origin.writer.peer == me)
                        .count() as u64
                }),
                held_back: desk.map(held_back).unwrap_or_default(),
            },
            next: next
                .map(|(cmd, why)| Next {
                    cmd,
                    why: why.to_owned(),
                })
                .into_iter()
                .collect(),
        })
    }
}
