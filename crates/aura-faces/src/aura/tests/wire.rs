//! JSON documents, usage errors and closed pipes.
//!
//! Invariant: success and failure are one document each.

use super::*;

#[test]
fn json_passes_fields_on_that_this_version_does_not_know() {
    let laptop = Laptop::new();
    laptop.daemon(|_| done(json!({"schema": "aura.peers/1", "peers": [], "new": 1})));
    assert_eq!(laptop.run(&["peers", "--json"]).json()["new"], 1);
    let narrowed = laptop.run(&["peers", "--json=new"]).json();
    assert_eq!(narrowed, json!({"schema": "aura.peers/1", "new": 1}));
}

#[test]
fn a_failure_is_one_document_with_the_daemons_exit_code() {
    let laptop = Laptop::new();
    laptop.daemon(|_| {
        let failure = Failure::new("BEHIND_PEERS", Exit::STALE, "moved").next("aura pull", "first");
        vec![Reply::Failed(failure.retryable())]
    });
    let run = laptop.run(&["publish", "--json"]);
    assert_eq!(run.exit(), 9);
    let error = &run.json()["error"];
    assert_eq!(
        (&error["id"], &error["exit"]),
        (&json!("BEHIND_PEERS"), &json!(9))
    );
    assert_eq!(error["next"], json!([{"cmd": "aura pull", "why": "first"}]));
    let run = laptop.run(&["publish"]);
    assert_eq!(
        run.err,
        "error: moved  [BEHIND_PEERS]\nnext: aura pull\n      first\n"
    );
    assert_eq!(run.out, "");
}

#[test]
fn wrong_usage_is_a_document_too_and_never_repeats_a_token() {
    let laptop = Laptop::new();
    for args in [
        &["--json", "nonsense"][..],
        &["join", "ms1-abcdef-xy", "ms1-ghijkl-zz", "--json"],
        &["resolve", "c-1", "--json"],
        &["resolve", "c-1", "--mine", "--theirs", "--json"],
        &["wait", "--for", "rain", "--json"],
        &["invite", "--ttl", "0", "--json"],
        &["invite", "--ttl", "-1", "--json"],
        &["invite", "--ttl", "999d", "--json"],
        &["invite", "--uses", "0", "--json"],
        &["status", "--timeout", "5", "--json"],
        &["diff", "--path", "x", "--json"],
        &["-C", "/no/such/dir", "status", "--json"],
    ] {
        let run = laptop.run(args);
        assert_eq!(run.exit(), 2, "{args:?}: {}", run.out);
        assert_eq!(run.json()["error"]["id"], "AE-USAGE", "{args:?}");
        assert!(!run.out.contains("ghijkl") && !run.err.contains("ghijkl"));
        let human: Vec<&str> = args
            .iter()
            .copied()
            .filter(|arg| *arg != "--json")
            .collect();
        let run = laptop.run(&human);
        assert_eq!((run.exit(), run.out.as_str()), (2, ""), "{args:?}");
        assert!(!run.err.contains("ghijkl"), "{}", run.err);
    }
}

#[test]
fn a_closed_pipe_ends_with_141_and_without_a_word() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let laptop = Laptop::new();
    laptop.daemon(|_| done(value(&status())));
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["help"],
        &["--help"],
        &["nope", "--json"],
    ] {
        let (ended, err) = laptop.run_into(args, &mut Closed);
        assert_eq!((ended, err.as_str()), (Ended::PipeClosed, ""), "{args:?}");
    }
}
