//! The key step: everything that selects the answer to this request, and nothing else.
//!
//! What selects is what is forwarded: this file decides both, so that they cannot drift apart (`origin_request` reads
//! [`Keyed`] and adds nothing to it but the credential).

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use jiff::tz::TimeZone;

use crate::clock::Now;
use crate::config::{Caching, PathPattern, Piece, QueryRule, Route, Share, Template, Ttl, VaryOn};
use crate::http::{cookies, query};
use crate::identity::Identity;
use crate::key::{CacheKey, KeyParts, Owner};
use crate::policy::{Reason, vary};
use crate::purge::Coverage;

/// The key of a request, and what it is made of.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The key.
    pub key: CacheKey,
    /// The route.
    pub route: Arc<Route>,
    /// The store's number.
    pub store: usize,
    /// Among whom the answer is shared.
    pub owner: Owner,
    /// The authority.
    pub authority: String,
    /// The query as it is keyed and forwarded.
    pub query: Option<String>,
    /// Path and query as they are purged by URL (see `purged`).
    pub target: String,
    /// The negotiated language, where the route selects by it.
    pub language: Option<String>,
    /// When the local day ends, on the monotonic clock, where the route selects by it.
    pub ends: Option<Duration>,
}

impl Keyed {
    /// Under which it is remembered that the answer could not be stored. Where the client's credentials reach the
    /// application though they are not in the key (RFC 9111 decides), an answer to one says nothing of an answer to none.
    pub fn uncacheable(&self, caching: &Caching, client: &HeaderMap) -> Cow<'_, CacheKey> {
        let credential = client.contains_key(AUTHORIZATION) || client.contains_key(COOKIE);
        let apart = caching.tier.ttl == Ttl::Origin && credential;
        apart
            .then(|| self.key.variant(&[(COOKIE, None)]))
            .flatten()
            .map_or(Cow::Borrowed(&self.key), Cow::Owned)
    }

    /// What covers the answer.
    pub fn coverage(&self) -> Coverage<'_> {
        Coverage {
            owner: &self.owner,
            authority: &self.authority,
            target: &self.target,
            route: &self.route.name,
            store: self.store,
            key: &self.key,
        }
    }
}

/// The key of a request, and what of its making a fill needs again.
pub(super) struct Probe<'a> {
    /// The key.
    pub(super) key: CacheKey,
    owner: Owner,
    query: Option<Cow<'a, str>>,
    language: Option<String>,
    ends: Option<Duration>,
}

impl Probe<'_> {
    /// Whether the query is keyed as it came: then no parameter asks for a fresh answer, for that one never selects.
    pub(super) fn is_as_it_came(&self, query: Option<&str>) -> bool {
        query.is_none() || matches!(self.query, Some(Cow::Borrowed(_)))
    }

    /// With all that a fill needs.
    pub(super) fn kept(self, route: &Arc<Route>, caching: &Caching, authority: &str, parts: &Parts) -> Keyed {
        let Self { key, owner, query, language, ends } = self;
        Keyed {
            key,
            route: route.clone(),
            store: caching.tier.store,
            owner,
            authority: authority.to_owned(),
            target: purged(route, caching, parts.uri.path(), query.as_deref()),
            query: query.map(Cow::into_owned),
            language,
            ends,
        }
    }
}

/// Makes the key of a request, or says why it has none.
pub(super) fn probe<'a>(
    https: bool,
    authority: &str,
    route: &Arc<Route>,
    caching: &Caching,
    identity: &Identity,
    parts: &'a Parts,
    now: Now,
) -> Result<Probe<'a>, Reason> {
    let owner = owner(caching.share, identity).ok_or(Reason::NoIdentity)?;
    let path = parts.uri.path();
    let query = keyed_query(caching, parts.uri.query());
    let Selected { selecting, language, ends } = selected(route, caching, identity, parts, now);
    let custom = caching.key.is_some();
    let pairs: Vec<_> = selecting.0.iter().map(|(n, v)| (*n, v.as_deref())).collect();
    let key = CacheKey::new(&KeyParts {
        https,
        authority,
        owner: &owner,
        route: &route.name,
        method: "GET",
        path: if custom { "" } else { path },
        // Also under a key of one's own: of a parameter that comes twice the template reads the first, the application
        // perhaps the last.
        query: query.as_deref(),
        selecting: &pairs,
    })
    .ok_or(Reason::KeyTooLong)?;
    Ok(Probe { key, owner, query, language, ends })
}

/// What selects besides owner and URL, and what follows from it for the fill.
struct Selected {
    selecting: Selecting,
    language: Option<String>,
    ends: Option<Duration>,
}

