//! From a saved file on one laptop to the same file on another, through real daemons and the Mothership,
//! durable in all three places; beside commit, push and pull of the same edit.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use mothership_tests::{Laptop, Team, git, token};
use serde_json::Value;

use crate::{
    Failure, Ground,
    figure::{
        Against::{One, Peer},
        Bound::AtMost,
        Figure,
    },
    host::{Disk, ms, now, percentile},
    rows::BODY,
    tree,
};

const FILES: usize = 1_000;
/// Edits of one figure.
const EDITS: usize = 30;

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let team = Team::at(tempfile::tempdir_in(ground.scratch.path())?);
    let origin = team.dir.path().join("origin");
    tree::write(&origin, FILES, BODY)?;
    tree::commit(&origin);
    let mut syncs = Disk::new(ground.scratch.path())?.syncs(BODY)?;
    // The author's disk, the Mothership's, the reader's: one after the other.
    let limit = 3.0 * percentile(&mut syncs, 50);
    let mut by_git = commit_push_pull(&team)?;
    let server = team.serve("127.0.0.1:0");
    let alice = team.founder(&server, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.synced();
    bob.synced();
    let mut seen = Watch::start(&bob)?;
    let mut saved = Times::default();
    for n in 0..EDITS {
        let begun = edit(&alice, n, "saved")?;
        saved.take(&mut seen, begun)?;
    }
    let begun = now();
    for n in 0..FILES {
        edit(&alice, n, "many")?;
    }
    let written = now();
    for _ in 0..FILES {
        seen.next("applied")?;
    }
    let many = (ms(written.elapsed()), ms(written - begun));
    alice.aura(&["config", "set", "publish", "intent"]).ok();
    let mut published = Times::default();
    for n in 0..EDITS {
        edit(&alice, n, "published")?;
        let begun = now();
        alice.aura(&["publish"]).ok();
        published.take(&mut seen, begun)?;
    }
    drop((seen, alice, bob, server));
    let mut figures = figures(limit, &mut by_git, saved, published, many);
    figures.extend(without_mothership(ground)?);
    Ok(figures)
}

/// The same between two laptops that are linked, with the Mothership and after it was killed.
fn without_mothership(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let team = Team::at(tempfile::tempdir_in(ground.scratch.path())?);
    let origin = team.dir.path().join("origin");
    tree::write(&origin, EDITS, BODY)?;
    tree::commit(&origin);
    let mut server = team.serve("127.0.0.1:0");
    let linked = |name: &str, address: &str| {
        let mut laptop = team.laptop(name);
        laptop.listen = Some(address.to_owned());
        laptop
    };
    let alice = linked("alice", "127.0.0.2:0");
    alice.join(&token(&server.ready), "alice", "live").ok();
    alice
        .aura(&["config", "set", "members.approve", "auto"])
        .ok();
    let bob = linked("bob", "127.0.0.3:0");
    let invite = token(&alice.aura(&["invite"]).ok());
    bob.join(&invite, "bob", "live").ok();
    bob.event(|event| event["text"] == "linked with alice");
    alice.synced();
    bob.synced();
    let mut seen = Watch::start(&bob)?;
    let mut round = |what: &str| {
        let mut times = Times::default();
        for n in 0..EDITS {
            let begun = edit(&alice, n, what)?;
            times.take(&mut seen, begun)?;
        }
        Ok::<_, Failure>(times)
    };
    let mut with = round("with")?;
    server.signal("-KILL");
    let mut without = round("without")?;
    let mut row = |p: usize, factor: f64| {
        let name = format!("save -> applied, the Mothership dead; the peer is alive, p{p} ms");
        Figure::new(name, percentile(&mut without.applied, p))
            .peer(Some(percentile(&mut with.applied, p)))
            .goal(AtMost, factor, Peer)
    };
    Ok(vec![row(50, 1.0), row(95, 2.0), row(99, 2.0)])
}

fn figures(
    limit: f64,
    by_git: &mut [Duration],
    mut saved: Times,
    mut published: Times,
    (many_ms, writing_ms): (f64, f64),
) -> Vec<Figure> {
    let mut row = |name: &str, times: &mut [Duration], p: usize| {
        Figure::new(format!("{name} p{p} ms"), percentile(times, p))
            .limit(limit)
            .peer(Some(percentile(by_git, p)))
    };
    vec![
        row("save -> received", &mut saved.received, 50),
        row("save -> applied", &mut saved.applied, 50).goal(AtMost, 69.0, One),
        row("save -> applied", &mut saved.applied, 99),
        row("publish -> received", &mut published.received, 50),
        row("publish -> applied", &mut published.applied, 50).goal(AtMost, 0.07, Peer),
        row("publish -> applied", &mut published.applied, 99),
        Figure::new(
            format!("{FILES} saves in {writing_ms:.0} ms -> all applied, ms"),
            many_ms,
        )
        .goal(AtMost, 475.0, One),
    ]
}

/// Changes one function of the `n`-th file; when the file was written.
fn edit(laptop: &Laptop, n: usize, what: &str) -> Result<Instant, Failure> {
    let path = laptop.repo.join(tree::small(n));
    let text = fs::read_to_string(&path)?;
    let begun = now();
    fs::write(&path, change(&text, what))?;
    Ok(begun)
}

fn change(text: &str, what: &str) -> String {
    text.replacen("    let cap =", &format!("    // {what}\n    let cap ="), 1)
}

/// What another laptop's daemon says, as it says it.
struct Watch {
    child: Child,
    events: mpsc::Receiver<(String, Instant)>,
}

impl Watch {
    fn start(laptop: &Laptop) -> Result<Self, Failure> {
        let mut child = laptop
            .command()
            .args(["watch", "--since", "0"])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                let kind = event["kind"].as_str().unwrap_or_default().to_owned();
                if sender.send((kind, now())).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, events })
    }

    /// When the next event of a kind came.
    fn next(&mut self, kind: &str) -> Result<Instant, Failure> {
        loop {
            let (found, at) = self
                .events
                .recv_timeout(Duration::from_secs(30))
                .map_err(|_| format!("no event {kind}"))?;
            if found == kind {
                return Ok(at);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[derive(Default)]
struct Times {
    received: Vec<Duration>,
    applied: Vec<Duration>,
}

impl Times {
    fn take(&mut self, seen: &mut Watch, begun: Instant) -> Result<(), Failure> {
        self.received.push(seen.next("received")? - begun);
        self.applied.push(seen.next("applied")? - begun);
        Ok(())
    }
}

/// The same edits between two clones by git alone.
fn commit_push_pull(team: &Team) -> Result<Vec<Duration>, Failure> {
    git(
        team.dir.path(),
        &["clone", "-q", "--bare", "origin", "bare"],
    );
    let clones = ["writer", "reader"].map(|name| {
        git(team.dir.path(), &["clone", "-q", "bare", name]);
        team.dir.path().join(name)
    });
    let mut times = Vec::new();
    for n in 0..EDITS {
        let path = clones[0].join(tree::small(n));
        let text = fs::read_to_string(&path)?;
        fs::write(&path, change(&text, "by git"))?;
        let begun = now();
        git(&clones[0], &["commit", "-qam", "edit"]);
        git(&clones[0], &["push", "-q"]);
        git(&clones[1], &["pull", "-q", "--ff-only"]);
        times.push(begun.elapsed());
    }
    Ok(times)
}
