//! The loop that drives one link: bytes in, frames out, one timer.
//!
//! Invariants:
//! - what waits to be read is bounded: while the owner is busy, nothing is read and no credit is given;
//! - many frames leave in one write, the most urgent first;
//! - a write that makes no progress for [`STALLED_MS_MAX`] ends the link.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aura_proto::{
    Code,
    frame::FrameType,
    limits::{SEND_QUEUE_BYTES_MAX, STALLED_MS_MAX},
    session::{Class, Event, Session, Side},
};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc},
};

use crate::clock::Clock;

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 64 << 10;
/// Messages that wait for the owner.
const INBOX: usize = 64;

/// What happens on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// A whole message.
    Message {
        /// On which stream.
        stream: u32,
        /// Its type.
        kind: FrameType,
        /// Still encoded.
        payload: Bytes,
    },
    /// What was queued has drained below half of the limit.
    Drained,
    /// The link is over; the last event.
    Closed {
        /// Why.
        code: Code,
        /// For people; never trusted.
        detail: String,
        /// Whether the other side said so.
        by_peer: bool,
    },
}

enum Order {
    Authenticated,
    Close(Code, String),
    Send(u32, FrameType, Bytes),
}

struct Shared {
    orders: Mutex<VecDeque<Order>>,
    wake: Notify,
    queued: AtomicUsize,
}

/// The owner's end of a link. Cheap to clone.
#[derive(Clone)]
pub struct LinkHandle {
    shared: Arc<Shared>,
}

impl LinkHandle {
    /// Queues a message; answers how many bytes are queued now. Never blocks: the caller minds the limit.
    pub fn send(&self, stream: u32, kind: FrameType, payload: Bytes) -> usize {
        let bytes = payload.len();
        let queued = self.shared.queued.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.order(Order::Send(stream, kind, payload));
        queued
    }

    /// Bytes queued and not yet written.
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Acquire)
    }

    /// Lifts the caps that hold before authentication.
    pub fn authenticated(&self) {
        self.order(Order::Authenticated);
    }

    /// Ends the link, telling the other side why.
    pub fn close(&self, code: Code, detail: &str) {
        self.order(Order::Close(code, detail.to_owned()));
    }

    fn order(&self, order: Order) {
        self.shared
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(order);
        self.shared.wake.notify_one();
    }
}

/// Starts to drive a link; `streams` are opened at once, in order, and their numbers returned.
pub fn spawn<S>(
    stream: S,
    side: Side,
    is_join: bool,
    streams: &[Class],
    clock: Clock,
) -> (LinkHandle, Vec<u32>, mpsc::Receiver<LinkEvent>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let now = clock.mono_ms();
    let mut session = if is_join {
        Session::join(side, now)
    } else {
        Session::new(side, now)
    };
    let numbers = streams
        .iter()
        .filter_map(|class| session.open_stream(*class).ok())
        .collect();
    let shared = Arc::new(Shared {
        orders: Mutex::new(VecDeque::new()),
        wake: Notify::new(),
        queued: AtomicUsize::new(0),
    });
    let (sender, events) = mpsc::channel(INBOX);
    let handle = LinkHandle {
        shared: Arc::clone(&shared),
    };
    let (read, write) = tokio::io::split(stream);
    let driver = Driver {
        session,
        shared,
        clock,
        sender,
        was_over: false,
    };
    tokio::spawn(driver.run(read, write));
    (handle, numbers, events)
}

struct Driver {
    session: Session,
    shared: Arc<Shared>,
    clock: Clock,
    sender: mpsc::Sender<LinkEvent>,
    was_over: bool,
}

