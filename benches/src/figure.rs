//! Figures, and the one table of them.
//!
//! Invariants:
//! - a ratio is taken within one round; what is shown is the median of the rounds;
//! - a goal that could not be measured is never shown as reached.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// One line of the table, as one round measured it.
pub(crate) struct Figure {
    name: String,
    ours: f64,
    limit: Option<f64>,
    peer: Option<f64>,
    goal: Option<Goal>,
}

#[derive(Clone, Copy)]
struct Goal {
    bound: Bound,
    against: Against,
    factor: f64,
}

/// Which side of a goal is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
}

/// What a goal is a multiple of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    Limit,
    One,
    Peer,
}

impl Figure {
    /// A figure; its unit is part of the name.
    pub(crate) fn new(name: impl Into<String>, ours: f64) -> Self {
        Self {
            name: name.into(),
            ours,
            limit: None,
            peer: None,
            goal: None,
        }
    }

    /// What the machine allows.
    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// What the best peer reaches, if it runs here.
    pub(crate) fn peer(mut self, peer: Option<f64>) -> Self {
        self.peer = peer;
        self
    }

    pub(crate) fn goal(mut self, bound: Bound, factor: f64, against: Against) -> Self {
        self.goal = Some(Goal {
            bound,
            against,
            factor,
        });
        self
    }

    /// How `ours` stands to what the goal is a multiple of.
    fn ratio(&self) -> Option<f64> {
        let base = match self.goal.map(|goal| goal.against) {
            Some(Against::Limit) => self.limit,
            Some(Against::One) => Some(1.0),
            Some(Against::Peer) | None => self.peer,
        };
        base.map(|base| self.ours / base)
    }
}

/// The table of all rounds; the rounds name the same figures.
pub(crate) fn table(rounds: &[Vec<Figure>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "figure",
        "ours",
        "min-max",
        "limit",
        "peer",
        "ours/peer",
        "goal",
        "",
    ]);
    for first in rounds.first().map_or(&[][..], |figures| figures) {
        let same: Vec<&Figure> = rounds
            .iter()
            .flatten()
            .filter(|figure| figure.name == first.name)
            .collect();
        table.add_row(row(first, &same));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn row(first: &Figure, same: &[&Figure]) -> [String; 8] {
    let ours: Vec<f64> = same.iter().map(|figure| figure.ours).collect();
    let (min, max) = ours.iter().fold((f64::MAX, f64::MIN), |(min, max), value| {
        (min.min(*value), max.max(*value))
    });
    let of = |value: fn(&Figure) -> Option<f64>| {
        median(same.iter().filter_map(|figure| value(figure)).collect())
    };
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let to_peer = of(|figure| figure.peer.map(|peer| figure.ours / peer));
    let (mut goal, mut verdict) = (String::new(), "");
    if let Some(wanted) = first.goal {
        let (sign, base) = match (wanted.bound, wanted.against) {
            (Bound::AtLeast, Against::Peer) => (">=", " peer"),
            (Bound::AtLeast, Against::Limit) => (">=", " limit"),
            (Bound::AtLeast, Against::One) => (">=", ""),
            (Bound::AtMost, Against::Peer) => ("<=", " peer"),
            (Bound::AtMost, Against::Limit) => ("<=", " limit"),
            (Bound::AtMost, Against::One) => ("<=", ""),
        };
        write!(goal, "{sign} {}{base}", wanted.factor).ok();
        verdict = match (of(Figure::ratio), wanted.bound) {
            (Some(ratio), Bound::AtLeast) if wanted.factor <= ratio => "ok",
            (Some(ratio), Bound::AtMost) if ratio <= wanted.factor => "ok",
            (Some(_), _) => "MISSED",
            (None, _) => "",
        };
    }
    [
        first.name.clone(),
        shown(median(ours)),
        format!("{}-{}", short(min), short(max)),
        shown(of(|figure| figure.limit)),
        shown(of(|figure| figure.peer)),
        shown(to_peer),
        goal,
        verdict.to_owned(),
    ]
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
