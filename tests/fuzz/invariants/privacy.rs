//! What must not leave: nothing that is looked through may panic, depend on how it is cut, or come back as something else.

use std::sync::{Arc, LazyLock};

use bursar::privacy::screen::Screen;
use bursar::privacy::{Action, Entity, EntitySet, Judge, Layer, Placeholders, Policy, Redactor, Scanner, Screening};
use serde::de::IgnoredAny;

use super::steered;

/// Characters that a screen may look ahead.
const WINDOW: usize = 64;

fn patterns() -> EntitySet {
    EntitySet::all().iter().filter(|entity| !matches!(entity, Entity::Person | Entity::Address)).collect()
}

/// A text, as lossy UTF-8: findings lie in it, in order and apart, and are the same again; so is what is judged of it.
pub fn privacy_scan(data: &[u8]) {
    static SCANNER: LazyLock<Scanner> = LazyLock::new(|| Scanner::new(EntitySet::all()));
    let text = String::from_utf8_lossy(data);
    let (mut findings, mut again) = (vec![], vec![]);
    SCANNER.scan(&text, &mut findings);
    SCANNER.scan(&text, &mut again);
    assert_eq!(findings, again);
    let mut last = 0;
    for finding in &findings {
        assert!(last <= finding.start && finding.start < finding.end && finding.confidence <= 100, "{finding:?}");
        assert!(!finding.of(&text).is_empty());
        last = finding.end;
    }
    Judge::new(Some(50), &["en".to_owned()]).find(&text, &mut findings);
    assert!(findings.iter().all(|finding| !finding.of(&text).is_empty()));
}

/// The body of a request, as lossy UTF-8: JSON stays JSON, and every placeholder in it comes back.
pub fn privacy_walk(data: &[u8]) {
    static POLICY: LazyLock<Policy> =
        LazyLock::new(|| Policy::default().with(Layer::new("pii", Scanner::new(patterns()), Action::Tokenize)));
    let body = String::from_utf8_lossy(data);
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let mut redactor = Redactor::new(&POLICY, [7; 32]);
    let Ok(Some(new)) = redactor.request(&body) else { return };
    let (values, report) = redactor.finish();
    assert!(!values.is_empty() && values.len() >= usize::from(report.found() > 0));
    assert!(is_json(&new) || !is_json(&body), "{new}");
    let back = Screening::of(values).answer(&new).unwrap_or(new);
    assert!(is_json(&back) || !is_json(&body), "{back}");
    // What looked like a placeholder from the beginning is one of its own.
    if !body.to_ascii_lowercase().contains("pii") {
        assert!(!back.contains("PII_"), "{back}");
    }
}

/// A line of numbers, which are places to cut at, and a text, as lossy UTF-8: however it is cut it becomes the same, and no
/// more than the window is held.
pub fn privacy_screen(data: &[u8]) {
    static POLICY: LazyLock<Arc<Policy>> =
        LazyLock::new(|| Arc::new(Policy::default().with(Layer::new("pii", Scanner::new(patterns()), Action::Mask))));
    let screening = || {
        let mut values = Placeholders::new();
        values.stand_in(Entity::Email, "ann@example.com");
        Screening::new(Some(POLICY.clone()), values, WINDOW, [0; 32])
    };
    let (cuts, text) = steered(data);
    let text = String::from_utf8_lossy(text);
    let whole = screening().text(&text);
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let cuts = cuts.split(|byte| !byte.is_ascii_digit()).filter_map(|cut| std::str::from_utf8(cut).ok()?.parse().ok());
    let mut cuts: Vec<usize> = cuts.filter_map(|cut: usize| places.get(cut % places.len().max(1)).copied()).collect();
    cuts.sort_unstable();
    let (mut screening, mut screen, mut out, mut from) = (screening(), Screen::default(), String::new(), 0);
    for cut in cuts.into_iter().chain([text.len()]) {
        screen.push(&mut screening, &text[from..cut], &mut out);
        // In bytes, of which a character has four at most; the beginning of a placeholder may be held besides.
        assert!(screen.held() <= WINDOW * 8, "{} held", screen.held());
        from = cut;
    }
    screen.finish(&mut screening, &mut out);
    assert_eq!(out, whole);
}
