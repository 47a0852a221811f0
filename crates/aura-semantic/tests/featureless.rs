//! Without the feature of any language.
//!
//! Invariants:
//! - it compiles to nothing when languages are on.
#![cfg(not(feature = "lang-rust"))]
#![allow(clippy::unwrap_used)]

use aura_semantic::{Budget, Op, Problem, apply, extract, index, language_of, outline};

#[test]
fn without_a_language_every_file_is_handled_as_a_whole() {
    let budget = Budget::default();
    assert_eq!(language_of("a.rs"), None, "no feature is on");
    let found = outline("a.rs", b"fn a() {}\n", &budget);
    assert_eq!(found.whole_file_problem(), Some(Problem::NoGrammar));
    let before = index("a.rs", &b"one\ntwo\n"[..], None, &budget);
    let after = index("a.rs", &b"one\n2\n"[..], Some(&before), &budget);
    let patch = extract(Some(&before), Some(&after)).unwrap();
    assert!(matches!(patch.ops[..], [Op::File { .. }]));
    let applied = apply(Some(&before), &patch).unwrap();
    assert_eq!(applied.bytes(), Some(&b"one\n2\n"[..]));
}
