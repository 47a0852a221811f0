//! The Mothership of the simulated world: its process, its disk, and what it sends.

use aura_engine::hub::{
    Config, Hub, Input as HubInput, LinkId, Output as HubOutput, check_push, record::split_entry,
};
use aura_proto::{
    LogId,
    event::{EventRun, PlacedBytes},
    frame::FrameType,
    message::Message,
};
use bytes::Bytes;

use crate::{Step, TEAM, World, nodes::hub_key};

impl World {
    pub(crate) fn crash_hub(&mut self, away_ms: u64) {
        self.hub.hub = None;
        self.hub.flying.clear();
        let links: Vec<u64> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.cut(link));
        let delay = self.random.below(away_ms);
        self.after(delay, Step::StartHub);
    }

    pub(crate) fn start_hub(&mut self) {
        self.hub.life += 1;
        let config = Config {
            team: TEAM,
            team_name: "sim".to_owned(),
            key: hub_key(),
            ca: Vec::new(),
            heartbeat_ms: 1_000,
            offline_after_ms: 5_000,
            leaf_ttl_s: 3_600,
            relay: aura_engine::relay::Limits::default(),
        };
        let mut hub = Hub::new(config);
        for (lsn, record) in (1..).zip(&self.hub.durable) {
            hub.replay(lsn, record).unwrap();
        }
        hub.start(self.now(), self.hub.life);
        self.hub.hub = Some(hub);
        self.pump_hub();
    }

    pub(crate) fn tell_hub(&mut self, input: HubInput) {
        let now = self.now();
        if let Some(hub) = &mut self.hub.hub {
            hub.handle(now, input);
        }
        self.pump_hub();
    }

    pub(crate) fn pump_hub(&mut self) {
        while let Some(output) = self.hub.hub.as_mut().and_then(Hub::poll) {
            match output {
                HubOutput::Append { batch, records, .. } => {
                    self.hub.flying.insert(batch, records);
                    let delay = 1 + self.random.below(20);
                    self.after(
                        delay,
                        Step::HubStored {
                            life: self.hub.life,
                            batch,
                        },
                    );
                }
                HubOutput::Close { link, .. } => self.cut(link.0),
                HubOutput::Feed {
                    link,
                    stream,
                    log,
                    from,
                    to,
                    with_checkpoint,
                } => {
                    self.feed(link, stream, log, (from, to), with_checkpoint);
                }
                HubOutput::Send {
                    link,
                    stream,
                    message,
                } => {
                    self.note_acks(link.0, &message);
                    self.send_to_peer(link.0, stream, &message);
                }
                HubOutput::Tell { links, messages } => {
                    for (link, message) in links
                        .iter()
                        .flat_map(|link| messages.iter().map(move |message| (link, message)))
                    {
                        self.send_to_peer(link.0, 0, message);
                    }
                }
                HubOutput::Answer { .. } | HubOutput::Issue { .. } | HubOutput::Notice { .. } => {}
            }
        }
    }

    pub(crate) fn note_acks(&mut self, link: u64, message: &Message) {
        let (Message::PushAck(ack), true) = (message, self.links.contains_key(&link)) else {
            return;
        };
        for (author_seq, outcome) in &ack.outcomes {
            if let aura_proto::message::Outcome::Stored { seq, .. } = outcome {
                self.acknowledged.insert((*author_seq, *seq));
            }
        }
    }

    pub(crate) fn feed(
        &mut self,
        link: LinkId,
        stream: u32,
        log: LogId,
        (from, to): (u64, u64),
        with_checkpoint: bool,
    ) {
        let hub = self.hub.hub.as_ref().unwrap();
        let state = hub.ledger().log(log).unwrap();
        let record = |seq| &self.hub.durable[usize::try_from(state.lsn(seq).unwrap() - 1).unwrap()];
        let rows: Vec<(u64, u64, &[u8])> = (from..=to)
            .map(|seq| split_entry(record(seq)).unwrap())
            .collect();
        let checkpoint = hub
            .checkpoint(log)
            .filter(|checkpoint| with_checkpoint && checkpoint.seq == to);
        let rows = rows.into_iter().map(|(seq, time_ms, bytes)| PlacedBytes {
            seq,
            time_ms,
            bytes,
        });
        let run = EventRun::encode(log, rows, checkpoint);
        self.send_to_peer(link.0, stream, &Message::Event(run));
        let has_room = !self.random.chance(20);
        if !has_room {
            self.after(50, Step::Drained(self.hub.life, link.0));
        }
        let now = self.now();
        let fed = HubInput::Fed {
            link,
            stream,
            log,
            up_to: to,
            has_room,
        };
        self.hub.hub.as_mut().unwrap().handle(now, fed);
    }

    pub(crate) fn hub_stored(&mut self, batch: u64) {
        let mut records = self.hub.flying.remove(&batch).unwrap();
        let first_lsn = self.hub.durable.len() as u64 + 1;
        let count = self.fitting(records.len());
        records.truncate(count);
        self.hub.durable.extend(records);
        self.tell_hub(HubInput::Stored {
            batch,
            first_lsn,
            count,
        });
    }

    pub(crate) fn reach_hub(&mut self, link: u64, stream: u32, kind: FrameType, payload: Bytes) {
        let link = LinkId(link);
        // A frame that a relay or a retry repeats must change nothing.
        let times = if kind == FrameType::PATCH_PUSH && self.random.chance(10) {
            2
        } else {
            1
        };
        for _ in 0..times {
            if kind == FrameType::PATCH_PUSH {
                let (log, entries) = check_push(&payload).unwrap();
                self.tell_hub(HubInput::Pushed {
                    link,
                    stream,
                    log,
                    entries,
                });
            } else {
                let message = Message::decode(kind, payload.clone()).unwrap();
                self.tell_hub(HubInput::Received {
                    link,
                    stream,
                    message,
                });
            }
        }
    }
}
