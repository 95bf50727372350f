//! What a request may ask for out of the ordinary: a fresh answer (`bust_cache`), and the choices of authorised
//! clients in `X-Larder-Cache` (C9): `bypass`, `refresh`, `ttl=30s`, `key`.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use quick_cache::sync::Cache as QuickCache;

use super::keyed::{Probe, is_bust};
use crate::clock::Now;
use crate::config::{Allow, Bust, Caching, Ttl};
use crate::http::{Present, query};
use crate::identity::Identity;
use crate::key::CacheKey;
use crate::policy::decide::Wishes;
use crate::policy::{CacheControl, Reason};

/// The field by which an authorised client chooses. It never reaches an application.
pub const CHOICE: HeaderName = HeaderName::from_static("x-larder-cache");

/// What was asked for, and granted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) wishes: Wishes,
    /// The request goes past the cache.
    pub(super) bypass: bool,
    /// The answer is stored for so long at most.
    pub(super) max_ttl: Option<Duration>,
    /// The key is shown.
    pub(super) show_key: bool,
    /// What was asked for in vain.
    pub(super) denied: Option<Reason>,
}

/// Whether somebody with this identity may.
pub(super) fn allowed(allow: &Allow, identity: &Identity) -> bool {
    match allow {
        Allow::Anyone => true,
        Allow::Identified => identity.is_verified(),
        Allow::Roles(roles) => identity.verified_role().is_some_and(|role| roles.iter().any(|r| r == role)),
        Allow::Nobody => false,
    }
}

/// Reads what the request asks for; a granted bust is counted against its budget by `budget`.
pub(super) fn asked(
    parts: &Parts,
    present: Present,
    caching: &Caching,
    identity: &Identity,
    probe: &Probe<'_>,
    budget: &BustBudget,
    now: Now,
) -> Asked {
    let mut asked = Asked::default();
    if present.has(Present::DIRECTIVES) && caching.tier.ttl == Ttl::Origin {
        asked.wishes.directives = CacheControl::of_request(&parts.headers);
    }
    if present.has(Present::CHOICE) && parts.headers.contains_key(CHOICE) {
        if allowed(&caching.choices, identity) {
            choices(&parts.headers, &mut asked);
        } else {
            asked.denied = Some(Reason::ChoiceDenied);
        }
    }
    if !probe.is_as_it_came(parts.uri.query()) && asks_to_bust(parts, caching) {
        let bust = &caching.bust;
        if !allowed(&bust.allow, identity) {
            asked.denied = Some(Reason::BustDenied);
        } else if !budget.take(&probe.key, bust, now) {
            asked.denied = Some(Reason::BustBudget);
        } else {
            asked.wishes.refresh = Some(Reason::Bust);
        }
    }
    asked
}

fn asks_to_bust(parts: &Parts, caching: &Caching) -> bool {
    let Some(query) = parts.uri.query() else { return false };
    query::pairs(query).filter(|pair| is_bust(caching, pair.name)).any(|pair| {
        let value = query::decode(pair.value).unwrap_or_default();
        !["", "0", "false", "no", "off"].iter().any(|no| value.eq_ignore_ascii_case(no))
    })
}

fn choices(headers: &HeaderMap, asked: &mut Asked) {
    for choice in crate::http::fields::list(headers, CHOICE) {
        if choice.eq_ignore_ascii_case(b"bypass") {
            asked.bypass = true;
        } else if choice.eq_ignore_ascii_case(b"refresh") {
            asked.wishes.refresh = Some(Reason::ClientRefresh);
        } else if choice.eq_ignore_ascii_case(b"key") {
            asked.show_key = true;
        } else if let Some(ttl) = choice.strip_prefix(b"ttl=").and_then(duration) {
            asked.max_ttl = Some(ttl);
            asked.wishes.max_age = Some(ttl);
        } else {
            asked.denied = Some(Reason::ChoiceDenied);
        }
    }
}

/// A duration as in the configuration, `30s`, `5m` or `2h`, of at least a second.
fn duration(text: &[u8]) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        b"s" => 1,
        b"m" => 60,
        b"h" => 3_600,
        _ => return None,
    };
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let seconds = number.checked_mul(unit).filter(|s| (1..=31_536_000).contains(s))?;
    Some(Duration::from_secs(seconds))
}

/// How often each key may be busted.
pub(super) struct BustBudget(QuickCache<u64, Window>);

#[derive(Clone, Copy)]
struct Window {
    opened: Duration,
    taken: u32,
}

impl Default for BustBudget {
    fn default() -> Self {
        // A key that fell out of this memory begins anew: the bound holds for the keys that are busted often.
        Self(QuickCache::new(65_536))
    }
}

impl BustBudget {
    /// Takes one from the budget of the key, or says that it is used up.
    fn take(&self, key: &CacheKey, bust: &Bust, now: Now) -> bool {
        let (most, within) = bust.per_key;
        let fresh = Window { opened: now.mono, taken: 0 };
        let mut taken = false;
        let mut count = |window: &Window| {
            let mut window = if now.mono.saturating_sub(window.opened) >= within { fresh } else { *window };
            taken = window.taken < most;
            window.taken = window.taken.saturating_add(1);
            window
        };
        // Two at once may both count one: the budget bounds what a client may cost, to within that.
        let window = count(&self.0.get(&key.hash64()).unwrap_or(fresh));
        self.0.insert(key.hash64(), window);
        taken
    }
}
