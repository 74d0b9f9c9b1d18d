//! The words that are known: given and family names with how common they are, plain words, places, words of streets and
//! of companies.

/// Bits of how common a given name is: 0 for none, 3 for the most common.
pub const GIVEN: u8 = 0b11;
/// Bits of how common a family name is.
pub const FAMILY: u8 = 0b1100;
/// A plain word.
pub const WORD: u8 = 0b1_0000;
/// A city, country or state.
pub const PLACE: u8 = 0b10_0000;
/// A word that streets have, such as `Straße`.
pub const STREET: u8 = 0b100_0000;
/// A word that companies have, such as `Inc`.
pub const COMPANY: u8 = 0b1000_0000;

/// A set of hashed words, each with what is known of it.
#[derive(Debug)]
pub struct Lexicon {
    /// Open addressing by the low bits of the hash: the high 24 bits of the hash, then the flags.
    slots: Vec<u32>,
}

impl Lexicon {
    /// One that knows `entries`, pairs of [`super::token::key`] and flags.
    pub fn new(entries: &[(u32, u8)]) -> Self {
        let room = (entries.len() * 2).next_power_of_two().max(2);
        let mut lexicon = Self { slots: vec![0; room] };
        for (key, flags) in entries.iter().filter(|(_, flags)| *flags != 0) {
            let mut at = *key as usize & (room - 1);
            while lexicon.slots[at] != 0 {
                at = (at + 1) & (room - 1);
            }
            lexicon.slots[at] = key & !0xff | u32::from(*flags);
        }
        lexicon
    }

    /// What is known of the word with `key`, 0 if nothing.
    pub fn flags(&self, key: u32) -> u8 {
        let mask = self.slots.len() - 1;
        let mut at = key as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return 0;
            }
            if (slot ^ key) & !0xff == 0 {
                return slot as u8;
            }
            at = (at + 1) & mask;
        }
    }
}
