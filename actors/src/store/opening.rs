//! Opens sled's files, as often as that needs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sled::{Config, Db};

/// How often a lock is tried for that should be free, and the time between.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Opens what `config` names; an error says why not.
// Only a start waits here, or a thread that serves no requests.
#[expect(clippy::disallowed_methods, reason = "see above")]
pub(super) fn open(config: &Config) -> Result<Db, String> {
    // Some damage makes sled panic as it opens.
    let open = || match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("sled panicked as it read its file".into()),
    };
    // A child of this process keeps the lock of a store that was closed until it executes its own program.
    for _ in 0..LOCK_TRIES {
        match open() {
            Err(why) if why.contains("could not acquire lock") => std::thread::sleep(LOCK_PAUSE),
            opened => return opened,
        }
    }
    open()
}
