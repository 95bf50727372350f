//! Tags that an answer carries, in every dialect that applications speak, and the fields by which it purges.
//!
//! Keeps: every line of every dialect counts, each with its own separator; none of these fields reaches a client; a
//! response whose tags are not all known is not stored, because nobody could purge it.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::http::{fields, structured};
use crate::policy::Reason;
use crate::tag::{MAX_TAG_BYTES, MAX_TAGS};

/// What stands between the tags of one field.
#[derive(Debug, Clone, Copy)]
enum Between {
    /// A structured field: a list of strings.
    Structured,
    Blanks,
    BlanksOrCommas,
    Commas,
}

static DIALECTS: [(HeaderName, Between); 9] = [
    (HeaderName::from_static("cache-groups"), Between::Structured),
    (HeaderName::from_static("surrogate-key"), Between::Blanks),
    (HeaderName::from_static("xkey"), Between::BlanksOrCommas),
    (HeaderName::from_static("cache-tag"), Between::Commas),
    (HeaderName::from_static("cache-tags"), Between::Commas),
    (HeaderName::from_static("edge-cache-tag"), Between::Commas),
    (HeaderName::from_static("x-cache-tags"), Between::Commas),
    (HeaderName::from_static("x-magento-tags"), Between::Commas),
    (HeaderName::from_static("x-litespeed-tag"), Between::Commas),
];

pub(super) const GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
pub(super) const LARDER_PURGE: HeaderName = HeaderName::from_static("x-larder-purge");
pub(super) const LITESPEED_PURGE: HeaderName = HeaderName::from_static("x-litespeed-purge");

/// The fields by which an answer purges.
static PURGES: [HeaderName; 3] = [GROUP_INVALIDATION, LARDER_PURGE, LITESPEED_PURGE];

/// The lengths of all these names.
const LENGTHS: u64 = fields::lengths(&[4, 9, 10, 12, 13, 14, 15, 17, 24]);

/// What an answer said to Larder alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// The tags; `None`: it named none, in no dialect.
    pub(super) tags: Option<Vec<Arc<str>>>,
    /// The fields by which it purges.
    pub(super) purges: HeaderMap,
}

/// Takes the fields of tags and of purges out of an answer's head.
pub(super) fn take(headers: &mut HeaderMap) -> Said {
    let mut said = Said::default();
    if !headers.keys().any(is_for_larder) {
        return said;
    }
    if are_named(headers) {
        said.tags = Some(named(headers, MAX_TAGS + 1));
        for (name, _) in &DIALECTS {
            headers.remove(name);
        }
    }
    if headers.keys().any(|name| PURGES.contains(name)) {
        for name in &PURGES {
            for value in headers.get_all(name) {
                said.purges.append(name.clone(), value.clone());
            }
            headers.remove(name);
        }
    }
    said
}

/// Whether a field of this name is one of those that [`take`] takes.
fn is_for_larder(name: &HeaderName) -> bool {
    fields::has_length(name, LENGTHS)
        && (DIALECTS.iter().any(|(known, _)| known == name) || PURGES.contains(name))
}

/// Whether a field of any dialect is there, also one that names nothing.
pub fn are_named(headers: &HeaderMap) -> bool {
    // One walk, without hashing: there is seldom one.
    headers.keys().any(|given| DIALECTS.iter().any(|(name, _)| name == given))
}

/// The tags that the fields name, in every dialect, each once; at most so many are read.
pub fn named(headers: &HeaderMap, most: usize) -> Vec<Arc<str>> {
    let mut tags = Tags::up_to(most);
    for (name, between) in &DIALECTS {
        match between {
            Between::Structured => {
                let Some(groups) = structured::strings(headers, name) else {
                    tracing::warn!(field = %name, "not a list of strings: ignored (RFC 9875 section 2)");
                    continue;
                };
                groups.iter().for_each(|group| tags.add(group));
            }
            Between::Blanks => tags.split(headers, name, |b| b == b' ' || b == b'\t'),
            Between::BlanksOrCommas => tags.split(headers, name, |b| matches!(b, b' ' | b'\t' | b',')),
            Between::Commas => tags.split(headers, name, |b| b == b','),
        }
    }
    tags.names
}

struct Tags {
    names: Vec<Arc<str>>,
    known: HashSet<Arc<str>>,
    most: usize,
}

impl Tags {
    fn up_to(most: usize) -> Self {
        Self { names: Vec::new(), known: HashSet::new(), most }
    }

