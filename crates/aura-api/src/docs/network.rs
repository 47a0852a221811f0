//! The answers about other devices and how they are reached.
//!
//! Invariant: a field that came later is empty or none in a document of before.

use serde::{Deserialize, Serialize};

row! {
    /// One peer.
    PeerDoc {
        /// Name.
        name: String,
        /// Identity key.
        peer: String,
        /// Role.
        role: String,
        /// `online`, `away` or `offline`; `unknown` while this device has no link.
        state: String,
        /// When it was last heard of.
        last_seen: Option<String>,
        /// `direct`, `direct lan`, `direct mesh`, `relayed`, `via mothership`, `self`, or `none`.
        path: String,
        /// Round trip on the link between the two devices, in milliseconds.
        #[serde(default)]
        rtt_ms: Option<u64>,
        /// Why there is no direct link, where there is none.
        #[serde(default)]
        why: Option<String>,
        /// What became of each address that was dialled.
        #[serde(default)]
        tried: Vec<TriedDoc>,
        /// Whether it can read the team's code.
        reads: bool,
        /// What is edited on it, or was within the last hour, the newest first.
        #[serde(default)]
        doing: Vec<DoingDoc>,
        /// Whose device it is.
        #[serde(default)]
        person: String,
        /// By how much its links are liked less: the round trip, and 500 for each failure in a row, in milliseconds.
        #[serde(default)]
        score_ms: Option<u64>,
        /// For how long there has been a link, in milliseconds.
        #[serde(default)]
        up_ms: Option<u64>,
    }
}

row! {
    /// How the changes of others come in.
    StreamDoc {
        /// Since the daemon runs, how many entries came.
        received: u64,
        /// When the last one came.
        last: Option<String>,
        /// How long half of the last ones took at most, from the Mothership's disk to this one, in milliseconds.
        delay_ms: Option<u64>,
    }
}

row! {
    /// A place that somebody edits.
    DoingDoc {
        /// The unit; none for the file as a whole.
        symbol: Option<String>,
        /// The file.
        path: String,
        /// On which branch.
        branch: String,
        /// Whether that is another branch than the one here.
        elsewhere: bool,
        /// In which clone of this device it is known.
        repo: String,
        /// When it was edited last.
        at: String,
        /// Whether that goes on: it was edited within the last three minutes.
        now: bool,
        /// Whether it was edited here as well, within the last hour.
        mine_too: bool,
    }
}

row! {
    /// A dialled address.
    TriedDoc {
        /// The address.
        address: String,
        /// `lan`, `mesh`, `machine` or `other`.
        class: String,
        /// `ok`, `slower`, `refused`, `timeout`, `no_route`, `IDENTITY_MISMATCH` …
        result: String,
        /// How long it took, in milliseconds.
        ms: u64,
        /// How long ago that was, in milliseconds.
        age_ms: u64,
    }
}

doc! {
    /// Answer of `ping`.
    Ping = "aura.ping/1" {
        /// Who was asked.
        peer: String,
        /// `direct`, `direct lan`, `direct mesh` or `relayed`.
        path: String,
        /// The address that answered.
        address: Option<String>,
        /// Round trip in milliseconds.
        rtt_ms: u64,
    }
}

row! {
    /// A device that passed a message on.
    HopDoc {
        /// Its name.
        name: String,
        /// How long a message to it and its answer took, in milliseconds; none if it did not answer.
        rtt_ms: Option<u64>,
    }
}

doc! {
    /// Answer of `test-message`.
    TestMessage = "aura.test_message/1" {
        /// Who answered.
        peer: String,
        /// Over whom, in order; nobody where the two are linked.
        hops: Vec<HopDoc>,
        /// How long the message and its answer took, in milliseconds.
        rtt_ms: u64,
    }
}

row! {
    /// An address at which this device listens for others.
    AddressDoc {
        /// The address.
        address: String,
        /// `lan`, `mesh`, `machine` or `other`.
        class: String,
    }
}

doc! {
    /// Answer of `netcheck`.
    Netcheck = "aura.netcheck/1" {
        /// The Mothership: `up`, or why not.
        mothership: String,
        /// Round trip to it, in milliseconds.
        rtt_ms: Option<u64>,
        /// `open`, `outbound` or `strict`.
        visibility: String,
        /// How others get to this device, as its links have shown: `direct`, `outbound only`, `relayed only` or `unknown`.
        #[serde(default)]
        reachable: String,
        /// Where this device can be dialled.
        listens: Vec<AddressDoc>,
        /// Why it cannot be dialled where it is set to listen.
        #[serde(default)]
        listens_not: Option<String>,
        /// Every other device, or the one that was asked for.
        peers: Vec<PeerDoc>,
    }
}

doc! {
    /// Answer of `peers`.
    Peers = "aura.peers/1" {
        /// Every peer of the team.
        peers: Vec<PeerDoc>,
    }
}
