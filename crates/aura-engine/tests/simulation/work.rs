//! What the peers of the simulated world write.
//!
//! Invariant: a version follows only what its author knew.

use aura_engine::peer::{
    body::{Cause, PatchBody},
    replica::{self, Own},
};
use aura_proto::Kind;
use aura_semantic::{ContentHash, FilePatch, Op, OwnText, Touched};

use crate::{CHANNEL, UNITS, World, nodes::unit};

impl World {
    /// A new version of some unit: it follows one head, or settles all of them.
    pub(crate) fn author(&mut self, n: usize) {
        let unit = unit(self.random.below(UNITS));
        let mut heads = self.peers[n].units.heads("a.rs", unit);
        if self.random.chance(50) {
            heads.truncate(1);
        }
        let name = format!("{n}/{}", self.random.below(1_000));
        let text = OwnText::leaf(name.as_bytes());
        let base_text = OwnText::leaf(b"base");
        let before = Some(base_text.hash()).filter(|_| !heads.is_empty());
        let (base, after): (ContentHash, _) = (base_text.hash(), Some(text.hash()));
        let body = PatchBody {
            channel: CHANNEL.to_owned(),
            commit: String::new(),
            cause: Cause::Edit,
            why: None,
            patch: FilePatch {
                path: "a.rs".to_owned(),
                base: None,
                result: None,
                ops: vec![Op::Replace {
                    unit,
                    name: name.clone(),
                    base,
                    base_text,
                    text,
                }],
                touched: vec![Touched {
                    unit,
                    name,
                    before,
                    after,
                }],
            },
            parents: vec![heads],
        };
        self.write(n, body.encode(), None);
    }

    pub(crate) fn write(&mut self, n: usize, body: Vec<u8>, replaces: Option<Own>) {
        let author_seq = self.peers[n].replica.next_number();
        let time_ms = self.now().wall_ms;
        let input = replica::Input::Author {
            kind: Kind::PATCH,
            fence: 0,
            key_epoch: 1,
            body,
            time_ms,
            author_seq,
            replaces,
        };
        self.peers[n].replica.handle(input);
        self.pump_peer(n);
    }
}
