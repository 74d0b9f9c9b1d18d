//! Starts what is measured: the mock upstream, the gateway before it and, where installed, nginx as a plain proxy.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load::{Connection, Target};
use crate::process::Guarded;

/// Set in the environment of the child that plays the upstream.
pub const MOCK_ENV: &str = "BURSAR_BENCH_MOCK";

const CLIENT_KEY: &str = "sk-bursar-benchbench01-0123456789abcdef0123456789abcdef";
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// A started process with its address, its folder and what to send to it.
pub struct Running {
    pub target: Target,
    process: Guarded,
    folder: TempDir,
}

/// Which program stands between client and mock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Bursar,
    Nginx,
}

/// Starts the mock and returns it with the address it listens on.
pub fn start_mock() -> io::Result<(Guarded, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(MOCK_ENV, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut mock = Guarded::spawn(&mut command)?;
    let stdout = mock.child().stdout.take().ok_or_else(|| io::Error::other("the mock has no stdout"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.trim().parse().map_err(|_| io::Error::other("the mock named no port"))?;
    Ok((mock, loopback(port)))
}

/// Returns whether `name` stands on `PATH`.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

impl Program {
    /// Starts the program in a fresh folder before the mock at `upstream`, without waiting for it.
    pub fn start(self, upstream: SocketAddr) -> io::Result<Running> {
        let folder = TempDir::new()?;
        let address = free_address()?;
        let mut command = self.command(folder.path(), address, upstream)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path().join("stderr"))?);
        let process = Guarded::spawn(&mut command)?;
        let (label, headers) = match self {
            Self::Bursar => ("bursar", vec![("authorization", format!("Bearer {CLIENT_KEY}"))]),
            Self::Nginx => ("nginx", vec![]),
        };
        let target = Target { label, address, headers, pid: Some(process.pid()) };
        Ok(Running { target, process, folder })
    }

    fn command(self, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> io::Result<Command> {
        match self {
            Self::Bursar => {
                let config = folder.join("bursar.toml");
                fs::write(&config, bursar_config(&folder.join("data"), upstream))?;
                let mut command = Command::new(env!("CARGO_BIN_EXE_bursar"));
                // A clean environment: BURSAR__* or a provider's key of the developer must not change what is measured.
                command.env_clear().current_dir(folder);
                command.arg("serve").arg("--config").arg(config).args(["--listen", &address.to_string()]);
                Ok(command)
            }
            Self::Nginx => {
                let config = folder.join("nginx.conf");
                fs::write(&config, nginx_config(folder, address, upstream))?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(config).arg("-e").arg(folder.join("error.log"));
                Ok(command)
            }
        }
    }
}

impl Running {
    /// Waits until `GET /readyz` is answered with 200; an error shows what the process wrote.
    pub async fn ready(&mut self) -> io::Result<()> {
        let request = format!("GET /readyz HTTP/1.1\r\nhost: {}\r\n\r\n", self.target.address);
        self.first_success(request.as_bytes(), Duration::from_millis(5)).await
    }

    /// Asks every `pause` until `request` is answered with 200.
    pub async fn first_success(&mut self, request: &[u8], pause: Duration) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let error = match Connection::open(self.target.address).await {
                Ok(mut connection) => match connection.ask(request).await {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if self.process.has_ended() || Instant::now() >= deadline {
                let stderr = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
                let ended = if self.process.has_ended() { "ended" } else { "is not ready after 15 s" };
                return Err(io::Error::other(format!("{} {ended} ({error}): {}", self.target.label, stderr.trim())));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(loopback(0))?.local_addr()
}

/// One provider, one key, one alias, one client key that must be presented; the access log off, metrics on.
fn bursar_config(data: &Path, upstream: SocketAddr) -> String {
    format!(
        r#"version = 1

[storage]
path = "{data}"

[providers.mock]
kind            = "openai_compatible"
base_url        = "http://{upstream}/v1"
max_concurrency = 4096

[[providers.mock.keys]]
id    = "main"
value = "sk-mock-0123456789"

[models.alias.bench]
targets = [{{ provider = "mock", model = "gpt-4o-mini" }}]

[teams.bench]
name   = "Bench"
models = ["bench"]

[[client_keys]]
id    = "bench"
team  = "bench"
value = "{CLIENT_KEY}"

[telemetry.logs]
access_log = false
level      = "warn"
"#,
        data = data.display(),
    )
}

/// The least a proxy can do: keep-alive on both sides, nothing buffered, nothing logged.
fn nginx_config(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\nworker_processes auto;\nworker_rlimit_nofile 8192;\npid {folder}/nginx.pid;\n\
         error_log {folder}/error.log crit;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 100000000;\n\
         client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n\
         upstream mock {{ server {upstream}; keepalive 1024; keepalive_requests 100000000; }}\n\
         server {{\n    listen {address} reuseport backlog=4096;\n    location / {{\n      proxy_pass http://mock;\n\
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n    }}\n  }}\n}}\n"
    )
}
