//! What is wrong with a configuration and where: the faults, their places, and how both are printed.
//!
//! A printed source line never shows a secret: every string that is not known to be harmless is masked, and the
//! comment at the end of the line is left out.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bursar_actors::Secret;

/// One file as it was read, for printing lines of it.
#[derive(Debug)]
pub struct SourceFile {
    /// As the operator would write it: relative to the working directory where possible.
    pub name: String,
    /// Position among the files read; faults are sorted by it.
    pub order: usize,
    pub text: String,
    /// Where strings stand (with their quotes), and whether each may be shown. In order of position.
    pub strings: Vec<(Range<usize>, Shown)>,
}

/// Whether a string of a file may appear in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Yes,
    No,
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub enum Origin {
    File { file: Arc<SourceFile>, span: Range<usize> },
    Environment(String),
    CommandLine(String),
}

/// Whether a fault stops the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    pub level: Level,
    pub origin: Option<Origin>,
    pub message: String,
    /// A name that was probably meant.
    pub near: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    /// Makes an error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self { level: Level::Error, origin: None, message: message.into(), near: None, help: None }
    }

    /// Makes a warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(message) }
    }

    /// Says where.
    pub fn at(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin;
        self
    }

    /// Adds the name that was probably meant, if any of `known` is near `word`.
    pub fn near<'k>(mut self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        self.near = nearest(word, known).map(str::to_owned);
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the fault on one line, as logs and the start-up banner show it.
    pub fn one_line(&self) -> String {
        let mut line = match &self.origin {
            Some(origin) => format!("{}: {}", origin.label(), self.message),
            None => self.message.clone(),
        };
        if let Some(near) = &self.near {
            line.push_str(&format!("; did you mean `{near}`?"));
        }
        if let Some(help) = &self.help {
            line.push_str(&format!("; {help}"));
        }
        line
    }

    fn sort_key(&self) -> (usize, usize) {
        match &self.origin {
            Some(Origin::File { file, span }) => (file.order, span.start),
            Some(_) => (usize::MAX - 1, 0),
            None => (usize::MAX, 0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{}: ", origin.label())?;
        }
        f.write_str(&self.message)?;
        if self.level == Level::Warning {
            f.write_str(" [warning]")?;
        }
        let near = self.near.as_ref().map(|near| format!("did you mean `{near}`?"));
        let excerpt = self.origin.as_ref().and_then(Origin::excerpt);
        match (excerpt, near) {
            (Some(excerpt), near) => {
                write!(f, "\n{:>5} | {}", excerpt.line, excerpt.text)?;
                let (indent, carets) = (" ".repeat(excerpt.indent), "^".repeat(excerpt.width));
                write!(f, "\n      | {indent}{carets}")?;
                if let Some(near) = near {
                    write!(f, " {near}")?;
                }
            }
            (None, Some(near)) => write!(f, "\n      |   help: {near}")?,
            (None, None) => {}
        }
        if let Some(help) = &self.help {
            write!(f, "\n      |   help: {help}")?;
        }
        Ok(())
    }
}

/// All that is wrong, in the order of the files. Prints one block each.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    list: Vec<Fault>,
    /// What references stood for, and how each was written.
    hidden: Vec<(Secret, String)>,
}

/// Shorter texts are not hidden: they would be found inside ordinary words, and no secret is as short.
const SHORTEST_HIDDEN: usize = 8;

impl Faults {
    /// Adds a fault. Where its message quotes what a reference stood for, it shows the reference instead.
    pub fn push(&mut self, mut fault: Fault) {
        for (secret, written) in &self.hidden {
            fault.message = fault.message.replace(secret.expose(), written);
            fault.help = fault.help.map(|help| help.replace(secret.expose(), written));
            fault.near = fault.near.filter(|near| !near.contains(secret.expose()));
        }
        self.list.push(fault);
    }

    /// Makes later faults show `written` where they quote `expanded`: a reference may stand for a secret anywhere,
    /// if only because the wrong variable is named.
    pub fn hide(&mut self, expanded: &str, written: &str) {
        if expanded.len() >= SHORTEST_HIDDEN {
            self.hidden.push((Secret::new(expanded.to_owned()), written.to_owned()));
        }
    }

    /// Returns whether any of them stops the gateway.
    pub fn is_fatal(&self) -> bool {
        self.errors() > 0
    }

