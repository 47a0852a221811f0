//! What a person waits for at each step: the prompt, the status, git's hooks, a join; beside the start of a program
//! that does nothing.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use mothership_tests::{Team, token};

use crate::{
    Failure, Ground,
    figure::{Against::One, Bound::AtMost, Figure},
    host::{ms, now, percentile},
    tree,
};

/// Rounds of one figure.
const TIMES: usize = 40;
const FILES: usize = 100;
const UNITS_PER_FILE: usize = 20;

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let team = Team::at(tempfile::tempdir_in(ground.scratch.path())?);
    let origin = team.dir.path().join("origin");
    write(&origin)?;
    tree::commit(&origin);
    let server = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let begun = now();
    alice.join(&token(&server.ready), "alice", "live").ok();
    let join_s = begun.elapsed().as_secs_f64();
    alice.synced();
    let mut nothing = times(|| Command::new("true"))?;
    let limit = percentile(&mut nothing, 50);
    let of = |args: &[&str]| {
        let mut command = alice.plain_command();
        command.args(args);
        command
    };
    let hook = || of(&["git-hook", "pre-commit"]);
    let mut figures = Vec::new();
    let mut add = |name: &str, goal_ms: f64, mut taken: Vec<Duration>| {
        for of in [50, 99] {
            let taken_ms = percentile(&mut taken, of);
            let figure = Figure::new(format!("{name}: p{of} ms"), taken_ms).limit(limit);
            figures.push(figure.goal(AtMost, goal_ms, One));
        }
    };
    add("aura prompt", 5.0, times(|| of(&["prompt"]))?);
    add("aura status", 50.0, times(|| of(&["status"]))?);
    add("pre-commit", 100.0, times(hook)?);
    alice.aura(&["down"]).ok();
    add("pre-commit, the daemon away", 100.0, times(hook)?);
    let begun = now();
    alice.aura(&["status"]).ok();
    let first_ms = ms(begun.elapsed());
    let units = FILES * UNITS_PER_FILE;
    figures.push(Figure::new(
        "aura status that starts the daemon: ms",
        first_ms,
    ));
    figures.push(
        Figure::new(format!("aura join with {units} units: s"), join_s).goal(AtMost, 5.0, One),
    );
    Ok(figures)
}

/// A tree of functions.
fn write(origin: &Path) -> Result<(), Failure> {
    fs::create_dir_all(origin.join("src"))?;
    for file in 0..FILES {
        let mut text = String::new();
        for unit in 0..UNITS_PER_FILE {
            writeln!(
                text,
                "pub fn f{unit}(a: u32) -> u32 {{\n    a + {unit}\n}}\n"
            )?;
        }
        fs::write(origin.join("src").join(format!("m{file}.rs")), text)?;
    }
    Ok(())
}

fn times(command: impl Fn() -> Command) -> Result<Vec<Duration>, Failure> {
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        let begun = now();
        let output = command().output()?;
        taken.push(begun.elapsed());
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
    }
    Ok(taken)
}
