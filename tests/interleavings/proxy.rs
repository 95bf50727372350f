//! The real request path: clients, busts and writes at once, in front of an application whose answers, bodies and
//! failures come at random moments.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use larder::error::BoxError;
use larder::http::Body;

use crate::random::Random;
use crate::support::{Got, World, get};

const CONFIG: &str = "
tiers:
  short: { ttl: 10s, stale_while_revalidate: 5s, stale_if_error: 30s }
  origin: {}
routes:
  - { name: page, path: /page, tier: short, share: public, bust: { allow: anyone, per_key: 1000/1s } }
  - { name: rfc, path: /rfc, tier: origin, share: public, bust: { allow: anyone, per_key: 1000/1s } }
";

/// The application, and what everybody knows.
#[derive(Clone)]
struct Shop {
    random: Random,
    /// The one page of this run, and its data.
    path: &'static str,
    version: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
    time: Arc<AtomicU64>,
}

/// A body that comes in pieces, after pauses, and may break off.
pub(crate) struct Slow {
    pub(crate) left: Vec<String>,
    pub(crate) random: Random,
    pub(crate) breaks: bool,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.random.one_in(2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.breaks && self.left.len() == 1 {
            return Poll::Ready(Some(Err("the application broke off".into())));
        }
        let next = if self.left.is_empty() { None } else { Some(self.left.remove(0)) };
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

impl Shop {
    fn tick(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let asked = self.tick();
        self.random.pause(6).await;
        if *request.method() == Method::POST {
            let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
            self.random.pause(6).await;
            return Response::new(Body::from(version.to_string()));
        }
        let version = self.version.load(Ordering::SeqCst);
        self.random.pause(6).await;
        if self.random.one_in(12) {
            return Response::builder().status(503).body(Body::from("busy")).unwrap();
        }
        self.page(&request, version, asked)
    }

    fn page(&self, request: &Request<Body>, version: u64, asked: u64) -> Response<Body> {
        let rfc = request.uri().path() == "/rfc";
        let who = request.headers().get("x-who").filter(|_| rfc).map_or("all", |who| who.to_str().unwrap());
        // Two versions in a row have the same weak validator.
        let etag = format!("W/\"{}-{who}\"", version / 2);
        let mut response = Response::builder().header("etag", &etag);
        if rfc {
            response = response.header("vary", "x-who").header("cache-control", "max-age=10");
        }
        if request.headers().get("if-none-match").is_some_and(|tag| tag.as_bytes() == etag.as_bytes()) {
            return response.status(304).body(Body::empty()).unwrap();
        }
        if self.random.one_in(15) {
            response = response.header("set-cookie", "a=b");
        }
        let left = vec![format!("{version} "), format!("{asked} "), format!("{who} end")];
        let breaks = self.random.one_in(20);
        response.body(Body::wrap(Slow { left, random: self.random.clone(), breaks })).unwrap()
    }

    /// What is wrong with an answer to a request that came at `came`, when `must` was acknowledged.
    fn judge(&self, got: &Got, who: &str, came: u64, must: u64) -> Option<String> {
        let (200, Ok(text)) = (got.status.as_u16(), &got.body) else { return None };
        let parts: Vec<&str> = text.split(' ').collect();
        let [version, asked, whose, "end"] = parts[..] else { return Some(format!("cut: {text}")) };
        let (version, asked): (u64, u64) = (version.parse().unwrap(), asked.parse().unwrap());
        if version < must {
            return Some(format!("{}: version {version} after {must} was acknowledged", got.x_cache()));
        }
        if got.x_cache() == "REFRESH" && asked < came {
            return Some(format!("a bust at {came} got an answer asked for at {asked}"));
        }
        (whose != "all" && whose != who).then(|| format!("{who} got the answer of {whose}"))
    }
}

async fn client(world: World, shop: Shop) -> Option<String> {
    shop.random.pause(40).await;
    let path = shop.path;
    if shop.random.one_in(5) {
        let mut write = get(path, &[]);
        *write.method_mut() = Method::POST;
        let got = world.send(write).await;
        shop.acknowledged.fetch_max(got.text().parse().unwrap(), Ordering::SeqCst);
        return None;
    }
    let who = if shop.random.one_in(2) { "ant" } else { "bee" };
    let (came, must) = (shop.tick(), shop.acknowledged.load(Ordering::SeqCst));
    let target = if shop.random.one_in(6) { format!("{path}?bust_cache=1") } else { path.to_owned() };
    let answer = world.send(get(&target, &[("x-who", who)]));
    shop.random.pause(4).await;
    shop.judge(&answer.await, who, came, must)
}

async fn run(seed: u64) {
    let (version, acknowledged, time) = Default::default();
    let path = if seed.is_multiple_of(2) { "/page" } else { "/rfc" };
    let shop = Shop { random: Random::new(seed), path, version, acknowledged, time };
    let application = shop.clone();
    let world = World::new(CONFIG, move |request| application.clone().answer(request));
    let clients = || client(world.clone(), shop.clone());
    crate::see_through(seed, &world, &shop.random, (30, 6), clients).await;
}

#[test]
fn no_order_of_events_on_the_real_path_breaks_a_promise() {
    for seed in 0..2_000 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(seed));
    }
}
