//! The command line `mothership`: serve, or ask the Mothership that serves.
//!
//! Invariants:
//! - a command that changes something goes through the running Mothership, never to its files;
//! - what only reads also works on the files of a Mothership that does not run, and says so.

mod args;
mod show;
#[cfg(test)]
mod tests;

use std::{
    io::{BufRead, ErrorKind, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use aura_api::{
    AdminCall, Exit, Failure, Reply, docs,
    home::{ADMIN_SOCKET, ensure_own_dir, user_state_dir},
    socket,
};
use clap::{CommandFactory, FromArgMatches};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::args::{Args, Command, Peer, Token, Wal};
use crate::{
    aura::{Invite, Invited},
    common::{self, Common, answer, to_value},
    completions, escape, man,
    output::{Ended, Outcome, Screen, Stop, View, finish, usage},
    process, schemas,
    world::{Env, World},
};

/// How to serve, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Everything that the Mothership keeps; absolute, made and owner-only.
    pub state_dir: PathBuf,
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Addresses that invites name; the listening ones when empty.
    pub advertise: Vec<String>,
    /// Team name, for the very first start.
    pub name: Option<String>,
    /// Whether to print a first invite.
    pub invite: bool,
    /// Heartbeat period.
    pub heartbeat: Duration,
    /// When a silent peer counts as offline.
    pub offline_after: Duration,
    /// Life of the certificates that devices get.
    pub leaf_life: Duration,
    /// Bytes that one circuit may carry, if there is an end.
    pub relay_bytes: Option<u64>,
    /// How long one circuit may last, if there is an end.
    pub relay_time: Option<Duration>,
    /// Circuits that one device may have.
    pub relay_circuits: usize,
}

/// Hears the ready document, then one document per event.
pub type OnLine<'a> = &'a mut dyn FnMut(Value);

/// What the binary lends to the command line.
#[derive(Clone, Copy)]
pub struct Engine {
    /// Serves until a signal comes.
    pub serve: fn(Serve, OnLine<'_>) -> Result<(), Failure>,
    /// Checks the whole log in a state directory.
    pub verify: fn(&Path) -> Result<docs::WalVerify, Failure>,
    /// Answers from a state directory on which no Mothership runs.
    pub read_only: fn(&Path, AdminCall) -> Result<Value, Failure>,
}

/// How long a running Mothership may take to answer.
const SILENCE: Duration = Duration::from_secs(60);

/// Runs `mothership` with the arguments of this process.
pub fn run(engine: Engine) -> ExitCode {
    process::run("mothership", |world| run_in(world, engine))
}

/// Runs `mothership` in any surroundings.
fn run_in(mut world: World<'_>, engine: Engine) -> Ended {
    let matches = Args::command().try_get_matches_from(&world.args);
    let args = match matches.and_then(|mut matches| Args::from_arg_matches_mut(&mut matches)) {
        Ok(args) => args,
        Err(error) => return usage(&mut world, &error),
    };
    let World {
        env,
        dir,
        now,
        input,
        out,
        err,
        terminals,
        ..
    } = world;
    let mut screen = Screen::new((out, err), &args.common, &env, terminals, now);
    let base = args
        .common
        .directory
        .as_ref()
        .map_or_else(|| dir.clone(), |below| dir.join(below));
    let console = Console {
        screen: &mut screen,
        input,
        common: args.common,
        env,
        base,
        state_dir: args.state_dir,
        engine,
    };
    let outcome = console.run(args.command);
    finish(&mut screen, outcome)
}

/// One command on its way.
struct Console<'a, 'w> {
    screen: &'a mut Screen<'w>,
    input: &'a mut dyn BufRead,
    common: Common,
    env: Env,
    base: PathBuf,
    state_dir: Option<PathBuf>,
    engine: Engine,
}

impl Console<'_, '_> {
    fn run(mut self, command: Command) -> Outcome {
        match command {
            Command::Completions { shell } => {
                completions::print(self.screen, shell, Args::command())
            }
            Command::Help { topic } => help(self.screen, &topic),
            Command::Invite(args)
            | Command::Token {
                what: Token::Create(args),
            } => self.invite(args),
            Command::Log { limit } => self.simple(AdminCall::Log { limit }, show::log),
            Command::Man { dir } => {
                man::man(self.screen, Args::command(), &self.base, dir.as_deref())
            }
            Command::Peer { what: Peer::List } => self.simple(AdminCall::PeerList, show::peers),
            Command::Peer {
                what: Peer::Revoke { peer, reason },
            } => self.revoke(peer, reason),
            Command::Schema { name } => schemas::schema(self.screen, "mothership", name.as_deref()),
            Command::Serve(args) => self.serve(args),
            Command::Status => self.simple(AdminCall::Status, show::status),
            Command::Token { what: Token::List } => self.simple(AdminCall::TokenList, show::tokens),
            Command::Token {
                what: Token::Revoke { id },
            } => self.simple(
                AdminCall::TokenRevoke { id },
                |doc: &docs::TokenRevoked, _| {
                    format!("token {} works no more", escape::line(&doc.id))
                },
            ),
            Command::Version => common::version(self.screen, "mothership", None),
            Command::Wal { what: Wal::Stat } => self.simple(AdminCall::WalStat, show::wal_stat),
            Command::Wal {
                what: Wal::Tail { limit },
            } => self.simple(AdminCall::WalTail { limit }, show::wal_tail),
            Command::Wal { what: Wal::Verify } => self.verify(),
        }
    }

    fn state_dir(&self) -> Result<PathBuf, Failure> {
        let variable = self.env.get("MOTHERSHIP_STATE_DIR").map(PathBuf::from);
        match self.state_dir.clone().or(variable) {
            Some(dir) => Ok(self.base.join(dir)),
            None => user_state_dir("mothership", "MOTHERSHIP_STATE_DIR"),
        }
    }

    fn serve(&mut self, args: args::Serve) -> Outcome {
        let state_dir = self.state_dir()?;
        ensure_own_dir(&state_dir)?;
        process::forbid_cores();
        if args.offline_after < args.heartbeat {
            let message = "--offline-after is shorter than --heartbeat";
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("mothership serve --help", "the flags and their defaults")
                .into());
        }
        let serve = Serve {
            state_dir,
            listen: args.listen,
            advertise: args.advertise,
            name: args.name,
            invite: !args.no_invite,
            heartbeat: args.heartbeat,
            offline_after: args.offline_after,
            leaf_life: args.leaf_life,
            relay_bytes: args.relay_bytes,
            relay_time: args.relay_time,
            relay_circuits: args.relay_circuits,
        };
        let screen = &mut *self.screen;
        // A reader that goes away does not stop a server.
        (self.engine.serve)(serve, &mut |line| drop(show::served(screen, &line)))?;
        Ok(Exit::DONE)
    }

    fn invite(&mut self, args: Invite) -> Outcome {
        let call = AdminCall::Invite {
            name: args.name,
            role: args.role,
            uses: args.uses,
            ttl_s: args.ttl.as_secs(),
        };
        let (is_quiet, is_drawn) = (self.screen.is_quiet(), args.qr);
        let mut undrawn = None;
        self.simple(call, |doc: &docs::BoxInvite, view| {
            let invite = Invited {
                token: &doc.token,
                expires: &doc.expires,
                name: doc.name.as_deref(),
                uses: doc.uses,
                needs_approval: doc.needs_approval,
            };
            if is_quiet {
                return escape::line(&doc.token);
            }
            let (text, why_not) = invite.shown(view, is_drawn);
            undrawn = why_not;
            text
        })?;
        undrawn.iter().for_each(|why| self.screen.note(why));
        Ok(Exit::DONE)
    }

    fn revoke(&mut self, peer: String, reason: String) -> Outcome {
        if self.screen.is_interactive() && !self.common.yes && !self.common.no_input {
            let shown = escape::line(&peer);
            self.screen.ask(&format!(
                "Remove {shown} from the team? Type its name again: "
            ));
            let mut line = String::new();
            let read = (&mut *self.input).take(1_024).read_line(&mut line);
            if read.is_err() || line.trim() != peer {
                let message = "nobody was removed";
                return Err(Failure::new("AE-NOT-CONFIRMED", Exit::FAILED, message).into());
            }
        }
        self.simple(AdminCall::PeerRevoke { peer, reason }, |doc: &docs::PeerRevoked, _| {
            let name = escape::line(&doc.name);
            format!(
                "{name} is removed, for good; its user joins anew from another home (AURA_HOME) with: \
                 mothership invite --for {name}"
            )
        })
    }

    fn verify(&mut self) -> Outcome {
        let state_dir = self.state_dir()?;
        let verified = (self.engine.verify)(&state_dir)?;
        answer(self.screen, &to_value(&verified), |_| {
            show::verified(&verified)
        })?;
        Ok(if verified.ok {
            Exit::DONE
        } else {
            Exit::INTEGRITY
        })
    }

    fn simple<T: DeserializeOwned>(
        &mut self,
        call: AdminCall,
        human: impl FnOnce(&T, &View) -> String,
    ) -> Outcome {
        let document = self.ask(call)?;
        if self.screen.is_json() {
            self.screen.document(&document)?;
            return Ok(Exit::DONE);
        }
        let Ok(shape) = serde_json::from_value::<T>(document) else {
            return Err(not_understood().into());
        };
        let text = human(&shape, &self.screen.view());
        self.screen.text(&text)?;
        Ok(Exit::DONE)
    }

    /// Asks the running Mothership, or reads its files when none runs.
    fn ask(&mut self, call: AdminCall) -> Result<Value, Stop> {
        let state_dir = self.state_dir()?;
        let stream = match socket::connect(&state_dir, ADMIN_SOCKET) {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    let document = (self.engine.read_only)(&state_dir, call)?;
                    self.screen
                        .note("no mothership is running here; this is read from its files");
                    return Ok(document);
                }
                _ => return Err(unreachable(&state_dir, &error.to_string()).into()),
            },
        };
        if !socket::is_own(&stream) {
            return Err(unreachable(&state_dir, "somebody else answers there").into());
        }
        let silence = self
            .common
            .timeout
            .unwrap_or(SILENCE)
            .max(Duration::from_millis(1));
        let failed = |error: std::io::Error| unreachable(&state_dir, &error.to_string());
        stream.set_read_timeout(Some(silence)).map_err(failed)?;
        let replies = socket::call(stream, &call).map_err(failed)?;
        for reply in replies {
            match reply {
                Ok(Reply::Done(document)) => return Ok(document),
                Ok(Reply::Failed(failure)) => return Err(failure.into()),
                Ok(Reply::Event(_) | Reply::Progress { .. }) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(timed_out().into()),
                    ErrorKind::InvalidData => return Err(not_understood().into()),
                    _ => return Err(failed(error).into()),
                },
            }
        }
        Err(unreachable(&state_dir, "it stopped while it answered").into())
    }
}

fn unreachable(state_dir: &Path, why: &str) -> Failure {
    let message = format!(
        "cannot ask the mothership in {}: {why}",
        state_dir.display()
    );
    Failure::new("AE-NO-MOTHERSHIP", Exit::NO_DAEMON, message)
        .next("mothership serve", "starts it")
        .retryable()
}

fn timed_out() -> Failure {
    Failure::new(
        "AE-TIMEOUT",
        Exit::TIMEOUT,
        "the mothership does not answer in time",
    )
    .retryable()
}

fn not_understood() -> Failure {
    let message = "the mothership answered with something else than was asked for";
    Failure::new("AE-PROTOCOL", Exit::PROTOCOL, message).next(
        "mothership version",
        "program and server have to be of one version",
    )
}

fn help(screen: &mut Screen<'_>, topic: &[String]) -> Outcome {
    common::help(screen, Args::command(), topic)
}
