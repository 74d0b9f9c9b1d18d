//! The layout of a configuration file, put in order without touching what it says.
//!
//! One blank line before each table and never two in a row, one space around `=`, two before a comment that ends a
//! line, lists on several lines indented by two. Comments, the order of keys, and every value stay. Whatever the result
//! would lose or change is noticed, and then there is no result.

use toml_edit::{Array, DocumentMut, InlineTable, Item, RawString, Table, Value};

/// Why a file was not laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("it is not TOML; `bursar check` says where")]
    NotToml,
    /// A gap in this module, noticed before it could do harm.
    #[error("its layout is one that cannot be put in order without loss; it was left as it is")]
    Loss,
}

/// Returns `text` in order.
pub fn laid_out(text: &str) -> Result<String, LayoutError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut document: DocumentMut = text.parse().map_err(|_| LayoutError::NotToml)?;
    let trailing = lead(document.trailing().as_str().unwrap_or_default());
    document.set_trailing(trailing);
    table(document.as_table_mut());
    let written = document.to_string();
    let written = format!("{}\n", written.trim_matches(['\n', ' ', '\t', '\r']));
    let written = if written.trim().is_empty() { String::new() } else { written };
    if means(text) != means(&written) || comments(text) != comments(&written) {
        return Err(LayoutError::Loss);
    }
    Ok(written)
}

fn means(text: &str) -> Option<toml::Table> {
    text.parse().ok()
}

fn table(table: &mut Table) {
    for (mut key, item) in table.iter_mut() {
        match item {
            Item::Value(inner) => {
                let decor = key.leaf_decor_mut();
                let before = lead(decor.prefix().and_then(|raw| raw.as_str()).unwrap_or_default());
                decor.set_prefix(before);
                decor.set_suffix(" ");
                value(inner, 1);
                let decor = inner.decor_mut();
                let behind = tail(decor.suffix().and_then(|raw| raw.as_str()).unwrap_or_default());
                decor.set_prefix(" ");
                decor.set_suffix(behind);
            }
            Item::Table(inner) => {
                header(inner);
                self::table(inner);
            }
            Item::ArrayOfTables(list) => {
                for inner in list.iter_mut() {
                    header(inner);
                    self::table(inner);
                }
            }
            Item::None => {}
        }
    }
}

fn header(table: &mut Table) {
    if table.is_dotted() || table.is_implicit() {
        return;
    }
    let decor = table.decor_mut();
    let before = lead(decor.prefix().and_then(|raw| raw.as_str()).unwrap_or_default());
    let behind = tail(decor.suffix().and_then(|raw| raw.as_str()).unwrap_or_default());
    // Comments above a blank line may belong to the table before, such as settings that are switched off.
    let apart = before.starts_with('\n') || before.contains("\n\n");
    decor.set_prefix(if apart { before } else { format!("\n{before}") });
    decor.set_suffix(behind);
}

/// Returns the lines before a key or header: comments as they are, blank lines one at a time.
fn lead(before: &str) -> String {
    let mut lead = String::new();
    let mut lines: Vec<&str> = before.split('\n').map(str::trim).collect();
    // Behind the last line feed stands the indentation of the line itself.
    lines.pop();
    for line in lines {
        if line.is_empty() && (lead == "\n" || lead.ends_with("\n\n")) {
            continue;
        }
        lead.push_str(line);
        lead.push('\n');
    }
    lead
}

/// Returns the comment that ends a line, or nothing.
fn tail(behind: &str) -> String {
    let comment = behind.trim();
    if comment.is_empty() { String::new() } else { format!("  {comment}") }
}

fn value(value: &mut Value, depth: usize) {
    match value {
        Value::Array(inner) => array(inner, depth),
        Value::InlineTable(inner) => inline(inner, depth),
        _ => {}
    }
}

/// Returns what stands before and behind a value.
fn around(value: &Value) -> (&str, &str) {
    let (before, behind) = (value.decor().prefix(), value.decor().suffix());
    (before.and_then(RawString::as_str).unwrap_or_default(), behind.and_then(RawString::as_str).unwrap_or_default())
}

fn array(array: &mut Array, depth: usize) {
    let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
    // A comment between a value and its comma is rare, and has no better place.
    if array.iter().any(|element| around(element).1.contains('#')) {
        return;
    }
    let several = trailing.contains('\n') || array.iter().any(|element| around(element).0.contains('\n'));
    for (index, element) in array.iter_mut().enumerate() {
        let before = around(element).0.to_owned();
        value(element, depth + 1);
        let before = match (several, index) {
            (true, _) => within(&before, depth),
            (false, 0) => String::new(),
            (false, _) => " ".to_owned(),
        };
        element.decor_mut().set_prefix(before);
        element.decor_mut().set_suffix("");
    }
    array.set_trailing(if several { within(&trailing, depth - 1) } else { String::new() });
    array.set_trailing_comma(several && !array.is_empty());
}

