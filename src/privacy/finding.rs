//! Where in a text something was found.

use super::Entity;

/// One thing found, in bytes of the text that was scanned; both ends lie between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub start: u32,
    pub end: u32,
    pub entity: Entity,
    /// How sure it is, in hundredths: 100 with a checksum or a format that nothing else has, 60 by its context.
    pub confidence: u8,
}

impl Finding {
    /// The piece of `text` that was found.
    pub fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start as usize..self.end as usize]
    }
}
