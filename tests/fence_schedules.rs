//! Purges, hard and soft, against every step of a fill, over the real fence, fills and store: one hundred thousand seeded
//! orders of their steps. `LARDER_SCHEDULES` sets another number. Every order is repeated exactly by its seed.
//!
//! The steps of a purge, of a look and of the floor are those of `larder::purge::{APPLY, LOOK, RAISE}`, with anything else in
//! between. A step that is left out, or taken in another order, is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

#[path = "interleavings/executor.rs"]
mod executor;
#[path = "interleavings/random.rs"]
mod random;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use executor::Executor;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use larder::cache::{Attach, Cache, Fill, Kept, Leader, Lookup, Outcome, SharedBody, SharedHead, Want};
use larder::clock::Clock;
use larder::config::{Capacity, Eviction, Store};
use larder::error::{Error, ErrorKind};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::{Freshness, Reason, Validity};
use larder::purge::{APPLY, Causer, Coverage, LOOK, Look, Mode, Purge, RAISE, Record, Selector, Where};
use larder::store::{Backend, MemoryStore, Seen};
use larder::stored::{Entry, Selectors, StoredResponse};
use random::{Random, Yield};

/// What is left out, or done in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omitted {
    Nothing,
    /// `begun_at` is loaded after the origin answered.
    BegunAt,
    /// `current` tells of a purge before its row is there.
    RowFirst,
    /// What is fetched is stored whatever was stored meanwhile.
    Tickets,
    /// What is below the floor is served.
    Floor,
    /// Rows are freed before the floor is published.
    FloorBeforeFreeing,
    /// The floor does not follow the fills that run.
    FollowsFills,
    /// Purges come into force in any order.
    InOrder,
}

static KEY: LazyLock<CacheKey> = LazyLock::new(|| {
    let (route, method, path, query, selecting) = ("r", "GET", "/page", None, &[][..]);
    let owner = &Owner::Public;
    let parts = KeyParts { https: false, authority: "shop", owner, route, method, path, query, selecting };
    CacheKey::new(&parts).unwrap()
});

fn selectors() -> Selectors {
    let (owner, authority, target) = (&Owner::Public, "shop", "/page");
    Coverage { owner, authority, target, route: "r", store: 0, key: &KEY }.selectors(vec!["page".into()])
}

fn causer(name: u64) -> Causer {
    Causer::credential(&name.to_be_bytes())
}

fn broken() -> Error {
    Error::new(ErrorKind::OriginBroken, "broken off")
}

/// Ends a body that nothing else ended.
struct Ending(Arc<SharedBody>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(broken()));
    }
}

struct World {
    cache: Cache,
    store: Arc<MemoryStore>,
    clock: Clock,
    random: Random,
    executor: Executor,
    omitted: Omitted,
    /// The data of the application.
    version: Cell<u64>,
    /// What a request must see: anybody's at all, each causer's, and whoever is told that it is fresh.
    must: Cell<u64>,
    must_each: [Cell<u64>; 2],
    must_fresh: Cell<u64>,
    appended: Cell<u64>,
    applied: Cell<u64>,
    /// One purge or floor at a time.
    lock: Cell<bool>,
    newest: Cell<u64>,
    served: Cell<usize>,
    faults: RefCell<Vec<String>>,
}

/// Who asks, and what they must see.
#[derive(Clone, Copy)]
struct Asks {
    name: u64,
    bust: bool,
    must: u64,
    must_fresh: u64,
}

impl World {
    async fn pause(&self) {
        self.random.pause(2).await;
    }

    fn fault(&self, what: impl Into<String>) {
        self.faults.borrow_mut().push(what.into());
    }

    async fn lock(&self, ready: impl Fn() -> bool) {
        while self.lock.get() || !ready() {
            Yield::default().await;
        }
        self.lock.set(true);
    }

