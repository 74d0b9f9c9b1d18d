//! A linear model over the features of tokens, and the best row of labels it gives.

use super::features::{COUNT, ROWS, features};
use super::token::Token;

/// How many labels there are.
pub const LABELS: usize = 5;
/// No part of anything.
pub const OUTSIDE: u8 = 0;
/// The first token of a name.
pub const PERSON: u8 = 1;
/// A further token of a name.
pub const IN_PERSON: u8 = 2;
/// The first token of an address.
pub const ADDRESS: u8 = 3;
/// A further token of an address.
pub const IN_ADDRESS: u8 = 4;

/// What a label costs that may not stand there.
pub const NEVER: i32 = -1_000_000;

/// Points for each label.
pub type Points = [i32; LABELS];

/// The weights of features and of labels that follow each other.
#[derive(Debug)]
pub struct Weights {
    rows: Vec<[i8; 8]>,
    /// Points for a label (second) after another (first).
    pub follow: [Points; LABELS],
}

/// Whether a label (second) may follow another (first).
pub const fn may_follow(before: u8, label: u8) -> bool {
    match label {
        IN_PERSON => matches!(before, PERSON | IN_PERSON),
        IN_ADDRESS => matches!(before, ADDRESS | IN_ADDRESS),
        _ => true,
    }
}

impl Weights {
    /// Weights that are all nothing, with the rules of what may follow what.
    pub fn empty() -> Self {
        let mut follow = [[0; LABELS]; LABELS];
        for (before, points) in follow.iter_mut().enumerate() {
            for (label, point) in points.iter_mut().enumerate() {
                *point = if may_follow(before as u8, label as u8) { 0 } else { NEVER };
            }
        }
        Self { rows: vec![[0; 8]; ROWS], follow }
    }

    /// Sets the weights of one feature.
    pub fn set(&mut self, row: usize, weights: [i8; LABELS]) {
        if let Some(slot) = self.rows.get_mut(row) {
            slot[..LABELS].copy_from_slice(&weights);
        }
    }

    /// The points of each label for the token at `at`, its neighbours' labels left aside.
    pub fn points(&self, tokens: &[Token], at: usize) -> Points {
        let mut rows = [0; COUNT];
        features(tokens, at, &mut rows);
        let mut sum = [0_i16; 8];
        for row in rows {
            for (sum, weight) in sum.iter_mut().zip(self.rows[row as usize & (ROWS - 1)]) {
                *sum += i16::from(weight);
            }
        }
        let mut points = [0; LABELS];
        for (point, sum) in points.iter_mut().zip(sum) {
            *point = i32::from(sum);
        }
        points
    }
}

/// The row of labels with the most points, for the points of each token; `steps` is room to work in.
pub fn best(points: &[Points], follow: &[Points; LABELS], steps: &mut Vec<[u8; LABELS]>, labels: &mut Vec<u8>) {
    steps.clear();
    let mut sums = [NEVER; LABELS];
    sums[OUTSIDE as usize] = 0;
    for here in points {
        let mut next = [i32::MIN / 2; LABELS];
        let mut step = [0; LABELS];
        for label in 0..LABELS {
            for before in 0..LABELS {
                let sum = sums[before] + follow[before][label];
                if sum > next[label] {
                    (next[label], step[label]) = (sum, before as u8);
                }
            }
            next[label] = (next[label] + here[label]).max(NEVER * 4);
        }
        // Only the differences count; keeping the sums small keeps long texts from overflowing.
        let most = next.into_iter().max().unwrap_or(0);
        sums = next.map(|sum| sum - most);
        steps.push(step);
    }
    labels.clear();
    let last = (0..LABELS).max_by_key(|label| sums[*label]).unwrap_or(0);
    let mut label = last as u8;
    for step in steps.iter().rev() {
        labels.push(label);
        label = step[label as usize];
    }
    labels.reverse();
}
