//! Restart after a kill, with a million entries and nothing of them in the page cache.

use std::{fs, path::Path};

use rustix::fs::{Advice, fadvise};

use crate::{
    Failure, Ground,
    figure::{Against::One, Bound::AtMost, Figure},
    host::{ms, now},
    line::System,
    load::bounded,
    server::Server,
};

const ENTRIES: usize = 1_000_000;
const BYTES: usize = 256;
/// Entries made before they are sent.
const PORTION: usize = 10_000;

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let mut server = Server::start(ground.scratch.path(), 2).await?;
    let topic = server.topic().await?;
    bounded("filling", fill(&server, topic)).await?;
    server.kill()?;
    let bytes = forget(&server.wal())?;
    let begun = now();
    server.restart()?;
    let mut line = server.connect(1, topic).await?;
    line.until(|heard| heard.is_ready).await?;
    let served = begun.elapsed();
    let resident = server.process().resident_kb()? / 1_024.0;
    let name = format!("restart with {ENTRIES} entries");
    let payload = (ENTRIES * BYTES) as f64;
    Ok(vec![
        Figure::new(format!("{name}: first peer served, ms"), ms(served)).goal(AtMost, 100.0, One),
        Figure::new(format!("{name}: server resident MB"), resident).goal(AtMost, 100.0, One),
        Figure::new(format!("{name}: disk/payload"), bytes as f64 / payload),
    ])
}

async fn fill(server: &Server, topic: u8) -> Result<(), Failure> {
    let mut writer = server.connect(0, topic).await?;
    for portion in 1..=ENTRIES / PORTION {
        let runs = writer.speech.prepare_runs(PORTION, BYTES)?;
        for _ in 0..runs {
            crate::line::Speech::publish(&mut writer.speech)?;
        }
        writer
            .until(|heard| portion * PORTION <= heard.acks)
            .await?;
    }
    Ok(())
}

/// Drops the files of a directory from the page cache; how many bytes they have.
fn forget(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let file = fs::File::open(entry?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        bytes += file.metadata()?.len();
    }
    Ok(bytes)
}
