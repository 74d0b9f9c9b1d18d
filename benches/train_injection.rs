//! Makes the model of attempts at injection: `BURSAR_TRAIN=1 cargo bench --bench train_injection`, and says how good it is.
//!
//! It is trained on the sentences in `train_injection/sentences.txt`, alone and among plain ones; every fifth line of them
//! is held out. Plain are also pieces of every second file of this repository; the others are held out. The texts of
//! `train_injection/tried.txt` are only tried. The same sentences give the same bytes: only sums,
//! products, quotients and roots are taken, which are the same on every machine (IEEE 754).

#![allow(clippy::print_stdout, reason = "a benchmark reports on its terminal")]

use std::path::Path;
use std::time::Instant;

use bursar::privacy::injection::{Injection, WEIGHTS, features, passages, words};

#[path = "train_injection/grammar.rs"]
mod grammar;

use grammar::{Grammar, Rng};

const ROUNDS: u32 = 8;
/// Texts of each kind in a round.
const TEXTS: usize = 24_000;
/// Most plain sentences around an attempt, or of a plain text.
const AROUND: usize = 5;
/// How far one text moves a weight in the first round.
const STEP: f64 = 0.9;
/// What is left of each weight after a round, so that rare words do not decide.
const KEPT: f64 = 0.92;
/// Points that a text of unknown words lacks to be as likely an attempt as none.
const DOUBT: f64 = 2.0;
/// How much more often texts are plain, in the probabilities.
const PLAIN: f64 = 1.5;
/// How often a feature is not seen in training, in hundredths.
const UNSEEN: usize = 60;
/// The largest weight: those beyond are cut.
const LARGEST: f64 = 2.6;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/train_injection");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/privacy/injection/model.bin");

fn main() {
    let asked = std::env::args().any(|argument| argument == "--bench") && std::env::var_os("BURSAR_TRAIN").is_some();
    if !asked {
        println!("train_injection: set BURSAR_TRAIN=1 to train the model anew");
        return;
    }
    let read = |name: &str| std::fs::read_to_string(Path::new(FOLDER).join(name)).expect("it is part of the sources");
    let (trained, held_out) = Grammar::read(&read("sentences.txt")).split();
    let (files, other_files) = files();
    let raw = Injection::new(quantised(&train(&trained, &files)), 1.0, 0.0);
    let mut rng = Rng(5);
    let tried = |grammar: &Grammar, rng: &mut Rng| {
        let text = |attempt: bool, rng: &mut Rng| (grammar.text(attempt, AROUND, rng), attempt);
        (0..8_000).map(|at| text(at % 2 == 0, rng)).collect::<Vec<_>>()
    };
    let held_out = tried(&held_out, &mut rng);
    let (slope, offset) = calibrated(&raw, &held_out);
    report("lines held out, without them", &raw.with(slope, offset), &held_out);
    // Once that is known, what was held out is learned, too.
    let all = Grammar::read(&read("sentences.txt"));
    let model = Injection::new(quantised(&train(&all, &files)), slope, offset);
    let bytes = model.write();
    println!("{} bytes, {}", bytes.len(), blake3::hash(&bytes).to_hex());
    std::fs::write(MODEL, &bytes).expect("the model can be written");
    report("sentences trained on", &model, &tried(&all, &mut rng));
    let lines = read("tried.txt");
    let own = lines.lines().filter_map(|line| Some((line.get(2..)?.to_owned(), line.starts_with("+ "))));
    let own: Vec<_> = own.filter(|(text, attempt)| *attempt || lines.contains(&format!("\n- {text}"))).collect();
    report("other words (tried.txt)", &model, &own);
    sources(&model, &other_files);
}

/// Learns from every text where it is not sure enough: weights of a plain linear model, by steps against the error.
fn train(grammar: &Grammar, files: &[String]) -> Vec<f64> {
    let mut weights = vec![0.0; WEIGHTS];
    let mut rng = Rng(1);
    for round in 0..ROUNDS {
        let step = STEP / f64::from(round + 1);
        for at in 0..TEXTS * 2 {
            let attempt = at % 2 == 0;
            let from_file = !attempt && rng.below(3) == 0;
            let text = if from_file { piece(files, &mut rng) } else { grammar.text(attempt, AROUND, &mut rng) };
            let words = words(&text);
            // Each feature is now and then not seen, so that none is relied on alone.
            let mut seen = |at: usize| features(&words, at).filter(|_| rng.below(100) >= UNSEEN).collect();
            let used: Vec<Vec<usize>> = (0..words.len()).map(&mut seen).collect();
            let mut sums = vec![0.0];
            for features in &used {
                let sum: f64 = features.iter().map(|feature| weights[*feature]).sum();
                sums.push(sums[sums.len() - 1] + sum);
            }
            // What counts of a text is its worst passage, now and when it is looked for.
            let passage = |(from, to): (usize, usize)| {
                let root = ((to - from) as f64 * 3.0).sqrt();
                ((sums[to] - sums[from]) / root, root, from, to)
            };
            let worst = passages(words.len()).map(passage).max_by(|one, other| one.0.total_cmp(&other.0));
            let Some((points, root, from, to)) = worst else { continue };
            // A slope like the logistic one, without a power, which machines round differently.
            let points = points - DOUBT;
            let sure = 0.5 + 0.5 * points / (1.0 + points.abs());
            let error = if attempt { 1.0 - sure } else { -sure };
            used[from..to].iter().flatten().for_each(|feature| weights[*feature] += step * error / root);
        }
        if round + 1 < ROUNDS {
            weights.iter_mut().for_each(|weight| *weight *= KEPT);
        }
    }
    weights
}

