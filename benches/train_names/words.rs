//! Words, titles, towns, companies and numbers that are neither names nor addresses.

use super::{MONTHS, Writer};

const SYLLABLES: &[&str] = &[
    "ka", "ri", "mo", "ve", "lu", "zen", "tra", "bo", "nex", "qui", "sol", "par", "dex", "vi", "ta", "lo", "mer",
    "cro", "fin", "gen", "hy", "pro", "sy", "tel", "um", "ver", "wa", "xo", "yo", "zi", "bra", "cle", "dra", "eco",
    "flu", "gra", "hub", "ix", "clo", "med", "net", "data", "soft", "bit", "gig", "open", "smart", "health", "credit",
    "law", "loan", "energy", "trip",
];
const TAILS: &[&str] = &[
    "burg", "stad", "ville", "ton", "field", "dorf", "heim", "kirchen", "bach", "by", "sund", "vik", "borg", "hult",
    "rup", "lahti", "mäki", "ice", "ov", "grad", "vár", "hely", "ello", "ano", "mouth", "ham", "wick", "stein", "au",
    "ingen", "hausen", "berg", "feld", "köping", "fjord", "nes", "dal", "bruck", "ec", "any", "halom", "háza", "ivka",
    "wald", "see",
];
/// The first letter as a capital.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Writer<'_> {
    /// A made-up town.
    pub(super) fn town(&mut self) -> String {
        let stem: String = if self.rng.percent(50) {
            let last = self.last();
            let stem = last.rsplit(' ').next().unwrap_or("Kor").to_owned();
            stem.chars().take(4).collect()
        } else {
            format!("{}{}", self.rng.pick(SYLLABLES), self.rng.pick(SYLLABLES))
        };
        capital(&format!("{}{}", stem.to_lowercase(), self.rng.pick(TAILS)))
    }

    /// A made-up company without its kind.
    pub(super) fn brand(&mut self) -> String {
        let mut name: String = (0..2 + self.rng.below(2)).map(|_| self.rng.pick(SYLLABLES)).collect();
        name = capital(&name);
        if self.rng.percent(20) {
            name = name.to_uppercase();
        } else if self.rng.percent(35) {
            let word = self.word();
            name = format!("{name} {}", capital(&word));
        } else if self.rng.percent(20) {
            let (first, second) = (self.word(), self.word());
            name = format!("{} {}", capital(&first), capital(&second));
        } else if self.rng.percent(15) {
            let (first, second) = (self.word(), self.word());
            name = format!("{}{}", capital(&first), second);
        }
        name
    }

    pub(super) fn company(&mut self) -> String {
        let lists = self.lists;
        self.rng.pick(&lists.companies).to_owned()
    }

    pub(super) fn org(&mut self) -> String {
        let kind = self.company();
        match self.rng.below(10) {
            0..3 => format!("{} {kind}", self.last()),
            3 => format!("{}-{}", self.last(), self.last()),
            4 => format!("{}, {} and {}", self.last(), self.last(), self.last()),
            5 => self.brand(),
            6 => format!("{} {}", self.place(), kind),
            7 => format!("{} and {}", self.last(), self.last()),
            _ => format!("{} {kind}", self.brand()),
        }
    }

    pub(super) fn word(&mut self) -> String {
        let lists = self.lists;
        self.rng.pick(&lists.plain).to_owned()
    }

    /// A word no list has but that looks like one.
    pub(super) fn pseudo(&mut self) -> String {
        const ENDINGS: &[&str] = &[
            "s", "ed", "ing", "ly", "er", "ness", "ation", "able", "ive", "ical", "ism", "ist", "ity", "ance", "ment",
            "ous", "al", "ize", "ful", "le",
        ];
        let (first, second) = (self.word(), self.word());
        let (from, to) = (first.chars().count(), second.chars().count());
        let start: String = first.chars().take((from * 2 / 3).max(2)).collect();
        if self.rng.percent(60) {
            return start + self.rng.pick(ENDINGS);
        }
        start + &second.chars().skip(to / 2).collect::<String>()
    }

    pub(super) fn title(&mut self) -> String {
        const SMALL: &[&str] = &["of", "the", "and", "in", "for", "to", "with", "a"];
        let count = 1 + self.rng.below(5);
        let mut words = Vec::new();
        for at in 0..count {
            let word = if at > 0 && at + 1 < count && self.rng.percent(25) {
                self.rng.pick(SMALL).to_owned()
            } else {
                let word = if self.rng.percent(15) { self.pseudo() } else { self.word() };
                capital(&word)
            };
            words.push(word);
        }
        words.join(" ")
    }

    /// A small word or a plain one.
    pub(super) fn glue(&mut self) -> String {
        const VERBS: &[&str] =
            &["is", "was", "has", "and", "said", "to", "who", "in", "with", "for", "will", "just", "had", "did", "can"];
        match self.rng.below(3) {
            0 => self.word(),
            1 => self.pseudo(),
            _ => self.rng.pick(VERBS).to_owned(),
        }
    }

    pub(super) fn salad(&mut self) -> String {
        let count = 3 + self.rng.below(9);
        let mut words: Vec<String> = Vec::new();
        for _ in 0..count {
            let word = match self.rng.below(100) {
                0..40 => {
                    const GLUE: &[&str] = &[
                        "the", "of", "and", "to", "a", "in", "is", "it", "that", "for", "was", "on", "with", "be",
                        "not", "at", "by", "are", "as", "from",
                    ];
                    self.rng.pick(GLUE).to_owned()
                }
                40..42 => self.title(),
                42..44 => self.place(),
                44..46 => self.brand(),
                46..48 => self.digits(4),
                48..58 => self.pseudo(),
                _ => self.word(),
            };
            words.push(word);
        }
        let text = words.join(" ");
        if self.rng.percent(70) { capital(&text) } else { text }
    }

    pub(super) fn snake(&mut self) -> String {
        let count = 1 + self.rng.below(3);
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join("_")
    }

    pub(super) fn date(&mut self) -> String {
        let (day, month) = (self.digits(1), self.rng.pick(MONTHS).to_owned());
        match self.rng.below(4) {
            0 => format!("{day} {month} 20{}", self.fixed(2)),
            1 => format!("{month} {day}, 20{}", self.fixed(2)),
            2 => format!("20{}-0{day}-1{}", self.fixed(2), self.digits(1)),
            _ => format!("0{day}/1{}/19{}", self.digits(1), self.fixed(2)),
        }
    }

    pub(super) fn phone(&mut self) -> String {
        match self.rng.below(4) {
            0 => format!("{}-{}-{}", self.fixed(3), self.fixed(3), self.fixed(4)),
            1 => format!("+{} {} {}", self.digits(2), self.fixed(3), self.fixed(6)),
            2 => format!("({}) {}-{}", self.fixed(3), self.fixed(3), self.fixed(4)),
            _ => format!("0{} {} {} {}", self.fixed(2), self.fixed(2), self.fixed(2), self.fixed(2)),
        }
    }

    pub(super) fn email(&mut self) -> String {
        let (first, last) = (self.first().replace(' ', ""), self.last().replace(' ', ""));
        let at = self.brand().replace(' ', "").to_lowercase();
        match self.rng.below(3) {
            0 => format!("{first}{last}@{at}.com"),
            1 => format!("{}.{}@{at}.org", first.to_lowercase(), last.to_lowercase()),
            _ => format!("{}@{at}.com", first.to_lowercase()),
        }
    }
}
