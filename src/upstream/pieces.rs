//! Bytes that usually come in one piece, and are copied only when they do not.

use bytes::{Bytes, BytesMut};

/// Pieces in order.
#[derive(Debug, Default)]
pub struct Pieces {
    first: Bytes,
    rest: BytesMut,
}

impl Pieces {
    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.first.len() + piece.len());
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&piece);
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        if self.rest.is_empty() { self.first.len() } else { self.rest.len() }
    }

    /// Returns whether nothing, or only empty pieces, came.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all bytes and starts anew.
    pub fn take(&mut self) -> Bytes {
        let first = std::mem::take(&mut self.first);
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { first } else { rest.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_comes_back_without_a_copy_and_several_in_order() {
        let only = Bytes::from_static(b"only");
        let mut pieces = Pieces::default();

        pieces.push(only.clone());
        assert_eq!(pieces.take().as_ptr(), only.as_ptr());

        for piece in ["", "a", "", "bc", "d"] {
            pieces.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.take(), "abcd");
        assert!(pieces.is_empty());
    }
}
