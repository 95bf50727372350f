//! Waiting with a deadline: the only file of the tests that may sleep, and only between two looks at a condition, or as an
//! application that is slow.

use std::future::Future;
use std::time::Duration;

/// How long anything may take before a test fails. Far more than needed: machines are slow and shared.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// The value of `future`; a panic that names `what` when it takes too long.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("took more than {DEADLINE:?}: {what}"),
    }
}

/// Returns once `condition` holds; a panic that names `what` when it takes too long.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, || condition().then_some(())).await;
}

/// The first value that `look` gives; a panic that names `what` when it takes too long.
pub async fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until_async(what, async || look()).await
}

/// The first value that `look` gives, where looking takes requests; a panic that names `what` when it takes too long.
pub async fn until_async<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(value) = look().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(what, waiting).await
}

/// The latency of an application: what it does before it answers. Nothing is waited for by it.
pub async fn latency(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Whether `condition` came to hold within `limit`, for code that is not async (`Drop`).
pub fn blocking(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..=limit.as_millis() / PAUSE.as_millis() {
        if condition() {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}
