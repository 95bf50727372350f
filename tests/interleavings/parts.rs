//! Ranges and parts on the real request path: clients that want pieces and the whole, and writes, at once. Every block of
//! eight bytes says which version it is of, where it lies and whose it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use larder::http::Body;

use crate::proxy::Slow;
use crate::random::Random;
use crate::support::{Got, World, get};

const CONFIG: &str = "
tiers:
  short: { ttl: 10s, stale_if_error: 30s }
  origin: {}
routes:
  - { name: page, path: /page, tier: short, share: public, bust: { allow: anyone, per_key: 1000/1s } }
  - { name: rfc, path: /rfc, tier: origin, share: public, bust: { allow: anyone, per_key: 1000/1s } }
";
const BLOCKS: usize = 6;

/// The application, and what everybody knows.
#[derive(Clone)]
struct Library {
    random: Random,
    path: &'static str,
    /// Two versions in a row have the same strong entity tag, which must not be: nothing but purges tells them apart.
    lies: bool,
    version: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
}

fn content(version: u64, who: &str) -> String {
    (0..BLOCKS).map(|block| format!("{version:04}.{block}{}|", &who[..1])).collect()
}

impl Library {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        self.random.pause(6).await;
        if *request.method() == Method::POST {
            let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
            self.random.pause(6).await;
            return Response::new(Body::from(version.to_string()));
        }
        let version = self.version.load(Ordering::SeqCst);
        self.random.pause(6).await;
        if self.random.one_in(15) {
            return Response::builder().status(503).body(Body::from("busy")).unwrap();
        }
        self.page(&request, version)
    }

    fn page(&self, request: &Request<Body>, version: u64) -> Response<Body> {
        let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
        let rfc = self.path == "/rfc";
        let who = field("x-who").filter(|_| rfc).unwrap_or("all");
        let etag = format!("\"{}-{who}\"", if self.lies { version / 2 } else { version });
        let mut response = Response::builder().header("etag", &etag);
        if rfc {
            response = response.header("vary", "x-who").header("cache-control", "max-age=10");
        }
        if field("if-none-match") == Some(&etag) {
            return response.status(304).body(Body::empty()).unwrap();
        }
        let mut text = content(version, who);
        let wanted = field("range").filter(|_| field("if-range").is_none_or(|tag| tag == etag));
        if let Some(range) = wanted.filter(|_| !self.random.one_in(25)) {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, last) = (first.parse().unwrap(), last.parse().unwrap_or(text.len() - 1));
            response =
                response.status(206).header("content-range", format!("bytes {first}-{last}/{}", text.len()));
            text = text[first..=last].to_owned();
        }
        if self.random.one_in(2) {
            response = response.header("content-length", text.len());
        }
        let left =
            text.as_bytes().chunks(12).map(|chunk| String::from_utf8(chunk.to_vec()).unwrap()).collect();
        let breaks = self.random.one_in(15);
        response.body(Body::wrap(Slow { left, random: self.random.clone(), breaks })).unwrap()
    }

    /// What is wrong with an answer to a request for these blocks, made when `must` was acknowledged.
    fn judge(&self, got: &Got, who: &str, blocks: Option<(usize, usize)>, must: u64) -> Option<String> {
        let (206 | 200, Ok(text)) = (got.status.as_u16(), &got.body) else { return None };
        let (from, to) = blocks.filter(|_| got.status == 206).unwrap_or((0, BLOCKS - 1));
        if text.len() != 8 * (to - from + 1) {
            return Some(format!("{} {} of {blocks:?}: {text}", got.status, got.x_cache()));
        }
        let mut versions = Vec::new();
        for (at, block) in (from..).zip(Bytes::from(text.clone()).chunks(8)) {
            let block = String::from_utf8(block.to_vec()).unwrap();
            let version: u64 = block[..4].parse().unwrap();
            let whose = &block[6..7];
            if version < must || block[5..6] != at.to_string() || whose != "a" && whose != &who[..1] {
                return Some(format!(
                    "{who}, after {must}, at {at}, {}: {text}",
                    got.header("cache-status")?
                ));
            }
            versions.push(version);
        }
        versions.dedup();
        (versions.len() > 1 && !self.lies).then(|| format!("torn: {text}"))
    }
}

async fn client(world: World, library: Library) -> Option<String> {
    let random = &library.random;
    random.pause(400).await;
    let path = library.path;
    if random.one_in(4) {
        let mut write = get(path, &[]);
        *write.method_mut() = Method::POST;
        let got = world.send(write).await;
        library.acknowledged.fetch_max(got.text().parse().unwrap(), Ordering::SeqCst);
        return None;
    }
    let who = if random.one_in(2) { "cat" } else { "bee" };
    let must = library.acknowledged.load(Ordering::SeqCst);
    let target = if random.one_in(20) { format!("{path}?bust_cache=1") } else { path.to_owned() };
    let first = if random.one_in(3) { random.below(BLOCKS) } else { 0 };
    let last = first + random.below(BLOCKS - first);
    let blocks = (!random.one_in(4)).then_some((first, last));
    let range = blocks.map(|(first, last)| format!("bytes={}-{}", 8 * first, 8 * last + 7));
    let fields: Vec<_> =
        [("x-who", who)].into_iter().chain(range.as_deref().map(|range| ("range", range))).collect();
    let answer = world.send(get(&target, &fields));
    random.pause(4).await;
    library.judge(&answer.await, who, blocks, must)
}

async fn run(seed: u64) -> usize {
    let (version, acknowledged) = Default::default();
    let path = if seed.is_multiple_of(2) { "/page" } else { "/rfc" };
    let lies = seed % 4 > 1;
    let library = Library { random: Random::new(seed), path, lies, version, acknowledged };
    let application = library.clone();
    let world = World::new(CONFIG, move |request| application.clone().answer(request));
    let clients = || client(world.clone(), library.clone());
    crate::see_through(seed, &world, &library.random, (40, 8), clients).await;
    world.seen().iter().filter(|seen| seen.header("if-range").is_some()).count()
}

#[test]
fn no_order_of_ranges_writes_and_completions_shows_what_was_purged() {
    let mut completions = 0;
    for seed in 0..600 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        completions += runtime.unwrap().block_on(run(seed));
    }
    assert!(completions > 300, "{completions} parts were continued");
}
