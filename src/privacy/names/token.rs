//! Cuts text into words, numbers, marks and line ends, and says of each what it looks like.

use super::lexicon::{Lexicon, WORD};

/// What a token looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    Lower,
    /// One capital and small letters after it, `O'Brien`, `McLeod` and `Jean-Luc` too.
    Capital,
    /// Two or more letters, all of them capitals.
    Upper,
    /// One capital letter alone.
    Initial,
    /// `camelCase`, `HTTPServer`, `snake_case`.
    Mixed,
    Digit1,
    Digit2,
    Digit3,
    Digit4,
    Digit5,
    Digits,
    /// Letters and digits, such as `12b`.
    Both,
    /// Letters of a script without capitals.
    Uncased,
    Newline,
    BlankLine,
    Mark,
}

impl Shape {
    /// Whether a name may be made of such tokens.
    pub const fn is_word(self) -> bool {
        matches!(self, Self::Lower | Self::Capital | Self::Upper | Self::Initial | Self::Mixed | Self::Uncased)
    }

    /// Whether it is a number.
    pub const fn is_number(self) -> bool {
        matches!(
            self,
            Self::Digit1 | Self::Digit2 | Self::Digit3 | Self::Digit4 | Self::Digit5 | Self::Digits | Self::Both
        )
    }
}

/// It is the first token of its line.
pub const LINE_START: u8 = 1;
/// It is the first word of a sentence.
pub const SENTENCE_START: u8 = 2;
/// Its line looks like source code.
pub const CODE: u8 = 4;
/// Whitespace stands before it.
pub const GAP: u8 = 8;
/// It is hyphenated.
pub const HYPHEN: u8 = 16;
/// The capitals of its line are worth nothing: nearly every word has one.
pub const TITLED: u8 = 32;

/// A piece of text and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub start: u32,
    pub end: u32,
    /// The word itself where the lexicon knows it, else what kind of token it is.
    pub id: u32,
    /// The word itself.
    pub key: u32,
    /// Hash of the first three letters.
    pub prefix: u32,
    /// Hashes of the last two, three and four letters.
    pub suffix: [u32; 3],
    /// The `id` of the first word in the line.
    pub line: u32,
    pub shape: Shape,
    /// What the lexicon says of it.
    pub flags: u8,
    pub place: u8,
    /// How many tokens the line has, at most 15.
    pub length: u8,
}

/// A hash of bytes that is the same on every machine.
pub fn hash(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let sum = (sum ^ sum >> 16).wrapping_mul(0x85eb_ca6b);
    sum ^ sum >> 13
}

/// Letters of U+00C0 to U+017F without their accents; `?` stands for what has no plain letter.
const PLAIN: &[u8; 192] = b"aaaaaaaceeeeiiiidnooooo?ouuuuytsaaaaaaaceeeeiiiidnooooo?ouuuuyty\
aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll\
lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

/// Appends `letter` to `folded` in small letters and without accents.
fn fold(letter: char, folded: &mut Vec<u8>) {
    let code = letter as usize;
    match code {
        0..0x80 => folded.push(letter.to_ascii_lowercase() as u8),
        0xc0..0x180 => folded.push(PLAIN[code - 0xc0]),
        0x1e00..0x1f00 | 0x180..0x250 => folded.push(plain_beyond(letter)),
        _ => {
            let mut room = [0; 4];
            for small in letter.to_lowercase() {
                folded.extend_from_slice(small.encode_utf8(&mut room).as_bytes());
            }
        }
    }
}

/// Vietnamese and Romanian letters without their accents.
fn plain_beyond(letter: char) -> u8 {
    match letter {
        'Ơ' | 'ơ' | 'Ọ'..='ợ' => b'o',
        'Ư' | 'ư' | 'Ụ'..='ự' => b'u',
        'Ș' | 'ș' => b's',
        'Ț' | 'ț' => b't',
        'Ạ'..='ặ' => b'a',
        'Ẹ'..='ệ' => b'e',
        'Ỉ'..='ị' => b'i',
        'Ỳ'..='ỹ' => b'y',
        _ => b'?',
    }
}

