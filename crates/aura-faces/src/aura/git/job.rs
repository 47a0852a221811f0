//! The merge of one file, as a question and an answer that pass between two processes.
//!
//! Invariants:
//! - an answer that was cut off or does not add up is none;
//! - what goes in and out is bytes; only names are text.

use aura_api::docs::{MergeFileDoc, MergeReasonDoc};
use aura_semantic::{
    Budget, Change, Chunk, Explained, FileMerge, LineMerge, MergeLevel, Reason, diff_files,
    language_of, merge_explained,
};
use serde::{Deserialize, Serialize};

use crate::aura::local::{level_word, problem_word};

/// Longest file whose syntax is looked at: 1 MiB.
const FILE_BYTES_MAX: usize = 1 << 20;
/// How far git looks for a NUL.
const SNIFF_BYTES: usize = 8000;
/// Names of changed units that are told, per side.
const UNITS_MAX: usize = 20;
/// Reasons that are told, per file.
const REASONS_MAX: usize = 50;

/// Base, ours and theirs of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) path: String,
    pub(super) texts: [Vec<u8>; 3],
}

/// What a merge came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    pub(super) file: MergeFileDoc,
    /// The file in parts; none where lines alone are to decide.
    pub(super) chunks: Option<Vec<Chunk>>,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    path: String,
    lens: [usize; 3],
}

#[derive(Serialize, Deserialize)]
struct Told {
    file: MergeFileDoc,
    /// Lengths of each part: one of what is clean, three of a conflict; none where lines alone are to decide.
    parts: Option<Vec<Vec<usize>>>,
}

/// Whether git would call it binary.
pub(in crate::aura) fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(SNIFF_BYTES)].contains(&0)
}

impl Job {
    /// Why its syntax is not looked at, if it is not.
    pub(super) fn by_lines(&self) -> Option<&'static str> {
        if self.texts.iter().any(|text| is_binary(text)) {
            Some("binary")
        } else if self.texts.iter().any(|text| FILE_BYTES_MAX < text.len()) {
            Some("too_large")
        } else if language_of(&self.path).is_none() {
            Some("no_grammar")
        } else {
            None
        }
    }

    /// The answer where one side alone changed it, or both in the same way.
    pub(super) fn taken(&self) -> Option<Judged> {
        let [base, ours, theirs] = &self.texts;
        let taken = match () {
            () if base == ours || ours == theirs => theirs,
            () if base == theirs => ours,
            () => return None,
        };
        Some(Judged {
            file: file(&self.path, "clean", "lines"),
            chunks: Some(vec![Chunk::Clean(taken.clone())]),
        })
    }

    /// Leaves the merge to lines alone.
    pub(super) fn text(&self, because: &str) -> Judged {
        Judged {
            file: MergeFileDoc {
                because: Some(because.to_owned()),
                ..file(&self.path, "unknown", "text")
            },
            chunks: None,
        }
    }

    /// Merges; this may take long, and a grammar may end the process.
    pub(super) fn merge(&self) -> Judged {
        let [base, ours, theirs] = &self.texts;
        let merged = merge_explained(&self.path, base, ours, theirs, &Budget::default());
        let Explained {
            outcome,
            problem,
            reasons,
        } = merged;
        if let Some(problem) = problem {
            return self.text(&problem_word(problem));
        }
        let (chunks, verdict, level) = match outcome {
            FileMerge::Clean { bytes, level } => (vec![Chunk::Clean(bytes)], "clean", level),
            FileMerge::Conflict { chunks, .. } => (chunks, "conflict", MergeLevel::Units),
        };
        let mut file = file(&self.path, verdict, level_word(level));
        if level == MergeLevel::Units {
            file.reasons = reasons.iter().take(REASONS_MAX).map(reason).collect();
            file.ours = changed(&self.path, base, ours);
            file.theirs = changed(&self.path, base, theirs);
        }
        Judged {
            file,
            chunks: Some(chunks),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let lens = self.texts.each_ref().map(Vec::len);
        let path = self.path.clone();
        framed(&Asked { path, lens }, self.texts.iter().map(Vec::as_slice))
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (asked, mut rest) = unframed::<Asked>(bytes)?;
        let mut texts = asked.lens.map(|len| take(&mut rest, len));
        let is_whole = rest.is_empty() && texts.iter().all(Option::is_some);
        let texts = texts.each_mut().map(|text| text.take().unwrap_or_default());
        is_whole.then_some(Self {
            path: asked.path,
            texts,
        })
    }
}

