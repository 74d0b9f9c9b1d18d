//! One slot of the keyring: 128 bytes that hold one wrapped key, or the zeros that are left of one.
//!
//! ```text
//! 0 state | 1 version | 2 – (2) | 4 number u32 | 8 month u32 | 12 subject (16) | 28 name (8)
//! 36 wrapped key (72) | 108 team (8) | 116 made in month u32 | 120 – (4) | 124 crc32 u32 of all before it
//! ```
//!
//! Little-endian. Four slots fill a sector, so that none straddles two and an overwritten one is gone at once. The bytes
//! before the wrapped key are bound to it: a slot that was moved or relabelled does not open. Team and month of the making only
//! count how many keys a team has made; older slots have none.

use super::cipher::{KEY_LEN, Key, SEAL_ADDS};

/// Bytes of a slot.
pub const SLOT_LEN: usize = 128;
/// Bytes of a keyed hash that stands for a subject.
pub const TAG_LEN: usize = 16;
/// Bytes of a keyed hash that stands for a team.
pub const TEAM_LEN: usize = 8;
/// Bytes of the random name by which what was sealed knows its key again.
pub const NAME_LEN: usize = 8;

/// The name of slot 0, by which a keyring is known as one.
pub const ROOT_NAME: [u8; NAME_LEN] = *b"BURSARK1";

const VERSION: u8 = 1;
const HEAD_LEN: usize = 36;
const WRAPPED_END: usize = HEAD_LEN + KEY_LEN + SEAL_ADDS;
const CRC_AT: usize = SLOT_LEN - 4;

/// Stands for a team's user: a keyed hash, of which nobody without the master key can tell whose it is.
pub type Tag = [u8; TAG_LEN];

/// For which team a key was made, by a keyed hash, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Making {
    pub team: [u8; TEAM_LEN],
    pub month: u32,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The secret that names, hashes and keys of single bodies are derived from: slot 0 alone.
    Root = 1,
    /// The data key of one subject and month.
    DataKey = 2,
}

/// What a slot says of its key; bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub state: State,
    pub number: u32,
    pub month: u32,
    pub subject: Tag,
    pub name: [u8; NAME_LEN],
    pub making: Making,
}

impl Head {
    fn bytes(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[0] = self.state as u8;
        bytes[1] = VERSION;
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.month.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.subject);
        bytes[28..36].copy_from_slice(&self.name);
        bytes
    }

    /// Returns the slot with `key` in it, wrapped under `wrapping`.
    pub fn wrap(&self, key: &Key, wrapping: &Key) -> [u8; SLOT_LEN] {
        let head = self.bytes();
        let mut bytes = Vec::with_capacity(SLOT_LEN);
        bytes.extend_from_slice(&head);
        key.wrap(wrapping, &head, &mut bytes);
        bytes.extend_from_slice(&self.making.team);
        bytes.extend_from_slice(&self.making.month.to_le_bytes());
        bytes.resize(CRC_AT, 0);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().expect("head, wrapped key, making, zeros and checksum make one slot")
    }

    /// Returns the key in `slot`, of which this is the head; none under another key than it was wrapped with.
    pub fn unwrap(&self, slot: &[u8; SLOT_LEN], wrapping: &Key) -> Option<Key> {
        wrapping.unwrap(&self.bytes(), &slot[HEAD_LEN..WRAPPED_END])
    }
}

/// What was found in a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A key.
    Key(Head),
    /// Zeros: its key was destroyed, or never written before the machine stopped.
    Erased,
    /// Neither; its key cannot be used.
    Damaged,
}

/// Reads the slot with this number.
pub fn read(number: u32, bytes: &[u8; SLOT_LEN]) -> Found {
    if bytes.iter().all(|byte| *byte == 0) {
        return Found::Erased;
    }
    let state = match bytes[0] {
        1 => State::Root,
        2 => State::DataKey,
        _ => return Found::Damaged,
    };
    let head = Head {
        state,
        number: u32::from_le_bytes(part(bytes, 4)),
        month: u32::from_le_bytes(part(bytes, 8)),
        subject: part(bytes, 12),
        name: part(bytes, 28),
        making: Making {
            team: part(bytes, WRAPPED_END),
            month: u32::from_le_bytes(part(bytes, WRAPPED_END + TEAM_LEN)),
        },
    };
    let is_sound = bytes[1] == VERSION
        && crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() == bytes[CRC_AT..]
        && head.number == number
        && (state == State::Root) == (number == 0);
    if is_sound { Found::Key(head) } else { Found::Damaged }
}

fn part<const N: usize>(bytes: &[u8; SLOT_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let making = Making { team: [5; TEAM_LEN], month: 202_611 };
        Head { state: State::DataKey, number: 7, month: 202_611, subject: [3; TAG_LEN], name: [4; NAME_LEN], making }
    }

    #[test]
    fn a_slot_gives_its_key_back_to_the_right_key_alone() {
        let (key, wrapping, other) =
            (Key::random().expect("key"), Key::random().expect("key"), Key::random().expect("key"));

        let slot = head().wrap(&key, &wrapping);

        assert_eq!(read(7, &slot), Found::Key(head()));
        assert_eq!(head().unwrap(&slot, &wrapping).expect("opened").expose(), key.expose());
        assert!(head().unwrap(&slot, &other).is_none());
        assert!(Head { month: 202_612, ..head() }.unwrap(&slot, &wrapping).is_none());
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_noticed() {
        let slot = head().wrap(&Key::random().expect("key"), &Key::random().expect("key"));

        for bit in 0..SLOT_LEN * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(7, &flipped), Found::Damaged, "bit {bit}");
        }
        assert_eq!(read(8, &slot), Found::Damaged);
        assert_eq!(read(7, &[0; SLOT_LEN]), Found::Erased);
    }
}
