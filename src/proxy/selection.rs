//! What somebody wants to be purged, in words, and the purges that this makes.
//!
//! Keeps: whoever acts for one tenant never gets a purge of another's; what names nothing that exists is said, not
//! passed over in silence.

use std::sync::Arc;

use super::shared::Shared;
use crate::error::{Error, ErrorKind};
use crate::http::reference;
use crate::identity::User;
use crate::purge::{Causer, Handling, Mode, Purge, Receipt, Selector, Underway, Unlogged, Where};
use crate::tag::Pattern;

/// The most things that one purge names.
pub const MAX_WANTED: usize = 10_000;
/// The most keys of one purge: each is looked for in all stores.
const MAX_KEYS: usize = 32;

/// The most patterns among them: each is looked at by every response whose tenant something was purged for.
pub const MAX_PATTERNS: usize = 256;

/// One thing that is to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Every response.
    Everything,
    /// An exact tag.
    Tag(String),
    /// A pattern over tags; `tenant:NAME:…` means that tenant.
    Pattern(String),
    /// A whole URL.
    Url(String),
    /// A path with its query, on an authority.
    Target(String, String, Option<String>),
    /// A route, by its name.
    Route(String),
    /// A store, by its name.
    Store(String),
    /// A key, by the name that inspection shows.
    Key(String),
    /// A cache group of an authority.
    Group(String, String),
    /// What belongs to one user.
    User(User),
}

impl Wanted {
    /// The word for its kind, as `POST /purge` has it, and what it names.
    pub fn told(&self) -> (&'static str, String) {
        match self {
            Self::Everything => ("everything", String::new()),
            Self::Tag(name) => ("tags", name.clone()),
            Self::Pattern(pattern) => ("patterns", pattern.clone()),
            Self::Url(url) => ("urls", url.clone()),
            Self::Target(authority, path, query) => {
                let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
                ("urls", format!("{authority}{path}{query}"))
            }
            Self::Route(name) => ("routes", name.clone()),
            Self::Store(name) => ("stores", name.clone()),
            Self::Key(name) => ("keys", name.clone()),
            Self::Group(authority, name) => ("groups", format!("{name} of {authority}")),
            Self::User(user) => ("users", user.name.to_string()),
        }
    }
}

/// How it is purged, and for whom.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Whose responses.
    pub whose: Where,
    /// Hard or soft.
    pub mode: Mode,
    /// Who caused it.
    pub by: Option<Causer>,
}

impl Terms {
    /// A hard purge.
    pub fn hard(whose: Where) -> Self {
        Self { whose, mode: Mode::Hard, by: None }
    }
}

/// The purges that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// Each is one record; most often there is one.
    pub purges: Vec<Purge>,
    /// URLs that no route caches.
    pub uncached: Vec<String>,
    /// Keys under which nothing is stored.
    pub unknown: Vec<String>,
}

impl Planned {
    /// The purges, under an id and what follows from it.
    pub fn named(&self, id: &str) -> impl Iterator<Item = (String, &Purge)> {
        let named = move |n| if n == 0 { id.to_owned() } else { format!("{id}.{n}") };
        self.purges.iter().enumerate().map(move |(n, purge)| (named(n), purge))
    }

    fn add(&mut self, whose: Where, selector: Selector, terms: &Terms) {
        match self.purges.iter_mut().find(|purge| purge.whose == whose) {
            Some(purge) => purge.selectors.push(selector),
            None => {
                let selectors = vec![selector];
                self.purges.push(Purge { selectors, whose, mode: terms.mode, by: terms.by });
            }
        }
    }
}

impl Shared {
    /// The purges that cover what is wanted, and what of it names nothing.
    ///
    /// # Errors
    /// 400 where something is not understood or too much, 403 where it is another tenant's.
    pub fn plan_purge(&self, wanted: &[Wanted], terms: &Terms) -> Result<Planned, Error> {
        let patterns = wanted.iter().filter(|one| matches!(one, Wanted::Pattern(_))).count();
        let keys = wanted.iter().filter(|one| matches!(one, Wanted::Key(_))).count();
        if wanted.len() > MAX_WANTED || patterns > MAX_PATTERNS || keys > MAX_KEYS {
            return Err(bad(format!(
                "one purge names at most {MAX_WANTED} things, {MAX_PATTERNS} of them patterns and {MAX_KEYS} keys"
            )));
        }
        let mut planned = Planned::default();
        for one in wanted {
            self.plan_one(one, terms, &mut planned)?;
        }
        Ok(planned)
    }

