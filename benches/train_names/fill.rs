//! Fills the braces of sentences with names, addresses and all the rest.

use super::words::capital;
use super::{Cased, DAYS, JOBS, Lists, MONTHS, NATIONS, Origin, PRODUCTS, Rng, TITLES, Writer};

impl<'l> Writer<'l> {
    pub fn new(lists: &'l Lists, rng: Rng) -> Self {
        Self { lists, rng, text: String::new(), spans: Vec::new(), cased: Cased::AsIs }
    }

    /// A text of one to four sentences and what is in it: start, end, whether it is a person.
    pub fn text(&mut self) -> (String, Vec<(usize, usize, bool)>) {
        let chance = self.rng.below(100);
        self.cased = if chance < 7 {
            Cased::Lower
        } else if chance < 10 {
            Cased::Upper
        } else {
            Cased::AsIs
        };
        let count = [1, 1, 1, 2, 2, 3, 4][self.rng.below(7)];
        for at in 0..count {
            if at > 0 {
                let with = ["\n", "\n", "\n\n", " ", " ", " ", ". "][self.rng.below(7)];
                self.put(with);
            }
            let lists = self.lists;
            let chance = self.rng.below(100);
            let from = if chance < 40 {
                &lists.people
            } else if chance < 58 {
                &lists.addresses
            } else {
                &lists.neither
            };
            let sentence = self.rng.pick(from);
            self.fill(sentence);
        }
        (std::mem::take(&mut self.text), std::mem::take(&mut self.spans))
    }

    fn put(&mut self, piece: &str) {
        match self.cased {
            Cased::AsIs => self.text.push_str(piece),
            Cased::Lower => self.text.push_str(&piece.to_lowercase()),
            Cased::Upper => self.text.push_str(&piece.to_uppercase()),
        }
    }

    fn mark(&mut self, piece: &str, person: bool) {
        let start = self.text.len();
        self.put(piece);
        self.spans.push((start, self.text.len(), person));
    }

