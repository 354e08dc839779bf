//! Changes as JUnit XML, which CI servers show: a suite per scenario, a case per strategy and metric. Worse or missing is a
//! failure; undecided is skipped, so that it does not count as a pass.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{Compared, difference, groups, place, strategy, words};
use crate::report::export::{Exporter, Layout};
use crate::report::format::value;
use evenkeel_sim::measure::comparison::{Change, Verdict};

/// `compare` as JUnit XML.
pub struct Junit;

impl Exporter<Compared<'_>> for Junit {
    fn flag(&self) -> &'static str {
        "export-junit"
    }

    fn purpose(&self) -> &'static str {
        "JUnit XML to a file, for a CI server"
    }

    fn render(&self, compared: &Compared<'_>, _layout: Layout) -> anyhow::Result<String> {
        Ok(String::from_utf8(render(compared)?)?)
    }
}

/// The XML document.
fn render(compared: &Compared<'_>) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all: Vec<&Change> = compared.changes.all.iter().collect();
    let [tests, failures, skipped] = numbers(compared, &all);
    writer
        .create_element("testsuites")
        .with_attribute(("name", "evenkeel compare"))
        .with_attributes([("tests", &*tests), ("failures", &*failures), ("skipped", &*skipped)])
        .write_inner_content(|writer| {
            groups(all.iter().copied())
                .into_iter()
                .try_for_each(|(key, changes)| suite(writer, compared, &place(key), &changes))
        })?;
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

fn suite(writer: &mut Writer<Vec<u8>>, compared: &Compared<'_>, name: &str, changes: &[&Change]) -> io::Result<()> {
    let [tests, failures, skipped] = numbers(compared, changes);
    writer
        .create_element("testsuite")
        .with_attributes([
            ("name", &*allowed(name)),
            ("tests", &*tests),
            ("failures", &*failures),
            ("errors", "0"),
            ("skipped", &*skipped),
        ])
        .write_inner_content(|writer| changes.iter().try_for_each(|change| case(writer, compared, name, change)))?;
    Ok(())
}

fn case(writer: &mut Writer<Vec<u8>>, compared: &Compared<'_>, suite: &str, change: &Change) -> io::Result<()> {
    let name = allowed(&format!("{} {}", strategy(change), change.metric));
    let message = allowed(&message(change));
    writer
        .create_element("testcase")
        .with_attributes([("classname", &*allowed(suite)), ("name", &*name)])
        .write_inner_content(|writer| {
            if compared.fails(change) {
                let kind = [("message", &*message), ("type", super::json::name(change.verdict))];
                let text = BytesText::new(&message);
                writer.create_element("failure").with_attributes(kind).write_text_content(text)?;
            } else if skipped(change) {
                writer.create_element("skipped").with_attribute(("message", &*message)).write_empty()?;
            } else {
                writer.create_element("system-out").write_text_content(BytesText::new(&message))?;
            }
            Ok(())
        })?;
    Ok(())
}

/// Whether the verdict is undecided.
fn skipped(change: &Change) -> bool {
    matches!(change.verdict, Verdict::TooFew | Verdict::Missing)
}

/// Number of cases, failures and skipped cases.
fn numbers(compared: &Compared<'_>, changes: &[&Change]) -> [String; 3] {
    let failures = changes.iter().filter(|change| compared.fails(change)).count();
    let skipped = changes.iter().filter(|change| skipped(change) && !compared.fails(change)).count();
    [changes.len(), failures, skipped].map(|count| count.to_string())
}

/// "worse: 31.2 ms before, 35.0 ms after, +12.3 % [+10.1, +14.6], 10 pairs".
fn message(change: &Change) -> String {
    let (old, new) = (value(change.old, change.unit), value(change.new, change.unit));
    let change_text = if change.verdict == Verdict::Identical { String::new() } else { difference(change) };
    let parts = [format!("{old} before"), format!("{new} after"), change_text, super::runs(change)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}: {}", words(change), parts.join(", "))
}

/// XML cannot represent most control characters, not even escaped.
fn allowed(text: &str) -> String {
    let bad = |c: char| (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if bad(c) { '\u{fffd}' } else { c }).collect()
}
