//! Catch-up of stored entries, to one and to twenty at once.

use crate::{
    Failure, Ground,
    figure::{
        Against::Peer,
        Bound::{AtLeast, AtMost},
        Figure,
    },
    line::{Speech, System},
    load::{bounded, catch_up, write_some},
    nats::{Delivery, Syncs},
    rows::BODY,
    server::Server,
};

const STORED: usize = 20_000;
const READERS: [usize; 2] = [1, 20];

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let server = Server::start(ground.scratch.path(), 1 + READERS[1]).await?;
    let ours = bounded("catch-up", replay(&server)).await?;
    drop(server);
    let mut peer = None;
    if let Some(nats) = ground.nats(Syncs::Later, Delivery::Replay).await? {
        peer = Some(bounded("catch-up", replay(&nats)).await?);
    }
    let mut figures = Vec::new();
    for (n, readers) in READERS.into_iter().enumerate() {
        let name = format!("catch-up of {STORED} by {readers}");
        let value = |what: &str, value: fn(&(f64, f64)) -> f64| {
            Figure::new(format!("{name}: {what}"), value(&ours[n]))
                .peer(peer.as_ref().map(|peer| value(&peer[n])))
        };
        figures.push(value("entries/s", |(rate, _)| *rate).goal(AtLeast, 1.5, Peer));
        let memory = value("server resident MB", |(_, mb)| *mb);
        figures.push(if readers == 1 {
            memory
        } else {
            memory.goal(AtMost, 0.1, Peer)
        });
    }
    Ok(figures)
}

/// Rate and resident memory of each number of readers.
async fn replay<S: System>(system: &S) -> Result<Vec<(f64, f64)>, Failure> {
    let topic = system.topic().await?;
    let mut writer = system.connect(0, topic).await?;
    for _ in 0..STORED / 1_000 {
        writer.speech.prepare(1_000, BODY)?;
        write_some(&mut writer, 1_000, 64).await?;
    }
    let mut measured = Vec::new();
    for readers in READERS {
        let rate = catch_up(system, topic, readers, STORED).await?;
        measured.push((rate, system.process().resident_kb()? / 1_024.0));
    }
    Ok(measured)
}
