//! What carries an identity in a request: `Authorization`, cookies, fields, query parameters; which of them became the
//! identity and may reach the origin, and which lost and are stripped.
//!
//! All carriers of a configuration lie in one table; a request's verdicts are sets of their numbers, so they are made
//! and copied without an allocation.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri};

use super::SetupError;
use crate::config::Share;
use crate::http::{cookies, query};

/// Something in a request that carries an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carrier {
    /// `Authorization` with the scheme `Bearer`.
    Bearer,
    /// `Authorization`, whatever its scheme.
    Authorization,
    /// One cookie.
    Cookie(String),
    /// All cookies.
    Cookies,
    /// A field.
    Header(HeaderName),
    /// A query parameter.
    Query(String),
}

/// A set of carriers, by number.
pub(super) type Set = u64;

/// All carriers of a configuration.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Carrier>);

impl Table {
    /// The set of this one carrier, which is added where it is new.
    pub(super) fn set_of(&mut self, carrier: Carrier) -> Result<Set, SetupError> {
        let at = self.0.iter().position(|known| *known == carrier).unwrap_or_else(|| {
            self.0.push(carrier);
            self.0.len() - 1
        });
        if at >= 64 {
            return Err(SetupError::new("more than 64 fields, cookies and parameters carry an identity"));
        }
        Ok(1 << at)
    }

    fn among(&self, set: Set) -> impl Iterator<Item = &Carrier> {
        self.0.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1).map(|(_, carrier)| carrier)
    }
}

/// What became the identity, for tenant, user and role apart.
#[derive(Debug, Clone, Default)]
pub struct Carries {
    pub(super) table: Option<Arc<Table>>,
    pub(super) tenant: Set,
    pub(super) user: Set,
    pub(super) role: Set,
}

impl Carries {
    /// Everything that became a part of the identity.
    pub fn all(&self) -> Carried<'_> {
        self.these(self.tenant | self.user | self.role)
    }

    /// What may reach the origin on a fill that is shared so: only what became a part of the identity that the key holds.
    /// A user's credential never fills an entry whose key holds a claimed tenant alone.
    pub fn for_key(&self, share: Share, role: bool) -> Carried<'_> {
        let shared = match share {
            Share::Public => 0,
            Share::Tenant => self.tenant,
            Share::User => self.tenant | self.user,
        };
        self.these(if role { shared | self.role } else { shared })
    }

    fn these(&self, set: Set) -> Carried<'_> {
        Carried { table: self.table.as_deref(), set }
    }
}

/// Some of what a request carries.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    table: Option<&'a Table>,
    set: Set,
}

impl<'a> Carried<'a> {
    fn iter(self) -> impl Iterator<Item = &'a Carrier> {
        self.table.into_iter().flat_map(move |table| table.among(self.set))
    }

    /// Whether nothing is carried.
    pub fn is_empty(self) -> bool {
        self.set == 0
    }

    /// Whether `Authorization` is.
    pub fn authorization(self) -> bool {
        self.iter().any(|c| matches!(c, Carrier::Authorization | Carrier::Bearer))
    }

    /// Whether all cookies are.
    pub fn all_cookies(self) -> bool {
        self.iter().any(|c| *c == Carrier::Cookies)
    }

    /// Whether the cookie of this name is.
    pub fn cookie(self, name: &[u8]) -> bool {
        self.iter().any(|c| match c {
            Carrier::Cookies => true,
            Carrier::Cookie(known) => known.as_bytes() == name,
            _ => false,
        })
    }

    /// The cookies that are carried by name.
    pub fn cookies(self) -> impl Iterator<Item = &'a str> {
        self.iter().filter_map(|c| if let Carrier::Cookie(name) = c { Some(name.as_str()) } else { None })
    }

    /// The fields besides `Authorization` and `Cookie`.
    pub fn headers(self) -> impl Iterator<Item = &'a HeaderName> {
        self.iter().filter_map(|c| if let Carrier::Header(name) = c { Some(name) } else { None })
    }

    /// Whether the query parameter of this encoded name is.
    pub fn query(self, encoded: &str) -> bool {
        self.query_names().any(|name| query::is_named(encoded, name))
    }

    /// The query parameters, by their decoded names.
    pub fn query_names(self) -> impl Iterator<Item = &'a str> {
        self.iter().filter_map(|c| if let Carrier::Query(name) = c { Some(name.as_str()) } else { None })
    }
}

/// Sources that were there, or may have been, and did not win: the request goes on without them.
#[derive(Debug, Clone, Default)]
pub struct Losers {
    table: Option<Arc<Table>>,
    set: Set,
    winners: Set,
}

impl Losers {
    /// `lost`, save what won somewhere.
    pub(super) fn new(table: &Arc<Table>, lost: Set, winners: Set) -> Self {
        let set = lost & !winners;
        Self { table: (set != 0).then(|| table.clone()), set, winners }
    }

