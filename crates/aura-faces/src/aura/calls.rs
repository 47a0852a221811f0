//! Commands that the daemon answers.
//!
//! Invariant: a document is printed as it came; what people see is made from the same document.

use std::{
    io::{BufRead, Read},
    time::Duration,
};

use aura_api::{Call, Exit, Failure, Next, Reply, docs};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Face,
    args::{Config, Conflicts, ConflictsWhat, Diff, Impact, Invite, Join, Members, Pause, Pull},
    client::{self, Limit, not_understood},
    device, local, show, status, token,
};
use crate::{
    common::{self, answer, to_value},
    duration, escape,
    output::{Outcome, Stop, View},
};

/// How long `wait` waits without `--timeout`.
const WAIT: Duration = Duration::from_secs(60);
/// How long another device may take to answer.
const PING: Duration = Duration::from_secs(5);
/// How much later than the daemon's own answer a `wait` is given up.
const WAIT_MARGIN: Duration = Duration::from_secs(10);

impl Face<'_, '_> {
    /// Asks the daemon, starting it if need be.
    pub(super) fn ask(&mut self, call: Call) -> Result<Value, Stop> {
        let client = self.client()?;
        let stream = client.reach(&mut |what| self.screen.note(&starting(what)))?;
        let request = self.request(call)?;
        let mut progress = Progress::new(self.screen.draws_progress());
        client::ask(stream, &request, self.limit, &mut |reply| {
            if let Some(line) = progress.show(reply) {
                self.screen.detail(&line);
            }
            Ok(())
        })
    }

    /// Prints an answer; `human` makes the text from its shape.
    pub(super) fn say<T: DeserializeOwned>(
        &mut self,
        document: &Value,
        human: impl FnOnce(&T, &View) -> String,
    ) -> Result<Option<T>, Stop> {
        let shape = serde_json::from_value::<T>(document.clone()).ok();
        if self.screen.is_json() {
            self.screen.document(document)?;
            return Ok(shape);
        }
        let Some(shape) = shape else {
            return Err(not_understood("a known document").into());
        };
        let text = human(&shape, &self.screen.view());
        self.screen.text(&text)?;
        Ok(Some(shape))
    }

    pub(super) fn simple<T: DeserializeOwned>(
        &mut self,
        call: Call,
        human: impl FnOnce(&T, &View) -> String,
    ) -> Outcome {
        let document = self.ask(call)?;
        self.say(&document, human)?;
        Ok(Exit::DONE)
    }

    pub(super) fn next(&mut self, steps: &[Next]) -> Result<(), Stop> {
        if self.screen.is_json() {
            Ok(())
        } else {
            self.screen.next(steps)
        }
    }

