//! A child process whose output is kept, and which does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wait;

/// A running program. Dropped, it is asked to stop and then killed; when the test fails, its output is printed.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `command`, without standard input.
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let lines = Arc::default();
        keep(child.stdout.take().unwrap(), &lines);
        keep(child.stderr.take().unwrap(), &lines);
        Self { name: name.to_owned(), child, lines }
    }

    /// Both outputs so far, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that contains `needle`, as soon as there is one. Fails when the program ends before.
    pub async fn line(&mut self, needle: &str) -> String {
        let what = format!("{} prints `{needle}`", self.name);
        wait::until_some(&what, || {
            let ended = self.child.try_wait().unwrap();
            let found = self.lines().into_iter().find(|line| line.contains(needle));
            if found.is_none()
                && let Some(status) = ended
            {
                // What was printed last may still be on its way through the pipe.
                if wait::blocking(Duration::from_secs(1), || self.lines().iter().any(|l| l.contains(needle)))
                {
                    return None;
                }
                panic!("{} ended ({status}) before: {what}\n{}", self.name, self.lines().join("\n"));
            }
            found
        })
        .await
    }

    /// Sends a signal by name (`TERM`, `HUP`).
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(status.success(), "no signal {signal} to {}", self.name);
    }

    /// How the program ended, once it has.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait::until_some(&what, || self.child.try_wait().unwrap()).await
    }

    /// Whether the program is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn stop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // Programs with children of their own (gunicorn) end them when they are asked to stop.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let child = &mut self.child;
        if !wait::blocking(Duration::from_secs(2), || child.try_wait().is_ok_and(|ended| ended.is_some())) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("---- output of {}\n{}\n----", self.name, self.lines().join("\n"));
        }
    }
}

/// Keeps the lines of a pipe, on a thread of its own, until the program closes it.
fn keep(pipe: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            lines.lock().unwrap().push(line);
        }
    });
}
