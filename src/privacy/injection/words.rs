//! The words of a text, without what only dresses them up.

/// A word, or a run of signs such as `<|` or `###`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it begins and ends, in bytes.
    pub start: usize,
    pub end: usize,
    /// Of its letters: never 0.
    pub hash: u32,
}

/// FNV-1a, 32 bits (Fowler, Noll, Vo).
const SEED: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// Runs of signs shorter than that are no words.
const SIGNS: usize = 2;

/// What is gathered of a word up to now.
#[derive(Default)]
struct Gathered {
    start: usize,
    end: usize,
    hash: u32,
    /// The same with digits read as the letters that they look like.
    read: u32,
    letters: usize,
    digits: usize,
}

impl Gathered {
    fn push(&mut self, at: usize, end: usize, letter: char) {
        if self.letters + self.digits == 0 {
            *self = Self { start: at, hash: SEED, read: SEED, ..Self::default() };
        }
        self.end = end;
        let looks = looks_like(letter);
        if letter.is_ascii_digit() {
            self.digits += 1
        } else {
            self.letters += 1
        }
        let mix = |hash: u32, letter: char| (hash ^ letter as u32).wrapping_mul(PRIME);
        (self.hash, self.read) = (mix(self.hash, letter), mix(self.read, looks));
    }

    fn take(&mut self, least: usize, words: &mut Vec<Word>) {
        let Self { start, end, hash, read, letters, digits } = std::mem::take(self);
        if letters + digits >= least {
            // `1gnore` is dressed up, `4711` is a number.
            let hash = if letters > digits && digits > 0 { read } else { hash };
            words.push(Word { start, end, hash: hash.max(1) });
        }
    }
}

/// Returns the words of `text` in lower case. Characters without width and apostrophes within words do not count, and wide
/// letters are like others.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::with_capacity(text.len() / 6);
    let (mut word, mut signs) = (Gathered::default(), Gathered::default());
    for (at, letter) in text.char_indices() {
        let end = at + letter.len_utf8();
        let plain = if letter.is_ascii() { letter.to_ascii_lowercase() } else { plain(letter) };
        if plain.is_alphanumeric() {
            signs.take(SIGNS, &mut words);
            word.push(at, end, plain);
        } else if is_nothing(plain) || matches!(plain, '\'' | '’') {
            continue;
        } else {
            word.take(1, &mut words);
            if plain.is_whitespace() || plain == '.' {
                signs.take(SIGNS, &mut words);
            } else {
                signs.push(at, end, plain);
            }
        }
    }
    word.take(1, &mut words);
    signs.take(SIGNS, &mut words);
    words
}

/// In lower case, and of the usual width (Unicode, "Halfwidth and Fullwidth Forms").
fn plain(letter: char) -> char {
    let usual = match letter as u32 {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(letter),
        _ => letter,
    };
    usual.to_lowercase().next().unwrap_or(usual)
}

/// Whether nobody sees it: of no width, or a hyphen that shows at ends of lines only.
fn is_nothing(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn looks_like(letter: char) -> char {
    match letter {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<&str> {
        words(text).into_iter().map(|word| &text[word.start..word.end]).collect()
    }

    #[test]
    fn words_and_runs_of_signs_are_told_apart() {
        assert_eq!(
            told("Don't <|stop|> now... 3 a-b ###x"),
            ["Don't", "<|", "stop", "|>", "now", "3", "a", "b", "###", "x"]
        );
        assert_eq!(told(""), Vec::<&str>::new());
    }

    #[test]
    fn a_word_stays_itself_however_it_is_dressed_up() {
        let of = |text: &str| words(text).into_iter().map(|word| word.hash).collect::<Vec<_>>();
        for same in ["IGNORE", "1gnore", "ign\u{200b}ore", "ｉｇｎｏｒｅ", "ig\u{ad}nore", "Ign0re"] {
            assert_eq!(of(same), of("ignore"), "{same}");
        }
        assert_ne!(of("100"), of("ioo"));
    }
}
