//! Circuits through the Mothership: between ready links of members, each on streams of its own.

use aura_proto::{
    PeerId,
    message::{Message, feature},
};

use super::{Hub, LinkId, links::Link};
use crate::{Now, relay};

impl Hub {
    /// Circuits through this Mothership now, and bytes that were ever relayed since its start.
    pub fn relayed(&self) -> (usize, u64) {
        (self.relay.count(), self.relay.carried())
    }

    pub(super) fn relay(
        &mut self,
        now: Now,
        link: LinkId,
        stream: u32,
        peer: PeerId,
        message: Message,
    ) {
        let from = relay::Origin { link, peer, stream };
        let (links, by_peer) = (&self.links, &self.by_peer);
        let takes_circuits = |link: &Link| link.ready().is_some() && link.has(feature::RELAY);
        let link_to = |peer| {
            let link = by_peer.get(&peer).copied();
            link.filter(|link| links.get(link).is_some_and(takes_circuits))
        };
        self.relay.handle(now, from, message, link_to);
    }

    /// Sends what circuits carry.
    pub(super) fn pass_on(&mut self) {
        while let Some(send) = self.relay.poll() {
            self.send(send.link, send.stream, send.message);
        }
    }
}
