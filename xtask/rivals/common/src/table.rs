//! A table for people, on standard output.

use std::io::{self, Write};

/// Writes rows under a head; the first column is text, the others stand to the right.
///
/// # Errors
/// What standard output says; a reader that is gone is none.
pub fn write_table(head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let cells = || std::iter::once(head.iter().map(|cell| (*cell).to_owned()).collect()).chain(rows.to_vec());
    let width = |column: usize| {
        cells()
            .filter_map(|row: Vec<String>| row.get(column).map(|cell| cell.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in cells() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line += &format!("{cell:width$}");
            } else {
                line += &format!("  {cell:>width$}");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
