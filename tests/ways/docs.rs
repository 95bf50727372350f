//! Every `curl` line of docs/purging.md is executed, in a shell, against a running Larder.

use super::{OPS, Setting, with};
use crate::support::wait;

/// The commands of the page: each `curl` with the lines that continue it.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string("docs/purging.md").unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let joined: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
    let lines = joined.iter().flat_map(|block| block.lines());
    lines.filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn f4_every_curl_line_of_the_page_on_purging_is_answered_with_a_receipt_or_figures() {
    let setting = Setting::new().await;
    let commands = commands();
    assert!(commands.len() >= 12, "{commands:#?}");
    for command in commands {
        setting.warm(&[&with("/t/page", &[("xkey", "stock")])], &["acme"]).await;
        let admin = setting.larder.admin_url("");
        let line = command.replace("http://127.0.0.1:8081", &admin);
        let line = line.replace("http://127.0.0.1:8080", &setting.larder.url(""));
        let mut shell = tokio::process::Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("{line} --silent --show-error --fail-with-body"))
            .env("LARDER_ADMIN_TOKEN", OPS);
        let output = wait::within(&command, shell.output()).await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{command}\n{text}");
        let answer: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}\n{text}\n{error}"));
        let number = |name: &str| answer[name].as_u64().is_some();
        assert!(number("seq") || number("count") || answer["status"] == "ok", "{command}\n{text}");
    }
}