impl Judged {
    pub(super) fn is_clean(&self) -> bool {
        self.file.verdict == "clean"
    }

    /// Says how lines alone came out.
    pub(super) fn by_text(mut self, is_clean: bool) -> Self {
        self.file.verdict = verdict(is_clean).to_owned();
        if !is_clean {
            let code = match self.file.because.as_deref() {
                Some("binary") => "binary",
                _ => "both_changed",
            };
            self.file.reasons = vec![plain_reason(code)];
        }
        self
    }

    /// The answer of a merge of lines that was made here.
    pub(super) fn by_lines(self, merged: &LineMerge) -> Self {
        self.by_text(matches!(merged, LineMerge::Clean(_)))
    }

    /// What is said about each conflict.
    pub(super) fn notes(&self) -> Vec<String> {
        let reasons = self.file.reasons.iter();
        reasons.map(|reason| reason.text.clone()).collect()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let texts = |chunk: &Chunk| match chunk {
            Chunk::Clean(text) => vec![text.clone()],
            Chunk::Conflict { base, ours, theirs } => {
                vec![base.clone(), ours.clone(), theirs.clone()]
            }
        };
        let parts: Option<Vec<Vec<Vec<u8>>>> = self
            .chunks
            .as_ref()
            .map(|chunks| chunks.iter().map(texts).collect());
        let lens = |parts: &Vec<Vec<Vec<u8>>>| {
            let lens = parts.iter().map(|part| part.iter().map(Vec::len).collect());
            lens.collect()
        };
        let told = Told {
            file: self.file.clone(),
            parts: parts.as_ref().map(lens),
        };
        framed(&told, parts.iter().flatten().flatten().map(Vec::as_slice))
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (told, mut rest) = unframed::<Told>(bytes)?;
        let mut conflicts = 0;
        let mut chunk = |lens: Vec<usize>| {
            let texts = lens.iter().map(|len| take(&mut rest, *len));
            let mut texts = texts.collect::<Option<Vec<_>>>()?.into_iter();
            Some(match (texts.next()?, texts.next(), texts.next()) {
                (text, None, None) => Chunk::Clean(text),
                (base, Some(ours), Some(theirs)) => {
                    conflicts += 1;
                    Chunk::Conflict { base, ours, theirs }
                }
                _ => return None,
            })
        };
        let chunks = match told.parts {
            None => None,
            Some(parts) => Some(
                parts
                    .into_iter()
                    .map(&mut chunk)
                    .collect::<Option<Vec<_>>>()?,
            ),
        };
        // A conflict without a marker would look settled, and so would one called clean.
        let is_true = chunks.is_none() || told.file.verdict == verdict(conflicts == 0);
        (rest.is_empty() && is_true).then_some(Self {
            file: told.file,
            chunks,
        })
    }
}

fn verdict(is_clean: bool) -> &'static str {
    if is_clean { "clean" } else { "conflict" }
}

/// A row about a file, without reasons.
pub(super) fn file(path: &str, verdict: &str, level: &str) -> MergeFileDoc {
    MergeFileDoc {
        path: path.to_owned(),
        verdict: verdict.to_owned(),
        level: level.to_owned(),
        because: None,
        reasons: Vec::new(),
        ours: Vec::new(),
        theirs: Vec::new(),
    }
}

/// A reason that is about a whole file or its lines.
pub(super) fn plain_reason(code: &str) -> MergeReasonDoc {
    let text = match code {
        "binary" => "a binary file changed by both",
        "both_changed" => "lines changed by both",
        "deleted_by_ours" => "deleted by ours, changed by theirs",
        "deleted_by_theirs" => "changed by ours, deleted by theirs",
        "file_and_directory" => "a file for one side, a directory for the other",
        "mode" => "its mode changed by both",
        "not_a_file" => "a link changed by both, or by one of them",
        "path_taken" => "both put another file at this path",
        "submodule" => "a submodule changed by both, which git may still settle",
        _ => "renamed by both",
    };
    MergeReasonDoc {
        unit: None,
        kind: None,
        part: "whole".to_owned(),
        code: code.to_owned(),
        text: text.to_owned(),
    }
}

