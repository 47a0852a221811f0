//! A peer that pushes and counts.

use std::sync::Arc;

use aura_proto::{
    Digest, LogId, VersionVector,
    event::EventRun,
    message::{Message, Outcome, feature},
};
use mothership_tests::wire::{Device, Wire};
use tokio::sync::Semaphore;

use crate::{Failure, server::Server};

pub(crate) struct Client {
    device: Device,
    wire: Wire,
}

fn log() -> LogId {
    LogId([7; 16])
}

impl Client {
    pub(crate) async fn join(server: &Server, name: &str) -> Result<Self, Failure> {
        let device = Device::join(&server.token, name).await?;
        // Who is there does not belong to the measured load.
        let wire = device
            .connect_with(feature::CHECKPOINTS | feature::VECTORS)
            .await?;
        Ok(Self { device, wire })
    }

    /// Pushes one entry and waits until it is durable.
    pub(crate) async fn push(&mut self, bytes: usize) -> Result<(), Failure> {
        let entry = self.device.entry(log(), &vec![7; bytes])?;
        self.wire.push(log(), &[entry]);
        match self.wire.acked().await?.outcomes.first() {
            Some((_, Outcome::Stored { .. })) => Ok(()),
            other => Err(format!("not stored: {other:?}").into()),
        }
    }

    /// Subscribes and adds one permit for each entry that arrives, as long as the link lives.
    pub(crate) async fn count_events(mut self, seen: Arc<Semaphore>) -> Result<(), Failure> {
        let start = (0, Digest::ZERO);
        self.wire
            .subscribe(log(), start, VersionVector::default())
            .await?;
        tokio::spawn(async move {
            while let Ok((_, message)) = self.wire.next().await {
                if let Message::Event(run) = message
                    && let Ok(run) = EventRun::decode(&run)
                {
                    seen.add_permits(run.entries.len());
                }
            }
        });
        Ok(())
    }
}
