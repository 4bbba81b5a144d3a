//! What was measured, as one table: medians by row and column, and the ratios that the aims speak of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::targets::Kind;

/// Every sample of a run, by row in the order in which rows first came.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    title: String,
    digits: usize,
    samples: BTreeMap<Kind, Vec<f64>>,
}

impl Samples {
    /// Adds a sample, if there is one, to a row that is made where it is new; `digits` behind the point are shown.
    pub(crate) fn add(&mut self, title: &str, digits: usize, kind: Kind, value: Option<f64>) {
        let at = self.rows.iter().position(|row| row.title == title).unwrap_or_else(|| {
            self.rows.push(Row { title: title.to_owned(), digits, samples: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[at].samples.entry(kind).or_default().extend(value);
    }

    /// The median of a cell.
    pub(crate) fn median(&self, title: &str, kind: Kind) -> Option<f64> {
        self.rows
            .iter()
            .find(|row| row.title == title)?
            .samples
            .get(&kind)
            .and_then(|samples| median(samples))
    }

    /// How one column stands to another in a row.
    pub(crate) fn ratio(&self, title: &str, of: Kind, to: Kind) -> Option<f64> {
        let (of, to) = (self.median(title, of)?, self.median(title, to)?);
        (to > 0.0).then_some(of / to)
    }

    /// The medians of a column in every row whose title begins so.
    pub(crate) fn of<'a>(&'a self, kind: Kind, beginning: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let rows = self.rows.iter().filter(move |row| row.title.starts_with(beginning));
        rows.filter_map(move |row| Some((row.title.as_str(), median(row.samples.get(&kind)?)?)))
    }

    /// The table, in Markdown.
    pub(crate) fn table(&self) -> String {
        let ratios = [
            (Kind::Opaque, Kind::Direct),
            (Kind::Opaque, Kind::Nginx),
            (Kind::Opaque, Kind::Bare),
            (Kind::Md5, Kind::Bare),
        ];
        let mut text = String::from("| |");
        let mut rule = String::from("|---|");
        for kind in Kind::ALL {
            // Writing to a String does not fail, here and below.
            let _ = write!(text, " {} |", kind.title());
            rule.push_str("---:|");
        }
        for (of, to) in ratios {
            let _ = write!(text, " {} ÷ {} |", of.name(), to.name());
            rule.push_str("---:|");
        }
        let _ = write!(text, "\n{rule}\n");
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.title);
            for kind in Kind::ALL {
                let _ = match self.median(&row.title, kind) {
                    Some(value) => write!(text, " {value:.*} |", row.digits),
                    None => write!(text, " |"),
                };
            }
            for (of, to) in ratios {
                let _ = match self.ratio(&row.title, of, to) {
                    Some(ratio) => write!(text, " {ratio:.2} |"),
                    None => write!(text, " |"),
                };
            }
            text.push('\n');
        }
        text
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_medians_and_ratios_are_of_them() {
        let mut samples = Samples::default();
        for value in [3.0, 1.0, 100.0] {
            samples.add("GET", 1, Kind::Opaque, Some(value));
        }
        samples.add("GET", 1, Kind::Nginx, Some(2.0));
        samples.add("GET", 1, Kind::Nginx, Some(4.0));
        samples.add("only", 0, Kind::Direct, Some(7.0));
        samples.add("empty", 0, Kind::Direct, None);
        assert_eq!(samples.median("GET", Kind::Opaque), Some(3.0));
        assert_eq!(samples.ratio("GET", Kind::Opaque, Kind::Nginx), Some(1.0));
        assert_eq!(samples.ratio("GET", Kind::Opaque, Kind::Bare), None);
        assert_eq!(samples.median("none", Kind::Opaque), None);
        let table = samples.table();
        assert!(table.contains("\n| GET | | 3.0 | | 3.0 | | | 1.00 | | |\n"), "{table}");
        assert!(table.ends_with("\n| empty | | | | | | | | | |\n"), "{table}");
        assert!(table.contains("\n| only | 7 | | | | | | | | |\n"), "{table}");
    }
}