fn quantised(weights: &[f64]) -> Vec<i8> {
    weights.iter().map(|weight| (weight.clamp(-LARGEST, LARGEST) / LARGEST * 127.0).round() as i8).collect()
}

/// Returns slope and offset that make probabilities of points (Platt scaling), by steps.
fn calibrated(raw: &Injection, texts: &[(String, bool)]) -> (f64, f64) {
    let points = texts.iter().filter_map(|(text, attempt)| Some((raw.worst(text)?.points, *attempt)));
    let points: Vec<_> = points.collect();
    let spread = points.iter().map(|(points, _)| points.abs()).sum::<f64>() / points.len() as f64;
    let (mut slope, mut offset) = (1.0, 0.0);
    for _ in 0..20_000 {
        let (mut by_slope, mut by_offset) = (0.0, 0.0);
        for (points, attempt) in &points {
            let at = points / spread;
            let sure = 1.0 / (1.0 + (-(slope * at + offset)).exp());
            let error = if *attempt { 1.0 - sure } else { -sure * PLAIN };
            (by_slope, by_offset) = (by_slope + error * at, by_offset + error);
        }
        slope += by_slope / (points.len() as f64 * PLAIN);
        offset += by_offset / (points.len() as f64 * PLAIN);
    }
    (slope / spread, offset)
}

fn report(name: &str, model: &Injection, texts: &[(String, bool)]) {
    let scores = |wanted: bool| {
        let of = texts.iter().filter(move |(_, attempt)| *attempt == wanted);
        let mut points: Vec<_> = of.map(|(text, _)| model.worst(text).map_or(-1e9, |worst| worst.points)).collect();
        points.sort_by(f64::total_cmp);
        points
    };
    let (attempts, plain) = (scores(true), scores(false));
    let share = |list: &[f64], from: f64| {
        (list.len() - list.partition_point(|points| *points < from)) as f64 / list.len() as f64
    };
    let area: f64 = attempts.iter().map(|points| 1.0 - share(&plain, *points)).sum::<f64>() / attempts.len() as f64;
    let at_one_percent = plain[plain.len() - 1 - plain.len() / 100] + 1e-9;
    println!("{name}: {} attempts, {} plain", attempts.len(), plain.len());
    println!("  AUC {area:.3}, recall {:.1} % at 1 % false", share(&attempts, at_one_percent) * 100.0);
    for threshold in [50, 85, 95] {
        let at = |wanted: bool| {
            let of: Vec<_> = texts.iter().filter(|(_, attempt)| *attempt == wanted).collect();
            let found = of.iter().filter(|(text, _)| model.score(text) >= threshold).count();
            found as f64 * 100.0 / of.len() as f64
        };
        println!("  at {threshold}: recall {:.1} %, false {:.1} %", at(true), at(false));
    }
    if std::env::var_os("BURSAR_SHOW").is_some() {
        for (text, attempt) in texts.iter().filter(|(text, attempt)| (model.score(text) >= 85) != *attempt).take(60) {
            println!("    {} {:3} {text}", if *attempt { "missed" } else { "false " }, model.score(text));
        }
    }
}

/// Returns the texts of this repository: those to train on, and those held out.
fn files() -> (Vec<String>, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    let mut folders = vec![root.join("src"), root.join("actors"), root.join("config")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    // Attempts stand in there.
    paths.retain(|path| !path.to_string_lossy().contains("injection"));
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let (even, odd): (Vec<_>, Vec<_>) = texts.enumerate().partition(|(at, _)| at % 2 == 0);
    let texts = |half: Vec<(usize, String)>| half.into_iter().map(|(_, text)| text).collect();
    (texts(even), texts(odd))
}

fn piece(files: &[String], rng: &mut Rng) -> String {
    let file = files[rng.below(files.len())].as_bytes();
    let from = rng.below(file.len().max(1));
    let to = (from + 100 + rng.below(3_000)).min(file.len());
    String::from_utf8_lossy(&file[from..to]).into_owned()
}

/// Says what is taken for an attempt in texts without any, in pieces of 4 KiB, and how fast.
fn sources(model: &Injection, texts: &[String]) {
    let pieces = texts.iter().flat_map(|text| text.as_bytes().chunks(4_096).map(String::from_utf8_lossy));
    let pieces: Vec<_> = pieces.collect();
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let began = Instant::now();
    let scores: Vec<u8> = pieces.iter().map(|piece| model.score(piece)).collect();
    let took = began.elapsed().as_secs_f64();
    let at = |threshold: u8| scores.iter().filter(|score| **score >= threshold).count();
    println!("files of this repository held out: {} pieces of 4 KiB", pieces.len());
    println!("  taken for attempts at 50: {}, at 85: {}; {:.0} MB/s", at(50), at(85), bytes as f64 / 1e6 / took);
}
