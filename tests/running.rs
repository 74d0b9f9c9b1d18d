//! The running program and its configuration: files that are exchanged, SIGHUP, `bursar reload` and `config diff`.
//!
//! What the process did is read from its log lines, so nothing is waited for that does not come.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a log line; it only ends tests that have failed already.
const PATIENCE: Duration = Duration::from_secs(60);
const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar");

struct Running {
    folder: TempDir,
    child: Child,
    lines: Receiver<String>,
    options: Vec<&'static str>,
}

impl Running {
    /// Starts the program in `folder` and waits until it serves.
    fn start(folder: TempDir, options: &[&'static str]) -> Self {
        let mut command = command(folder.path(), options);
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut running = Self { folder, child, lines, options: options.to_vec() };
        running.wait_for(&["ready"]);
        running
    }

    /// Reads log lines up to the first that has all of `parts`, and returns it.
    fn wait_for(&mut self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
        panic!("the process did not say {parts:?}:\n{}", seen.join("\n"));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(self.folder.path(), &self.options).args(arguments).output().unwrap()
    }

    /// Runs a command that succeeds and prints JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Puts a new file in the place of an old one, as editors do.
    fn exchange(&self, name: &str, text: &str) {
        let beside = self.folder.path().join("new~");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.folder.path().join(name)).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().current_dir(folder).args(["--data", "data"]).args(options);
    command
}

fn with_aliases(names: &[&str]) -> String {
    let alias =
        |name: &&str| format!("[models.alias.{name}]\ntargets = [{{ provider = 'play', model = 'demo-small' }}]\n");
    format!("[providers.play]\nkind = 'demo'\n{}", names.iter().map(alias).collect::<String>())
}

fn paths(answer: &Value) -> Vec<(&str, bool)> {
    let changes = answer["changes"].as_array().unwrap().iter();
    changes.map(|change| (change["path"].as_str().unwrap(), change["needs_restart"] == true)).collect()
}

#[test]
fn a_saved_file_counts_at_once_and_a_faulty_one_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bursar.toml"), with_aliases(&["m"])).unwrap();
    let mut running = Running::start(folder, &[]);

    running.exchange("bursar.toml", &with_aliases(&["m", "n"]));
    running.wait_for(&["configuration reloaded", "\"cause\":\"file change\"", "\"changes\":2"]);

    fs::create_dir(running.folder.path().join("conf.d")).unwrap();
    running.exchange("conf.d/a.toml", "[server]\nlisen = 'x'\n");
    running.wait_for(&["conf.d/a.toml:2:1: unknown key `lisen`"]);
    running.wait_for(&["everything stays as it is"]);
    assert!(running.json(&["status"])["config_error"].as_str().unwrap().contains("conf.d/a.toml:2:1"));
    let refused = running.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("conf.d/a.toml:2:1: unknown key `lisen`") && said.contains("nothing was changed"), "{said}");
    assert_eq!(running.run(&["config", "diff"]).status.code(), Some(1));
    running.wait_for(&["everything stays as it is", "admin API"]);

    running.exchange("conf.d/a.toml", "[server]\nworkers = 7\nmax_body = '3MB'\n");
    running.wait_for(&["server.workers has changed, which counts after a restart"]);
    running.wait_for(&["configuration reloaded", "file change"]);
    assert_eq!(running.json(&["status"])["config_error"], Value::Null);
    assert_eq!(paths(&running.json(&["config", "diff"])), [("server.workers", true)]);
    let table = String::from_utf8(running.run(&["reload"]).stdout).unwrap();
    assert!(table.contains("server.workers") && table.contains("after a restart"), "{table}");
}

#[test]
fn kubernetes_changes_a_file_by_turning_a_link_to_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("mounted");
    for (version, aliases) in [("..1", ["m"].as_slice()), ("..2", &["m", "n"])] {
        fs::create_dir_all(mounted.join(version)).unwrap();
        fs::write(mounted.join(version).join("bursar.toml"), with_aliases(aliases)).unwrap();
    }
    symlink("..1", mounted.join("..data")).unwrap();
    symlink("..data/bursar.toml", mounted.join("bursar.toml")).unwrap();
    let mut running = Running::start(folder, &["--config", "mounted/bursar.toml"]);

    symlink("..2", mounted.join("..data_tmp")).unwrap();
    fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();

    running.wait_for(&["configuration reloaded", "file change", "\"changes\":2"]);
}

#[test]
fn a_hangup_and_the_reload_command_read_the_files_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bursar.toml"), with_aliases(&["m"])).unwrap();
    let mut running = Running::start(folder, &[]);

    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    running.wait_for(&["configuration reloaded", "SIGHUP", "\"changes\":0"]);

    assert_eq!(paths(&running.json(&["reload"])), []);
    let nothing = running.run(&["config", "diff"]);
    assert_eq!(String::from_utf8_lossy(&nothing.stdout), "nothing differs from what is running\n");
}
