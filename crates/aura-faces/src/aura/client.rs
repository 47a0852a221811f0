//! The way to the daemon: connect, start it when nobody answers, ask.
//!
//! Invariants:
//! - a daemon is started only in a home that is ours alone, and never with `AURA_NO_AUTOSTART`;
//! - a daemon that is silent or goes away ends the call with a failure, never with waiting for ever;
//! - one that starts is waited for while it goes on, and the caller hears what it is at.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, net::UnixStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use aura_api::{Exit, Failure, Home, Reply, Request, home::DAEMON_SOCKET, socket};
use serde_json::Value;

use crate::{escape, output::Stop, world::Env};

/// How long a starting daemon may do nothing.
const START: Duration = Duration::from_secs(10);
/// How long a daemon may say nothing at all.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a stopping daemon may take.
const STOP: Duration = Duration::from_secs(10);
/// Longest pause between two looks at a starting daemon.
const LOOK: Duration = Duration::from_millis(50);
/// When a daemon that found the lock taken is started once more.
const AGAIN: Duration = Duration::from_millis(500);
/// A log longer than this is set aside before the next start: 8 MiB.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// How much of a log's end is read.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// Variables of the caller that are not the daemon's business.
const NOT_PASSED_ON: [&str; 9] = [
    "AURA_JOIN_TOKEN",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
];

/// Reaches the daemon of one home.
pub(crate) struct Client {
    pub(crate) home: Home,
    exe: PathBuf,
    env: Env,
    /// When the caller gives up; else as long as the daemon goes on.
    limit: Limit,
    /// How long a starting daemon may do nothing.
    patience: Duration,
}

/// The time that a command may take, from its beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    begun: Instant,
    timeout: Option<Duration>,
}

impl Limit {
    pub(crate) fn from_now(timeout: Option<Duration>) -> Self {
        Self {
            begun: now(),
            timeout,
        }
    }

