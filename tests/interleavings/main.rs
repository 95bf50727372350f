//! Thousands of seeded orders of events: requests, busts, writes with their purges, refreshes, fills that fail or die.
//!
//! `model` walks the steps of a fill by hand over the real cache, so that a step can be left out: each omission must be
//! found. `proxy` runs the real request path, `parts` the same for ranges. Every run is repeated exactly by its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod executor;
mod model;
mod parts;
mod proxy;
mod random;
#[allow(unreachable_pub, dead_code)]
#[path = "../review/support.rs"]
mod support;

use std::future::Future;
use std::time::Duration;

use random::Random;
use support::{World, settle, within};

/// So many clients at once. Between the end of one and the next, once in so many times, the clock moves on; as often, a
/// client leaves. What a client finds fault with ends the test.
async fn see_through<C>(
    seed: u64,
    world: &World,
    random: &Random,
    (clients, odds): (usize, usize),
    client: impl Fn() -> C,
) where
    C: Future<Output = Option<String>> + Send + 'static,
{
    let clients: Vec<_> = (0..clients).map(|_| tokio::spawn(client())).collect();
    for handle in clients {
        random.pause(10).await;
        match random.below(odds) {
            0 => world.clock.advance(Duration::from_secs(6)),
            1 => handle.abort(),
            _ => {}
        }
        if let Ok(Some(fault)) = within(handle).await {
            panic!("seed {seed}: {fault}");
        }
    }
    settle().await;
    assert_eq!(world.proxy.shared().cache().fills_in_flight(), 0, "seed {seed}: a slot is left over");
}
