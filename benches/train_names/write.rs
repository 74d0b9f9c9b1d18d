//! Writes sentences to learn from, with the names and addresses in them marked.

use std::path::Path;

/// Random numbers that are the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut sum = self.0;
        sum = (sum ^ sum >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        sum = (sum ^ sum >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (sum >> 32) as u32
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.next()) * end.max(1) as u64) >> 32) as usize
    }

    /// True `chance` times in a hundred.
    pub fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance as usize
    }

    fn pick<'l, T: AsRef<str>>(&mut self, list: &'l [T]) -> &'l str {
        list.get(self.below(list.len())).map_or("", AsRef::as_ref)
    }

    /// One of the lists, the first of them more often.
    fn early<'l>(&mut self, list: &'l [String]) -> &'l str {
        let end = if self.percent(60) { list.len() / 12 } else { list.len() };
        list.get(self.below(end)).map_or("", String::as_str)
    }
}

/// The names of one origin.
#[derive(Debug, Default)]
struct Origin {
    given: Vec<String>,
    family: Vec<String>,
    between: Vec<String>,
}

/// All that sentences are made of.
#[derive(Debug, Default)]
pub struct Lists {
    origins: Vec<Origin>,
    us_given: Vec<String>,
    us_family: Vec<String>,
    pub given_ranks: Vec<(String, u8)>,
    pub family_ranks: Vec<(String, u8)>,
    plain: Vec<String>,
    places: Vec<String>,
    after: Vec<String>,
    before: Vec<String>,
    ends: Vec<String>,
    units: Vec<String>,
    companies: Vec<String>,
    people: Vec<String>,
    addresses: Vec<String>,
    neither: Vec<String>,
}

fn read(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

impl Lists {
    /// Reads the census' lists from `folder` and the others from `data`.
    pub fn read(folder: &Path, data: &Path) -> Result<Self, String> {
        let mut lists = Self::default();
        let (male, female) = (read(folder, "us_census_male.txt")?, read(folder, "us_census_female.txt")?);
        let surnames = read(folder, "us_census_surname.txt")?;
        for (text, mids) in [(&male, (150, 600)), (&female, (200, 1000))] {
            lists.rank_given(text, mids);
        }
        for (at, name) in surnames.lines().enumerate() {
            let rank = if at < 600 {
                3
            } else if at < 5000 {
                2
            } else {
                1
            };
            lists.family_ranks.push((name.to_owned(), rank));
            lists.us_family.push(name.to_owned());
        }
        lists.read_people(&read(data, "people.txt")?);
        for line in lines(&read(data, "words.txt")?) {
            lists.plain.extend(line.split_whitespace().map(str::to_owned));
        }
        lists.plain.sort_unstable();
        lists.plain.dedup();
        for line in lines(&read(data, "places.txt")?) {
            lists.places.extend(line.split(',').map(|place| place.trim().to_owned()));
        }
        for line in lines(&read(data, "streets.txt")?) {
            let (kind, words) = line.split_once(' ').unwrap_or((line, ""));
            let list = match kind {
                "after" => &mut lists.after,
                "before" => &mut lists.before,
                "end" => &mut lists.ends,
                "unit" => &mut lists.units,
                _ => &mut lists.companies,
            };
            list.extend(words.split_whitespace().map(str::to_owned));
        }
        lists.read_sentences(&read(data, "sentences.txt")?);
        Ok(lists)
    }

    fn rank_given(&mut self, text: &str, (top, middle): (usize, usize)) {
        for (at, name) in text.lines().enumerate() {
            let rank = if at < top {
                3
            } else if at < middle {
                2
            } else {
                1
            };
            self.given_ranks.push((name.to_owned(), rank));
            self.us_given.push(name.to_owned());
        }
    }

    fn read_people(&mut self, text: &str) {
        for line in lines(text) {
            if line.starts_with('[') {
                self.origins.push(Origin::default());
                continue;
            }
            let Some(origin) = self.origins.last_mut() else { continue };
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("given") => {
                    origin.given.extend(words);
                    self.given_ranks.extend(origin.given.iter().map(|name| (name.clone(), 2)));
                }
                Some("family") => {
                    origin.family.extend(words);
                    self.family_ranks.extend(origin.family.iter().map(|name| (name.clone(), 2)));
                }
                _ => origin.between.extend(words),
            }
        }
    }

    fn read_sentences(&mut self, text: &str) {
        let mut kind = 0;
        for line in lines(text) {
            match line {
                "[people]" => kind = 0,
                "[addresses]" => kind = 1,
                "[neither]" => kind = 2,
                _ => {
                    let list = [&mut self.people, &mut self.addresses, &mut self.neither];
                    list.into_iter().nth(kind).into_iter().for_each(|list| list.push(line.replace("\\n", "\n")));
                }
            }
        }
    }

    /// The words that are known without being names, with the flags given for each kind.
    pub fn words(&self, plain: u8, place: u8, street: u8, company: u8) -> Vec<(String, u8)> {
        let mut words: Vec<(String, u8)> = self.plain.iter().map(|word| (word.clone(), plain)).collect();
        for sentence in self.people.iter().chain(&self.addresses).chain(&self.neither) {
            let mut text = String::new();
            for part in sentence.split('{') {
                text.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
                text.push(' ');
            }
            let each = text.split(|letter: char| !letter.is_alphabetic() && letter != '\'' && letter != '_');
            words.extend(
                each.filter(|word| word.chars().count() > 1 || *word == "a").map(|word| (word.to_owned(), plain)),
            );
        }
        for list in [TITLES, JOBS, NATIONS, MONTHS, DAYS, PRODUCTS] {
            words.extend(list.iter().flat_map(|entry| entry.split(' ')).map(|word| (word.to_owned(), plain)));
        }
        for name in &self.places {
            words.extend(name.split([' ', '-']).filter(|word| word.len() > 2).map(|word| (word.to_owned(), place)));
        }
        let bare = |word: &String| word.trim_end_matches('.').to_owned();
        for list in [&self.after, &self.before, &self.ends, &self.units] {
            words.extend(list.iter().map(|word| (bare(word), street)));
        }
        words.extend(self.companies.iter().map(|word| (bare(word), company)));
        words.retain(|(word, _)| !word.is_empty());
        words
    }
}

