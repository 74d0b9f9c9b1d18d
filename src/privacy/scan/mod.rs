//! Finds personal data and secrets in a text: one pass for words that say what stands beside them, one over the bytes that
//! looks closer where a token begins. All of it looks a bounded way to either side, so the time is linear in the text.

mod checks;
mod codes;
mod cues;
mod dates;
mod numbers;
mod secrets;
mod web;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Regex, RegexBuilder};

use super::{Entity, EntitySet, Finding, Names};
use cues::{Cue, Cues, Kind};

/// Most bytes that the compiled form of an operator's pattern may have.
const PATTERN_MAX: usize = 1 << 20;
/// Larger texts are beyond what a finding's ends are counted in, and no request is as large.
const TEXT_MAX: usize = u32::MAX as usize;

/// A pattern of the operator's own.
pub struct Custom {
    pub name: String,
    /// A regular expression in the syntax of the crate `regex`.
    pub pattern: String,
}

/// What to look for; made once for a policy, and asked by every request.
pub struct Scanner {
    entities: EntitySet,
    cues: Cues,
    patterns: Vec<Regex>,
    /// Terms that are found wherever they stand as words, in any case.
    terms: Option<AhoCorasick>,
    /// Finds names of people and addresses, where they are asked for.
    names: Option<&'static Names>,
}

/// A text under examination.
struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    cues: Vec<Cue>,
    entities: EntitySet,
    findings: &'t mut Vec<Finding>,
}

impl Scanner {
    /// A scanner for `entities`.
    pub fn new(entities: EntitySet) -> Self {
        let cues = Cues::new(kinds(entities));
        let named = entities.contains(Entity::Person) || entities.contains(Entity::Address);
        Self { entities, cues, patterns: vec![], terms: None, names: named.then(Names::load) }
    }

    /// A scanner for `entities` that finds as `custom` what fits one of the patterns, and each of the terms in `deny`. The
    /// error names the pattern that does not compile.
    pub fn with_custom(entities: EntitySet, custom: &[Custom], deny: &[String]) -> Result<Self, String> {
        let compiled = custom.iter().map(|custom| {
            let regex = RegexBuilder::new(&custom.pattern).size_limit(PATTERN_MAX).build();
            regex.map_err(|fault| format!("the pattern of `{}` does not compile: {fault}", custom.name))
        });
        let patterns = compiled.collect::<Result<_, _>>()?;
        let terms = (!deny.is_empty()).then(|| {
            let builder =
                AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest).build(deny);
            builder.map_err(|fault| format!("the terms are too many: {fault}"))
        });
        Ok(Self { patterns, terms: terms.transpose()?, ..Self::new(entities) })
    }

    /// Leaves in `findings` what stands in `text`: sorted, not overlapping; of two that overlap the surer stays, of two
    /// as sure the longer.
    pub fn scan(&self, text: &str, findings: &mut Vec<Finding>) {
        findings.clear();
        if text.len() > TEXT_MAX {
            return;
        }
        let mut cues = Vec::new();
        self.cues.find(text, &mut cues);
        let mut scan = Scan { text, bytes: text.as_bytes(), cues, entities: self.entities, findings };
        scan.tokens();
        scan.cued();
        self.custom(text, findings);
        if let Some(names) = self.names {
            let before = findings.len();
            names.scan(text, findings);
            let wanted = |finding: &Finding| self.entities.contains(finding.entity);
            let told = findings.split_off(before);
            findings.extend(told.into_iter().filter(wanted));
        }
        settle(findings);
    }

    fn custom(&self, text: &str, findings: &mut Vec<Finding>) {
        if !self.entities.contains(Entity::Custom) {
            return;
        }
        let found = self.patterns.iter().flat_map(|pattern| pattern.find_iter(text)).map(|found| found.range());
        let own = |range: std::ops::Range<usize>| Finding {
            start: range.start as u32,
            end: range.end as u32,
            entity: Entity::Custom,
            confidence: 100,
        };
        findings.extend(found.filter(|range| !range.is_empty()).map(own));
        let letter = |at: Option<char>| at.is_some_and(char::is_alphanumeric);
        for found in self.terms.iter().flat_map(|terms| terms.find_iter(text)) {
            let (before, after) = (text[..found.start()].chars().next_back(), text[found.end()..].chars().next());
            if !letter(before) && !letter(after) {
                findings.push(own(found.range()));
            }
        }
    }
}

/// Sorts findings and drops those that overlap a surer one, or a longer one that is as sure.
pub fn settle(findings: &mut Vec<Finding>) {
    if findings.len() > 1 {
        findings.sort_unstable_by_key(|finding| {
            (std::cmp::Reverse((finding.confidence, finding.end - finding.start)), finding.start, finding.entity)
        });
        let mut kept = std::collections::BTreeMap::new();
        findings.retain(|finding| {
            let before = kept.range(..finding.end).next_back();
            let free = before.is_none_or(|(_, end)| *end <= finding.start);
            if free {
                kept.insert(finding.start, finding.end);
            }
            free
        });
        findings.sort_unstable_by_key(|finding| finding.start);
    }
}

