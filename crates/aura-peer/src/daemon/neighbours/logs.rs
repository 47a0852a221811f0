//! What neighbours are shown of the logs of this device, and what they show.
//!
//! Invariants:
//! - a link says nothing of a log before the machine told that it is up;
//! - what waits for a neighbour waits in the log, not in memory, once its link is full.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_engine::peer::{exchange, links::LinkId, replica};
use aura_proto::{
    Code, Entry, LogId, Writer,
    event::encode_push,
    limits::{FRAGMENT_BYTES, SEND_QUEUE_BYTES_MAX},
    message::Message,
    session::Class,
};
use aura_trust::verify_entry;

use super::Thread;
use crate::{book::Book, daemon::Daemon};

impl Daemon {
    /// A repository was opened: neighbours that are linked already exchange it as well.
    pub(in crate::daemon) fn meet_again(&mut self, path: &std::path::Path) {
        let threads = self.neighbours.iter().flat_map(|known| &known.threads);
        let up: Vec<LinkId> = threads
            .filter(|(_, thread)| thread.is_up && thread.early.is_none())
            .map(|(link, _)| *link)
            .collect();
        if let Some(desk) = self.desks.get_mut(path) {
            up.iter().for_each(|link| desk.book.meet(*link));
        }
    }

    pub(in crate::daemon) fn books(&mut self) -> impl Iterator<Item = &mut Book> {
        let desks = self.desks.values_mut().map(|desk| &mut desk.book);
        desks.chain(self.team.iter_mut().map(|team| &mut team.book))
    }

    /// A link is up: first the team's log is levelled, so that nothing is taken of whom the other side knows to be
    /// removed.
    pub(super) fn meet(&mut self, link: LinkId) {
        if let Some(team) = &mut self.team {
            team.book.meet(link);
        }
        if let Some(thread) = self.thread_mut(link) {
            thread.early = Some(BTreeMap::new());
        }
        self.meet_levelled();
    }

    /// The Mothership was lost: other logs wait again until the team's is level with each neighbour.
    pub(in crate::daemon) fn level_anew(&mut self) {
        let threads = self
            .neighbours
            .iter_mut()
            .flat_map(|known| &mut known.threads);
        let up = threads.filter(|(_, thread)| thread.is_up && thread.early.is_none());
        let mut links = Vec::new();
        for (link, thread) in up {
            thread.early = Some(BTreeMap::new());
            links.push(*link);
        }
        for desk in self.desks.values_mut() {
            for link in &links {
                desk.book.hear(exchange::Input::Pause(*link));
            }
        }
    }

    pub(super) fn thread_mut(&mut self, link: LinkId) -> Option<&mut Thread> {
        self.neighbours.as_mut()?.threads.get_mut(&link)
    }

    /// Begins to exchange the other logs on links where nothing of the team's log is awaited any more; whether there
    /// were such.
    // spec: peers/4.9
    fn meet_levelled(&mut self) -> bool {
        let (Some(neighbours), Some(team)) = (&mut self.neighbours, &self.team) else {
            return false;
        };
        let exchange = &team.book.exchange;
        let waiting = neighbours.threads.iter_mut();
        let levelled = waiting.filter_map(|(link, thread)| {
            let early = thread.early.take_if(|_| exchange.is_level(*link))?;
            Some((*link, early))
        });
        let levelled: Vec<(LinkId, BTreeMap<LogId, Message>)> = levelled.collect();
        let has_met = !levelled.is_empty();
        for (link, early) in levelled {
            for desk in self.desks.values_mut() {
                desk.book.meet(link);
            }
            for message in early.into_values() {
                self.hear_of_log(link, message);
            }
        }
        has_met
    }

    /// A message about a log goes to all who keep it: two clones of one repository keep one each.
    pub(in crate::daemon) fn hear_of_log(&mut self, link: LinkId, message: Message) {
        let Some(log) = log_of(&message) else {
            return;
        };
        let is_served = self.books().any(|book| book.replica.log() == log);
        if log != LogId::TEAM
            && let Some(early) = self
                .thread_mut(link)
                .and_then(|thread| thread.early.as_mut())
        {
            // What it wants is enough to know: the rest follows once it is answered.
            match message {
                Message::Subscribe(_) if is_served => drop(early.insert(log, message)),
                Message::Prune(_) => drop(early.remove(&log)),
                _ => {}
            }
            return;
        }
        let from = link;
        for book in self.books().filter(|book| book.replica.log() == log) {
            let message = message.clone();
            book.hear(exchange::Input::Received { from, message });
        }
        self.pump_exchanges();
    }

