//! Every cap and deadline of the protocol, with the arithmetic behind it.
//!
//! Invariants:
//! - a cap is checked before what it bounds is allocated;
//! - `proto-spec/limits.md` names the same numbers (compared by a test).

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$doc])* pub const $name: $type = $value;)*

        /// Every limit with its value, in this order.
        pub const ALL: &[(&str, u64)] = &[$((stringify!($name), $name as u64)),*];
    };
}

limits! {
    /// Longest frame payload in bytes; one fragment of a message.
    FRAME_BYTES_MAX: usize = 1 << 20;
    /// Longest message after reassembly and after decompression, in bytes.
    MESSAGE_BYTES_MAX: usize = 8 << 20;
    /// Fragment that a sender cuts messages into: 16 KiB is one TLS record, so a heartbeat waits for one.
    FRAGMENT_BYTES: usize = 16 << 10;
    /// Concurrent streams that one side may have open.
    STREAMS_MAX: usize = 64;
    /// Flow-control window of one stream in bytes.
    STREAM_WINDOW_BYTES: u32 = 256 << 10;
    /// Flow-control window of the whole connection in bytes.
    LINK_WINDOW_BYTES: u32 = 1 << 20;
    /// Bytes accepted before AUTH is done.
    PRE_AUTH_BYTES_MAX: usize = 16 << 10;
    /// Stream resets tolerated in ten seconds.
    RESETS_PER_10S_MAX: u32 = 100;
    /// Frames without payload tolerated in one second.
    EMPTY_FRAMES_PER_S_MAX: u32 = 100;
    /// Bytes queued towards one slow reader before it is fed from the log instead.
    SEND_QUEUE_BYTES_MAX: usize = 256 << 10;
    /// No write progress for this long cuts a link, in milliseconds.
    STALLED_MS_MAX: u64 = 60_000;
    /// Deadline of the TLS handshake in milliseconds, in total and not per byte.
    TLS_MS_MAX: u64 = 5_000;
    /// Deadline of HELLO and AUTH together in milliseconds.
    AUTH_MS_MAX: u64 = 10_000;
    /// A frame that has begun must be complete within this many milliseconds.
    FRAME_MS_MAX: u64 = 30_000;
    /// Sockets that have not authenticated, overall.
    PRE_AUTH_SOCKETS_MAX: usize = 512;
    /// Sockets that have not authenticated, from one IPv4 address or IPv6 /64.
    PRE_AUTH_SOCKETS_PER_ADDRESS_MAX: usize = 64;
    /// Heartbeat period of the control link in milliseconds.
    HEARTBEAT_MS: u64 = 30_000;
    /// Missed heartbeats that mean offline.
    HEARTBEATS_MISSED_MAX: u32 = 3;
    /// The body of one entry in bytes.
    BODY_BYTES_MAX: usize = 1 << 20;
    /// Address hints that one peer may announce.
    HINTS_MAX: usize = 8;
    /// Lowest port that an announced address may have: below are the services of others.
    HINT_PORT_MIN: u16 = 1_024;
    /// Changes of its addresses that are told of one peer in an hour; the newest one is kept all the same.
    HINT_CHANGES_PER_HOUR_MAX: usize = 6;
    /// Peers that one question or one message of announcements names.
    PEERS_PER_MESSAGE_MAX: usize = 64;
    /// Heartbeat period of a link between peers in milliseconds.
    PEER_HEARTBEAT_MS: u64 = 15_000;
    /// Bytes of a circuit that may be under way in one direction.
    RELAY_WINDOW_BYTES: u32 = 256 << 10;
    /// What each message of a circuit takes of the window besides its bytes, so that small ones cost what they take up.
    RELAY_MESSAGE_BYTES: u32 = 64;
    /// The smallest grant.
    RELAY_GRANT_BYTES_MIN: u32 = 16 << 10;
    /// Circuits that one peer may have through one relay, asked for or taken.
    RELAY_CIRCUITS_PER_PEER_MAX: usize = 16;
    /// Circuits that one peer may ask for in a minute.
    RELAY_OPENS_PER_MIN_MAX: usize = 60;
    /// A circuit that was offered is taken within this many milliseconds, or not at all.
    RELAY_OFFER_MS_MAX: u64 = 5_000;
    /// Links over which a routed message goes at most.
    ROUTED_HOPS_MAX: usize = 5;
    /// Sealed bytes of a routed message.
    ROUTED_BYTES_MAX: usize = 4 << 10;
    /// Routed messages of one writer that are passed on in a minute.
    ROUTED_PER_MIN_MAX: u32 = 60;
    /// How far the time of a routed message may be from the own clock, in milliseconds.
    ROUTED_SKEW_MS_MAX: u64 = 600_000;
    /// Sealed bytes of what a device says of its work.
    ACTIVITY_BYTES_MAX: usize = 2 << 10;
    /// How long it is kept and passed on, in milliseconds.
    ACTIVITY_MS_MAX: u64 = 3_600_000;
    /// Words of one device that are taken in a minute.
    ACTIVITY_PER_MIN_MAX: u32 = 300;
    /// Clones of one device whose words are kept.
    ACTIVITY_CLONES_MAX: usize = 32;
    /// Places that one zone covers.
    ZONE_PLACES_MAX: usize = 64;
    /// Zones that one device holds in one log.
    ZONES_PER_HOLDER_MAX: usize = 64;
    /// Open questions about one zone.
    ZONE_ASKS_MAX: usize = 16;
    /// Bytes that say in words what a zone covers and why.
    ZONE_DETAILS_BYTES_MAX: usize = 32 << 10;
    /// Longest time that a zone lasts without a change of its holder, in milliseconds: a day.
    ZONE_TTL_MS_MAX: u64 = 86_400_000;
    /// A holder that is not heard of for so long has lost its zones, in milliseconds.
    ZONE_LEASE_MS: u64 = 132_000;
    /// Display names in bytes.
    NAME_BYTES_MAX: usize = 128;
    /// Bytes of a path: half of what Linux takes in one call, the other half is for the root before it.
    PATH_BYTES_MAX: usize = 2_048;
    /// Components of a path: four times the depth of the deepest Java tree we met.
    PATH_COMPONENTS_MAX: usize = 100;
    /// Bytes of one component: the limit of every common file system.
    COMPONENT_BYTES_MAX: usize = 255;
    /// Entries in one push or one page.
    ENTRIES_PER_BATCH_MAX: usize = 250;
    /// Logs that one link may subscribe to.
    LOGS_PER_LINK_MAX: usize = 32;
    /// Longest life of a join token in seconds: 7 days.
    TOKEN_TTL_S_MAX: u64 = 7 * 24 * 3_600;
    /// Clock leeway for tokens in seconds.
    TOKEN_LEEWAY_S: u64 = 5;
    /// Life of a leaf certificate in seconds: 7 days.
    LEAF_TTL_S: u64 = 7 * 24 * 3_600;
    /// Renewal with the same key is possible this long after expiry, in seconds: 30 days.
    RENEWAL_GRACE_S: u64 = 30 * 24 * 3_600;
    /// Leaf certificates are dated back by this many seconds against clock differences.
    LEAF_BACKDATE_S: u64 = 300;
    /// How far behind its own high-water time a Mothership's clock may stand, in milliseconds.
    CLOCK_BEHIND_MS_MAX: u64 = 600_000;
}

const _: () = assert!(FRAGMENT_BYTES <= FRAME_BYTES_MAX && FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES <= LINK_WINDOW_BYTES);
const _: () = assert!(FRAGMENT_BYTES <= STREAM_WINDOW_BYTES as usize);

/// What a message of so many bytes takes of the window of a circuit.
// spec: peers/6.3
#[must_use]
pub const fn relay_cost(len: u32) -> u32 {
    len.saturating_add(RELAY_MESSAGE_BYTES)
}