    pub(super) fn config(&mut self, what: Config) -> Outcome {
        match what {
            Config::List => self.simple(Call::ConfigGet { key: None }, show::settings),
            Config::Set { key, value } => {
                self.simple(Call::ConfigSet { key, value }, show::settings)
            }
            Config::Get { key } => {
                let document = self.ask(Call::ConfigGet {
                    key: Some(key.clone()),
                })?;
                let settings = document.get("settings").and_then(Value::as_array);
                if settings.is_none_or(Vec::is_empty) {
                    let message = format!("there is no setting {key}");
                    return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                        .next("aura config list", "the settings and their values")
                        .into());
                }
                self.say(&document, show::setting_values)?;
                Ok(Exit::DONE)
            }
        }
    }

    pub(super) fn conflicts(&mut self, args: Conflicts) -> Outcome {
        let Some(ConflictsWhat::Show { id }) = args.what else {
            let document = self.ask(Call::Conflicts { id: None })?;
            let shape = self.say(&document, show::conflicts)?;
            let is_open = shape.is_some_and(|shape| !shape.conflicts.is_empty());
            let is_bad = is_open && args.exit_code;
            return Ok(if is_bad { Exit::CONFLICT } else { Exit::DONE });
        };
        self.simple(Call::Conflicts { id: Some(id) }, show::conflict_in_full)
    }

    pub(super) fn diff(&mut self, args: Diff) -> Outcome {
        if let Some([before, after]) = args.files.as_deref() {
            return local::diff(self.screen, &self.dir, before, after, args.path.as_deref());
        }
        self.simple(
            Call::Diff {
                symbols: args.symbols,
            },
            show::diff,
        )
    }

    pub(super) fn down(&mut self) -> Outcome {
        let was_running = self.stop()?;
        let document = docs::Down {
            schema: docs::Down::SCHEMA.to_owned(),
            was_running,
        };
        answer(self.screen, &to_value(&document), |_| {
            if was_running {
                "the daemon has stopped"
            } else {
                "no daemon was running"
            }
            .to_owned()
        })?;
        Ok(Exit::DONE)
    }

    fn stop(&mut self) -> Result<bool, Stop> {
        let Some(stream) = self.client()?.running()? else {
            return Ok(false);
        };
        let until_gone = stream.try_clone().ok();
        let request = self.request(Call::Down)?;
        client::ask(stream, &request, self.limit, &mut |_| Ok(()))?;
        if let Some(stream) = until_gone {
            client::wait_for_end(stream)?;
        }
        Ok(true)
    }

    pub(super) fn up(&mut self) -> Outcome {
        let client = self.client()?;
        let stream = match client.running()? {
            Some(stream) => stream,
            None => client.start(&mut |what| self.screen.note(&starting(what)))?,
        };
        let request = self.request(Call::Hello)?;
        let document = client::ask(stream, &request, self.limit, &mut |_| Ok(()))?;
        self.say(&document, show::hello)?;
        Ok(Exit::DONE)
    }

    pub(super) fn restart(&mut self) -> Outcome {
        self.stop()?;
        self.up()
    }

    pub(super) fn logs(&mut self, lines: usize) -> Outcome {
        let client = self.client()?;
        let text = client.log_tail(0).map_err(|error| {
            let message = format!("{}: {error}", client.home.log_file().display());
            Failure::new("AE-NO-LOG", Exit::FAILED, message).next("aura up", "starts the daemon")
        })?;
        let all: Vec<String> = text.lines().map(escape::line).collect();
        let newest = &all[all.len().saturating_sub(lines)..];
        let document = docs::DaemonLogs {
            schema: docs::DaemonLogs::SCHEMA.to_owned(),
            lines: newest.to_vec(),
        };
        answer(self.screen, &to_value(&document), |_| newest.join("\n"))?;
        Ok(Exit::DONE)
    }

    pub(super) fn invite(&mut self, args: Invite) -> Outcome {
        let call = Call::Invite {
            name: args.name,
            role: args.role,
            uses: args.uses,
            ttl_s: args.ttl.as_secs(),
        };
        let document = self.ask(call)?;
        let is_quiet = self.screen.is_quiet();
        let mut undrawn = None;
        self.say(&document, |doc: &docs::Invite, view| {
            let invite = show::Invited {
                token: &doc.token,
                expires: &doc.expires,
                name: doc.name.as_deref(),
                uses: doc.uses,
                needs_approval: doc.needs_approval,
            };
            if is_quiet {
                return escape::line(&doc.token);
            }
            let (text, why_not) = invite.shown(view, args.qr);
            undrawn = why_not;
            text
        })?;
        undrawn.iter().for_each(|why| self.screen.note(why));
        Ok(Exit::DONE)
    }

    pub(super) fn join(&mut self, args: Join) -> Outcome {
        let variable = self.env.get("AURA_JOIN_TOKEN").map(ToOwned::to_owned);
        let token = token::read(
            args.token.as_deref(),
            variable.as_deref(),
            &self.dir,
            self.input,
        )?;
        if token.is_none() && !self.home()?.has_identity() {
            let message = "this device is on no team, and no token was given";
            return Err(Failure::new("AE-NOT-JOINED", Exit::NOT_SET_UP, message)
                .next("aura join TOKEN", "the line that the mothership printed")
                .next(
                    "aura join -",
                    "reads the token from standard input; also AURA_JOIN_TOKEN",
                )
                .into());
        }
        let has_token = token.is_some();
        let call = Call::Join {
            token,
            name: args.name,
            device: device::name(&self.env, &device::host()),
            mode: args.mode,
            dry_run: args.dry_run,
        };
        let mut document = self.ask(call)?;
        if document.is_null() {
            let document = docs::JoinChecked {
                schema: docs::JoinChecked::SCHEMA.to_owned(),
                state: "dry_run".to_owned(),
            };
            answer(self.screen, &to_value(&document), |_| {
                let reads = if has_token {
                    "the token reads well; "
                } else {
                    ""
                };
                format!("{reads}nothing was done")
            })?;
            return Ok(Exit::DONE);
        }
        if let Some(joined) = document.as_object_mut().filter(|_| !args.no_git) {
            joined.insert("git".to_owned(), to_value(&self.set_git_up()));
        }
        let is_quiet = self.screen.is_quiet();
        let joined = self.say(&document, |doc: &docs::Joined, view| {
            if is_quiet {
                show::joined_in_short(doc)
            } else {
                show::joined(doc, has_token, view)
            }
        })?;
        if let Some(joined) = joined {
            self.next(&joined.next)?;
        }
        Ok(Exit::DONE)
    }

    pub(super) fn impact(&mut self, symbol: Option<String>, what: Option<Impact>) -> Outcome {
        let (ack, snooze) = match what {
            Some(Impact::Ack { ids }) => (ids, None),
            Some(Impact::Snooze { time, ids }) => (ids, Some(time)),
            None => (Vec::new(), None),
        };
        let call = Call::Impact {
            symbol,
            ack,
            snooze_ms: snooze.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        };
        self.simple(call, show::impact)
    }

    pub(super) fn members(&mut self, what: Option<Members>) -> Outcome {
        let Some(Members::Approve { names, all }) = what else {
            return self.simple(Call::Members, show::members);
        };
        let mut peers = Vec::new();
        if self.screen.is_interactive() && !self.common.yes && !self.common.no_input {
            let document = self.ask(Call::Members)?;
            let Ok(members) = serde_json::from_value::<docs::Members>(document) else {
                return Err(not_understood("the members").into());
            };
            let waiting = show::waiting(&members, &names);
            peers = members.members.into_iter().map(|row| row.peer).collect();
            self.confirm(&format!(
                "{waiting}The same words stand on their screens? [y/N] "
            ))?;
        }
        self.simple(Call::Approve { names, all, peers }, show::members)
    }

    /// Asks before something that is hard to take back.
    fn confirm(&mut self, question: &str) -> Result<(), Stop> {
        self.screen.ask(question);
        let mut line = String::new();
        let read = (&mut *self.input).take(64).read_line(&mut line);
        let says_yes = matches!(line.trim(), "y" | "Y" | "yes");
        if read.is_ok() && says_yes {
            return Ok(());
        }
        Err(Failure::new("AE-NOT-CONFIRMED", Exit::FAILED, "nothing was done").into())
    }

    pub(super) fn mode(&mut self, mode: Option<String>) -> Outcome {
        self.simple(Call::Mode { set: mode }, |doc: &docs::Mode, _| {
            format!("{}: {}", escape::line(&doc.mode), escape::line(&doc.means))
        })
    }

    pub(super) fn peers(&mut self, call: Call) -> Outcome {
        self.simple(call, |doc: &docs::Peers, view| {
            show::peers(&doc.peers, view)
        })
    }

    pub(super) fn netcheck(&mut self, peer: Option<String>) -> Outcome {
        self.simple(Call::Netcheck { peer }, show::netcheck)
    }

    pub(super) fn ping(&mut self, peer: String) -> Outcome {
        let timeout = self.common.timeout.unwrap_or(PING);
        self.limit = Limit::from_now(Some(timeout.saturating_add(WAIT_MARGIN)));
        let call = Call::Ping {
            peer,
            timeout_ms: duration::millis(timeout),
        };
        let document = self.ask(call)?;
        self.say(&document, |doc: &docs::Ping, _| show::pong(doc))?;
        let is_relayed = document.get("path").is_some_and(|path| path == "relayed");
        Ok(if is_relayed { Exit::PARTLY } else { Exit::DONE })
    }

    pub(super) fn test_message(&mut self, peer: &str, hops: u8) -> Outcome {
        let timeout = self.common.timeout.unwrap_or(PING);
        self.limit = Limit::from_now(Some(timeout.saturating_add(WAIT_MARGIN)));
        let call = Call::TestMessage {
            peer: peer.trim_start_matches('@').to_owned(),
            hops,
            timeout_ms: duration::millis(timeout),
        };
        self.simple(call, |doc: &docs::TestMessage, _| show::way(doc))
    }

    pub(super) fn publish(
        &mut self,
        why: Option<String>,
        symbols: Vec<String>,
        no_wait: bool,
    ) -> Outcome {
        let has_why = why.is_some();
        let document = self.ask(Call::Publish {
            why,
            symbols,
            no_wait,
        })?;
        let shape = self.say(&document, show::published)?;
        let is_queued = shape.as_ref().is_some_and(|shape| shape.state == "queued");
        let is_unused = |shape: &docs::Published| shape.ops.is_empty() && !shape.postponed;
        let is_unused = has_why && shape.as_ref().is_some_and(is_unused);
        if is_unused {
            let why = "the reason was not used: no saved change is without one; see: aura log";
            self.screen.note(why);
        }
        for held in shape.iter().flat_map(|shape| &shape.held_back) {
            self.screen
                .note(&format!("held back: {}", escape::line(held)));
        }
        Ok(if is_unused || is_queued && !no_wait {
            Exit::PARTLY
        } else {
            Exit::DONE
        })
    }

    /// Holds still.
    pub(super) fn pause(&mut self, args: &Pause) -> Outcome {
        let call = Call::Pause {
            publishing: args.out,
            taking: args.taking,
            for_ms: args.for_.map(duration::millis),
        };
        self.simple(call, status::paused)
    }

    pub(super) fn pull(&mut self, args: Pull) -> Outcome {
        let Pull {
            symbols,
            from,
            path,
            check,
            dry_run,
        } = args;
        let document = self.ask(Call::Pull {
            symbols,
            from,
            path,
            dry_run,
        })?;
        if let (Some(check), Some(op)) = (check.as_deref(), document["op"].as_str()) {
            self.keep_if(check, op)?;
        }
        let shape: Option<docs::Pulled> = self.say(&document, show::pulled)?;
        let has = |outcome: &str| {
            shape
                .iter()
                .flat_map(|shape| &shape.units)
                .any(|unit| unit.outcome == outcome)
        };
        let exit = match () {
            () if dry_run => Exit::DONE,
            () if has("conflict") => Exit::CONFLICT,
            () if has("applied") && has("waiting") => Exit::PARTLY,
            () => shape.as_ref().map_or(Exit::DONE, first_obstacle),
        };
        let conflicts = [Next {
            cmd: "aura conflicts".to_owned(),
            why: String::new(),
        }];
        if exit == Exit::CONFLICT {
            self.next(&conflicts)?;
        }
        Ok(exit)
    }

    /// Runs a check of the user's; when it fails, the pull that it was to approve is taken back.
    fn keep_if(&mut self, check: &str, op: &str) -> Result<(), Stop> {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", check]).current_dir(&self.dir);
        if self.screen.is_json() {
            // Standard output carries one document.
            command.stdout(std::io::stderr());
        }
        let status = command.status().map_err(|error| {
            let message = format!("the check could not be run: {error}");
            Failure::new("AE-CHECK", Exit::FAILED, message)
        });
        match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        self.ask(Call::Undo {
            op: Some(op.to_owned()),
        })?;
        status?;
        let message = format!("`{check}` failed; your files are as they were before the pull");
        Err(Failure::new("AE-CHECK", Exit::FAILED, message)
            .next("aura pull --dry-run", "what waits")
            .into())
    }

    pub(super) fn undo(&mut self, op: Option<String>) -> Outcome {
        self.simple(Call::Undo { op }, show::undone)
    }

    pub(super) fn version(&mut self) -> Outcome {
        let running = self.client().and_then(|client| client.running());
        let hello = running.ok().flatten().and_then(|stream| {
            let request = self.request(Call::Hello).ok()?;
            let timeout = self.common.timeout.unwrap_or(Duration::from_secs(2));
            let limit = Limit::from_now(Some(timeout));
            client::ask(stream, &request, limit, &mut |_| Ok(())).ok()
        });
        let daemon = hello.and_then(|hello| hello.get("version")?.as_str().map(str::to_owned));
        common::version(self.screen, "aura", daemon)
    }

    pub(super) fn wait(&mut self, wanted: String) -> Outcome {
        let timeout = self.common.timeout.unwrap_or(WAIT);
        // The daemon says itself that the time is over; this is for a daemon that does not.
        self.limit = Limit::from_now(Some(timeout.saturating_add(WAIT_MARGIN)));
        let call = Call::Wait {
            wanted,
            timeout_ms: duration::millis(timeout),
        };
        self.simple(call, |doc: &docs::Waited, _| {
            format!("{} after {} ms", escape::line(&doc.wanted), doc.waited_ms)
        })
    }

    pub(super) fn whoami(&mut self) -> Outcome {
        self.need_identity()?;
        self.simple(Call::Whoami, show::whoami)
    }

    /// Refuses to start a daemon that would have nothing to tell.
    pub(super) fn need_identity(&self) -> Result<(), Failure> {
        let client = self.client()?;
        if client.home.has_identity() || client.running()?.is_some() {
            return Ok(());
        }
        Err(Failure::new(
            "AE-NOT-JOINED",
            Exit::NOT_SET_UP,
            "this device is on no team",
        )
        .next(
            "aura join TOKEN",
            "with the token that the mothership printed",
        ))
    }
}

