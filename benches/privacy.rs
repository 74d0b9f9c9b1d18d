//! What looking for personal data costs, beside a plain pass over the same bytes; and how well it is found, where a labelled
//! set is at hand: `BURSAR_PII=<file> cargo bench --bench privacy` prints the table.
//!
//! The file is an array of `{"full_text", "spans": [{"entity_type", "start_position", "end_position"}]}`, positions in
//! characters, as Presidio-research writes them.

// A bench prints its figures.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use bursar::privacy::{Action, Entity, EntitySet, Layer, Policy, Redactor, Scanner};
use serde_json::Value;

/// The labels of the set, and what we call them.
const LABELS: [(&str, Entity); 9] = [
    ("CREDIT_CARD", Entity::CreditCard),
    ("PHONE_NUMBER", Entity::Phone),
    ("DATE_TIME", Entity::Date),
    ("EMAIL_ADDRESS", Entity::Email),
    ("US_SSN", Entity::Ssn),
    ("DOMAIN_NAME", Entity::Url),
    ("IP_ADDRESS", Entity::Ip),
    ("PERSON", Entity::Person),
    ("STREET_ADDRESS", Entity::Address),
];
const ROUNDS: usize = 9;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let patterns: EntitySet =
        EntitySet::all().iter().filter(|entity| !matches!(entity, Entity::Person | Entity::Address)).collect();
    let (plain, named) = (Scanner::new(patterns), Scanner::new(EntitySet::all()));
    let dense = "Ann (ann@example.com, +1-984-182-0190) paid 4111 1111 1111 1111 on 6/24/1991 from 203.0.113.9. ";
    let clean = "The quick brown fox jumps over the lazy dog and then it sleeps under a tree until noon. ";
    println!("median of {ROUNDS} rounds over 1 MB; the pass over the bytes counts them by value");
    for (name, text) in [("dense", dense), ("without findings", clean)] {
        let text = text.repeat(1_000_000 / text.len());
        let pass = speed(&text, |text| {
            let mut counts = [0_u32; 256];
            text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
            black_box(counts);
        });
        let [patterns, names] = [&plain, &named].map(|scanner| {
            let mut findings = Vec::new();
            speed(&text, |text| scanner.scan(black_box(text), &mut findings))
        });
        println!("{name}: pass {pass:.0} MB/s, patterns {patterns:.0} MB/s, patterns and names {names:.1} MB/s");
    }
    let (mut findings, kilobyte) = (Vec::new(), &dense.repeat(11)[..1_024]);
    let mut times: Vec<_> = (0..20_000)
        .map(|_| {
            let began = Instant::now();
            plain.scan(black_box(kilobyte), &mut findings);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("1 KiB of dense text: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
    let request =
        serde_json::json!({"model": "m", "messages": [{"role": "user", "content": dense.repeat(20)}]}).to_string();
    let policy = Policy::default().with(Layer::new("pii", Scanner::new(patterns), Action::Tokenize));
    let whole = speed(&request, |request| {
        let mut redactor = Redactor::new(&policy, [0; 32]);
        black_box(redactor.request(request).ok());
    });
    println!("a request of {} bytes, every value replaced: {whole:.0} MB/s", request.len());
    match std::env::var_os("BURSAR_PII") {
        Some(path) => table(&serde_json::from_slice::<Vec<Value>>(&std::fs::read(path).unwrap()).unwrap(), &named),
        None => println!("set BURSAR_PII to a labelled set to see how well things are found"),
    }
}

/// Megabytes a second, the median of some rounds.
fn speed(text: &str, mut work: impl FnMut(&str)) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work(text);
            text.len() as f64 / 1e6 / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_unstable_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

/// Found, exact, overlapping and labelled, by label.
#[derive(Default)]
struct Score {
    found: f64,
    exact: f64,
    overlapping: f64,
    labelled: f64,
    /// Labelled things that some finding overlaps.
    touched: f64,
    characters: f64,
    leaked: f64,
}

fn table(set: &[Value], scanner: &Scanner) {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    let mut findings = Vec::new();
    for text in set {
        let (spans, text) = (text["spans"].as_array().unwrap(), text["full_text"].as_str().unwrap());
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let place = |span: &Value, end: &str| places[span[end].as_u64().unwrap() as usize] as u32;
        scanner.scan(text, &mut findings);
        for (label, entity) in LABELS {
            let gold = spans.iter().filter(|span| span["entity_type"] == label);
            let gold: Vec<_> = gold.map(|span| (place(span, "start_position"), place(span, "end_position"))).collect();
            let score = scores.entry(label).or_default();
            for own in findings.iter().filter(|own| own.entity == entity) {
                score.found += 1.0;
                score.exact += f64::from(u8::from(gold.contains(&(own.start, own.end))));
                score.overlapping +=
                    f64::from(u8::from(gold.iter().any(|(start, end)| own.start < *end && *start < own.end)));
            }
            for (start, end) in gold {
                let hidden = |at: &u32| findings.iter().any(|own| own.start <= *at && *at < own.end);
                score.labelled += 1.0;
                score.touched += f64::from(u8::from(
                    findings.iter().any(|own| own.entity == entity && own.start < end && start < own.end),
                ));
                score.characters += f64::from(end - start);
                score.leaked += (start..end).filter(|at| !hidden(at)).count() as f64;
            }
        }
    }
    println!(
        "{:16} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9} {:>8}",
        "label", "P", "R", "F1", "P loose", "R loose", "F1 loose", "in clear"
    );
    for (label, score) in scores {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        let f1 = |p: f64, r: f64| if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 };
        let (p, r) = (share(score.exact, score.found), share(score.exact, score.labelled));
        let (loose_p, loose_r) = (share(score.overlapping, score.found), share(score.touched, score.labelled));
        println!(
            "{label:16} {p:7.3} {r:7.3} {:7.3} {loose_p:9.3} {loose_r:9.3} {:9.3} {:7.2}%",
            f1(p, r),
            f1(loose_p, loose_r),
            100.0 * share(score.leaked, score.characters)
        );
    }
}
