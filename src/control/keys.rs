//! Inspection: which responses are stored, by tag, pattern, tenant, route, store, URL or key.
//!
//! Keeps: a token that is bound to a tenant is shown that tenant's responses and no others; an answer names a bounded
//! number of keys, whatever is stored; what is purged is not there.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::token;
use crate::cache::Shown;
use crate::clock::Now;
use crate::config::Token;
use crate::error::{Error, ErrorKind};
use crate::http::query;
use crate::key::{KeyView, Owner};
use crate::policy::Validity;
use crate::proxy::Shared;
use crate::proxy::selection::{Terms, Wanted};
use crate::purge::{Covering, Where};
use crate::stored::StoredResponse;
use crate::tag::Pattern;

/// How many keys an answer names unless it is asked for another number.
const USUAL: usize = 100;
/// How many it names at most.
const MOST: usize = 10_000;

/// What is shown, besides what selectors say.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// This tenant's only.
    pub(super) tenant: Option<Arc<str>>,
    /// A glob over the key as it is shown.
    pub(super) matching: Option<Pattern>,
    /// How many keys are named.
    pub(super) limit: usize,
}

/// What was found.
pub(super) struct Found {
    /// How many there are.
    pub(super) count: usize,
    /// The first of them.
    pub(super) keys: Vec<Value>,
}

/// Answers `GET /keys`.
///
/// # Errors
/// 400 for a parameter that is not understood, 403 for another tenant's.
pub(super) async fn answer(shared: &Arc<Shared>, token: &Token, query: &str) -> Result<Value, Error> {
    let (wanted, mut kept) = parameters(query)?;
    if token.tenant.is_some() {
        if kept.tenant.is_some() && kept.tenant != token.tenant {
            return Err(token::another_tenant());
        }
        kept.tenant.clone_from(&token.tenant);
    }
    let shared = shared.clone();
    let found = blocking(move || {
        let coverings = wanted.iter().map(|one| covering(&shared, one)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, Error>(list(&shared, &kept, |response| {
            coverings.iter().all(|any| any.iter().any(|one| one.covers(response.selectors())))
        }))
    });
    let found = found.await??;
    Ok(json!({ "count": found.count, "all_keys_named": found.count == found.keys.len(), "keys": found.keys }))
}

/// What one parameter selects: the same as a purge of it would.
fn covering(shared: &Shared, wanted: &Wanted) -> Result<Vec<Covering>, Error> {
    let planned = shared.plan_purge(std::slice::from_ref(wanted), &Terms::hard(Where::All))?;
    Ok(planned.purges.iter().map(|purge| Covering::new(&purge.selectors, &purge.whose)).collect())
}

fn parameters(text: &str) -> Result<(Vec<Wanted>, Kept), Error> {
    let mut kept = Kept { limit: USUAL, ..Kept::default() };
    let mut wanted = Vec::new();
    for pair in query::pairs(text) {
        let bad = |what: &str| {
            let what = format!("`{}` {what}", pair.raw);
            Error::new(ErrorKind::BadRequest, what)
        };
        let value = query::decode(pair.value).ok_or_else(|| bad("is not UTF-8"))?.into_owned();
        match pair.name {
            "tag" => wanted.push(Wanted::Tag(value)),
            "pattern" => wanted.push(Wanted::Pattern(value)),
            "route" => wanted.push(Wanted::Route(value)),
            "store" => wanted.push(Wanted::Store(value)),
            "url" => wanted.push(Wanted::Url(value)),
            "key" => wanted.push(Wanted::Key(value)),
            "tenant" => kept.tenant = Some(value.into()),
            "match" => kept.matching = Some(Pattern::new(&value)),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit <= MOST);
                kept.limit = limit.ok_or_else(|| bad(&format!("is not a number up to {MOST}")))?;
            }
            _ => {
                let words = "tag, pattern, route, store, url, key, tenant, match and limit";
                return Err(bad(&format!("is not understood: the parameters are {words}")));
            }
        }
    }
    Ok((wanted, kept))
}

/// Runs something that takes as long as the stores are large.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    static LOOKS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));
    let gone = || Error::new(ErrorKind::Internal, "the look at the stores was given up");
    // The place belongs to the work, not to who asked for it: whoever leaves does not make room for another look.
    let place = LOOKS.clone().acquire_owned().await.map_err(|_| gone())?;
    let run = move || {
        let _place = place;
        run()
    };
    tokio::task::spawn_blocking(run).await.map_err(|_| gone())
}

/// Goes through all that is stored: counts what is wanted, and shows the first of it.
pub(super) fn list(shared: &Shared, kept: &Kept, wanted: impl Fn(&StoredResponse) -> bool) -> Found {
    let now = shared.cache().clock().now();
    let mut found = Found { count: 0, keys: Vec::new() };
    shared.cache().inspect(|shown| {
        if !wanted(&shown.response) {
            return;
        }
        let Some(view) = shown.key.view().filter(|view| is_of(kept.tenant.as_deref(), view)) else { return };
        let text = shown.key.describe();
        if kept.matching.as_ref().is_some_and(|pattern| !pattern.covers(&text)) {
            return;
        }
        found.count += 1;
        if found.keys.len() < kept.limit {
            found.keys.push(told(shared, &shown, &view, text, now));
        }
    });
    found
}

/// A role's own scope is no tenant, whatever its name.
fn is_of(tenant: Option<&str>, view: &KeyView) -> bool {
    tenant.is_none_or(|name| view.owner.tenant().is_some_and(|tenant| !tenant.scope && *tenant.name == *name))
}

fn told(shared: &Shared, shown: &Shown, view: &KeyView, text: String, now: Now) -> Value {
    let freshness = shown.response.freshness();
    let state = match (shown.validity, freshness.staleness(now)) {
        (Validity::Valid, None) => "fresh",
        (Validity::Valid, Some(_)) => "stale",
        _ => "purged softly",
    };
    json!({
        "name": shown.key.name(),
        "key": text,
        "owner": owner(&view.owner),
        "route": view.route,
        "url": view.url(),
        "store": shared.config().stores.get(shown.store).map(|store| &store.name),
        "tags": shown.response.selectors().tags().collect::<Vec<_>>(),
        "status": shown.response.status.as_u16(),
        "age": freshness.age(now).as_secs(),
        // Without an end it is kept until it is purged.
        "remaining": freshness.remaining(now).map(|left| left.as_secs()),
        "state": state,
        "size": shown.response.body.len(),
        "weight": shown.response.weight(shown.key.len()),
    })
}

fn owner(owner: &Owner) -> Value {
    let tenant = owner.tenant();
    let word = |scope| if scope { "scope" } else { "tenant" };
    let mut told = serde_json::Map::new();
    if let Some(tenant) = tenant {
        told.insert(word(tenant.scope).to_owned(), json!(&*tenant.name));
    }
    if let Owner::User(_, user) = owner {
        told.insert("user".to_owned(), json!(&*user.name));
        told.insert("issuer".to_owned(), json!(&*user.issuer));
    }
    if *owner == Owner::Public { json!("public") } else { Value::Object(told) }
}