    /// The application changes, and then purges.
    async fn write(self: Rc<Self>, name: u64) {
        self.random.pause(8).await;
        let covers = !self.random.one_in(4);
        let mode = if self.random.one_in(2) { Mode::Hard } else { Mode::Soft };
        let version = self.version.get() + u64::from(covers);
        self.version.set(version);
        self.pause().await;
        let selector = if covers { Selector::Tag("page".into()) } else { Selector::Tag("other".into()) };
        let purge = Purge { selectors: vec![selector], whose: Where::All, mode, by: Some(causer(name)) };
        let seq = self.appended.get() + 1;
        self.appended.set(seq);
        let record = Record { seq, id: String::new(), purge, time: self.clock.now() };
        let in_order = self.omitted != Omitted::InOrder;
        self.lock(|| !in_order || self.applied.get() + 1 == seq).await;
        let mut steps = APPLY;
        if self.omitted == Omitted::RowFirst {
            steps.reverse();
        }
        for step in steps {
            step(self.cache.fence(), &record);
            self.pause().await;
        }
        self.applied.set(seq.max(self.applied.get()));
        self.lock.set(false);
        let raise = |what: &Cell<u64>| what.set(what.get().max(if covers { version } else { 0 }));
        raise(&self.must_fresh);
        raise(if mode == Mode::Hard { &self.must } else { &self.must_each[name as usize] });
    }

    /// A pass of the sweeper, or a table that is full.
    async fn sweep(self: Rc<Self>) {
        self.random.pause(12).await;
        let early = self.random.one_in(2);
        self.lock(|| true).await;
        let fence = self.cache.fence();
        fence.raise_current(self.applied.get());
        let mut oldest = self.applied.get();
        self.lock.set(false);
        if !early {
            self.pause().await;
            if self.omitted != Omitted::FollowsFills {
                oldest = self.cache.oldest_fill().unwrap_or(oldest).min(oldest);
            }
            self.pause().await;
            self.store.visit(&mut |_, entry| {
                let Entry::Response(response) = entry else { return Seen::Keep };
                let validity = self.cache.check(response);
                oldest = if validity == Validity::Purged { oldest } else { oldest.min(response.valid_at()) };
                if validity == Validity::Purged { Seen::Remove } else { Seen::Keep }
            });
            self.pause().await;
        }
        self.lock(|| true).await;
        let mut steps = RAISE;
        if self.omitted == Omitted::FloorBeforeFreeing {
            steps.swap(1, 2);
        }
        for step in steps {
            step(fence, oldest);
            self.pause().await;
        }
        self.lock.set(false);
        let below = self.cache.oldest_fill().is_some_and(|begun| begun < fence.floor());
        if !early && below {
            self.fault("a fill that runs is below the floor");
        }
    }

    /// Time goes by, or the entry goes.
    async fn weather(self: Rc<Self>) {
        self.random.pause(16).await;
        if self.random.one_in(2) {
            self.store.remove(&KEY)
        } else {
            self.clock.advance(Duration::from_secs(11))
        }
    }

    /// Asks for the page, as a client.
    async fn request(self: Rc<Self>, name: u64, bust: bool) {
        self.random.pause(12).await;
        let must = self.must.get().max(self.must_each[name as usize].get());
        let asks = Asks { name, bust, must, must_fresh: self.must_fresh.get() };
        let since = self.cache.current(0);
        let found = self.store.get(&KEY, self.clock.now());
        if let Some(Entry::Response(stored)) = found.filter(|_| !bust) {
            let validity = self.look(&stored, asks).await;
            let fresh = stored.freshness().staleness(self.clock.now()).is_none();
            match validity {
                Validity::Valid if fresh => return self.serve(asks, &stored.body, true),
                Validity::StaleSince(_) if self.random.one_in(2) => {
                    self.serve(asks, &stored.body, false);
                    if let Attach::Lead(leader) = self.cache.attach(&KEY, None, Want::Any) {
                        self.executor.spawn("a refresh", true, self.clone().fill(leader, false));
                    }
                    return;
                }
                _ => {}
            }
        }
        self.pause().await;
        self.fetch(asks, since).await;
    }

    /// As `Cache::check_for`, step by step.
    async fn look(&self, stored: &StoredResponse, asks: Asks) -> Validity {
        let fence = self.cache.fence();
        let from = stored.valid_at();
        if from >= fence.current(stored.stripe()) {
            return Validity::Valid;
        }
        let steps = if self.omitted == Omitted::Floor { &LOOK[..2] } else { &LOOK[..] };
        let mut look = Look::at(stored.selectors(), from, Some(causer(asks.name)));
        for step in steps {
            self.pause().await;
            step(fence, &mut look);
        }
        self.pause().await;
        if look.validity == Validity::Valid {
            stored.remember_valid(look.current);
        }
        look.validity
    }

