//! The rules of the house: who may import whom, who may ask the time, and what every file looks like.
//!
//! A file imports only from lower levels, or from lower files of its own level (which is to say: without a circle).
//! Each rule is a pure function over source text, and is itself shown to find an offender.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

#[path = "house/scan.rs"]
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use scan::{imports, without_comments_and_strings};

/// The levels, lowest first. A new module of the crate's root has to find its place here.
const LEVELS: [&[&str]; 8] = [
    &["clock", "error", "metrics", "http", "config::pattern"],
    &["policy"],
    &["identity", "key", "stored", "tag", "config"],
    &["store", "purge"],
    &["cache"],
    &["proxy"],
    &["control"],
    &["server", "app", "lib", "main", "cli", "demo", "layer", "shared"],
];

/// The longest that a file may be, in lines, without its tests.
const MAX_LINES: usize = 450;

/// Files that may be longer, how long, and why.
const LONGER: [(&str, usize, &str); 1] = [(
    "config/mod.rs",
    620,
    "one list of plain types, each field with its documentation; no code to get lost in",
)];

/// What only `clock.rs` may say.
const CLOCKS: [&str; 3] = ["Instant::now", "SystemTime::now", "clock_gettime"];

/// What nobody may say.
const UNFINISHED: [&str; 2] = ["todo!", "unimplemented!"];

/// A source file: its path below `src`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The module that the file is: `proxy::route` for `proxy/route.rs`, `config` for `config/mod.rs`.
    fn module(&self) -> String {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.replace('/', "::")
    }

    /// What the compiler sees outside of tests: no comments, no contents of strings, no unit tests.
    fn code(&self) -> String {
        let code = without_comments_and_strings(&self.text);
        code[..end_of_code(&code)].to_owned()
    }
}

/// Where the unit tests of a file begin, or its end.
fn end_of_code(text: &str) -> usize {
    let is_test_module = |at: &usize| {
        let mut lines = text[*at..].lines().skip_while(|line| line.starts_with("#["));
        lines.next().is_some_and(|line| line.starts_with("mod ") && !line.ends_with(';'))
    };
    let mut starts = text.match_indices("#[cfg(test)]").map(|(at, _)| at);
    starts.find(is_test_module).unwrap_or(text.len())
}

// ---- The rules.

/// Imports that go up, and circles within a level.
fn check_levels(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<String> = sources.iter().map(Source::module).collect();
    let mut complaints = Vec::new();
    let mut sideways: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Unit tests in a file of their own may reach anywhere, as those within a file may.
    for source in sources.iter().filter(|source| !source.module().ends_with("::tests")) {
        let module = source.module();
        let Some(level) = level_of(&module) else {
            complaints.push(format!("src/{}: the module has no level in tests/house.rs", source.path));
            continue;
        };
        for path in imports(&source.code(), &module) {
            let target = module_of(&path, &modules);
            // A file may name itself.
            if target == module {
                continue;
            }
            match level_of(&target) {
                None => complaints.push(format!("src/{}: {path} has no level", source.path)),
                Some(other) if other > level => complaints.push(format!(
                    "src/{} (level {level}) imports crate::{path} (level {other})",
                    source.path
                )),
                // A folder's first file and the files beside it are one thing: types above, parts below.
                Some(other) if other == level && !is_family(&module, &target) => {
                    sideways.entry(module.clone()).or_default().insert(target);
                }
                Some(_) => {}
            }
        }
    }
    complaints.extend(circles(&sideways));
    complaints
}

/// `Instant::now` and its like outside of `clock.rs`, also in tests.
fn check_clocks(source: &Source) -> Vec<String> {
    if source.path == "clock.rs" {
        Vec::new()
    } else {
        words(source, &CLOCKS, "only clock.rs may ask the time")
    }
}

/// Unfinished work.
fn check_finished(source: &Source) -> Vec<String> {
    words(source, &UNFINISHED, "unfinished")
}

/// A file starts by saying what it is for; only inner attributes may come before.
fn check_head(source: &Source) -> Option<String> {
    let mut lines = source.text.lines().skip_while(|line| line.starts_with("#!"));
    let first = lines.next().unwrap_or("");
    let says_something = first.strip_prefix("//!").is_some_and(|text| text.trim().len() > 10);
    (!says_something).then(|| format!("{}: does not start with `//!` and what it is for", source.path))
}

