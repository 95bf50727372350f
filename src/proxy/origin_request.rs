//! The request that a fill sends to the origin.
//!
//! On a tier with a `ttl` only what is in the key reaches the application: the URL as keyed, the keyed cookies and
//! fields, the credential that became the identity, and [`SAFE`]. On a tier without one all end-to-end fields go, and
//! `Vary` selects. A claimed identity never brings a credential along.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, USER_AGENT,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::identify::{Carried, Identified};
use super::keyed::{Keyed, is_bust};
use super::sanitize::{Sanitized, forwarded, forwarded_shared};
use crate::config::{Caching, Share, Ttl, VaryOn};
use crate::http::{cookies, fields, query};
use crate::identity::Kind;
use crate::policy::surrogate::DEVICE;
use crate::policy::vary;

/// Fields that may reach the origin on a tier with a `ttl` though they are not in the key, because Larder gives their
/// value a fixed spelling of its own and `Vary` tells the answers apart: the content codings.
pub const SAFE: [http::HeaderName; 1] = [ACCEPT_ENCODING];

/// Fields that make a request conditional or partial: a fill asks for whole answers.
pub(super) const CONDITIONAL: [http::HeaderName; 6] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];

/// The head of a fill's request.
#[derive(Debug)]
pub(super) struct FillRequest {
    pub(super) parts: Parts,
    /// Whether the client's request said something that this one does not: if the answer cannot be shared, the client's own
    /// request must be asked.
    pub(super) says_less: bool,
}

/// Makes the head of the fill's request out of the client's.
pub(super) fn fill_request(
    client: &Parts,
    about: &Sanitized,
    who: &Identified,
    caching: &Caching,
    keyed: &Keyed,
    busting: bool,
) -> FillRequest {
    let mut parts = client.clone();
    parts.method = Method::GET;
    let goes = goes(who, caching);
    parts.uri = uri(client, caching, keyed, &goes, busting);
    let by_origin = caching.tier.ttl == Ttl::Origin;
    if by_origin {
        who.losers.strip_cookies(&mut parts.headers);
        CONDITIONAL.iter().for_each(|name| drop(parts.headers.remove(name)));
        set_codings(&mut parts.headers, client);
        if !goes.authorization {
            parts.headers.remove(AUTHORIZATION);
        }
        if !goes.proving_cookies {
            cookies::retain(&mut parts.headers, |name| goes.cookie(caching, name));
        }
        if caching.share != Share::Public {
            // A field that names somebody whom the key does not hold is a credential like any other.
            let named = who.carries.all();
            for name in named.headers().filter(|name| !goes.carriers.headers().any(|kept| kept == *name)) {
                parts.headers.remove(name);
            }
        }
    } else {
        parts.headers = keyed_fields(client, caching, keyed, &goes);
    }
    let says_less = says_less(client, &parts, caching, keyed);
    if by_origin {
        forwarded(&mut parts, about);
    } else {
        forwarded_shared(&mut parts, about);
    }
    FillRequest { parts, says_less }
}

const SURROGATE_CAPABILITY: http::HeaderName = http::HeaderName::from_static("surrogate-capability");

/// Tells the origin that a surrogate asks, and by which name it is spoken to (Edge Architecture Specification, section
/// 2.1). Only at the moment of sending: variants are told apart by what the client said.
pub(super) fn announce(headers: &mut HeaderMap) {
    let capability = format!("{DEVICE}=\"Surrogate/1.0\"");
    if let Ok(capability) = HeaderValue::try_from(capability) {
        headers.append(SURROGATE_CAPABILITY, capability);
    }
}

/// Fields that a fill leaves out or words anew without asking for anything else.
const SAME_MEANING: [http::HeaderName; 7] = [
    ACCEPT_ENCODING,
    CACHE_CONTROL,
    CONTENT_LENGTH,
    HOST,
    PRAGMA,
    SURROGATE_CAPABILITY,
    super::wishes::CHOICE,
];

/// Whether the client's request says something that the fill's does not: a credential, a field, a parameter.
fn says_less(client: &Parts, fill: &Parts, caching: &Caching, keyed: &Keyed) -> bool {
    let parameters = |parts: &Parts| {
        let query = parts.uri.query().unwrap_or_default();
        query::pairs(query).filter(|pair| !is_bust(caching, pair.name)).count()
    };
    let negotiated = |name: &http::HeaderName| *name == ACCEPT_LANGUAGE && keyed.language.is_some();
    let lost = |name: &http::HeaderName| {
        !CONDITIONAL.contains(name)
            && !SAME_MEANING.contains(name)
            && !fields::is_of_the_way(name)
            && !negotiated(name)
            && !client.headers.get_all(name).iter().eq(fill.headers.get_all(name))
    };
    parameters(client) != parameters(fill) || client.headers.keys().any(lost)
}

/// What of the identity's carriers goes along.
struct Goes<'a> {
    carriers: Carried<'a>,
    /// Whether `Authorization` does.
    authorization: bool,
    /// Whether cookies that prove somebody do. A claimed cookie's value is in the key.
    proving_cookies: bool,
    /// Whether the fields of trusted proxies and the parameters that name the tenant do.
    fields: bool,
}

