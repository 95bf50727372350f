//! The snippets of `docs/webhooks.md` do what they say: the configuration is read, and the senders are run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod support;

use std::path::Path;
use std::process::Stdio;

use larder::config::Config;
use larder::config::read::ReadContext;
use serde_json::Value;
use support::{Larder, Origin, Reply, wait};

const PAGE: &str = include_str!("../docs/webhooks.md");
const SECRET: &str = "the secret of the page's senders";

/// The blocks of code in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(begin.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Runs a snippet against a Larder with the page's own configuration, and gives what it printed.
async fn run(program: &str, args: &[&str], snippet: &str) -> String {
    let origin = Origin::constant(|| Reply::ok("a page"));
    let folder = tempfile::tempdir().unwrap();
    let yaml = blocks("yaml")[0]
        .replace("http://127.0.0.1:8000", &origin.url())
        .replace("/var/lib/larder", folder.path().to_str().unwrap());
    let larder = Larder::with(&yaml).env("SHOP_WEBHOOK_SECRET", SECRET).start().await;
    let mut command = tokio::process::Command::new(program);
    command.args(args).arg(snippet).env("LARDER_URL", larder.url("")).env("SHOP_WEBHOOK_SECRET", SECRET);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = wait::within(program, command.output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test]
async fn the_line_with_curl_and_openssl_purges() {
    let printed = run("bash", &["-euc"], blocks("bash")[0]).await;
    let receipt: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(receipt["purged"]["patterns"][0], "inventory", "{printed}");
    assert_eq!(receipt["scope"], "tenant acme, public and global scopes");
}

#[tokio::test]
async fn the_sender_in_python_purges() {
    let printed = run("python3", &["-c"], blocks("python")[0]).await;
    assert!(printed.contains("'model': 'InventoryItem'") && printed.contains("'selectors': 3"), "{printed}");
}

#[test]
fn the_configuration_of_the_page_is_read() {
    for block in blocks("yaml") {
        let context = ReadContext::of(Path::new("larder.yaml")).with_env(|_| Some(SECRET.into()));
        Config::from_yaml(block, &context).unwrap_or_else(|errors| panic!("{errors:#?}"));
    }
}