/// The words that the entities of a set want to know of.
fn kinds(entities: EntitySet) -> Kind {
    let of = |entity: Entity| match entity {
        Entity::Phone => cues::PHONE | cues::OTHER,
        Entity::Ssn | Entity::Itin => cues::SSN,
        Entity::CreditCard => cues::CARD,
        Entity::BankAccount => cues::ACCOUNT,
        Entity::RoutingNumber => cues::ROUTING,
        Entity::Passport => cues::PASSPORT,
        Entity::DriverLicence => cues::LICENCE,
        Entity::Mrn => cues::MRN,
        Entity::HealthPlan | Entity::Mbi => cues::PLAN,
        Entity::Npi => cues::NPI,
        Entity::Dea => cues::DEA,
        Entity::Imei => cues::IMEI,
        Entity::NationalId => cues::NATIONAL,
        Entity::Postcode => cues::POSTCODE,
        Entity::Crypto => cues::CRYPTO,
        Entity::Date => cues::MONTH | cues::WEEKDAY,
        Entity::Age => cues::AGE,
        Entity::Url => cues::WWW | cues::DOMAIN,
        Entity::Username => cues::USERNAME,
        Entity::Password => cues::PASSWORD,
        Entity::ApiKey => cues::SECRET | cues::PREFIX,
        Entity::Jwt => cues::PREFIX,
        Entity::PrivateKey => cues::PEM,
        _ => 0,
    };
    entities.iter().map(of).fold(0, |all, kind| all | kind)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

impl Scan<'_> {
    fn at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The byte before `at`; 0 at the beginning.
    fn back(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |at| self.at(at))
    }

    fn wants(&self, entity: Entity) -> bool {
        self.entities.contains(entity)
    }

    fn found(&mut self, start: usize, end: usize, entity: Entity, confidence: u8) {
        if self.wants(entity) && start < end && self.text.is_char_boundary(start) && self.text.is_char_boundary(end) {
            self.findings.push(Finding { start: start as u32, end: end as u32, entity, confidence });
        }
    }

    fn near(&self, start: usize, end: usize, kinds: Kind) -> bool {
        cues::near(&self.cues, self.bytes, start, end, kinds)
    }

    /// Looks closer wherever a token begins, or a byte stands that only few things have.
    fn tokens(&mut self) {
        let mut at = 0;
        // Up to where groups of digits have been read that belong together.
        let mut read = 0;
        while at < self.bytes.len() {
            let byte = self.bytes[at];
            match byte {
                b'a'..=b'z' | b' ' => {}
                b'@' => self.email(at),
                b':' if self.at(at + 1) == b'/' && self.at(at + 2) == b'/' => self.url_scheme(at),
                b':' | b'-' => self.hexes(at),
                b'+' | b'(' if at >= read => read = read.max(self.number(at)),
                b'0'..=b'9' if !is_word(self.back(at)) => {
                    if at >= read {
                        read = self.number(at);
                    }
                    self.code(at);
                }
                b'A'..=b'Z' if !is_word(self.back(at)) => self.code(at),
                _ => {}
            }
            at += 1;
        }
        self.lower_codes();
    }

    /// Looks behind and around words.
    fn cued(&mut self) {
        for cue in std::mem::take(&mut self.cues) {
            match cue.kind {
                cues::MONTH => self.month(cue.start, cue.end),
                cues::WEEKDAY => self.found(cue.start, cue.end, Entity::Date, 70),
                cues::SECRET | cues::USERNAME | cues::PASSWORD => self.pair(cue),
                cues::PREFIX => self.prefixed(cue),
                cues::PEM => self.pem(cue.start),
                cues::WWW => self.www(cue.start),
                cues::DOMAIN => self.domain(cue),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        Scanner::new(EntitySet::all()).scan(text, &mut findings);
        findings.iter().map(|finding| (finding.entity.as_str(), finding.of(text).to_owned())).collect()
    }

    #[track_caller]
    fn one(text: &str, entity: &str, value: &str) {
        assert_eq!(found(text), [(Entity::from_name(entity).expect("known").as_str(), value.to_owned())], "{text}");
    }

    #[track_caller]
    fn none(text: &str) {
        assert_eq!(found(text), [], "{text}");
    }

    #[test]
    fn mail_and_web() {
        one("mail ann.o-x+y@mail.example.co.uk.", "email", "ann.o-x+y@mail.example.co.uk");
        one("see https://a.example/b?c=d, then", "url", "https://a.example/b?c=d");
        one("at www.example.org/x.", "url", "www.example.org/x");
        for text in ["obj.method", "self.com.x", "a @ b", "@decorator", "user@localhost", "std::fmt"] {
            none(text);
        }
    }

    #[test]
    fn numbers_of_cards_banks_and_people() {
        one("card 4111 1111 1111 1111 please", "credit_card", "4111 1111 1111 1111");
        one("3782-822463-10005", "credit_card", "3782-822463-10005");
        one("pay DE89 3704 0044 0532 0130 00 now", "iban", "DE89 3704 0044 0532 0130 00");
        one("ssn 078-05-1120", "ssn", "078-05-1120");
        one("my social security number is 123456789", "ssn", "123456789");
        one("NINO AB123456C", "national_id", "AB123456C");
        one("cpf 529.982.247-25", "national_id", "529.982.247-25");
        one("routing number 021000021", "routing_number", "021000021");
        one("passport number: C01X00T47", "passport", "C01X00T47");
        one("MRN 00482913", "mrn", "00482913");
        one("medicare id 1EG4TE5MK73", "mbi", "1EG4TE5MK73");
        none("4111 1111 1111 1112");
        none("order 123456789");
    }

    #[test]
    fn telephones() {
        for number in [
            "905-674-3793",
            "+1-984-182-0190",
            "+46 (0)8 928 571 38",
            "345-899-3560x4587",
            "03.93.92.16.85",
            "0494 92 82 32",
            "07700 063 966",
            "001-518-640-0854",
            "(579)888-3058",
            "(08) 8747 6301",
            "+447700677662",
            "024 971 50 30",
        ] {
            one(&format!("It was {number} I think"), "phone", number);
        }
        for number in
            ["467 3395", "60-56-85-91", "416 60 039", "9472 7916", "9498777106", "21 284 698 2548", "(37) 788-063"]
        {
            one(&format!("call me at {number}."), "phone", number);
        }
        none("it costs 467 3395 times");
        none("version 1.2.3.4.5");
    }

    #[test]
    fn addresses_of_machines() {
        one("from 203.0.113.9:443", "ip", "203.0.113.9");
        one("at 2001:db8::8a2e:370:7334 now", "ip", "2001:db8::8a2e:370:7334");
        one("mac 00:1A:2b:3C:4d:5E", "mac", "00:1A:2b:3C:4d:5E");
        for text in ["v1.2.3.4", "1.2.3.4.5", "999.1.1.1", "a::b", "12:30:45"] {
            none(text);
        }
    }

    #[test]
    fn dates_and_ages() {
        for date in [
            "2000-04-16 11:34:35",
            "2024-02-30T10:00:00Z",
            "6/24/1991",
            "24.12.2020",
            "March 3, 2021",
            "3 March 2021",
            "3rd of March",
            "12. Dezember 2020",
            "March 2021",
        ] {
            one(&format!("on {date}, so"), "date", date);
        }
        one("she came on Tuesday", "date", "Tuesday");
        one("born in 1971", "date", "1971");
        one("a 94-year-old", "age", "94");
        one("he is 91 years old", "age", "91");
        none("a 45 year old");
        none("may I march");
        none("1/2 of 3/4");
    }

    #[test]
    fn secrets() {
        let key = ["sk-", "proj-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4"].concat();
        one(&format!("use {key} now"), "api_key", &key);
        let aws = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
        one(&format!("id {aws}"), "api_key", &aws);
        let jwt = ["eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxMjM0In0", ".c2lnbmF0dXJlLXNpZw"].concat();
        one(&format!("t={jwt}"), "jwt", &jwt);
        one("password: hunter2!", "password", "hunter2!");
        one(r#"{"password": "tr0ub4dor&3"}"#, "password", "tr0ub4dor&3");
        let pem = ["-----BEGIN RSA PRIVATE", " KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"].concat();
        one(&format!("a {pem} b"), "private_key", &pem);
        for text in
            ["password: <password>", "password = None", "token: str", "let key = api_key();", "user: PII_USER_1"]
        {
            none(text);
        }
    }

    #[test]
    fn terms_and_patterns_of_ones_own() {
        let custom = [Custom { name: "customer".into(), pattern: r"CUST-\d{4}".into() }];
        let entities = EntitySet::NONE.with(Entity::Custom);
        let scanner = Scanner::with_custom(entities, &custom, &["project falcon".into()]).expect("compiles");
        let mut findings = Vec::new();
        let text = "Project Falcon for CUST-1234, not Project Falcons";
        scanner.scan(text, &mut findings);
        assert_eq!(
            findings.iter().map(|finding| finding.of(text)).collect::<Vec<_>>(),
            ["Project Falcon", "CUST-1234"]
        );
        let broken = [Custom { name: "broken".into(), pattern: "(".into() }];
        assert!(Scanner::with_custom(entities, &broken, &[]).is_err_and(|fault| fault.contains("`broken`")));
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_and_findings_are_in_order(
            text in prop_oneof![".{0,80}", "[0-9 .:/@+()aAé-]{0,80}", "(password|token|www|eyJ|march)[ =:.\"0-9a-zA-Zé]{0,40}"],
        ) {
            let mut findings = Vec::new();
            Scanner::new(EntitySet::all()).scan(&text, &mut findings);
            let mut last = 0;
            for finding in findings {
                prop_assert!(finding.start >= last && finding.end > finding.start);
                let _ = finding.of(&text);
                last = finding.end;
            }
        }
    }
}
