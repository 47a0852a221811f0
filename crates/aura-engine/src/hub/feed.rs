//! What subscribers are fed: each is a cursor, and one step at a time is with the shell.

use aura_proto::{
    Code, Digest, LogId, VersionVector,
    event::Checkpoint,
    message::{Head, Message, Subscribe, feature},
};
use aura_trust::verify_checkpoint;

use super::{FEED_ENTRIES_MAX, Hub, LinkId, Log, Output, links::Subscription};
use crate::Now;

impl Hub {
    // spec: sync/2.1
    pub(super) fn subscribe(&mut self, now: Now, link: LinkId, stream: u32, subscribe: &Subscribe) {
        let mut head = self.head(subscribe.log);
        if let Some(fault) = self.history_fault(subscribe, &head) {
            self.fault.get_or_insert(fault);
            self.notice("fault", subscribe.log.short(), &fault.to_string());
            return self.refuse(
                link,
                stream,
                fault,
                "this history is not the one you verified",
            );
        }
        let known = self
            .ledger
            .log(subscribe.log)
            .map_or(subscribe.seq == 0, |log| {
                log.hash_at(subscribe.seq) == Some(subscribe.hash)
            });
        let fed = if known { subscribe.seq } else { 0 };
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        if !state.has_room(stream) {
            return self.refuse(link, stream, Code::BUSY, "too many logs on one link");
        }
        // Asking again does not make room.
        let before = state.subscriptions.get(&stream);
        let is_full = before.is_some_and(|before| before.is_full);
        let subscription = Subscription {
            log: subscribe.log,
            fed,
            is_full,
        };
        state.subscriptions.insert(stream, subscription);
        if !state.has(feature::VECTORS) {
            head.vector = VersionVector::default();
        }
        self.send(link, stream, Message::Head(head));
        self.tell_what_is_edited(now, link, subscribe.log);
        self.feed_link(link);
    }

    /// What a peer's verified checkpoint proves about us: that we lost history, or that we rewrote it.
    fn history_fault(&self, subscribe: &Subscribe, head: &Head) -> Option<Code> {
        let checkpoint = Checkpoint::decode(&subscribe.checkpoint).ok()?;
        let is_ours = checkpoint.log == subscribe.log
            && verify_checkpoint(&checkpoint, self.config.key.peer()).is_ok();
        if !is_ours {
            return None;
        }
        if head.seq < checkpoint.seq {
            return Some(Code::BEHIND_PEERS);
        }
        let ours = self.ledger.log(subscribe.log)?.hash_at(checkpoint.seq)?;
        (ours != checkpoint.hash).then_some(Code::FORK)
    }

    fn head(&self, log: LogId) -> Head {
        let state = self.ledger.log(log);
        Head {
            log,
            epoch: self.epoch,
            seq: state.map_or(0, Log::seq),
            hash: state.map_or(Digest::ZERO, Log::hash),
            vector: state.map(Log::vector).unwrap_or_default(),
        }
    }

    pub(super) fn fed(
        &mut self,
        link: LinkId,
        (stream, log): (u32, LogId),
        up_to: u64,
        has_room: bool,
    ) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let subscription = state.subscriptions.get_mut(&stream);
        // The stream may follow another log by now.
        if let Some(subscription) = subscription.filter(|found| found.log == log) {
            subscription.fed = subscription.fed.max(up_to);
            subscription.is_full = !has_room;
        }
        state.is_feeding = false;
        self.feed_link(link);
    }

    /// Feeds the first log of the link that has more, and room for it; the shell answers and the next step follows.
    pub(super) fn feed_link(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        if state.is_closing || state.is_feeding || state.ready().is_none() {
            return;
        }
        let behind = state
            .subscriptions
            .iter()
            .find_map(|(stream, subscription)| {
                let durable = self.ledger.log(subscription.log).map_or(0, Log::seq);
                let has_more = subscription.fed < durable && !subscription.is_full;
                has_more.then_some((*stream, *subscription, durable))
            });
        if let Some((stream, subscription, durable)) = behind {
            state.is_feeding = true;
            let from = subscription.fed + 1;
            let to = durable.min(subscription.fed + FEED_ENTRIES_MAX);
            let with_checkpoint = state.has(feature::CHECKPOINTS);
            self.outputs.push_back(Output::Feed {
                link,
                stream,
                log: subscription.log,
                from,
                to,
                with_checkpoint,
            });
        }
    }
}
