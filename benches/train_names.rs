//! Makes the model of names and addresses: `BURSAR_NAMES=/folder/of/lists cargo bench --bench train_names`.
//!
//! The folder holds `us_census_male.txt`, `us_census_female.txt` and `us_census_surname.txt`: names of the 1990 census of
//! the United States, most frequent first, one to a line (public domain; census.gov, "Frequently Occurring Surnames" and
//! first names). All else is in `src/privacy/names/data`. The same lists give the same bytes.

#![allow(clippy::print_stdout, reason = "a benchmark reports on its terminal")]

use std::collections::BTreeMap;
use std::path::Path;

use bursar::privacy::names::features::{COUNT, ROWS, features};
use bursar::privacy::names::lexicon::{COMPANY, FAMILY, GIVEN, Lexicon, PLACE, STREET, WORD};
use bursar::privacy::names::stored;
use bursar::privacy::names::tagger::{self, ADDRESS, IN_ADDRESS, IN_PERSON, LABELS, NEVER, OUTSIDE, PERSON, Points};
use bursar::privacy::names::token::{Shape, Token, key, tokenise};

#[path = "train_names/write.rs"]
mod write;

use write::{Lists, Rng, Writer};

const ROUNDS: usize = 10;
const TEXTS: usize = 60_000;
/// How many features are kept: those with the largest weights.
const KEPT: usize = 76_000;
/// How often a name in a training text is hidden from the lists, in hundredths: most people's names are in no list.
const HIDDEN: u32 = 45;
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/privacy/names");

fn main() {
    let asked = std::env::args().any(|argument| argument == "--bench");
    let Some(folder) = std::env::var("BURSAR_NAMES").ok().filter(|_| asked) else {
        println!("train_names: set BURSAR_NAMES to a folder with us_census_male.txt, us_census_female.txt and");
        println!("us_census_surname.txt (names of the 1990 US census by frequency, public domain, from census.gov).");
        return;
    };
    let out = std::env::var("BURSAR_NAMES_DATA").unwrap_or_else(|_| DATA.to_owned());
    let lists = match Lists::read(Path::new(&folder), &Path::new(&out).join("data")) {
        Ok(lists) => lists,
        Err(error) => {
            println!("train_names: {error}");
            return;
        }
    };
    let entries = entries(&lists);
    let lexicon = Lexicon::new(&entries);
    let mut rng = Rng::new(20_240_611);
    let mut trainer = Trainer::new();
    for round in 0..ROUNDS {
        let (mut wrong, mut all) = (0, 0);
        let mut writer = Writer::new(&lists, Rng::new(7 + round as u64));
        for _ in 0..TEXTS {
            let (text, spans) = writer.text();
            let mut tokens = Vec::new();
            tokenise(&text, &lexicon, &mut tokens);
            let gold = gold(&tokens, &spans);
            hide(&mut tokens, &gold, &mut rng);
            wrong += trainer.learn(&tokens, &gold);
            all += tokens.len();
        }
        println!("round {round}: {wrong} of {all} tokens wrong");
    }
    let (follow, rows) = trainer.quantised();
    let bytes = stored::write(&entries, &follow, &rows);
    println!("{} words, {} features, {} bytes", entries.len(), rows.len(), bytes.len());
    if let Err(error) = std::fs::write(Path::new(&out).join("model.bin"), bytes) {
        println!("train_names: {error}");
    }
}

/// What is known of every word.
fn entries(lists: &Lists) -> Vec<(u32, u8)> {
    let mut known: BTreeMap<u32, u8> = BTreeMap::new();
    let mut add = |word: &str, flag: u8| {
        let bits = if flag & (GIVEN | FAMILY) == 0 { flag } else { 0 };
        let flags = known.entry(key(word)).or_default();
        *flags |= bits;
        for mask in [GIVEN, FAMILY] {
            if flag & mask > *flags & mask {
                *flags = *flags & !mask | flag & mask;
            }
        }
    };
    for (word, flag) in lists.words(WORD, PLACE, STREET, COMPANY) {
        add(&word, flag);
    }
    for (name, rank) in &lists.given_ranks {
        add(name, *rank);
    }
    for (name, rank) in &lists.family_ranks {
        add(name, *rank << 2);
    }
    known.into_iter().filter(|(_, flags)| *flags != 0).collect()
}

/// The label of each token.
fn gold(tokens: &[Token], spans: &[(usize, usize, bool)]) -> Vec<u8> {
    let label = |token: &Token| {
        let inside =
            spans.iter().find(|(start, end, _)| token.start as usize >= *start && (token.start as usize) < *end);
        match inside {
            None => OUTSIDE,
            Some((start, _, person)) => {
                let first = tokens.iter().find(|token| token.start as usize >= *start);
                let begins = first.is_some_and(|first| first.start == token.start);
                match (person, begins) {
                    (true, true) => PERSON,
                    (true, false) => IN_PERSON,
                    (false, true) => ADDRESS,
                    (false, false) => IN_ADDRESS,
                }
            }
        }
    };
    tokens.iter().map(label).collect()
}

/// Takes what the lists know away from some of the names.
fn hide(tokens: &mut [Token], gold: &[u8], rng: &mut Rng) {
    for (token, label) in tokens.iter_mut().zip(gold) {
        if *label != OUTSIDE && token.flags & WORD == 0 && token.shape != Shape::Lower && rng.percent(HIDDEN) {
            token.flags &= !(GIVEN | FAMILY);
        }
    }
}

