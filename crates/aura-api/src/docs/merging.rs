//! What is said about merges in git: set up, foreseen, explained.
//!
//! Invariant: a merge that is foreseen and one that was made are told in the same rows.

use serde::{Deserialize, Serialize};

use crate::Next;

row! {
    /// Why one region of a file is in conflict.
    MergeReasonDoc {
        /// Full name of the unit.
        unit: Option<String>,
        /// Kind of the unit.
        kind: Option<String>,
        /// `signature`, `body`, `comment` or `whole`.
        part: String,
        /// `both_changed`, `deleted_by_ours`, `doubled` …
        code: String,
        /// One line for people.
        text: String,
    }
}

row! {
    /// The merge of one file.
    MergeFileDoc {
        /// Its path.
        path: String,
        /// `clean`, `conflict` or `unknown`.
        verdict: String,
        /// What decided: `units` (its syntax), `lines` (lines, checked by its syntax), `text` (lines alone) or
        /// `tree` (that it is there at all, or where).
        level: String,
        /// Why its syntax did not help: `no_grammar`, `binary`, `too_large`, `too_deep`, `worker_died` …
        because: Option<String>,
        /// Why it is in conflict, by region.
        reasons: Vec<MergeReasonDoc>,
        /// Units that our side changed; only where not by lines alone.
        ours: Vec<String>,
        /// Units that their side changed.
        theirs: Vec<String>,
    }
}

row! {
    /// What the merge driver did in one operation of git.
    MergeRunDoc {
        /// When it began.
        at: String,
        /// The commit that was checked out.
        head: Option<String>,
        /// Git's name of our side.
        ours: String,
        /// Git's name of the base.
        base: String,
        /// Git's name of their side.
        theirs: String,
        /// The files that both sides changed.
        files: Vec<MergeFileDoc>,
    }
}

doc! {
    /// Answer of `merge explain`.
    MergeExplained = "aura.merge_explain/1" {
        /// Operations, newest first.
        merges: Vec<MergeRunDoc>,
    }
}

doc! {
    /// Answer of `merge preview`.
    MergePreview = "aura.merge_preview/1" {
        /// The branch as it was given.
        branch: String,
        /// Its commit.
        theirs: String,
        /// The commit that is checked out.
        ours: String,
        /// The commit that both come from.
        base: String,
        /// `merge`, `fast_forward` or `up_to_date`.
        kind: String,
        /// Whether there is one base; with more, git makes one up and its answer may differ.
        exact: bool,
        /// Whether the merge driver is `set_up`, `stale` or `missing`.
        driver: String,
        /// Whether no file is in conflict, and each is foreseen.
        clean: bool,
        /// Files that one side alone changed, or both in the same way.
        taken: u64,
        /// Files that have to be merged.
        files: Vec<MergeFileDoc>,
        /// What to do now.
        next: Vec<Next>,
    }
}

row! {
    /// One part of setting git up.
    SetUpStepDoc {
        /// What it is about, such as `merge driver`.
        name: String,
        /// `done`, `present`, `would`, `info`, or `failed` in the answer of `join`.
        state: String,
        /// One line for people.
        text: String,
        /// What exactly is changed.
        changes: Vec<String>,
    }
}

doc! {
    /// Answer of `init` and `uninit`.
    SetUp = "aura.init/1" {
        /// Root of the work tree.
        repository: String,
        /// Whether nothing was changed.
        dry_run: bool,
        /// Step by step.
        steps: Vec<SetUpStepDoc>,
        /// Lines for the configuration of jj, with `--show`.
        jj: Option<String>,
        /// What to do now.
        next: Vec<Next>,
    }
}
