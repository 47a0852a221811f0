//! The semantic engine: outline, index of one edited file, and merges beside git's and the best structured one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use aura_semantic::{Budget, Indexed, index};
use tree_sitter::{Parser, Tree};

use crate::{
    Failure, Ground,
    figure::{
        Against::{Limit, One, Peer},
        Bound::AtMost,
        Figure,
    },
    host::{now, percentile},
    tree,
};

const LINES: usize = 20_000;
const MERGES: usize = 100;

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let mut figures = outlines()?;
    figures.extend(merges(ground)?);
    Ok(figures)
}

/// One large file, whole and after an edit of one function.
fn outlines() -> Result<Vec<Figure>, Failure> {
    let function = |n: usize| format!("fn f{n}(a: u64) -> u64 {{\n    a + {n}\n}}\n\n");
    let text: String = (0..LINES / 4).map(function).collect();
    let edited = text.replacen("a + 2500\n", "a + 2501\n", 1);
    let budget = Budget::default();
    let outline =
        |text: &str, before: Option<&Indexed>| index("a.rs", text.as_bytes(), before, &budget);
    let before = outline(&text, None);
    let parsed = parse(&text)?;
    Ok(vec![
        Figure::new(
            format!("outline of {LINES} lines: ms"),
            best(|| outline(&text, None)),
        )
        .limit(best(|| parse(&text)))
        .goal(AtMost, 2.0, Limit),
        Figure::new(
            format!("index of {LINES} lines, one function edited: ms"),
            best(|| outline(&edited, Some(&before))),
        )
        .limit(best(|| parsed.clone())),
    ])
}

fn parse(text: &str) -> Result<Tree, Failure> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_rust::LANGUAGE.into())?;
    Ok(parser.parse(text, None).ok_or("no tree")?)
}

/// The shortest of ten times, in milliseconds.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut times: Vec<Duration> = (0..10)
        .map(|_| {
            let begun = now();
            std::hint::black_box(work());
            begun.elapsed()
        })
        .collect();
    percentile(&mut times, 0)
}

/// Three versions of a file, on disk.
struct Versions {
    base: PathBuf,
    ours: PathBuf,
    theirs: PathBuf,
}

/// Real files, in which two people changed neighbouring lines: git has a conflict in each.
fn versions(ground: &Ground, dir: &Path) -> Result<Vec<Versions>, Failure> {
    let source = ground.source.as_deref().ok_or("no source tree is known")?;
    let copied = tree::copy(source, &dir.join("from"), 200_000)?;
    let mut all = Vec::new();
    for path in copied.files {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let is_call = |line: &&str| line.starts_with("    ") && line.ends_with(");\n");
        let at = lines.windows(2).position(|pair| pair.iter().all(is_call));
        let Some(at) = at.filter(|_| (5_000..100_000).contains(&text.len())) else {
            continue;
        };
        let changed = |at: usize| {
            let line = lines[at].replace(");\n", ").await;\n");
            [&lines[..at], &[&line], &lines[at + 1..]].concat().concat()
        };
        let put = |side: &str, text: &str| -> Result<PathBuf, Failure> {
            let path = dir.join(format!("{}-{side}.rs", all.len()));
            fs::write(&path, text)?;
            Ok(path)
        };
        let versions = Versions {
            base: put("base", &text)?,
            ours: put("ours", &changed(at))?,
            theirs: put("theirs", &changed(at + 1))?,
        };
        all.push(versions);
        if all.len() == MERGES {
            break;
        }
    }
    Ok(all)
}

fn merges(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let dir = tempfile::tempdir_in(ground.scratch.path())?;
    let all = versions(ground, dir.path())?;
    let aura = mothership_tests::binary("aura");
    let ours = timed(&all, |versions| {
        let mut command = Command::new(&aura);
        command.args(["merge", "--path", "a.rs"]);
        command.args([&versions.base, &versions.ours, &versions.theirs]);
        command
    })?;
    let git = timed(&all, |versions| {
        let mut command = Command::new("git");
        command.args(["merge-file", "-p", "--diff3"]);
        command.args([&versions.ours, &versions.base, &versions.theirs]);
        command
    })?;
    let peer = match &ground.mergiraf {
        None => None,
        Some(program) => Some(timed(&all, |versions| {
            let mut command = Command::new(program);
            command.arg("merge");
            command.args([&versions.base, &versions.ours, &versions.theirs]);
            command
        })?),
    };
    let name = format!("merge of {} files that git conflicts on", all.len());
    let clean = |measured: &Measured| measured.clean as f64;
    Ok(vec![
        Figure::new(format!("{name}: p50 ms"), ours.p50_ms)
            .limit(git.p50_ms)
            .peer(peer.as_ref().map(|peer| peer.p50_ms))
            .goal(AtMost, 1.0, Peer),
        Figure::new(format!("{name}: p95 ms"), ours.p95_ms)
            .limit(git.p95_ms)
            .peer(peer.as_ref().map(|peer| peer.p95_ms))
            .goal(AtMost, 150.0, One),
        Figure::new(format!("{name}: clean"), clean(&ours))
            .limit(clean(&git))
            .peer(peer.as_ref().map(clean)),
    ])
}

struct Measured {
    p50_ms: f64,
    p95_ms: f64,
    clean: usize,
}

/// Runs a command for each, start-up included.
fn timed(all: &[Versions], command: impl Fn(&Versions) -> Command) -> Result<Measured, Failure> {
    let (mut times, mut clean) = (Vec::new(), 0);
    for versions in all {
        let mut command = command(versions);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let begun = now();
        let status = command.status()?;
        times.push(begun.elapsed());
        match status.code() {
            Some(0) => clean += 1,
            Some(1) => {}
            _ => return Err(format!("{command:?}: {status}").into()),
        }
    }
    Ok(Measured {
        p50_ms: percentile(&mut times, 50),
        p95_ms: percentile(&mut times, 95),
        clean,
    })
}
