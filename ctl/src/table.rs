//! Columns that fit the terminal: what does not fit is left out by whole columns, never cut in the middle.

use crate::output::{Colour, Look};

/// A cell: text and perhaps a colour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Shown.
    pub text: String,
    /// Where colours are welcome.
    pub colour: Option<Colour>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, colour: None }
    }
}

/// A column's heading, and how soon it gives way.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Above it.
    pub heading: &'static str,
    /// 0 always stays; of the others the highest goes first.
    pub gives_way: u8,
}

/// Draws rows under headings, two spaces between columns, no space at the end of a line.
pub fn draw(columns: &[Column], rows: &[Vec<Cell>], look: Look) -> String {
    let mut shown: Vec<(usize, &Column)> = columns.iter().enumerate().collect();
    while total(&shown, rows) > look.width.unwrap_or(usize::MAX) {
        let Some(worst) = shown.iter().map(|(_, column)| column.gives_way).max().filter(|worst| *worst > 0)
        else {
            break;
        };
        shown.retain(|(_, column)| column.gives_way != worst);
    }
    let headings =
        columns.iter().map(|column| Cell { text: column.heading.to_owned(), colour: Some(Colour::Dim) });
    let mut text = line(&shown, &headings.collect::<Vec<_>>(), rows, look);
    for row in rows {
        text.push_str(&line(&shown, row, rows, look));
    }
    text
}

fn total(shown: &[(usize, &Column)], rows: &[Vec<Cell>]) -> usize {
    let widths: usize = shown.iter().map(|(at, column)| width(*at, column, rows)).sum();
    widths + 2 * shown.len().saturating_sub(1)
}

fn width(at: usize, column: &Column, rows: &[Vec<Cell>]) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count());
    cells.chain([column.heading.len()]).max().unwrap_or(0)
}

fn line(shown: &[(usize, &Column)], row: &[Cell], rows: &[Vec<Cell>], look: Look) -> String {
    let mut text = String::new();
    // Spaces are owed until something follows them.
    let mut owed = 0;
    for (at, column) in shown {
        let cell = row.get(*at).cloned().unwrap_or_default();
        let len = cell.text.chars().count();
        if len > 0 {
            text.push_str(&" ".repeat(owed));
            owed = 0;
            match cell.colour {
                Some(colour) => text.push_str(&look.paint(colour, &cell.text).to_string()),
                None => text.push_str(&cell.text),
            }
        }
        owed += width(*at, column, rows).saturating_sub(len) + 2;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { heading: "UNIT", gives_way: 0 },
        Column { heading: "CPU", gives_way: 2 },
        Column { heading: "MEMORY", gives_way: 1 },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        [["web", "1.2s", "41M / 256M"], ["long-name-that-stays", "", "-"]]
            .map(|row| row.map(|text| Cell::from(text.to_owned())).to_vec())
            .to_vec()
    }

    #[test]
    fn columns_line_up_and_lines_end_bare() {
        let text = draw(&COLUMNS, &rows(), Look::PLAIN);
        assert_eq!(
            text,
            "UNIT                  CPU   MEMORY\n\
             web                   1.2s  41M / 256M\n\
             long-name-that-stays        -\n"
        );
    }

    #[test]
    fn narrow_terminals_lose_columns_and_never_names() {
        for (columns, headings) in [(38, "UNIT CPU MEMORY"), (37, "UNIT MEMORY"), (31, "UNIT"), (3, "UNIT")] {
            let text = draw(&COLUMNS, &rows(), Look { colour: false, width: Some(columns) });
            let first: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
            assert_eq!(first.join(" "), headings, "{columns}");
            assert!(text.contains("long-name-that-stays"));
        }
    }

    #[test]
    fn colour_does_not_move_columns() {
        let mut rows = rows();
        rows[0][0].colour = Some(Colour::Green);
        let text = draw(&COLUMNS, &rows, Look { colour: true, width: None });
        assert!(text.contains("\x1b[32mweb\x1b[0m                   1.2s"), "{text}");
    }
}
