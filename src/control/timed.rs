//! Purges by the clock (C10): every hour, say, whatever lies under a pattern.

use std::sync::Arc;

use crate::config::TimedPurge;
use crate::proxy::Shared;
use crate::proxy::audit::{self, Asker};
use crate::proxy::selection::{Terms, Wanted};
use crate::purge::{Mode, Where, random_id};

/// Carries out the timed purges of the configuration, for ever. Each counts its time from here on.
pub async fn timed_purges(shared: Arc<Shared>) {
    let mut running = tokio::task::JoinSet::new();
    for timed in shared.config().timed_purges.clone() {
        running.spawn(repeat(shared.clone(), timed));
    }
    // Dropped, the set ends its tasks. They do not end by themselves; without any there is nothing to wait for.
    while running.join_next().await.is_some() {}
    std::future::pending().await
}

async fn repeat(shared: Arc<Shared>, timed: TimedPurge) {
    loop {
        tokio::time::sleep(timed.every).await;
        carry_out(&shared, &timed).await;
    }
}

async fn carry_out(shared: &Shared, timed: &TimedPurge) {
    let tags = timed.tags.iter().cloned().map(Wanted::Tag);
    let wanted: Vec<Wanted> = tags.chain(timed.patterns.iter().cloned().map(Wanted::Pattern)).collect();
    let whose = timed.tenant.as_ref().map_or(Where::All, |tenant| Where::Tenant(tenant.as_str().into()));
    let terms = Terms { mode: if timed.soft { Mode::Soft } else { Mode::Hard }, ..Terms::hard(whose) };
    let asker = Asker { way: "timed", ..Asker::default() };
    let done = match shared.plan_purge(&wanted, &terms) {
        Ok(planned) => shared.carry_out(&planned, &random_id()).await.map(|done| (planned, done)),
        Err(error) => Err(error),
    };
    match done {
        Ok((planned, done)) => {
            for (purge, receipt) in planned.purges.iter().zip(&done) {
                audit::purged(&asker, &audit::what(&wanted), &purge.whose, purge.mode, receipt);
            }
        }
        Err(error) => audit::refused(&asker, &audit::what(&wanted), &error),
    }
}
