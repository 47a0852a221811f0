//! Other users of the machine, and whoever talks to a socket.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use aura_api::socket;
use mothership_tests::{Team, token};

/// A user of the machine who is not the one that runs the daemon.
const NOBODY: u32 = 65_534;

#[test]
fn case_107_another_user_of_the_machine_hears_nothing() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let open = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(team.dir.path(), 0o755);
    let knock = team.dir.path().join("knock");
    // By another process: one that is started meanwhile would inherit the open copy, and an open file is not run.
    let mut copy = Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_knock")).arg(&knock).status();
    assert!(copied.unwrap().success());
    let knocks = |uid: u32, socket: &Path| {
        let mut command = Command::new(&knock);
        let output = command.arg(socket).uid(uid).gid(uid).output();
        output.expect("only root can be two users")
    };
    for (socket, answer) in [
        (alice.home.join("run/daemon.sock"), "aura.whoami/1"),
        (team.state().join("admin.sock"), "AE-REQUEST"),
    ] {
        let own = knocks(0, &socket);
        assert!(
            String::from_utf8_lossy(&own.stdout).contains(answer),
            "{own:?}"
        );
        let refused = knocks(NOBODY, &socket);
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(why.contains("PermissionDenied"), "{refused:?}");
        // Even where its owner has left every door open.
        for path in socket.ancestors().skip(1).take(3) {
            open(path, 0o755);
        }
        open(&socket, 0o666);
        let unheard = knocks(NOBODY, &socket);
        assert!(unheard.stdout.is_empty(), "{unheard:?}");
    }
}

#[test]
fn case_107_a_runtime_directory_that_another_user_made_is_not_used() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    for (name, owner, mode) in [("bob", Some(NOBODY), 0o700), ("carol", None, 0o777)] {
        let laptop = team.laptop(name);
        let run = laptop.home.join("run");
        fs::create_dir_all(&run).unwrap();
        chown(&run, owner, None).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(mode)).unwrap();
        for args in [
            &["daemon", "run"][..],
            &["up"],
            &["join", &token(&box_.ready)],
        ] {
            let refused = laptop.aura(args).fails(16, "AE-UNSAFE");
            let message = refused["error"]["message"].as_str().unwrap();
            assert!(message.contains(run.to_str().unwrap()), "{message}");
        }
        assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
        fs::remove_dir(&run).unwrap();
    }
}

#[test]
fn case_107_a_line_of_a_gigabyte_is_cut_off_and_others_are_served() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let before = alice.peak_kib();
    for (dir, name) in [
        (alice.home.join("run"), "daemon.sock"),
        (team.state(), "admin.sock"),
    ] {
        let mut stream = socket::connect(&dir, name).unwrap();
        let chunk = vec![b' '; 1 << 20];
        let sent = (0..1 << 10)
            .take_while(|_| stream.write_all(&chunk).is_ok())
            .count();
        assert!(sent < 16, "{sent} MiB were taken");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains("\"TOO_LARGE\""), "{answer}");
    }
    assert!(alice.peak_kib() < before + (8 << 10));
    alice.aura(&["status"]).ok();
    team.mothership(&["status"]).ok();
}
