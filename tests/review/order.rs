//! The order of fills: an older one never overwrites a newer one, also among variants, also after an eviction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder::cache::{Attach, Begun, Cache, Leader, Lookup, Want, variant_key};
use larder::clock::Clock;
use larder::config::{Capacity, Eviction, Store};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::Freshness;
use larder::purge::Coverage;
use larder::store::{Backend, MemoryStore};
use larder::stored::StoredResponse;

const OWNER: Owner = Owner::Public;

fn key() -> CacheKey {
    let (owner, path) = (&OWNER, "/page");
    let (route, method, query, selecting) = ("r", "GET", None, &[][..]);
    CacheKey::new(&KeyParts { https: false, authority: "shop", owner, route, method, path, query, selecting })
        .unwrap()
}

fn request() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-who"), HeaderValue::from_static("ant"))])
}

fn variant() -> (Vec<HeaderName>, CacheKey) {
    let names = vec![HeaderName::from_static("x-who")];
    let place = variant_key(&key(), &names, &request()).unwrap();
    (names, place)
}

fn response(begun: Begun, body: &'static str) -> Arc<StoredResponse> {
    let freshness = Freshness::until_purged();
    let selectors =
        Coverage { owner: &OWNER, authority: "shop", target: "/page", route: "page", store: 0, key: &key() }
            .selectors(Vec::new());
    let body = Bytes::from_static(body.as_bytes());
    let (status, headers) = (StatusCode::OK, HeaderMap::new());
    Arc::new(StoredResponse::new(status, &headers, body, freshness, begun.at, begun.ticket, selectors, 0))
}

struct World {
    cache: Cache,
    store: Arc<MemoryStore>,
}

impl World {
    fn new() -> Self {
        let capacity = Capacity::Entries(1_000);
        let config = Store {
            name: "s".into(),
            capacity,
            max_object: 1_000,
            eviction: Eviction::ScanResistant,
            memory_ttl: None,
            redis: None,
        };
        let store = Arc::new(MemoryStore::new(&config));
        let cache = Cache::with_backends(vec![store.clone()], Clock::manual(Duration::from_secs(1)));
        Self { cache, store }
    }

    fn lead(&self, place: Option<&CacheKey>) -> (Leader, Begun) {
        let Attach::Lead(mut leader) = self.cache.attach(&key(), place, Want::New) else {
            panic!("it joined")
        };
        let begun = self.cache.begin(&mut leader, 0);
        (leader, begun)
    }

    fn commit(
        &self,
        (mut leader, begun): (Leader, Begun),
        variant: Option<(Vec<HeaderName>, CacheKey)>,
        body: &'static str,
    ) {
        self.cache.commit(&mut leader, 0, &key(), response(begun, body), variant).unwrap();
    }

    fn stored(&self) -> Option<Bytes> {
        match self.cache.lookup(0, &key(), &request(), self.cache.clock().now()).0 {
            Lookup::Found(stored, _) => Some(stored.body.clone()),
            _ => None,
        }
    }
}

#[test]
fn a_fill_that_began_before_variants_were_known_never_overwrites_a_newer_variant() {
    let world = World::new();
    let old = world.lead(None);
    world.commit(world.lead(Some(&variant().1)), Some(variant()), "new");
    // Also where the newer one is not there any more.
    world.store.remove(&variant().1);
    world.commit(old, Some(variant()), "old");
    assert_eq!(world.stored(), None);
}

#[test]
fn an_older_answer_without_variants_never_hides_newer_ones_and_the_other_way_round() {
    let world = World::new();
    let old = world.lead(None);
    world.commit(world.lead(None), Some(variant()), "new");
    world.commit(old, None, "old");
    assert_eq!(world.stored().unwrap(), "new");
    let world = World::new();
    let old = world.lead(None);
    world.commit(world.lead(Some(&variant().1)), None, "new");
    world.commit(old, Some(variant()), "old");
    assert_eq!(world.stored().unwrap(), "new");
    assert_eq!(world.cache.fills_in_flight(), 0);
}

#[test]
fn no_variant_that_is_stored_at_the_same_time_as_others_is_lost_from_their_list() {
    let world = World::new();
    let names = vec![HeaderName::from_static("x-who")];
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (world, names) = (&world, &names);
            scope.spawn(move || {
                for n in 0..8 {
                    let who = HeaderValue::from(thread * 8 + n);
                    let request = HeaderMap::from_iter([(names[0].clone(), who)]);
                    let place = variant_key(&key(), names, &request).unwrap();
                    world.commit(world.lead(Some(&place)), Some((names.clone(), place)), "body");
                }
            });
        }
    });
    let listed = world.cache.variants(0, &key(), world.cache.clock().now()).unwrap().members.len();
    assert_eq!(listed, 64);
}