    pub(in crate::daemon) fn thread_drained(&mut self, link: LinkId) {
        let thread = self
            .neighbours
            .as_mut()
            .and_then(|known| known.threads.get_mut(&link));
        let Some(full) = thread.map(|thread| std::mem::take(&mut thread.full)) else {
            return;
        };
        for book in self
            .books()
            .filter(|book| full.contains(&book.replica.log()))
        {
            book.hear(exchange::Input::Drained(link));
        }
        self.pump_exchanges();
    }

    /// Who belongs has changed: what was not taken may be now.
    pub(super) fn tell_who_belongs(&mut self) {
        let (Some(team), Some(neighbours)) = (&self.team, &mut self.neighbours) else {
            return;
        };
        let known = neighbours.roster.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, &team.roster)) {
            return;
        }
        neighbours.roster = Some(Arc::clone(&team.roster));
        // Whoever was removed is let in by nobody from now on.
        neighbours.is_stale = true;
        for book in self.books() {
            book.hear(exchange::Input::Belonging);
        }
    }

    /// Carries out what the logs have to say to neighbours.
    pub(in crate::daemon) fn pump_exchanges(&mut self) {
        if self.neighbours.is_none() {
            return;
        }
        self.tell_who_belongs();
        self.share_loneliness();
        for book in self.books() {
            book.tick_exchange();
        }
        loop {
            let mut outputs = Vec::new();
            for (nth, book) in self.books().enumerate() {
                let log = book.replica.log();
                while let Some(output) = book.exchange.poll() {
                    outputs.push(((nth, log), output));
                }
            }
            if outputs.is_empty() {
                break;
            }
            for (book, output) in outputs {
                self.exchanged(book, output);
            }
        }
        self.say_what_was_not_heard();
        // What those have to say would wait for the next event.
        if self.meet_levelled() {
            self.pump_exchanges();
        }
    }

    /// Clones of one repository are one to a neighbour: where one has no Mothership, neighbours are asked for all.
    fn share_loneliness(&mut self) {
        let mut lonely: BTreeMap<LogId, u32> = BTreeMap::new();
        for book in self.books().filter(|book| book.is_alone()) {
            *lonely.entry(book.replica.log()).or_default() += 1;
        }
        for book in self.books() {
            let count = lonely.get(&book.replica.log()).copied().unwrap_or(0);
            book.share_loneliness(u32::from(book.is_alone()) < count);
        }
    }

    /// Carries out what one book wants; two clones of one repository have a book each.
    fn exchanged(&mut self, (nth, log): (usize, LogId), output: exchange::Output) {
        match output {
            exchange::Output::Close { neighbour, code } => {
                self.close_thread(neighbour, code, "");
            }
            exchange::Output::Send { to, message } => {
                if let Some(stream) = self.stream_of(to, log) {
                    self.send_on(to, stream, &message);
                }
            }
            exchange::Output::Show {
                to,
                writer,
                first,
                last,
            } => {
                let book = self.books().nth(nth);
                let entries = book
                    .map(|book| book.entries(writer, first, last))
                    .unwrap_or_default();
                let up_to = first.saturating_add(entries.len() as u64).saturating_sub(1);
                let has_room = entries.is_empty() || self.show_entries(to, log, &entries);
                let shown = exchange::Input::Shown {
                    to,
                    writer,
                    up_to,
                    has_room,
                };
                if let Some(book) = self.books().nth(nth) {
                    book.hear(shown);
                }
            }
            exchange::Output::Hear { from, entries } => self.hear_entries(nth, from, entries),
        }
    }

    /// Shows entries to a neighbour; whether its link takes more.
    pub(in crate::daemon) fn show_entries(
        &mut self,
        link: LinkId,
        log: LogId,
        entries: &[Entry],
    ) -> bool {
        let Some(stream) = self.stream_of(link, log) else {
            return true;
        };
        let run = encode_push(log, entries.iter().map(|entry| &entry.bytes()[..]));
        let queued = self.send_on(link, stream, &Message::Push(run));
        let Some(thread) = self.thread_mut(link) else {
            return true;
        };
        // A log does not wait for what circuits have queued on the same link.
        let is_full = queued.is_some_and(|queued| SEND_QUEUE_BYTES_MAX < queued)
            && FRAGMENT_BYTES < thread.handle.queued_on(stream);
        if is_full {
            thread.full.insert(log);
        }
        !is_full
    }

    /// Takes what a neighbour showed one book, as far as whoever wrote it belongs to the team.
    // spec: peers/4.3
    fn hear_entries(&mut self, nth: usize, from: LinkId, entries: Vec<Entry>) {
        let Some(team) = &mut self.team else {
            return;
        };
        let from = from.0;
        // The books are those of the desks, and behind them the team's.
        let desk = self.desks.values_mut().nth(nth);
        let log = desk
            .as_ref()
            .map_or(LogId::TEAM, |desk| desk.book.replica.log());
        // Whoever is new in the team learns from the very log whose entries they are.
        let is_new = log == LogId::TEAM && team.roster.genesis().is_none();
        let counts = |entry: &Entry| {
            let header = entry.header();
            let (writer, author_seq) = (header.writer, header.author_seq);
            is_new || team.roster.counts_unplaced(log, writer, author_seq)
        };
        let (entries, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(counts);
        let is_less = !others.is_empty();
        let input = replica::Input::Heard { from, entries };
        let book = match desk {
            Some(desk) => {
                desk.feed(input, &self.identity.ring);
                desk.settle(&self.identity.ring);
                &mut desk.book
            }
            None => {
                team.feed(input, &mut self.identity);
                if let Some(neighbours) = &mut self.neighbours {
                    neighbours.is_stale = true;
                }
                &mut team.book
            }
        };
        // Of whom an entry holds and does not count, nothing more is asked for, until who belongs has changed.
        let held = book.replica.held();
        let is_next = |entry: &Entry| {
            let header = entry.header();
            held.get(&header.writer) + 1 == header.author_seq
        };
        let spurned: BTreeSet<Writer> = others
            .into_iter()
            .filter(|entry| is_next(entry))
            .filter_map(|entry| Some(verify_entry(entry).ok()?.header().writer))
            .collect();
        for writer in spurned {
            let spurned = Some(writer);
            book.hear(exchange::Input::NotHeard { spurned });
        }
        if is_less {
            book.hear(exchange::Input::NotHeard { spurned: None });
        }
        self.flush();
    }

    /// Leaves neighbours that showed what is forged; what merely does not fit now may fit later.
    pub(in crate::daemon) fn say_what_was_not_heard(&mut self) {
        let mut refused = Vec::new();
        for desk in self.desks.values_mut() {
            refused.append(&mut desk.not_heard);
        }
        if let Some(team) = &mut self.team {
            refused.append(&mut team.not_heard);
        }
        for (from, code, detail) in refused {
            tracing::debug!(from, %code, detail, "not taken from a neighbour");
            if matches!(code, Code::BAD_SIGNATURE | Code::WRONG_TEAM) {
                self.close_thread(LinkId(from), code, detail);
            }
        }
    }

    /// The stream on which a log is spoken of, opened when it is needed first.
    pub(in crate::daemon) fn stream_of(&mut self, link: LinkId, log: LogId) -> Option<u32> {
        let thread = self.neighbours.as_mut()?.threads.get_mut(&link)?;
        if let Some(stream) = thread.streams.get(&log) {
            return Some(*stream);
        }
        let stream = thread.handle.open_stream(Class::Patch).ok()?;
        thread.streams.insert(log, stream);
        Some(stream)
    }
}

/// Which log a message is about.
fn log_of(message: &Message) -> Option<LogId> {
    match message {
        Message::Subscribe(asked) => Some(asked.log),
        Message::Head(head) => Some(head.log),
        Message::Prune(prune) => Some(prune.log),
        Message::Push(run) => Some(LogId(*run.first_chunk()?)),
        _ => None,
    }
}
