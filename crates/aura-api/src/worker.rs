//! A question to a process of its own, which may hang, be killed or abort.
//!
//! Invariants:
//! - whoever asks gets an answer in time, or the reason why there is none;
//! - the worker is gone when the answer is there.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Why a worker said nothing sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It could not be started.
    NotStarted,
    /// It ended without success.
    Died,
    /// It took too long, and was killed.
    Late,
}

/// Starts a worker, gives it the question on standard input, and returns what it says on standard output, at most
/// `answer_bytes_max` bytes of it, once it has ended well.
pub fn ask_worker(
    command: &mut Command,
    question: Vec<u8>,
    answer_bytes_max: u64,
    limit: Duration,
) -> Result<Vec<u8>, NoAnswer> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(|_| NoAnswer::NotStarted)?;
    let answer = converse(&mut child, question, answer_bytes_max, limit);
    if answer.is_err() {
        // It may have ended already.
        child.kill().ok();
    }
    let ended = child.wait();
    let answer = answer?;
    match ended.is_ok_and(|status| status.success()) {
        true => Ok(answer),
        false => Err(NoAnswer::Died),
    }
}

fn converse(
    child: &mut Child,
    question: Vec<u8>,
    answer_bytes_max: u64,
    limit: Duration,
) -> Result<Vec<u8>, NoAnswer> {
    let (Some(mut asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(NoAnswer::NotStarted);
    };
    thread::spawn(move || {
        // A worker that does not read on says nothing sound either.
        asks.write_all(&question).ok();
    });
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = answers.take(answer_bytes_max).read_to_end(&mut bytes);
        // Whoever asked may have given up.
        sender.send(read.map(|_| bytes)).ok();
    });
    match receiver.recv_timeout(limit) {
        Ok(read) => read.map_err(|_| NoAnswer::Died),
        Err(_) => Err(NoAnswer::Late),
    }
}
