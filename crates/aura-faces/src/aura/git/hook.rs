//! What a hook of git asks: whether somebody's zone or an open conflict is in what is committed or pushed.
//!
//! Invariants:
//! - a daemon that is away, or slow, keeps nobody from committing or pushing: a note says so;
//! - no daemon is started, and nothing is changed;
//! - only an open conflict in what is pushed ends a push, and git's own `--no-verify` passes it by.

use std::{collections::BTreeSet, io::BufRead, time::Duration};

use aura_api::{Call, Exit, Failure, docs};

use super::{Git, fields};
use crate::{
    aura::{
        Face,
        client::{self, Limit},
    },
    common::to_value,
    escape,
    output::Outcome,
};

/// How long the daemon may take to answer: people wait for it at every commit.
const PATIENCE: Duration = Duration::from_millis(500);
/// Files that are asked about; who commits more is told that not all were looked at.
const PATHS_MAX: usize = 5_000;
/// Lines that are said.
const SAID_MAX: usize = 10;

impl Face<'_, '_> {
    /// `git-hook`.
    pub(in crate::aura) fn git_hook(&mut self, name: &str, given: &[String]) -> Outcome {
        if self.env.is_on("AURA_SKIP") {
            return Ok(Exit::DONE);
        }
        let is_push = name == "pre-push";
        let paths = match name {
            "pre-commit" => staged(self.git()),
            "pre-push" => {
                let refs = lines(self.input);
                pushed(
                    self.git(),
                    given.first().map_or("origin", String::as_str),
                    &refs,
                )
            }
            _ => {
                let message = format!("{name} is no hook that aura has");
                return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                    .next("aura init --show", "the hooks and what they run")
                    .into());
            }
        };
        let mut paths: Vec<String> = paths.into_iter().collect();
        if PATHS_MAX < paths.len() {
            self.screen.note(&format!(
                "aura looked at {PATHS_MAX} of {} files",
                paths.len()
            ));
            paths.truncate(PATHS_MAX);
        }
        if paths.is_empty() {
            return Ok(Exit::DONE);
        }
        match self.touching(paths) {
            Ok(found) if self.screen.is_json() => {
                self.screen.document(&to_value(&found))?;
                Ok(Exit::DONE)
            }
            Ok(found) => Ok(self.tell_what_is_touched(&found, is_push)),
            Err(why) => {
                self.screen
                    .note(&format!("{why}; zones and conflicts were not looked at"));
                Ok(Exit::DONE)
            }
        }
    }

    /// What the daemon that runs knows of these files.
    fn touching(&mut self, paths: Vec<String>) -> Result<docs::Touching, String> {
        let said = |failure: Failure| failure.message;
        let client = self.client().map_err(said)?;
        let stream = client.running().map_err(said)?;
        let stream = stream.ok_or_else(|| "the daemon of aura does not run".to_owned())?;
        let request = self.request(Call::Touching { paths }).map_err(said)?;
        let limit = Limit::from_now(Some(PATIENCE));
        let document = client::ask(stream, &request, limit, &mut |_| Ok(()));
        let document = document.map_err(|_| "the daemon of aura does not answer".to_owned())?;
        serde_json::from_value(document).map_err(|error| error.to_string())
    }

    fn tell_what_is_touched(&mut self, found: &docs::Touching, is_push: bool) -> Exit {
        let zones = found.zones.iter().map(|zone| {
            let why = escape::line(&zone.why);
            let covers = escape::line(&zone.covers.join(", "));
            let holder = escape::line(&zone.holder);
            format!("{} of {holder} blocks {covers}: {why}", zone.id)
        });
        let conflicts = found.conflicts.iter().map(|conflict| {
            let (symbol, theirs) = (escape::line(&conflict.symbol), &conflict.theirs.author);
            format!(
                "{} is open: {symbol}, with {}",
                conflict.id,
                escape::line(theirs)
            )
        });
        // Whoever pushes has committed: of zones it was told then.
        let lines: Vec<String> = match is_push {
            true => conflicts.collect(),
            false => zones.chain(conflicts).collect(),
        };
        for line in lines.iter().take(SAID_MAX) {
            self.screen.note(line);
        }
        if SAID_MAX < lines.len() {
            self.screen
                .note(&format!("and {} more", lines.len() - SAID_MAX));
        }
        if !is_push || found.conflicts.is_empty() {
            return Exit::DONE;
        }
        let count = found.conflicts.len();
        let what = if count == 1 {
            "conflict touches"
        } else {
            "conflicts touch"
        };
        self.screen.note(&format!(
            "{count} {what} what you are pushing  [AE-CONFLICT-OPEN]\nnext: aura conflicts\nnext: git push --no-verify"
        ));
        Exit::CONFLICT
    }
}

fn lines(input: &mut dyn BufRead) -> Vec<String> {
    input.lines().map_while(Result::ok).take(1_000).collect()
}

fn texts(listing: &[u8]) -> BTreeSet<String> {
    let names = fields(listing).map(|name| String::from_utf8_lossy(name).trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// The files that the next commit changes.
fn staged(git: Git<'_>) -> BTreeSet<String> {
    let listing = git.ask(&["diff", "--cached", "--name-only", "-z"]);
    listing.map(|listing| texts(&listing)).unwrap_or_default()
}

/// The files that a push changes, from the lines that git gives: local name and commit, remote name and commit.
fn pushed(git: Git<'_>, remote: &str, refs: &[String]) -> BTreeSet<String> {
    let is_none = |commit: &str| commit.bytes().all(|byte| byte == b'0');
    let mut paths = BTreeSet::new();
    for line in refs {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, here, _, there] = words[..] else {
            continue;
        };
        if is_none(here) {
            continue;
        }
        let known = match is_none(there) {
            true => None,
            false => git.ask(&["diff", "--name-only", "-z", there, here]).ok(),
        };
        // Nothing of it is there, or not here: all that no branch of theirs has.
        let listing = known.or_else(|| {
            let others = format!("--remotes={remote}");
            let args = [
                "log",
                "--format=",
                "--name-only",
                "-z",
                here,
                "--not",
                &others,
            ];
            git.ask(&args).ok()
        });
        paths.extend(listing.map(|listing| texts(&listing)).unwrap_or_default());
    }
    paths
}
