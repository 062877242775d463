//! The page of a study: one file that needs nothing else, for eyes, keyboards and screen readers.

use std::fmt::Write as _;

use residuum_explain::Survey;
use residuum_formats::disk;

use super::{Examination, MAX_FILE_BYTES, StudyReport};
use crate::error::Result;
use crate::table::{Table, grouped};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#222;--paper:#fff;--line:#bbb;--soft:#f3f3f3}\
@media(prefers-color-scheme:dark){:root{--ink:#eee;--paper:#181818;--line:#555;--soft:#262626}}\
body{margin:0 auto;max-width:90rem;padding:1rem;font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
p,li{max-width:46rem}\
a{color:inherit}\
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}\
.wide{overflow-x:auto;border:1px solid var(--line);margin:.5rem 0}\
.wide:focus{outline:3px solid #0072b2}\
.wide img,.wide svg{display:block;background:#fff;max-width:none}\
figure{margin:0}\
table{border-collapse:collapse;font-size:.9rem}\
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:bottom}\
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}\
thead th{background:var(--soft)}\
summary{cursor:pointer;padding:.3rem 0}";

impl Examination<'_> {
    /// The whole page.
    pub(super) fn page(
        &self,
        report: &StudyReport,
        survey: &Survey,
        chosen: &[(usize, usize)],
        chart: &str,
    ) -> Result<String> {
        let study = self.study;
        let title = escaped(study.title);
        let list = |lines: &[String]| {
            lines.iter().fold(String::new(), |text, l| text + "<li>" + &escaped(l) + "</li>\n")
        };
        let mut contents = String::from("<li><a href=\"#refinement\">Refinement in numbers</a></li>\n");
        let mut channels = String::new();
        for (number, stage) in self.stages.iter().enumerate() {
            let own: Vec<(usize, &(usize, usize))> =
                chosen.iter().enumerate().filter(|(_, (s, _))| *s == number).collect();
            if own.is_empty() {
                continue;
            }
            let name = escaped(&stage.name);
            // Writing to a `String` cannot fail.
            let _ = writeln!(contents, "<li><a href=\"#stage-{number}\">Channels of {name}</a></li>");
            let _ = writeln!(
                channels,
                "<section aria-labelledby=\"stage-{number}\">\n<h2 id=\"stage-{number}\">Channels of {name}</h2>"
            );
            for (place, &(_, channel)) in own {
                channels += &self.channel(report, survey, (number, channel), place)?;
            }
            channels += "</section>\n";
        }
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}: {of}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the results</a>\n\
             <header>\n<h1>{title}</h1>\n<p>{paper}. Network {model}, the {images} pictures of {data}.</p>\n</header>\n\
             <nav aria-label=\"Contents\">\n<ul>\n{contents}</ul>\n</nav>\n<main id=\"main\">\n\
             <section aria-labelledby=\"about\">\n<h2 id=\"about\">What is shown</h2>\n<p>{question}</p>\n\
             <p>{protocol}</p>\n</section>\n\
             <section aria-labelledby=\"refinement\">\n<h2 id=\"refinement\">Refinement in numbers</h2>\n<ul>\n{sentences}</ul>\n\
             {chart}{table}</section>\n{channels}</main>\n</body>\n</html>\n",
            of = escaped(&self.title()),
            paper = escaped(study.paper),
            model = escaped(&report.model),
            images = grouped(report.images as u64),
            data = escaped(&report.data),
            question = escaped(study.question),
            protocol = escaped(study.protocol),
            sentences = list(&report.sentences),
            chart = wide("Charts of refinement, block by block; the numbers are in the table below", chart),
            table = wide("What each block does", &html_table("What each block does", &report.table)),
        ))
    }

    /// One channel: its picture, and a table of what is in it.
    fn channel(
        &self,
        report: &StudyReport,
        survey: &Survey,
        (stage, channel): (usize, usize),
        place: usize,
    ) -> Result<String> {
        let picture = disk::read(self.folder.join(&report.shown[place].picture), MAX_FILE_BYTES)?;
        let stage_name = &self.stages[stage].name;
        let blocks: Vec<&str> = self.stages[stage].blocks.iter().map(|block| block.name.as_str()).collect();
        let classes = blocks.iter().enumerate().map(|(index, block)| {
            let best = survey.best(stage, index, channel);
            let classes: Vec<&str> = best.iter().map(|unit| self.class_of(unit.image)).collect();
            format!("{block}: {}", classes.join(", "))
        });
        let alternative = format!(
            "The nine images that excite channel {channel} of {stage_name} most, and the guided gradients of the \
             excited units, for {} blocks. Classes of the images, the best first: {}.",
            blocks.len(),
            classes.collect::<Vec<_>>().join("; ")
        );
        let image = format!(
            "<img alt=\"{}\" src=\"data:image/png;base64,{}\">",
            escaped(&alternative),
            base64(&picture)
        );
        let units = html_table("Images and units", &self.units(survey, &[(stage, channel)]));
        Ok(format!(
            "<h3>{name}, channel {channel}</h3>\n<figure>\n{picture}</figure>\n\
             <details>\n<summary>Which images and units these are</summary>\n{units}</details>\n",
            name = escaped(stage_name),
            picture = wide(&format!("Channel {channel} of {stage_name}, block by block"), &image),
            units = wide("Images and units", &units),
        ))
    }
}

/// A part that scrolls by itself where the window is narrow, with the keyboard as well.
fn wide(label: &str, content: &str) -> String {
    let label = escaped(label);
    format!("<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{label}\">\n{content}\n</div>\n")
}

fn html_table(caption: &str, table: &Table) -> String {
    let cells = |tag: &str, fields: &[String]| {
        let cell =
            |text: String, field: &String| text + "<" + tag + ">" + &escaped(field) + "</" + &tag[..2] + ">";
        format!("<tr>{}</tr>\n", fields.iter().fold(String::new(), cell))
    };
    let rows: String = table.rows.iter().map(|row| cells("td", row)).collect();
    format!(
        "<table>\n<caption>{}</caption>\n<thead>\n{}</thead>\n<tbody>\n{rows}</tbody>\n</table>",
        escaped(caption),
        cells("th scope=\"col\"", &table.columns)
    )
}

/// As text and attributes of HTML take it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// RFC 4648, §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
