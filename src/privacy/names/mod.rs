//! Finds the names of people and the addresses of streets, which no pattern tells from other words.
//!
//! A text is cut into tokens, each token is described by some thirty features (the words around it, what it looks like,
//! whether a list of names has it), and a linear model gives every row of labels its points; the best row is kept. The
//! model is made by `cargo bench --bench train_names` out of sentences that were written for it and of lists of names,
//! and is part of the program: `data/SOURCES.md` says what it was made of.

use std::sync::LazyLock;

use super::Finding;

pub mod features;
pub mod lexicon;
mod spans;
pub mod stored;
pub mod tagger;
pub mod token;

use lexicon::Lexicon;
use tagger::Weights;

static MODEL: &[u8] = include_bytes!("model.bin");

/// Texts longer than this are read in pieces of this many bytes.
const PIECE: usize = 8192;

/// The recogniser of names and addresses.
#[derive(Debug)]
pub struct Names {
    lexicon: Lexicon,
    weights: Weights,
}

impl Names {
    /// The one with the model that the program carries.
    pub fn load() -> &'static Self {
        static NAMES: LazyLock<Names> = LazyLock::new(|| {
            let (lexicon, weights) = stored::read(MODEL).unwrap_or_else(|| (Lexicon::new(&[]), Weights::empty()));
            Names { lexicon, weights }
        });
        &NAMES
    }

    /// Appends the people and addresses of `text`, in the order in which they stand there.
    pub fn scan(&self, text: &str, findings: &mut Vec<Finding>) {
        let (mut tokens, mut points, mut steps, mut labels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut known = Vec::new();
        let mut base = 0;
        while base < text.len() && text.len() <= u32::MAX as usize {
            let piece = &text[base..base + piece_end(&text[base..])];
            token::tokenise(piece, &self.lexicon, &mut tokens);
            points.clear();
            points.extend((0..tokens.len()).map(|at| self.weights.points(&tokens, at)));
            tagger::best(&points, &self.weights.follow, &mut steps, &mut labels);
            let (tokens, points, labels) = (&tokens, &points, &labels);
            spans::Piece { text: piece, base, tokens, points, labels, follow: &self.weights.follow }
                .findings(&mut known, findings);
            base += piece.len();
        }
    }
}

/// Where to cut `text` so that nothing is likely to be cut in two: after a blank line, else a line, else a word.
fn piece_end(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let bytes = &text.as_bytes()[..PIECE];
    let half = PIECE / 2;
    let blank = memchr::memmem::rfind(&bytes[half..], b"\n\n").map(|at| half + at + 2);
    let cut = blank
        .or_else(|| memchr::memrchr(b'\n', &bytes[half..]).map(|at| half + at + 1))
        .or_else(|| memchr::memrchr(b' ', &bytes[half..]).map(|at| half + at + 1));
    cut.unwrap_or_else(|| (half..PIECE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(PIECE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Entity;

    fn found(text: &str) -> Vec<(Entity, &str)> {
        let mut findings = Vec::new();
        Names::load().scan(text, &mut findings);
        assert!(findings.windows(2).all(|two| two[0].end <= two[1].start), "{findings:?}");
        assert!(findings.iter().all(|finding| (50..100).contains(&finding.confidence)), "{findings:?}");
        findings.iter().map(|finding| (finding.entity, finding.of(text))).collect()
    }

    fn people(text: &str) -> Vec<&str> {
        found(text).into_iter().filter(|(entity, _)| *entity == Entity::Person).map(|(_, name)| name).collect()
    }

    #[test]
    fn the_model_is_whole() {
        let (lexicon, _) = stored::read(MODEL).expect("the trainer wrote it");
        assert!(lexicon.flags(token::key("Smith")) & lexicon::FAMILY != 0);
        assert!(lexicon.flags(token::key("Jiří")) & lexicon::GIVEN != 0);
        assert!(MODEL.len() < 600 * 1024);
    }

    #[test]
    fn people_are_found_without_their_titles() {
        assert_eq!(people("My name is Anna Kowalska and I have a question."), ["Anna Kowalska"]);
        assert_eq!(people("Dear Mr. Hernández,\nthe invoice is attached."), ["Hernández"]);
        assert_eq!(people("Patient: Giovanni Bianchi\nDOB: 1971-02-03"), ["Giovanni Bianchi"]);
        assert_eq!(people("Kind regards,\nOluwaseun Adeyemi"), ["Oluwaseun Adeyemi"]);
        assert_eq!(people("Great Tales By Mrs. Aldermoor, Second Part"), ["Aldermoor"]);
        assert_eq!(people("Mary's car is red."), ["Mary"]);
    }

    #[test]
    fn part_of_a_full_name_is_found_again() {
        let text = "I met Karl Lindqvist in June. The report was late, and that is why Lindqvist resigned.";
        assert_eq!(people(text), ["Karl Lindqvist", "Lindqvist"]);
    }

    #[test]
    fn addresses_are_found() {
        for (text, address) in [
            ("Please send it to 1204 Maple Avenue, Springfield, IL 62704.", "1204 Maple Avenue, Springfield, IL 62704"),
            ("Ich wohne in der Lindenstraße 14", "Lindenstraße 14"),
            ("Return to PSC 0413, Box 8144\nAPO AA 42323", "PSC 0413, Box 8144\nAPO AA 42323"),
        ] {
            assert_eq!(found(text), [(Entity::Address, address)]);
        }
    }

    #[test]
    fn code_and_plain_prose_hold_nobody() {
        for text in [
            "let names = Names::load();\nfor Frank in Mark::new(&Rose) {}\nuse std::sync::{Arc, Mutex};\n",
            "The quick brown fox jumps over the lazy dog. It was a cold day in April.",
            "GET /api/users/42 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json",
            "Please explain how Kubernetes schedules pods, and why May is warmer than March in Paris.",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn offsets_lie_between_characters() {
        assert_eq!(people("😀 “Žofie Dvořáková” řekla…"), ["Žofie Dvořáková"]);
        let long = "Größe ß 漢字 — ".repeat(2000) + "My name is Peter Müller.";
        assert_eq!(people(&long), ["Peter Müller"]);
    }

    #[test]
    fn no_text_is_too_odd() {
        let odd: Vec<char> = "aZ0 \n\r\t.,'’-_@/:;(){}é漢ß\u{301}\u{0}\u{85}\u{2028}İſ١Ⅳ😀\u{10ffff}".chars().collect();
        let mut seed = 1_u64;
        for length in 0..600 {
            let text: String = (0..length * 7 % 300)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    odd[(seed >> 33) as usize % odd.len()]
                })
                .collect();
            found(&text);
        }
        found(&"Mr. Mrs Herr Ms. Brown Mr Green Mrs. ".repeat(700));
        found(&"x".repeat(20_000));
        found(&"漢".repeat(9_000));
        found(&"\n".repeat(20_000));
    }
}
