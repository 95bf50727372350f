//! Tags, and the patterns that select them.
//!
//! A tag is a name that the route or the origin gave a stored response. A pattern is a glob over names; a bare name in
//! a pattern covers itself and everything below it at `:` (`dashboard` covers `dashboard:metrics`).

use std::sync::Arc;

/// The longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 1024;

/// The most tags of one stored response.
pub const MAX_TAGS: usize = 256;

/// A pattern over tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// A pattern from its text: `*` stands for any characters, also none; there is no other wild card.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern covers `tag`.
    pub fn covers(&self, tag: &str) -> bool {
        if self.0.contains('*') {
            return glob(self.0.as_bytes(), tag.as_bytes());
        }
        match tag.strip_prefix(&*self.0) {
            Some(below) => below.is_empty() || below.starts_with(':'),
            None => false,
        }
    }
}

/// Matches with `*` only, in time proportional to the product of the lengths at worst, and without recursion.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star took one character more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((after_star, taken)) = retry {
            retry = Some((after_star, taken + 1));
            p = after_star;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, tag: &str) -> bool {
        Pattern::new(pattern).covers(tag)
    }

    #[test]
    fn b3_a_bare_name_covers_itself_and_everything_below_it() {
        assert!(covers("dashboard", "dashboard"));
        assert!(covers("dashboard", "dashboard:metrics"));
        assert!(covers("dropdown:people", "dropdown:people:active"));
        assert!(!covers("dashboard", "dashboards"));
        assert!(!covers("dashboard:metrics", "dashboard"));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(covers("inventory:*", "inventory:list"));
        assert!(!covers("inventory:*", "inventory"));
        assert!(covers("*:list", "a:b:list"));
        assert!(covers("a*b*c", "a--b-b-c"));
        assert!(!covers("a*b*c", "a--c"));
        assert!(covers("*", ""));
    }

    proptest::proptest! {
        #[test]
        fn a_glob_made_from_a_text_covers_the_text(text in "[a-c:]{0,12}", cuts in proptest::collection::vec(0_usize..12, 0..4)) {
            let mut pattern: Vec<char> = text.chars().collect();
            for cut in cuts {
                if cut < pattern.len() {
                    pattern[cut] = '*';
                }
            }
            let pattern: String = pattern.into_iter().collect();
            if pattern.contains('*') {
                proptest::prop_assert!(covers(&pattern, &text));
            }
        }
    }
}