    fn split(&mut self, headers: &HeaderMap, name: &HeaderName, is_between: impl Fn(u8) -> bool) {
        for value in headers.get_all(name) {
            for tag in value.as_bytes().split(|b| is_between(*b)) {
                self.add(&String::from_utf8_lossy(tag.trim_ascii()));
            }
        }
    }

    fn add(&mut self, tag: &str) {
        if !tag.is_empty() && self.names.len() < self.most && !self.known.contains(tag) {
            let tag: Arc<str> = tag.into();
            self.known.insert(tag.clone());
            self.names.push(tag);
        }
    }
}

/// The tags of the route and those that the answer carries, each once.
///
/// # Errors
/// Where they are more, or longer, than are kept.
pub(super) fn together(route: &[Arc<str>], answer: &[Arc<str>]) -> Result<Vec<Arc<str>>, Reason> {
    // One too many is kept: it says that there were too many.
    let mut tags = Tags::up_to(MAX_TAGS + 1);
    route.iter().chain(answer).for_each(|tag| tags.add(tag));
    let fits = tags.names.len() <= MAX_TAGS && tags.names.iter().all(|tag| tag.len() <= MAX_TAG_BYTES);
    if fits { Ok(tags.names) } else { Err(Reason::TagsTooMany) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn tags(fields: &[(&str, &str)]) -> Vec<String> {
        named(&map(fields), MAX_TAGS + 1).iter().map(|tag| tag.to_string()).collect()
    }

    #[test]
    fn every_dialect_has_its_own_separator() {
        assert_eq!(tags(&[("surrogate-key", "a,b  c")]), ["a,b", "c"]);
        assert_eq!(tags(&[("xkey", "a, b c,d")]), ["a", "b", "c", "d"]);
        for comma in
            ["cache-tag", "cache-tags", "edge-cache-tag", "x-cache-tags", "x-magento-tags", "x-litespeed-tag"]
        {
            assert_eq!(tags(&[(comma, "a b, c,,d ")]), ["a b", "c", "d"], "{comma}");
        }
        assert_eq!(tags(&[("cache-groups", "\"a, b\", \"c d\";x")]), ["a, b", "c d"]);
        assert_eq!(tags(&[("cache-groups", "a, b"), ("xkey", "c")]), ["c"], "not strings: ignored");
    }

    #[test]
    fn every_field_for_larder_is_taken() {
        for name in DIALECTS.iter().map(|(name, _)| name).chain(&PURGES) {
            let mut headers = map(&[(name.as_str(), "\"a\"")]);
            let said = take(&mut headers);
            assert!(headers.is_empty() && (said.tags.is_some() || !said.purges.is_empty()), "{name}");
        }
    }

    #[test]
    fn every_line_of_every_dialect_counts_once() {
        let fields =
            [("surrogate-key", "a b"), ("surrogate-key", "c a"), ("cache-tag", "a,d"), ("xkey", "*")];
        let mut got = tags(&fields);
        got.sort();
        assert_eq!(got, ["*", "a", "b", "c", "d"]);
        let mut headers = map(&fields);
        headers.extend(map(&[("x-larder-purge", "everything"), ("etag", "\"1\"")]));
        let said = take(&mut headers);
        assert_eq!((said.tags.unwrap().len(), said.purges.len()), (5, 1));
        assert_eq!(headers, map(&[("etag", "\"1\"")]));
        assert!(take(&mut headers).tags.is_none());
    }

    #[test]
    fn more_or_longer_tags_than_are_kept_are_refused() {
        let many: Vec<Arc<str>> = (0..=MAX_TAGS).map(|n| n.to_string().into()).collect();
        assert_eq!(together(&many[1..], &[]).unwrap().len(), MAX_TAGS);
        assert_eq!(together(&many[1..], &many[..1]), Err(Reason::TagsTooMany));
        assert_eq!(together(&many[1..], &many[1..]).unwrap().len(), MAX_TAGS, "each once");
        let long: Arc<str> = "x".repeat(MAX_TAG_BYTES + 1).into();
        assert_eq!(together(&[], &[long]), Err(Reason::TagsTooMany));
        let value = (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(tags(&[("surrogate-key", &value)]).len(), MAX_TAGS + 1);
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value in proptest::collection::vec(any::<u8>(), 0..64), which in 0..9_usize) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(DIALECTS[which].0.clone(), value);
                let tags = take(&mut headers).tags.unwrap();
                prop_assert!(headers.is_empty() && tags.iter().all(|tag| !tag.is_empty()));
            }
        }
    }
}
