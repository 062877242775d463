//! The printer: data on standard output, everything else on standard error.

mod table;

use std::io::{Write, stderr, stdout};

use anyhow::Result;
use serde::Serialize;

pub(crate) use table::Table;

/// Version of every JSON form. A field that is added leaves it as it is; any other change raises it.
const JSON_VERSION: u32 = 1;

/// Prints data, line by line.
pub(crate) fn data(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: &'a str,
    version: u32,
    #[serde(flatten)]
    content: T,
}

/// Prints data that is no text.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Prints one JSON object on one line, with its schema `residuum.NAME` and version.
pub(crate) fn json(name: &str, content: impl Serialize) -> Result<()> {
    data(&json_text(name, content)?)
}

/// What [`json`] prints.
pub(crate) fn json_text(name: &str, content: impl Serialize) -> Result<String> {
    let schema = &format!("residuum.{name}");
    Ok(serde_json::to_string(&Envelope { schema, version: JSON_VERSION, content })?)
}

/// Tells the user something that is no error.
pub(crate) fn note(text: &str) {
    say("note", text);
}

/// Tells the user of something that is wrong, on one line.
pub(crate) fn error(text: &str) {
    say("error", text);
}

/// A line for the user. Where standard error is closed there is nobody to tell.
fn say(what: &str, text: &str) {
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let _ = writeln!(stderr(), "{what}: {line}");
}

/// A field of a CSV file, quoted where it has to be.
pub(crate) fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
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

/// A number of bytes in MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must() {
        assert_eq!(csv_field("great white shark"), "great white shark");
        assert_eq!(csv_field("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
