//! The command line `aura`: parse, ask the daemon or work here, report.
//!
//! Invariants:
//! - nothing about the team is decided here; the daemon answers, this shows it;
//! - commands on files (`merge`, `outline`, `diff --files`) and on git (`init`, `merge-driver`) need no daemon and no team.

mod args;
mod bugreport;
mod calls;
mod client;
mod device;
mod doctor;
mod editor;
mod git;
mod local;
mod messages;
mod past;
mod prompt;
mod show;
mod status;
#[cfg(test)]
mod tests;
mod token;
mod watch;
mod zones;

use std::{
    fs,
    io::BufRead,
    path::{Path, PathBuf},
    process::ExitCode,
};

use aura_api::{Call, Exit, Failure, Home, Request};
use clap::{CommandFactory, FromArgMatches};

use crate::{
    common::{self, Common},
    completions, man,
    output::{Ended, Outcome, Screen, Stop, finish, usage},
    process, schemas,
    world::{Env, World},
};

pub(crate) use self::{args::Invite, show::Invited};
use self::{
    args::{Args, Command, Daemon, Merge, MergeWhat},
    client::{Client, Limit},
};

/// Runs the daemon of a home, absolute, made and owner-only, until it is told to stop.
pub type RunDaemon = fn(&Path) -> Result<(), Failure>;

/// Runs `aura` with the arguments of this process; `run_daemon` is what `aura daemon run` does.
pub fn run(run_daemon: RunDaemon) -> ExitCode {
    process::run("aura", |world| run_in(world, run_daemon))
}

/// Runs `aura` in any surroundings.
fn run_in(mut world: World<'_>, run_daemon: RunDaemon) -> Ended {
    let matches = Args::command().try_get_matches_from(&world.args);
    let args = match matches.and_then(|mut matches| Args::from_arg_matches_mut(&mut matches)) {
        Ok(args) => args,
        Err(error) => return usage(&mut world, &error),
    };
    let World {
        env,
        dir: base,
        exe,
        now,
        input,
        out,
        err,
        terminals,
        ..
    } = world;
    let mut screen = Screen::new((out, err), &args.common, &env, terminals, now);
    let found = directory(&base, args.common.directory.as_deref()).map_err(Stop::from);
    let outcome = found.and_then(|dir| {
        let face = Face {
            limit: Limit::from_now(args.common.timeout),
            screen: &mut screen,
            input,
            common: args.common,
            env,
            dir,
            base,
            exe,
        };
        face.run(args.command, run_daemon)
    });
    finish(&mut screen, outcome)
}

/// One command on its way.
struct Face<'a, 'w> {
    screen: &'a mut Screen<'w>,
    input: &'a mut dyn BufRead,
    common: Common,
    env: Env,
    /// Where the command stands: `-C` or the directory of the process.
    dir: PathBuf,
    /// The directory of the process; a relative `AURA_HOME` is below it whatever `-C` says.
    base: PathBuf,
    exe: PathBuf,
    limit: Limit,
}

