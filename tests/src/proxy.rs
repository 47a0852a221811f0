//! A TCP proxy between a device and whatever it dials: it cuts, delays, loses and counts.
//!
//! Invariants:
//! - bytes pass in order or not at all; what is lost once is followed by nothing on that connection,
//!   not even by its end;
//! - it listens on one address, whatever becomes of the other side;
//! - it ends with its value.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// What happens to bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They arrive.
    Pass,
    /// They arrive later.
    Delay(Duration),
    /// They vanish, and the connection stays open.
    Lose,
}

/// Which way bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From whoever dialled.
    There,
    /// To whoever dialled.
    Back,
}

struct State {
    target: SocketAddr,
    /// Whether somebody who dials is connected.
    is_open: bool,
    fates: [Fate; 2],
    passed: [u64; 2],
    lost: [u64; 2],
    refused: u64,
    sockets: Vec<TcpStream>,
    is_over: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// The proxy.
pub struct Proxy {
    /// Where it listens.
    pub listen: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on loopback, on a port that the system chooses, and passes everything on to `target`.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let state = State {
            target: target.parse().unwrap(),
            is_open: true,
            fates: [Fate::Pass; 2],
            passed: [0; 2],
            lost: [0; 2],
            refused: 0,
            sockets: Vec::new(),
            is_over: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { listen, shared }
    }

    /// From now on connections go there.
    pub fn lead_to(&self, target: &str) {
        self.shared
            .change(|state| state.target = target.parse().unwrap());
    }

    /// Decides what happens to bytes that come from now on.
    pub fn set(&self, way: Way, fate: Fate) {
        self.shared.change(|state| state.fates[way as usize] = fate);
    }

    /// Closes every connection.
    pub fn cut(&self) {
        self.shared.change(State::cut);
    }

    /// Closes every connection and whatever is dialled, until [`Proxy::open`].
    pub fn close(&self) {
        self.shared.change(|state| {
            state.is_open = false;
            state.cut();
        });
    }

    /// Connects again whoever dials.
    pub fn open(&self) {
        self.shared.change(|state| state.is_open = true);
    }

    /// Bytes that arrived so far.
    pub fn passed(&self, way: Way) -> u64 {
        self.shared.state().passed[way as usize]
    }

    /// Waits until somebody who dialled was refused, so many times since it began.
    pub fn wait_refused(&self, times: u64) {
        let is_waiting = |state: &mut State| state.refused < times;
        let state = self.shared.state();
        drop(self.shared.changed.wait_while(state, is_waiting).unwrap());
    }

    /// Waits until more than so many bytes vanished; answers how many did.
    pub fn wait_lost(&self, way: Way, more_than: u64) -> u64 {
        let is_waiting = |state: &mut State| state.lost[way as usize] <= more_than;
        let state = self
            .shared
            .changed
            .wait_while(self.shared.state(), is_waiting)
            .unwrap();
        state.lost[way as usize]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.is_over = true;
            state.cut();
        });
        // The thread that accepts hears of it by a last caller.
        TcpStream::connect(&self.listen).ok();
    }
}

impl State {
    fn cut(&mut self) {
        for socket in self.sockets.drain(..) {
            // Whoever closed first has nothing left to close.
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for near in listener.incoming().map_while(Result::ok) {
        let (target, is_open) = {
            let state = shared.state();
            if state.is_over {
                return;
            }
            (state.target, state.is_open)
        };
        let far = is_open.then(|| TcpStream::connect(target).ok()).flatten();
        let Some(far) = far else {
            shared.change(|state| state.refused += 1);
            continue;
        };
        for (way, from, to) in [(Way::There, &near, &far), (Way::Back, &far, &near)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(shared);
            thread::spawn(move || carry(way, from, to, &shared));
        }
        shared.change(|state| state.sockets.extend([near, far]));
    }
}

/// Carries bytes one way until either end closes.
fn carry(way: Way, mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    let mut has_lost = false;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let fate = shared.state().fates[way as usize];
        has_lost |= fate == Fate::Lose;
        if has_lost {
            // A stream with a hole would be a lie that no network tells.
            shared.change(|state| state.lost[way as usize] += count as u64);
            continue;
        }
        if let Fate::Delay(time) = fate {
            thread::sleep(time);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        shared.change(|state| state.passed[way as usize] += count as u64);
    }
    if has_lost {
        // The end of the stream vanishes as all before it, until somebody cuts.
        return;
    }
    for socket in [from, to] {
        socket.shutdown(Shutdown::Both).ok();
    }
}