    fn left(&self) -> Option<Duration> {
        let timeout = self.timeout?;
        Some(timeout.saturating_sub(self.begun.elapsed()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// Hears what a starting daemon is at.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(&str);

/// What to do with a line that is not the last one.
pub(crate) type OnReply<'a> = &'a mut dyn FnMut(Reply) -> Result<(), Stop>;

impl Client {
    pub(crate) fn new(home: Home, exe: PathBuf, env: Env, limit: Limit) -> Self {
        Self {
            home,
            exe,
            env,
            limit,
            patience: START,
        }
    }

    /// With another time that a starting daemon may do nothing.
    #[cfg(test)]
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// A connection to the daemon that runs, or none.
    pub(crate) fn running(&self) -> Result<Option<UnixStream>, Failure> {
        match socket::connect(&self.home.run_dir(), DAEMON_SOCKET) {
            Ok(stream) if socket::is_own(&stream) => Ok(Some(stream)),
            Ok(_) => Err(foreign(&self.home)),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
                    Ok(None)
                }
                ErrorKind::PermissionDenied => Err(foreign(&self.home)),
                _ => Err(broken(&error)),
            },
        }
    }

    /// A connection to the daemon, started when none runs and the caller does not forbid it.
    pub(crate) fn reach(&self, tell: Tell<'_>) -> Result<UnixStream, Failure> {
        match self.running()? {
            Some(stream) => Ok(stream),
            None if !self.env.is_on("AURA_NO_AUTOSTART") => self.start(tell),
            None => Err(
                Failure::new("AE-DAEMON", Exit::NO_DAEMON, "the daemon is not running")
                    .next("aura up", "starts it")
                    .retryable(),
            ),
        }
    }

    /// Starts a daemon in the background and connects to it; one that has much to read is waited for while it goes on.
    pub(crate) fn start(&self, tell: Tell<'_>) -> Result<UnixStream, Failure> {
        self.home.prepare()?;
        let mut log = self.open_log()?;
        let log_start = log
            .seek(SeekFrom::End(0))
            .map_err(|error| self.log_failure(&error))?;
        let mut sign = self.sign_of_life();
        let mut child = Some(self.spawn(&log)?);
        let begun = now();
        let mut refused = begun;
        let mut pause = Duration::from_millis(1);
        let (mut heard, mut told, mut is_alive) = (begun, String::new(), false);
        while heard.elapsed() < self.patience {
            if let Some(stream) = self.running()? {
                return Ok(stream);
            }
            if self.limit.is_over() {
                return Err(timed_out());
            }
            let newer = self.sign_of_life();
            if newer.is_some() && newer != sign {
                (heard, sign) = (now(), newer);
                is_alive = true;
            }
            let text = sign.as_deref().and_then(|sign| sign.split_once(' '));
            let text = text.map_or("", |(_, text)| text);
            // A start that is as short as most needs no words.
            if is_alive && told != text && self.patience / 5 <= begun.elapsed() {
                text.clone_into(&mut told);
                tell(&escape::line(text));
            }
            let ended = child
                .as_mut()
                .map(Child::try_wait)
                .transpose()
                .ok()
                .flatten()
                .flatten();
            match ended {
                // Another one was faster and has the lock: its socket comes, or it ends and the lock is free.
                Some(status) if is_locked(status) => {
                    child = None;
                    refused = now();
                }
                None if child.is_none() && AGAIN <= refused.elapsed() => {
                    child = Some(self.spawn(&log)?);
                }
                Some(status) => return Err(self.start_failure(status, log_start)),
                None => {}
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LOOK);
        }
        let message = "the daemon started but does not answer";
        Err(Failure::new("AE-DAEMON-STUCK", Exit::NO_DAEMON, message)
            .next("aura daemon logs", "what it is doing")
            .retryable())
    }

    /// What a starting daemon says last, another text each time that it has gone on.
    fn sign_of_life(&self) -> Option<String> {
        fs::read_to_string(self.home.starting_file()).ok()
    }

    fn spawn(&self, log: &File) -> Result<Child, Failure> {
        let for_child = || log.try_clone().map_err(|error| self.log_failure(&error));
        let is_ours = |name: &OsString| NOT_PASSED_ON.iter().all(|not| name != *not);
        let passed_on = self.env.0.iter().filter(|(name, _)| is_ours(name));
        let mut command = Command::new(&self.exe);
        command
            .args(["daemon", "run", "--detached"])
            .env_clear()
            .envs(passed_on)
            .env("AURA_HOME", self.home.root())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(for_child()?)
            .stderr(for_child()?);
        command.spawn().map_err(|error| {
            let message = format!("the daemon cannot be started: {error}");
            Failure::new("AE-DAEMON", Exit::NO_DAEMON, message)
                .next("aura daemon run", "runs it in the foreground")
        })
    }

    fn open_log(&self) -> Result<File, Failure> {
        let path = self.home.log_file();
        if fs::metadata(&path).is_ok_and(|meta| LOG_BYTES_MAX < meta.len()) {
            fs::rename(&path, path.with_extension("log.1"))
                .map_err(|error| self.log_failure(&error))?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).mode(0o600);
        options
            .open(&path)
            .map_err(|error| self.log_failure(&error))
    }

    fn log_failure(&self, error: &io::Error) -> Failure {
        let message = format!("cannot write {}: {error}", self.home.log_file().display());
        Failure::new("AE-STORAGE", Exit::STORAGE, message)
    }

    /// Passes on what a daemon said when it could not start.
    fn start_failure(&self, status: ExitStatus, log_start: u64) -> Failure {
        let said = self.log_tail(log_start).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let told = lines.iter().rposition(|line| line.starts_with("error: "));
        let told = told.map_or(&[][..], |at| &lines[at..]);
        let said = told.first().and_then(|line| line.strip_prefix("error: "));
        let exit = match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code @ 13..=16) => Exit(code),
            _ => Exit::NO_DAEMON,
        };
        let why = said.map_or_else(|| status.to_string(), str::to_owned);
        let id = if exit == Exit::UNSAFE {
            "AE-UNSAFE"
        } else {
            "AE-DAEMON"
        };
        let failure = Failure::new(id, exit, format!("the daemon did not start: {why}"));
        // The way out that it knows comes first.
        let steps = told.windows(2).filter_map(|pair| {
            let step = pair[0].strip_prefix("next: ")?;
            Some((step.to_owned(), pair[1].trim().to_owned()))
        });
        let failure = steps.fold(failure, |failure, (step, why)| failure.next(step, why));
        failure.next("aura daemon logs", "what it said")
    }