impl Face<'_, '_> {
    fn run(mut self, command: Command, run_daemon: RunDaemon) -> Outcome {
        match command {
            Command::Blame { file, units } => self.blame(&file, units),
            Command::Bugreport { output } => self.bugreport(output.as_deref()),
            Command::Completions { shell } => {
                completions::print(self.screen, shell, Args::command())
            }
            Command::Config { what } => self.config(what),
            Command::Conflicts(args) => self.conflicts(args),
            Command::Daemon { what } => self.daemon(what, run_daemon),
            Command::Diff(args) => self.diff(args),
            Command::Doctor { fix } => self.doctor(fix),
            Command::Down => self.down(),
            Command::Find { text, at, limit } => self.find(text, at, limit),
            Command::GitHook { name, given } => self.git_hook(&name, &given),
            Command::Help { topic } => help(self.screen, &topic),
            Command::Inbox { unread } => self.inbox(unread),
            Command::Msg { what } => self.msg(what),
            Command::Impact { symbol, what } => self.impact(symbol, what),
            Command::Init(args) => self.init(&args),
            Command::Intent { why } => self.publish(Some(why), Vec::new(), false),
            Command::Invite(args) => self.invite(args),
            Command::Join(args) => self.join(args),
            Command::Log(args) => self.log(args),
            Command::Man { dir } => {
                man::man(self.screen, Args::command(), &self.dir, dir.as_deref())
            }
            Command::Members { what } => self.members(what),
            Command::Merge(args) => self.merge(args),
            Command::MergeDriver { given } => Ok(self.merge_driver(&given)),
            Command::MergeWorker => git::work(self.input, self.screen),
            Command::Mode { mode } => self.mode(mode),
            Command::Pause(args) => self.pause(&args),
            Command::Resume => self.simple(Call::Resume, status::paused),
            Command::Outline { file, path } => {
                local::outline(self.screen, &self.dir, &file, path.as_deref())
            }
            Command::ParseTrial { path } => git::try_parser(&path, self.input),
            Command::Netcheck { peer } => self.netcheck(peer),
            Command::Peers => self.peers(Call::Peers),
            Command::Ping { peer } => self.ping(peer),
            Command::TestMessage { peer, hops } => self.test_message(&peer, hops),
            Command::Reconnect { peer } => self.peers(Call::Reconnect { peer }),
            Command::Prompt { format } => self.prompt(format.as_deref()),
            Command::Publish {
                why,
                symbols,
                no_wait,
            } => self.publish(why, symbols, no_wait),
            Command::Pull(args) => self.pull(args),
            Command::Resolve(args) => self.resolve(args),
            Command::Restore {
                symbol,
                at,
                why,
                dry_run,
            } => self.restore(symbol, at, why, dry_run),
            Command::Schema { name } => schemas::schema(self.screen, "aura", name.as_deref()),
            Command::Show { what, at } => self.show_past(what, at),
            Command::Status(args) => self.status(&args),
            Command::Undo { op } => self.undo(op),
            Command::Uninit { dry_run } => self.uninit(dry_run),
            Command::Up => self.up(),
            Command::Version => self.version(),
            Command::Wait { wanted } => self.wait(wanted),
            Command::Watch(args) => self.watch(args),
            Command::Whoami => self.whoami(),
            Command::Zone { what } => self.zone(what),
        }
    }

    fn daemon(&mut self, what: Daemon, run_daemon: RunDaemon) -> Outcome {
        match what {
            Daemon::Logs { lines } => self.logs(lines),
            Daemon::Restart => self.restart(),
            Daemon::Run { detached } => self.run_daemon(detached, run_daemon),
        }
    }

    fn merge(&mut self, args: Merge) -> Outcome {
        match (args.what, args.files) {
            (Some(MergeWhat::Explain { file, limit }), _) => self.explain(file.as_deref(), limit),
            (Some(MergeWhat::Preview { branch, exit_code }), _) => self.preview(&branch, exit_code),
            (None, Some(files)) => local::merge(self.screen, &self.dir, &files),
            (None, None) => help(self.screen, &["merge".to_owned()]),
        }
    }

    fn home(&self) -> Result<Home, Failure> {
        let root = self.env.get("AURA_HOME").map(ToOwned::to_owned);
        Home::locate(root, &self.base)
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(
            self.home()?,
            self.exe.clone(),
            self.env.clone(),
            self.limit,
        ))
    }

    fn request(&self, call: Call) -> Result<Request, Failure> {
        let Some(dir) = self.dir.to_str() else {
            let message = format!(
                "{} is not UTF-8, so it cannot be asked for",
                self.dir.display()
            );
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("aura -C DIR", "a path of plain text"));
        };
        Ok(Request {
            repo: Some(dir.to_owned()),
            call,
        })
    }

    fn run_daemon(&mut self, is_detached: bool, run_daemon: RunDaemon) -> Outcome {
        let home = self.home()?;
        home.prepare()?;
        process::forbid_cores();
        if is_detached {
            // A process that leads a session already has left the caller's.
            rustix::process::setsid().ok();
        }
        run_daemon(home.root())?;
        Ok(Exit::DONE)
    }
}

/// Where the command stands: `-C`, else the current directory.
fn directory(current: &Path, wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(wanted) = wanted else {
        return Ok(current.to_owned());
    };
    let missing = |why: String| {
        let message = format!("-C {}: {why}", wanted.display());
        Failure::new("AE-USAGE", Exit::USAGE, message).next("ls -d DIR", "name one that is there")
    };
    let found = fs::canonicalize(current.join(wanted));
    match found {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(missing("is not a directory".to_owned())),
        Err(error) => Err(missing(error.to_string())),
    }
}

fn help(screen: &mut Screen<'_>, topic: &[String]) -> Outcome {
    common::help(screen, Args::command(), topic)
}