fn selected(route: &Route, caching: &Caching, identity: &Identity, parts: &Parts, now: Now) -> Selected {
    let mut selecting = Selecting::default();
    let mut ends = None;
    let mut language = None;
    for vary_on in &caching.vary_on {
        match vary_on {
            VaryOn::Role => selecting.role(identity),
            VaryOn::Language(offered) => {
                language = vary::negotiate_language(&parts.headers, offered).map(str::to_owned);
                selecting.add("language", language.clone().map(String::into_bytes));
            }
            VaryOn::Date(zone) => {
                let today = Day::of(zone, now);
                selecting.add("date", Some(today.name.clone().into_bytes()));
                ends = Some(today.ends);
            }
            VaryOn::Cookie(name) => {
                let values: Vec<&[u8]> = cookies::pairs(&parts.headers)
                    .filter(|pair| pair.name == name.as_bytes())
                    .map(|pair| pair.value)
                    .collect();
                selecting.add("cookie", Some(name.clone().into_bytes()));
                selecting.add("=", (!values.is_empty()).then(|| values.join(&b';')));
            }
            VaryOn::Header(name) => {
                selecting.add("header", Some(name.as_str().as_bytes().to_vec()));
                selecting.add("=", vary::selecting_value(&parts.headers, name));
            }
        }
    }
    if let Some(template) = &caching.key {
        selecting.template(template, &Holes { identity, path: &route.path, parts });
    }
    Selected { selecting, language, ends }
}

/// The tags that the route gives the answer to this request. Only a fill needs them: a hit is found without.
pub(super) fn route_tags(
    route: &Route,
    caching: &Caching,
    identity: &Identity,
    parts: &Parts,
) -> Vec<Arc<str>> {
    let holes = Holes { identity, path: &route.path, parts };
    caching.tags.iter().map(|tag| expand(tag, &holes).into()).collect()
}

fn owner(share: Share, identity: &Identity) -> Option<Owner> {
    match share {
        Share::Public => Some(Owner::Public),
        Share::Tenant => Owner::tenant_of(identity),
        Share::User => Owner::user_of(identity),
    }
}

/// Path and query in the form in which a URL is purged.
pub fn target(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    }
}

/// What a URL, its query as it is keyed, is purged by: itself. Where the route has a `key` of its own, what the URL gives to that:
/// URLs that find one response are purged together.
pub(super) fn purged(route: &Route, caching: &Caching, path: &str, query: Option<&str>) -> String {
    let Some(template) = &caching.key else { return target(path, query) };
    let holes = template.0.iter().map(|piece| match piece {
        Piece::Path(name) => captured(&route.path, path, name).unwrap_or_default(),
        _ => String::new(),
    });
    // No path begins so.
    let named = [format!("key {}", route.name)].into_iter().chain(holes).collect::<Vec<_>>();
    target(&named.join("\n"), query)
}

fn captured(pattern: &PathPattern, path: &str, name: &str) -> Option<String> {
    let (_, value) = pattern.captures(path)?.into_iter().find(|(n, _)| *n == name)?;
    Some(query::decode_path(value).map_or_else(|| value.to_owned(), Cow::into_owned))
}

#[derive(Default)]
struct Selecting(Vec<(&'static str, Option<Vec<u8>>)>);

impl Selecting {
    fn add(&mut self, name: &'static str, value: Option<Vec<u8>>) {
        self.0.push((name, value));
    }

    fn role(&mut self, identity: &Identity) {
        let kind = identity.role.as_ref().map_or("role", |role| match role.kind {
            crate::identity::Kind::Verified => "role",
            crate::identity::Kind::Claimed => "claimed-role",
        });
        self.add(kind, identity.role.as_ref().map(|role| role.name.as_bytes().to_vec()));
    }

    /// Each piece apart: a value cannot run into the text beside it.
    fn template(&mut self, template: &Template, holes: &Holes<'_>) {
        for piece in &template.0 {
            self.add("key", Some(holes.fill(piece).into_owned().into_bytes()));
        }
    }
}

/// The query as it is keyed and forwarded. On tiers with a `ttl` it is sorted by name, stable for repeated names.
pub fn keyed_query<'a>(caching: &Caching, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    let query = query?;
    let by_origin = caching.tier.ttl == Ttl::Origin;
    let named = caching.key.as_ref().map(query_names);
    let keep = |name: &str| {
        let decoded = query::decode(name).unwrap_or(Cow::Borrowed(name));
        !is_bust(caching, name)
            && rule_keeps(caching, &decoded)
            && named.as_ref().is_none_or(|names| names.contains(&&*decoded))
    };
    if by_origin {
        // Where nothing is dropped, not a byte is changed. Where all is, there is no query, as if none had been sent: the
        // same response, and the same to a purge of its URL.
        return match query::without(query, |name| !keep(name)) {
            Some(kept) => (!kept.is_empty()).then_some(Cow::Owned(kept)),
            None => Some(Cow::Borrowed(query)),
        };
    }
    if is_in_form(query, keep) {
        return Some(Cow::Borrowed(query));
    }
    let mut kept: Vec<_> = query::pairs(query).filter(|pair| keep(pair.name)).collect();
    // By the decoded name: two spellings of one name are one name, whose values keep their order.
    kept.sort_by_cached_key(|pair| {
        query::decode(pair.name).map_or_else(|| pair.name.to_owned(), Cow::into_owned)
    });
    let raw: Vec<&str> = kept.iter().map(|pair| pair.raw).collect();
    (!raw.is_empty()).then(|| Cow::Owned(raw.join("&")))
}

/// Whether a query is already what it would become: every parameter is kept, none is empty, no name is escaped, and the names
/// are in order.
fn is_in_form(query: &str, keep: impl Fn(&str) -> bool) -> bool {
    let (mut last, mut length) = ("", 0);
    let fine = query::pairs(query).all(|pair| {
        let ordered = last <= pair.name;
        (last, length) = (pair.name, length + pair.raw.len() + 1);
        ordered && !pair.name.bytes().any(|b| matches!(b, b'%' | b'+')) && keep(pair.name)
    });
    fine && length == query.len() + 1
}

fn query_names(template: &Template) -> Vec<&str> {
    template
        .0
        .iter()
        .filter_map(|piece| if let Piece::Query(name) = piece { Some(name.as_str()) } else { None })
        .collect()
}

/// Whether the parameter asks for a fresh answer on this route. It never selects.
pub(super) fn is_bust(caching: &Caching, encoded_name: &str) -> bool {
    caching.bust.allow != crate::config::Allow::Nobody && query::is_named(encoded_name, &caching.bust.param)
}

fn rule_keeps(caching: &Caching, name: &str) -> bool {
    let may_be_listed = caching.query_begins.may_have(name);
    let covers = |listed: &String| match listed.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => listed == name,
    };
    match &caching.query {
        QueryRule::Only(names) => may_be_listed && names.iter().any(|n| n == name),
        QueryRule::Ignore(names) => !(may_be_listed && names.iter().any(covers)),
    }
}

