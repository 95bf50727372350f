//! The documentation says what the code does: generated tables are up to date, and what is referred to is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use larder::config::Config;
use larder::config::read::ReadContext;
use larder::policy::Reason;

const PAGES: [&str; 11] = [
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/cache-status.md",
    "docs/clustering.md",
    "docs/configuration.md",
    "docs/conformance.md",
    "docs/entry-format.md",
    "docs/webhooks.md",
    "docs/purging.md",
    "docs/performance.md",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The table of all reasons in Markdown.
fn reasons() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let row = |reason: &Reason| format!("| `{}` | {} |\n", reason.name(), cell(reason.meaning()));
    let rows: String = Reason::ALL.iter().map(row).collect();
    format!("| reason | meaning |\n|---|---|\n{rows}")
}

/// `docs/cache-status.md` holds the table between marks; `UPDATE_DOCS=1` writes it anew.
#[test]
fn the_table_of_reasons_is_that_of_the_code() {
    let path = "docs/cache-status.md";
    let (begin, end) = ("<!-- reasons -->\n", "<!-- end of reasons -->");
    let written = read(path);
    let from = written.find(begin).expect("a place for the table") + begin.len();
    let to = from + written[from..].find(end).expect("an end of the table");
    let mut fresh = written.clone();
    fresh.replace_range(from..to, &reasons());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, fresh).unwrap();
        return;
    }
    assert!(fresh == written, "{path} is out of date: run `UPDATE_DOCS=1 cargo test --test docs`");
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

/// What stands between single backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    // Blocks of code first: they are no references.
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2))
}

/// The targets of links to other files.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .filter_map(|target| target.split('#').next())
}

#[test]
fn every_file_that_a_page_names_is_there() {
    for page in PAGES {
        let text = read(page);
        let folder = Path::new(page).parent().unwrap();
        for link in links(&text) {
            assert!(folder.join(link).exists(), "{page} links to {link}");
        }
        let is_path = |name: &&str| {
            let known = ["src/", "tests/", "docs/", "config/examples/", "examples/", "scripts/"];
            known.iter().any(|start| name.starts_with(start)) && !name.contains([' ', '*', '…'])
        };
        for name in quoted(&text).filter(is_path) {
            assert!(Path::new(name).exists(), "{page} names {name}");
        }
    }
}

fn sources() -> String {
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("tests")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    all
}

/// The architecture names the test that holds each invariant: a test that is renamed or removed shows here.
#[test]
fn every_test_that_the_architecture_names_is_there() {
    let sources = sources();
    let text = read("docs/architecture.md");
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let mut named = 0;
    for name in quoted(&text).filter(is_test).filter(|name| !name.starts_with("stale_")) {
        assert!(sources.contains(&format!("fn {name}(")), "docs/architecture.md names the test {name}");
        named += 1;
    }
    assert!(named > 20, "{named} tests are named");
}

#[test]
fn the_configuration_on_the_pages_is_read() {
    let text = read("README.md") + &read("docs/clustering.md");
    let mut blocks = 0;
    for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let context = ReadContext::of(Path::new("larder.yaml"))
            .with_env(|name| Some(format!("a secret of the tests for {name}")));
        Config::from_yaml(block, &context).unwrap_or_else(|errors| panic!("{errors:#?}"));
        blocks += 1;
    }
    assert!(blocks > 0);
}