/// What whoever waits for a starting daemon is told.
pub(super) fn starting(what: &str) -> String {
    format!("the daemon is starting: {what}")
}

/// The code of the first unit that stays out; its reason begins with an id.
fn first_obstacle(pulled: &docs::Pulled) -> Exit {
    let Some(unit) = pulled.units.iter().find(|unit| unit.outcome == "waiting") else {
        return Exit::DONE;
    };
    let why = unit.why.as_deref().unwrap_or_default();
    match why.split(':').next().unwrap_or_default() {
        "AMBIGUOUS" | "BASE_MISMATCH" | "MOVED" => Exit::STALE,
        "NAME_CHANGED" | "NOT_ONE_FUNCTION" | "WOULD_NOT_PARSE" => Exit::USAGE,
        "NO_SPACE" | "PARSE_BUDGET" | "TOO_DEEP" | "TOO_LARGE" => Exit::BUSY,
        "STORAGE" => Exit::STORAGE,
        "UNSAFE_TARGET" => Exit::UNSAFE,
        _ => Exit::PARTLY,
    }
}

/// The bar on standard error while a call takes long.
struct Progress {
    bar: Option<ProgressBar>,
    is_drawn: bool,
}

impl Progress {
    fn new(is_drawn: bool) -> Self {
        Self {
            bar: None,
            is_drawn,
        }
    }

    /// Shows a reply, or gives the line for those who want every step.
    fn show(&mut self, reply: Reply) -> Option<String> {
        let Reply::Progress {
            step,
            done,
            total,
            text,
        } = reply
        else {
            return None;
        };
        let text = escape::line(&text);
        if !self.is_drawn {
            return Some(format!("{}: {text}", escape::line(&step)));
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{bar:24} {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(total.max(1));
        bar.set_position(done.min(total));
        bar.set_message(text);
        None
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
