//! The exceptions of a tier (`when`): what the answer looks like decides how long it is kept (C7).

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use crate::config::{Records, Tier, When, WhenThen};
use crate::policy::Ttl;

/// What is known of an answer. Before its end the size is known only where the origin told it, the content never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) size: Option<u64>,
    pub(super) content: Option<&'a [u8]>,
}

/// What the tier says of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ruled {
    pub(super) ttl: Ttl,
    /// Whether an exception names the status.
    pub(super) status_named: bool,
    /// Whether an exception says that the answer is not stored.
    pub(super) never: bool,
}

/// The first exception that holds decides; without one, the tier does.
pub(super) fn rule(tier: &Tier, answer: &Answer<'_>) -> Ruled {
    let mut parsed = None;
    for when in &tier.when {
        if holds(when, answer, &mut parsed) {
            let status_named = !when.status.is_empty();
            return match when.then {
                WhenThen::Ttl(ttl) => Ruled { ttl, status_named, never: false },
                WhenThen::Never => Ruled { ttl: tier.ttl, status_named, never: true },
            };
        }
    }
    Ruled { ttl: tier.ttl, status_named: false, never: false }
}

/// Whether every condition that is given holds. What is not known yet does not hold.
fn holds(when: &When, answer: &Answer<'_>, parsed: &mut Option<serde_json::Value>) -> bool {
    (when.status.is_empty() || when.status.contains(&answer.status))
        && within(answer.size, when.min_size, when.max_size)
        && when.content_type.as_deref().is_none_or(|wanted| is_type(answer.headers, wanted))
        && when.header.as_ref().is_none_or(|(name, value)| match value {
            Some(value) => answer.headers.get_all(name).iter().any(|v| v == value),
            None => answer.headers.contains_key(name),
        })
        && when.records.as_ref().is_none_or(|r| within(count(r, answer, parsed), r.min, r.max))
}

fn within(number: Option<u64>, min: Option<u64>, max: Option<u64>) -> bool {
    if min.is_none() && max.is_none() {
        return true;
    }
    number.is_some_and(|n| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max))
}

fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim();
    match wanted.strip_suffix("/*") {
        Some(range) => media.split('/').next().is_some_and(|m| m.eq_ignore_ascii_case(range)),
        None => media.eq_ignore_ascii_case(wanted),
    }
}

/// The number of records: the length of the array that the pointer names.
fn count(records: &Records, answer: &Answer<'_>, parsed: &mut Option<serde_json::Value>) -> Option<u64> {
    if parsed.is_none() {
        *parsed = serde_json::from_slice(answer.content?).ok();
    }
    let array = parsed.as_ref()?.pointer(&records.at)?.as_array()?;
    Some(array.len() as u64)
}
