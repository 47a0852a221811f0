//! The log on the operating system's disk.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use aura_store::{
    Disk, DiskFile, DiskLock, Log, OpenError, Options, RealDisk, Record, ZERO_HASH, chain_hash,
    verify,
};

use crate::ledger::SMALL;

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

#[test]
fn a_log_written_and_opened_again_gives_back_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let (mut log, recovery) = Log::open(disk(), &path, Options::peer()).unwrap();
    assert!(recovery.is_new);
    assert_eq!((log.epoch(), log.durable()), (1, 1));
    for number in 0..100_u8 {
        let lsn = log.append(&[&[number], b"-", &[number; 9]]).unwrap();
        assert_eq!(lsn, u64::from(number) + 2);
    }
    assert_eq!(
        log.read(2, 100).unwrap(),
        [],
        "a record was shown before its sync"
    );
    assert_eq!(log.commit().unwrap(), 101);
    assert_eq!(log.stat().records, 101);
    drop(log);
    let (log, recovery) = Log::open(disk(), &path, Options::server()).unwrap();
    assert_eq!(
        (recovery.last_lsn, recovery.torn, log.epoch()),
        (101, None, 2)
    );
    let records = log.read(51, usize::MAX).unwrap();
    assert_eq!(records.len(), 52);
    assert_eq!(
        records[0].payload.as_ref(),
        [49, b'-', 49, 49, 49, 49, 49, 49, 49, 49, 49]
    );
}

#[test]
fn case_061_a_second_open_is_refused_and_names_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(disk(), dir.path(), SMALL).unwrap();
    let second = Log::open(disk(), dir.path(), SMALL).map(|_| ());
    let Err(OpenError::Locked { path }) = second else {
        panic!("{second:?}")
    };
    assert_eq!(path, dir.path().join("lock"));
    drop(log);
    Log::open(disk(), dir.path(), SMALL).unwrap();
}

#[test]
fn an_absent_log_is_not_made_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        create: false,
        ..SMALL
    };
    for path in [dir.path().to_path_buf(), dir.path().join("nowhere")] {
        let absent = Log::open(disk(), &path, options).map(|_| ());
        assert!(
            matches!(absent, Err(OpenError::NotFound { .. })),
            "{absent:?}"
        );
    }
    Log::open(disk(), dir.path(), SMALL).unwrap();
    Log::open(disk(), dir.path(), options).unwrap();
}

#[test]
fn sizes_that_do_not_fit_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        record_bytes_max: 4096,
        ..SMALL
    };
    let refused = Log::open(disk(), dir.path(), options).map(|_| ());
    assert!(matches!(refused, Err(OpenError::Sizes { .. })));
}

#[test]
fn hashes_follow_the_chain_at_every_position() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(disk(), dir.path(), SMALL).unwrap();
    for number in 0..60_u8 {
        log.append(&[&[number; 150]]).unwrap();
    }
    log.commit().unwrap();
    assert!(3 < log.stat().segments);
    let mut head = ZERO_HASH;
    assert_eq!(log.hash_at(0).unwrap(), Some(head));
    let reader = log.reader();
    let mut hashes = Vec::new();
    log.replay(1, |record| {
        head = chain_hash(&head, record.lsn, record.epoch, record.payload);
        hashes.push((record.lsn, head));
    })
    .unwrap();
    assert_eq!(hashes.len(), 61);
    for (lsn, hash) in hashes {
        assert_eq!(reader.hash_at(lsn).unwrap(), Some(hash));
    }
    assert_eq!(log.head(), head);
    assert_eq!(log.hash_at(62).unwrap(), None);
}

#[test]
fn a_read_stops_at_its_budget_but_always_moves() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(disk(), dir.path(), SMALL).unwrap();
    for number in 0..60_u8 {
        log.append(&[&[number; 144]]).unwrap();
    }
    log.commit().unwrap();
    for budget in [0, 1, 223, 224, 448, 1000, usize::MAX] {
        let mut next = 1;
        while next <= log.durable() {
            let records = log.read(next, budget).unwrap();
            let bytes: usize = records.iter().map(|record| 80 + record.payload.len()).sum();
            assert!(records.len() == 1 || bytes <= budget, "{budget}: {bytes}");
            assert!(
                records
                    .iter()
                    .zip(next..)
                    .all(|(record, lsn)| record.lsn == lsn)
            );
            next = records.last().unwrap().lsn + 1;
        }
        assert_eq!(log.read(next, budget).unwrap(), []);
    }
}

#[test]
fn readers_beside_the_writer_see_whole_records_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(disk(), dir.path(), SMALL).unwrap();
    let last = 1501;
    let readers: Vec<_> = (0..3)
        .map(|index| {
            let reader = log.reader();
            thread::spawn(move || {
                let mut next = 1;
                while next <= last {
                    for record in reader.read(next, 300 * (index + 1)).unwrap() {
                        assert_eq!(record.lsn, next);
                        assert_eq!(record.payload, content(&record));
                        next += 1;
                    }
                }
            })
        })
        .collect();
    for lsn in 2..=last {
        log.append(&[&lsn.to_le_bytes(), &vec![lsn as u8; lsn as usize % 90]])
            .unwrap();
        if lsn % 5 == 1 {
            log.commit().unwrap();
            log.prepare();
        }
        if lsn % 400 == 0 {
            let report = verify(&RealDisk, dir.path()).unwrap();
            assert!(log.durable() <= report.records);
        }
    }
    log.commit().unwrap();
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
    assert!(20 < log.stat().segments);
    drop(log);
    let (_, recovery) = Log::open(disk(), dir.path(), SMALL).unwrap();
    assert_eq!((recovery.last_lsn, recovery.torn), (last, None));
}

fn content(record: &Record) -> Vec<u8> {
    if record.lsn == 1 {
        return Vec::new();
    }
    let mut bytes = record.lsn.to_le_bytes().to_vec();
    bytes.resize(8 + record.lsn as usize % 90, record.lsn as u8);
    bytes
}

#[test]
fn verify_beside_a_busy_writer_never_reports_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(disk(), dir.path(), SMALL).unwrap();
    let path = dir.path().to_path_buf();
    let reader = log.reader();
    let judge = thread::spawn(move || {
        let mut looks = 0;
        while reader.durable() < 1200 {
            verify(&RealDisk, &path).unwrap();
            looks += 1;
        }
        looks
    });
    while log.durable() < 1200 {
        for _ in 0..3 {
            log.append(&[&[5; 60]]).unwrap();
        }
        log.commit().unwrap();
    }
    assert!(0 < judge.join().unwrap());
}

/// A disk whose file system is mounted read-only.
struct ReadOnly(RealDisk);

impl Disk for ReadOnly {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            Ok(())
        } else {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }
    }
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn open(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open_read(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.0.list(dir)
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, _: &Path) -> io::Result<Box<dyn DiskLock>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_bytes(dir)
    }
    fn nonce(&self) -> u64 {
        self.0.nonce()
    }
}

#[test]
fn case_063_a_read_only_mount_is_an_error_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    drop(Log::open(disk(), dir.path(), SMALL).unwrap());
    let refused = Log::open(Arc::new(ReadOnly(RealDisk)), dir.path(), SMALL).map(|_| ());
    let Err(OpenError::Io { source, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(source.kind(), io::ErrorKind::ReadOnlyFilesystem);
    verify(&ReadOnly(RealDisk), dir.path()).unwrap();
}
