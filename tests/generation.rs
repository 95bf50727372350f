//! A fill that was asked for with one generation of a credential stores nothing once that generation has ended.

#![allow(clippy::unwrap_used)] // helpers fail a test by a panic, as tests do

mod support;

use support::{Client, Gate, Larder, Origin, Reply};

const CONFIG: &str = "
origins: { app: { url: \"{origin}\" } }
identity:
  ask: { path: /whoami, user: X-User, cookies: [session] }
  user: [{ ask: user }]
tiers: { origin: {} }
routes:
  - { name: page, path: /page, tier: origin, share: user }
  - { name: rest, path: \"/{*rest}\" }
";

/// An application whose page is to be validated before every use. Its first answer is `x-rev: 1`; the first 304, which
/// waits for the gate, says `x-rev: 2`; later ones say nothing of it.
fn application(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |request| {
        let gate = gate.clone();
        async move {
            let validator = request.headers().contains_key("if-none-match");
            match (request.uri().path(), validator) {
                ("/whoami", _) => Reply::status(204).header("x-user", "ann"),
                ("/page", false) => Reply::ok("page")
                    .header("etag", "\"1\"")
                    .header("cache-control", "no-cache")
                    .header("x-rev", "1"),
                ("/page", true) => {
                    let first = gate.count() == 0;
                    gate.pass().await;
                    let reply = Reply::status(304).header("etag", "\"1\"");
                    if first { reply.header("x-rev", "2") } else { reply }
                }
                _ => Reply::status(204),
            }
        }
    })
}

/// What `x-rev` the stored page has after a validation during which `write` was sent, or was not.
async fn rev_after_a_validation(write: bool) -> String {
    let gate = Gate::closed();
    let origin = application(&gate);
    let larder = Larder::with(CONFIG).origin(&origin).start().await;
    let client = Client::new();
    let page = || client.get(larder.url("/page")).header("cookie", "session=s").send();

    assert_eq!(page().await.x_cache(), "MISS");
    let (validated, ()) = tokio::join!(page(), async {
        gate.arrived(1).await;
        if write {
            let url = larder.url("/elsewhere");
            assert_eq!(client.post(url).header("cookie", "session=s").send().await.status, 204);
        }
        gate.open();
    });
    let (word, reason) = if write { ("BYPASS", "credential-changed") } else { ("REVALIDATED", "validated") };
    assert_eq!((validated.x_cache(), validated.header("x-rev")), (word, Some("2")));
    assert!(validated.cache_status().ends_with(&format!("detail={reason}")), "{}", validated.cache_status());
    let next = page().await;
    assert_eq!(next.x_cache(), "REVALIDATED");
    next.header("x-rev").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_renews_the_stored_response() {
    assert_eq!(rev_after_a_validation(false).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_to_a_credential_that_was_used_for_a_write_meanwhile_renews_nothing() {
    assert_eq!(rev_after_a_validation(true).await, "1");
}
