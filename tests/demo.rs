//! `larder demo`: what a new user sees. The lines that it prints are run as they are, by a shell, with a real curl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod support;

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use support::process::Process;
use support::wait;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");

/// A running demo.
struct Demo {
    process: Process,
    lines: Vec<String>,
}

impl Demo {
    async fn start(args: &[&str]) -> Self {
        let mut command = Command::new(LARDER);
        command.arg("demo").args(args);
        let mut process = Process::start("larder demo", command);
        process.line("Ctrl-C ends the demo").await;
        let lines: Vec<String> =
            process.lines().into_iter().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        Self { process, lines }
    }

    /// Pastes a line, by its number in the guide.
    async fn paste(&self, number: usize) -> Vec<Shown> {
        let mut shell = tokio::process::Command::new("sh");
        // A proxy of the machine's own is not part of the demo, and neither is a tester's configuration of curl.
        shell.arg("-c").arg(&self.lines[number - 1]).env("NO_PROXY", "*").env("CURL_HOME", "/nowhere");
        shell.env("HOME", "/nowhere").stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = wait::within("curl ends", shell.output()).await.unwrap();
        assert!(output.status.success(), "{}: {output:?}", self.lines[number - 1]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_inclusive(" s\n").map(Shown::read).collect()
    }

    async fn one(&self, number: usize) -> Shown {
        let mut shown = self.paste(number).await;
        assert_eq!(shown.len(), 1, "{shown:?}");
        shown.remove(0)
    }

    async fn stop(mut self) {
        self.process.signal("TERM");
        assert!(self.process.ended().await.success());
    }
}

/// What curl shows of one answer: the head, the body, the time.
#[derive(Debug)]
struct Shown {
    x_cache: String,
    body: Value,
    seconds: f64,
}

impl Shown {
    fn read(text: &str) -> Self {
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
        let body = text.lines().find(|line| line.starts_with('{')).unwrap();
        Self {
            x_cache: after("x-cache: ").to_owned(),
            body: serde_json::from_str(body).unwrap(),
            seconds: after("took ").trim_end_matches(" s").parse().unwrap(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.body[name].as_u64().unwrap_or_else(|| panic!("no number `{name}` in {}", self.body))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_four_lines_show_what_the_demo_says() {
    let demo = Demo::start(&[]).await;

    let miss = demo.one(1).await;
    assert_eq!((&*miss.x_cache, &miss.body["tenant"]), ("MISS", &Value::from("acme")));
    assert!(miss.seconds >= 0.8, "{miss:?}");

    let hit = demo.one(2).await;
    assert_eq!(hit.x_cache, "HIT");
    assert_eq!(hit.body, miss.body, "another user of the tenant gets the same answer");
    assert!(hit.seconds * 20.0 <= miss.seconds, "{} s after {} s", hit.seconds, miss.seconds);

    let other = demo.one(3).await;
    assert_eq!((&*other.x_cache, &other.body["tenant"]), ("MISS", &Value::from("globex")));
    assert!(other.seconds >= 0.8, "{other:?}");
    assert_ne!(other.number("computation"), miss.number("computation"));

    let both = demo.paste(4).await;
    let [write, fresh] = &both[..] else { panic!("{both:?}") };
    assert_eq!(write.x_cache, "BYPASS");
    assert_eq!(fresh.x_cache, "MISS");
    assert_eq!(fresh.number("items_in_stock"), miss.number("items_in_stock") + 5);
    assert!(fresh.number("computation") > other.number("computation"));

    // What the guide says of the lines after that.
    let again = demo.one(2).await;
    assert_eq!((again.x_cache, again.body), ("HIT".to_owned(), fresh.body.clone()));
    let untouched = demo.one(3).await;
    assert_eq!((untouched.x_cache, untouched.body), ("HIT".to_owned(), other.body));

    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_ports_are_replaced_and_the_lines_still_work() {
    // Somebody else may have them already: then they are taken, too.
    let _taken = (TcpListener::bind("127.0.0.1:8080"), TcpListener::bind("127.0.0.1:4001"));
    let demo = Demo::start(&[]).await;
    let guide = demo.process.lines().join("\n");
    assert!(guide.contains("127.0.0.1:8080 was taken"), "{guide}");
    assert!(demo.lines.iter().all(|line| !line.contains(":8080/")), "{guide}");
    assert!(!guide.contains("127.0.0.1:4001"), "{guide}");
    assert_eq!(demo.one(1).await.x_cache, "MISS");
    assert_eq!(demo.one(2).await.x_cache, "HIT");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_asked_for_is_taken_or_refused_never_replaced() {
    let demo = Demo::start(&["--listen", "0.0.0.0:0"]).await;
    assert!(demo.lines[0].contains("http://127.0.0.1:"), "{:?}", demo.lines);
    assert_eq!(demo.one(1).await.x_cache, "MISS");
    demo.stop().await;

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = tokio::process::Command::new(LARDER);
    command.args(["demo", "--listen", &address]).kill_on_drop(true);
    let output = wait::within("the demo gives up", command.output()).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("{address} cannot be listened on")), "{said}");
}