    async fn fetch(self: Rc<Self>, asks: Asks, since: u64) {
        let mut want = if asks.bust { Want::New } else { Want::Any };
        for _ in 0..3 {
            let fill = match self.cache.attach(&KEY, None, want) {
                Attach::Join(fill) => fill,
                Attach::Lead(leader) => {
                    let fill = leader.fill();
                    self.executor.spawn("a fill", true, self.clone().fill(leader, asks.bust));
                    fill
                }
            };
            match fill.outcome().await {
                Outcome::Streaming(head) if self.is_current(&fill, &head, since) => {
                    self.pause().await;
                    let Some(reader) = head.body.reader() else { return self.fault("a small body is gone") };
                    if let Ok(body) = reader.collect().await {
                        self.serve(asks, &body.to_bytes(), true);
                    }
                    return;
                }
                Outcome::Stored(kept) if self.cache.check(&kept.response) == Validity::Valid => {
                    return self.serve(asks, &kept.response.body, true);
                }
                Outcome::NotShared(..) | Outcome::Failed(_) => return,
                Outcome::Streaming(_) | Outcome::Stored(_) => {}
            }
            if want != Want::New {
                want = Want::Since(since);
            }
        }
    }

    fn is_current(&self, fill: &Fill, head: &SharedHead, since: u64) -> bool {
        let begun = fill.begun().unwrap();
        begun.at >= since || self.cache.check_fill(&head.selectors, begun.at) == Validity::Valid
    }

    /// A client has its answer: is it one that it may have?
    fn serve(&self, asks: Asks, body: &Bytes, fresh: bool) {
        self.served.set(self.served.get() + 1);
        let text = std::str::from_utf8(body).unwrap();
        let Some(version) = text.strip_suffix(" end") else { return self.fault(format!("cut: {text}")) };
        let version: u64 = version.parse().unwrap();
        if version < asks.must || fresh && version < asks.must_fresh {
            self.fault(format!("stale: version {version}, fresh {fresh}, {} {}", asks.must, asks.must_fresh));
        }
    }

    async fn fill(self: Rc<Self>, mut leader: Leader, bust: bool) {
        leader.turn().await;
        if self.omitted != Omitted::BegunAt {
            self.cache.begin(&mut leader, 0);
        }
        self.pause().await;
        let found = if bust {
            Lookup::Absent
        } else {
            self.cache.lookup(0, &KEY, &HeaderMap::new(), self.clock.now()).0
        };
        let validator = match found {
            Lookup::Found(stored, Validity::Valid) => {
                if stored.freshness().staleness(self.clock.now()).is_none() {
                    let kept = Kept {
                        response: stored,
                        how: Reason::Fresh,
                        brought: false,
                        vary: Vec::new(),
                        variant: None,
                    };
                    return leader.answer(Outcome::Stored(Arc::new(kept)));
                }
                Some((stored, false))
            }
            Lookup::Found(stored, Validity::StaleSince(_)) => Some((stored, true)),
            _ => None,
        };
        self.pause().await;
        let version = self.version.get();
        self.pause().await;
        if self.random.one_in(20) {
            return leader.answer(Outcome::Failed(broken()));
        }
        self.cache.begin(&mut leader, 0);
        let text = Bytes::from(format!("{version} end"));
        // A weak validator does not tell two versions apart.
        match validator.filter(|(old, strong)| !strong || old.body == text) {
            Some((old, _)) => {
                let response = self.commit(&mut leader, old.body.clone());
                let kept = Kept {
                    response,
                    how: Reason::Validated,
                    brought: false,
                    vary: Vec::new(),
                    variant: None,
                };
                leader.answer(Outcome::Stored(Arc::new(kept)));
            }
            None => self.stream(leader, text).await,
        }
    }

    async fn stream(&self, mut leader: Leader, text: Bytes) {
        let body = SharedBody::new(1_000, false);
        let _ending = Ending(body.clone());
        leader.answer(Outcome::Streaming(Arc::new(SharedHead {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            vary: Vec::new(),
            variant: None,
            selectors: selectors(),
            body: body.clone(),
            stored: true,
        })));
        self.pause().await;
        body.add(text.slice(..1));
        self.pause().await;
        body.add(text.slice(1..));
        self.commit(&mut leader, text);
        body.end(Ok(None));
    }

