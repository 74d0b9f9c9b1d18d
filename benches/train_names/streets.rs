//! Streets, parts of buildings and whole addresses.

use super::Writer;

const STREET_NAMES: &[&str] = &[
    "Main",
    "Oak",
    "Maple",
    "Park",
    "Elm",
    "Church",
    "High",
    "Station",
    "Mill",
    "School",
    "King",
    "Queen",
    "Market",
    "Bridge",
    "2nd",
    "5th",
    "42nd",
    "First",
    "Third",
    "North",
    "West End",
    "Cedar",
    "Lake",
    "Hill",
    "Forest",
    "River",
    "Old Post",
    "Sunset",
    "Victoria",
    "Garden",
    "Spring",
    "Green",
    "Rose",
    "Washington",
    "Lincoln",
    "Kossuth Lajos",
    "Petőfi",
    "Dlouhá",
    "Krakowska",
    "Długa",
    "Nádražní",
    "Garibaldi",
    "Roma",
    "Mazzini",
    "Cavour",
    "Mayor",
    "Real",
    "Alcalá",
    "Gran Vía",
    "de la République",
    "des Lilas",
    "Victor Hugo",
    "das Flores",
    "do Comércio",
    "Bahnhof",
    "Haupt",
    "Schul",
    "Linden",
    "Berg",
    "Goethe",
    "Kirch",
    "Stor",
    "Kyrk",
    "Skol",
    "Storg",
    "Rådhus",
    "Kirke",
    "Havne",
    "Koulu",
    "Kauppa",
    "Ranta",
    "Metsä",
    "Dorps",
    "Molen",
    "Kerk",
];

impl Writer<'_> {
    pub(super) fn street_name(&mut self) -> String {
        let lists = self.lists;
        let name = match self.rng.below(10) {
            0..5 => self.rng.pick(STREET_NAMES).to_owned(),
            5..7 => self.last(),
            7 => self.full_plain(),
            8 => self.town(),
            _ => self.rng.pick(&lists.places).to_owned(),
        };
        match self.rng.below(20) {
            0..10 => {
                // The first of the list are the common ones.
                let end = lists.after.len().min(16 + self.rng.below(300));
                format!("{name} {}", self.rng.pick(&lists.after[..end]))
            }
            10..14 => format!("{} {name}", self.rng.pick(&lists.before)),
            14..18 => {
                let end = self.rng.pick(&lists.ends);
                let stem = name.split(' ').next().unwrap_or("Haupt").to_owned();
                let gap = if self.rng.percent(12) { " " } else { "" };
                format!("{}{gap}{end}", stem)
            }
            18 => format!("{} {name}", self.digits(2)),
            _ => {
                let second = self.street_word();
                format!("{name} {second}")
            }
        }
    }

    pub(super) fn street_word(&mut self) -> String {
        let lists = self.lists;
        self.rng.pick(&lists.after).to_owned()
    }

    pub(super) fn full_plain(&mut self) -> String {
        let origin = self.origin();
        format!("{} {}", self.given_of(origin), self.family_of(origin))
    }

    pub(super) fn unit(&mut self) -> String {
        let lists = self.lists;
        let number = if self.rng.percent(70) { self.fixed(3) } else { self.digits(4) };
        let letter = if self.rng.percent(10) { ["a", "B", "C"][self.rng.below(3)] } else { "" };
        let unit = if self.rng.percent(65) {
            ["Apt.", "Suite", "Apt", "Unit"][self.rng.below(4)]
        } else {
            self.rng.pick(&lists.units)
        };
        if unit == "#" { format!("#{number}{letter}") } else { format!("{unit} {number}{letter}") }
    }

    /// A street and a number, in one order or the other.
    pub(super) fn street(&mut self) -> String {
        let street = self.street_name();
        let bare =
            if self.rng.percent(12) { if self.rng.percent(50) { self.town() } else { self.last() } } else { street };
        let letter = if self.rng.percent(8) { ["a", "b", "A", "B", "/2", "-3"][self.rng.below(6)] } else { "" };
        match self.rng.below(12) {
            0..6 => format!("{}{letter} {bare}", self.digits(5)),
            6..9 => format!("{bare} {}{letter}", self.digits(4)),
            9 => format!("{bare} {}.", self.digits(3)),
            10 => format!("{}, {bare}", self.digits(4)),
            _ => format!("{} {bare} {}", self.digits(5), self.digits(4)),
        }
    }

    pub(super) fn military(&mut self) -> String {
        let area = ["AA", "AE", "AP"][self.rng.below(3)];
        let (first, second, third) = (self.fixed(4), self.fixed(4), self.fixed(5));
        let kind = ["APO", "DPO", "FPO"][self.rng.below(3)];
        let line = ["\n", ", ", " "][self.rng.below(3)];
        match self.rng.below(4) {
            0 => format!("PSC {first}, Box {second}{line}{kind} {area} {third}"),
            1 => format!("Unit {first} Box {second}{line}{kind} {area} {third}"),
            2 => format!("USS {}{line}{kind} {area} {third}", self.last()),
            _ => format!("CMR {first}, Box {second}{line}{kind} {area} {third}"),
        }
    }

    pub(super) fn state(&mut self) -> &'static str {
        const STATES: &[&str] = &[
            "CA", "NY", "TX", "IL", "MA", "WA", "FL", "OH", "GA", "NC", "QC", "ON", "NSW", "VIC", "MI", "PA", "AZ",
            "OR", "CO", "BC",
        ];
        self.rng.pick(STATES)
    }

    pub(super) fn address(&mut self, single: bool) -> String {
        let chance = self.rng.below(100);
        if chance < 7 && !single {
            return self.military();
        }
        if chance < 11 {
            return format!("{} {}", ["PO Box", "P.O. Box", "Postfach", "Box"][self.rng.below(4)], self.digits(4));
        }
        let mut address = self.street();
        let breaks = ["\n", "\n", "\n ", "\n  ", ", ", ", ", ", ", " "];
        let line = if single { ", " } else { breaks[self.rng.below(breaks.len())] };
        if self.rng.percent(35) {
            let unit = self.unit();
            let with = if self.rng.percent(50) { " " } else { line };
            address = format!("{address}{with}{unit}");
        }
        if self.rng.percent(30) {
            return address;
        }
        let mut city = if self.rng.percent(50) { self.place() } else { self.town() };
        if self.rng.percent(20) {
            city = city.to_uppercase();
        }
        let (zip, state) = (self.zip(), self.state());
        let country = self.place();
        let tail = match self.rng.below(9) {
            0 => city,
            1 => format!("{city}, {state} {zip}"),
            2 => format!("{city} {state} {zip}"),
            3 => format!("{zip} {city}"),
            4 => format!("{city} {zip}"),
            5 => format!("{city}{line}{country} {zip}"),
            6 => format!("{city}{line}{country}"),
            7 => format!("{zip} {city}{line}{country}"),
            _ => format!("{city}, {country}"),
        };
        format!("{address}{line}{tail}")
    }

    pub(super) fn place(&mut self) -> String {
        let lists = self.lists;
        self.rng.pick(&lists.places).to_owned()
    }

    pub(super) fn zip(&mut self) -> String {
        match self.rng.below(6) {
            0 => self.fixed(4),
            1 => format!("{}-{}", self.fixed(2), self.fixed(3)),
            2 => format!("{}-{}", self.fixed(5), self.fixed(4)),
            3 => format!("SW{} {}AB", self.digits(1), self.digits(1)),
            _ => self.fixed(5),
        }
    }
}
