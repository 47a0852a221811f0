//! The answers about what was: one operation, a file line by line, symbols, and a text brought back.
//!
//! Invariants:
//! - a field that came later is false, empty or none in a document of before;
//! - `origin` says where something is from: `op` (published, with its operation), `git` (only git knows it),
//!   `unpublished` (saved here and not told), or `unknown`.

use serde::{Deserialize, Serialize};

use crate::Next;

row! {
    /// One published or received change of a unit.
    OpDoc {
        /// Operation id, `o-…`.
        op: String,
        /// Full name of the unit.
        symbol: String,
        /// `insert`, `replace`, `rename`, `delete`, `file`, `merge`, `resolve` …
        kind: String,
        /// Name of the author.
        author: String,
        /// When the author made it.
        at: String,
        /// Position in the Mothership's log; null while queued.
        seq: Option<u64>,
        /// Why, when an intent says so.
        why: Option<String>,
        /// `v1`, `v2` … of the unit.
        version: String,
        /// The name before, where it was renamed.
        #[serde(default)]
        renamed_from: Option<String>,
        /// The unit of another file that it was, where it was moved here.
        #[serde(default)]
        moved_from: Option<String>,
        /// What was joined, where two versions were without anybody deciding.
        #[serde(default)]
        joined: Vec<String>,
    }
}

doc! {
    /// Answer of `log`.
    Log = "aura.log/1" {
        /// Newest first.
        ops: Vec<OpDoc>,
        /// The units that were asked for, by the names that they have now.
        #[serde(default)]
        symbols: Vec<String>,
    }
}

row! {
    /// What an operation did to one unit.
    ShownUnitDoc {
        /// Operation id of this part.
        op: String,
        /// Full name of the unit.
        symbol: String,
        /// File.
        path: String,
        /// `insert`, `replace`, `rename`, `move`, `delete`, `file`, `merge`, `resolve`, `undo`.
        kind: String,
        /// `v1`, `v2` … of the unit; `v0` for a place.
        version: String,
        /// Operations that it follows.
        parents: Vec<String>,
        /// The name before, of a renamed unit.
        renamed_from: Option<String>,
        /// The text before; null when there was none, or it is not at hand.
        before: Option<String>,
        /// The text after; null when there is none, or it is not at hand.
        after: Option<String>,
        /// The change as `diff -u` shows it.
        diff: String,
    }
}

doc! {
    /// Answer of `show` for an operation.
    Shown = "aura.show/1" {
        /// Operation id as it was asked for.
        op: String,
        /// Full name of its unit.
        symbol: String,
        /// File.
        path: String,
        /// As in the unit's row.
        kind: String,
        /// Name of the author.
        author: String,
        /// Identity key of the author.
        peer: String,
        /// When the author made it.
        at: String,
        /// Position in the Mothership's log; null while queued.
        seq: Option<u64>,
        /// Why, when an intent says so.
        why: Option<String>,
        /// The commit that was checked out.
        commit: Option<String>,
        /// The branch.
        branch: String,
        /// Whether two versions were joined without anybody deciding.
        joined: bool,
        /// Whether the author took it back later.
        undone: bool,
        /// Everything that was saved at once, the unit asked for first.
        units: Vec<ShownUnitDoc>,
        /// What to do with it.
        next: Vec<Next>,
    }
}

doc! {
    /// Answer of `show` for a symbol at a moment.
    ThenDoc = "aura.then/1" {
        /// Full name of the unit, as it is called now.
        symbol: String,
        /// File.
        path: String,
        /// The moment, as it was asked for.
        at: String,
        /// `present`, `deleted`, `absent` (not written yet) or `unrecorded` (as git has it).
        state: String,
        /// The operation that made it so; null where git alone knows.
        op: Option<OpDoc>,
        /// Its text; null when there is none, or it is not at hand.
        text: Option<String>,
    }
}

row! {
    /// Who changed a unit last.
    BlamedUnitDoc {
        /// Full name of the unit.
        symbol: String,
        /// `function`, `method`, `class` …
        kind: String,
        /// First line, counted from one.
        start_line: u64,
        /// Last line.
        end_line: u64,
        /// `op`, `git`, `unpublished` or `unknown`.
        origin: String,
        /// The operation.
        op: Option<String>,
        /// Who.
        author: Option<String>,
        /// When.
        at: Option<String>,
        /// Why.
        why: Option<String>,
    }
}

row! {
    /// Who wrote a line.
    BlamedLineDoc {
        /// Counted from one.
        line: u64,
        /// `op`, `git`, `unpublished` or `unknown`.
        origin: String,
        /// The operation.
        op: Option<String>,
        /// Who.
        author: Option<String>,
        /// When.
        at: Option<String>,
        /// The line without its end.
        text: String,
    }
}

doc! {
    /// Answer of `blame`.
    Blamed = "aura.blame/1" {
        /// The file.
        path: String,
        /// In the order of their starts, containers before their members.
        units: Vec<BlamedUnitDoc>,
        /// Every line.
        lines: Vec<BlamedLineDoc>,
    }
}

row! {
    /// One symbol that was looked for.
    FoundDoc {
        /// Full name of the unit.
        symbol: String,
        /// File.
        path: String,
        /// `function`, `method`, `class` …
        kind: String,
        /// First line, counted from one; null in the past.
        line: Option<u64>,
        /// `op`, `git` or `unpublished`.
        origin: String,
        /// The operation that touched it last.
        op: Option<String>,
        /// Who touched it last.
        author: Option<String>,
        /// When.
        at: Option<String>,
    }
}

doc! {
    /// Answer of `find`.
    Found = "aura.find/1" {
        /// By file, in the order of their starts.
        symbols: Vec<FoundDoc>,
        /// Whether there are more than were asked for.
        more: bool,
    }
}

doc! {
    /// Answer of `restore`.
    Restored = "aura.restore/1" {
        /// Full name of the unit.
        symbol: String,
        /// File.
        path: String,
        /// The operation whose text it has now; null for the text that git knows.
        from: Option<String>,
        /// `restored`, `saved` (written, not published yet), `same` (it had that text) or `dry_run`.
        state: String,
        /// The change of the file as `diff -u` shows it.
        diff: String,
        /// What was published.
        ops: Vec<OpDoc>,
        /// The undo of it.
        next: Vec<Next>,
    }
}

row! {
    /// How the versions of one unit hang together.
    DagUnitDoc {
        /// Full name of the unit.
        symbol: String,
        /// How many versions there are.
        versions: u64,
        /// Those that nothing follows; more than one waits for a join or a decision.
        heads: Vec<String>,
        /// Those that more than one follows.
        forks: Vec<String>,
        /// Those that join more than one.
        merges: Vec<String>,
    }
}

doc! {
    /// Answer of `log --dag`.
    Dag = "aura.dag/1" {
        /// Whether any unit has more than one head.
        diverged: bool,
        /// How many units have.
        diverged_units: u64,
        /// Open conflicts; null in quick mode, which opens no text.
        conflicts: Option<u64>,
        /// Units with a fork, a merge or more than one head, or those asked for; empty in quick mode.
        units: Vec<DagUnitDoc>,
    }
}
