//! Renders aligned columns without borders, in the width of the terminal.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, presets};

/// Columns between two cells.
const GAP: u16 = 2;

/// Rows of cells below a heading. Columns are as wide as their contents; only the last one wraps.
#[derive(Debug)]
pub(super) struct Table {
    table: comfy_table::Table,
    right: Vec<usize>,
}

impl Table {
    /// A table with a heading.
    pub(super) fn new(heading: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(heading);
        Self { table, right: Vec::new() }
    }

    /// Right-aligns the columns with these indexes.
    #[must_use]
    pub(super) fn numbers(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    /// Adds a row. Its cells are escaped already and may contain colour codes.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.table.add_row(cells.into_iter().map(Cell::new));
    }

    /// True if there are no rows except the heading.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The text, with each line indented by `indent` columns, at most `width` columns wide if the last
    /// column can be made narrow enough.
    pub(super) fn render(mut self, indent: usize, width: usize) -> String {
        self.table.set_width(u16::try_from(width.saturating_sub(indent)).unwrap_or(u16::MAX));
        let last = self.table.column_count().saturating_sub(1);
        for (index, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { GAP }));
            if self.right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if index != last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let lines = self.table.lines().map(|line| format!("{:indent$}{}\n", "", line.trim_end()));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new(&["name", "files"]).numbers(&[1]);
        table.row(vec!["\u{1b}[31mred\u{1b}[0m".to_owned(), "7".to_owned()]);
        table.row(vec!["文書".to_owned(), "1,200".to_owned()]);
        assert_eq!(
            console::strip_ansi_codes(&table.render(2, 80)),
            "  name  files\n  red       7\n  文書  1,200\n"
        );
    }

    #[test]
    fn the_last_column_wraps() {
        let mut table = Table::new(&["run", "projects"]);
        table.row(vec!["20261129T134708769".to_owned(), "handbook, code and 12 more".to_owned()]);
        insta::assert_snapshot!(table.render(0, 36), @"
        run                 projects
        20261129T134708769  handbook, code
                            and 12 more
        ");
    }
}