/// `word` in small letters without accents, as the lexicon knows it.
pub fn key(word: &str) -> u32 {
    let mut folded = Vec::with_capacity(word.len());
    word.chars().for_each(|letter| fold(letter, &mut folded));
    hash(&folded)
}

/// Where the word that begins at `start` ends, and whether a hyphen is in it.
fn word_end(text: &str, start: usize) -> (usize, bool) {
    let bytes = text.as_bytes();
    let (mut at, mut hyphen) = (start, false);
    while at < bytes.len() {
        let byte = bytes[at];
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            at += 1;
            continue;
        }
        if byte < 0x80 {
            // A hyphen or an apostrophe is part of the word with letters on both sides.
            let joins = (byte == b'-' || byte == b'\'' && !possessive(bytes, at + 1)) && at > start;
            let follows = text[at + 1..].chars().next().is_some_and(char::is_alphabetic);
            if !(joins && follows && text[..at].chars().next_back().is_some_and(char::is_alphabetic)) {
                break;
            }
            hyphen |= byte == b'-';
            at += 1;
            continue;
        }
        match text[at..].chars().next() {
            Some(letter) if letter.is_alphanumeric() => at += letter.len_utf8(),
            Some('\u{300}'..='\u{36f}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{d7f}') => at += utf8_len(byte),
            Some('’') if at > start && !possessive(bytes, at + 3) => {
                if !text[at + 3..].chars().next().is_some_and(char::is_alphabetic) {
                    break;
                }
                at += 3;
            }
            _ => break,
        }
    }
    (at, hyphen)
}

