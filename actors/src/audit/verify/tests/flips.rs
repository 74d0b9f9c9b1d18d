//! One flipped bit, anywhere in an export, is noticed by both verifiers.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::python::Python;
use super::*;

/// Asks Python about one flip in so many.
const PYTHON_EVERY: usize = 20;

#[test]
fn every_flipped_bit_of_an_export_is_noticed() {
    let flips = std::env::var("BURSAR_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let (_home, folder) = exported();
    let trusted = trusting(&key(1));
    let mut python = Python::start();
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut chance = SmallRng::seed_from_u64(7);
    assert_eq!(verdict(&folder, &trusted), (0, None));

    for flip in 0..flips {
        // Every file in turn, so that the small ones that all hangs on are hit as often as the long ones.
        let path = &files[flip % files.len()];
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        let bit = chance.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &bytes).unwrap();

        let what = format!("bit {bit} of {}", path.display());
        let (code, _) = match &mut python {
            Some(python) if flip.is_multiple_of(PYTHON_EVERY + 1) => python.agrees(&folder, &trusted, &what),
            _ => verdict(&folder, &trusted),
        };
        assert!(matches!(code, 1 | 4), "{what} was flipped, and the verdict is {code}");
        let (code, _) = verdict(&folder, &Trusted::default());
        assert!(matches!(code, 1 | 4), "{what} was flipped, and without a trusted key the verdict is {code}");
        fs::write(path, whole).unwrap();
    }
    assert_eq!(verdict(&folder, &trusted), (0, None));
}