    /// Whether there is nothing to strip.
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Strips them from the request that goes on, save for `Cookie` as a whole: see [`Losers::strip_cookies`].
    pub fn strip(&self, parts: &mut Parts) {
        let Some(table) = self.table.as_deref() else { return };
        let lost = Carried { table: Some(table), set: self.set };
        let won = Carried { table: Some(table), set: self.winners };
        if !won.authorization() && loses_authorization(lost, &parts.headers) {
            parts.headers.remove(AUTHORIZATION);
        }
        if lost.cookies().next().is_some() {
            let loses = |name: &[u8]| lost.cookies().any(|lost| lost.as_bytes() == name);
            cookies::retain(&mut parts.headers, |name| won.cookie(name) || !loses(name));
        }
        for name in lost.headers() {
            parts.headers.remove(name);
        }
        strip_query(&mut parts.uri, lost);
    }
}

impl Losers {
    /// Strips every cookie where all of them together were a source that did not win (`ask` without a list of cookies).
    /// For fills that others share; a request that passes keeps them, for most of them are nobody's credential.
    pub fn strip_cookies(&self, headers: &mut HeaderMap) {
        let Some(table) = self.table.as_deref() else { return };
        let lost = Carried { table: Some(table), set: self.set };
        let won = Carried { table: Some(table), set: self.winners };
        if lost.all_cookies() {
            cookies::retain(headers, |name| won.cookie(name));
        }
    }
}

fn loses_authorization(lost: Carried<'_>, headers: &HeaderMap) -> bool {
    lost.iter().any(|carrier| match carrier {
        Carrier::Authorization => true,
        Carrier::Bearer => headers.get_all(AUTHORIZATION).iter().any(|v| bearer(v.as_bytes()).is_some()),
        _ => false,
    })
}

/// The token of an `Authorization: Bearer` (RFC 6750 section 2.1), or `None` for another scheme (RFC 9110 section 11.1:
/// schemes are case-insensitive).
pub(super) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = match memchr::memchr2(b' ', b'\t', authorization) {
        Some(at) => (&authorization[..at], authorization[at..].trim_ascii()),
        None => (authorization, &b""[..]),
    };
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

fn strip_query(uri: &mut Uri, lost: Carried<'_>) {
    let Some(kept) = uri.query().and_then(|q| query::without(q, |name| lost.query(name))) else { return };
    let path = uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    let mut parts = std::mem::take(uri).into_parts();
    // Pieces of a valid target are valid; were they not, the whole target would go rather than the loser stay.
    parts.path_and_query =
        Some(PathAndQuery::try_from(target).unwrap_or_else(|_| PathAndQuery::from_static("/")));
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn table() -> (Arc<Table>, Vec<Set>) {
        let mut table = Table::default();
        let all = [
            Carrier::Bearer,
            Carrier::Authorization,
            Carrier::Cookie("t".into()),
            Carrier::Cookies,
            Carrier::Header(HeaderName::from_static("x-tenant")),
            Carrier::Query("tenant_id".into()),
        ];
        let sets = all.into_iter().map(|c| table.set_of(c).unwrap()).collect();
        (Arc::new(table), sets)
    }

    fn request() -> Parts {
        Request::get("https://h/p?a=1&tenant%5fid=x&b=%20")
            .header("authorization", "bEarer abc")
            .header("cookie", "s=1; t=2; u=3")
            .header("x-tenant", "acme")
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    #[test]
    fn losers_are_stripped_and_everything_else_keeps_its_bytes() {
        let (table, s) = table();
        let mut parts = request();
        Losers::new(&table, s[0] | s[2] | s[4] | s[5], 0).strip(&mut parts);
        assert_eq!(parts.uri, "https://h/p?a=1&b=%20");
        assert_eq!(parts.headers["cookie"], "s=1; u=3");
        assert!(!parts.headers.contains_key("authorization") && !parts.headers.contains_key("x-tenant"));
    }

    #[test]
    fn what_won_somewhere_stays() {
        let (table, s) = table();
        let mut parts = request();
        let losers = Losers::new(&table, s[1] | s[3], s[0] | s[2]);
        losers.strip(&mut parts);
        assert_eq!(parts.headers["cookie"], "s=1; t=2; u=3", "a request that passes keeps its cookies");
        losers.strip_cookies(&mut parts.headers);
        assert_eq!(parts.headers["authorization"], "bEarer abc");
        assert_eq!(parts.headers["cookie"], "t=2");
        let mut parts = request();
        Losers::new(&table, s[2], s[3]).strip(&mut parts);
        assert_eq!(parts.headers["cookie"], "s=1; t=2; u=3");
    }

    #[test]
    fn a_losing_token_takes_no_basic_credentials_with_it() {
        let (table, s) = table();
        let mut parts = request();
        parts.headers.insert("authorization", "Basic abc".parse().unwrap());
        Losers::new(&table, s[0], 0).strip(&mut parts);
        assert_eq!(parts.headers["authorization"], "Basic abc");
    }

    #[test]
    fn a_credential_is_carried_only_where_the_key_holds_what_it_proved() {
        let (table, s) = table();
        let carries = Carries { table: Some(table), tenant: s[5], user: s[0], role: s[4] };
        assert!(carries.for_key(Share::Public, false).is_empty());
        assert!(!carries.for_key(Share::Tenant, false).authorization());
        assert!(carries.for_key(Share::Tenant, false).query("tenant%5Fid"));
        assert!(carries.for_key(Share::User, false).authorization());
        assert_eq!(carries.for_key(Share::Public, true).headers().count(), 1);
        assert!(carries.all().authorization());
    }
}