/// A file is short enough to be read.
fn check_length(source: &Source) -> Option<String> {
    let longer = LONGER.iter().find(|(path, ..)| *path == source.path);
    let max = longer.map_or(MAX_LINES, |(_, max, _)| *max);
    let lines = source.text[..end_of_code(&source.text)].lines().count();
    (lines > max).then(|| format!("{}: {lines} lines, more than {max}", source.path))
}

// ---- How they look at the code.

fn level_of(module: &str) -> Option<usize> {
    // The longest entry that the module lies in: `config::pattern` is lower than `config`.
    let entry = |(level, names): (usize, &&[&str])| {
        let fitting = names.iter().filter(|name| is_within(module, name));
        fitting.map(|name| (name.len(), level)).max()
    };
    LEVELS.iter().enumerate().filter_map(entry).max().map(|(_, level)| level)
}

fn is_within(module: &str, outer: &str) -> bool {
    module.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_family(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

/// The module that an imported path lies in: the longest beginning of it that is a file; the root is `lib`.
fn module_of(path: &str, modules: &BTreeSet<String>) -> String {
    let mut rest = path;
    loop {
        if modules.contains(rest) {
            return rest.to_owned();
        }
        match rest.rsplit_once("::") {
            Some((shorter, _)) => rest = shorter,
            // Not a file: a name of the root, or a module that is not there.
            None => return if level_of(rest).is_some() { rest.to_owned() } else { "lib".to_owned() },
        }
    }
}

fn words(source: &Source, words: &[&str], why: &str) -> Vec<String> {
    let code = without_comments_and_strings(&source.text);
    let mut complaints = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(**word)) {
            complaints.push(format!("{}:{}: {word}: {why}", source.path, number + 1));
        }
    }
    complaints
}

