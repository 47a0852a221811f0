//! Laptops without the Mothership: how entries and words get to everybody in the simulated mesh of
//! `crates/aura-engine/tests/mesh`, and what it costs two to find the few entries that one of them lacks.

use std::collections::VecDeque;

use aura_engine::{
    Now,
    peer::{
        exchange::{Exchange, Input, Output},
        links::LinkId,
    },
};
use aura_proto::{
    Digest, Entry, Header, Incarnation, Kind, LogId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL, event::encode_push, message::Message,
};
use aura_trust::{IdentityKey, sign_entry};

use crate::{
    Failure,
    figure::{
        Against::{Limit, One},
        Bound::AtMost,
        Figure,
    },
    host::{ms, now},
    rows::BODY,
    world::{Counts, World},
};

const PEERS: usize = 200;
/// Entries published in one scene, one a second by random authors.
const ENTRIES: u64 = 60;
/// Who hears of one that has moved.
const HEARERS: usize = 50;
const WRITERS: u8 = 100;
/// Entries of each writer, of which one side lacks the last.
const EACH: u64 = 10_000;
const LOG: LogId = LogId([2; 16]);
const LINK: LinkId = LinkId(1);

pub(crate) fn measure() -> Result<Vec<Figure>, Failure> {
    let mut figures = spread();
    figures.extend(word());
    figures.extend(missing()?);
    Ok(figures)
}

/// Entries on a calm network, and where a fifth of all dials and messages fails.
fn spread() -> Vec<Figure> {
    let name = format!("mesh of {PEERS}, simulated");
    let mut world = World::new(PEERS, 0, 1);
    world.start_all(10_000, 20_000);
    publish(&mut world);
    // The tree has found itself.
    world.counts = Counts::default();
    publish(&mut world);
    world.run_for(10_000);
    let counts = &world.counts;
    let got = counts.copies.len() as f64;
    let copies = f64::from(counts.copies.values().sum::<u32>()) / got;
    let of_log = ["entries", "head", "ask", "prune"];
    let of_log = of_log.iter().filter_map(|kind| counts.messages.get(kind));
    let messages = of_log.sum::<u64>() as f64 / got;
    let (delays, hops) = (&counts.delays_ms, &counts.hops);
    let mut figures = vec![
        Figure::new(format!("{name}: copies of an entry at each"), copies)
            .limit(1.0)
            .goal(AtMost, 1.2, Limit),
        Figure::new(format!("{name}: messages for an entry at each"), messages).limit(1.0),
        Figure::new(format!("{name}: p50 links to each"), at(hops, 50).into()),
        Figure::new(format!("{name}: p50 ms to each"), at(delays, 50) as f64),
        Figure::new(format!("{name}: ms to the last"), at(delays, 100) as f64),
    ];
    world.counts = Counts::default();
    world.net.lost_percent = 20;
    publish(&mut world);
    world.net.lost_percent = 0;
    let faulty_ms = world.now_ms;
    let holds_all = |world: &World| {
        let running = world.nodes.iter().filter_map(|node| node.running.as_ref());
        let held = running.map(|running| running.entries.len() as u64);
        held.min() == Some(3 * ENTRIES)
    };
    while !holds_all(&world) && world.now_ms < faulty_ms + 600_000 {
        world.run_for(100);
    }
    let rest_s = (world.now_ms - faulty_ms) as f64 / 1e3;
    let copies = f64::from(world.counts.copies.values().sum::<u32>());
    let copies = copies / world.counts.copies.len() as f64;
    figures.extend([
        Figure::new(
            format!("{name}, a fifth fails: s until all hold all, after it"),
            rest_s,
        )
        .goal(AtMost, 90.0, One),
        Figure::new(format!("{name}, a fifth fails: copies at each"), copies).limit(1.0),
    ]);
    figures
}

fn publish(world: &mut World) {
    for n in 0..ENTRIES {
        let author = world.random.pick(PEERS);
        world.write(author, &n.to_be_bytes());
        world.run_for(1_000);
    }
}

fn at<T: Ord + Copy + Default>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or_default()
}

/// One says that it has moved.
fn word() -> Vec<Figure> {
    let mut world = World::new(HEARERS, 0, 2);
    world.start_all(5_000, 90_000);
    world.watched = Some((world.nodes[0].id, world.nodes[0].word.reach.counter + 1));
    let moved_ms = world.now_ms;
    world.move_to(0, 1);
    world.run_for(120_000);
    let last_ms = world.learned.iter().map(|(_, at_ms)| at_ms - moved_ms);
    let name = format!("a new address among {HEARERS}, simulated");
    vec![
        Figure::new(format!("{name}: messages"), world.tellings.len() as f64)
            .limit(HEARERS as f64 - 1.0)
            .goal(AtMost, 4.0 * HEARERS as f64, One),
        Figure::new(
            format!("{name}: ms to the last"),
            last_ms.max().unwrap_or(0) as f64,
        ),
    ]
}

