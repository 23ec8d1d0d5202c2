//! Text tables for a terminal.

/// Aligns cells to columns, two spaces apart. Returns a line for each row, without trailing spaces.
pub fn rows<const N: usize, S: AsRef<str>>(rows: impl IntoIterator<Item = [S; N]>) -> Vec<String> {
    let rows: Vec<[S; N]> = rows.into_iter().collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].as_ref().chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[S; N]| {
        let cells =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{:<width$}", cell.as_ref()));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(super::rows([["a", "ü", "c"], ["aaa", "", ""]]), ["a    ü  c", "aaa"]);
        assert!(super::rows::<2, &str>([]).is_empty());
    }
}
