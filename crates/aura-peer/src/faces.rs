//! The daemon's socket: one thread per face, one line per request.
//!
//! Invariants:
//! - only the owner of the home reaches the socket;
//! - a request longer than the limit ends the connection;
//! - what the daemon has answered reaches its face before the process ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, Weak, mpsc},
    thread,
    time::Duration,
};

use aura_api::{Exit, Failure, REQUEST_BYTES_MAX, Reply, Request, socket};

use crate::daemon::Event;

/// How long a face may take to read its last answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Held while a request is being answered.
type Asking = Arc<mpsc::Sender<()>>;

/// The faces that are being served.
pub(crate) struct Faces {
    asking: Asking,
    quiet: mpsc::Receiver<()>,
}

impl Faces {
    /// Takes no more requests, and waits until the answers given so far are written.
    pub(crate) fn finish(self) {
        drop(self.asking);
        // Nothing is ever sent: this ends when nobody holds the other end, or in time.
        self.quiet.recv_timeout(FAREWELL).ok();
    }
}

/// Serves the socket until the process ends.
pub(crate) fn serve(listener: UnixListener, events: mpsc::Sender<Event>) -> std::io::Result<Faces> {
    let (asking, quiet) = mpsc::channel();
    let asking: Asking = Arc::new(asking);
    let open = Arc::downgrade(&asking);
    thread::Builder::new()
        .name("faces".to_owned())
        .spawn(move || {
            for stream in listener
                .incoming()
                .flatten()
                .filter(|stream| socket::is_own(stream))
            {
                let (events, open) = (events.clone(), open.clone());
                // A face that cannot be served now tries again.
                thread::Builder::new()
                    .name("face".to_owned())
                    .spawn(move || converse(stream, &events, &open))
                    .ok();
            }
        })?;
    Ok(Faces { asking, quiet })
}

fn converse(stream: UnixStream, events: &mpsc::Sender<Event>, open: &Weak<mpsc::Sender<()>>) {
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
        let Some(_asking) = open.upgrade() else {
            return;
        };
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