    /// The end of the daemon's log, from `start` at the earliest.
    pub(crate) fn log_tail(&self, start: u64) -> io::Result<String> {
        let mut log = File::open(self.home.log_file())?;
        let end = log.metadata()?.len();
        log.seek(SeekFrom::Start(
            start.max(end.saturating_sub(LOG_TAIL_BYTES)).min(end),
        ))?;
        let mut bytes = Vec::new();
        log.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Asks one question; lines before the last go to `on_reply`.
pub(crate) fn ask(
    stream: UnixStream,
    request: &Request,
    limit: Limit,
    on_reply: OnReply<'_>,
) -> Result<Value, Stop> {
    let clock = stream.try_clone().map_err(|error| broken(&error))?;
    clock
        .set_write_timeout(Some(SILENCE))
        .map_err(|error| broken(&error))?;
    let mut replies = socket::call(stream, request).map_err(|error| ask_failure(&error))?;
    loop {
        // The system rounds: how long was waited for tells better than a clock whose time is over.
        let given = limit.left().filter(|left| *left <= SILENCE);
        let pause = given.unwrap_or(SILENCE).max(Duration::from_millis(1));
        clock
            .set_read_timeout(Some(pause))
            .map_err(|error| broken(&error))?;
        match replies.next() {
            None => return Err(hung_up().into()),
            // Whoever gave a time wants to hear that it was not kept.
            Some(Ok(_)) if limit.is_over() => return Err(timed_out().into()),
            Some(Ok(Reply::Done(document))) => return Ok(document),
            Some(Ok(Reply::Failed(failure))) => return Err(failure.into()),
            Some(Ok(reply)) => on_reply(reply)?,
            Some(Err(error)) if is_timeout(&error) => {
                return Err(given.map_or_else(stuck, |_| timed_out()).into());
            }
            Some(Err(error)) => return Err(ask_failure(&error).into()),
        }
    }
}

/// Listens to a stream of events until it is cut; silence is fine here.
pub(crate) fn listen(
    stream: UnixStream,
    request: &Request,
    limit: Limit,
    on_reply: OnReply<'_>,
) -> Result<(), Stop> {
    let clock = stream.try_clone().map_err(|error| broken(&error))?;
    let mut replies = socket::call(stream, request).map_err(|error| ask_failure(&error))?;
    loop {
        let pause = limit.left().map(|left| left.max(Duration::from_millis(1)));
        clock
            .set_read_timeout(pause)
            .map_err(|error| broken(&error))?;
        match replies.next() {
            None => return Err(hung_up().into()),
            Some(Ok(Reply::Done(_))) => return Ok(()),
            Some(Ok(Reply::Failed(failure))) => return Err(failure.into()),
            Some(Ok(reply)) => on_reply(reply)?,
            Some(Err(error)) if is_timeout(&error) => return Err(timed_out().into()),
            Some(Err(error)) => return Err(ask_failure(&error).into()),
        }
    }
}

/// Waits until the process at the other end is gone.
pub(crate) fn wait_for_end(mut stream: UnixStream) -> Result<(), Failure> {
    stream
        .set_read_timeout(Some(STOP))
        .map_err(|error| broken(&error))?;
    let mut rest = [0; 256];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) if is_timeout(&error) => return Err(stuck()),
            Err(error) => return Err(broken(&error)),
        }
    }
}

/// A failure for a daemon whose answer is not of this version's shape.
pub(crate) fn not_understood(what: &str) -> Failure {
    let message = format!("the daemon answered with something else than {what}");
    Failure::new("AE-PROTOCOL", Exit::PROTOCOL, message).next(
        "aura daemon restart",
        "so that program and daemon are of one version",
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "a face waits for a process, not for an engine"
)]
fn now() -> Instant {
    Instant::now()
}

fn is_locked(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(Exit::LOCKED.0))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn ask_failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::InvalidInput => Failure::new(
            "AE-TOO-LARGE",
            Exit::USAGE,
            "this is too much for one request",
        ),
        ErrorKind::InvalidData => not_understood("a reply"),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => hung_up(),
        _ if is_timeout(error) => stuck(),
        _ => broken(error),
    }
}

fn hung_up() -> Failure {
    Failure::new(
        "AE-DAEMON",
        Exit::NO_DAEMON,
        "the daemon stopped while it answered",
    )
    .next("aura daemon logs", "why it stopped")
    .retryable()
}

fn stuck() -> Failure {
    Failure::new(
        "AE-DAEMON-STUCK",
        Exit::NO_DAEMON,
        "the daemon is there but does not answer",
    )
    .next(
        "aura daemon restart",
        "starts it anew; what is queued is kept",
    )
    .retryable()
}

fn timed_out() -> Failure {
    Failure::new(
        "AE-TIMEOUT",
        Exit::TIMEOUT,
        "no answer within the given time",
    )
    .next("aura status", "what is missing")
    .retryable()
}

fn broken(error: &io::Error) -> Failure {
    let message = format!(
        "cannot talk to the daemon: {}",
        escape::line(&error.to_string())
    );
    Failure::new("AE-DAEMON", Exit::NO_DAEMON, message)
        .next("aura daemon restart", "starts it anew")
}

fn foreign(home: &Home) -> Failure {
    let message = format!("{} is not this user's", home.run_dir().display());
    Failure::new("AE-UNSAFE", Exit::UNSAFE, message)
        .next("export AURA_HOME=DIR", "a directory of your own")
}
