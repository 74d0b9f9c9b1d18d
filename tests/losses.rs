//! What translation leaves out is written down: every parameter that a dialect drops or bends stands in the table of
//! ARCHITECTURE.md.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Calls whose first text names a parameter.
const CALLS: [&str; 5] = [".drop(", ".drop_if(", ".leave_out(", ".note(", ".tell("];

/// Adds the first word of each parameter that is named in `source`.
fn parameters(source: &str, found: &mut BTreeSet<String>) {
    for call in CALLS {
        for (at, _) in source.match_indices(call) {
            // The text stands in the call itself, a few words on at most.
            let rest = &source[at + call.len()..];
            let end = rest.find(';').unwrap_or(rest.len()).min(200);
            let Some(text) = rest.get(..end).and_then(|call| call.split('"').nth(1)) else { continue };
            let word: String =
                text.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
            // Parameters are one word, possibly with a path behind it; sentences are not meant.
            let is_path = text[word.len()..].is_empty() || text[word.len()..].starts_with(['.', '[', ',']);
            if is_path && word.len() > 2 {
                found.insert(word);
            }
        }
    }
}

fn walk(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            parameters(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn every_parameter_that_is_left_out_stands_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    walk(&root.join("src/providers"), &mut found);
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let table = map.split("### What translation loses").nth(1).unwrap().split("\n## ").next().unwrap();

    let missing: Vec<_> = found.iter().filter(|name| !table.contains(name.as_str())).collect();

    assert!(found.len() > 15, "too few were found: {found:?}");
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}
