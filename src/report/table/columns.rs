//! The columns of a table, and how they fit a narrow terminal.

/// A column of the table.
pub struct Column {
    /// The heading.
    pub head: String,
    /// A cell for each row.
    pub texts: Vec<String>,
    /// The order in which columns are left out of a narrow table, lowest first; `None` for a column that is always shown.
    pub goes: Option<u8>,
}

impl Column {
    fn width(&self) -> usize {
        let lines = self.texts.iter().flat_map(|text| text.lines()).chain(self.head.lines());
        lines.map(|line| line.chars().count()).max().unwrap_or(0)
    }
}

/// The order for the p99 of a pool; its errors follow.
pub const POOL_P99: u8 = 8;

/// The width of a table with these columns.
fn width_of(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width() + 3).sum()
}

/// Makes columns fit: shorter verdicts, headings in two lines, and in the end fewer columns. Returns the names of the columns
/// left out; `None` if the table fitted as it was. Words are never broken.
pub fn narrow(columns: &mut Vec<Column>, short_verdicts: Vec<String>, width: usize) -> Option<Vec<String>> {
    if width_of(columns) <= width {
        return None;
    }
    if let Some(verdicts) = columns.last_mut() {
        verdicts.texts = short_verdicts;
    }
    for column in columns.iter_mut().skip(1) {
        if let Some((pool, what @ ("p99" | "failed"))) = column.head.rsplit_once(' ') {
            column.head = format!("{pool}\n{what}");
        }
    }
    let mut gone = Vec::new();
    while width_of(columns) > width {
        let first = columns.iter().enumerate().filter_map(|(i, column)| Some((column.goes?, i))).min();
        let Some((rank, i)) = first else { break };
        // Intervals are left out before the p99 of a pool.
        if let Some(column) = columns.iter_mut().find(|column| rank >= POOL_P99 && column.head == "p99 ±") {
            column.head = "p99".to_owned();
            column.texts.iter_mut().for_each(|text| text.truncate(text.find(" ±").unwrap_or(text.len())));
            continue;
        }
        gone.push(columns.remove(i).head);
    }
    Some(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column =
            |head: &str, text: &str, goes| Column { head: head.to_owned(), texts: vec![text.to_owned()], goes };
        vec![
            column("strategy", "interleaved_weighted_round_robin", None),
            column("mean", "12.3 ms", Some(4)),
            column("p50", "12.3 ms", Some(0)),
            column("p99 ±", "12.3 ms ±9.9 %", None),
            column("payments p99", "12.3 ms", Some(POOL_P99)),
            column("verdict", "1.10x slower, but too few runs to tell", None),
        ]
    }

    #[test]
    fn columns_are_left_out_in_order() {
        let narrowed = |width: usize| {
            let mut columns = columns();
            let gone = narrow(&mut columns, vec!["1.10x?".to_owned()], width);
            (gone, width_of(&columns), columns)
        };
        assert_eq!(narrowed(1000).0, None);
        assert_eq!(narrowed(120).0, Some(vec![]), "short words are enough");
        let (gone, width, _) = narrowed(90);
        assert_eq!(gone, Some(vec!["p50".to_owned()]));
        assert!(width <= 90);
        let (gone, width, columns) = narrowed(72);
        assert_eq!(gone, Some(vec!["p50".to_owned(), "mean".to_owned()]));
        assert!(width <= 72);
        assert_eq!((columns[1].head.as_str(), columns[1].texts[0].as_str()), ("p99", "12.3 ms"));
        assert_eq!(columns[2].head, "payments\np99");
    }
}
