//! The kinds of things that are looked for, and the sets of them that laws ask for.

use serde::Deserialize;

/// A kind of personal data or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Entity {
    Email,
    Phone,
    CreditCard,
    Iban,
    Ssn,
    Itin,
    NationalId,
    Passport,
    DriverLicence,
    BankAccount,
    RoutingNumber,
    Ip,
    Mac,
    Imei,
    Vin,
    Url,
    Date,
    Age,
    Mrn,
    Mbi,
    Npi,
    Dea,
    HealthPlan,
    Person,
    Address,
    Postcode,
    Crypto,
    Username,
    Password,
    ApiKey,
    PrivateKey,
    Jwt,
    /// A pattern or a denied term of the operator's own.
    Custom,
    /// An attempt to turn a model against its instructions.
    #[serde(skip_deserializing)]
    Injection,
    /// Text in a language that is not spoken here.
    #[serde(skip_deserializing)]
    Language,
    /// An answer that does not have the form that was asked for.
    #[serde(skip_deserializing)]
    Schema,
    /// Whatever somebody else finds who is asked.
    #[serde(skip_deserializing)]
    External,
}

/// Every entity with the name it has in configuration, records and metrics, and the tag it has in a placeholder: first what
/// stands in a text, then what is said of a text as a whole.
const NAMES: &[(Entity, &str, &str)] = &[
    (Entity::Email, "email", "EMAIL"),
    (Entity::Phone, "phone", "PHONE"),
    (Entity::CreditCard, "credit_card", "CARD"),
    (Entity::Iban, "iban", "IBAN"),
    (Entity::Ssn, "ssn", "SSN"),
    (Entity::Itin, "itin", "ITIN"),
    (Entity::NationalId, "national_id", "ID"),
    (Entity::Passport, "passport", "PASSPORT"),
    (Entity::DriverLicence, "driver_licence", "LICENCE"),
    (Entity::BankAccount, "bank_account", "ACCOUNT"),
    (Entity::RoutingNumber, "routing_number", "ROUTING"),
    (Entity::Ip, "ip", "IP"),
    (Entity::Mac, "mac", "MAC"),
    (Entity::Imei, "imei", "IMEI"),
    (Entity::Vin, "vin", "VIN"),
    (Entity::Url, "url", "URL"),
    (Entity::Date, "date", "DATE"),
    (Entity::Age, "age", "AGE"),
    (Entity::Mrn, "mrn", "MRN"),
    (Entity::Mbi, "mbi", "MBI"),
    (Entity::Npi, "npi", "NPI"),
    (Entity::Dea, "dea", "DEA"),
    (Entity::HealthPlan, "health_plan", "PLAN"),
    (Entity::Person, "person", "PERSON"),
    (Entity::Address, "address", "ADDRESS"),
    (Entity::Postcode, "postcode", "POSTCODE"),
    (Entity::Crypto, "crypto", "CRYPTO"),
    (Entity::Username, "username", "USER"),
    (Entity::Password, "password", "PASSWORD"),
    (Entity::ApiKey, "api_key", "KEY"),
    (Entity::PrivateKey, "private_key", "PEM"),
    (Entity::Jwt, "jwt", "JWT"),
    (Entity::Custom, "custom", "CUSTOM"),
    (Entity::Injection, "injection", "INJECTION"),
    (Entity::Language, "language", "LANGUAGE"),
    (Entity::Schema, "schema", "SCHEMA"),
    (Entity::External, "external", "EXTERNAL"),
];

impl Entity {
    /// Every entity that stands in a text, in the order of their numbers. What a text is as a whole is none of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(entity, ..)| *entity).take(Self::Custom as usize + 1)
    }

    /// The entity's name in configuration, records and metrics, such as `credit_card`.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// What stands for the entity inside a placeholder, such as `CARD` in `PII_CARD_1`.
    pub fn tag(self) -> &'static str {
        NAMES[self as usize].2
    }

    /// The entity of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|entity| entity.as_str() == name)
    }
}

/// A set of entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EntitySet(u64);

impl EntitySet {
    /// No entity.
    pub const NONE: Self = Self(0);

    /// Every entity.
    pub fn all() -> Self {
        Entity::all().collect()
    }

    /// Whether `entity` is in the set.
    pub const fn contains(self, entity: Entity) -> bool {
        self.0 >> entity as u8 & 1 == 1
    }

    /// The set with `entity` in it.
    #[must_use]
    pub const fn with(self, entity: Entity) -> Self {
        Self(self.0 | 1 << entity as u8)
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether some entity is in both sets.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The entities of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Entity> {
        Entity::all().filter(move |entity| self.contains(*entity))
    }

    /// The set a profile stands for: `hipaa` (the eighteen identifiers of 45 CFR 164.514(b)(2)), `pci`, `gdpr`,
    /// `secrets`.
    pub fn of_profile(name: &str) -> Option<Self> {
        use Entity as E;
        let secrets = [E::Password, E::ApiKey, E::PrivateKey, E::Jwt];
        let identifiers = [
            E::Email,
            E::Phone,
            E::CreditCard,
            E::Iban,
            E::Ssn,
            E::Itin,
            E::NationalId,
            E::Passport,
            E::DriverLicence,
            E::BankAccount,
            E::RoutingNumber,
            E::Ip,
            E::Mac,
            E::Imei,
            E::Vin,
            E::Person,
            E::Address,
            E::Postcode,
            E::HealthPlan,
            E::Mrn,
            E::Mbi,
            E::Crypto,
            E::Username,
        ];
        let set: Self = match name {
            "hipaa" => identifiers
                .into_iter()
                .chain(secrets)
                .chain([E::Url, E::Date, E::Age, E::Npi, E::Dea, E::Custom])
                .collect(),
            "gdpr" => identifiers.into_iter().chain(secrets).chain([E::Url, E::Custom]).collect(),
            "pci" => [E::CreditCard, E::BankAccount, E::Iban, E::RoutingNumber, E::Custom]
                .into_iter()
                .chain(secrets)
                .collect(),
            "secrets" => secrets.into_iter().chain([E::Custom]).collect(),
            _ => return None,
        };
        Some(set)
    }
}

impl FromIterator<Entity> for EntitySet {
    fn from_iter<I: IntoIterator<Item = Entity>>(entities: I) -> Self {
        entities.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_is_found_by_its_name() {
        for (at, entity) in Entity::all().enumerate() {
            assert_eq!(entity as usize, at);
            assert_eq!(Entity::from_name(entity.as_str()), Some(entity));
            assert!(entity.tag().bytes().all(|byte| byte.is_ascii_uppercase()));
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: EntitySet = [Entity::Email, Entity::Custom].into_iter().collect();
        assert!(set.contains(Entity::Email) && set.contains(Entity::Custom) && !set.contains(Entity::Jwt));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Entity::Email, Entity::Custom]);
        assert!(EntitySet::of_profile("hipaa").is_some_and(|hipaa| hipaa.contains(Entity::Date)));
        assert_eq!(EntitySet::of_profile("none"), None);
    }
}
