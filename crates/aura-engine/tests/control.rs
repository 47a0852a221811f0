//! The control link against a Mothership that says little.

#![allow(clippy::unwrap_used, missing_docs)]

use aura_engine::{
    Now,
    peer::control::{Control, DOUBT_MS, Input, Output},
};
use aura_proto::{
    Code, TeamId,
    message::{Heartbeat, Hello, Message, VERSION_MAX, VERSION_MIN, Welcome, feature},
};
use aura_trust::IdentityKey;

const HEARTBEAT_MS: u64 = 30_000;

#[test]
fn case_044_silence_of_three_heartbeats_ends_the_link_however_it_began() {
    // Right after WELCOME, right after an answer, and late in a period.
    for (last_answer_ms, last_word_ms) in [(0, 0), (60_000, 60_000), (60_000, 75_000)] {
        let mut link = Link::ready();
        while link.now_ms < last_answer_ms {
            link.on_to(link.control.deadline().unwrap());
            link.answer();
        }
        link.on_to(last_word_ms);
        link.hear(Message::Unserved(aura_proto::frame::FrameType::MSG_EVENT));
        let ended_ms = link.until_closed();
        assert_eq!(ended_ms, last_word_ms + 3 * HEARTBEAT_MS);
        assert_eq!(link.control.deadline(), None, "the end is told once");
    }
}

#[test]
fn an_answered_link_lives_and_beats_once_in_each_period() {
    let mut link = Link::ready();
    for beat in 1..=100 {
        let due_ms = link.control.deadline().unwrap();
        assert_eq!(due_ms, beat * HEARTBEAT_MS);
        link.on_to(due_ms);
        link.answer();
    }
}

#[test]
fn case_044_a_mothership_that_does_not_answer_is_doubted_long_before_it_is_given_up() {
    let mut link = Link::ready();
    link.answer();
    link.on_to(1_000);
    link.control.handle(now(1_000), Input::Asked);
    link.on_to(3_000);
    // A second word waits for the same answer.
    link.control.handle(now(3_000), Input::Asked);
    assert_eq!(link.control.deadline(), Some(1_000 + DOUBT_MS));
    link.on_to(1_000 + DOUBT_MS);
    assert_eq!(link.doubts, [true]);
    link.on_to(20_000);
    link.control.handle(now(20_000), Input::Heard);
    link.on_to(20_001);
    assert_eq!(link.doubts, [true, false]);
    // Whoever has said nothing waits for nothing.
    link.on_to(29_000);
    assert_eq!(link.doubts.len(), 2);
}

struct Link {
    doubts: Vec<bool>,
    control: Control,
    now_ms: u64,
    /// The newest heartbeat that is not answered.
    asked: Option<Heartbeat>,
    closed: Option<Code>,
}

impl Link {
    fn ready() -> Self {
        let now = now(0);
        let key = IdentityKey::from_seed([1; 32]);
        let mut control = Control::new(now, key, "test".to_owned(), 1);
        control.handle(now, Input::Tick);
        control.handle(now, Input::Dialed { exporter: [2; 32] });
        let mut link = Self {
            doubts: Vec::new(),
            control,
            now_ms: 0,
            asked: None,
            closed: None,
        };
        link.hear(Message::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: feature::ALL,
            agent: "mothership".to_owned(),
            revocation_epoch: 0,
        }));
        link.hear(Message::Welcome(Welcome {
            version: VERSION_MAX,
            features: feature::ALL,
            team: TeamId([3; 16]),
            team_name: "acme".to_owned(),
            time_ms: 0,
            seen_as: String::new(),
            heartbeat_ms: HEARTBEAT_MS,
        }));
        assert!(link.asked.is_some());
        link
    }

    fn hear(&mut self, message: Message) {
        self.control
            .handle(now(self.now_ms), Input::Received(message));
        self.pump();
    }

    fn answer(&mut self) {
        let ack = self.asked.take().unwrap();
        self.hear(Message::HeartbeatAck(ack));
    }

    fn on_to(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.control.handle(now(now_ms), Input::Tick);
        self.pump();
    }

    /// Lets time pass in silence; when the link was given up.
    fn until_closed(&mut self) -> u64 {
        while self.closed.is_none() {
            self.on_to(self.control.deadline().unwrap());
        }
        assert_eq!(self.closed, Some(Code::TIMEOUT));
        self.now_ms
    }

    fn pump(&mut self) {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Send(Message::Heartbeat(beat)) => self.asked = Some(beat),
                Output::Close(code) => self.closed = Some(code),
                Output::Doubt(is_doubted) => self.doubts.push(is_doubted),
                _ => {}
            }
        }
    }
}

fn now(mono_ms: u64) -> Now {
    Now {
        mono_ms,
        wall_ms: 1_800_000_000_000 + mono_ms,
    }
}