/// What the holes of a template stand for.
pub(super) struct Holes<'a> {
    pub(super) identity: &'a Identity,
    pub(super) path: &'a PathPattern,
    pub(super) parts: &'a Parts,
}

impl<'a> Holes<'a> {
    fn fill(&self, piece: &'a Piece) -> Cow<'a, str> {
        match piece {
            Piece::Text(text) => Cow::Borrowed(text),
            Piece::Tenant => named(self.identity.tenant.as_ref().map(|t| &t.name)),
            Piece::User => named(self.identity.user.as_ref().map(|u| &u.name)),
            Piece::Role => named(self.identity.role.as_ref().map(|r| &r.name)),
            Piece::Path(name) => {
                Cow::Owned(captured(self.path, self.parts.uri.path(), name).unwrap_or_default())
            }
            Piece::Query(name) => Cow::Owned(self.parameter(name).unwrap_or_default()),
            Piece::Header(name) => Cow::Owned(self.field(name).unwrap_or_default()),
        }
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let found = query::pairs(self.parts.uri.query()?).find(|pair| query::is_named(pair.name, name))?;
        Some(query::decode(found.value).map_or_else(|| found.value.to_owned(), Cow::into_owned))
    }

    fn field(&self, name: &str) -> Option<String> {
        let value = self.parts.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}

fn named(name: Option<&Arc<str>>) -> Cow<'_, str> {
    Cow::Borrowed(name.map_or("", |name| name))
}

/// A template's text with its holes filled.
pub(super) fn expand(template: &Template, holes: &Holes<'_>) -> String {
    template.0.iter().map(|piece| holes.fill(piece)).collect()
}

/// A local day: its name, and when it ends on the monotonic clock.
#[derive(Debug, Clone)]
struct Day {
    name: String,
    ends: Duration,
}

/// The last day that was worked out: time zone, wall time of its start and its end, its name.
type LastDay = (TimeZone, Duration, Duration, String);

impl Day {
    fn of(zone: &TimeZone, now: Now) -> Self {
        // Working a day out costs more than a hit; a day stays the same for long.
        static LAST: Mutex<Vec<LastDay>> = Mutex::new(Vec::new());
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.iter().find(|(z, from, to, _)| z == zone && (*from..*to).contains(&now.wall));
        let (to, name) = match known {
            Some((_, _, to, name)) => (*to, name.clone()),
            None => {
                let (from, to, name) = work_out(zone, now.wall);
                last.retain(|(z, ..)| z != zone);
                last.push((zone.clone(), from, to, name.clone()));
                (to, name)
            }
        };
        Self { name, ends: now.mono + to.saturating_sub(now.wall) }
    }
}

/// The local day around a wall time: its first moment, the first moment of the next, its date.
fn work_out(zone: &TimeZone, wall: Duration) -> (Duration, Duration, String) {
    let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
    let day = jiff::Timestamp::from_second(seconds).ok().and_then(|at| {
        let start = at.to_zoned(zone.clone()).start_of_day().ok()?;
        let end = start.tomorrow().ok()?.start_of_day().ok()?;
        let since_epoch =
            |t: &jiff::Zoned| u64::try_from(t.timestamp().as_second()).ok().map(Duration::from_secs);
        Some((since_epoch(&start)?, since_epoch(&end)?, start.date().to_string()))
    });
    // Beyond the calendar (the year 9999) days are counted from the epoch.
    day.unwrap_or_else(|| {
        let day = wall.as_secs() / 86_400;
        (Duration::from_secs(day * 86_400), Duration::from_secs((day + 1) * 86_400), format!("day-{day}"))
    })
}