/// The circles among modules of one level, each once, named from its first module.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in imports.keys() {
        let mut paths = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while let Some(path) = paths.pop() {
            for next in path.last().and_then(|last| imports.get(last)).into_iter().flatten() {
                if next == start {
                    // Only the name that sorts first reports the circle.
                    if path.iter().all(|module| module >= start) {
                        found.insert(format!("a circle: {} -> {start}", path.join(" -> ")));
                    }
                } else if seen.insert(next.clone()) {
                    paths.push([path.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
    }
    found
}

// ---- The house.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources_below(folder: &str) -> Vec<Source> {
    let folder = root().join(folder);
    let mut sources = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(read(&path, &folder));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn read(path: &Path, folder: &Path) -> Source {
    let below = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
    Source { path: below, text: std::fs::read_to_string(path).unwrap() }
}

fn assert_none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_file_imports_only_from_lower_levels() {
    let sources = sources_below("src");
    assert!(sources.len() > 5, "the sources were not found");
    assert_none(check_levels(&sources));
}

#[test]
fn only_the_clock_asks_the_time() {
    assert_none(sources_below("src").iter().flat_map(check_clocks));
    // Tests measure with the same clock.
    assert_none(sources_below("tests").iter().flat_map(check_clocks));
}

#[test]
fn nothing_is_left_unfinished() {
    for folder in ["src", "tests", "benches", "examples"] {
        assert_none(sources_below(folder).iter().flat_map(check_finished));
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for folder in ["src", "tests", "benches", "examples"] {
        assert_none(sources_below(folder).iter().filter_map(check_head));
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    let sources = sources_below("src");
    assert_none(sources.iter().filter_map(check_length));
    for (path, _, why) in LONGER {
        let source = sources.iter().find(|source| source.path == path);
        let lines = source.map_or(0, |source| source.text.lines().count());
        assert!(lines > MAX_LINES, "{path} needs no exception any more ({why})");
    }
}

#[test]
fn the_crate_has_no_unsafe_code() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(lib.contains("#![forbid(unsafe_code)]"));
}

// ---- The rules themselves.

/// A small house that keeps the rules, with one more file.
fn house_with(path: &str, text: &str) -> Vec<Source> {
    vec![
        Source::new("lib.rs", "pub mod clock;"),
        Source::new("clock.rs", "pub struct Now;"),
        Source::new("config/mod.rs", "pub mod pattern; pub use pattern::Path; use crate::clock::Now;"),
        Source::new("config/pattern.rs", "pub struct Path;"),
        Source::new("cache.rs", "use crate::config::{Route, pattern::Path};"),
        Source::new("proxy/mod.rs", "pub mod route; pub mod service;"),
        Source::new("proxy/route.rs", "use crate::{cache, config};"),
        Source::new("proxy/service.rs", "use super::route::Table; use crate::cache::Cache;"),
        Source::new(path, text),
    ]
}

#[test]
fn an_import_that_goes_up_is_found() {
    assert_none(check_levels(&house_with("key.rs", "use crate::config::Route;")));
    for offence in [
        "use crate::cache::Cache;",
        "use crate::{clock::Now, config::{self, Route}, proxy::{route::Table, service}};",
        "use crate::{\n    clock::*,\n    cache::*,\n};",
        "fn f() -> crate::proxy::route::Table { loop {} }",
        "use crate::Everything;",
        "use super::proxy::route;",
        "use self::super::cache as store;",
        "#[cfg(test)]\nmod tests;\nuse crate::cache::Cache;",
        "mod inner {\n    fn f() { use super::super::cache::Cache; }\n}",
        "const C: char = '\"'; use crate::cache::Cache; const D: &str = \"\";",
    ] {
        let complaints = check_levels(&house_with("key.rs", offence));
        assert_eq!(
            complaints.len(),
            1 + usize::from(offence.contains("service")),
            "{offence}: {complaints:?}"
        );
        assert!(complaints.iter().all(|c| c.contains("src/key.rs (level 2) imports")), "{complaints:?}");
    }
}

#[test]
fn the_lowest_file_of_a_folder_may_be_lower_than_its_folder() {
    assert_none(check_levels(&house_with("http/mod.rs", "use crate::config::pattern::Path;")));
    assert_eq!(check_levels(&house_with("http/mod.rs", "use crate::config::Route;")).len(), 1);
}

#[test]
fn comments_strings_and_unit_tests_import_nothing() {
    for text in [
        "//! See [`crate::cache`].\n/* use crate::cache::Cache; /* crate::cache::X */ crate::cache::Y */",
        "const A: &str = \"use crate::cache::Cache; \\\" crate::cache::X\";",
        "const A: &str = r#\"use \"crate::cache::Cache\";\"#;",
        "fn f<'a>(a: &'a str) -> &'a str { a }\n#[cfg(test)]\nmod tests {\n    use crate::cache::Cache;\n}",
        "struct A;\n#[cfg(test)]\n#[allow(dead_code)]\nmod tests {\n    use crate::cache::Cache;\n}",
        "struct A;\nmod inner {\n    use super::A;\n    use self::super::A as B;\n}",
    ] {
        assert_none(check_levels(&house_with("key.rs", text)));
    }
}

#[test]
fn a_circle_within_a_level_is_found() {
    let fine = "use super::route::Table; use crate::proxy::service::S;";
    assert_none(check_levels(&house_with("proxy/fill.rs", fine)));
    let mut circle = house_with("proxy/fill.rs", "use crate::proxy::service::S;");
    circle[6].text.push_str("use super::fill::Fill;");
    let complaints = check_levels(&circle);
    let expected = "a circle: proxy::fill -> proxy::service -> proxy::route -> proxy::fill";
    assert_eq!(complaints, [expected]);
}

#[test]
fn a_module_without_a_level_is_found() {
    let complaints = check_levels(&house_with("attic.rs", ""));
    assert!(complaints[0].contains("src/attic.rs: the module has no level"), "{complaints:?}");
}

#[test]
fn a_bare_clock_and_unfinished_work_are_found() {
    let offender =
        Source::new("key.rs", "//! A key.\nfn f() {\n    let t = std::time::Instant::now();\n    todo!()\n}");
    assert_eq!(check_clocks(&offender), ["key.rs:3: Instant::now: only clock.rs may ask the time"]);
    assert_eq!(check_finished(&offender), ["key.rs:4: todo!: unfinished"]);
    let clock = Source::new("clock.rs", &offender.text);
    assert!(check_clocks(&clock).is_empty());
    let comment = Source::new("key.rs", "// Instant::now() and todo!() are not allowed\n");
    assert!(check_clocks(&comment).is_empty() && check_finished(&comment).is_empty());
}

#[test]
fn a_file_without_a_head_or_too_long_is_found() {
    assert!(check_head(&Source::new("key.rs", "use std::fmt;\n//! A key.")).is_some());
    assert!(check_head(&Source::new("key.rs", "//!\nuse std::fmt;")).is_some());
    assert!(check_head(&Source::new("lib.rs", "#![forbid(unsafe_code)]\n//! Larder is a cache.")).is_none());
    let long = "//! Long.\n".repeat(MAX_LINES);
    assert!(check_length(&Source::new("key.rs", &long)).is_none());
    assert!(check_length(&Source::new("key.rs", &format!("{long}\n"))).is_some());
    let with_tests = format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(check_length(&Source::new("key.rs", &with_tests)).is_none(), "tests do not count");
}
