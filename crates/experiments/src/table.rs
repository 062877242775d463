//! A table of texts, for people and for programs.

use residuum_plot::csv_field;
use serde::{Deserialize, Serialize};

/// Rows of as many texts as there are columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What each column holds, with its unit.
    pub columns: Vec<String>,
    /// Top to bottom.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    /// As GitHub and others render it.
    pub fn markdown(&self) -> String {
        let line = |fields: &[String]| {
            let fields: Vec<String> = fields.iter().map(|field| field.replace('|', "\\|")).collect();
            format!("| {} |\n", fields.join(" | "))
        };
        let rule = line(&vec!["---".to_owned(); self.columns.len()]);
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{rule}{rows}", line(&self.columns))
    }

    /// As spreadsheets read it.
    pub fn csv(&self) -> String {
        let line = |fields: &[String]| {
            let fields: Vec<String> = fields.iter().map(|field| csv_field(field)).collect();
            fields.join(",") + "\n"
        };
        std::iter::once(&self.columns).chain(&self.rows).map(|fields| line(fields)).collect()
    }
}

/// A share of pictures in percent.
pub(crate) fn percent(value: f64) -> String {
    format!("{value:.2}")
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_every_field() {
        let mut table = Table::new(&["net", "error, %"]);
        table.rows.push(vec!["a|b".into(), "6.61".into()]);
        assert_eq!(table.markdown(), "| net | error, % |\n| --- | --- |\n| a\\|b | 6.61 |\n");
        assert_eq!(table.csv(), "net,\"error, %\"\na|b,6.61\n");
        assert_eq!(grouped(1_727_962), "1,727,962");
    }
}
