//! The daemon's socket: one thread per face, one line per request.
//!
//! Invariants:
//! - only the owner of the home reaches the socket;
//! - a request longer than the limit ends the connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc,
    thread,
};

use aura_api::{Exit, Failure, REQUEST_BYTES_MAX, Reply, Request, socket};

use crate::daemon::Event;

/// Serves the socket until the process ends.
pub(crate) fn serve(listener: UnixListener, events: mpsc::Sender<Event>) -> std::io::Result<()> {
    thread::Builder::new()
        .name("faces".to_owned())
        .spawn(move || {
            for stream in listener
                .incoming()
                .flatten()
                .filter(|stream| socket::is_own(stream))
            {
                let events = events.clone();
                // A face that cannot be served now tries again.
                thread::Builder::new()
                    .name("face".to_owned())
                    .spawn(move || converse(stream, &events))
                    .ok();
            }
        })?;
    Ok(())
}

fn converse(stream: UnixStream, events: &mpsc::Sender<Event>) {
    let Ok(mut write) = stream.try_clone() else {
        return;
    };
    let mut read = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let limit = REQUEST_BYTES_MAX as u64 + 1;
        match (&mut read).take(limit).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if REQUEST_BYTES_MAX < line.len() => {
                let failure = Failure::new("TOO_LARGE", Exit::BUSY, "the request is too long");
                send(&mut write, &Reply::Failed(failure));
                return;
            }
            Ok(_) => {}
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::new("AE-REQUEST", Exit::USAGE, error.to_string());
                if !send(&mut write, &Reply::Failed(failure)) {
                    return;
                }
                continue;
            }
        };
        let (reply, replies) = mpsc::channel();
        if events.send(Event::Call(request, reply)).is_err() {
            return;
        }
        for reply in replies {
            let is_last = matches!(reply, Reply::Done(_) | Reply::Failed(_));
            if !send(&mut write, &reply) {
                return;
            }
            if is_last {
                break;
            }
        }
    }
}

fn send(write: &mut UnixStream, reply: &Reply) -> bool {
    let Ok(mut line) = serde_json::to_vec(reply) else {
        return false;
    };
    line.push(b'\n');
    write.write_all(&line).is_ok()
}
