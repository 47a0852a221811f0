//! The daemon's end of who edits what now: words go by the ways by which changes do.
//!
//! Invariant: nobody is told of a log that it did not ask for, nor in a frame that it does not know.

use std::collections::BTreeSet;

use aura_engine::peer::activity::{Input, Output, Via};
use aura_proto::{
    AgedActivity,
    message::{Message, feature},
};

use super::Daemon;
use crate::desk::Desk;

impl Daemon {
    /// Words came. A device that does not know yet who is a member takes what the Mothership says of members, and
    /// shows it once it knows.
    pub(super) fn hear_of_activity(&mut self, from: Via, words: &[AgedActivity]) {
        let now = self.now();
        for desk in self.desks.values_mut() {
            let is_told = from == Via::Mothership;
            let is_active = |word: &AgedActivity| desk.roster.is_active(word.said.writer.peer);
            let counts = |word: &&AgedActivity| is_told || is_active(word);
            let words: Vec<AgedActivity> = words.iter().filter(counts).cloned().collect();
            let heard = Input::Heard { from, words };
            desk.doing.machine.handle(now, heard);
        }
        self.tend_activity();
    }

    /// Tells what is to be told.
    pub(super) fn tend_activity(&mut self) {
        let now = self.now();
        let mut outputs = Vec::new();
        let paths: Vec<_> = self.desks.keys().cloned().collect();
        for path in paths {
            let listeners = self.desks.get(&path).map(|desk| self.listeners(desk));
            let Some(desk) = self.desks.get_mut(&path) else {
                continue;
            };
            let machine = &mut desk.doing.machine;
            machine.handle(now, Input::Listeners(listeners.unwrap_or_default()));
            if machine.deadline().is_some_and(|at_ms| at_ms <= now.mono_ms) {
                machine.handle(now, Input::Tick);
            }
            while let Some(output) = desk.doing.machine.poll() {
                match output {
                    Output::Say { counter, spots } => {
                        let keys = (&self.identity.key, &self.identity.ring);
                        let said = desk.word(counter, spots, keys);
                        let said = said.map_or(Input::Unsaid, Input::Said);
                        desk.doing.machine.handle(now, said);
                    }
                    Output::Learned(writer) => desk.learned(writer, &self.identity.ring),
                    Output::Tell { .. } | Output::Close { .. } => outputs.push(output),
                }
            }
        }
        for output in outputs {
            match output {
                Output::Tell { to, words } => self.tell_activity(to, words),
                Output::Close {
                    from: Via::Neighbour(link),
                    code,
                } => self.close_thread(link, code, "what is told of edits is nobody's word"),
                _ => {}
            }
        }
    }

    fn tell_activity(&self, to: Via, words: Vec<AgedActivity>) {
        let message = Message::Activity(words);
        match to {
            Via::Mothership => self.send(0, &message),
            Via::Neighbour(link) => {
                self.send_on(link, 0, &message);
            }
        }
    }

    /// Who asked this device for a log, and the Mothership while it serves it.
    // spec: activity/2.1
    fn listeners(&self, desk: &Desk) -> BTreeSet<Via> {
        // What comes before the question for the log, on another stream, is passed over there.
        let is_served = desk.book.replica.is_fed() && self.is_control_up();
        let hears = self.link_features & feature::ACTIVITY != 0;
        let mothership = (is_served && hears).then_some(Via::Mothership);
        let askers = desk.book.exchange.askers();
        let askers = askers.filter(|link| self.has_feature(*link, feature::ACTIVITY));
        askers.map(Via::Neighbour).chain(mothership).collect()
    }
}
