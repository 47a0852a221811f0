//! One client connection, the same for whatever server is measured: only what is said on it differs.
//!
//! Invariants:
//! - a client costs one task, one buffer and one pass over the bytes, so that it is the server that is measured;
//! - a publication that is lost, repeated or out of order is a failure, never a figure.

use std::future::Future;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{Failure, host::Process};

/// A server under load.
pub(crate) trait System: Sync {
    /// Its protocol.
    type Speech: Speech;

    fn process(&self) -> Process;

    /// A topic that nothing was published to.
    fn topic(&self) -> impl Future<Output = Result<u8, Failure>> + Send;

    /// A connection of one client, ready to publish to a topic or to subscribe to it.
    fn connect(
        &self,
        client: usize,
        topic: u8,
    ) -> impl Future<Output = Result<Line<Self::Speech>, Failure>> + Send;
}

/// A client's side of a protocol, without a socket.
pub(crate) trait Speech: Send + 'static {
    /// Makes publications beforehand: what signing costs the author is not the server's time.
    fn prepare(&mut self, count: usize, bytes: usize) -> Result<(), Failure>;
    /// Queues the next of them.
    fn publish(&mut self) -> Result<(), Failure>;
    /// Asks for everything of the topic, from its start.
    fn subscribe(&mut self);
    /// Takes what arrived.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    /// Takes what is to be written.
    fn say(&mut self, out: &mut Vec<u8>);
    /// What arrived so far.
    fn heard(&self) -> Heard;
}

/// What arrived on a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    pub(crate) is_ready: bool,
    pub(crate) is_subscribed: bool,
    /// Own publications that are durable.
    pub(crate) acks: usize,
    /// Publications, each once and in order.
    pub(crate) events: usize,
}

/// A connection.
pub(crate) struct Line<S> {
    pub(crate) speech: S,
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl<S: Speech> Line<S> {
    /// Introduces the client.
    pub(crate) async fn open(stream: TlsStream<TcpStream>, speech: S) -> Result<Self, Failure> {
        let mut line = Self {
            speech,
            stream,
            buffer: vec![0; 64 << 10],
            out: Vec::new(),
        };
        line.until(|heard| heard.is_ready).await?;
        Ok(line)
    }

    pub(crate) async fn subscribe(&mut self) -> Result<(), Failure> {
        self.speech.subscribe();
        self.until(|heard| heard.is_subscribed).await
    }

    /// Converses until something holds.
    pub(crate) async fn until(&mut self, holds: impl Fn(Heard) -> bool) -> Result<(), Failure> {
        self.write().await?;
        while !holds(self.speech.heard()) {
            self.read().await?;
            self.write().await?;
        }
        Ok(())
    }

    /// Hears once. Nothing is lost when this is dropped while it waits.
    pub(crate) async fn read(&mut self) -> Result<Heard, Failure> {
        match self.stream.read(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            count => {
                self.speech.hear(&self.buffer[..count])?;
                Ok(self.speech.heard())
            }
        }
    }

    /// Writes what is to be said, if anything.
    pub(crate) async fn write(&mut self) -> Result<(), Failure> {
        self.speech.say(&mut self.out);
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await?;
            self.out.clear();
        }
        Ok(())
    }
}
