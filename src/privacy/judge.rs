//! What a text is as a whole: an attempt to turn the model against its instructions, or in a language that is not spoken
//! here.

use whatlang::Lang;

use super::injection::Injection;
use super::screen::floor;
use super::{Entity, Finding};

/// Longest piece whose language is told at once, in bytes: a letter, not a book, so that one language does not hide another.
const PIECE: usize = 4_096;
/// Fewest letters by which a language is told: in fewer, names and code are taken for one.
const LETTERS: usize = 40;

/// What one rule judges texts by.
#[derive(Default)]
pub struct Judge {
    /// How sure an attempt at injection has to be, in hundredths.
    injection: Option<u8>,
    /// Those that may be spoken; empty for any.
    languages: Vec<Lang>,
}

impl Judge {
    /// Finds attempts at injection that are as sure as `injection` says, in hundredths, and text in a language that is none
    /// of `languages`, which are codes that [`is_language`] knows.
    pub fn new(injection: Option<u8>, languages: &[String]) -> Self {
        Self { injection, languages: languages.iter().filter_map(|code| language(code)).collect() }
    }

    /// Whether it would never find anything.
    pub fn is_idle(&self) -> bool {
        self.injection.is_none() && self.languages.is_empty()
    }

    /// Leaves in `findings` what it finds in `text`.
    pub fn find(&self, text: &str, findings: &mut Vec<Finding>) {
        findings.clear();
        if u32::try_from(text.len()).is_err() {
            return;
        }
        let found = self.injection.and_then(|threshold| Injection::shared().find(text, threshold));
        findings.extend(found.map(|(start, end, confidence)| Finding {
            start: start as u32,
            end: end as u32,
            entity: Entity::Injection,
            confidence,
        }));
        if !self.languages.is_empty() {
            self.foreign(text, findings);
        }
    }

    fn foreign(&self, text: &str, findings: &mut Vec<Finding>) {
        let mut start = 0;
        while start < text.len() {
            let end = floor(text, start + PIECE);
            let piece = &text[start..end];
            let spoken = whatlang::detect(piece).filter(whatlang::Info::is_reliable);
            let foreign = spoken.filter(|spoken| !self.languages.contains(&spoken.lang()));
            let letters = || piece.chars().filter(|letter| letter.is_alphabetic()).take(LETTERS).count();
            if foreign.is_some_and(|_| letters() == LETTERS) {
                let (start, end, entity) = (start as u32, end as u32, Entity::Language);
                findings.push(Finding { start, end, entity, confidence: 100 });
            }
            start = end;
        }
    }
}

/// The languages that can be told apart: their codes of two letters (ISO 639-1), and of three where there is none.
const LANGUAGES: &[(&str, Lang)] = &[
    ("af", Lang::Afr),
    ("am", Lang::Amh),
    ("ar", Lang::Ara),
    ("az", Lang::Aze),
    ("be", Lang::Bel),
    ("bg", Lang::Bul),
    ("bn", Lang::Ben),
    ("ca", Lang::Cat),
    ("cs", Lang::Ces),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("eo", Lang::Epo),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fa", Lang::Pes),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("gu", Lang::Guj),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("hy", Lang::Hye),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("jv", Lang::Jav),
    ("ka", Lang::Kat),
    ("km", Lang::Khm),
    ("kn", Lang::Kan),
    ("ko", Lang::Kor),
    ("la", Lang::Lat),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("mk", Lang::Mkd),
    ("ml", Lang::Mal),
    ("mr", Lang::Mar),
    ("my", Lang::Mya),
    ("nb", Lang::Nob),
    ("ne", Lang::Nep),
    ("nl", Lang::Nld),
    ("or", Lang::Ori),
    ("pa", Lang::Pan),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("si", Lang::Sin),
    ("sk", Lang::Slk),
    ("sl", Lang::Slv),
    ("sn", Lang::Sna),
    ("sr", Lang::Srp),
    ("sv", Lang::Swe),
    ("ta", Lang::Tam),
    ("te", Lang::Tel),
    ("th", Lang::Tha),
    ("tk", Lang::Tuk),
    ("tl", Lang::Tgl),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("ur", Lang::Urd),
    ("uz", Lang::Uzb),
    ("vi", Lang::Vie),
    ("yi", Lang::Yid),
    ("zh", Lang::Cmn),
    ("zu", Lang::Zul),
];

fn language(code: &str) -> Option<Lang> {
    LANGUAGES.iter().find(|(known, _)| *known == code).map(|(_, language)| *language)
}

/// Whether texts in the language of that code can be told from others.
pub fn is_language(code: &str) -> bool {
    language(code).is_some()
}

/// The codes of all languages that can be told apart.
pub fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GERMAN: &str = "Bitte schicken Sie mir die Unterlagen bis morgen früh, damit ich sie noch lesen kann.";
    const ENGLISH: &str = "Please send me the papers by tomorrow morning, so that I can still read them all.";

    fn found(languages: &[&str], text: &str) -> Vec<(u32, u32, Entity)> {
        let languages: Vec<String> = languages.iter().map(|code| (*code).to_owned()).collect();
        let mut findings = vec![];
        Judge::new(None, &languages).find(text, &mut findings);
        findings.into_iter().map(|finding| (finding.start, finding.end, finding.entity)).collect()
    }

    #[test]
    fn what_is_in_another_language_is_found_and_what_is_too_short_is_not() {
        assert_eq!(found(&["en"], ENGLISH), []);
        assert_eq!(found(&["en", "de"], GERMAN), []);
        assert_eq!(found(&["en"], GERMAN), [(0, GERMAN.len() as u32, Entity::Language)]);
        assert_eq!(found(&["en"], "Guten Tag"), []);
        assert_eq!(found(&[], GERMAN), []);
    }

    #[test]
    fn a_foreign_passage_does_not_hide_behind_a_long_one() {
        let text = format!("{}{}", format!("{ENGLISH} ").repeat(60), format!("{GERMAN} ").repeat(60));
        let found = found(&["en"], &text);
        assert!(!found.is_empty() && found.iter().all(|(start, ..)| *start >= 4_096), "{found:?}");
    }

    #[test]
    fn every_code_stands_for_a_language_of_its_own() {
        let mut known: Vec<Lang> = LANGUAGES.iter().map(|(_, language)| *language).collect();
        known.dedup();
        assert_eq!(known.len(), LANGUAGES.len());
        assert!(is_language("en") && !is_language("english"));
    }
}