    /// Returns how many stop the gateway.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|fault| fault.level == Level::Error).count()
    }

    /// Returns how many do not.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// Returns them in order.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }

    /// Puts them in the order of files and lines; what has no place comes last.
    pub fn sort(&mut self) {
        self.list.sort_by_key(Fault::sort_key);
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// One line of a file, safe to show, and the part of it to mark.
struct Excerpt {
    line: usize,
    text: String,
    /// Characters before the mark.
    indent: usize,
    /// Characters to mark, at least 1.
    width: usize,
}

impl Origin {
    /// Returns the place in short: `bursar.toml:61:1`, `env BURSAR__SERVER__LISTEN`, `--set server.listen`.
    pub fn label(&self) -> String {
        match self {
            Self::File { file, span } => {
                let (line, start) = file.line_at(span.start);
                let column = file.text[start..file.boundary(span.start)].chars().count() + 1;
                format!("{}:{line}:{column}", file.name)
            }
            Self::Environment(name) => format!("env {name}"),
            Self::CommandLine(option) => option.clone(),
        }
    }

    fn excerpt(&self) -> Option<Excerpt> {
        let Self::File { file, span } = self else { return None };
        file.excerpt(span)
    }
}

impl SourceFile {
    /// Returns the number of the line that holds `offset`, from 1, and where that line starts.
    fn line_at(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.boundary(offset)];
        (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |at| at + 1))
    }

    /// Returns the start of the character at `offset`.
    fn boundary(&self, offset: usize) -> usize {
        (0..=offset.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }

    fn excerpt(&self, span: &Range<usize>) -> Option<Excerpt> {
        let (line, start) = self.line_at(span.start);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let mut text = String::new();
        let (mut indent, mut mark_end) = (None, None);
        let mut at = start;
        while at < end {
            if at >= span.start && indent.is_none() {
                indent = Some(text.chars().count());
            }
            if at >= span.end && mark_end.is_none() {
                mark_end = Some(text.chars().count());
            }
            if let Some((string, Shown::No)) = self.string_at(at) {
                text.push_str("\"…\"");
                at = string.end.max(at + 1);
                continue;
            }
            let next = self.text[at..].chars().next()?;
            if next == '#' && self.string_at(at).is_none() {
                break;
            }
            text.push(if next == '\t' { ' ' } else { next });
            at += next.len_utf8();
        }
        let text = text.trim_end().to_owned();
        let length = text.chars().count();
        if length == 0 {
            return None;
        }
        let indent = indent.unwrap_or(length).min(length);
        let width = mark_end.unwrap_or(length).min(length).saturating_sub(indent).max(1);
        Some(Excerpt { line, text, indent, width })
    }

    fn string_at(&self, offset: usize) -> Option<(&Range<usize>, Shown)> {
        let after = self.strings.partition_point(|(range, _)| range.start <= offset);
        let (range, shown) = self.strings.get(after.checked_sub(1)?)?;
        range.contains(&offset).then_some((range, *shown))
    }
}

/// Returns the one of `known` that `word` was probably meant to be: two slips away at most, or one starts the other.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let slips = if word.chars().count() <= 3 { 1 } else { 2 };
    known
        .into_iter()
        .filter(|name| *name != word)
        .filter_map(|name| {
            let distance = strsim::osa_distance(word, name);
            let starts = word.len() >= 3 && name.len() >= 3 && (name.starts_with(word) || word.starts_with(name));
            (distance <= slips || starts).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str, hidden: &str) -> Arc<SourceFile> {
        let start = text.find(hidden).unwrap();
        let strings = vec![(start..start + hidden.len(), Shown::No)];
        Arc::new(SourceFile { name: "bursar.toml".to_owned(), order: 0, text: text.to_owned(), strings })
    }

    #[test]
    fn a_secret_on_the_line_of_a_fault_is_masked_and_the_comment_left_out() {
        let text = "version = 1\nkeys = [{ value = \"sk-secret\", wieght = 3 }] # sk-old\n";
        let start = text.find("wieght").unwrap();
        let origin = Origin::File { file: file(text, "\"sk-secret\""), span: start..start + 6 };

        let printed = Fault::error("unknown key `wieght`").at(Some(origin)).near("wieght", ["weight"]).to_string();

        assert_eq!(
            printed,
            "bursar.toml:2:32: unknown key `wieght`\n    2 | keys = [{ value = \"…\", wieght = 3 }]\n      | \
             \u{20}                      ^^^^^^ did you mean `weight`?"
        );
    }

    #[test]
    fn a_suggestion_is_two_slips_away_or_a_beginning() {
        assert_eq!(nearest("antropic", ["anthropic", "openai"]), Some("anthropic"));
        assert_eq!(nearest("openai", ["openai_eu", "local"]), Some("openai_eu"));
        assert_eq!(nearest("qwen", ["fast", "smart"]), None);
    }
}
