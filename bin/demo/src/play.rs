//! The play, step by step: each says what it does, does it, and checks what came of it.
//!
//! Invariant: a line with a tick is printed only after its claim was checked.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    time::Instant,
};

use serde_json::Value;

use crate::{
    native,
    stage::{Laptop, Stage, Told, now, until},
};

/// Plays everything; the first claim that does not hold ends it.
/// `tree` is a directory of sources to play in, if one was named.
pub(crate) fn play(tree: Option<&Path>) -> Told<()> {
    let start = now();
    let (mut stage, files) = Stage::build(tree)?;
    title("A repository and three clones of it: alice, bob, carol");
    tick(&format!("{files} files, committed and cloned"));
    joins(&mut stage)?;
    travels(&stage)?;
    observes(&stage)?;
    conflicts(&stage)?;
    undoes(&stage)?;
    links(&stage)?;
    survives(&mut stage)?;
    agrees(&stage)?;
    if tree.is_some() {
        native::travel(&stage)?;
    }
    is_blind(&stage)?;
    drop(stage);
    title("On your own repository");
    say(
        "  mothership serve                      # on a machine that all can reach; prints an invite",
    );
    say("  aura join ms1-… --mode live           # in each clone");
    say(&format!(
        "\nEverything held, in {:.1} s.",
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn joins(stage: &mut Stage) -> Told<()> {
    title("The Mothership starts; everybody joins");
    let ready = stage.start()?;
    let token = text(&ready, "token")?;
    tick(&format!(
        "listening on {}, one line to join",
        ready["listen"][0].as_str().unwrap_or("?")
    ));
    let [alice, ..] = &stage.laptops;
    join(alice, token, "live")?;
    alice.ask(&["config", "set", "members.approve", "auto"])?;
    for (laptop, mode) in stage.laptops[1..].iter().zip(["live", "observe"]) {
        let invite = stage.mothership(&["invite"])?;
        join(laptop, text(&invite, "token")?, mode)?;
    }
    for laptop in &stage.laptops {
        until(&format!("{} reads the team's code", laptop.name), || {
            let is_in = laptop.ask(&["whoami"])?["reads"] == true;
            let is_up = laptop.ask(&["status"])?["link"]["state"] == "online";
            Ok((is_in && is_up).then_some(()))
        })?;
    }
    tick("all three hold the team's key, which the Mothership never had");
    Ok(())
}

fn join(laptop: &Laptop, token: &str, mode: &str) -> Told<()> {
    let joined = laptop.ask(&[
        "join",
        token,
        "--name",
        laptop.name,
        "--mode",
        mode,
        "--no-service",
    ])?;
    let units = joined["units"].as_u64().unwrap_or(0);
    check(units > 3, "the join indexed the sources")?;
    let ms = &joined["index_ms"];
    tick(&format!(
        "{} joined in mode {mode}: {units} units indexed in {ms} ms",
        laptop.name
    ));
    Ok(())
}

fn travels(stage: &Stage) -> Told<()> {
    title("alice changes one function; bob's file follows");
    let [alice, bob, carol] = &stage.laptops;
    let before = bob.text()?;
    let start = now();
    alice.edit("let base = 450;", "let base = 490;")?;
    alice.ask(&["publish", "-m", "carriers raised the base price"])?;
    arrives(bob, "let base = 490;")?;
    tick(&format!("in bob's file {} after alice saved", since(start)));
    show_diff(&before, &bob.text()?);
    let log = bob.ask(&["log"])?;
    let newest = &log["ops"][0];
    check(newest["author"] == "alice", "bob's history names alice")?;
    tick(&format!(
        "bob's history: {} by alice",
        text(newest, "symbol")?
    ));
    check(
        carol.text()? == before,
        "an observer's file was not touched",
    )
}

fn observes(stage: &Stage) -> Told<()> {
    title("carol only observes: she sees it waiting, and pulls when she likes");
    let carol = &stage.laptops[2];
    let waiting = until("carol sees a patch waiting", || {
        let status = carol.ask(&["status"])?;
        let patches = status["incoming"]["patches"].as_u64().unwrap_or(0);
        Ok((patches > 0).then_some(patches))
    })?;
    check(waiting == 1, "exactly one patch waits")?;
    check(
        carol.text()?.contains("let base = 450;"),
        "carol's file is as she left it",
    )?;
    tick("1 patch from alice waits; the file is as carol left it");
    let pulled = carol.ask(&["pull"])?;
    check(pulled["applied"] == 1, "the pull wrote one unit")?;
    check(
        carol.text()?.contains("let base = 490;"),
        "the pull brought alice's text",
    )?;
    tick("pulled");
    Ok(())
}

fn conflicts(stage: &Stage) -> Told<()> {
    title("alice and bob change the same line at the same time");
    let [alice, bob, _] = &stage.laptops;
    bob.ask(&["mode", "observe"])?;
    alice.edit("kilometres / 400", "kilometres / 500")?;
    bob.edit("kilometres / 400", "kilometres / 300")?;
    alice.ask(&["publish"])?;
    bob.aura(&["publish"])?;
    let id = until("bob is told of the conflict", || {
        bob.ask(&["pull"])
            .or_else(|_| bob.aura(&["pull"]).map(|ran| ran.document))?;
        let open = bob.ask(&["conflicts"])?;
        Ok(open["conflicts"][0]["id"].as_str().map(ToOwned::to_owned))
    })?;
    let shown = bob.ask(&["conflicts", "show", &id])?;
    let conflict = &shown["conflicts"][0];
    for (side, line) in [("base", "/ 400"), ("mine", "/ 300"), ("theirs", "/ 500")] {
        let body = text(&conflict[side], "text")?;
        check(
            body.contains(line),
            &format!("the side `{side}` shows {line}"),
        )?;
        let line = body
            .lines()
            .find(|found| found.contains(line))
            .unwrap_or_default();
        say(&format!("      {side:<7} {}", line.trim()));
    }
    check(
        bob.text()?.contains("kilometres / 300"),
        "nobody wrote over bob's file",
    )?;
    tick(&format!(
        "{id}: both sides kept, no markers in anybody's file"
    ));
    bob.ask(&["resolve", &id, "--theirs"])?;
    bob.ask(&["mode", "live"])?;
    for laptop in [bob, alice] {
        arrives(laptop, "kilometres / 500")?;
        until(&format!("{} has no open conflict", laptop.name), || {
            let open = laptop.ask(&["conflicts"])?;
            Ok(open["conflicts"]
                .as_array()
                .is_some_and(Vec::is_empty)
                .then_some(()))
        })?;
    }
    tick("bob took alice's: settled for both");
    Ok(())
}

fn undoes(stage: &Stage) -> Told<()> {
    title("alice publishes a mistake and takes it back");
    let [alice, bob, _] = &stage.laptops;
    alice.edit("value / 100", "value / 0")?;
    alice.ask(&["publish"])?;
    arrives(bob, "value / 0")?;
    let start = now();
    alice.ask(&["undo"])?;
    arrives(alice, "value / 100")?;
    arrives(bob, "value / 100")?;
    tick(&format!("gone from both files {} later", since(start)));
    Ok(())
}

fn links(stage: &Stage) -> Told<()> {
    title("The laptops are linked with each other as well");
    for laptop in &stage.laptops {
        for other in stage
            .laptops
            .iter()
            .filter(|other| other.name != laptop.name)
        {
            let path = until(
                &format!("{} is linked with {}", laptop.name, other.name),
                || {
                    let peers = laptop.ask(&["peers"])?;
                    let rows = peers["peers"].as_array().cloned().unwrap_or_default();
                    let row = rows.into_iter().find(|row| row["name"] == other.name);
                    let path = row.and_then(|row| row["path"].as_str().map(ToOwned::to_owned));
                    Ok(path.filter(|path| path.starts_with("direct")))
                },
            )?;
            tick(&format!("{} to {}: {path}", laptop.name, other.name));
        }
    }
    Ok(())
}

fn survives(stage: &mut Stage) -> Told<()> {
    title("The Mothership loses power; edits keep travelling");
    stage.pull_the_plug()?;
    let [alice, bob, _] = &stage.laptops;
    for laptop in [alice, bob] {
        until(&format!("{} notices", laptop.name), || {
            Ok((laptop.ask(&["status"])?["link"]["state"] != "online").then_some(()))
        })?;
    }
    for (by, to, from, line) in [
        (alice, bob, "grams > 31_500", "grams > 30_000"),
        (bob, alice, "let per_kilo = 120;", "let per_kilo = 135;"),
    ] {
        let start = now();
        by.edit(from, line)?;
        let published = by.ask(&["publish", "--no-wait"])?;
        check(
            text(&published, "state")? != "published",
            "nothing counts as published while the Mothership has not placed it",
        )?;
        arrives(to, line)?;
        tick(&format!(
            "{}'s edit is in {}'s file {} after it was saved, straight from laptop to laptop",
            by.name,
            to.name,
            since(start)
        ));
    }
    let start = now();
    stage.start()?;
    for laptop in &stage.laptops {
        until(
            &format!("{} has a place for everything", laptop.name),
            || {
                let log = laptop.ask(&["log"])?;
                let ops = log["ops"].as_array().cloned().unwrap_or_default();
                let is_placed = !ops.is_empty() && ops.iter().all(|op| op["seq"].is_u64());
                Ok(is_placed.then_some(()))
            },
        )?;
    }
    tick(&format!(
        "started again: everything has its place in the log after {}",
        since(start)
    ));
    Ok(())
}

fn agrees(stage: &Stage) -> Told<()> {
    title("carol catches up with everything at once");
    let [alice, bob, carol] = &stage.laptops;
    carol.ask(&["mode", "live"])?;
    carol.aura(&["pull"])?;
    until("the three files are equal", || {
        let [a, b, c] = [alice.text()?, bob.text()?, carol.text()?];
        Ok((a == b && b == c).then_some(()))
    })?;
    tick("the three files are equal, byte for byte");
    Ok(())
}

fn is_blind(stage: &Stage) -> Told<()> {
    title("What the Mothership knows");
    let verified = stage.mothership(&["wal", "verify"])?;
    check(verified["ok"] == true, "the log verifies")?;
    let (records, entries) = (&verified["records"], &verified["entries"]);
    tick(&format!(
        "its log verifies: {records} records, {entries} signed entries"
    ));
    for word in ["per_kilo", "grams", "parcel.rs"] {
        check(
            !holds(&stage.state_dir(), word)?,
            &format!("`{word}` is nowhere on its disk"),
        )?;
    }
    tick("no line, name or path of the code is anywhere on its disk");
    Ok(())
}

/// Whether any file below a directory holds a word in the clear.
fn holds(dir: &Path, word: &str) -> Told<bool> {
    let told = |error: io::Error| error.to_string();
    for found in fs::read_dir(dir).map_err(told)? {
        let found = found.map_err(told)?;
        let kind = found.file_type().map_err(told)?;
        if kind.is_dir() && holds(&found.path(), word)? {
            return Ok(true);
        }
        if kind.is_file() {
            let bytes = fs::read(found.path()).map_err(told)?;
            if bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn arrives(laptop: &Laptop, line: &str) -> Told<()> {
    until(&format!("`{line}` in {}'s file", laptop.name), || {
        // A file that is being replaced may be away for a moment.
        Ok(laptop
            .text()
            .is_ok_and(|text| text.contains(line))
            .then_some(()))
    })
}

pub(crate) fn check(holds: bool, claim: &str) -> Told<()> {
    if holds {
        Ok(())
    } else {
        Err(format!("not so: {claim}"))
    }
}

fn text<'a>(document: &'a Value, field: &str) -> Told<&'a str> {
    document[field]
        .as_str()
        .ok_or_else(|| format!("no text `{field}` in {document}"))
}

pub(crate) fn since(start: Instant) -> String {
    format!("{} ms", start.elapsed().as_millis())
}

fn show_diff(before: &str, after: &str) {
    for line in before
        .lines()
        .filter(|line| !after.lines().any(|other| other == *line))
    {
        say(&format!("      - {line}"));
    }
    for line in after
        .lines()
        .filter(|line| !before.lines().any(|other| other == *line))
    {
        say(&format!("      + {line}"));
    }
}

pub(crate) fn title(text: &str) {
    say(&format!("\n{text}"));
}

pub(crate) fn tick(text: &str) {
    say(&format!("  ✓ {text}"));
}

/// Prints a line; a reader that went away does not stop the checks.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").ok();
}
