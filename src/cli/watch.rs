//! What makes a running gateway read its configuration again: SIGHUP, and a file that changes.
//!
//! Folders are watched, not files: editors and Kubernetes put a new file in the place of the old one, and a watch would
//! stay with the old. Any event there is only a hint; what counts is whether the content of the files differs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing::warn;

use crate::config::files::toml_files;
use crate::http::Gateway;

/// Quiet time after the last event before files are read: whoever writes several is given time to finish.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// Longest time that a folder without any quiet can put off the reading.
const DEBOUNCE_MAX: Duration = Duration::from_secs(3);

/// Starts to reload on SIGHUP and on changed files. Once this returns neither is missed. Needs a running actix system.
pub fn start(gateway: &Arc<Gateway>) {
    match signal(SignalKind::hangup()) {
        Ok(hangups) => _ = actix_rt::spawn(reload_on_hangup(gateway.clone(), hangups)),
        Err(error) => warn!("SIGHUP cannot be caught ({error}); use `bursar reload`"),
    }
    let (send, hints) = unbounded_channel();
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading them is an event too, and would never end.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            let _ = send.send(());
        }
    };
    match notify::recommended_watcher(on_event) {
        Ok(watcher) => {
            let mut folders = Folders { watcher, watched: BTreeSet::new() };
            let files = gateway.config.load().files.clone();
            folders.watch(&files);
            let seen = content(&files);
            actix_rt::spawn(reload_on_change(gateway.clone(), hints, folders, files, seen));
        }
        Err(error) => warn!("files cannot be watched ({error}); use `bursar reload` after a change"),
    }
}

async fn reload_on_hangup(gateway: Arc<Gateway>, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        // What is wrong is logged and counted there.
        let _ = gateway.clone().reload_from_sources("SIGHUP").await;
    }
}

/// Reloads whenever the content of a file differs that the configuration was read from.
async fn reload_on_change(
    gateway: Arc<Gateway>,
    mut hints: UnboundedReceiver<()>,
    mut folders: Folders,
    mut files: Vec<PathBuf>,
    mut seen: blake3::Hash,
) {
    while quiet(&mut hints).await {
        folders.watch(&files);
        let now = content(&files);
        if now == seen {
            continue;
        }
        seen = now;
        if gateway.clone().reload_from_sources("file change").await.is_ok() && files != gateway.config.load().files {
            files = gateway.config.load().files.clone();
            folders.watch(&files);
            seen = content(&files);
        }
    }
}

/// Waits for a hint and then until none came for a while. False when there will be none any more.
async fn quiet(hints: &mut UnboundedReceiver<()>) -> bool {
    if hints.recv().await.is_none() {
        return false;
    }
    let until_quiet = async { while let Ok(Some(())) = tokio::time::timeout(DEBOUNCE, hints.recv()).await {} };
    let _ = tokio::time::timeout(DEBOUNCE_MAX, until_quiet).await;
    true
}

struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Watches the folders of `files` as well as those in which symbolic links lead, and lets go of others.
    fn watch(&mut self, files: &[PathBuf]) {
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
        for folder in self.watched.difference(&wanted) {
            // One that is gone is no longer watched anyway.
            let _ = self.watcher.unwatch(folder);
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            if self.watched.contains(&folder) {
                watched.insert(folder);
                continue;
            }
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => _ = watched.insert(folder),
                Err(error) => {
                    warn!("{} cannot be watched ({error}); use `bursar reload` after a change", folder.display());
                }
            }
        }
        self.watched = watched;
    }
}

/// Returns the folders in which a change may be one of `file`: those that exist.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let whole = file.canonicalize().ok();
    let itself = whole.clone().filter(|path| path.is_dir());
    let parents = [Some(file.to_owned()), whole].into_iter().flatten();
    let parents = parents.filter_map(|path| path.parent().map(Path::to_owned));
    parents.chain(itself).filter(|folder| folder.is_dir()).collect()
}

/// Returns a hash of what stands in `files`; a folder stands for the TOML files in it.
fn content(files: &[PathBuf]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    for file in files {
        let inside = if file.is_dir() { toml_files(file).unwrap_or_default() } else { vec![file.clone()] };
        for path in inside {
            // What is not there leaves no trace, so a folder without a file is as good as none.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update(blake3::hash(&bytes).as_bytes());
        }
    }
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_changes_when_a_file_of_it_comes_changes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("bursar.toml"), folder.path().join("conf.d")];
        let mut seen = vec![content(&files)];
        let more = folder.path().join("conf.d/a.toml");

        std::fs::create_dir(&files[1]).unwrap();
        std::fs::write(folder.path().join("conf.d/.#a.toml"), "an editor's").unwrap();
        assert_eq!(content(&files), seen[0]);
        for text in ["one", "two"] {
            std::fs::write(&more, text).unwrap();
            seen.push(content(&files));
        }
        std::fs::remove_file(&more).unwrap();

        assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
        assert_eq!(content(&files), seen[0]);
    }

    #[test]
    fn a_link_is_watched_where_it_stands_and_where_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        std::fs::write(root.join("data/b.toml"), "").unwrap();
        std::os::unix::fs::symlink(root.join("data/b.toml"), root.join("bursar.toml")).unwrap();

        assert_eq!(folders_of(&root.join("bursar.toml")), [root.clone(), root.join("data")].into());
        assert!(folders_of(&root.join("none/bursar.toml")).is_empty());
    }
}
