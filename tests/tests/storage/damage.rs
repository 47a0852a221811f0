//! Files that were damaged while nothing ran: a torn tail is cut and said, anything else stops the start.

use std::{fs, ops::Range};

use aura_proto::{
    Code, Digest, VersionVector,
    message::{Message, Outcome, Subscribe},
};
use mothership_tests::{
    amount,
    journal::{LOG, Reading},
    strace::{Fault, Strace},
};

use crate::{
    Site, copy,
    segment::{LEN_AT, Segment},
};

/// A log that ends in entries which were written, never synced and never acknowledged: three acknowledged ones,
/// then a batch of `count` that was killed at its sync.
fn killed_before_its_sync(count: usize, body_bytes: usize) -> Site {
    let mut site = Site::new(1);
    site.write(3);
    site.authors.fill(body_bytes);
    let _strace = Strace::attach(site.box_().pid(), &Fault::kill("fdatasync", 1).args());
    let author = &mut site.authors.authors[0];
    site.authors.runtime.block_on(async {
        let mut wire = author.connect().await.unwrap();
        wire.push(LOG, author.entries(3..3 + count).unwrap());
        wire.acked().await.expect_err("acknowledged without a sync");
    });
    assert_eq!(site.ended(), None);
    site
}

/// Every byte of a record where it could have been cut, or a few of them.
fn cuts(record: &Range<usize>) -> Vec<usize> {
    let len = record.len();
    let few = vec![1, 4, 8, 79, 80, 81, len / 2, len - 9, len - 1];
    let every = (1..len).collect();
    amount(few, every)
}

#[test]
fn case_053_a_record_that_was_never_synced_is_cut_at_whatever_byte_it_ends() {
    let mut site = killed_before_its_sync(1, 0);
    let segment = Segment::newest(&site.wal());
    let record = segment.holding(&site.authors.authors[0].entries[3]);
    let kept = site.team.dir.path().join("kept");
    copy(&site.wal(), &kept);
    for cut in cuts(&record) {
        copy(&kept, &site.wal());
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&segment.path)
            .unwrap();
        file.set_len((record.start + cut) as u64).unwrap();
        site.start();
        assert!(site.said().contains("TAIL_TRUNCATED"), "{}", site.said());
        assert_eq!(site.check(), 3);
        site.stop("-KILL");
    }
    site.start();
    site.write(1);
    assert_eq!(site.check(), 4);
}

#[test]
fn case_053_when_an_acknowledged_record_is_cut_whoever_saw_it_stops_the_appends() {
    let mut site = Site::new(2);
    site.write(3);
    site.check();
    let reader = &site.authors.authors[1].device;
    let reading = site.authors.runtime.block_on(Reading::of(reader)).unwrap();
    let seen = reading.checkpoints.last().unwrap().clone();
    site.stop("-KILL");
    let mut segment = Segment::newest(&site.wal());
    let last = segment.records.last().unwrap().clone();
    segment.bytes.truncate(last.end - 9);
    segment.save();
    site.start();
    assert!(site.said().contains("TAIL_TRUNCATED"), "{}", site.said());
    let authors = &mut site.authors;
    authors.runtime.block_on(async {
        let mut witness = authors.authors[1].connect().await.unwrap();
        let subscribe = Subscribe {
            log: LOG,
            epoch: seen.epoch,
            seq: seen.seq,
            hash: seen.hash,
            vector: VersionVector::default(),
            checkpoint: seen.encode(),
        };
        witness.send(witness.streams[0], &Message::Subscribe(subscribe));
        let refused = witness
            .acked()
            .await
            .expect_err("it knows that it lost something");
        assert!(refused.to_string().contains("BEHIND_PEERS"), "{refused}");
        let author = &mut authors.authors[0];
        let mut wire = author.connect().await.unwrap();
        wire.push(LOG, author.entries(3..4).unwrap());
        let outcomes = wire.acked().await.unwrap().outcomes;
        assert_eq!(outcomes, [(4, Outcome::Refused(Code::BEHIND_PEERS))]);
    });
    let invite = site.team.mothership(&["invite"]);
    invite.fails(15, "BEHIND_PEERS");
    let verified = site.team.mothership(&["wal", "verify"]).ok();
    assert_eq!(verified["entries"], 5, "something was appended: {verified}");
}

