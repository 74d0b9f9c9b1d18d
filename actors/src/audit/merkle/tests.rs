//! The tree against published vectors and against the definition, written down as plainly as it stands in the RFC.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tile::{self, TileHashes, TileId};
use super::*;

/// The eight leaves that implementations of certificate transparency are compared by.
const LEAVES: [&[u8]; 8] =
    [b"", b"\0", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", b"PQRSTUVW", b"`abcdefghijklmno"];

/// Roots of the trees over the first 0 to 8 of them.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const N1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const N23: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const N4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N03: &str = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
const N47: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";

fn hash(text: &str) -> Hash {
    Hash::from_hex(text).expect("a hash in hexadecimal")
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| hash(text)).collect()
}

fn vector_leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect()
}

fn numbered(size: usize) -> Vec<Hash> {
    (0..size as u64).map(|number| leaf_hash(&number.to_le_bytes())).collect()
}

/// MTH of RFC 9162, §2.1.1.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(b""),
        [leaf] => *leaf,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            node_hash(&naive_root(&leaves[..middle]), &naive_root(&leaves[middle..]))
        }
    }
}

/// PATH of RFC 9162, §2.1.3.1.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 9162, §2.1.4.1.
fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if old <= left.len() {
        (naive_subproof(old, left, whole), naive_root(right))
    } else {
        (naive_subproof(old - left.len(), right, false), naive_root(left))
    };
    proof.push(sibling);
    proof
}

#[test]
fn roots_are_those_of_the_published_vectors() {
    let mut tree = Frontier::default();
    assert_eq!(tree.root(), hash(ROOTS[0]));

    for (leaf, root) in vector_leaves().into_iter().zip(&ROOTS[1..]) {
        tree.append(leaf);

        assert_eq!(tree.root(), hash(root));
        assert_eq!(root_at(vector_leaves().as_slice(), tree.size()), Some(hash(root)));
    }
}

#[test]
fn inclusion_proofs_are_those_of_the_published_vectors() {
    let cases: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[N1, N23, N47]),
        (5, 8, &[N4, N67, N03]),
        (2, 3, &[ROOTS[2]]),
        (1, 5, &[ROOTS[1], N23, N4]),
    ];

    for (index, size, expected) in cases {
        let proof = inclusion_proof(vector_leaves().as_slice(), index, size).unwrap();

        assert_eq!(proof, hashes(expected), "leaf {index} of {size}");
        let (leaf, root) = (vector_leaves()[index as usize], hash(ROOTS[size as usize]));
        assert!(verify_inclusion(&leaf, index, size, &proof, &root));
    }
}

#[test]
fn consistency_proofs_are_those_of_the_published_vectors() {
    let cases: [(u64, u64, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[N1, N23, N47]), (6, 8, &[N45, N67, N03]), (2, 5, &[N23, N4])];

    for (old, new, expected) in cases {
        let proof = consistency_proof(vector_leaves().as_slice(), old, new).unwrap();

        assert_eq!(proof, hashes(expected), "{old} to {new}");
        assert!(verify_consistency(old, new, &hash(ROOTS[old as usize]), &hash(ROOTS[new as usize]), &proof));
    }
}

#[test]
fn proofs_of_what_is_not_there_are_refused() {
    let leaves = numbered(9);

    assert_eq!(inclusion_proof(leaves.as_slice(), 9, 9), None);
    assert_eq!(consistency_proof(leaves.as_slice(), 9, 10), None);
    assert_eq!(range_proof(leaves.as_slice(), 4, 3, 9), None);
    assert!(!verify_inclusion(&leaves[0], 9, 9, &[], &leaves[0]));
    assert!(!verify_consistency(3, 2, &leaves[0], &leaves[0], &[]));
    assert!(!verify_consistency(0, 2, &leaves[0], &naive_root(&leaves[..2]), &[]));
}

#[test]
fn a_hash_has_one_spelling() {
    let text = "ab".repeat(32);

    assert_eq!(hash(&text).to_string(), text);
    assert_eq!(Hash::from_hex(&text.to_uppercase()), None);
    assert_eq!(Hash::from_hex(&text[1..]), None);
}

#[test]
fn the_last_leaf_of_a_tile_completes_it_and_those_above() {
    let done = |leaf: u64| tile::completed_by(leaf).collect::<Vec<_>>();

    assert_eq!(done(0), []);
    assert_eq!(done(255), [TileId { level: 0, index: 0 }]);
    assert_eq!(done(511), [TileId { level: 0, index: 1 }]);
    assert_eq!(done(65_535), [TileId { level: 0, index: 255 }, TileId { level: 1, index: 0 }]);
    let partial = tile::partial_tiles(70_000).collect::<Vec<_>>();
    let at = |level, index| TileId { level, index };
    assert_eq!(partial, [(at(0, 273), 112), (at(1, 1), 17), (at(2, 0), 1)]);
}

/// Keeps tiles as a store would, by the arithmetic of `tile` alone.
fn tiles_of(leaves: &[Hash]) -> HashMap<TileId, Vec<Hash>> {
    let mut tiles: HashMap<TileId, Vec<Hash>> = HashMap::new();
    for (number, leaf) in leaves.iter().enumerate() {
        let mut hash = *leaf;
        for entry in tile::entries_of(number as u64) {
            let tile = tiles.entry(entry.tile).or_default();
            assert_eq!(tile.len(), entry.position);
            tile.push(hash);
            if entry.completes {
                hash = tile::tile_root(tile);
            }
        }
    }
    tiles
}

#[test]
fn tiles_prove_what_the_leaves_prove() {
    let leaves = numbered(66_000);
    let tiles = tiles_of(&leaves);
    let hashes = TileHashes::new(|id| tiles.get(&id).cloned());

    for size in [1, 257, 65_537, 66_000] {
        let root = root_at(&hashes, size).unwrap();
        let proof = inclusion_proof(&hashes, size / 2, size).unwrap();

        assert_eq!(root, naive_root(&leaves[..size as usize]));
        assert!(verify_inclusion(&leaves[size as usize / 2], size / 2, size, &proof, &root));
    }
    assert_eq!(root_at(&hashes, 66_001), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_are_those_of_the_definition(size in 1_usize..300, index: prop::sample::Index, old: prop::sample::Index) {
        let leaves = numbered(size);
        let (index, old) = (index.index(size), 1 + old.index(size));
        let root = naive_root(&leaves);

        let path = inclusion_proof(leaves.as_slice(), index as u64, size as u64).unwrap();
        let consistency = consistency_proof(leaves.as_slice(), old as u64, size as u64).unwrap();

        prop_assert_eq!(&path, &naive_path(index, &leaves));
        prop_assert!(verify_inclusion(&leaves[index], index as u64, size as u64, &path, &root));
        prop_assert_eq!(&consistency, &naive_subproof(old, &leaves, true));
        let old_root = naive_root(&leaves[..old]);
        prop_assert!(verify_consistency(old as u64, size as u64, &old_root, &root, &consistency));
    }

    #[test]
    fn a_proof_with_any_flaw_is_refused(size in 2_usize..200, index: prop::sample::Index, at: prop::sample::Index, bit in 0_usize..256) {
        let leaves = numbered(size);
        let (index, size) = (index.index(size) as u64, size as u64);
        let root = naive_root(&leaves);
        let leaf = leaves[index as usize];
        let path = inclusion_proof(leaves.as_slice(), index, size).unwrap();
        let flip = |proof: &[Hash]| {
            let mut flawed = proof.to_vec();
            let at = at.index(flawed.len());
            flawed[at].0[bit / 8] ^= 1 << (bit % 8);
            flawed
        };
        let longer = [path.as_slice(), &[root]].concat();

        prop_assert!(!verify_inclusion(&leaf, index, size, &flip(&path), &root));
        prop_assert!(!verify_inclusion(&leaf, index, size, &longer, &root));
        prop_assert!(!verify_inclusion(&leaf, index, size, &path[1..], &root));
        prop_assert!(!verify_inclusion(&leaf, (index + 1) % size, size, &path, &root));
        if index > 0 {
            let old_root = naive_root(&leaves[..index as usize]);
            let proof = consistency_proof(leaves.as_slice(), index, size).unwrap();
            prop_assert!(!verify_consistency(index, size, &old_root, &root, &flip(&proof)));
            prop_assert!(!verify_consistency(index, size, &old_root, &root, &proof[1..]));
            prop_assert!(!verify_consistency(index, size, &root, &root, &proof));
        }
    }

    #[test]
    fn a_range_with_its_neighbours_gives_the_root(size in 0_u64..200, a in 0_u64..200, b in 0_u64..200, at: prop::sample::Index) {
        let (start, end) = (a.min(b).min(size), a.max(b).min(size));
        let leaves = numbered(size as usize);
        let root = naive_root(&leaves);
        let mut range = leaves[start as usize..end as usize].to_vec();

        let proof = range_proof(leaves.as_slice(), start, end, size).unwrap();

        prop_assert!(verify_range(&range, &proof, &root));
        let others = RangeProof { end: end + 1, ..proof.clone() };
        prop_assert!(!verify_range(&range, &others, &root));
        if !range.is_empty() {
            let at = at.index(range.len());
            range[at].0[0] ^= 1;
            prop_assert!(!verify_range(&range, &proof, &root));
            prop_assert!(!verify_range(&range[1..], &proof, &root));
        }
    }

    #[test]
    fn a_frontier_survives_its_bytes(size in 0_usize..300) {
        let leaves = numbered(size);
        let mut tree = Frontier::default();
        leaves.iter().for_each(|leaf| tree.append(*leaf));

        let bytes = tree.to_bytes();

        prop_assert_eq!(tree.root(), naive_root(&leaves));
        prop_assert_eq!(Frontier::from_bytes(&bytes), Some(tree));
        prop_assert_eq!(Frontier::from_bytes(&bytes[..bytes.len() - 1]), None);
    }
}