fn goes<'a>(who: &'a Identified, caching: &Caching) -> Goes<'a> {
    let tenant = who.identity.tenant.as_ref().map(|t| t.kind);
    let user = who.identity.user.as_ref().map(|u| u.kind);
    let carries = |share, role| who.carries.for_key(share, role);
    let all = |carriers| Goes { carriers, authorization: true, proving_cookies: true, fields: true };
    let principal = match caching.share {
        // On a tier without a ttl everybody's answer is RFC 9111's business: `Authorization` and `Vary` are judged there.
        Share::Public if caching.tier.ttl == Ttl::Origin => return all(carries(Share::Public, false)),
        Share::Public => return for_everybody(who, caching, tenant, user),
        Share::Tenant => tenant,
        Share::User => user,
    };
    if principal == Some(Kind::Verified) {
        return all(carries(caching.share, caching.vary_on.contains(&VaryOn::Role)));
    }
    // A role's credential proves who somebody is: it does not go along with a mere claim.
    Goes {
        carriers: carries(caching.share, false),
        authorization: false,
        proving_cookies: false,
        fields: true,
    }
}

/// Everybody's answer is fetched as nobody, unless the route says that the application looks at the credential and answers
/// everybody alike: that is what overriding `Vary: Authorization` or `Vary: Cookie` says (E10).
fn for_everybody<'a>(
    who: &'a Identified,
    caching: &Caching,
    tenant: Option<Kind>,
    user: Option<Kind>,
) -> Goes<'a> {
    let claimed = [tenant, user].contains(&Some(Kind::Claimed)) || !who.identity.is_verified();
    Goes {
        carriers: who.carries.for_key(if claimed { Share::Public } else { Share::User }, false),
        authorization: caching.overrides.vary_authorization,
        proving_cookies: caching.overrides.vary_cookie,
        fields: false,
    }
}

impl Goes<'_> {
    fn cookie(&self, caching: &Caching, name: &[u8]) -> bool {
        let selects = caching.vary_on.iter().any(|v| matches!(v, VaryOn::Cookie(n) if n.as_bytes() == name));
        let claimed = caching.share != Share::Public && !self.carriers.all_cookies();
        selects || self.carriers.cookie(name) && (self.proving_cookies || claimed)
    }
}

fn keyed_fields(client: &Parts, caching: &Caching, keyed: &Keyed, goes: &Goes<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let mut copy = |name: &http::HeaderName| {
        for value in client.headers.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    };
    copy(&HOST);
    if goes.authorization && goes.carriers.authorization() {
        copy(&AUTHORIZATION);
    }
    goes.carriers.headers().filter(|_| goes.fields).for_each(&mut copy);
    copy(&COOKIE);
    for vary_on in &caching.vary_on {
        if let VaryOn::Header(name) = vary_on {
            copy(name);
        }
    }
    cookies::retain(&mut headers, |name| goes.cookie(caching, name));
    set_fixed(&mut headers, client, keyed);
    headers
}

/// What Larder says in its own words.
fn set_fixed(headers: &mut HeaderMap, client: &Parts, keyed: &Keyed) {
    set_codings(headers, client);
    if let Some(language) = keyed.language.as_deref().and_then(|l| HeaderValue::from_str(l).ok()) {
        headers.insert(ACCEPT_LANGUAGE, language);
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!("larder/", env!("CARGO_PKG_VERSION"))));
}

/// The content codings by their meaning, by which variants are told apart: an application is asked for none that is not
/// told apart (`deflate`), for it would be served to those who accept none.
fn set_codings(headers: &mut HeaderMap, client: &Parts) {
    headers.remove(ACCEPT_ENCODING);
    if let Some(codings) = vary::accept_encoding(&client.headers) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
    }
}

/// The URL as keyed, with the parameters that became the identity in the key, and with the bust parameter where the
/// route forwards it.
fn uri(client: &Parts, caching: &Caching, keyed: &Keyed, goes: &Goes<'_>, busting: bool) -> Uri {
    let kept = keyed.query.as_deref().unwrap_or_default();
    let forgotten = |name: &str| {
        goes.fields && goes.carriers.query(name) && !query::pairs(kept).any(|pair| pair.name == name)
    };
    let mut bust = busting && caching.bust.forward;
    let more = query::pairs(client.uri.query().unwrap_or_default()).filter(|pair| {
        let busts = is_bust(caching, pair.name);
        // One of them is enough.
        busts && std::mem::take(&mut bust) || !busts && forgotten(pair.name)
    });
    let pieces: Vec<&str> = keyed.query.as_deref().into_iter().chain(more.map(|pair| pair.raw)).collect();
    with_query(&client.uri, (!pieces.is_empty()).then(|| pieces.join("&")).as_deref())
}

/// The same URL with another query.
pub(super) fn with_query(uri: &Uri, query: Option<&str>) -> Uri {
    if uri.query() == query {
        return uri.clone();
    }
    let mut parts = uri.clone().into_parts();
    let target = super::keyed::target(uri.path(), query);
    // Pieces of a valid target are valid; were they not, the old target would go.
    if let Ok(target) = PathAndQuery::try_from(target) {
        parts.path_and_query = Some(target);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Makes the client's own request ready for the origin: nothing but Larder's own words is added, and a bust parameter
/// that is Larder's business goes.
pub(super) fn pass_request(parts: &mut Parts, about: &Sanitized, caching: Option<&Caching>) {
    if let Some(caching) = caching
        && let Some(query) = parts.uri.query()
        && !caching.bust.forward
        && let Some(kept) = query::without(query, |name| is_bust(caching, name))
    {
        parts.uri = with_query(&parts.uri, (!kept.is_empty()).then_some(kept.as_str()));
    }
    forwarded(parts, about);
}
