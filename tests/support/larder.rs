//! The built binary, run as an operator runs it: a YAML file, an environment, its own port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use tempfile::TempDir;

use super::process::Process;
use super::wait;

/// How a Larder is to be started.
#[derive(Default)]
pub struct Setup {
    yaml: String,
    holes: BTreeMap<String, String>,
    files: Vec<(String, Vec<u8>)>,
    env: Vec<(String, String)>,
    listeners: usize,
}

impl Setup {
    /// Puts `value` for `{name}` in the YAML.
    pub fn put(mut self, name: &str, value: impl ToString) -> Self {
        self.holes.insert(name.to_owned(), value.to_string());
        self
    }

    /// Puts the origin's URL for `{origin}`.
    pub fn origin(self, origin: &super::Origin) -> Self {
        self.put("origin", origin.url())
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file beside the YAML (keys, certificates).
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// How many addresses `listen` names, when it is more than one.
    pub fn listeners(mut self, n: usize) -> Self {
        self.listeners = n;
        self
    }

    /// Starts it and returns once it listens.
    pub async fn start(self) -> Larder {
        let listeners = self.listeners.max(1);
        let (dir, file, env) = self.write();
        let mut command = command(dir.path());
        command.arg("run").arg("-c").arg(&file).envs(env);
        let has_admin = std::fs::read_to_string(&file).unwrap().lines().any(|l| l.starts_with("admin:"));
        let process = Process::start("larder", command);
        Larder::ready(process, dir, file, listeners, has_admin).await
    }

    /// Runs another command over the same file to its end: `args` with `FILE` replaced by its path.
    pub async fn command(self, args: &[&str]) -> Output {
        let (dir, file, env) = self.write();
        let mut command = command(dir.path());
        command.envs(env);
        for arg in args {
            if *arg == "FILE" {
                command.arg(&file)
            } else {
                command.arg(arg)
            };
        }
        output(command).await
    }

    fn write(self) -> (TempDir, PathBuf, Vec<(String, String)>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("larder.yaml");
        let mut yaml = self.yaml;
        for (name, value) in self.holes {
            yaml = yaml.replace(&format!("{{{name}}}"), &value);
        }
        std::fs::write(&file, with_listen(yaml)).unwrap();
        for (name, content) in self.files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        (dir, file, self.env)
    }
}

/// The file, listening on a free port where it does not say where.
fn with_listen(yaml: String) -> String {
    if yaml.lines().any(|line| line.starts_with("listen:")) {
        yaml
    } else {
        format!("listen: 127.0.0.1:0\n{}", yaml.trim_start_matches('\n'))
    }
}

/// The binary, without what this process' environment would make it do differently.
fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.current_dir(dir).env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
    command
}

async fn output(command: Command) -> Output {
    let mut command = tokio::process::Command::from(command);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    wait::within("a command of larder ends", command.output()).await.unwrap()
}

/// A running Larder. Dropped, it stops.
pub struct Larder {
    process: Process,
    dir: TempDir,
    file: PathBuf,
    urls: Vec<String>,
    admin: Option<String>,
}

impl Larder {
    /// A Larder with this configuration; `listen` may be left out.
    pub fn with(yaml: &str) -> Setup {
        Setup { yaml: yaml.to_owned(), ..Setup::default() }
    }

    /// `larder run` with these arguments instead of a file. It is to listen on one address, and no admin address.
    pub async fn run(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path());
        command.arg("run").args(args);
        let file = dir.path().join("larder.yaml");
        Self::ready(Process::start("larder", command), dir, file, 1, false).await
    }

    /// Runs `larder` with these arguments to its end.
    pub async fn command(args: &[&str]) -> Output {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path());
        command.args(args);
        output(command).await
    }

    async fn ready(mut process: Process, dir: TempDir, file: PathBuf, n: usize, has_admin: bool) -> Self {
        const LISTENING: &str = "listening on http";
        const ADMIN: &str = "admin on http";
        process.line(LISTENING).await;
        wait::until("larder listens on all its addresses", || urls_after(&process, LISTENING).len() >= n)
            .await;
        if has_admin {
            process.line(ADMIN).await;
        }
        let urls = urls_after(&process, LISTENING);
        let admin = urls_after(&process, ADMIN).pop();
        Self { process, dir, file, urls, admin }
    }

    /// The URL of a path (and query) on the first listener.
    pub fn url(&self, path: &str) -> String {
        self.url_on(0, path)
    }

    /// The URL of a path on another listener, in the order in which they were printed.
    pub fn url_on(&self, listener: usize, path: &str) -> String {
        format!("{}{path}", self.urls[listener])
    }

    /// The URL of a path on the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.admin.as_ref().expect("this larder has no admin listener"))
    }

    /// The first listener's address.
    pub fn addr(&self) -> SocketAddr {
        self.authority().parse().unwrap()
    }

    /// The first listener's host and port, as in a `Host` field.
    pub fn authority(&self) -> &str {
        self.urls[0].split_once("://").unwrap().1
    }

    /// The folder that holds the configuration file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What it has printed so far.
    pub fn logs(&self) -> Vec<String> {
        self.process.lines()
    }

    /// The first line of the log that contains `needle`, as soon as there is one.
    pub async fn log(&mut self, needle: &str) -> String {
        self.process.line(needle).await
    }

    /// The process itself: signals, whether it runs, its id.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to stop, as an operator does, and returns once it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.ended().await
    }
}

/// The URLs that follow `words` in what was printed; `words` ends with the URL's `http`.
fn urls_after(process: &Process, words: &str) -> Vec<String> {
    let is_url = |c: char| c.is_ascii_alphanumeric() || ":/.-[]".contains(c);
    let url = |line: &String| {
        let (_, rest) = line.split_once(words)?;
        let end = rest.find(|c| !is_url(c)).unwrap_or(rest.len());
        Some(format!("http{}", rest[..end].trim_end_matches(['/', '.'])))
    };
    process.lines().iter().filter_map(url).collect()
}
