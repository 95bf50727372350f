//! Which purges cover a stored response. A purge writes rows under digests of (scope, selector); a stored response
//! carries the digests of all the rows that could mean it. Equal digests of different selectors purge too much, never
//! too little.

use std::sync::{Arc, LazyLock};

use crate::identity::{Tenant, User};
use crate::key::{CacheKey, Owner, digest};
use crate::stored::{Covered, Selectors};
use crate::tag::Pattern;

/// The number of stripes of `current`. Stripe 0 is that of public responses, stripe 1 that of the scopes of roles.
pub const STRIPES: usize = 64;
const PUBLIC_STRIPE: u8 = 0;
const SCOPES_STRIPE: u8 = 1;

/// What a purge means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Every response.
    Everything,
    /// One URL with all its variants: authority, then path and keyed query.
    Url {
        /// In lower case, without a default port.
        authority: String,
        /// Path and query in the form in which they are keyed.
        target: String,
    },
    /// One key: this variant of this URL for this owner.
    Key(CacheKey),
    /// Every response of a route, by the route's name.
    Route(Arc<str>),
    /// Every response of a store, by its number in the configuration.
    Store(usize),
    /// An exact tag.
    Tag(Arc<str>),
    /// An exact tag of responses of one authority: a cache group belongs to its origin (RFC 9875 section 2.1).
    Group {
        /// In lower case, without a default port.
        authority: String,
        /// The tag.
        name: Arc<str>,
    },
    /// Every response that belongs to one user.
    User(User),
    /// A pattern over tags.
    Pattern(Pattern),
}

/// What becomes of the responses that a purge covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are gone: never served, never validated.
    #[default]
    Hard,
    /// They are stale from now on, within their stale windows.
    Soft,
}

/// Whose responses a purge means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// Everybody's.
    All,
    /// The public ones.
    Public,
    /// This tenant's, the public ones, and the scopes of roles, which show all tenants (D8).
    Tenant(Arc<str>),
    /// This tenant's alone and the scopes of roles: for "everything of a tenant".
    TenantOnly(Arc<str>),
}

/// A scope that rows are written under. A response is under several.
enum Scope<'a> {
    All,
    Public,
    Scopes,
    Tenant(&'a str),
}

impl Scope<'_> {
    fn digest(&self) -> u64 {
        match self {
            Self::All => digest(b"all"),
            Self::Public => digest(b"public"),
            Self::Scopes => digest(b"scopes"),
            Self::Tenant(name) => digest(&[b"tenant:", name.as_bytes()].concat()),
        }
    }

    /// The stripes whose readers must look at a new row of this scope; `None`: all.
    fn stripe(&self) -> Option<u8> {
        match self {
            Self::All => None,
            Self::Public => Some(PUBLIC_STRIPE),
            Self::Scopes => Some(SCOPES_STRIPE),
            Self::Tenant(name) => Some(tenant_stripe(name)),
        }
    }
}

fn tenant_stripe(name: &str) -> u8 {
    let spread = digest(name.as_bytes()) % (STRIPES as u64 - 2);
    u8::try_from(spread).unwrap_or_default() + 2
}

/// The row of a selector in a scope. Both are keyed digests, which nobody outside can choose.
fn row(scope: u64, selector: u64) -> u64 {
    scope.rotate_left(32) ^ selector
}

