//! Fills: every request ends, whatever the others, the application or its body do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use larder::error::BoxError;
use larder::http::Body;

use super::support::{World, get, reply, whole, within};

const BUSTS: &str = "
stores: { default: { memory: 1MiB, max_object: 64KiB } }
tiers: { short: { ttl: 10m } }
routes:
  - { name: big, path: '/{*rest}', tier: short, share: public, bust: { allow: anyone, per_key: 100/1s } }
";

/// A body that never ends, or one that panics.
struct Odd {
    panics: bool,
}

impl http_body::Body for Odd {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(!self.panics, "an application's body that panics");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 32 * 1024])))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_its_fresh_answer_holds_up_nobody_elses() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let world = World::new(BUSTS, move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first { Response::new(Body::wrap(Odd { panics: false })) } else { reply(200, &[], "new") }
        }
    });
    let stalled = within(world.head(get("/big?bust_cache=1", &[]))).await;
    for _ in 0..3 {
        assert_eq!(world.get("/big?bust_cache=1", &[]).await.text(), "new");
    }
    assert_eq!(world.get("/big", &[]).await.text(), "new");
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_fill_that_dies_get_an_error_and_do_not_wait_for_ever() {
    let world = World::new(BUSTS, async |_| Response::new(Body::wrap(Odd { panics: true })));
    let got = within(whole(within(world.head(get("/dies", &[]))).await)).await;
    assert!(got.body.is_err(), "{got:?}");
    let again = within(world.head(get("/dies", &[]))).await;
    assert_eq!(again.headers()["x-cache"], "MISS");
}
