//! Path patterns: `/api/{id}/detail`, `/static/{*rest}`. Host patterns: `shop.example`, `{tenant}.example.com`.
//!
//! A pattern works on the path's bytes as they came (nothing is decoded). `{name}` stands for one segment that is
//! not empty; `{*name}` stands for the rest, which may be empty, and comes last. A trailing slash counts.

use std::fmt;

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// These bytes.
    Static(String),
    /// One segment that is not empty, under a name.
    Param(String),
    /// All that is left, under a name.
    Rest(String),
}

/// A pattern over the path of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Vec<Segment>,
}

/// What a pattern's names stood for in one path, in the order of the pattern.
pub type Captures<'a> = Vec<(&'a str, &'a str)>;

impl PathPattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err("a path pattern starts with `/`".into());
        };
        let mut segments = Vec::new();
        for part in inner.split('/') {
            if let Some(Segment::Rest(name)) = segments.last() {
                return Err(format!("nothing may follow `{{*{name}}}`"));
            }
            let segment = Segment::parse(part)?;
            if let Some(name) = segment.name()
                && segments.iter().any(|s: &Segment| s.name() == Some(name))
            {
                return Err(format!("the name `{name}` is used twice"));
            }
            segments.push(segment);
        }
        Ok(Self { segments })
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names that the pattern captures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// What the names stand for in `path`, or `None` where the path does not match.
    pub fn captures<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let mut rest = Some(path.strip_prefix('/')?);
        let mut captures = Vec::new();
        for segment in &self.segments {
            let left = rest?;
            let (part, after) = match left.split_once('/') {
                Some((part, after)) => (part, Some(after)),
                None => (left, None),
            };
            match segment {
                Segment::Static(text) if text == part => rest = after,
                Segment::Param(name) if !part.is_empty() => {
                    captures.push((name.as_str(), part));
                    rest = after;
                }
                Segment::Rest(name) => {
                    captures.push((name.as_str(), left));
                    rest = None;
                }
                _ => return None,
            }
        }
        rest.is_none().then_some(captures)
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        self.captures(path).is_some()
    }
}

impl Segment {
    fn parse(part: &str) -> Result<Self, String> {
        let Some(inner) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
            if part.contains(['{', '}', '*']) {
                return Err(format!("`{part}`: braces stand for a whole segment, `{{name}}` or `{{*name}}`"));
            }
            if !part.bytes().all(|b| (0x21..0x7f).contains(&b) && !matches!(b, b'?' | b'#')) {
                return Err(format!("`{part}` has bytes that no path has: write them percent-encoded"));
            }
            return Ok(Self::Static(part.to_owned()));
        };
        let (rest, name) = match inner.strip_prefix('*') {
            Some(name) => (true, name),
            None => (false, inner),
        };
        if !is_name(name) {
            return Err(format!("`{part}`: a name is made of letters, digits and `_`"));
        }
        Ok(if rest { Self::Rest(name.to_owned()) } else { Self::Param(name.to_owned()) })
    }

    /// The name that the segment captures under, if it captures.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Static(_) => None,
            Self::Param(name) | Self::Rest(name) => Some(name),
        }
    }
}

/// Whether `text` can name a capture.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Static(text) => write!(f, "/{text}")?,
                Segment::Param(name) => write!(f, "/{{{name}}}")?,
                Segment::Rest(name) => write!(f, "/{{*{name}}}")?,
            }
        }
        Ok(())
    }
}

/// A pattern over the host of a request, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// One label, under a name, before this suffix (which starts with a dot): `{tenant}.example.com`.
    /// `*.example.com` is the same without a name.
    Label {
        /// The name that the label is captured under; empty for `*`.
        name: String,
        /// What follows the label, with the dot.
        suffix: String,
    },
}

impl HostPattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let host_like = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']'))
        };
        if let Some(suffix) = text.strip_prefix("*.") {
            return if host_like(suffix) {
                Ok(Self::Label { name: String::new(), suffix: format!(".{suffix}") })
            } else {
                Err(format!("`{text}`: after `*.` a host name is expected, without a port"))
            };
        }
        if let Some(inner) = text.strip_prefix('{') {
            return match inner.split_once("}.") {
                Some((name, suffix)) if is_name(name) && host_like(suffix) => {
                    Ok(Self::Label { name: name.to_owned(), suffix: format!(".{suffix}") })
                }
                _ => Err(format!("`{text}`: expected `{{name}}.example.com`")),
            };
        }
        if host_like(&text) {
            Ok(Self::Exact(text))
        } else {
            Err(format!("`{text}` is not a host name (write it without a port)"))
        }
    }

    /// The captured label (empty string for an exact host), or `None` where `host` does not match.
    /// `host` is in lower case and without a port.
    pub fn capture<'a>(&self, host: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(text) => (text == host).then_some(""),
            Self::Label { suffix, .. } => {
                let label = host.strip_suffix(suffix.as_str())?;
                (!label.is_empty() && !label.contains('.')).then_some(label)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        let pattern = PathPattern::parse(pattern).unwrap();
        let captures = pattern.captures(path)?;
        Some(captures.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    fn pair(k: &str, v: &str) -> (String, String) {
        (k.to_owned(), v.to_owned())
    }

    #[test]
    fn a_parameter_stands_for_one_segment_that_is_not_empty() {
        assert_eq!(captures("/a/{id}/b", "/a/7/b"), Some(vec![pair("id", "7")]));
        assert_eq!(captures("/a/{id}/b", "/a//b"), None);
        assert_eq!(captures("/a/{id}", "/a/7/"), None);
        assert_eq!(captures("/a/{id}", "/a"), None);
    }

    #[test]
    fn the_rest_may_be_empty_and_keeps_its_slashes() {
        assert_eq!(captures("/{*rest}", "/"), Some(vec![pair("rest", "")]));
        assert_eq!(captures("/s/{*rest}", "/s/a//b/"), Some(vec![pair("rest", "a//b/")]));
        assert_eq!(captures("/s/{*rest}", "/s"), None);
    }

    #[test]
    fn a_trailing_slash_counts() {
        assert!(PathPattern::parse("/a/").unwrap().matches("/a/"));
        assert!(!PathPattern::parse("/a/").unwrap().matches("/a"));
    }

    #[test]
    fn a_bad_pattern_is_refused_with_a_sentence() {
        for bad in ["a", "/{*r}/x", "/{a}/{a}", "/x{a}", "/{a b}", "/{}", "/a b", "/a?b"] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_pattern_captures_one_label() {
        let host = HostPattern::parse("{tenant}.Example.com").unwrap();
        assert_eq!(host.capture("acme.example.com"), Some("acme"));
        assert_eq!(host.capture("a.b.example.com"), None);
        assert_eq!(host.capture("example.com"), None);
        assert_eq!(HostPattern::parse("shop.example").unwrap().capture("shop.example"), Some(""));
        assert!(HostPattern::parse("a b").is_err());
        assert!(HostPattern::parse("{x}example.com").is_err());
    }
}
