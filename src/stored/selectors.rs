//! Which purges cover a stored response, as digests in one run of bytes (see `purge::Coverage`).
//!
//! A row of the purge table stands for a scope and a selector. Not every pair of the two is kept here, only each of them:
//! the rows are worked out when a purge has to be looked for.

use super::packed::{Reader, put_bytes};

/// Which purges cover a response that is going to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selectors {
    /// The stripe of `current` that tells of every purge that may cover it.
    pub stripe: u8,
    packed: Box<[u8]>,
}

/// Which purges cover a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered<'a> {
    /// The stripe of `current` that tells of every purge that may cover it.
    pub stripe: u8,
    /// The digest of the scope and those of the selectors, each with their length before them, then the tags.
    pub(super) packed: &'a [u8],
}

impl Selectors {
    /// The digests of its scope (besides that of everybody's) and of its selectors, and its tags, for patterns and for people.
    pub fn new(stripe: u8, scope: Option<u64>, selectors: &[u64], tags: &[impl AsRef<str>]) -> Self {
        let mut packed = Vec::with_capacity(64);
        for digests in [scope.as_slice(), selectors] {
            let digests: Vec<u8> = digests.iter().flat_map(|digest| digest.to_le_bytes()).collect();
            put_bytes(&mut packed, &digests);
        }
        tags.iter().for_each(|tag| put_bytes(&mut packed, tag.as_ref().as_bytes()));
        Self { stripe, packed: packed.as_slice().into() }
    }

    /// The same, borrowed.
    pub fn covered(&self) -> Covered<'_> {
        Covered { stripe: self.stripe, packed: &self.packed }
    }
}

impl<'a> From<&'a Selectors> for Covered<'a> {
    fn from(selectors: &'a Selectors) -> Self {
        selectors.covered()
    }
}

impl<'a> Covered<'a> {
    /// The digest of its scope, besides that of everybody's.
    pub fn scope(self) -> Option<u64> {
        numbers(self.split().0).next()
    }

    /// The digests of the selectors that cover it, in its scope or everybody's.
    pub fn selectors(self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        numbers(self.split().1)
    }

    /// Its tags.
    pub fn tags(self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let mut reader = Reader(self.split().2);
        std::iter::from_fn(move || reader.bytes().and_then(|tag| std::str::from_utf8(tag).ok()))
    }

    /// The digest of the scope, those of the selectors, and the tags.
    fn split(self) -> (&'a [u8], &'a [u8], &'a [u8]) {
        let mut reader = Reader(self.packed);
        let scope = reader.bytes().unwrap_or_default();
        let selectors = reader.bytes().unwrap_or_default();
        (scope, selectors, reader.0)
    }
}

fn numbers(packed: &[u8]) -> impl Iterator<Item = u64> + Clone + use<'_> {
    packed.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn selectors_are_read_back_as_they_were_given(
            scope in any::<Option<u64>>(),
            digests in prop::collection::vec(any::<u64>(), 0..600),
            tags in prop::collection::vec("[a-z:é]{0,200}", 0..5),
        ) {
            let selectors = Selectors::new(7, scope, &digests, &tags);
            let covered = selectors.covered();
            prop_assert_eq!(covered.scope(), scope);
            prop_assert_eq!(covered.selectors().collect::<Vec<_>>(), digests);
            prop_assert_eq!(covered.tags().collect::<Vec<_>>(), tags);
            prop_assert_eq!(covered.stripe, 7);
        }
    }

    #[test]
    fn a_response_without_selectors_has_none() {
        let none = Selectors::default();
        let covered = none.covered();
        assert_eq!((covered.scope(), covered.selectors().count(), covered.tags().count()), (None, 0, 0));
    }
}
