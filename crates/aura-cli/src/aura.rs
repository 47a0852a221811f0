//! The command line `aura`.
//!
//! Invariants:
//! - a command that needs the daemon starts it, unless told not to;
//! - secrets may come by standard input, file or environment and are never printed back.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use aura_api::{Call, Choice, Exit, Failure, Reply, Request, socket};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::{home, local, out, render};

/// Runs the daemon of a home in the foreground.
pub type RunDaemon = fn(&Path) -> Result<(), Failure>;

/// Syncs functions, not files, between the people and agents who edit one repository.
#[derive(Debug, Parser)]
#[command(name = "aura", version, about, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Args)]
struct Global {
    /// Work in this directory.
    #[arg(short = 'C', global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON document; with fields, only those.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "", value_name = "FIELDS")]
    json: Option<String>,
    /// Say less.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// When to use colour: auto, always, never.
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    color: String,
    /// Never ask.
    #[arg(long, global = true)]
    no_input: bool,
    /// Answer yes.
    #[arg(short, long, global = true)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Join a team with an invite; index the repository and start the daemon.
    Join {
        /// The token, `-` for standard input, `@FILE` for a file; else AURA_JOIN_TOKEN.
        token: Option<String>,
        /// Name of this device.
        #[arg(long)]
        name: Option<String>,
        /// observe, ask or live.
        #[arg(long)]
        mode: Option<String>,
        /// Do not install a user service.
        #[arg(long)]
        no_service: bool,
        /// Only check the token.
        #[arg(long)]
        dry_run: bool,
    },
    /// Start the daemon.
    Up,
    /// Stop the daemon.
    Down,
    /// The daemon itself.
    Daemon {
        #[command(subcommand)]
        command: DaemonVerb,
    },
    /// What needs you, who is here, what waits.
    #[command(alias = "st")]
    Status {
        /// Exit with the code of the state.
        #[arg(long)]
        exit_code: bool,
    },
    /// The peer list.
    Peers,
    /// Publish what is saved.
    Publish {
        /// The reason.
        #[arg(short = 'm', long = "message", value_name = "WHY")]
        why: Option<String>,
        /// Return at once.
        #[arg(long)]
        no_wait: bool,
        /// Only these symbols.
        symbols: Vec<String>,
    },
    /// Take waiting patches into the files.
    Pull {
        /// Only these symbols.
        symbols: Vec<String>,
        /// Only from this peer.
        #[arg(long)]
        from: Option<String>,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    /// History, newest first.
    Log {
        /// Only this symbol.
        symbol: Option<String>,
        /// At most this many.
        #[arg(short = 'n', long)]
        limit: Option<usize>,
    },
    /// Open conflicts.
    Conflicts {
        #[command(subcommand)]
        command: Option<ConflictsVerb>,
    },
    /// Settle conflicts.
    Resolve {
        /// Conflict ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Keep what is here.
        #[arg(long, group = "choice")]
        mine: bool,
        /// Take the other side's.
        #[arg(long, group = "choice")]
        theirs: bool,
        /// Both, mine first.
        #[arg(long, group = "choice")]
        both: bool,
        /// Take the text of this file.
        #[arg(long, group = "choice", value_name = "FILE")]
        with: Option<PathBuf>,
    },
    /// Take back the last operation of this device.
    Undo {
        /// Operation id.
        op: Option<String>,
    },
    /// Wait for a state.
    Wait {
        /// up, synced, quiet or peer:NAME.
        #[arg(long = "for", value_name = "STATE")]
        wanted: String,
        /// Give up after.
        #[arg(long, default_value = "60s", value_parser = duration)]
        timeout: Duration,
    },
    /// Live events.
    Watch {
        /// From this event number on.
        #[arg(long)]
        since: Option<u64>,
    },
    /// Print or set what incoming changes do to files.
    Mode {
        /// observe, ask or live.
        mode: Option<String>,
    },
    /// Identity of this device.
    Whoami,
    /// Members and who waits.
    Members {
        #[command(subcommand)]
        command: Option<MembersVerb>,
    },
    /// Make an invite.
    Invite {
        /// For whom.
        #[arg(long = "for", value_name = "NAME")]
        name: Option<String>,
        /// Role of the newcomer.
        #[arg(long, default_value = "member")]
        role: String,
        /// How often it can be used.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it lives.
        #[arg(long, default_value = "24h", value_parser = duration, allow_hyphen_values = true)]
        ttl: Duration,
    },
    /// Settings.
    Config {
        #[command(subcommand)]
        command: ConfigVerb,
    },
    /// Units that differ from the team's newest, or between two files.
    Diff {
        /// Only these symbols.
        symbols: Vec<String>,
        /// Compare two files.
        #[arg(long, num_args = 2, value_names = ["A", "B"])]
        files: Option<Vec<PathBuf>>,
        /// Name that tells the language.
        #[arg(long)]
        path: Option<String>,
    },
    /// Units of a file.
    Outline {
        /// The file.
        file: PathBuf,
    },
    /// Merge three files.
    Merge {
        /// Common ancestor.
        base: PathBuf,
        /// One side.
        ours: PathBuf,
        /// The other side.
        theirs: PathBuf,
        /// Name that tells the language.
        #[arg(long)]
        path: Option<String>,
        /// Where to write; standard output otherwise.
        #[arg(short)]
        output: Option<PathBuf>,
    },
    /// Program, daemon and protocol versions.
    Version,
    /// The table of exit codes.
    ExitCodes,
}

#[derive(Debug, Subcommand)]
enum DaemonVerb {
    /// Run in the foreground.
    Run,
}

#[derive(Debug, Subcommand)]
enum ConflictsVerb {
    /// One conflict with its texts.
    Show {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum MembersVerb {
    /// Hand the team key to devices that wait.
    Approve {
        /// Names.
        names: Vec<String>,
        /// Everybody who waits.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print one setting.
    Get {
        /// Key.
        key: String,
    },
    /// Change one setting.
    Set {
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
    /// Print all settings.
    List,
}

/// Reads `500ms`, `30s`, `5m`, `24h`, `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "a duration is a number and a unit".to_owned())?;
    let ms = match unit {
        "ms" => number,
        "s" | "" => number.saturating_mul(1_000),
        "m" => number.saturating_mul(60_000),
        "h" => number.saturating_mul(3_600_000),
        "d" => number.saturating_mul(86_400_000),
        _ => return Err("units are ms, s, m, h and d".to_owned()),
    };
    Ok(Duration::from_millis(ms))
}

/// The whole program.
pub fn run(run_daemon: RunDaemon) -> ExitCode {
    let cli = Cli::parse();
    let is_json = cli.global.json.is_some();
    let exit = match act(cli, run_daemon) {
        Ok(exit) => exit,
        Err(failure) => out::failure(&failure, is_json),
    };
    ExitCode::from(exit.0)
}

fn act(cli: Cli, run_daemon: RunDaemon) -> Result<Exit, Failure> {
    let fields: Vec<String> = cli
        .global
        .json
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .filter(|field| !field.is_empty())
        .map(str::to_owned)
        .collect();
    let face = Face {
        global: cli.global,
        fields,
    };
    let call = match cli.command {
        Verb::Daemon {
            command: DaemonVerb::Run,
        } => {
            run_daemon(&home()?)?;
            return Ok(Exit::DONE);
        }
        Verb::Outline { file } => return face.show(&local::outline(&face.path(&file))?),
        Verb::Diff {
            files: Some(files),
            path,
            ..
        } => {
            let name = path.unwrap_or_else(|| files[1].display().to_string());
            let [a, b] = [&files[0], &files[1]].map(|file| face.path(file));
            return face.show(&local::diff(&a, &b, &name)?);
        }
        Verb::Merge {
            base,
            ours,
            theirs,
            path,
            output,
        } => {
            let name = path.unwrap_or_else(|| ours.display().to_string());
            let files = [base, ours, theirs].map(|file| face.path(&file));
            let (exit, bytes) =
                local::merge([&files[0], &files[1], &files[2]], &name, output.as_ref())?;
            if output.is_none() {
                use std::io::Write;
                std::io::stdout().write_all(&bytes).ok();
            }
            return Ok(exit);
        }
        Verb::Version => {
            let version = env!("CARGO_PKG_VERSION");
            let document = serde_json::json!({
                "schema": "aura.version/1", "cli": version, "protocol": [1, 1],
            });
            return face.show(&document);
        }
        Verb::ExitCodes => {
            for (exit, meaning) in Exit::TABLE {
                out::line(&format!("{:>3}  {meaning}", exit.0));
            }
            return Ok(Exit::DONE);
        }
        Verb::Down => return face.down(),
        Verb::Up => Call::Hello,
        Verb::Join {
            token,
            name,
            mode,
            dry_run,
            ..
        } => Call::Join {
            token: read_token(token)?,
            name,
            mode,
            dry_run,
        },
        Verb::Status { exit_code } => {
            let status = face.ask(Call::Status)?;
            face.show(&status)?;
            return Ok(if exit_code {
                exit_of(&status)
            } else {
                Exit::DONE
            });
        }
        Verb::Peers => Call::Peers,
        Verb::Publish {
            why,
            no_wait,
            symbols,
        } => {
            let published = face.ask(Call::Publish {
                why,
                symbols,
                no_wait,
            })?;
            face.show(&published)?;
            let is_queued = published["state"] == "queued" && !no_wait;
            return Ok(if is_queued { Exit::PARTLY } else { Exit::DONE });
        }
        Verb::Pull {
            symbols,
            from,
            dry_run,
        } => {
            let pulled = face.ask(Call::Pull {
                symbols,
                from,
                dry_run,
            })?;
            face.show(&pulled)?;
            let has_conflict = pulled["units"]
                .as_array()
                .is_some_and(|units| units.iter().any(|unit| unit["outcome"] == "conflict"));
            return Ok(if has_conflict {
                Exit::CONFLICT
            } else {
                Exit::DONE
            });
        }
        Verb::Log { symbol, limit } => Call::Log { symbol, limit },
        Verb::Conflicts { command: None } => Call::Conflicts { id: None },
        Verb::Conflicts {
            command: Some(ConflictsVerb::Show { id }),
        } => Call::Conflicts { id: Some(id) },
        Verb::Resolve {
            ids,
            mine,
            theirs,
            both,
            with,
        } => {
            let choice = match (mine, theirs, both, with) {
                (true, ..) => Choice::Mine,
                (_, true, ..) => Choice::Theirs,
                (_, _, true, _) => Choice::Both,
                (.., Some(file)) => {
                    let bytes = std::fs::read(face.path(&file)).map_err(|error| {
                        let message = format!("cannot read {}: {error}", file.display());
                        Failure::new("AE-FILE", Exit::USAGE, message)
                    })?;
                    Choice::With { bytes }
                }
                _ => {
                    let message = "say which text to take";
                    return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                        .next("aura resolve ID --mine", "or --theirs, --both, --with FILE"));
                }
            };
            Call::Resolve { ids, choice }
        }
        Verb::Undo { op } => Call::Undo { op },
        Verb::Wait { wanted, timeout } => {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            Call::Wait {
                wanted,
                timeout_ms: timeout_ms.min(86_400_000),
            }
        }
        Verb::Watch { since } => Call::Watch { since },
        Verb::Mode { mode } => Call::Mode { set: mode },
        Verb::Whoami => Call::Whoami,
        Verb::Members { command: None } => Call::Members,
        Verb::Members {
            command: Some(MembersVerb::Approve { names, all }),
        } => Call::Approve { names, all },
        Verb::Invite {
            name,
            role,
            uses,
            ttl,
        } => Call::Invite {
            name,
            role,
            uses,
            ttl_s: ttl.as_secs(),
        },
        Verb::Config {
            command: ConfigVerb::Get { key },
        } => Call::ConfigGet { key: Some(key) },
        Verb::Config {
            command: ConfigVerb::Set { key, value },
        } => Call::ConfigSet { key, value },
        Verb::Config {
            command: ConfigVerb::List,
        } => Call::ConfigGet { key: None },
        Verb::Diff { symbols, .. } => Call::Diff { symbols },
    };
    let document = face.ask(call)?;
    face.show(&document)
}

fn exit_of(status: &Value) -> Exit {
    let has_conflict = status["needs_you"]
        .as_array()
        .is_some_and(|needs| needs.iter().any(|need| need["kind"] == "conflict"));
    match status["link"]["state"].as_str() {
        Some("revoked") => Exit::REFUSED,
        Some("offline") => Exit::UNREACHABLE,
        _ if has_conflict => Exit::CONFLICT,
        _ => Exit::DONE,
    }
}

fn read_token(token: Option<String>) -> Result<Option<String>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new("AE-TOKEN-SHAPE", Exit::USAGE, error.to_string());
    match token {
        Some(token) if token == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .take(64 << 10)
                .read_to_string(&mut text)
                .map_err(unreadable)?;
            Ok(Some(text.trim().to_owned()))
        }
        Some(token) => match token.strip_prefix('@') {
            Some(file) => Ok(Some(
                std::fs::read_to_string(file)
                    .map_err(unreadable)?
                    .trim()
                    .to_owned(),
            )),
            None => Ok(Some(token)),
        },
        None => Ok(std::env::var("AURA_JOIN_TOKEN").ok()),
    }
}

struct Face {
    global: Global,
    fields: Vec<String>,
}

impl Face {
    fn show(&self, document: &Value) -> Result<Exit, Failure> {
        if self.global.json.is_some() {
            out::document(document, &self.fields);
        } else if !self.global.quiet {
            render::document(document);
        }
        Ok(Exit::DONE)
    }

