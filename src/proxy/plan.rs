//! Whether the cache has a part in a request, and which: the step between identify and lookup.

use std::borrow::Borrow;
use std::sync::Arc;

use http::header::IF_RANGE;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body as HttpBody;

use super::keyed::{Keyed, Probe, probe};
use super::shared::Inner;
use super::verdict::{Source, Verdict, XCache};
use super::visit::{Proxy, Visit};
use super::wishes::{Asked, allowed, asked};
use crate::clock::Now;
use crate::config::{Allow, Caching, OnlyIf, Route};
use crate::http::{Present, query};
use crate::key::CacheKey;
use crate::policy::Reason;
use crate::policy::ranges::{self, Asked as AskedRange, Span};

/// A request that may be answered from the cache.
pub(super) struct Plan {
    pub(super) caching: Arc<Caching>,
    pub(super) keyed: Arc<Keyed>,
    pub(super) asked: Asked,
    /// What of the content is asked for. Only GET has ranges (RFC 9110 section 14.2).
    pub(super) range: AskedRange,
    /// The range that a fill asks for, because nothing whole is stored.
    pub(super) span: Option<Span>,
    /// When it is judged what is fresh.
    pub(super) now: Now,
    /// The level in which that lay which is stored for the request.
    pub(super) level: Source,
}

/// Why the cache has no part in a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoPlan {
    pub(super) reason: Reason,
    /// What was asked for in vain, besides.
    pub(super) denied: Option<Reason>,
}

/// A request that may be answered from the cache, as far as a look-up needs to know it.
pub(super) struct Glance<'a> {
    pub(super) caching: &'a Arc<Caching>,
    pub(super) probe: Probe<'a>,
    pub(super) asked: Asked,
    /// As in [`Plan`].
    pub(super) range: AskedRange,
    /// As in [`Plan`].
    pub(super) now: Now,
}

impl Glance<'_> {
    /// The number of the store.
    pub(super) fn store(&self) -> usize {
        self.caching.tier.store
    }

    /// All that a fill needs.
    pub(super) fn kept<R: Borrow<Arc<Route>>>(self, visit: &Visit<R>) -> Plan {
        let Self { caching, probe, asked, range, now } = self;
        let keyed = Arc::new(probe.kept(visit.route(), caching, visit.about.authority(), &visit.parts));
        Plan { caching: caching.clone(), keyed, asked, range, span: None, now, level: Source::Memory }
    }
}

impl Plan {
    /// A verdict on this request.
    pub(super) fn verdict(&self, x_cache: XCache, reason: Reason, source: Source) -> Verdict {
        let mut verdict = Verdict::new(x_cache, reason, source);
        verdict.also = self.asked.denied;
        verdict.key = Some(self.keyed.key.clone());
        verdict.show_key = self.asked.show_key;
        verdict
    }

    /// Where a fill for this request takes place, below the key of what is whole: that key itself, or the place of all who
    /// ask for this range under this condition. `None` where it would be too long.
    pub(super) fn place(&self, whole: &CacheKey, request: &HeaderMap) -> Option<CacheKey> {
        let Some(span) = self.span else { return Some(whole.clone()) };
        let condition = request.get(IF_RANGE).map(HeaderValue::as_bytes);
        whole.part(Some((&span.to_string(), condition)))
    }
}

impl<S: Inner> Proxy<S> {
    /// Whether the cache has a part in this request; if not, why.
    pub(super) fn plan<R: Borrow<Arc<Route>>>(&self, visit: &Visit<R>) -> Result<Plan, NoPlan> {
        self.glance(visit).map(|glance| glance.kept(visit))
    }

    /// The same, as far as a look-up needs it.
    pub(super) fn glance<'a, R: Borrow<Arc<Route>>>(
        &self,
        visit: &'a Visit<R>,
    ) -> Result<Glance<'a>, NoPlan> {
        let plain = |reason| NoPlan { reason, denied: None };
        let caching = visit.route().caching.as_ref().ok_or(plain(Reason::NoTier))?;
        if let Some(reason) = not_for_the_cache(visit, caching) {
            return Err(plain(reason));
        }
        let (about, parts, identity) = (&visit.about, &visit.parts, &visit.who.identity);
        // Identifying may have taken its time.
        let now = if visit.waited { self.shared.now() } else { visit.arrived };
        let probe = probe(about.https, about.authority(), visit.route(), caching, identity, parts, now);
        let probe = probe.map_err(plain)?;
        let asked = asked(parts, about.present, caching, identity, &probe, &self.shared.budget, now);
        if asked.bypass {
            return Err(NoPlan { reason: Reason::ClientBypass, denied: asked.denied });
        }
        let may_have_range = parts.method == Method::GET && about.present.has(Present::RANGE);
        let range = if may_have_range { ranges::asked(&parts.headers, now) } else { AskedRange::Whole };
        Ok(Glance { caching, probe, asked, range, now })
    }
}

/// Why a request of a cached route has nothing to do with the cache.
fn not_for_the_cache<R>(visit: &Visit<R>, caching: &Caching) -> Option<Reason> {
    let parts = &visit.parts;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(Reason::Method);
    }
    if visit.about.upgrade {
        return Some(Reason::Upgrade);
    }
    if !visit.body.is_end_stream() {
        return Some(Reason::GetWithBody);
    }
    if visit.who.invalid {
        return Some(Reason::InvalidToken);
    }
    (!holds(&caching.only_if, visit)).then_some(Reason::OnlyIf)
}

/// Whether the route's condition on the request holds.
pub(super) fn holds<R>(only_if: &OnlyIf, visit: &Visit<R>) -> bool {
    let role = only_if.role.is_empty() || allowed(&Allow::Roles(only_if.role.clone()), &visit.who.identity);
    let one_of = |wanted: &[String], values: &mut dyn Iterator<Item = String>| {
        let mut values = values.peekable();
        values.peek().is_some() && values.all(|value| wanted.is_empty() || wanted.contains(&value))
    };
    let query = visit.parts.uri.query().unwrap_or_default();
    role && only_if.query.iter().all(|(name, wanted)| {
        let named = query::pairs(query).filter(|pair| query::is_named(pair.name, name));
        one_of(wanted, &mut named.filter_map(|pair| query::decode(pair.value).map(|v| v.into_owned())))
    }) && only_if.header.iter().all(|(name, wanted)| {
        let values = visit.parts.headers.get_all(name).iter();
        one_of(wanted, &mut values.filter_map(|value| value.to_str().ok().map(str::to_owned)))
    })
}
