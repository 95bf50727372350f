//! Reads Rust source as far as the rules of the house need it: tokens, and the paths that a file names.
//!
//! It is no parser. It knows comments, strings, characters, use trees and inline modules, which is where imports hide.

#![allow(unreachable_pub)] // a module of one test crate

use std::collections::BTreeSet;

/// All paths into the crate, from its root: `crate::…`, and `super::…`, `self::…` resolved.
pub fn imports(code: &str, module: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    // The modules and other braces that are open: `super` means something else within `mod name { … }`.
    let mut open: Vec<Option<&str>> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => open.push((at >= 2 && tokens[at - 2] == "mod").then(|| tokens[at - 1].as_str())),
            "}" => drop(open.pop()),
            _ => {}
        }
        let follows_a_path = at > 0 && tokens[at - 1] == "::";
        if follows_a_path || tokens.get(at + 1).map(String::as_str) != Some("::") {
            continue;
        }
        let here = open.iter().flatten().fold(module.to_owned(), |path, name| format!("{path}::{name}"));
        let base = match token.as_str() {
            "crate" => String::new(),
            "self" => here,
            "super" => parent(&here),
            // The binary reaches the library by its name.
            "larder" if module == "main" => String::new(),
            _ => continue,
        };
        expand(&tokens, at + 2, &base, &mut found);
    }
    found
}

fn parent(module: &str) -> String {
    module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned())
}

/// Collects the paths of a use tree that starts at `at`, below `base`; gives the place after it.
fn expand(tokens: &[String], mut at: usize, base: &str, found: &mut BTreeSet<String>) -> usize {
    let mut path = base.to_owned();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "super" => path = parent(&path),
            "self" => {}
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = if tokens[at] == "," { at + 1 } else { expand(tokens, at, &path, found) };
                }
                return at + 1;
            }
            name if is_name(name) => {
                path = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
            }
            _ => return at.max(1), // `*`: everything of the path so far is found below
        }
        at += 1;
        if tokens.get(at).map(String::as_str) == Some("::") {
            at += 1;
            if tokens.get(at).map(String::as_str) == Some("*") {
                at += 1;
                break;
            }
        } else {
            break;
        }
    }
    // `name as other`
    if tokens.get(at).map(String::as_str) == Some("as") {
        at += 2;
    }
    if !path.is_empty() {
        found.insert(path);
    }
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and everything else character by character.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if name > 0 {
            name
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

/// Blanks comments and the contents of strings; line breaks stay.
pub fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = comment(rest).or_else(|| string(rest)).or_else(|| character(rest));
        let length = skip.unwrap_or(first.len_utf8());
        if skip.is_some() {
            code.push(' ');
            code.extend(rest[..length].matches('\n'));
        } else {
            code.push(first);
        }
        // A name before a quote is part of it only for raw strings, which `string` takes whole.
        rest = &rest[length..];
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = 0;
    let mut at = 0;
    while text.starts_with("/*") {
        match &text[at..] {
            rest if rest.starts_with("/*") => (depth, at) = (depth + 1, at + 2),
            rest if rest.starts_with("*/") => (depth, at) = (depth - 1, at + 2),
            rest => at += rest.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 || at >= text.len() {
            return Some(at.min(text.len()));
        }
    }
    None
}

fn string(text: &str) -> Option<usize> {
    if let Some(rest) = text.strip_prefix("r").filter(|rest| rest.starts_with(['"', '#'])) {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if !rest[hashes..].starts_with('"') {
            return None; // a raw name: r#type
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let start = 1 + hashes + 1;
        return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
    }
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    Some(text.len())
}

/// A character literal: `'"'` must not begin a string. A lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|at| 1 + 2 + at + 1);
    }
    let length = inner.chars().next()?.len_utf8();
    inner[length..].starts_with('\'').then_some(1 + length + 1)
}