/// Returns what stands before an element on a line of its own: first the comment that ends the line before.
fn within(before: &str, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut lines: Vec<&str> = before.split('\n').map(str::trim).collect();
    if lines.len() > 1 {
        lines.pop();
    }
    let mut text = String::new();
    for (index, line) in lines.into_iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        text.push_str(&if index == 0 { format!("  {line}") } else { format!("\n{indent}{line}") });
    }
    format!("{text}\n{indent}")
}

fn inline(table: &mut InlineTable, depth: usize) {
    // TOML 1.1 lets them span lines; whoever does that has a layout in mind.
    if table.to_string().contains('\n') {
        return;
    }
    let last = table.len().saturating_sub(1);
    for (index, (mut key, inner)) in table.iter_mut().enumerate() {
        value(inner, depth + 1);
        key.leaf_decor_mut().set_prefix(" ");
        key.leaf_decor_mut().set_suffix(" ");
        inner.decor_mut().set_prefix(" ");
        inner.decor_mut().set_suffix(if index == last { " " } else { "" });
    }
}

/// Returns every comment of `text` in order, without the blanks around it.
fn comments(text: &str) -> Vec<String> {
    let mut comments = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['#', '"', '\'']) {
        let found = &rest[at..];
        if found.starts_with('#') {
            let end = found.find('\n').unwrap_or(found.len());
            comments.push(found[..end].trim().to_owned());
            rest = &found[end..];
            continue;
        }
        rest = &found[string_length(found)..];
    }
    comments
}

/// Returns the length of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let long = quote.repeat(3);
    let (mark, escapes) = (if text.starts_with(&long) { long.as_str() } else { quote }, quote == "\"");
    let mut at = mark.len();
    while at < text.len() {
        let rest = &text[at..];
        if escapes && rest.starts_with('\\') {
            at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
        } else if let Some(behind) = rest.strip_prefix(mark) {
            // Up to two quotes may stand before the three that end it.
            let more = behind.chars().take_while(|c| mark.len() == 3 && rest.starts_with(*c)).take(2);
            return at + mark.len() + more.count();
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout_is_put_in_order_and_every_comment_stays() {
        let text = "\n\n# head\n\n\nversion=1   # one\n[server]#srv\n  listen  =\"a # b\"\n\n\n\n# about workers\nworkers= 2\n\
                    [[client_keys]]\nid='x'\ntargets = [ {a=1,b = [1,2]} ,\n      2, # two\n # three\n   3 ] # end\n# tail\n\n";

        let expected = "# head\n\nversion = 1  # one\n\n[server]  #srv\nlisten = \"a # b\"\n\n# about workers\nworkers = 2\n\n\
                        [[client_keys]]\nid = 'x'\ntargets = [\n  { a = 1, b = [1, 2] },\n  2,  # two\n  # three\n  3,\n]  # end\n# tail\n";
        assert_eq!(laid_out(text).unwrap(), expected);
        assert_eq!(laid_out(expected).unwrap(), expected);
    }

    #[test]
    fn the_shipped_files_survive() {
        for text in [include_str!("../../config/bursar.toml"), include_str!("../../config/demo.toml")] {
            let once = laid_out(text).unwrap();

            assert_eq!(laid_out(&once).unwrap(), once);
        }
    }

    #[test]
    fn settings_that_are_switched_off_stay_with_their_table() {
        let text = "[server]\n# workers = 1\n\n[storage]\n# path = 'x'\n";

        assert_eq!(laid_out(text).unwrap(), text);
    }

    #[test]
    fn strings_hide_what_looks_like_a_comment() {
        let text = "a = \"\"\"x # no \\\" \"\"\"\" # yes\nb = '# no' # too\nc = '''' # no''''' # three";

        assert_eq!(comments(text), ["# yes", "# too", "# three"]);
    }

    proptest! {
        #[test]
        fn layout_is_stable_and_changes_no_value(
            parts in prop::collection::vec(
                "(a|b|c\\.d) *= *([0-9]|\"x # y\"|\\[ *1, *2 *\\]|\\[\n1, #k\n 2\n\\]|\\{ *e *= *1 *\\}) *(#c)?\n|\n|# note\n|\\[t[0-9]\\] *(# h)?\n|\\[\\[l\\]\\]\n",
                0..12,
            )
        ) {
            let text = parts.concat();
            if let Ok(once) = laid_out(&text) {
                prop_assert_eq!(means(&once), means(&text));
                prop_assert_eq!(laid_out(&once), Ok(once));
            } else {
                prop_assert!(means(&text).is_none(), "{}", text);
            }
        }
    }
}
