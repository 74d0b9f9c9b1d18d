//! `[audit]` and `[storage.retention]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bursar_actors::Secret;

use super::Checker;
use crate::config::audit::{Audit, Kept, Retention, Witness};
use crate::config::fault::Fault;
use crate::config::layer::item;
use crate::config::privacy::Law;
use crate::config::raw::{RawAudit, RawRetention};
use crate::config::units;

pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// Six years: how long HIPAA wants records of disclosure kept (45 CFR 164.316(b)(2)(i)).
const SIX_YEARS: Duration = Duration::from_secs(2_192 * 86_400);
/// 128 bytes on disk and some 70 in memory each.
const USERS_MAX: u32 = 100_000;
/// No record need be kept for longer than a century.
const CENTURY: Duration = Duration::from_secs(36_525 * 86_400);
/// Below it the signatures would outweigh the records.
const CHECKPOINTS_APART: Duration = Duration::from_secs(1);

/// Returns what the books are kept by. `law` says what is kept where nothing is written.
pub(super) fn audit(
    checker: &mut Checker<'_>,
    raw: &RawAudit,
    storage: &Path,
    retention: &RawRetention,
    law: Option<Law>,
) -> Audit {
    // Who follows such a law keeps what proves a text, and not the people in it.
    let usual = if law.is_some() { Kept::Redacted } else { Kept::default() };
    let keys_path = raw.keys_path.clone().map_or_else(|| beside(storage), PathBuf::from);
    if keys_path.starts_with(storage) {
        let message = format!(
            "audit.keys_path is inside storage.path ({}): who copies the data has the keys to it, too",
            storage.display()
        );
        checker.warn("audit.keys_path", message);
    }
    let every = checker.duration("audit", "checkpoint_every", raw.checkpoint_every.as_ref(), Duration::from_secs(60));
    if every < CHECKPOINTS_APART {
        checker.fault("audit.checkpoint_every", "audit.checkpoint_every has to be at least 1s".into());
    }
    Audit {
        enabled: raw.enabled.unwrap_or(true),
        content: raw.content.unwrap_or(usual),
        content_max: content_max(checker, raw),
        users_max: raw.users_max.unwrap_or(USERS_MAX),
        commit: raw.commit.unwrap_or_default(),
        keys_path,
        signing_key: key(checker, "audit.signing_key", raw.signing_key.as_ref()),
        master_key: key(checker, "audit.master_key", raw.master_key.as_ref()),
        checkpoint_every: every,
        witnesses: witnesses(checker, &raw.witness),
        retention: Retention {
            audit: days(checker, "storage.retention.audit", retention.audit.as_ref(), SIX_YEARS),
            content: days(checker, "storage.retention.content", retention.content.as_ref(), 7 * DAY),
        },
    }
}

/// Returns the folder beside the data directory: `./data.keys` for `./data`.
fn beside(storage: &Path) -> PathBuf {
    let mut name = storage.as_os_str().to_owned();
    name.push(".keys");
    name.into()
}

fn content_max(checker: &mut Checker<'_>, raw: &RawAudit) -> usize {
    raw.content_max.as_ref().map_or(Ok(1_000_000), |text| units::size(text)).unwrap_or_else(|why| {
        checker.fault("audit.content_max", format!("audit.content_max: {why}"));
        1
    })
}

/// Returns a key of 256 bits, written as 64 hexadecimal digits.
fn key(checker: &mut Checker<'_>, path: &str, value: Option<&String>) -> Option<Secret> {
    let value = value.map(|value| value.trim()).filter(|value| !value.is_empty())?;
    if value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(Secret::new(value.to_ascii_lowercase()));
    }
    let help = "make one with `openssl rand -hex 32`, and keep it where the data is not";
    checker.report(path, Fault::error(format!("{path} is no key of 64 hexadecimal digits")).help(help));
    None
}

pub(super) fn days(checker: &mut Checker<'_>, path: &str, text: Option<&String>, default: Duration) -> Duration {
    let Some(text) = text else { return default };
    match units::duration(text) {
        Ok(time) if time >= DAY && time <= CENTURY => time,
        Ok(_) => {
            checker.fault(path, format!("{path} is `{text}`; it has to be from 1d to 36525d"));
            default
        }
        Err(why) => {
            checker.fault(path, format!("{path}: {why}"));
            default
        }
    }
}

fn witnesses(checker: &mut Checker<'_>, written: &[String]) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    for (index, text) in written.iter().enumerate() {
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            witnesses.push(Witness::File(path.into()));
        } else if text == "syslog" {
            witnesses.push(Witness::Syslog);
        } else if text.starts_with("https://") || text.starts_with("http://") {
            match units::base_url(text) {
                Ok(url) => witnesses.push(Witness::Url(url)),
                Err(why) => {
                    checker.fault(&item("audit.witness", index), format!("audit.witness: {why}"));
                }
            }
        } else {
            let help = "write `file:/path`, `syslog` or an https:// address";
            let message = format!("audit.witness: `{text}` is no witness");
            checker.report(&item("audit.witness", index), Fault::error(message).help(help));
        }
    }
    witnesses
}