pub const TITLES: &[&str] = &[
    "Mr.",
    "Mrs.",
    "Ms.",
    "Dr.",
    "Prof.",
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
    "Miss",
    "Sir",
    "mr.",
    "mrs.",
    "ms.",
    "dr.",
    "Herr",
    "Frau",
    "Señor",
    "Señora",
    "Sra.",
    "Sr.",
    "Mme",
    "Monsieur",
    "Madame",
    "Professor",
    "Doctor",
    "Rev.",
    "Capt.",
    "Sgt.",
    "MR.",
    "DR.",
];
const JOBS: &[&str] = &[
    "software engineer",
    "teacher",
    "nurse",
    "project manager",
    "accountant",
    "Director",
    "CEO",
    "CFO",
    "Managing Director",
    "Senior Consultant",
    "Sales Manager",
    "Head of Marketing",
    "lawyer",
    "physician",
    "actress",
    "singer",
    "painter",
    "footballer",
    "tennis player",
    "minister",
    "guitarist",
    "novelist",
    "journalist",
    "scientist",
    "swimmer",
    "songwriter",
    "Marketing Assistant",
    "Product Owner",
    "Data Analyst",
    "electrician",
    "carpenter",
    "pilot",
    "mechanic",
    "librarian",
    "chef",
    "baker",
    "plumber",
    "Human Resources Specialist",
    "Research Associate",
    "Web developer",
    "Customer service clerk",
    "Machine operator",
    "Financial adviser",
    "Dental hygienist",
    "Truck driver",
    "Real estate agent",
    "bartender",
    "architect",
    "biologist",
    "spokesman",
    "analyst",
    "comedian",
    "politician",
    "composer",
    "professor",
    "midfielder",
    "goalkeeper",
];
const NATIONS: &[&str] = &[
    "German",
    "French",
    "Italian",
    "Spanish",
    "Polish",
    "Czech",
    "Russian",
    "American",
    "British",
    "Irish",
    "Scottish",
    "Swedish",
    "Norwegian",
    "Danish",
    "Finnish",
    "Dutch",
    "Belgian",
    "Swiss",
    "Austrian",
    "Hungarian",
    "Greek",
    "Turkish",
    "Egyptian",
    "Nigerian",
    "Kenyan",
    "Indian",
    "Chinese",
    "Japanese",
    "Korean",
    "Brazilian",
    "Mexican",
    "Canadian",
    "Australian",
    "Portuguese",
    "Ukrainian",
    "Vietnamese",
    "Thai",
    "Iranian",
    "Iraqi",
    "Cuban",
    "Slovak",
    "Croatian",
    "Serbian",
    "Romanian",
    "Bulgarian",
    "Estonian",
    "Latvian",
    "Lithuanian",
    "Icelandic",
    "Maltese",
    "Peruvian",
    "Chilean",
    "Filipino",
    "Indonesian",
    "Moroccan",
    "Ethiopian",
    "Somali",
    "Welsh",
    "European",
    "African",
    "Asian",
    "Muslim",
];
const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: &[&str] = &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const PRODUCTS: &[&str] = &[
    "Python",
    "Java",
    "Kubernetes",
    "Docker",
    "PostgreSQL",
    "Redis",
    "Excel",
    "Windows",
    "iPhone",
    "Android",
    "Photoshop",
    "Visa",
    "MasterCard",
    "Mastercard",
    "PayPal",
    "Chrome",
    "Firefox",
    "Outlook",
    "Salesforce",
    "GitHub",
    "TypeScript",
    "React",
    "Terraform",
    "Claude",
    "ChatGPT",
    "Gemini",
    "Spotify",
    "Netflix",
    "Slack",
    "Zoom",
    "Teams",
    "Jira",
    "Tesla",
    "PlayStation",
    "Kindle",
    "Alexa",
    "Siri",
    "Ford Focus",
    "Toyota Corolla",
    "Linux",
    "Ubuntu",
    "Apache Kafka",
];

/// Fills sentences.
#[derive(Debug)]
pub struct Writer<'l> {
    lists: &'l Lists,
    rng: Rng,
    text: String,
    spans: Vec<(usize, usize, bool)>,
    cased: Cased,
}

/// How a text treats capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cased {
    AsIs,
    Lower,
    Upper,
}

#[path = "fill.rs"]
mod fill;
#[path = "streets.rs"]
mod streets;
#[path = "words.rs"]
mod words;
