//! Any text as `bursar.toml`.

use std::cell::OnceCell;
use std::fs;

use bursar::config::load::{Sources, load};
use tempfile::TempDir;

/// What the variable `SECRET` and the file `key` hold.
const SECRET: &str = "hunter2hunter2hunter2";

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// The input is the text of `bursar.toml`. Comments `#env NAME=value` and `#set path=value` at its beginning go where
/// they say; `${SECRET}` and `${file:key}` stand for a secret.
///
/// No text panics, every refusal can be printed, and nothing printed shows the secret.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Other files are not this check's to read: some devices never end.
    if text.matches("file:").count() != text.matches("${file:key}").count() || text.contains(SECRET) {
        return;
    }
    let comments = |word: &'static str| text.lines().take(4).filter_map(move |line| line.strip_prefix(word));
    let variables = comments("#env ").filter_map(|pair| pair.split_once('='));
    let mut environment: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    environment.push(("SECRET".to_owned(), SECRET.to_owned()));
    let set = comments("#set ").map(str::to_owned).collect();

    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            fs::write(folder.path().join("key"), SECRET).expect("it can be written to");
            folder
        });
        fs::write(folder.path().join("bursar.toml"), text).expect("a temporary folder can be written to");
        let system_file = folder.path().join("none.toml");
        let sources =
            Sources { environment, set, working_dir: folder.path().to_owned(), system_file, ..Sources::default() };

        match load(&sources) {
            Ok(config) => config.warnings.iter().for_each(|warning| shows_no_secret(warning)),
            Err(faults) => {
                assert!(faults.is_fatal(), "refused without a reason");
                shows_no_secret(&faults.to_string());
                faults.iter().for_each(|fault| shows_no_secret(&fault.one_line()));
            }
        }
    });
}

fn shows_no_secret(printed: &str) {
    assert!(!printed.contains(SECRET), "the secret is shown: {printed}");
}
