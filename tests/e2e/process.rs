//! The real program as a child process in a folder of its own, with everything it writes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::harness::SOON;

/// A folder with a configuration, from which the program can be run.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bursar.toml"), settings).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the token that the first start made.
    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(self.data().join("admin-token")).unwrap()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the command, with no environment but what a test adds.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bursar"));
        command.args(arguments).env_clear().current_dir(self.folder.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts serving on a free port; returns once the program says that it is ready.
    #[track_caller]
    pub fn serve(&self, more: &[&str]) -> Program {
        self.spawn(more).ready()
    }

    /// Starts serving on a free port, and waits for nothing.
    pub fn begin(&self) -> Program {
        self.spawn(&[])
    }

    /// Starts serving on a free port, with words for people.
    pub fn serve_pretty(&self) -> Program {
        self.spawn(&["--set", "telemetry.logs.format=pretty"])
    }

    /// Starts serving with at most so many open files.
    #[track_caller]
    pub fn serve_with_files(&self, files: u32) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_bursar")]);
        command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().current_dir(self.folder.path());
        Program::begin(command).ready()
    }

    /// Starts serving with files of at most so many KiB; a write beyond fails instead of ending the program.
    #[track_caller]
    pub fn serve_with_small_files(&self, kib: u32) -> Program {
        let mut command = Command::new("bash");
        let limited = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_bursar")]);
        command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().current_dir(self.folder.path());
        Program::begin(command).ready()
    }

    /// Starts serving on a free port, with words for people; returns once it says where.
    #[track_caller]
    pub fn serve_pretty_with_address(&self) -> Program {
        let mut program = self.serve_pretty();
        let line = program.wait_for_line("http://127.0.0.1:");
        let address = line.split("http://").nth(1).and_then(|url| url.split('/').next());
        program.address = address.unwrap().parse().unwrap();
        program
    }

    fn spawn(&self, more: &[&str]) -> Program {
        Program::begin(self.command(&[&["serve", "--listen", "127.0.0.1:0"], more].concat()))
    }
}

/// The program, serving; killed when dropped.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    log: String,
    pub address: SocketAddr,
}

impl Program {
    fn begin(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, log: String::new(), address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    #[track_caller]
    fn ready(mut self) -> Self {
        let ready = self.wait_for_line("\"message\":\"ready\"");
        let ready: Value = serde_json::from_str(&ready).unwrap();
        self.address = ready["listen"].as_str().unwrap().parse().unwrap();
        self
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::of(self.address)
    }

    /// Waits for a line of the log that holds `part`.
    #[track_caller]
    pub fn wait_for_line(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(SOON) else { panic!("no `{part}` in:\n{}", self.log) };
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; returns how it ended and all that was logged.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, String) {
        // The channel closes with the program's standard error, which is when it ends.
        loop {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => self.log += &(line + "\n"),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the program does not end; it logged:\n{}", self.log),
            }
        }
        assert!(!self.log.contains("panicked"), "{}", self.log);
        (self.child.wait().unwrap(), std::mem::take(&mut self.log))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