    fn commit(&self, leader: &mut Leader, body: Bytes) -> Arc<StoredResponse> {
        let begun = leader.fill().begun().unwrap();
        let freshness = Freshness {
            received: self.clock.now().mono,
            lifetime: Some(Duration::from_secs(10)),
            stale_while_revalidate: Duration::from_secs(100),
            ..Freshness::until_purged()
        };
        let (headers, ticket) = (HeaderMap::new(), begun.ticket);
        let new =
            StoredResponse::new(StatusCode::OK, &headers, body, freshness, begun.at, ticket, selectors(), 0);
        let new = Arc::new(new);
        if self.omitted == Omitted::Tickets {
            self.store.put(KEY.clone(), Entry::Response(new.clone()), self.clock.now()).unwrap();
        } else {
            self.cache.commit(leader, 0, &KEY, new.clone(), None).unwrap();
        }
        if let Some(Entry::Response(stored)) = self.store.get(&KEY, self.clock.now()) {
            if stored.ticket < self.newest.get() {
                self.fault("an older fill overwrote a newer one");
            }
            self.newest.set(stored.ticket);
        }
        new
    }
}

/// One order: how many answers were given, and everything that was wrong.
fn run(seed: u64, omitted: Omitted) -> (usize, Vec<String>) {
    let random = Random::new(seed);
    let clock = Clock::manual(Duration::from_secs(1_000));
    let config = Store {
        name: "s".into(),
        capacity: Capacity::Entries(16),
        max_object: 1_000,
        memory_ttl: None,
        redis: None,
        eviction: if random.one_in(2) { Eviction::ScanResistant } else { Eviction::Lru },
    };
    let store = Arc::new(MemoryStore::new(&config));
    let world = Rc::new(World {
        cache: Cache::with_backends(vec![store.clone()], clock.clone()),
        store,
        clock,
        random: random.clone(),
        executor: Executor::new(random.clone()),
        omitted,
        version: Cell::default(),
        must: Cell::default(),
        must_each: Default::default(),
        must_fresh: Cell::default(),
        appended: Cell::default(),
        applied: Cell::default(),
        lock: Cell::default(),
        newest: Cell::default(),
        served: Cell::default(),
        faults: RefCell::default(),
    });
    let executor = world.executor.clone();
    for n in 0..6 {
        let bust = random.one_in(6);
        executor.spawn("a request", true, world.clone().request(n % 2, bust));
    }
    for n in 0..2 + random.below(2) as u64 {
        executor.spawn("a write", false, world.clone().write(n % 2));
    }
    executor.spawn("a sweep", false, world.clone().sweep());
    executor.spawn("the weather", false, world.clone().weather());
    for left in executor.run() {
        world.fault(format!("{left} never ends"));
    }
    (world.served.get(), world.faults.take())
}

fn schedules() -> u64 {
    std::env::var("LARDER_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

#[test]
fn in_no_order_of_steps_is_a_purged_answer_served() {
    let (schedules, threads) = (schedules(), 2);
    let served: Vec<_> = (0..threads)
        .map(|first| {
            std::thread::spawn(move || {
                let mut served = 0;
                for seed in (first..schedules).step_by(threads as usize) {
                    let (some, faults) = run(seed, Omitted::Nothing);
                    assert!(faults.is_empty(), "seed {seed}: {faults:?}");
                    served += some;
                }
                served
            })
        })
        .collect();
    let served: usize = served.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{served} answers in {schedules} orders");
    assert!(served as u64 > schedules * 3, "{served} answers are too few to say anything");
}

#[test]
fn every_step_that_is_left_out_or_misplaced_is_found() {
    for (omitted, fault) in [
        (Omitted::BegunAt, "stale"),
        (Omitted::RowFirst, "stale"),
        (Omitted::Tickets, "overwrote"),
        (Omitted::Floor, "stale"),
        (Omitted::FloorBeforeFreeing, "stale"),
        (Omitted::FollowsFills, "below the floor"),
        (Omitted::InOrder, "stale"),
    ] {
        let found = (0..100_000).find(|&seed| run(seed, omitted).1.iter().any(|what| what.contains(fault)));
        println!("{omitted:?}: {found:?}");
        assert!(found.is_some(), "{omitted:?} was left out, and nobody noticed");
    }
}