    fn path(&self, file: &Path) -> PathBuf {
        match &self.global.dir {
            Some(dir) => dir.join(file),
            None => file.to_owned(),
        }
    }

    fn repo(&self) -> Result<String, Failure> {
        let dir = self
            .global
            .dir
            .clone()
            .unwrap_or_else(|| PathBuf::from("."));
        let dir = dir.canonicalize().map_err(|error| {
            let message = format!("{}: {error}", dir.display());
            Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("aura -C DIR …", "an existing directory")
        })?;
        Ok(dir.display().to_string())
    }

    fn ask(&self, call: Call) -> Result<Value, Failure> {
        let request = Request {
            repo: Some(self.repo()?),
            call,
        };
        let stream = connect()?;
        let lost = |error: std::io::Error| {
            Failure::new(
                "AE-DAEMON",
                Exit::NO_DAEMON,
                format!("the daemon went away: {error}"),
            )
            .next("aura up", "start it again")
            .retryable()
        };
        let replies = socket::call(stream, &request).map_err(lost)?;
        let bar = Bar::new(self.global.json.is_some() || self.global.quiet);
        for reply in replies {
            match reply.map_err(lost)? {
                Reply::Done(document) => return Ok(document),
                Reply::Event(event) if self.global.json.is_some() => out::line(&event.to_string()),
                Reply::Event(event) => render::event(&event),
                Reply::Failed(failure) => return Err(failure),
                Reply::Progress {
                    done, total, text, ..
                } => bar.show(done, total, &text),
            }
        }
        Err(lost(std::io::Error::from(
            std::io::ErrorKind::UnexpectedEof,
        )))
    }

