//! A purge by request, from what is asked for to the receipt: planned, tried or carried out, and written down.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::keys::{self, Kept, blocking};
use super::receipts;
use super::token;
use crate::config::Token;
use crate::error::Error;
use crate::http::Body;
use crate::proxy::Shared;
use crate::proxy::audit::{self, Asker};
use crate::proxy::selection::{Planned, Terms, Wanted};
use crate::purge::{Covering, Mode, random_id};

/// How many keys a dry run names.
const SAMPLE: usize = 100;

/// How the purge was asked for, besides what.
pub(super) struct How {
    /// The tenant that the request names.
    pub(super) tenant: Option<Arc<str>>,
    /// Whether the responses are to be stale, not gone.
    pub(super) soft: bool,
    /// Whether to say only what would be covered.
    pub(super) dry_run: bool,
    /// The purge's id.
    pub(super) id: String,
}

/// The id of a purge: that of an earlier try, where the request names one, or a new one.
pub(super) fn id_of(headers: &HeaderMap) -> String {
    /// The longest that is taken.
    const LONGEST: usize = 128;
    let named = headers.get("idempotency-key").and_then(|id| id.to_str().ok());
    let named = named.filter(|id| (1..=LONGEST).contains(&id.len()));
    named.map_or_else(random_id, str::to_owned)
}

/// Plans a purge with this token, and carries it out unless it is a dry run.
///
/// # Errors
/// 400 where something is not understood, 403 where it is another tenant's, 503 where the log cannot be reached.
pub(super) async fn purge(
    shared: &Arc<Shared>,
    token: &Token,
    asker: &Asker,
    wanted: Vec<Wanted>,
    how: How,
) -> Result<Response<Body>, Error> {
    let mode = if how.soft { Mode::Soft } else { Mode::Hard };
    let terms = Terms { mode, ..Terms::hard(token::whose(token, how.tenant)?) };
    let planned = plan(shared, &wanted, &terms).await?;
    let what = receipts::what(&wanted);
    if how.dry_run {
        return dry_run(shared, token, &planned, what).await;
    }
    let done = shared.carry_out(&planned, &how.id).await?;
    for (purge, receipt) in planned.purges.iter().zip(&done) {
        audit::purged(asker, &audit::what(&wanted), &purge.whose, mode, receipt);
    }
    Ok(receipts::receipt(&done, &planned, &terms, what))
}

/// Keys are looked for in all stores: on a thread that may block.
async fn plan(shared: &Arc<Shared>, wanted: &[Wanted], terms: &Terms) -> Result<Planned, Error> {
    if !wanted.iter().any(|one| matches!(one, Wanted::Key(_))) {
        return shared.plan_purge(wanted, terms);
    }
    let (shared, wanted, terms) = (shared.clone(), wanted.to_vec(), terms.clone());
    blocking(move || shared.plan_purge(&wanted, &terms)).await?
}

async fn dry_run(
    shared: &Arc<Shared>,
    token: &Token,
    planned: &Planned,
    what: Value,
) -> Result<Response<Body>, Error> {
    let covering: Vec<Covering> =
        planned.purges.iter().map(|purge| Covering::new(&purge.selectors, &purge.whose)).collect();
    let tenant = token.tenant.clone();
    let kept = Kept { tenant, limit: SAMPLE, ..Kept::default() };
    let shared = shared.clone();
    let found = blocking(move || {
        keys::list(&shared, &kept, |response| covering.iter().any(|one| one.covers(response.selectors())))
    });
    let found = found.await?;
    let mut answer = json!({
        "dry_run": true, "would_purge": what, "count": found.count, "keys": found.keys,
        "all_keys_named": found.count == found.keys.len(),
    });
    receipts::add_nothing(&mut answer, planned);
    Ok(receipts::json(StatusCode::OK, &answer))
}
