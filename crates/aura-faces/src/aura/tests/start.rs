//! Starting the daemon, or not.
//!
//! Invariant: no test leaves a process behind.

use std::time::Duration;

use super::{
    super::client::{Client, Limit},
    *,
};

#[test]
fn without_autostart_the_way_to_start_it_is_named() {
    let mut laptop = Laptop::new();
    laptop.env.push(("AURA_NO_AUTOSTART", "1".into()));
    let run = laptop.run(&["peers"]);
    assert_eq!(run.exit(), 5);
    assert!(
        run.err.contains("[AE-DAEMON]") && run.err.contains("next: aura up"),
        "{}",
        run.err
    );
    assert!(!laptop.home().root().exists());
}

#[test]
fn a_device_on_no_team_starts_no_daemon_to_say_so() {
    let laptop = Laptop::new();
    for args in [
        &["status", "--json"][..],
        &["whoami", "--json"],
        &["join", "--json"],
    ] {
        let run = laptop.run(args);
        assert_eq!(
            (run.exit(), &run.json()["error"]["id"]),
            (3, &json!("AE-NOT-JOINED"))
        );
    }
    assert!(!laptop.home().root().exists());
    assert_eq!(laptop.run(&["down", "--json"]).json()["was_running"], false);
    assert_eq!(
        laptop.run(&["version", "--json"]).json()["daemon"],
        Value::Null
    );
}

#[test]
fn what_a_daemon_says_when_it_cannot_start_is_passed_on() {
    let mut laptop = Laptop::new();
    laptop.script("echo 'error: old news [X]' >&2; echo \"error: $1 $2 in $AURA_HOME [AE-UNSAFE]\" >&2; exit 16");
    let run = laptop.run(&["up", "--json"]);
    assert_eq!(
        (run.exit(), &run.json()["error"]["id"]),
        (16, &json!("AE-UNSAFE"))
    );
    let home = laptop.home();
    let expected = format!("daemon run in {}", home.root().display());
    assert!(run.out.contains(&expected), "{}", run.out);
    let mode = fs::metadata(home.log_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        laptop.run(&["daemon", "logs", "-n", "1", "--json"]).json()["lines"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_daemon_that_took_the_lock_and_died_is_not_waited_for() {
    let mut laptop = Laptop::new();
    laptop.script(
        "[ -e $AURA_HOME/locked ] && { echo 'error: the lock was free' >&2; exit 14; }; : > $AURA_HOME/locked; exit 12",
    );
    let run = laptop.run(&["up", "--json"]);
    assert_eq!(run.exit(), 14, "{}", run.out);
}

#[test]
fn a_started_daemon_does_not_get_the_token_nor_the_callers_git_directory() {
    let mut laptop = Laptop::new();
    laptop
        .script("echo \"error: token<$AURA_JOIN_TOKEN> git<$GIT_DIR> log<$AURA_LOG>\" >&2; exit 1");
    laptop.env.push(("AURA_JOIN_TOKEN", "ms1-abc-9d".into()));
    laptop.env.push(("GIT_DIR", "/elsewhere".into()));
    laptop.env.push(("AURA_LOG", "debug".into()));
    let run = laptop.run(&["up", "--json"]);
    assert_eq!(run.exit(), 5);
    assert!(run.out.contains("token<> git<> log<debug>"), "{}", run.out);
}

#[test]
fn an_unsafe_home_is_refused_before_anything_is_started() {
    let laptop = Laptop::new();
    fs::create_dir(laptop.home().root()).unwrap();
    fs::set_permissions(laptop.home().root(), fs::Permissions::from_mode(0o777)).unwrap();
    let run = laptop.run(&["up", "--json"]);
    assert_eq!(
        (run.exit(), &run.json()["error"]["id"]),
        (16, &json!("AE-UNSAFE"))
    );
    assert!(!laptop.home().log_file().exists());
}

#[test]
fn a_daemon_that_goes_on_while_it_starts_is_waited_for_and_one_that_does_not_is_stuck() {
    let mut laptop = Laptop::new();
    // As if another command had started it: the lock is taken, and there is no socket yet.
    laptop.script("printf '0 it reads 0' > $AURA_HOME/run/starting; exit 12");
    let home = laptop.home();
    let patience = Duration::from_secs(1);
    let client = || {
        let limit = Limit::from_now(None);
        let client = Client::new(home.clone(), laptop.exe.clone(), Env::default(), limit);
        client.with_patience(patience)
    };
    let enough = Limit::from_now(Some(patience * 2));
    let (mut heard, mut listener) = (Vec::new(), None);
    let reached = client().start(&mut |what| {
        heard.push(what.to_owned());
        if enough.is_over() {
            listener = socket::bind(&home.run_dir(), DAEMON_SOCKET).ok();
        }
        let turn = heard.len();
        fs::write(home.starting_file(), format!("{turn} it reads {turn}")).unwrap();
    });
    assert!(reached.is_ok(), "{reached:?}");
    assert_eq!(heard[0], "it reads 0");
    drop(listener);
    fs::remove_file(home.run_dir().join(DAEMON_SOCKET)).unwrap();
    let stuck = client().start(&mut |_| {}).unwrap_err();
    assert_eq!(stuck.id, "AE-DAEMON-STUCK");
}