fn reason(reason: &Reason) -> MergeReasonDoc {
    let unit = reason.unit.as_ref();
    MergeReasonDoc {
        unit: unit.map(|(_, name)| name.clone()),
        kind: unit.map(|(kind, _)| kind.word().to_owned()),
        part: reason.part.word().to_owned(),
        code: reason.why.code().to_owned(),
        text: reason.to_string(),
    }
}

/// What one side did, unit by unit.
fn changed(path: &str, base: &[u8], side: &[u8]) -> Vec<String> {
    let changes = diff_files(path, base, side).into_iter();
    let told = changes.take(UNITS_MAX).map(|unit| {
        let what = match unit.change {
            Change::Added => "added".to_owned(),
            Change::Body => "body".to_owned(),
            Change::Comment => "comment".to_owned(),
            Change::Moved => "moved".to_owned(),
            Change::Removed => "removed".to_owned(),
            Change::Renamed { from } => format!("was {from}"),
            Change::Signature => "signature".to_owned(),
            Change::Whole => "whole".to_owned(),
        };
        let name = match unit.name.as_str() {
            "" => unit.kind.word(),
            name => name,
        };
        format!("{name} ({what})")
    });
    told.collect()
}

/// One line of JSON, then bytes.
fn framed<'a>(head: &impl Serialize, body: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(head).expect("text keys only");
    bytes.push(b'\n');
    body.for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn unframed<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head = serde_json::from_slice(&bytes[..end]).ok()?;
    Some((head, &bytes[end + 1..]))
}

fn take(rest: &mut &[u8], len: usize) -> Option<Vec<u8>> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn job(texts: [&[u8]; 3]) -> Job {
        Job {
            path: "a.rs".to_owned(),
            texts: texts.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn questions_and_answers_survive_the_way_and_nothing_else_is_taken_for_one() {
        let jobs = [
            job([b"fn a() {}\n", b"fn b() {}\n", b"fn c() {}\n"]),
            job([b"", b"fn b() {\n}\n", b"fn c() {\n}\n"]),
            job([b"fn a() {}\n", b"fn a() {}\n", b"\xff\n"]),
        ];
        for job in jobs {
            let asked = job.encode();
            assert_eq!(Job::decode(&asked), Some(job.clone()));
            let judged = job.merge();
            let told = judged.encode();
            assert_eq!(Judged::decode(&told), Some(judged));
            for cut in 0..told.len() {
                assert_eq!(Judged::decode(&told[..cut]), None, "cut at {cut}");
            }
            for cut in 0..asked.len() {
                assert_eq!(Job::decode(&asked[..cut]), None, "cut at {cut}");
            }
            assert_eq!(Judged::decode(&[&told[..], b"x"].concat()), None);
        }
    }

    #[test]
    fn an_answer_that_calls_a_conflict_clean_is_none() {
        let mut judged = job([b"fn a() {}\n", b"fn b() {}\n", b"fn c() {}\n"]).merge();
        assert_eq!(judged.file.verdict, "conflict");
        judged.file.verdict = "clean".to_owned();
        assert_eq!(Judged::decode(&judged.encode()), None);
    }

    #[test]
    fn what_is_no_source_text_is_left_to_lines() {
        let texts: [&[u8]; 3] = [b"a\n", b"b\n", b"c\n"];
        assert_eq!(job(texts).by_lines(), None);
        assert_eq!(job([b"a", b"\0", b"c"]).by_lines(), Some("binary"));
        let long = vec![b'a'; FILE_BYTES_MAX + 1];
        assert_eq!(job([b"a", &long, b"c"]).by_lines(), Some("too_large"));
        let text = Job {
            path: "notes".to_owned(),
            ..job(texts)
        };
        assert_eq!(text.by_lines(), Some("no_grammar"));
        let deep = "(".repeat(100_000);
        let sides = ["1", "2", "3"].map(|one| format!("fn a() {{ {one}{deep} }}\n"));
        let judged = job(sides.each_ref().map(|side| side.as_bytes())).merge();
        assert_eq!(judged.file.because.as_deref(), Some("too_deep"));
        assert_eq!(judged.chunks, None);
    }
}