    fn fill(&mut self, sentence: &str) {
        let mut rest = sentence;
        while let Some(at) = rest.find('{') {
            self.put(&rest[..at]);
            let named = rest[at + 1..].find('}').map(|end| (&rest[at + 1..at + 1 + end], at + end + 2));
            match named {
                Some((name, next)) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    self.fill_one(name);
                    rest = &rest[next..];
                }
                _ => {
                    self.put("{");
                    rest = &rest[at + 1..];
                }
            }
        }
        self.put(rest);
    }

    fn fill_one(&mut self, name: &str) {
        match name {
            "name" if self.rng.percent(25) => {
                let first = self.first();
                self.mark(&first, true);
            }
            "name" | "full" => {
                let full = self.full();
                self.mark(&full, true);
            }
            "first" if self.rng.percent(8) => {
                let full = self.full();
                self.mark(&full, true);
            }
            "first" => {
                let first = self.first();
                self.mark(&first, true);
            }
            "last" => {
                let last = self.last();
                self.mark(&last, true);
            }
            "addr" | "addr1" => {
                let address = self.address(name == "addr1");
                self.mark(&address, false);
            }
            "street" => {
                let street = self.street();
                self.mark(&street, false);
            }
            "streetname" => {
                let street = self.street_name();
                self.mark(&street, false);
            }
            "unit" => {
                let unit = self.unit();
                self.mark(&unit, false);
            }
            _ => {
                let other = self.other(name);
                self.put(&other);
            }
        }
    }

    pub(super) fn origin(&mut self) -> Option<&'l Origin> {
        let lists = self.lists;
        if self.rng.percent(25) { None } else { lists.origins.get(self.rng.below(lists.origins.len())) }
    }

    /// A name nobody has but that sounds like the others: the beginning of one and the end of another.
    fn blend(&mut self, list: &'l [String], name: &'l str) -> String {
        if !self.rng.percent(14) {
            return name.to_owned();
        }
        let other = self.rng.pick(list);
        let (from, to) = (name.chars().count(), other.chars().count());
        if from < 4 || to < 4 {
            return name.to_owned();
        }
        let start: String = name.chars().take(from / 2 + 1).collect();
        start + &other.chars().skip(to / 2).collect::<String>().to_lowercase()
    }

    pub(super) fn given_of(&mut self, origin: Option<&'l Origin>) -> String {
        let lists = self.lists;
        match origin {
            Some(origin) => {
                let name = self.rng.pick(&origin.given);
                self.blend(&origin.given, name)
            }
            None => {
                let name = self.rng.early(&lists.us_given);
                self.blend(&lists.us_given, name)
            }
        }
    }

    pub(super) fn family_of(&mut self, origin: Option<&'l Origin>) -> String {
        let lists = self.lists;
        match origin {
            Some(origin) => {
                let name = self.rng.pick(&origin.family);
                let name = self.blend(&origin.family, name);
                if !origin.between.is_empty() && self.rng.percent(12) {
                    let between = self.rng.pick(&origin.between);
                    let second = if between == "van" && self.rng.percent(30) { " der" } else { "" };
                    return format!("{between}{second} {name}");
                }
                name
            }
            None => {
                let name = self.rng.early(&lists.us_family);
                self.blend(&lists.us_family, name)
            }
        }
    }

    pub(super) fn first(&mut self) -> String {
        let origin = self.origin();
        self.given_of(origin)
    }

    pub(super) fn last(&mut self) -> String {
        let origin = self.origin();
        self.family_of(origin)
    }

    fn full(&mut self) -> String {
        let origin = self.origin();
        let given = self.given_of(origin);
        let mixed = if self.rng.percent(12) { self.origin() } else { origin };
        let family = self.family_of(mixed);
        let initial = (b'A' + self.rng.below(26) as u8) as char;
        match self.rng.below(100) {
            0..64 => format!("{given} {family}"),
            64..72 => format!("{given} {initial}. {family}"),
            72..75 => format!("{given} {initial} {family}"),
            75..78 => format!("{initial}. {family}"),
            78..80 => {
                let second = (b'A' + self.rng.below(26) as u8) as char;
                format!("{initial}.{}{second}. {family}", if self.rng.percent(50) { " " } else { "" })
            }
            80..86 => {
                let second = self.given_of(origin);
                format!("{given} {second} {family}")
            }
            86..89 => {
                let second = self.family_of(origin);
                format!("{given} {family} {second}")
            }
            89..91 => {
                let second = self.family_of(None);
                format!("{given} {family}-{second}")
            }
            91..93 => {
                let second = self.given_of(origin);
                format!("{given}-{second} {family}")
            }
            93..95 => format!("{family} {given}"),
            95..97 => format!("{family}, {given}"),
            97..98 => format!("{} {}", given.to_uppercase(), family.to_uppercase()),
            _ => format!("{given} {}", family.to_uppercase()),
        }
    }

    pub(super) fn digits(&mut self, most: usize) -> String {
        let count = 1 + self.rng.below(most);
        (0..count)
            .map(|at| (b'0' + if at == 0 { 1 + self.rng.below(9) } else { self.rng.below(10) } as u8) as char)
            .collect()
    }

    pub(super) fn fixed(&mut self, count: usize) -> String {
        (0..count).map(|_| (b'0' + self.rng.below(10) as u8) as char).collect()
    }

    fn other(&mut self, name: &str) -> String {
        match name {
            "first0" => self.first(),
            "last0" => self.last(),
            "city" if self.rng.percent(25) => self.town(),
            "CITY" => if self.rng.percent(50) { self.town() } else { self.place() }.to_uppercase(),
            "city" | "country" => self.place(),
            "org" => self.org(),
            "brand" => self.brand(),
            "company" => self.company(),
            "word" if self.rng.percent(12) => self.pseudo(),
            "word" => self.word(),
            "pseudo" => self.pseudo(),
            "Pseudo" => capital(&self.pseudo()),
            "abbr" => (0..2 + self.rng.below(3)).map(|_| (b'A' + self.rng.below(26) as u8) as char).collect(),
            "Word" if self.rng.percent(12) => capital(&self.pseudo()),
            "Word" => capital(&self.word()),
            "UPPER" => self.word().to_uppercase(),
            "Title" => self.title(),
            "salad" => self.salad(),
            "rest" | "lower" => self.glue() + " " + &self.salad().to_lowercase(),
            "snake" => self.snake(),
            "camel" => {
                capital(&self.word()) + &if self.rng.percent(50) { capital(&self.word()) } else { String::new() }
            }
            "title" => self.rng.pick(TITLES).to_owned(),
            "job" => self.rng.pick(JOBS).to_owned(),
            "nat" => self.rng.pick(NATIONS).to_owned(),
            "month" => self.rng.pick(MONTHS).to_owned(),
            "day" => self.rng.pick(DAYS).to_owned(),
            "product" => self.rng.pick(PRODUCTS).to_owned(),
            "year" => format!("{}{}", ["19", "20"][self.rng.below(2)], self.fixed(2)),
            "num" => self.digits(4),
            "zip" => self.zip(),
            "id" => self.fixed(8 + self.rng.clone().below(9)),
            "time" => format!("{}:{}", self.digits(1), self.fixed(2)),
            "money" => format!("{}{}.{}", ["$", "€", "£", "USD "][self.rng.below(4)], self.digits(4), self.fixed(2)),
            "date" => self.date(),
            "phone" => self.phone(),
            "email" => self.email(),
            "url" => {
                format!("https://www.{}.{}/", self.brand().replace(' ', ""), ["com", "org", "de"][self.rng.below(3)])
            }
            _ => String::new(),
        }
    }
}
