//! What is wrong with a configuration file: the place, the sentence, the line, and how to mend it.
//!
//! All errors of a file are collected and shown in the order of the file. A secret that somebody wrote into the
//! file is never shown: not in a message, and not in the line that an error quotes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::super::tree::{Kind, Node, Pos, Problem};
use super::suggest::distance;

/// The most characters of a line that are quoted.
const WIDTH: usize = 100;

/// One error of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1; 0: the whole file.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
    /// The line that is wrong, without secrets; empty where there is none to show.
    pub source: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        }
        if !self.source.is_empty() {
            let (shown, caret) = window(&self.source, self.column);
            write!(f, "\n{:>5} | {shown}\n      | {:caret$}^", self.line, "")?;
        }
        if !self.help.is_empty() {
            write!(f, "\n      help: {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The part of a long line around a column, and how far the caret stands from its beginning.
fn window(line: &str, column: usize) -> (String, usize) {
    let line: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let caret = column.saturating_sub(1);
    let length = line.chars().count();
    if length <= WIDTH {
        return (line, caret.min(length));
    }
    let from = caret.saturating_sub(WIDTH / 2).min(length.saturating_sub(WIDTH));
    let mut shown: String = line.chars().skip(from).take(WIDTH).collect();
    if from + WIDTH < length {
        shown.push('…');
    }
    match from {
        0 => (shown, caret),
        _ => (format!("…{shown}"), caret.min(length) - from + 1),
    }
}

/// All errors of a configuration file; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// The one error of a file that cannot be read at all.
    pub(crate) fn of_file(path: &Path, message: String, help: &str) -> Self {
        Self(vec![ConfigError {
            file: path.display().to_string().into(),
            line: 0,
            column: 0,
            message,
            help: help.into(),
            source: String::new(),
        }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}\n")?;
        }
        match self.0.len() {
            1 => f.write_str("1 error"),
            count => write!(f, "{count} errors"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects what is wrong while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    found: Vec<Problem>,
}

impl Errors {
    pub(crate) fn add(&mut self, pos: Pos, message: impl Into<String>, help: impl Into<String>) {
        self.found.push(Problem { pos, message: message.into(), help: help.into() });
    }

    pub(crate) fn extend(&mut self, problems: Vec<Problem>) {
        self.found.extend(problems);
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The errors in the order of the file, each with its line.
    pub(crate) fn finish(mut self, file: &str, text: &str, tree: Option<&Node>) -> Vec<ConfigError> {
        self.found.sort_by_key(|problem| problem.pos);
        self.found.dedup();
        let file: Arc<str> = file.into();
        let lines = Lines::new(text, tree);
        let error = |problem: Problem| ConfigError {
            file: file.clone(),
            line: problem.pos.line,
            column: problem.pos.column,
            source: lines.show(problem.pos.line),
            message: problem.message,
            help: problem.help,
        };
        self.found.into_iter().map(error).collect()
    }
}

/// The lines of a file, with what must not be shown.
struct Lines<'a> {
    lines: Vec<&'a str>,
    /// Where secrets stand, each from its first character to the one after its last.
    secrets: Vec<(Pos, Pos)>,
    /// Without a tree nobody knows where secrets stand: lines near a suspicious word are not shown.
    blind: bool,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, tree: Option<&Node>) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut secrets = Vec::new();
        if let Some(tree) = tree {
            find_secrets(tree, false, &mut secrets);
        }
        Self { lines: text.lines().collect(), secrets, blind: tree.is_none() }
    }

    fn show(&self, number: usize) -> String {
        let Some(line) = number.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return String::new();
        };
        let near = self.lines.iter().take(number).rev().take(3);
        if self.blind && near.clone().any(|line| suspicious_text(line)) {
            return String::new();
        }
        let shown = |(index, c): (usize, char)| {
            let here = Pos { line: number, column: index + 1 };
            if self.secrets.iter().any(|(from, to)| *from <= here && here < *to) { '•' } else { c }
        };
        hide_userinfo(&line.chars().enumerate().map(shown).collect::<String>())
    }
}

/// Where scalars stand under a key that speaks of secrets, except the names of `{ env: … }` and `{ file: … }`.
fn find_secrets(node: &Node, secret: bool, found: &mut Vec<(Pos, Pos)>) {
    match &node.kind {
        Kind::Scalar { text, .. } if secret || text.contains("-----BEGIN") || bare_userinfo(text) => {
            found.push((node.pos, node.end))
        }
        Kind::List(items) => {
            let scalar = |item: &Node| matches!(item.kind, Kind::Scalar { .. });
            items.iter().for_each(|item| find_secrets(item, secret && scalar(item), found));
        }
        Kind::Map(entries) => {
            for (key, value) in entries {
                let named = matches!(key.name.as_str(), "env" | "file")
                    && matches!(&value.kind, Kind::Scalar { text, .. } if plain_name(text));
                find_secrets(value, !named && (secret || suspicious_key(&key.name)), found);
            }
        }
        _ => {}
    }
}

/// Whether a text looks like `user:password@host:port`.
fn bare_userinfo(text: &str) -> bool {
    !text.contains("://") && text.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// Whether a text can be the name of a variable or of a file, rather than a secret itself.
fn plain_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'))
}

fn suspicious_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "passw", "token", "encrypt"].iter().any(|word| key.contains(word))
        || distance(&key, "secret") <= 2
}

fn suspicious_text(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(suspicious_key)
}

/// Hides user and password of a URL.
fn hide_userinfo(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                shown.extend(user.chars().map(|_| '•'));
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
}
