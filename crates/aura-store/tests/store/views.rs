//! One contract for both view stores, and what happens to a damaged one.

use std::fs;
use std::path::Path;

use aura_store::{Batch, Kv, MemoryViews, Opened, ViewError, Views};
use bytes::Bytes;
use proptest::prelude::*;

fn contract(kv: &dyn Kv) {
    assert_eq!(kv.get(b"a").unwrap(), None);
    kv.put(b"a", b"1").unwrap();
    kv.put(b"a", b"2").unwrap();
    assert_eq!(kv.get(b"a").unwrap().as_deref(), Some(&b"2"[..]));
    kv.delete(b"a").unwrap();
    kv.delete(b"a").unwrap();
    assert_eq!(kv.get(b"a").unwrap(), None);

    assert!(!kv.compare_and_set(b"c", Some(b"0"), Some(b"1")).unwrap());
    assert!(kv.compare_and_set(b"c", None, Some(b"1")).unwrap());
    assert!(!kv.compare_and_set(b"c", None, Some(b"2")).unwrap());
    assert!(kv.compare_and_set(b"c", Some(b"1"), Some(b"2")).unwrap());
    assert!(kv.compare_and_set(b"c", Some(b"2"), None).unwrap());
    assert_eq!(kv.get(b"c").unwrap(), None);

    let mut batch = Batch::default();
    for key in ["p/1", "p/2", "p/3", "p0", "o", "p\u{7f}"] {
        batch.put(key, key.to_uppercase());
    }
    batch.delete("p/2");
    kv.apply(batch).unwrap();
    assert_eq!(keys(kv, b"p/", None, 9), ["p/1", "p/3"]);
    assert_eq!(keys(kv, b"p/", Some(b"p/1"), 9), ["p/3"]);
    assert_eq!(keys(kv, b"p/", Some(b"a"), 9), ["p/1", "p/3"]);
    assert_eq!(keys(kv, b"p/", Some(b"z"), 9), Vec::<String>::new());
    assert_eq!(keys(kv, b"", None, 3), ["o", "p/1", "p/3"]);
    assert_eq!(kv.get(b"p/1").unwrap(), Some(Bytes::from_static(b"P/1")));
    kv.put(b"\xff\xff", b"end").unwrap();
    assert_eq!(kv.scan(b"\xff", None, 9).unwrap().len(), 1);
    assert_eq!(kv.scan(b"\xff", None, 0).unwrap().len(), 0);
    kv.flush().unwrap();
}

fn keys(kv: &dyn Kv, prefix: &[u8], after: Option<&[u8]>, count_max: usize) -> Vec<String> {
    let pairs = kv.scan(prefix, after, count_max).unwrap();
    pairs
        .into_iter()
        .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

#[test]
fn both_stores_keep_the_contract() {
    contract(&MemoryViews::default());
    let dir = tempfile::tempdir().unwrap();
    let (views, opened) = Views::open(&dir.path().join("views")).unwrap();
    assert_eq!(opened, Opened::Created);
    contract(&views);
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Swap(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>),
    Scan(Vec<u8>, Option<Vec<u8>>, usize),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(7), Just(255)], 0..3)
}

fn step() -> impl Strategy<Value = Step> {
    let value = || proptest::option::of(key());
    prop_oneof![
        (key(), key()).prop_map(|(key, value)| Step::Put(key, value)),
        key().prop_map(Step::Delete),
        (key(), value(), value()).prop_map(|(key, old, new)| Step::Swap(key, old, new)),
        (key(), value(), 0..6_usize).prop_map(|(key, after, count)| Step::Scan(key, after, count)),
    ]
}

/// One store for all cases: emptied by each, because opening one takes longer than a case.
fn twin_steps(views: &Views, steps: &[Step]) -> Result<(), TestCaseError> {
    let memory = MemoryViews::default();
    for (key, _) in views.scan(b"", None, usize::MAX).unwrap() {
        views.delete(&key).unwrap();
    }
    for step in steps {
        let (left, right) = match step {
            Step::Put(key, value) => (
                views.put(key, value).is_ok(),
                memory.put(key, value).is_ok(),
            ),
            Step::Delete(key) => (views.delete(key).is_ok(), memory.delete(key).is_ok()),
            Step::Swap(key, old, new) => (
                views
                    .compare_and_set(key, old.as_deref(), new.as_deref())
                    .unwrap(),
                memory
                    .compare_and_set(key, old.as_deref(), new.as_deref())
                    .unwrap(),
            ),
            Step::Scan(prefix, after, count) => {
                let left = views.scan(prefix, after.as_deref(), *count).unwrap();
                prop_assert_eq!(left, memory.scan(prefix, after.as_deref(), *count).unwrap());
                continue;
            }
        };
        prop_assert_eq!(left, right);
    }
    let left = views.scan(b"", None, usize::MAX).unwrap();
    prop_assert_eq!(left, memory.scan(b"", None, usize::MAX).unwrap());
    Ok(())
}

#[test]
fn the_twins_answer_alike_whatever_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (views, _) = Views::open(&dir.path().join("views")).unwrap();
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(128)
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let steps = proptest::collection::vec(step(), 1..40);
    runner
        .run(&steps, |steps| twin_steps(&views, &steps))
        .unwrap();
}

fn fill(dir: &Path) {
    let (views, _) = Views::open(dir).unwrap();
    for number in 0..2000_u32 {
        views
            .put(&number.to_be_bytes(), &[number as u8; 100])
            .unwrap();
    }
    views.flush().unwrap();
}

#[test]
fn views_survive_closing_and_a_second_open_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("views");
    fill(&path);
    let (views, opened) = Views::open(&path).unwrap();
    assert_eq!(opened, Opened::Kept);
    assert_eq!(views.scan(b"", None, usize::MAX).unwrap().len(), 2000);
    let second = Views::open(&path).map(|_| ());
    assert!(
        matches!(second, Err(ViewError::Locked { .. })),
        "{second:?}"
    );
}

#[test]
fn case_056_damaged_views_are_moved_aside_and_start_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("views");
    let mut rebuilt = 0;
    for round in 0..8 {
        fill(&path);
        let file = path.join("db");
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.len() * round / 16;
        match round % 4 {
            0 => bytes[at..].fill(0xa5),
            1 => bytes.truncate(at / 512 * 512 + 100),
            2 => bytes[at..].fill(0),
            _ => fs::write(path.join("conf"), b"not a configuration").unwrap(),
        }
        fs::write(&file, bytes).unwrap();
        let (views, opened) = Views::open(&path).unwrap();
        if let Opened::Rebuilt { aside } = opened {
            rebuilt += 1;
            assert!(aside.join("db").exists());
            assert_eq!(views.scan(b"", None, 1).unwrap(), []);
        }
        views.put(b"again", b"works").unwrap();
        drop(views);
        fs::remove_dir_all(&path).unwrap();
    }
    assert!(2 <= rebuilt, "the damage was too small to prove anything");
}
