//! Child processes of the benchmark and what the kernel charges them: CPU, memory, system calls.
//!
//! All figures are for a process and its descendants, because nginx serves from workers. Linux only: they come from
//! `/proc` and from `strace`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel counts CPU time for `/proc/PID/stat` in hundredths of a second on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// A child that does not outlive its guard: asked to stop, and killed with its descendants 2 s later.
pub struct Guarded(Child);

impl Guarded {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Returns whether the child has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let pids = tree(self.pid());
        signal("TERM", &[self.pid()]);
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if self.has_ended() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        signal("KILL", &pids);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal by the shell's own `kill`: the standard library knows no signal but KILL.
fn signal(name: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {}", pids.join(" "));
    let _ = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null()).status();
}

/// Returns `pid` and all its descendants.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let tasks = fs::read_dir(format!("/proc/{}/task", found[next])).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// Returns the user and system time that the tree of `pid` has used so far, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Duration {
    let ticks = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name may hold spaces; the fields behind its parenthesis are counted from the third on.
        let mut fields = stat.rsplit_once(") ")?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
    };
    TICK * tree(pid).into_iter().filter_map(ticks).sum::<u32>()
}

/// Returns the tree's proportional set size in MiB: shared pages are counted once.
pub fn memory_mib(pid: u32) -> f64 {
    let kib = |pid: u32| -> Option<u32> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok())
    };
    f64::from(tree(pid).into_iter().filter_map(kib).sum::<u32>()) / 1024.0
}

/// `strace` attached to a tree, counting.
pub struct SyscallCount {
    strace: Guarded,
    // Held open: strace must not write its farewell into a closed pipe.
    _stderr: BufReader<ChildStderr>,
}

impl SyscallCount {
    /// Attaches; nothing where there is no `strace`, or no permission to trace. `summary` is where it will write.
    pub fn attach(pid: u32, summary: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-o"]).arg(summary);
        for pid in tree(pid) {
            command.args(["-p", &pid.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = Guarded::spawn(&mut command).ok()?;
        let mut stderr = BufReader::new(strace.child().stderr.take()?);
        for _ in tree(pid) {
            let mut line = String::new();
            stderr.read_line(&mut line).ok()?;
            if !line.contains("attached") {
                return None;
            }
        }
        Some(Self { strace, _stderr: stderr })
    }

    /// Detaches and returns how many calls were made since.
    pub fn finish(mut self, summary: &Path) -> Option<u64> {
        signal("INT", &[self.strace.pid()]);
        self.strace.child().wait().ok()?;
        // `% time  seconds  usecs/call  calls  errors  syscall`, a rule, one row each, a rule, the total.
        let rows = BufReader::new(File::open(summary).ok()?).lines().map_while(Result::ok);
        let calls = |row: String| -> Option<u64> {
            let fields: Vec<&str> = row.split_whitespace().collect();
            fields.first()?.parse::<f64>().ok()?;
            if fields.last() == Some(&"total") { None } else { fields.get(3)?.parse().ok() }
        };
        Some(rows.filter_map(calls).sum())
    }
}
