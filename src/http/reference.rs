//! References (RFC 3986 section 5): where `Location` and its like point to, as authority and target.

use std::borrow::Cow;

/// What a reference points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The authority in lower case and without the default port of its scheme, where the reference names one.
    pub authority: Option<String>,
    /// The path.
    pub path: String,
    /// The query.
    pub query: Option<String>,
}

/// Resolves `reference` against a request for `path` and `query`. `None`: it is no reference to something over HTTP.
pub fn resolve(path: &str, query: Option<&str>, reference: &str) -> Option<Target> {
    let reference = reference.trim();
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    if reference.chars().any(|c| c.is_control() || c == ' ' || c == '\\') {
        return None;
    }
    let (scheme, rest) = scheme(reference);
    let (authority, rest) = match rest.strip_prefix("//") {
        None if scheme.is_some() => return None,
        None => (None, rest),
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            (Some(authority_of(scheme, authority)?), rest)
        }
    };
    let (own, own_query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let merged = match (own, &authority) {
        ("", Some(_)) => Cow::Borrowed("/"),
        // The same document, perhaps with another query.
        ("", None) => {
            let query = own_query.or(query).map(str::to_owned);
            return Some(Target { authority: None, path: path.to_owned(), query });
        }
        (own, _) if own.starts_with('/') => Cow::Borrowed(own),
        (own, _) => {
            let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
            Cow::Owned(format!("{folder}{own}"))
        }
    };
    Some(Target { authority, path: without_dots(&merged), query: own_query.map(str::to_owned) })
}

/// The scheme in front of a colon, where there is one, and what follows.
fn scheme(reference: &str) -> (Option<&str>, &str) {
    let end = reference.find([':', '/', '?']);
    match end.filter(|&end| reference[end..].starts_with(':')) {
        Some(end) => (Some(&reference[..end]), &reference[end + 1..]),
        None => (None, reference),
    }
}

fn authority_of(scheme: Option<&str>, authority: &str) -> Option<String> {
    let default = match scheme.map(str::to_ascii_lowercase).as_deref() {
        Some("http") => ":80",
        Some("https") => ":443",
        None => "",
        Some(_) => return None,
    };
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let authority = authority.to_ascii_lowercase();
    let plain = authority.strip_suffix(default).map(str::to_owned);
    Some(plain.filter(|plain| !plain.is_empty()).unwrap_or(authority))
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(reference: &str) -> Option<(Option<String>, String)> {
        let target = resolve("/a/b/c", Some("q=1"), reference)?;
        let query = target.query.map(|query| format!("?{query}")).unwrap_or_default();
        Some((target.authority, target.path + &query))
    }

    fn here(target: &str) -> Option<(Option<String>, String)> {
        Some((None, target.to_owned()))
    }

    #[test]
    fn rfc3986_5_4_relative_references_are_resolved() {
        for (reference, target) in [
            ("/x", "/x"),
            ("x", "/a/b/x"),
            ("./x", "/a/b/x"),
            ("../x?y", "/a/x?y"),
            ("../../../x", "/x"),
            ("..", "/a/"),
            ("?y=2", "/a/b/c?y=2"),
            ("", "/a/b/c?q=1"),
            ("#part", "/a/b/c?q=1"),
            ("/x/./y/../z#part", "/x/z"),
            ("/a:b", "/a:b"),
            ("7/", "/a/b/7/"),
        ] {
            assert_eq!(at(reference), here(target), "{reference}");
        }
    }

    #[test]
    fn an_authority_comes_in_the_one_spelling() {
        for (reference, authority, target) in [
            ("http://Shop.Example:80/x", "shop.example", "/x"),
            ("https://shop.example:443?y", "shop.example", "/?y"),
            ("http://shop.example:8080", "shop.example:8080", "/"),
            ("//shop.example/x", "shop.example", "/x"),
        ] {
            assert_eq!(at(reference), Some((Some(authority.to_owned()), target.to_owned())), "{reference}");
        }
        for none in [
            "mailto:a@b",
            "javascript:x",
            "ftp://h/x",
            "http://u:p@h/",
            "http:///x",
            "http:x",
            "/a b",
            "/a\\b",
        ] {
            assert_eq!(at(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_reference_resolves_to_a_path_or_to_nothing(reference in "\\PC{0,40}", path in "/[a-z/.]{0,12}") {
            if let Some(target) = resolve(&path, None, &reference) {
                prop_assert!(target.path.starts_with('/'));
            }
        }
    }
}