    fn down(&self) -> Result<Exit, Failure> {
        let run = home()?.join("run");
        let Ok(stream) = socket::connect(&run, "daemon.sock") else {
            let document = serde_json::json!({ "schema": "aura.down/1", "was_running": false });
            return self.show(&document);
        };
        let request = Request {
            repo: None,
            call: Call::Down,
        };
        let replies = socket::call(stream, &request)
            .map_err(|error| Failure::new("AE-DAEMON", Exit::NO_DAEMON, error.to_string()))?;
        for reply in replies {
            if let Ok(Reply::Done(document)) = reply {
                wait_for_end(&run);
                return self.show(&document);
            }
        }
        Err(Failure::new(
            "AE-DAEMON",
            Exit::NO_DAEMON,
            "the daemon went away",
        ))
    }
}

/// Waits until the daemon's lock is free, so that `down && up` cannot meet itself.
fn wait_for_end(run: &Path) {
    for _ in 0..500 {
        if socket::connect(run, "daemon.sock").is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(is_quiet: bool) -> Self {
        if is_quiet || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    fn show(&self, done: u64, total: u64, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(crate::escape(text));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Connects to the daemon, starting it when there is none.
fn connect() -> Result<std::os::unix::net::UnixStream, Failure> {
    let home = home()?;
    let run = home.join("run");
    if let Ok(stream) = socket::connect(&run, "daemon.sock") {
        return Ok(stream);
    }
    if std::env::var_os("AURA_NO_AUTOSTART").is_some() {
        return Err(
            Failure::new("AE-DAEMON", Exit::NO_DAEMON, "the daemon is not running")
                .next("aura up", "start it"),
        );
    }
    start(&home)?;
    socket::connect(&run, "daemon.sock").map_err(|error| {
        Failure::new(
            "AE-DAEMON",
            Exit::NO_DAEMON,
            format!("the daemon does not answer: {error}"),
        )
    })
}

/// Starts the daemon in the background and waits until it answers, or has ended with its own failure.
fn start(home: &Path) -> Result<(), Failure> {
    use std::os::unix::{fs::DirBuilderExt, process::CommandExt};
    let failed = |error: std::io::Error| {
        Failure::new(
            "AE-DAEMON",
            Exit::NO_DAEMON,
            format!("cannot start the daemon: {error}"),
        )
        .next("aura daemon run", "run it in the foreground and see why")
    };
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(home);
    made.map_err(failed)?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(home.join("daemon.log"))
        .map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(["daemon", "run", "--json"])
        .env("AURA_HOME", home)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    for _ in 0..3_000 {
        if socket::connect(&home.join("run"), "daemon.sock").is_ok() {
            return Ok(());
        }
        if let Ok(Some(_)) = child.try_wait() {
            let mut text = String::new();
            if let Some(mut stdout) = child.stdout.take() {
                stdout.read_to_string(&mut text).ok();
            }
            let failure = serde_json::from_str::<Value>(text.trim())
                .ok()
                .and_then(|document| serde_json::from_value(document["error"].clone()).ok());
            return Err(
                failure.unwrap_or_else(|| failed(std::io::Error::other("it ended at once")))
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(failed(std::io::Error::from(std::io::ErrorKind::TimedOut)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_argument_table_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2d").unwrap(), Duration::from_secs(172_800));
        assert!(duration("-1").is_err());
        assert!(duration("soon").is_err());
    }
}