impl Driver {
    async fn run<S>(mut self, mut read: ReadHalf<S>, mut write: WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut inbox = vec![0; 32 << 10];
        let mut pending = BytesMut::new();
        let mut last_write_ms = self.clock.mono_ms();
        loop {
            self.take_orders();
            self.deliver();
            self.gather(&mut pending);
            if pending.is_empty() {
                last_write_ms = self.clock.mono_ms();
                if self.session.is_closed() {
                    break;
                }
            }
            let stalled_at = last_write_ms + STALLED_MS_MAX;
            let wake_ms = if pending.is_empty() {
                self.session.deadline()
            } else {
                Some(self.session.deadline().unwrap_or(u64::MAX).min(stalled_at))
            };
            let can_read = self.session.wants_input() && 1 < self.sender.capacity();
            tokio::select! {
                biased;
                written = write.write(&pending), if !pending.is_empty() => match written {
                    Ok(0) | Err(_) => self.session.transport_ended(Code::BYE, "the connection broke"),
                    Ok(count) => {
                        let _ = pending.split_to(count);
                        last_write_ms = self.clock.mono_ms();
                        if pending.is_empty() && write.flush().await.is_err() {
                            self.session.transport_ended(Code::BYE, "the connection broke");
                        }
                    }
                },
                read = read.read(&mut inbox), if can_read => match read {
                    Ok(0) | Err(_) => self.session.transport_ended(Code::BYE, "the connection ended"),
                    Ok(count) => self.session.receive(self.clock.mono_ms(), &inbox[..count]),
                },
                () = self.shared.wake.notified() => {}
                () = self.sender.closed(), if !self.session.is_closed() => {
                    self.session.close(Code::BYE, "");
                }
                permit = self.sender.reserve(), if !can_read && !self.sender.is_closed() => {
                    drop(permit);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    self.session.reading_resumed(self.clock.mono_ms());
                }
                () = until(&self.clock, wake_ms) => {
                    let now = self.clock.mono_ms();
                    if !pending.is_empty() && stalled_at <= now {
                        self.session.transport_ended(Code::TIMEOUT, "nothing could be written");
                        pending.clear();
                    }
                    self.session.tick(now);
                }
            }
            if self.session.is_closed() && pending.is_empty() {
                break;
            }
        }
        let _ = write.shutdown().await;
        self.finish().await;
    }

    fn take_orders(&mut self) {
        loop {
            let order = self
                .shared
                .orders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match order {
                Some(Order::Send(stream, kind, payload)) => {
                    if let Err(error) = self.session.send(stream, kind, payload) {
                        tracing::debug!(%error, stream, "not sent");
                    }
                }
                Some(Order::Authenticated) => self.session.authenticated(),
                Some(Order::Close(code, detail)) => self.session.close(code, &detail),
                None => break,
            }
        }
        self.publish_queue();
    }

    /// Hands events to the owner while there is room; an owner that is gone ends the link.
    fn deliver(&mut self) {
        while 1 < self.sender.capacity() {
            let Some(event) = self.session.poll_event() else {
                break;
            };
            let event = match event {
                Event::Message {
                    stream,
                    kind,
                    payload,
                } => LinkEvent::Message {
                    stream,
                    kind,
                    payload,
                },
                Event::Closed { code, detail, by } => LinkEvent::Closed {
                    code,
                    detail,
                    by_peer: by == aura_proto::session::ClosedBy::Remote,
                },
                Event::StreamEnded { .. } | Event::StreamReset { .. } => continue,
            };
            if self.sender.try_send(event).is_err() {
                return;
            }
        }
    }

    /// Gathers frames for one write.
    fn gather(&mut self, pending: &mut BytesMut) {
        if !pending.is_empty() {
            return;
        }
        while pending.len() < WRITE_BYTES {
            let Some(frame) = self.session.poll_transmit() else {
                break;
            };
            pending.put_slice(&frame.header);
            pending.put_slice(&frame.payload);
        }
        self.publish_queue();
    }

    fn publish_queue(&mut self) {
        let waiting: usize = {
            let orders = self
                .shared
                .orders
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let bytes = |order: &Order| match order {
                Order::Send(_, _, payload) => payload.len(),
                Order::Authenticated | Order::Close(..) => 0,
            };
            orders.iter().map(bytes).sum()
        };
        let queued = self.session.queued_total() + waiting;
        self.shared.queued.store(queued, Ordering::Release);
        if SEND_QUEUE_BYTES_MAX < queued {
            self.was_over = true;
        } else if self.was_over && queued < SEND_QUEUE_BYTES_MAX / 2 {
            // If the inbox is full just now, the next turn tells it.
            self.was_over = self.sender.try_send(LinkEvent::Drained).is_err();
        }
    }

    async fn finish(mut self) {
        while let Some(event) = self.session.poll_event() {
            let event = match event {
                Event::Message {
                    stream,
                    kind,
                    payload,
                } => LinkEvent::Message {
                    stream,
                    kind,
                    payload,
                },
                Event::Closed { code, detail, by } => LinkEvent::Closed {
                    code,
                    detail,
                    by_peer: by == aura_proto::session::ClosedBy::Remote,
                },
                Event::StreamEnded { .. } | Event::StreamReset { .. } => continue,
            };
            if self.sender.send(event).await.is_err() {
                return;
            }
        }
    }
}

async fn until(clock: &Clock, mono_ms: Option<u64>) {
    match mono_ms {
        Some(at) => tokio::time::sleep_until(clock.at(at).into()).await,
        None => std::future::pending().await,
    }
}
