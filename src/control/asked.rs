//! What a purge by request asks for: the JSON of `POST /purge` and of `PURGE`, and the fields of `PURGE` and `BAN`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;

use super::magento;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::proxy::selection::{MAX_WANTED, Wanted};
use crate::proxy::tags;

/// The largest body of a purge, in bytes.
const MAX_BODY: usize = 1024 * 1024;

const XKEY_PURGE: HeaderName = HeaderName::from_static("xkey-purge");
const XKEY_SOFT_PURGE: HeaderName = HeaderName::from_static("xkey-softpurge");
const FASTLY_SOFT: HeaderName = HeaderName::from_static("fastly-soft-purge");
const MAGENTO_PATTERN: HeaderName = HeaderName::from_static("x-magento-tags-pattern");

/// A purge as it is asked for in JSON. Lists add up.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    tags: Option<Vec<String>>,
    surrogate_keys: Option<Vec<String>>,
    patterns: Option<Vec<String>>,
    urls: Option<Vec<String>>,
    routes: Option<Vec<String>>,
    stores: Option<Vec<String>>,
    keys: Option<Vec<String>>,
    #[serde(default)]
    everything: bool,
    pub(super) tenant: Option<String>,
    #[serde(default)]
    pub(super) soft: bool,
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Makes one thing that is wanted of its name.
type Make = fn(String) -> Wanted;

/// The words of the body, for whoever got them wrong.
const EXPECTED: &str = "an object with at least one of `tags`, `patterns`, `urls`, `routes`, `stores`, `keys` (lists of \
                        strings), `everything: true` or `tenant`; `soft` and `dry_run` may be true";

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 where it is not what is expected.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is not {EXPECTED}: {error}")))
    }

    /// What is to be purged. A tenant alone stands for everything of it; an empty list for nothing.
    ///
    /// # Errors
    /// 400 where nothing is named.
    pub(super) fn wanted(&self) -> Result<Vec<Wanted>, Error> {
        let lists: [(_, Make); 7] = [
            (&self.tags, Wanted::Tag),
            (&self.surrogate_keys, Wanted::Tag),
            (&self.patterns, Wanted::Pattern),
            (&self.urls, Wanted::Url),
            (&self.routes, Wanted::Route),
            (&self.stores, Wanted::Store),
            (&self.keys, Wanted::Key),
        ];
        let mut wanted = Vec::new();
        for (list, make) in lists {
            wanted.extend(list.iter().flatten().cloned().map(make));
        }
        let written = lists.iter().any(|(list, _)| list.is_some());
        if self.everything || (self.tenant.is_some() && !written) {
            wanted.push(Wanted::Everything);
        }
        if wanted.is_empty() {
            return Err(bad(
                "nothing to purge: the lists are empty, and neither `everything` nor `tenant` is given"
                    .into(),
            ));
        }
        Ok(wanted)
    }
}

/// What a verb names instead of its URL (nothing: the URL is meant), and how it is to be done.
///
/// # Errors
/// 400 where a field or the body names nothing, or is not understood.
pub(super) fn by_verb(headers: &HeaderMap, body: &[u8], ban: bool) -> Result<(Vec<Wanted>, Asked), Error> {
    let mut asked = if body.is_empty() { Asked::default() } else { Asked::from_json(body)? };
    let mut wanted = if body.is_empty() { Vec::new() } else { asked.wanted()? };
    asked.soft |= headers.get(&FASTLY_SOFT).is_some_and(|value| value.as_bytes().trim_ascii() == b"1");
    let mut named = !body.is_empty();
    let (xkey, xkey_soft) = (headers.contains_key(&XKEY_PURGE), headers.contains_key(&XKEY_SOFT_PURGE));
    if xkey_soft && (xkey || named && !asked.soft) {
        return Err(bad("one purge is hard or soft, not both: send two".into()));
    }
    for (name, soft) in [(XKEY_PURGE, false), (XKEY_SOFT_PURGE, true)] {
        for value in headers.get_all(&name) {
            named = true;
            asked.soft |= soft;
            wanted.extend(words(value.as_bytes()).map(Wanted::Tag));
        }
    }
    for value in headers.get_all(&MAGENTO_PATTERN) {
        named = true;
        let text = String::from_utf8_lossy(value.as_bytes());
        wanted.extend(magento::wanted(&text).ok_or_else(|| {
            bad(format!(
                "`{MAGENTO_PATTERN}` is neither `.*` nor a list of tags in the form that Magento sends"
            ))
        })?);
    }
    let tags = tags::named(headers, MAX_WANTED + 1);
    named |= tags::are_named(headers);
    wanted.extend(tags.iter().map(|tag| Wanted::Tag(tag.to_string())));
    if ban {
        wanted = wanted.into_iter().map(as_pattern).collect();
    }
    if named && wanted.is_empty() {
        return Err(bad("the fields that take the place of the URL name nothing".into()));
    }
    Ok((wanted, asked))
}

fn as_pattern(wanted: Wanted) -> Wanted {
    if let Wanted::Tag(name) = wanted { Wanted::Pattern(name) } else { wanted }
}

fn words(value: &[u8]) -> impl Iterator<Item = String> {
    let words = value.split(|b| matches!(b, b' ' | b'\t' | b',')).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned())
}

/// The whole body, up to the limit.
///
/// # Errors
/// 400 where it is larger, or breaks off.
pub(super) async fn read(body: Body) -> Result<Bytes, Error> {
    let limited = Limited::new(body, MAX_BODY).collect().await;
    limited
        .map(http_body_util::Collected::to_bytes)
        .map_err(|_| bad("the body is larger than 1 MiB, or broke off".into()))
}

fn bad(what: String) -> Error {
    Error::new(ErrorKind::BadRequest, what)
}
