//! Checksums and formats of numbers, by the standards that define them.

/// Luhn's check (ISO/IEC 7812-1, Annex B) over digits 0 to 9.
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(*digit);
            match at % 2 {
                0 => digit,
                _ if digit > 4 => 2 * digit - 9,
                _ => 2 * digit,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether digits are the number of a payment card: a known issuer's prefix with one of its lengths, and Luhn's check.
///
/// Prefixes as the schemes publish them (ISO/IEC 7812 and their own pages), Mastercard's 2-series and 19-digit Visa included.
pub fn card(digits: &[u8]) -> bool {
    let length = digits.len();
    if !(12..=19).contains(&length) || !luhn(digits) {
        return false;
    }
    let prefix = |count: usize| digits[..count].iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let fits = |lengths: std::ops::RangeInclusive<usize>| lengths.contains(&length);
    (digits[0] == 4 && matches!(length, 13 | 16 | 19))
        || ((51..=55).contains(&two) || (2221..=2720).contains(&four)) && length == 16
        || matches!(two, 34 | 37) && length == 15
        || ((300..=305).contains(&three) || matches!(two, 36 | 38 | 39)) && fits(14..=19)
        || (four == 6011 || (644..=649).contains(&three) || two == 65) && fits(16..=19)
        || (3528..=3589).contains(&four) && fits(16..=19)
        || matches!(four, 1800 | 2131) && length == 15
        || (matches!(two, 50 | 56..=69)) && fits(12..=19)
        || (2200..=2204).contains(&four) && fits(16..=19)
        || (matches!(two, 60 | 65 | 81 | 82) || three == 508) && length == 16
}

/// Length of an IBAN by its country, as the registry of ISO 13616 has them.
fn iban_length(country: &[u8]) -> Option<usize> {
    const LENGTHS: &[(usize, &str)] = &[
        (15, "NO"),
        (16, "BE BI"),
        (18, "DK FO FI GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HU LB NI PL SV"),
        (29, "BR PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    ];
    let country = std::str::from_utf8(country).ok()?;
    LENGTHS.iter().find(|(_, countries)| countries.split(' ').any(|known| known == country)).map(|(length, _)| *length)
}

/// How many characters an IBAN that begins with `compact` has, if it is one: letters and digits without blanks.
pub fn iban(compact: &[u8]) -> Option<usize> {
    let length = iban_length(compact.get(..2)?)?;
    let whole = compact.get(..length)?;
    let moved = whole[4..].iter().chain(&whole[..4]);
    let mut rest = 0_u32;
    for byte in moved {
        rest = match byte {
            b'0'..=b'9' => rest * 10 + u32::from(byte - b'0'),
            b'A'..=b'Z' => rest * 100 + u32::from(byte - b'A') + 10,
            _ => return None,
        } % 97;
    }
    (rest == 1).then_some(length)
}

/// Whether nine digits may be a US social security number (SSA, "High Group List"; POMS RM 10201.035).
pub fn ssn(digits: &[u8]) -> bool {
    digits.len() == 9
        && !matches!(digits, [0, 0, 0, ..] | [6, 6, 6, ..] | [9, ..])
        && digits[3..5] != [0, 0]
        && digits[5..] != [0, 0, 0, 0]
}

/// Whether nine digits may be a US individual taxpayer number (IRS, Publication 1915).
pub fn itin(digits: &[u8]) -> bool {
    digits.len() == 9 && digits[0] == 9 && {
        let group = digits[3] * 10 + digits[4];
        matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
    }
}

/// Whether nine digits are an ABA routing number: weights 3, 7, 1 (ABA Routing Number Policy).
pub fn aba(digits: &[u8]) -> bool {
    let weights = [3, 7, 1].iter().cycle();
    digits.len() == 9
        && digits.iter().any(|digit| *digit > 0)
        && digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum::<u32>().is_multiple_of(10)
}

/// Whether ten digits are a US provider's number: Luhn over them behind 80840 (45 CFR 162.406).
pub fn npi(digits: &[u8]) -> bool {
    digits.len() == 10 && matches!(digits[0], 1 | 2) && luhn(&[&[8, 0, 8, 4, 0], digits].concat())
}

/// Whether it is a DEA number: two letters, seven digits, the last of them a check (21 CFR 1301).
pub fn dea(token: &[u8]) -> bool {
    let [first, second, digits @ ..] = token else { return false };
    if digits.len() != 7 || !first.is_ascii_uppercase() || !(second.is_ascii_uppercase() || *second == b'9') {
        return false;
    }
    let Some(digit) = digits_of(digits) else { return false };
    let sum = digit[0] + digit[2] + digit[4] + 2 * (digit[1] + digit[3] + digit[5]);
    sum % 10 == digit[6]
}

fn digits_of(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.iter().map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect()
}

/// Whether it is a vehicle's number with its check digit (49 CFR 565.15).
pub fn vin(token: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    if token.len() != 17 || !token.iter().any(u8::is_ascii_digit) || !token.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    let mut sum = 0;
    for (byte, weight) in token.iter().zip(WEIGHTS) {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'H' => u32::from(byte - b'A') + 1,
            b'J'..=b'N' => u32::from(byte - b'J') + 1,
            b'P' => 7,
            b'R' => 9,
            b'S'..=b'Z' => u32::from(byte - b'S') + 2,
            _ => return false,
        };
        sum += value * weight;
    }
    token[8] == b"0123456789X"[(sum % 11) as usize]
}

/// Whether it is a Medicare beneficiary's identifier (CMS, "Understanding the MBI format").
pub fn mbi(token: &[u8]) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() && !b"SLOIBZ".contains(&byte);
    let either = |byte: u8| byte.is_ascii_digit() || letter(byte);
    let kind = [0, 1, 2, 3, 1, 2, 3, 1, 1, 3, 3];
    token.len() == 11
        && token[0] != b'0'
        && token.iter().zip(kind).all(|(byte, kind)| match kind {
            1 => letter(*byte),
            2 => either(*byte),
            _ => byte.is_ascii_digit(),
        })
}

/// Whether it is a number of a person in a country whose numbers have letters and a check, without blanks.
pub fn national_code(token: &[u8]) -> bool {
    match token.len() {
        9 => dni(token) || nric(token) || nino(token),
        16 => codice_fiscale(token),
        18 => resident_of_china(token) || curp(token),
        _ => false,
    }
}

/// Spain: eight digits, or X, Y, Z and seven, and a letter by 23 (Orden INT/2058/2008).
fn dni(token: &[u8]) -> bool {
    let lead = match token[0] {
        digit @ b'0'..=b'9' => digit - b'0',
        letter @ b'X'..=b'Z' => letter - b'X',
        _ => return false,
    };
    let Some(rest) = digits_of(&token[1..8]) else { return false };
    let number = rest.iter().fold(u32::from(lead), |number, digit| number * 10 + u32::from(*digit));
    token[8] == b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

/// Singapore: a letter, seven digits, a letter by weights.
fn nric(token: &[u8]) -> bool {
    const WEIGHTS: [u32; 7] = [2, 7, 6, 5, 4, 3, 2];
    let Some(digits) = digits_of(&token[1..8]) else { return false };
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let (offset, letters) = match token[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        _ => return false,
    };
    token[8] == letters[((sum + offset) % 11) as usize]
}

/// United Kingdom: two letters, six digits, A to D (HMRC, NIM39110).
fn nino(token: &[u8]) -> bool {
    let [first, second, digits @ .., last] = token else { return false };
    first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && !b"DFIQUV".contains(first)
        && !b"DFIQUVO".contains(second)
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].contains(&&[*first, *second])
        && digits.iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(last)
}

/// Italy: sixteen letters and digits, the last a check (Decreto 23 dicembre 1976).
fn codice_fiscale(token: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let letters = [0, 1, 2, 3, 4, 5, 8, 11, 15];
    let shaped = token.iter().enumerate().all(|(at, byte)| match letters.contains(&at) {
        true => byte.is_ascii_uppercase(),
        false => byte.is_ascii_digit(),
    });
    let value = |byte: u8| usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    shaped && {
        let sum: u32 = token[..15]
            .iter()
            .enumerate()
            .map(|(at, byte)| match at % 2 {
                0 => ODD[value(*byte)],
                _ => value(*byte) as u32,
            })
            .sum();
        u32::from(token[15] - b'A') == sum % 26
    }
}

/// China: seventeen digits and a check by ISO 7064 MOD 11-2 (GB 11643-1999).
fn resident_of_china(token: &[u8]) -> bool {
    let Some(digits) = digits_of(&token[..17]) else { return false };
    let born = number(&digits[6..10]);
    let sum = digits.iter().enumerate().map(|(at, digit)| u32::from(*digit) * ((1 << (17 - at)) % 11)).sum::<u32>();
    (1900..2100).contains(&born)
        && is_date(number(&digits[10..12]), number(&digits[12..14]))
        && token[17].to_ascii_uppercase() == b"10X98765432"[(sum % 11) as usize]
}

/// Mexico: four letters, a date, sex and state, consonants, two checks.
fn curp(token: &[u8]) -> bool {
    let letters = |range: std::ops::Range<usize>| token[range].iter().all(u8::is_ascii_uppercase);
    letters(0..4)
        && digits_of(&token[4..10]).is_some_and(|date| is_date(number(&date[2..4]), number(&date[4..6])))
        && matches!(token[10], b'H' | b'M' | b'X')
        && letters(11..16)
        && token[16].is_ascii_alphanumeric()
        && token[17].is_ascii_digit()
}

/// What digits say together.
pub fn number(digits: &[u8]) -> u32 {
    digits.iter().take(9).fold(0, |number, digit| number * 10 + u32::from(*digit))
}

/// Whether there is such a day of such a month in some year.
pub fn is_date(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// Whether grouped digits are a person's number by the form that their groups have, with the check that goes with it.
pub fn national_groups(digits: &[u8], lengths: &[usize], separators: &[u8]) -> bool {
    let same = |separator: u8| separators.iter().all(|other| *other == separator);
    match lengths {
        // Brazil: 000.000.000-00.
        [3, 3, 3, 2] => separators == b"..-" && cpf(digits),
        // India: four by four, Verhoeff's check.
        [4, 4, 4] => (same(b' ') || same(b'-')) && digits[0] > 1 && verhoeff(digits),
        // Switzerland: 756.0000.0000.00, the check of EAN-13.
        [3, 4, 4, 2] => digits.starts_with(&[7, 5, 6]) && ean(digits),
        // Belgium: 00.00.00-000.00, by 97.
        [2, 2, 2, 3, 2] => is_date(number(&digits[2..4]), number(&digits[4..6])) && belgian(digits),
        // Sweden: a date and four digits with Luhn's check; Korea: a date and seven.
        [6, 4] => same(b'-') && is_date(number(&digits[2..4]), number(&digits[4..6])) && luhn(digits),
        [6, 7] => same(b'-') && is_date(number(&digits[2..4]), number(&digits[4..6])) && (1..=8).contains(&digits[6]),
        // France: sex, year, month, place, and a check by 97.
        [1, 2, 2, 2, 3, 3, 2] => french(digits),
        [15] => french(digits),
        _ => false,
    }
}

fn cpf(digits: &[u8]) -> bool {
    let check = |count: usize| {
        let sum: u32 = (0..count).map(|at| u32::from(digits[at]) * (count + 1 - at) as u32).sum();
        (sum * 10 % 11 % 10) as u8 == digits[count]
    };
    digits.iter().any(|digit| *digit != digits[0]) && check(9) && check(10)
}

fn ean(digits: &[u8]) -> bool {
    digits.iter().enumerate().map(|(at, digit)| u32::from(*digit) * [1, 3][at % 2]).sum::<u32>().is_multiple_of(10)
}

fn belgian(digits: &[u8]) -> bool {
    let (base, check) = (u64::from(number(&digits[..9])), u64::from(number(&digits[9..])));
    [base, base + 2_000_000_000].iter().any(|base| 97 - base % 97 == check)
}

fn french(digits: &[u8]) -> bool {
    let base = digits[..13].iter().fold(0_u64, |number, digit| number * 10 + u64::from(*digit));
    matches!(digits[0], 1..=4 | 7 | 8) && 97 - base % 97 == u64::from(number(&digits[13..]))
}

/// Verhoeff's check (1969), over the dihedral group of order ten.
fn verhoeff(digits: &[u8]) -> bool {
    const STEPS: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    digits.iter().rev().enumerate().fold(0, |check, (at, digit)| product(check, STEPS[at % 8][usize::from(*digit)]))
        == 0
}

/// Entropy of bytes in bits each (Shannon, 1948).
pub fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = bytes.len() as f64;
    let share = |count: u32| f64::from(count) / all;
    -counts.iter().filter(|count| **count > 0).map(|count| share(*count) * share(*count).log2()).sum::<f64>()
}

/// Whether it is a segwit address of Bitcoin: the checksum of bech32 or bech32m (BIP 173, BIP 350).
pub fn bech32(token: &[u8]) -> bool {
    const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const STEPS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let Some(data) = token.strip_prefix(b"bc1").filter(|data| (14..=74).contains(&data.len())) else { return false };
    let mut check = 1_u32;
    let mut step = |value: u32| {
        let top = check >> 25;
        check = (check & 0x01ff_ffff) << 5 ^ value;
        STEPS.iter().enumerate().filter(|(at, _)| top >> at & 1 == 1).for_each(|(_, xor)| check ^= xor);
    };
    // The human-readable part "bc", spread out.
    [3, 3, 0, 2, 3].into_iter().for_each(&mut step);
    for byte in data {
        let Some(value) = LETTERS.iter().position(|letter| letter == byte) else { return false };
        step(value as u32);
    }
    matches!(check, 1 | 0x2bc8_30a3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect()
    }

    #[test]
    fn cards_of_every_scheme() {
        for good in [
            "4111111111111111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "30569309025904",
            "6011111111111117",
            "3530111333300000",
            "4222222222222",
            "6304000000000000",
            "6200000000000005",
            "2200000000000004",
            "501800000009",
        ] {
            assert!(card(&digits(good)), "{good}");
        }
        for bad in ["4111111111111112", "1234567890123456", "0000000000000000", "411111111111111"] {
            assert!(!card(&digits(bad)), "{bad}");
        }
    }

    #[test]
    fn checks_of_banks_and_health() {
        assert_eq!(iban(b"DE89370400440532013000"), Some(22));
        assert_eq!(iban(b"GB82WEST12345698765432"), Some(22));
        assert_eq!(iban(b"NO9386011117947"), Some(15));
        assert_eq!(iban(b"DE89370400440532013001"), None);
        assert!(aba(&digits("021000021")) && !aba(&digits("021000022")));
        assert!(npi(&digits("1234567893")) && !npi(&digits("1234567890")));
        assert!(dea(b"AB1234563") && !dea(b"AB1234567"));
        assert!(mbi(b"1EG4TE5MK73") && !mbi(b"1EG4TE5MK7S"));
        assert!(vin(b"1M8GDM9AXKP042788") && !vin(b"1M8GDM9A1KP042788"));
    }

    #[test]
    fn checks_of_countries() {
        for good in ["12345678Z", "X1234567L", "S1234567D", "AB123456C", "RSSMRA85T10A562S", "11010519491231002X"] {
            assert!(national_code(good.as_bytes()), "{good}");
        }
        for bad in ["12345678A", "S1234567A", "GB123456C", "RSSMRA85T10A562T", "110105194912310021"] {
            assert!(!national_code(bad.as_bytes()), "{bad}");
        }
        assert!(national_groups(&digits("529.982.247-25"), &[3, 3, 3, 2], b"..-"));
        assert!(national_groups(&digits("756.9217.0769.85"), &[3, 4, 4, 2], b"..."));
        assert!(national_groups(&digits("811228-9874"), &[6, 4], b"-"));
        assert!(verhoeff(&digits("2363")) && !verhoeff(&digits("2364")));
        assert!(bech32(b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"));
        assert!(!bech32(b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"));
    }

    #[test]
    fn social_security_numbers() {
        assert!(ssn(&digits("078-05-1120")));
        for bad in ["000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000"] {
            assert!(!ssn(&digits(bad)), "{bad}");
        }
        assert!(itin(&digits("912-70-1234")) && !itin(&digits("912-10-1234")));
    }
}
