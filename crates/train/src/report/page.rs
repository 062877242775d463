//! The page: markup, style and script of this folder in one document that asks for nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use residuum_plot::PALETTE;
use sha2::{Digest as _, Sha256};

const MARKUP: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 3] = [include_str!("chart.js"), include_str!("views.js"), include_str!("page.js")];

/// The page as an HTML document. `data` is what it shows, as JSON; without, it asks the server it came from.
///
/// Its policy lets it run its own script, show pictures that are part of it and talk to its own server, and
/// nothing else, whatever the names in a run may hold.
#[allow(clippy::missing_panics_doc, reason = "the marks are in the markup, which a test reads")]
pub fn document(data: Option<&str>) -> String {
    let colours: Vec<String> =
        PALETTE.iter().map(|[r, g, b]| format!("\"#{r:02x}{g:02x}{b:02x}\"")).collect();
    let palette = format!("const PALETTE = [{}];\n", colours.join(", "));
    let script = format!("\"use strict\";\n{palette}{}", SCRIPTS.concat());
    let digest = STANDARD.encode(Sha256::digest(script.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'"
    );
    // In a script, `<` could end it or begin a comment.
    let data = data.unwrap_or_default().replace('<', "\\u003c");
    let parts =
        [("{{policy}}", policy.as_str()), ("{{style}}", STYLE), ("{{data}}", &data), ("{{script}}", &script)];
    let mut page = String::new();
    let mut rest = MARKUP;
    for (mark, content) in parts {
        let (before, after) = rest.split_once(mark).expect("the page has all marks, in this order");
        page.push_str(before);
        page.push_str(content);
        rest = after;
    }
    page + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_and_holds_data_safely() {
        let page = document(Some(r#"{"name":"</script><script>alert(1)</script><!--"}"#));
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(page.contains(r"\u003c/script>\u003cscript>alert(1)"));
        assert_eq!(page.matches("</script>").count(), 2, "data and script");
        for outside in ["http://", "https://", "src=\"", "@import", "url("] {
            let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_namespace.contains(outside), "{outside}");
        }
        assert!(!page.contains("{{") && page.contains("#0072b2"));
        let script = page.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        let digest = STANDARD.encode(Sha256::digest(script.as_bytes()));
        assert!(page.contains(&format!("'sha256-{digest}'")), "the policy admits this script");
    }
}
