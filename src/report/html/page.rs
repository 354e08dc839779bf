//! The page: the built file with a document, its title and its static part in the marked places.

use std::io::Write;

use anyhow::{Context, Result};
use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::folder::Folder;
use super::model::Document;
use super::noscript::noscript;

/// The page as built from `web/`. It is checked in, so that the program builds without Node.
const TEMPLATE: &str = include_str!("../../../web/dist/report.html");

const TITLE: &str = "<!--evenkeel:title-->";
const NOSCRIPT: &str = "<!--evenkeel:noscript-->";
const DATA: &str = "<script type=\"application/json\" id=\"evenkeel-data\"><!--evenkeel:data--></script>";

/// Documents that are larger than this, in bytes, are compressed.
const LARGE: usize = 200_000;

/// The page of a document. The static charts are those of the folder.
///
/// # Errors
/// If the document cannot be written as JSON, or the built page lacks a marked place.
pub fn page(document: &Document, folder: &Folder) -> Result<Vec<u8>> {
    // `<` begins a tag wherever it stands; in JSON it can be written without one.
    let json = serde_json::to_string(document)?.replace('<', "\\u003c");
    let data = if json.len() > LARGE { compressed(&json)? } else { plain(&json) };
    let parts = [(TITLE, escape(&document.title)), (NOSCRIPT, noscript(document, folder)), (DATA, data)];
    fill(TEMPLATE, &parts)
}

/// The built page with each place filled. What is filled in is not searched for places.
fn fill(template: &str, parts: &[(&str, String)]) -> Result<Vec<u8>> {
    let mut found: Vec<(usize, &str, &str)> = Vec::new();
    for (place, text) in parts {
        let at = template.find(place).with_context(|| format!("web/dist/report.html has no `{place}`"))?;
        found.push((at, place, text));
    }
    found.sort_unstable();
    let (mut page, mut end) = (String::new(), 0);
    for (at, place, text) in found {
        page += &template[end..at];
        page += text;
        end = at + place.len();
    }
    page += &template[end..];
    Ok(page.into_bytes())
}

fn plain(json: &str) -> String {
    format!("<script type=\"application/json\" id=\"evenkeel-data\">{json}</script>")
}

/// Gzip, in base64. The header has no time, so that the same results give the same bytes.
fn compressed(json: &str) -> Result<String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(json.as_bytes())?;
    let text = base64::engine::general_purpose::STANDARD.encode(encoder.finish()?);
    Ok(format!("<script type=\"text/plain\" id=\"evenkeel-data-gz\">{text}</script>"))
}

/// Text in HTML, also in the value of an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_what_is_filled_in_stay_text() {
        let parts = [("<!--a-->", "<!--b-->".to_owned()), ("<!--b-->", "<!--a-->".to_owned())];
        let page = fill("1<!--b-->2<!--a-->3", &parts).unwrap();
        assert_eq!(String::from_utf8(page).unwrap(), "1<!--a-->2<!--b-->3");
        assert!(fill("nothing", &parts).is_err());
    }

    #[test]
    fn the_built_page_has_every_place_once() {
        for place in [TITLE, NOSCRIPT, DATA] {
            assert_eq!(TEMPLATE.matches(place).count(), 1, "{place}");
        }
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("</title>&\"'"), "&lt;/title&gt;&amp;&quot;&#39;");
    }
}