/// The digest of a selector.
fn what(kind: &[u8], text: &[&[u8]]) -> u64 {
    let mut bytes = kind.to_vec();
    for part in text {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    digest(&bytes)
}

fn group(authority: &str, name: &str) -> u64 {
    what(b"group", &[authority.as_bytes(), name.as_bytes()])
}

fn user(user: &User) -> u64 {
    let kind = [user.kind as u8];
    what(b"user", &[&kind, user.issuer.as_bytes(), user.name.as_bytes()])
}

/// The row of everything of a scope.
pub(super) fn everything(scope: u64) -> u64 {
    static EVERYTHING: LazyLock<u64> = LazyLock::new(|| what(b"everything", &[]));
    row(scope, *EVERYTHING)
}

/// The scopes of a response: its own and that of everybody's, which is not kept with each.
pub(super) fn scopes_of(covered: Covered<'_>) -> impl Iterator<Item = u64> + '_ {
    static ALL: LazyLock<u64> = LazyLock::new(|| Scope::All.digest());
    std::iter::once(*ALL).chain(covered.scope())
}

/// Every exact row that may cover a response.
pub(super) fn covering_rows(covered: Covered<'_>) -> impl Iterator<Item = u64> + '_ {
    let rows = move |scope| covered.selectors().map(move |selector| row(scope, selector));
    scopes_of(covered).flat_map(move |scope| std::iter::once(everything(scope)).chain(rows(scope)))
}

/// What covers a response, as the request path knows it before the answer's own tags are known.
#[derive(Debug, Clone)]
pub struct Coverage<'a> {
    /// Whose it is.
    pub owner: &'a Owner,
    /// The authority.
    pub authority: &'a str,
    /// Path and keyed query.
    pub target: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The store's number.
    pub store: usize,
    /// The key under which it is filled.
    pub key: &'a CacheKey,
}

impl Coverage<'_> {
    /// The stripe of `current` for this owner.
    pub fn stripe(&self) -> u8 {
        match self.owner.tenant() {
            None => match self.owner {
                // A user without a tenant is covered by purges for everybody only, which touch every stripe.
                Owner::Public | Owner::Tenant(_) | Owner::User(..) => PUBLIC_STRIPE,
            },
            Some(Tenant { scope: true, .. }) => SCOPES_STRIPE,
            Some(tenant) => tenant_stripe(&tenant.name),
        }
    }

    /// The digests of every row that may cover the response with these tags.
    pub fn selectors(&self, tags: Vec<Arc<str>>) -> Selectors {
        let scope = match self.owner.tenant() {
            Some(Tenant { scope: true, .. }) => Some(Scope::Scopes),
            Some(tenant) => Some(Scope::Tenant(&tenant.name)),
            None => (*self.owner == Owner::Public).then_some(Scope::Public),
        };
        let mut selectors = Vec::with_capacity(5 + 2 * tags.len());
        selectors.push(what(b"url", &[self.authority.as_bytes(), self.target.as_bytes()]));
        selectors.push(what(b"key", &[self.key.as_bytes()]));
        selectors.push(what(b"route", &[self.route.as_bytes()]));
        selectors.push(what(b"store", &[&self.store.to_be_bytes()]));
        selectors.extend(tags.iter().map(|tag| what(b"tag", &[tag.as_bytes()])));
        selectors.extend(tags.iter().map(|tag| group(self.authority, tag)));
        if let Owner::User(_, one) = self.owner {
            selectors.push(user(one));
        }
        Selectors::new(self.stripe(), scope.map(|scope| scope.digest()), &selectors, &tags)
    }
}

/// The rows of a purge: where each is written.
pub(super) struct Rows {
    pub(super) exact: Vec<u64>,
    pub(super) patterns: Vec<(u64, Pattern)>,
}

fn scopes(whose: &Where) -> Vec<Scope<'_>> {
    match whose {
        Where::All => vec![Scope::All],
        Where::Public => vec![Scope::Public],
        Where::Tenant(name) => vec![Scope::Tenant(name), Scope::Public, Scope::Scopes],
        Where::TenantOnly(name) => vec![Scope::Tenant(name), Scope::Scopes],
    }
}

/// The stripes that a purge moves; `None`: all.
pub(super) fn stripes(whose: &Where) -> Option<Vec<u8>> {
    scopes(whose).iter().map(Scope::stripe).collect()
}

/// What a purge writes.
pub(super) fn rows(selectors: &[Selector], whose: &Where) -> Rows {
    let mut rows = Rows { exact: Vec::new(), patterns: Vec::new() };
    for scope in &scopes(whose) {
        let scope = scope.digest();
        for selector in selectors {
            let mut exact = |selector| rows.exact.push(row(scope, selector));
            match selector {
                Selector::Everything => rows.exact.push(everything(scope)),
                Selector::Pattern(pattern) => rows.patterns.push((scope, pattern.clone())),
                Selector::Url { authority, target } => {
                    exact(what(b"url", &[authority.as_bytes(), target.as_bytes()]));
                }
                Selector::Key(key) => exact(what(b"key", &[key.as_bytes()])),
                Selector::Route(name) => exact(what(b"route", &[name.as_bytes()])),
                Selector::Store(number) => exact(what(b"store", &[&number.to_be_bytes()])),
                Selector::Tag(tag) => exact(what(b"tag", &[tag.as_bytes()])),
                Selector::Group { authority, name } => exact(group(authority, name)),
                Selector::User(one) => exact(user(one)),
            }
        }
    }
    rows
}

/// What purges would cover, without purging: for dry runs and for inspection.
pub struct Covering(Rows);

impl Covering {
    /// What these selectors cover of these responses.
    pub fn new(selectors: &[Selector], whose: &Where) -> Self {
        Self(rows(selectors, whose))
    }

    /// Whether a response with these selectors is covered.
    pub fn covers(&self, response: Covered<'_>) -> bool {
        covering_rows(response).any(|row| self.0.exact.contains(&row))
            || self.0.patterns.iter().any(|(scope, pattern)| {
                scopes_of(response).any(|own| own == *scope) && response.tags().any(|tag| pattern.covers(tag))
            })
    }
}
