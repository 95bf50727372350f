//! The Django application of `tests/apps/django/` under gunicorn, with a database of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::browser::Browser;
use super::process::Process;
use super::wait;

/// The password of every user of the application.
pub const PASSWORD: &str = "correct horse battery staple";

/// One line of the application's own log: a request that it answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct View {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The status.
    pub status: u16,
    /// Who was logged in, where the page looked.
    pub user: Option<String>,
    /// Whom that user works for, where the page looked.
    pub tenant: Option<String>,
}

/// The running application. Dropped, it stops, and its database is gone.
pub struct Django {
    process: Process,
    url: String,
    dir: TempDir,
}

impl Django {
    /// Starts it with the seeded tenants `acme` (ann, adam) and `bolt` (bea, bob), and the administrator `root`.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with variables of the environment.
    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        let python = environment().await.join("bin/python");
        let dir = tempfile::tempdir().unwrap();
        for task in ["migrate", "seed"] {
            let mut command = application(&python, &dir);
            command.args(["manage.py", task]);
            run(command, task).await;
        }
        let mut command = application(&python, &dir);
        command.args(["-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "4"]);
        command.envs(env.iter().copied());
        command.args(["--no-control-socket", "--graceful-timeout", "1", "backoffice.wsgi"]);
        let mut process = Process::start("gunicorn", command);
        let line = process.line("Listening at: ").await;
        let (_, rest) = line.split_once("Listening at: ").unwrap();
        let url = rest.split_whitespace().next().unwrap().to_owned();
        Self { process, url, dir }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every request that the application answered so far. Its line is written before its answer is sent.
    pub fn views(&self) -> Vec<View> {
        let text = std::fs::read_to_string(view_log(&self.dir)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How often a page was computed for members of a tenant.
    pub fn computed(&self, path: &str, tenant: &str) -> usize {
        let is_it = |view: &View| view.path == path && view.tenant.as_deref() == Some(tenant);
        self.views().iter().filter(|view| view.method == "GET" && is_it(view)).count()
    }

    /// How often a path was asked for, by anybody.
    pub fn asked(&self, path: &str) -> usize {
        self.views().iter().filter(|view| view.path == path).count()
    }
}

impl Browser {
    /// Logs in through the application's own form.
    pub async fn login(&mut self, user: &str) {
        self.login_at("/login/", user, PASSWORD).await;
        assert!(self.cookie("sessionid").is_some(), "{user} has no session");
    }

    /// Logs out with the button on the profile page.
    pub async fn logout(&mut self) {
        let answer = self.submit("/profile/", "/logout/", &[]).await;
        assert_eq!(answer.status, http::StatusCode::FOUND, "{}", answer.text());
        assert!(self.cookie("sessionid").is_none(), "the session's cookie is still there");
    }
}

/// The virtual environment; it is made when it is not there yet.
async fn environment() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/django-env");
    PathBuf::from(run(Command::new(script), "scripts/django-env").await.trim())
}

fn application(python: &Path, dir: &TempDir) -> Command {
    let mut command = Command::new(python);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/django"));
    command.env("DJANGO_SETTINGS_MODULE", "backoffice.settings");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("BACKOFFICE_DATABASE", dir.path().join("db.sqlite3"));
    command.env("BACKOFFICE_VIEW_LOG", view_log(dir));
    command
}

fn view_log(dir: &TempDir) -> PathBuf {
    dir.path().join("views.log")
}

/// Runs a program to its end and gives what it printed.
async fn run(command: Command, what: &str) -> String {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = wait::within(what, command.output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{what}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
