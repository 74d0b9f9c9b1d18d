//! Rust source as the tidy rules see it: text without comments, literals and test code, its paths and its functions.
//!
//! This is a lexer, not a parser: it knows comments, strings and braces, and no grammar beyond that. What a macro makes
//! of its input is invisible to it.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// One text file of the repository, by its path from the root with `/` between the parts.
pub struct Source {
    pub path: String,
    pub text: String,
    /// `text` with comments and literals blanked; lines stay where they were. Empty for anything but Rust.
    pub code: String,
    /// `code` with test code blanked as well: `#[cfg(test)]` and `#[test]` items, or everything in a test file.
    pub shipped: String,
}

/// One path as written, `use` groups unfolded: `crate::{a, b::C}` gives `crate::a` and `crate::b::C`.
pub struct PathUse {
    pub line: usize,
    pub segments: Vec<String>,
}

impl Source {
    /// Wraps `text`, which stands in the file `path`.
    pub fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") { blank_literals(&text) } else { String::new() };
        let shipped = if is_test_file(path) { String::new() } else { blank_tests(&code) };
        Self { path: path.to_owned(), text, code, shipped }
    }

    /// Returns whether the file lies in one of `folders`, or is one of them.
    pub fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Returns every path in the shipped code.
    pub fn paths(&self) -> Vec<PathUse> {
        paths(&self.shipped)
    }

    /// Returns the lines, counted from 1, of shipped code on which `needle` stands.
    pub fn shipped_lines_with(&self, needle: &str) -> Vec<usize> {
        self.shipped.match_indices(needle).map(|(at, _)| line_of(&self.shipped, at)).collect()
    }
}

/// Reads every text file below `root`, except what `.gitignore` names and what is no UTF-8.
pub fn read_tree(root: &Path) -> Vec<Source> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let entry = entry.expect("a folder of the repository can be listed");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let relative = path.strip_prefix(root).expect("the walk began at the root").to_string_lossy();
            let relative = relative.replace('\\', "/");
            if name == ".git" || [&name, &relative].iter().any(|known| ignored.contains(&known.as_str())) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Source::new(&relative, text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "test.rs") || part.ends_with("_tests.rs"))
}

/// Returns the line, counted from 1, of the byte `at`.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Replaces comments and the insides of string, byte and character literals by spaces.
pub fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !continues_a_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => character_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(out).expect("only whole literals were replaced, by ASCII")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// Whether the byte before `at` belongs to the same word; `br"` and `cr"` are prefixes, not words.
fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    at > 0 && word(bytes[at - 1]) && !(matches!(bytes[at - 1], b'b' | b'c') && (at < 2 || !word(bytes[at - 2])))
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None; // An identifier: `result`, `r#type`.
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// Returns where a character literal ends, or nothing where the quote opens a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    let next = *bytes.get(at + 1)?;
    if next == b'\\' {
        let close = bytes[at + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    let width = match next {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + width + 2)
}

/// Blanks every item that stands under `#[cfg(test)]`, `#[test]` or a test attribute of a runtime.
fn blank_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[") {
        let attribute_end = at + code[at..].find(']').unwrap_or(0);
        let attribute: String = code[at..attribute_end].split_whitespace().collect();
        let is_test = attribute.ends_with("#[test") || attribute.ends_with("::test");
        if !is_test && !attribute.contains("cfg(test") && !attribute.contains("cfg(all(test") {
            continue;
        }
        let end = item_end(code, attribute_end);
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(out).expect("literals are blank, so items are cut at ASCII")
}

/// Returns the end of the item that begins behind `from`: its `;`, or the brace that closes its body.
pub fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(from + 1) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' if depth <= 1 => return offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Returns name and span of every function with a body.
pub fn functions(code: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        if word != "fn" {
            continue;
        }
        let end = item_end(code, at);
        let name = words(&code[at + 2..end]).next().map_or("", |(_, name)| name);
        if code[..end].ends_with('}') {
            found.push((name, at..end));
        }
    }
    found
}

/// Returns the words (identifiers, keywords, numbers) of `code` with the byte each begins at.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        at += bytes[at..].iter().position(|byte| is_word(*byte))?;
        let begin = at;
        at += bytes[at..].iter().position(|byte| !is_word(*byte)).unwrap_or(bytes.len() - at);
        Some((begin, &code[begin..at]))
    })
}

/// Returns every path in `code`, with `use` groups unfolded.
pub fn paths(code: &str) -> Vec<PathUse> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_name(tokens[at].1) {
            at = read_path(code, &tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path (or `use` tree) that begins at the token `at` below `prefix`; returns the token behind it.
fn read_path(code: &str, tokens: &[(usize, &str)], mut at: usize, prefix: &[String], out: &mut Vec<PathUse>) -> usize {
    let begin = tokens[at].0;
    let mut segments = prefix.to_vec();
    while let Some((_, name)) = tokens.get(at).filter(|(_, token)| is_name(token)) {
        segments.push((*name).to_owned());
        at += 1;
        if tokens.get(at).map(|(_, token)| *token) != Some("::") {
            break;
        }
        at += 1;
        if tokens.get(at).map(|(_, token)| *token) == Some("{") {
            return read_group(code, tokens, at + 1, &segments, out);
        }
    }
    out.push(PathUse { line: line_of(code, begin), segments });
    at
}

fn read_group(code: &str, tokens: &[(usize, &str)], mut at: usize, prefix: &[String], out: &mut Vec<PathUse>) -> usize {
    while let Some((_, token)) = tokens.get(at) {
        if *token == "}" {
            return at + 1;
        }
        at = if is_name(token) { read_path(code, tokens, at, prefix, out) } else { at + 1 };
    }
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Returns words, `::` and single other characters, white space left out.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut last = 0;
    for (begin, word) in words(code).chain([(code.len(), "")]) {
        let mut gap = code[last..begin].char_indices().peekable();
        while let Some((offset, character)) = gap.next() {
            let at = last + offset;
            if character == ':' && gap.next_if(|(_, next)| *next == ':').is_some() {
                found.push((at, &code[at..at + 2]));
            } else if !character.is_whitespace() {
                found.push((at, &code[at..at + character.len_utf8()]));
            }
        }
        if !word.is_empty() {
            found.push((begin, word));
        }
        last = begin + word.len();
    }
    found
}