#[test]
fn case_057_a_tail_that_a_power_cut_left_in_pieces_is_no_corruption() {
    let mut site = killed_before_its_sync(2, 8_192);
    let whole = Segment::newest(&site.wal());
    let entries = &site.authors.authors[0].entries;
    let (first, second) = (whole.holding(&entries[3]), whole.holding(&entries[4]));
    let kept = site.team.dir.path().join("kept");
    copy(&site.wal(), &kept);
    let mark = site.authors.mark();
    for (lost, left) in [(second.end - 4_096..second.end, 4), (first, 3)] {
        copy(&kept, &site.wal());
        site.authors.rewind(&mark);
        let mut segment = whole.clone();
        segment.bytes[lost].fill(0);
        segment.save();
        site.start();
        assert!(site.said().contains("TAIL_TRUNCATED"), "{}", site.said());
        assert_eq!(site.check(), left);
        site.write(2);
        assert_eq!(site.check(), 5);
        site.stop("-KILL");
    }
}

#[test]
fn case_058_garbage_behind_the_tail_is_put_in_quarantine() {
    let mut site = Site::new(1);
    site.write(3);
    let garbage: Vec<u8> = (0..32_768)
        .flat_map(|n: u32| Digest::of(&n.to_le_bytes()).0)
        .collect();
    for behind_the_file in [false, true] {
        site.stop("-KILL");
        let mut segment = Segment::newest(&site.wal());
        let at = if behind_the_file {
            segment.bytes.len()
        } else {
            segment.end()
        };
        segment
            .bytes
            .resize(segment.bytes.len().max(at + garbage.len()), 0);
        segment.bytes[at..at + garbage.len()].copy_from_slice(&garbage);
        segment.save();
        site.start();
        assert!(site.said().contains("TAIL_TRUNCATED"), "{}", site.said());
        let quarantined = fs::read_dir(site.wal().join("quarantine"))
            .unwrap()
            .any(|file| fs::read(file.unwrap().path()).unwrap().ends_with(&garbage));
        assert!(quarantined, "what was cut is gone");
        site.write(1);
        site.check();
    }
}

/// The start and the check refuse the log, name these records, and leave the segment as it is.
#[track_caller]
fn assert_corrupt(site: &Site, damaged: &Segment, what: &str) {
    for refused in [site.refused(), site.team.mothership(&["wal", "verify"])] {
        let document = refused.fails(15, "AE-WAL-CORRUPT");
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(what), "{message} does not say {what}");
    }
    assert_eq!(
        fs::read(&damaged.path).unwrap(),
        damaged.bytes,
        "it was changed"
    );
}

/// Flips one bit of a segment and asserts that the log is refused, then flips it back.
#[track_caller]
fn flip(site: &Site, mut segment: Segment, record: &Range<usize>, at: usize) {
    let lsn = segment.lsn(record);
    segment.bytes[at] ^= 0x10;
    segment.save();
    assert_corrupt(site, &segment, &format!("records {lsn} to {lsn}"));
    segment.bytes[at] ^= 0x10;
    segment.save();
}

#[test]
fn case_054_a_flipped_bit_in_a_record_that_was_durable_stops_the_start() {
    let mut site = Site::new(1);
    site.authors.fill(1_000_000);
    site.write(20);
    site.stop("-KILL");
    let segments = Segment::all(&site.wal());
    assert_eq!(segments.len(), 2, "the log has not rolled");
    for segment in segments {
        let record = segment.records[segment.records.len() / 2].clone();
        let middle = record.start + record.len() / 2;
        flip(&site, segment, &record, middle);
    }
    site.start();
    assert_eq!(site.check(), 20);
}

#[test]
fn case_055_a_flipped_bit_in_a_length_is_no_truncation() {
    let mut site = Site::new(1);
    site.write(9);
    site.stop("-KILL");
    let segment = Segment::newest(&site.wal());
    let record = segment.holding(&site.authors.authors[0].entries[4]);
    let at = record.start + LEN_AT;
    flip(&site, segment, &record, at);
    site.start();
    assert_eq!(site.check(), 9);
}

#[test]
fn case_059_segments_in_the_wrong_place_stop_the_start() {
    let mut site = Site::new(1);
    site.authors.fill(1_000_000);
    site.write(40);
    site.stop("-KILL");
    let [first, second, third] = &Segment::all(&site.wal())[..] else {
        panic!("the log has not rolled twice")
    };
    let place = |bytes: &Segment, at: &Segment| {
        let placed = Segment {
            path: at.path.clone(),
            ..bytes.clone()
        };
        placed.save();
        placed
    };
    let swapped = place(second, first);
    place(first, second);
    assert_corrupt(&site, &swapped, "foreign segment");
    place(first, first);
    let next_lsn = third.lsn(third.records.last().unwrap()) + 1;
    let name = third.path.with_file_name(format!("{next_lsn:020}.wal"));
    for doubled in [second, third] {
        let doubled = Segment {
            path: name.clone(),
            ..doubled.clone()
        };
        doubled.save();
        assert_corrupt(&site, &doubled, "foreign segment");
        fs::remove_file(&name).unwrap();
        place(second, second);
    }
    site.start();
    assert_eq!(site.check(), 40);
}
