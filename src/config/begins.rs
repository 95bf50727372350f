//! With what the names of a list begin: a look at one byte, before the list is gone through.
//!
//! Keeps: a name that the list has, or covers by a `*`, is never said to be missing.

/// The first bytes of names, as one number: nearly every name that a client sends begins otherwise than all that are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begins(u128);

impl Begins {
    /// Those of these names; one that ends in `*` stands for all that start so.
    pub fn of(names: &[String]) -> Self {
        let bit = |name: &String| match name.as_bytes().first() {
            Some(&first) if first.is_ascii() && first != b'*' => 1 << first,
            _ => u128::MAX,
        };
        Self(names.iter().map(bit).fold(0, |all, bit| all | bit))
    }

    /// Whether a name may be listed.
    pub fn may_have(self, name: &str) -> bool {
        name.as_bytes().first().is_none_or(|first| !first.is_ascii() || self.0 >> first & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_that_is_listed_or_covered_is_missed() {
        let of =
            |names: &[&str]| Begins::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let listed = of(&["utm_*", "gclid", "_ga", "~"]);
        for name in ["utm_source", "u", "gclid", "g", "_gl", "~", "\u{e9}", ""] {
            assert!(listed.may_have(name), "{name}");
        }
        for name in ["a", "page", "Utm_source", "*"] {
            assert!(!listed.may_have(name), "{name}");
        }
        for everything in [of(&["a", "*"]), of(&[""]), of(&["\u{e9}t\u{e9}"])] {
            assert!(["a", "b", "", "*", "\u{e9}"].iter().all(|name| everything.may_have(name)));
        }
        assert!(!of(&[]).may_have("a"));
    }
}