/// An averaged structured perceptron.
struct Trainer {
    weights: Vec<[f32; LABELS]>,
    /// Each change times the moment it was made at, for the average.
    moved: Vec<[f32; LABELS]>,
    follow: [[f32; LABELS]; LABELS],
    follow_moved: [[f32; LABELS]; LABELS],
    moment: f32,
}

impl Trainer {
    fn new() -> Self {
        let none = [[0.0; LABELS]; LABELS];
        let rows = vec![[0.0; LABELS]; ROWS];
        Self { weights: rows.clone(), moved: rows, follow: none, follow_moved: none, moment: 1.0 }
    }

    /// Learns one text and returns how many labels were wrong.
    fn learn(&mut self, tokens: &[Token], gold: &[u8]) -> usize {
        let rows: Vec<[u32; COUNT]> = (0..tokens.len())
            .map(|at| {
                let mut rows = [0; COUNT];
                features(tokens, at, &mut rows);
                rows
            })
            .collect();
        let points: Vec<Points> = rows
            .iter()
            .zip(gold)
            .map(|(rows, gold)| {
                // A wrong label must lose by a margin.
                let mut sum = [1.0; LABELS];
                sum[*gold as usize] = 0.0;
                for row in rows {
                    for (sum, weight) in sum.iter_mut().zip(self.weights[*row as usize]) {
                        *sum += weight;
                    }
                }
                sum.map(|sum| (sum * 16.0) as i32)
            })
            .collect();
        let mut follow = tagger::Weights::empty().follow;
        for (points, weights) in follow.iter_mut().zip(self.follow) {
            for (point, weight) in points.iter_mut().zip(weights) {
                if *point > NEVER {
                    *point = (weight * 16.0) as i32;
                }
            }
        }
        let (mut steps, mut labels) = (Vec::new(), Vec::new());
        tagger::best(&points, &follow, &mut steps, &mut labels);
        let wrong = labels.iter().zip(gold).filter(|(guess, gold)| guess != gold).count();
        if wrong > 0 {
            self.correct(&rows, gold, &labels);
        }
        self.moment += 1.0;
        wrong
    }

    fn correct(&mut self, rows: &[[u32; COUNT]], gold: &[u8], guess: &[u8]) {
        let moment = self.moment / 1000.0;
        let (mut gold_before, mut guess_before) = (OUTSIDE as usize, OUTSIDE as usize);
        for ((rows, gold), guess) in rows.iter().zip(gold).zip(guess) {
            let (gold, guess) = (*gold as usize, *guess as usize);
            for (before, label, by) in [(gold_before, gold, 1.0), (guess_before, guess, -1.0)] {
                self.follow[before][label] += by;
                self.follow_moved[before][label] += by * moment;
            }
            if gold != guess {
                for row in rows {
                    let (weights, moved) = (&mut self.weights[*row as usize], &mut self.moved[*row as usize]);
                    weights[gold] += 1.0;
                    moved[gold] += moment;
                    weights[guess] -= 1.0;
                    moved[guess] -= moment;
                }
            }
            (gold_before, guess_before) = (gold, guess);
        }
    }

    /// The average of all moments as small numbers; rows that say next to nothing are left out.
    fn quantised(&self) -> ([Points; LABELS], Vec<(u32, [i8; LABELS])>) {
        let moment = self.moment / 1000.0;
        let average = |weight: f32, moved: f32| weight - moved / moment;
        let mut sizes: Vec<f32> = Vec::new();
        let mut rows: Vec<[f32; LABELS]> = Vec::with_capacity(ROWS);
        for (weights, moved) in self.weights.iter().zip(&self.moved) {
            let mut row = [0.0; LABELS];
            for (slot, (weight, moved)) in row.iter_mut().zip(weights.iter().zip(moved)) {
                *slot = average(*weight, *moved);
            }
            sizes.extend(row.map(f32::abs).into_iter().filter(|size| *size > 0.05));
            rows.push(row);
        }
        sizes.sort_by(f32::total_cmp);
        let top = sizes.get(sizes.len() * 9995 / 10_000).copied().unwrap_or(1.0);
        let scale = 127.0 / top;
        let small = |value: f32| (value * scale).round().clamp(-127.0, 127.0);
        let mut follow = tagger::Weights::empty().follow;
        for ((points, weights), moved) in follow.iter_mut().zip(self.follow).zip(self.follow_moved) {
            for ((point, weight), moved) in points.iter_mut().zip(weights).zip(moved) {
                if *point > NEVER {
                    *point = (average(weight, moved) * scale).round() as i32;
                }
            }
        }
        let mut rows: Vec<(u32, [i8; LABELS])> =
            rows.iter().zip(0..).map(|(row, at)| (at, row.map(|value| small(value) as i8))).collect();
        let most = |row: &[i8; LABELS]| row.iter().map(|weight| weight.unsigned_abs()).max().unwrap_or(0);
        rows.sort_by_key(|(at, row)| (std::cmp::Reverse(most(row)), *at));
        rows.truncate(KEPT);
        rows.retain(|(_, row)| most(row) > 1);
        rows.sort_unstable();
        (follow, rows)
    }
}
