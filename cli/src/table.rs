//! Columns and `key = value` blocks, aligned as users of Nomad know them.
//!
//! Invariants
//! - columns are two spaces apart, and no line ends in spaces;
//! - an empty cell is written out as `<none>`: nobody counts blanks.

/// The lines of a table; the first row of cells is its header.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut all = vec![header.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()];
    all.extend(rows.iter().cloned());
    aligned(&all, "  ")
}

/// The lines of a block of settings.
pub(crate) fn block(pairs: &[(&str, String)]) -> String {
    let rows: Vec<_> =
        pairs.iter().map(|(key, value)| vec![(*key).to_owned(), value.clone()]).collect();
    aligned(&rows, " = ")
}

fn aligned(rows: &[Vec<String>], gap: &str) -> String {
    let shown = |cell: &str| if cell.is_empty() { "<none>".to_owned() } else { cell.to_owned() };
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| shown(cell).chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at > 0 {
                text.push_str(gap);
            }
            text.push_str(&format!("{:<width$}", shown(cell)));
        }
        text.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Bytes in the unit that keeps the number short: `3.9 MiB`, `256 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && 1 << (10 * (unit + 1)) <= bytes {
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    if unit == 0 || 100 <= tenths {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// The same for a count of mebibytes, as the API gives most of them.
pub(crate) fn mebibytes(count: i64) -> String {
    let count = u64::try_from(count).unwrap_or(0);
    if count < 1024 || (count % 1024 != 0 && count < 10_240) {
        format!("{count} MiB")
    } else {
        bytes(count << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_two_spaces_apart_and_lines_end_without_blanks() {
        let rows =
            [vec!["a".to_owned(), "running".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "Status"], &rows), "ID   Status\na    running\nbcd  <none>");
        assert_eq!(
            block(&[("ID", "x".to_owned()), ("Name", String::new())]),
            "ID   = x\nName = <none>"
        );
    }

    #[test]
    fn bytes_are_short() {
        let shown: Vec<_> = [0, 1023, 1024, 4_000_000, 256 << 20, 24_105 << 20].map(bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "3.8 MiB", "256 MiB", "23 GiB"]);
        assert_eq!(mebibytes(300), "300 MiB");
        assert_eq!(mebibytes(2048), "2.0 GiB");
    }
}
