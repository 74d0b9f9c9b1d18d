//! How the hashes of the tree are kept: tiles of up to 256 hashes, eight levels of the tree apart, as C2SP's tlog-tiles.
//!
//! Entry `i` of tile `(level, index)` is the root of the complete subtree `(8 × level, 256 × index + i)`, so a tile of
//! level 0 holds leaf hashes, and a full tile's own root is one entry of a tile one level up. A store appends each new
//! leaf with [`entries_of`], and answers proofs through [`TileHashes`], which reads a handful of tiles.

use super::{Frontier, Hash, Hashes};

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree in one tile.
pub const TILE_HEIGHT: u32 = 8;

/// The place of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// 0 for leaf hashes; each level is eight levels of the tree above the one before.
    pub level: u32,
    /// Counts the tiles of the level from the left.
    pub index: u64,
}

/// One hash that leaf `n` makes known, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The tile it stands in.
    pub tile: TileId,
    /// Its place there, below 256.
    pub position: usize,
    /// Whether it is the last one: the tile is complete, and its root becomes an entry one level up.
    pub completes: bool,
}

/// Returns the entries that appending leaf `leaf` makes known: the leaf itself, then the roots of the tiles it completes.
///
/// The hash of each further entry is the root ([`tile_root`]) over the tile that the entry before it completed.
pub fn entries_of(leaf: u64) -> impl Iterator<Item = Entry> {
    let mut next = Some((0, leaf));
    std::iter::from_fn(move || {
        let (level, node) = next?;
        let completes = node % TILE_WIDTH == TILE_WIDTH - 1;
        next = completes.then_some((level + 1, node / TILE_WIDTH));
        let position = usize::try_from(node % TILE_WIDTH).expect("below 256");
        Some(Entry { tile: TileId { level, index: node / TILE_WIDTH }, position, completes })
    })
}

/// Returns the tiles that appending leaf `leaf` completes, the lowest first; none for 255 leaves of 256.
pub fn completed_by(leaf: u64) -> impl Iterator<Item = TileId> {
    entries_of(leaf).filter(|entry| entry.completes).map(|entry| entry.tile)
}

/// Returns the tiles of a log of `size` records with the number of hashes in each that is not full: at most one a level.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = (TileId, usize)> {
    let widths = (0..=u64::BITS / TILE_HEIGHT).map_while(move |level| {
        let nodes = size.checked_shr(level * TILE_HEIGHT).filter(|nodes| *nodes > 0)?;
        let width = usize::try_from(nodes % TILE_WIDTH).expect("below 256");
        Some((TileId { level, index: nodes / TILE_WIDTH }, width))
    });
    widths.filter(|(_, width)| *width > 0)
}

/// Returns the root over the hashes of a tile, or over an aligned part of one.
pub fn tile_root(hashes: &[Hash]) -> Hash {
    let mut tree = Frontier::default();
    hashes.iter().for_each(|hash| tree.append(*hash));
    tree.root()
}

/// Answers for subtrees out of tiles that `read` finds, full or not.
pub struct TileHashes<F: Fn(TileId) -> Option<Vec<Hash>>> {
    read: F,
}

impl<F: Fn(TileId) -> Option<Vec<Hash>>> TileHashes<F> {
    /// Returns the hashes in the tiles that `read` gives; a tile that is not full holds the hashes known so far.
    pub fn new(read: F) -> Self {
        Self { read }
    }
}

impl<F: Fn(TileId) -> Option<Vec<Hash>>> Hashes for TileHashes<F> {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let width = 1_u64 << (level % TILE_HEIGHT);
        let first = index.checked_mul(width)?;
        let tile = (self.read)(TileId { level: level / TILE_HEIGHT, index: first / TILE_WIDTH })?;
        let first = usize::try_from(first % TILE_WIDTH).ok()?;
        let part = tile.get(first..first + usize::try_from(width).ok()?)?;
        Some(tile_root(part))
    }
}
