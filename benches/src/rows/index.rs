//! The first index of a real tree through `aura join`, beside bare parsing of the same files on as many cores.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use aura_semantic::{Budget, outline};
use mothership_tests::{Team, token};
use tree_sitter::Parser;

use crate::{
    Failure, Ground,
    figure::{
        Against::{Limit, One},
        Bound::AtMost,
        Figure,
    },
    host::{Process, now},
    tree,
};

const LINES: usize = 500_000;

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let team = Team::at(tempfile::tempdir_in(ground.scratch.path())?);
    let origin = team.dir.path().join("origin");
    let source = ground.source.as_deref().ok_or("no source tree is known")?;
    let copied = tree::copy(source, &origin.join("real"), LINES)?;
    tree::commit(&origin);
    let server = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let begun = now();
    let joined = alice.join(&token(&server.ready), "alice", "observe").ok();
    let first_s = begun.elapsed().as_secs_f64();
    let first_peak_mb = Process(alice.pid()).peak_kb()? / 1_024.0;
    alice.aura(&["down"]).ok();
    let begun = now();
    alice.aura(&["up"]).ok();
    alice.aura(&["status"]).ok();
    let warm_s = begun.elapsed().as_secs_f64();
    let peak_mb = Process(alice.pid()).peak_kb()? / 1_024.0;
    let bare_s = parse(&copied.files)?;
    let index_s = joined["index_ms"].as_f64().unwrap_or(0.0) / 1e3;
    let mb = copied.bytes as f64 / 1e6;
    let name = format!("{} lines, {} files", copied.lines, copied.files.len());
    Ok(vec![
        Figure::new(format!("aura join, {name}: s"), first_s).limit(bare_s),
        Figure::new(format!("first index, {name}: s"), index_s)
            .limit(bare_s)
            .goal(AtMost, 1.5, Limit),
        Figure::new(format!("first index, {name}: MB/s"), mb / index_s).limit(mb / bare_s),
        Figure::new(
            format!("first index, {name}: units/s"),
            units(&copied.files)? as f64 / index_s,
        ),
        Figure::new(format!("warm start, {name}: s"), warm_s).goal(AtMost, 0.3, One),
        Figure::new(
            format!("daemon's peak, {name}: MB"),
            first_peak_mb.max(peak_mb),
        ),
    ])
}

/// How many functions, types and the like are in the files.
fn units(files: &[PathBuf]) -> Result<usize, Failure> {
    let mut count = 0;
    for path in files {
        let outline = outline("a.rs", &std::fs::read(path)?, &Budget::default());
        count += outline.units.len();
    }
    Ok(count)
}

/// Seconds to read and parse the files, nothing else, on every core.
fn parse(files: &[PathBuf]) -> Result<f64, Failure> {
    let next = AtomicUsize::new(0);
    let parse_some = || -> Result<(), Failure> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_rust::LANGUAGE.into())?;
        while let Some(path) = files.get(next.fetch_add(1, Relaxed)) {
            parser.parse(std::fs::read(path)?, None).ok_or("no tree")?;
        }
        Ok(())
    };
    let begun = now();
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(parse_some)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a parser panicked")?)
    })?;
    Ok(begun.elapsed().as_secs_f64())
}