/// One end of a link in memory.
struct Side {
    exchange: Exchange,
    /// The last entry of each writer, if it is held.
    last: Vec<Entry>,
}

/// 100 entries that one side lacks of a million: what travels, and what it costs both ends but for their disks.
fn missing() -> Result<Vec<Figure>, Failure> {
    let entries = (0..WRITERS)
        .map(last_entry)
        .collect::<Result<Vec<_>, _>>()?;
    let bare: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
    let held = |up_to: u64| {
        let mut held = VersionVector::default();
        for entry in &entries {
            held.observe(entry.header().writer, up_to);
        }
        held
    };
    let all = held(EACH);
    let mut sides = [
        Side {
            exchange: Exchange::new(LOG, all.clone()),
            last: entries.clone(),
        },
        Side {
            exchange: Exchange::new(LOG, held(EACH - 1)),
            last: Vec::new(),
        },
    ];
    let begun = now();
    let mut wire = VecDeque::new();
    for n in [0, 1] {
        tell(&mut sides[n], n, Input::Alone(true), &mut wire);
        tell(&mut sides[n], n, Input::Up(LINK), &mut wire);
    }
    let (mut bytes, mut messages) = (0, 0);
    while let Some((to, message)) = wire.pop_front() {
        let (kind, payload): (_, bytes::Bytes) = Message::encode(&message);
        bytes += payload.len();
        messages += 1;
        let message = Message::decode(kind, payload)?;
        let input = Input::Received {
            from: LINK,
            message,
        };
        tell(&mut sides[to], to, input, &mut wire);
    }
    let taken_ms = ms(begun.elapsed());
    if *sides[1].exchange.held() != all {
        return Err("what was missing has not come".into());
    }
    let name = format!("{WRITERS} entries missing of {}", u64::from(WRITERS) * EACH);
    Ok(vec![
        Figure::new(format!("{name}: KB, both ways"), bytes as f64 / 1e3)
            .limit(bare as f64 / 1e3)
            .goal(AtMost, 1.1, Limit),
        Figure::new(format!("{name}: messages"), f64::from(messages)),
        Figure::new(format!("{name}: ms without disks and signatures"), taken_ms),
    ])
}

fn last_entry(n: u8) -> Result<Entry, Failure> {
    let key = IdentityKey::from_seed([n; 32]);
    let body = vec![n; BODY];
    let header = Header {
        level: PROTOCOL_LEVEL,
        kind: Kind::PATCH,
        flags: 0,
        team: TeamId([1; 16]),
        log: LOG,
        writer: Writer {
            peer: key.peer(),
            incarnation: Incarnation(1),
        },
        author_seq: EACH,
        prev: Digest([1; 32]),
        lamport: EACH,
        time_ms: 1,
        fence: 0,
        key_epoch: 0,
        body_len: BODY as u32,
        body_hash: Digest::of(&body),
    };
    Ok(sign_entry(&key, &header, &body)?)
}

/// Tells one side something and puts what it says on the wire.
fn tell(side: &mut Side, n: usize, input: Input, wire: &mut VecDeque<(usize, Message)>) {
    let now = Now {
        mono_ms: 0,
        wall_ms: 0,
    };
    let mut inputs = VecDeque::from([input]);
    while let Some(input) = inputs.pop_front() {
        side.exchange.handle(now, input);
        while let Some(output) = side.exchange.poll() {
            match output {
                Output::Send { message, .. } => wire.push_back((1 - n, message)),
                Output::Show {
                    to, writer, last, ..
                } => {
                    let of_writer = |entry: &&Entry| entry.header().writer == writer;
                    let shown = side.last.iter().filter(of_writer);
                    let run = encode_push(LOG, shown.map(|entry| &entry.bytes()[..]));
                    wire.push_back((1 - n, Message::Push(run)));
                    inputs.push_back(Input::Shown {
                        to,
                        writer,
                        up_to: last,
                        has_room: true,
                    });
                }
                Output::Hear { entries, .. } => inputs.extend(entries.iter().map(|entry| {
                    let header = entry.header();
                    Input::Held {
                        writer: header.writer,
                        author_seq: header.author_seq,
                    }
                })),
                Output::Close { .. } => {}
            }
        }
    }
}
