//! Tables for people.
//!
//! Invariants:
//! - every cell goes through the escaper;
//! - off a terminal a row is one line, however long.

use comfy_table::{ContentArrangement, presets};

use crate::{escape, output::View};

/// Rows below a header.
pub(crate) struct Table {
    table: comfy_table::Table,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.iter().copied());
        Self { table }
    }

    /// Adds a row of unsafe texts.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.table.add_row(cells.map(|cell| escape::line(&cell)));
    }

    /// The text, fitted where a terminal reads it.
    pub(crate) fn show(mut self, view: &View) -> String {
        if view.fitted {
            self.table
                .set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            self.table.force_no_tty();
            self.table
                .set_content_arrangement(ContentArrangement::Disabled);
        }
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = self
            .table
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n");
        lines.collect()
    }
}
