//! The verifier in Python, run as one process that is asked many times.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::audit::export::VERIFIER;

const ASK: &str = "
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import verify
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(verify.verify(asked['folder'], asked['key'], asked['checkpoint'])), flush=True)
";

pub struct Python {
    child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
    _home: TempDir,
}

impl Python {
    /// Starts the verifier; none, and a note, where Python is missing.
    pub fn start() -> Option<Self> {
        let home = tempfile::tempdir().expect("a temporary folder");
        fs::write(home.path().join("verify.py"), VERIFIER).expect("a file");
        let mut command = Command::new("python3");
        command.args(["-c", ASK]).arg(home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("python3 is missing: the verifier in Python was not tested");
            return None;
        };
        let asked = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Some(Self { child, asked, answers, _home: home })
    }

    /// Returns exit code, words and first bad record.
    pub fn ask(&mut self, folder: &Path, trusted: &Trusted) -> (u8, String, Option<u64>) {
        let key = trusted.key.map(|key| key.text(&crate::audit::checkpoint::origin(LOG)));
        let asked = json!({ "folder": folder, "key": key, "checkpoint": trusted.checkpoint });
        writeln!(self.asked, "{asked}").expect("python listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("python answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Fails unless both verifiers say the same; returns what.
    pub fn agrees(&mut self, folder: &Path, trusted: &Trusted, what: &str) -> (u8, Option<u64>) {
        let rust = verify_export(folder, trusted, &mut |_, _| {});
        let (exit, words, index) = self.ask(folder, trusted);
        assert_eq!(code(&rust), (exit, index), "{what}: {:?}, but Python says: {words}", rust.outcome);
        (exit, index)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_verifier_that_goes_along_runs_as_it_is_described() {
    let (_home, folder) = exported();
    let run = |arguments: &[&str]| {
        let output = Command::new("python3").arg("-B").arg("verify.py").args(arguments).current_dir(&folder).output();
        output.ok().map(|output| (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let key = key(1).verifying().text(&crate::audit::checkpoint::origin(LOG));

    let Some((exit, words)) = run(&[".", "--key", &key, "--checkpoint", "checkpoint.txt"]) else { return };

    assert_eq!(exit, Some(0), "{words}");
    assert!(words.starts_with("ok: 28 records of 28 in [5, 33)"), "{words}");
    assert_eq!(run(&[".", "--key", "nonsense"]).unwrap().0, Some(2));
    assert_eq!(run(&["nowhere"]).unwrap().0, Some(2));
    assert_eq!(run(&[]).unwrap().0, Some(2));
    fs::write(folder.join("leaves.bin"), "").unwrap();
    assert_eq!(run(&["."]).unwrap().0, Some(1));
}