    fn plan_one(&self, wanted: &Wanted, terms: &Terms, planned: &mut Planned) -> Result<(), Error> {
        let selector = match wanted {
            Wanted::Everything => {
                planned.add(entirely(&terms.whose), Selector::Everything, terms);
                return Ok(());
            }
            Wanted::Pattern(pattern) => return plan_pattern(pattern, terms, planned),
            Wanted::Tag(name) => Selector::Tag(name.as_str().into()),
            Wanted::Group(authority, name) => {
                Selector::Group { authority: authority.clone(), name: name.as_str().into() }
            }
            Wanted::User(user) => Selector::User(user.clone()),
            Wanted::Route(name) => {
                let route = self.config().routes.iter().find(|route| route.name == *name);
                route.ok_or_else(|| bad(format!("no route has the name `{name}`")))?;
                Selector::Route(name.as_str().into())
            }
            Wanted::Store(name) => {
                let store = self.config().stores.iter().position(|store| store.name == *name);
                Selector::Store(store.ok_or_else(|| bad(format!("no store has the name `{name}`")))?)
            }
            Wanted::Key(name) => match self.cache().key_named(name) {
                Some(key) => Selector::Key(key),
                None => {
                    planned.unknown.push(name.clone());
                    return Ok(());
                }
            },
            Wanted::Url(_) | Wanted::Target(..) => match self.url_wanted(wanted)? {
                Some(selector) => selector,
                None => {
                    planned.uncached.push(wanted.told().1);
                    return Ok(());
                }
            },
        };
        planned.add(terms.whose.clone(), selector, terms);
        Ok(())
    }

    fn url_wanted(&self, wanted: &Wanted) -> Result<Option<Selector>, Error> {
        let (authority, path, query) = match wanted {
            Wanted::Target(authority, path, query) => (authority.clone(), path.clone(), query.clone()),
            wanted => {
                let (_, url) = wanted.told();
                let whole = || bad(format!("`{url}` is not a whole URL: write it as http://host/path"));
                let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
                if !matches!(scheme.as_deref(), Some("http" | "https")) {
                    return Err(whole());
                }
                let target = reference::resolve("/", None, &url).ok_or_else(whole)?;
                let https = scheme.as_deref() == Some("https");
                let authority = super::sanitize::spelled(&target.authority.ok_or_else(whole)?, https)
                    .map_err(|why| bad(format!("`{url}`: {why}")))?;
                (authority, target.path, target.query)
            }
        };
        // What no request can ask for is stored under no key: purging it would be a promise about nothing.
        super::sanitize::is_path(&path).map_err(|why| {
            bad(format!("`{path}` is no path of a request: {why}; write other bytes percent-encoded"))
        })?;
        let host = super::sanitize::host_of(&authority);
        Ok(self.url_selector(host, &authority, &path, query.as_deref()))
    }

    /// Carries the purges out, under an id and what follows from it. They are under way when this returns.
    pub fn start(&self, planned: &Planned, id: &str, handling: Handling) -> Vec<Underway> {
        planned.named(id).map(|(id, purge)| self.cache().purge_as(id, purge.clone(), handling)).collect()
    }

    /// The same, and waits until they are in force.
    ///
    /// # Errors
    /// 503 where the log cannot be reached, with the id to ask again with.
    pub async fn carry_out(&self, planned: &Planned, id: &str) -> Result<Vec<Receipt>, Error> {
        let mut receipts = Vec::with_capacity(planned.purges.len());
        for underway in self.start(planned, id, Handling::Report) {
            receipts.push(underway.acknowledged().await.map_err(|unlogged| not_logged(id, &unlogged))?);
        }
        Ok(receipts)
    }
}