/// The length of the character that begins with `byte`.
const fn utf8_len(byte: u8) -> usize {
    match byte {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// Whether an `s` and no further letter stands at `at`, as after the apostrophe of `Anna's`.
fn possessive(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b's' | b'S'))
        && !bytes.get(at + 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
}

/// What a word looks like.
fn shape_of(word: &str) -> Shape {
    let (mut uppers, mut lowers, mut digits, mut others) = (0_usize, 0_usize, 0_usize, 0_usize);
    for letter in word.chars() {
        if letter.is_uppercase() {
            uppers += 1;
        } else if letter.is_lowercase() {
            lowers += 1;
        } else if letter.is_numeric() {
            digits += 1;
        } else if letter == '_' {
            return Shape::Mixed;
        } else if !matches!(letter, '-' | '\'' | '’') {
            others += 1;
        }
    }
    match (uppers, lowers, digits, others) {
        (0, 0, 1, 0) => Shape::Digit1,
        (0, 0, 2, 0) => Shape::Digit2,
        (0, 0, 3, 0) => Shape::Digit3,
        (0, 0, 4, 0) => Shape::Digit4,
        (0, 0, 5, 0) => Shape::Digit5,
        (0, 0, 1.., 0) => Shape::Digits,
        (.., 1.., _) => Shape::Both,
        (0, 0, 0, _) => Shape::Uncased,
        (1, 0, ..) => Shape::Initial,
        (_, 0, ..) => Shape::Upper,
        (0, ..) => Shape::Lower,
        _ if word.split(['-', '\'', '’']).all(begins_large) => Shape::Capital,
        _ => Shape::Mixed,
    }
}

/// Whether only the first letter is a capital, or there is none (`al-Rashid`), or one more stands where names have it
/// (`McLeod`).
fn begins_large(part: &str) -> bool {
    const BEFORE: [&str; 12] = ["Mc", "Mac", "De", "Di", "Du", "La", "Le", "Van", "Von", "Fitz", "Da", "Del"];
    let hump = part.char_indices().skip(1).find(|(_, letter)| letter.is_uppercase());
    hump.is_none_or(|(at, _)| BEFORE.contains(&&part[..at]) && !part[at..].chars().skip(1).any(char::is_uppercase))
}

/// Fills `tokens` with those of `text`; offsets count from the beginning of `text`.
pub fn tokenise(text: &str, lexicon: &Lexicon, tokens: &mut Vec<Token>) {
    tokens.clear();
    let bytes = text.as_bytes();
    let mut folded = Vec::with_capacity(64);
    let (mut at, mut gap) = (0, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if matches!(byte, b' ' | b'\t' | b'\r') {
            (at, gap) = (at + 1, GAP);
            continue;
        }
        if byte == b'\n' {
            let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let lines = memchr::memchr_iter(b'\n', &bytes[at..end]).count();
            let shape = if lines > 1 { Shape::BlankLine } else { Shape::Newline };
            tokens.push(mark(at, end, u32::from(lines > 1) + 1, shape, GAP));
            (at, gap) = (end, GAP);
            continue;
        }
        let letter = if byte < 0x80 { byte as char } else { text[at..].chars().next().unwrap_or(' ') };
        if letter.is_alphanumeric() || letter == '_' {
            let (end, hyphen) = word_end(text, at);
            let mut word = word(&text[at..end], lexicon, &mut folded);
            (word.start, word.end) = (at as u32, end as u32);
            word.place = gap | if hyphen { HYPHEN } else { 0 };
            tokens.push(word);
            (at, gap) = (end, 0);
        } else if letter.is_whitespace() {
            (at, gap) = (at + letter.len_utf8(), GAP);
        } else {
            let end = at + letter.len_utf8();
            let kind = match letter {
                '“' | '”' | '„' | '«' | '»' => '"',
                '’' | '‘' => '\'',
                '–' | '—' => '-',
                plain => plain,
            };
            tokens.push(mark(at, end, 16 + kind as u32, Shape::Mark, gap));
            (at, gap) = (end, 0);
        }
    }
    place(bytes, tokens);
}

/// A token that is no word.
fn mark(start: usize, end: usize, id: u32, shape: Shape, place: u8) -> Token {
    Token {
        start: start as u32,
        end: end as u32,
        id,
        key: id,
        prefix: 0,
        suffix: [0; 3],
        line: 0,
        shape,
        flags: 0,
        place,
        length: 0,
    }
}

/// A token for `word`, its offsets not yet set.
fn word(word: &str, lexicon: &Lexicon, folded: &mut Vec<u8>) -> Token {
    folded.clear();
    if word.is_ascii() {
        folded.extend(word.bytes().map(|byte| if byte < b'A' { byte } else { byte | 0x20 }));
    } else {
        word.chars().for_each(|letter| fold(letter, folded));
    }
    let shape = shape_of(word);
    let mut token = mark(0, 0, 0x1000_0000 + shape as u32, shape, 0);
    token.key = hash(folded);
    if shape.is_number() {
        return token;
    }
    token.flags = lexicon.flags(token.key);
    if token.flags & WORD != 0 {
        token.id = token.key;
    } else {
        token.flags |= derived(word, folded, lexicon);
    }
    let length = folded.len();
    token.prefix = hash(&folded[..length.min(3)]);
    for (slot, letters) in token.suffix.iter_mut().zip(2..) {
        *slot = hash(&folded[length.saturating_sub(letters)..]);
    }
    token
}

/// What the lexicon says of a word that it does not have: of its parts or of its stem.
fn derived(word: &str, folded: &[u8], lexicon: &Lexicon) -> u8 {
    if let Some(at) = memchr::memchr(b'-', folded) {
        let (first, last) = (lexicon.flags(hash(&folded[..at])), lexicon.flags(hash(&folded[at + 1..])));
        return if first == 0 || last == 0 { first | last } else { first & last };
    }
    if !word.is_ascii() {
        return 0;
    }
    if let Some(at) = memchr::memrchr(b'\'', folded)
        && matches!(&folded[at + 1..], b"t" | b"d" | b"m" | b"re" | b"ve" | b"ll" | b"all" | b"mon")
    {
        return WORD;
    }
    for ending in [&b"s"[..], b"es", b"ed", b"d", b"ing", b"ly", b"er", b"r", b"ment", b"ness", b"able", b"ity"] {
        if let Some(stem) = folded.strip_suffix(ending)
            && stem.len() > 2
            && lexicon.flags(hash(stem)) & WORD != 0
        {
            return WORD;
        }
    }
    0
}

/// Sets what depends on the line and the sentence around each token.
fn place(bytes: &[u8], tokens: &mut [Token]) {
    let (mut from, mut lines, mut codes) = (0, 0, 0);
    while from < tokens.len() {
        let rest = tokens[from..].iter().position(|token| token.id == 1 || token.id == 2);
        let end = rest.map_or(tokens.len(), |rest| from + rest);
        let line = &mut tokens[from..end];
        if let (Some(first), Some(last)) = (line.first().copied(), line.last()) {
            let code = if is_code(&bytes[first.start as usize..last.end as usize]) { CODE } else { 0 };
            lines += 1;
            codes += usize::from(code != 0);
            let words = line.iter().filter(|token| token.shape.is_word()).count();
            let capitals = line.iter().filter(|token| matches!(token.shape, Shape::Capital | Shape::Upper)).count();
            let titled = if words > 3 && capitals * 4 >= words * 3 { TITLED } else { 0 };
            let head = line.iter().find(|token| token.shape.is_word()).map_or(first.id, |token| token.id);
            let length = line.len().min(15) as u8;
            for token in line.iter_mut() {
                token.line = head;
                token.length = length;
                token.place |= code | titled;
            }
            line[0].place |= LINE_START;
            sentences(line);
        }
        from = end + 1;
    }
    // Between lines of code the others are code too.
    if codes >= 4 && codes * 5 >= lines {
        tokens.iter_mut().for_each(|token| token.place |= CODE);
    }
}

/// Marks the first word of each sentence of a line.
fn sentences(line: &mut [Token]) {
    const ENDS: [u32; 4] = [16 + '.' as u32, 16 + '!' as u32, 16 + '?' as u32, 16 + ':' as u32];
    let mut begins = true;
    let mut before = Shape::Mark;
    for token in line {
        if token.shape.is_word() {
            if begins {
                token.place |= SENTENCE_START;
            }
            begins = false;
        } else if ENDS.contains(&token.id) {
            begins = before != Shape::Initial;
        } else if token.shape.is_number() {
            begins = false;
        }
        before = token.shape;
    }
}

/// Whether a line has marks that prose, letters and records have not.
fn is_code(line: &[u8]) -> bool {
    const PAIRS: [&[u8; 2]; 17] = [
        b"::", b"->", b"=>", b"==", b"!=", b"&&", b"||", b"+=", b"()", b"</", b"/>", b"#[", b"${", b"&[", b"&'", b"<'",
        b"!(",
    ];
    const STARTS: [&[u8]; 20] = [
        b"fn ",
        b"let ",
        b"pub ",
        b"use ",
        b"impl",
        b"def ",
        b"class ",
        b"import ",
        b"func ",
        b"const ",
        b"var ",
        b"mod ",
        b"struct ",
        b"enum ",
        b"static ",
        b"#include",
        b"@",
        b"export ",
        b"async ",
        b"match ",
    ];
    let pair = line.windows(2).any(|two| {
        matches!(two[0], b':' | b'-' | b'=' | b'!' | b'&' | b'|' | b'+' | b'(' | b'<' | b'/' | b'#' | b'$')
            && PAIRS.iter().any(|known| two == *known)
    });
    pair || matches!(line.last(), Some(b';' | b'{')) || STARTS.iter().any(|start| line.starts_with(start))
}
