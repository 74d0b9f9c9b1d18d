//! The records of a store as one text that goes into a backup, and says of itself whether it is whole.
//!
//! ```text
//! bursar records 1 <BLAKE3 of all lines below, hexadecimal>
//! ["<name>","<value>"]
//! ```
//!
//! A store's own files would not do: sled takes some damage for a write that was cut off, and opens without what is behind it.

/// A record: its name and its value.
pub type Entry = (String, Vec<u8>);

/// What the first line begins with; the number is the version of the format.
const HEAD: &str = "bursar records 1 ";

/// Returns `records` as text; their values have to be text, too.
pub fn pack(records: &[Entry]) -> Result<Vec<u8>, String> {
    let mut lines = String::new();
    for (name, value) in records {
        let value = std::str::from_utf8(value).map_err(|_| format!("record `{name}` is no text"))?;
        lines.push_str(&serde_json::to_string(&(name, value)).map_err(|error| error.to_string())?);
        lines.push('\n');
    }
    let hash = blake3::hash(lines.as_bytes()).to_hex();
    Ok(format!("{HEAD}{hash}\n{lines}").into_bytes())
}

/// Returns the records of a copy; an error says why it is not one, or not whole.
pub fn unpack(copy: &[u8]) -> Result<Vec<Entry>, String> {
    let text = std::str::from_utf8(copy).map_err(|_| "it is no text".to_owned())?;
    let (head, lines) = text.split_once('\n').ok_or("it ends in its first line")?;
    let hash = head.strip_prefix(HEAD).ok_or_else(|| format!("it does not begin with `{}`", HEAD.trim_end()))?;
    if blake3::Hash::from_hex(hash).ok() != Some(blake3::hash(lines.as_bytes())) {
        return Err("it is damaged: what is in it does not have the hash of its first line".to_owned());
    }
    let record = |line: &str| {
        let (name, value): (String, String) = serde_json::from_str(line).map_err(|error| error.to_string())?;
        Ok((name, value.into_bytes()))
    };
    lines.lines().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_comes_back_whole_or_not_at_all() {
        let records = [("k/a".to_owned(), b"{\"x\":\"\xc3\xa4\\n\"}".to_vec()), ("o/\"\n".to_owned(), Vec::new())];
        let copy = pack(&records).expect("packed");

        assert_eq!(unpack(&copy).expect("whole"), records);
        assert_eq!(unpack(&pack(&[]).expect("packed")), Ok(Vec::new()));
        for length in 0..copy.len() {
            assert!(unpack(&copy[..length]).is_err(), "cut at {length}");
        }
        for place in 0..copy.len() {
            let mut changed = copy.clone();
            changed[place] ^= 1;
            assert!(unpack(&changed).is_err(), "changed at {place}");
        }
        assert!(pack(&[("k/a".to_owned(), vec![0xff])]).is_err());
    }
}