/// The answer to a purge that is not acknowledged.
fn not_logged(id: &str, unlogged: &Unlogged) -> Error {
    let what = format!(
        "{}; it may be in force already: ask again with `Idempotency-Key: {id}`; to purge twice does no harm",
        unlogged.why
    );
    Error::new(ErrorKind::PurgeNotLogged, what)
}

fn bad(what: String) -> Error {
    Error::new(ErrorKind::BadRequest, what)
}

/// Everything of a tenant is the tenant's alone: not the public entries too.
fn entirely(whose: &Where) -> Where {
    match whose {
        Where::Tenant(name) => Where::TenantOnly(name.clone()),
        other => other.clone(),
    }
}

/// A pattern, and where it begins with a tenant, that tenant's entries under the rest of it.
fn plan_pattern(pattern: &str, terms: &Terms, planned: &mut Planned) -> Result<(), Error> {
    if let Some((tenant, rest)) = of_tenant(pattern) {
        let whose = match &terms.whose {
            Where::All => Where::Tenant(tenant.into()),
            Where::Tenant(own) | Where::TenantOnly(own) if **own == *tenant => terms.whose.clone(),
            Where::Public | Where::Tenant(_) | Where::TenantOnly(_) => {
                let what = format!("`{pattern}` names another tenant than the one that this purge is for");
                return Err(Error::new(ErrorKind::Forbidden, what));
            }
        };
        match rest {
            None => planned.add(entirely(&whose), Selector::Everything, terms),
            Some(rest) => planned.add(whose, Selector::Pattern(Pattern::new(rest)), terms),
        }
    }
    // An application may well have tags that begin so.
    planned.add(terms.whose.clone(), Selector::Pattern(Pattern::new(pattern)), terms);
    Ok(())
}

/// The tenant of `tenant:NAME`, `tenant:NAME:*` or `tenant:NAME:REST`, and the rest where it does not cover all.
fn of_tenant(pattern: &str) -> Option<(&str, Option<&str>)> {
    let named = pattern.strip_prefix("tenant:")?;
    let (tenant, rest) = match named.split_once(':') {
        Some((tenant, rest)) => (tenant, Some(rest).filter(|rest| *rest != "*" && !rest.is_empty())),
        None => (named, None),
    };
    (!tenant.is_empty() && !tenant.contains('*')).then_some((tenant, rest))
}

/// The name of a tenant that somebody acts for.
pub fn tenant_of(whose: &Where) -> Option<&Arc<str>> {
    match whose {
        Where::All | Where::Public => None,
        Where::Tenant(name) | Where::TenantOnly(name) => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(pattern: &str, whose: Where) -> Result<Vec<(Where, Vec<Selector>)>, ErrorKind> {
        let mut planned = Planned::default();
        plan_pattern(pattern, &Terms::hard(whose), &mut planned).map_err(|error| error.kind())?;
        Ok(planned.purges.into_iter().map(|purge| (purge.whose, purge.selectors)).collect())
    }

    fn pattern(text: &str) -> Selector {
        Selector::Pattern(Pattern::new(text))
    }

    #[test]
    fn e4_a_pattern_that_begins_with_a_tenant_means_that_tenant_too() {
        let acme = || Where::Tenant("acme".into());
        let only = || Where::TenantOnly("acme".into());
        for all in ["tenant:acme", "tenant:acme:*", "tenant:acme:"] {
            let literal = (Where::All, vec![pattern(all)]);
            assert_eq!(planned(all, Where::All).unwrap(), [(only(), vec![Selector::Everything]), literal]);
        }
        assert_eq!(
            planned("tenant:acme:inventory:*", acme()).unwrap(),
            [(acme(), vec![pattern("inventory:*"), pattern("tenant:acme:inventory:*")])]
        );
        assert_eq!(planned("tenant:*", Where::All).unwrap(), [(Where::All, vec![pattern("tenant:*")])]);
        assert_eq!(planned("tenant:bolt:*", acme()), Err(ErrorKind::Forbidden));
        assert_eq!(planned("tenant:bolt:x", only()), Err(ErrorKind::Forbidden));
    }
}
