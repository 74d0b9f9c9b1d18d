//! Embeddings without a model: hashed features, so that texts that share words lie close together.
//!
//! Each word, and each run of three characters within it, adds a vector of its own drawn from the seed; the sum is
//! scaled to length 1.

use super::dice::Dice;

/// Weight of a run of three characters next to that of a whole word.
const TRIGRAM_WEIGHT: f64 = 0.3;

/// Returns the unit vector of a text.
pub(super) fn of_text(seed: u64, text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dimensions];
    add(&mut sum, seed, "every text", 0.2);
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        add(&mut sum, seed, &word, 1.0);
        let marked: Vec<char> = std::iter::once('^').chain(word.chars()).chain(std::iter::once('$')).collect();
        for trigram in marked.windows(3) {
            add(&mut sum, seed, &trigram.iter().collect::<String>(), TRIGRAM_WEIGHT);
        }
    }
    unit(&sum)
}

/// Returns the unit vector of a list of token numbers.
pub(super) fn of_tokens(seed: u64, tokens: &[u64], dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dimensions];
    for token in tokens {
        add(&mut sum, seed, &format!("token {token}"), 1.0);
    }
    unit(&sum)
}

/// Adds the feature's vector: sixteen entries of plus or minus the weight, at places drawn from its hash.
fn add(sum: &mut [f64], seed: u64, feature: &str, weight: f64) {
    let mut dice = Dice::new(seed, feature.as_bytes());
    for _ in 0..16 {
        let place = dice.below(sum.len());
        sum[place] += if dice.share() < 0.5 { weight } else { -weight };
    }
}

fn unit(sum: &[f64]) -> Vec<f32> {
    let length = sum.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
    if length == 0.0 {
        // Signs that cancelled each other out leave no direction; the first axis is as good as any.
        return (0..sum.len()).map(|place| if place == 0 { 1.0 } else { 0.0 }).collect();
    }
    sum.iter().map(|entry| (entry / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(left: &str, right: &str) -> f32 {
        let (left, right) = (of_text(1, left, 256), of_text(1, right, 256));
        left.iter().zip(&right).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn similar_texts_lie_closer_than_unrelated_ones() {
        let near = cosine("how do I reset my password", "resetting a password");
        let far = cosine("how do I reset my password", "the weather in Paris today");

        assert!(near > far + 0.2, "similar {near}, unrelated {far}");
    }

    #[test]
    fn vectors_have_length_one_whatever_their_size() {
        for (text, dimensions) in [("hello", 1), ("", 8), ("hello world", 256)] {
            let length: f32 = of_text(1, text, dimensions).iter().map(|entry| entry * entry).sum();

            assert!((length - 1.0).abs() < 1e-5, "{text:?} in {dimensions} dimensions: {length}");
        }
    }
}
