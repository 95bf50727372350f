//! The steps of a request and of a fill, over the real cache, with one step left out where a test wants it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use larder::cache::{
    Attach, Cache, Fill, Kept, Leader, Lookup, Outcome, SharedBody, SharedHead, Want, variant_key,
};
use larder::clock::{Clock, Now};
use larder::error::{Error, ErrorKind};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::decide::Wishes;
use larder::policy::{Decision, Freshness, Reason, Validity, decide};
use larder::purge::{Coverage, Selector, Where};
use larder::store::{Backend, Stats, StoreError};
use larder::stored::{Entry, Selectors, StoredResponse};

use crate::executor::Executor;
use crate::random::{Random, Yield};

/// The step that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omitted {
    Nothing,
    /// `begun_at` is loaded after the origin answered.
    BeginFirst,
    /// What is fetched is stored whatever was stored meanwhile.
    Tickets,
    /// Whoever waits takes any answer.
    ValidityOnJoin,
    /// A bust joins what runs.
    BustsOwnFill,
    /// A bust whose first answer was not its own joins what runs.
    BustsEveryRound,
    /// The stored response is looked at before `begun_at` is loaded, and validated then.
    LookAgain,
    /// Whoever waits takes any variant.
    OwnVariant,
    /// A fill that dies leaves its body without an end.
    EndOfBody,
}

/// A store that evicts at random, and notes when an older fill overwrites a newer one.
#[derive(Default)]
struct Recorder {
    entries: Mutex<HashMap<CacheKey, Entry>>,
    tickets: Mutex<HashMap<CacheKey, u64>>,
    disorder: Mutex<usize>,
}

impl Backend for Recorder {
    fn get(&self, key: &CacheKey, _: Now) -> Option<Entry> {
        self.entries.lock().unwrap().get(key).cloned()
    }

    fn put(&self, key: CacheKey, entry: Entry, _: Now) -> Result<(), StoreError> {
        if let Entry::Response(response) = &entry {
            let before =
                self.tickets.lock().unwrap().insert(key.clone(), response.ticket).unwrap_or_default();
            *self.disorder.lock().unwrap() += usize::from(before > response.ticket);
        }
        self.entries.lock().unwrap().insert(key, entry);
        Ok(())
    }

    fn remove(&self, key: &CacheKey) {
        self.entries.lock().unwrap().remove(key);
    }

    fn clear(&self) {
        self.entries.lock().unwrap().clear();
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }
}

const OWNER: Owner = Owner::Public;
/// The stripe of public responses.
const STRIPE: u8 = 0;
const WHO: HeaderName = HeaderName::from_static("x-who");

struct World {
    cache: Cache,
    store: Arc<Recorder>,
    clock: Clock,
    random: Random,
    executor: Executor,
    omitted: Omitted,
    key: CacheKey,
    /// Whether the application answers `Vary: x-who` at present.
    varies: Cell<bool>,
    /// The data of the application.
    version: Cell<u64>,
    /// The newest version whose purge was acknowledged.
    acknowledged: Cell<u64>,
    time: Cell<u64>,
    faults: RefCell<Vec<String>>,
    served: Cell<usize>,
}

/// What the application says, and when it was asked.
struct Answer {
    version: u64,
    asked: u64,
    who: &'static str,
    not_modified: bool,
}

/// A request: who asks, whether for a fresh answer, when it came, and what it must not be older than.
#[derive(Clone, Copy)]
struct Asks {
    who: &'static str,
    bust: bool,
    came: u64,
    must: u64,
}

impl Asks {
    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(WHO, HeaderValue::from_static(self.who))])
    }

    fn wishes(&self) -> Wishes {
        Wishes { refresh: self.bust.then_some(Reason::Bust), ..Wishes::default() }
    }
}

/// Ends a body that nothing else ended.
struct Ending(Option<Arc<SharedBody>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(body) = &self.0 {
            body.end(Err(broken()));
        }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::OriginBroken, "broken off")
}

impl World {
    fn tick(&self) -> u64 {
        self.time.set(self.time.get() + 1);
        self.time.get()
    }

    async fn pause(&self) {
        self.random.pause(3).await;
    }

    fn fault(&self, what: impl Into<String>) {
        self.faults.borrow_mut().push(what.into());
    }

    /// The application changes, and then purges.
    async fn write(self: Rc<Self>) {
        self.pause().await;
        let version = self.version.get() + 1;
        self.version.set(version);
        self.pause().await;
        let url = Selector::Url { authority: "shop".into(), target: "/page".into() };
        assert!(self.cache.purge(&[url], &Where::All).receipt().is_some());
        self.acknowledged.set(self.acknowledged.get().max(version));
    }

    async fn origin(&self, who: &'static str, validator: Option<u64>) -> Option<Answer> {
        let asked = self.tick();
        self.pause().await;
        let version = self.version.get();
        self.pause().await;
        // A weak validator: two versions in a row have the same.
        let not_modified = validator.is_some_and(|old| old / 2 == version / 2);
        (!self.random.one_in(12)).then_some(Answer { version, asked, who, not_modified })
    }

    fn selectors(&self) -> Selectors {
        let (owner, authority, target, route, store, key) = (&OWNER, "shop", "/page", "r", 0, &self.key);
        Coverage { owner, authority, target, route, store, key }.selectors(Vec::new())
    }

    /// Asks for the page, as a client.
    async fn request(self: Rc<Self>, who: &'static str, bust: bool) {
        self.pause().await;
        let asks = Asks { who, bust, came: self.tick(), must: self.acknowledged.get() };
        let (lookup, variant) = self.cache.lookup(0, &self.key, &asks.headers(), self.clock.now());
        let found =
            if let Lookup::Found(stored, validity) = lookup { Some((stored, validity)) } else { None };
        let judged = found.as_ref().map(|(stored, validity)| (stored.freshness(), *validity));
        let judged = judged.as_ref().map(|(freshness, validity)| (freshness, *validity));
        if decide(&asks.wishes(), judged, self.clock.now()).0 == Decision::Serve {
            return self.serve(asks, &found.unwrap().0.body);
        }
        self.pause().await;
        self.fetch(asks, variant).await;
    }

    async fn fetch(self: Rc<Self>, asks: Asks, mut variant: Option<CacheKey>) {
        let since = self.cache.current(STRIPE);
        let own_fill = asks.bust && self.omitted != Omitted::BustsOwnFill;
        let mut want = if own_fill { Want::New } else { Want::Any };
        let mut outdated = 0;
        for _ in 0..3 {
            let fill = match self.cache.attach(&self.key, variant.as_ref(), want) {
                Attach::Join(fill) => fill,
                Attach::Lead(leader) => {
                    let fill = leader.fill();
                    self.executor.spawn("a fill", true, self.clone().fill(leader, asks));
                    fill
                }
            };
            match fill.outcome().await {
                Outcome::Streaming(head) => match self.own(asks, &head.vary, head.variant.as_ref()) {
                    Ok(()) if self.is_current(&fill, &head, since) => return self.read(asks, &head).await,
                    Ok(()) => outdated += 1,
                    Err(own) => variant = Some(own),
                },
                Outcome::Stored(kept) => match self.own(asks, &kept.vary, kept.variant.as_ref()) {
                    Ok(()) if self.cache.check(&kept.response) == Validity::Valid => {
                        return self.serve(asks, &kept.response.body);
                    }
                    Ok(()) => outdated += 1,
                    Err(own) => variant = Some(own),
                },
                Outcome::NotShared(..) | Outcome::Failed(_) => return,
            }
            if outdated > 1 {
                return self.fault("waited for more than one fill that a purge covered");
            }
            if want != Want::New || self.omitted == Omitted::BustsEveryRound {
                want = Want::Since(since);
            }
        }
    }

    fn own(&self, asks: Asks, vary: &[HeaderName], variant: Option<&CacheKey>) -> Result<(), CacheKey> {
        let own = variant_key(&self.key, vary, &asks.headers()).unwrap();
        let fits = variant.is_none_or(|variant| *variant == own);
        if fits || self.omitted == Omitted::OwnVariant { Ok(()) } else { Err(own) }
    }

    fn is_current(&self, fill: &Fill, head: &SharedHead, since: u64) -> bool {
        let begun = fill.begun().unwrap();
        self.omitted == Omitted::ValidityOnJoin
            || begun.at >= since
            || self.cache.check_fill(&head.selectors, begun.at) == Validity::Valid
    }

    async fn read(&self, asks: Asks, head: &SharedHead) {
        let Some(reader) = head.body.reader() else {
            return self.fault("the beginning of a small body is gone");
        };
        self.pause().await;
        if let Ok(body) = reader.collect().await {
            self.serve(asks, &body.to_bytes());
        }
    }

    /// A client has its answer: is it one that it may have?
    fn serve(&self, asks: Asks, body: &Bytes) {
        self.served.set(self.served.get() + 1);
        let text = std::str::from_utf8(body).unwrap();
        let parts: Vec<&str> = text.split(' ').collect();
        let [version, asked, who, "end"] = parts[..] else { return self.fault(format!("cut: {text}")) };
        let (version, asked): (u64, u64) = (version.parse().unwrap(), asked.parse().unwrap());
        if version < asks.must {
            self.fault(format!("version {version} after version {} was acknowledged", asks.must));
        }
        if asks.bust && asked < asks.came {
            self.fault(format!("a bust at {} got an answer asked for at {asked}", asks.came));
        }
        if who != "all" && who != asks.who {
            self.fault(format!("{} got the answer of {who}", asks.who));
        }
    }

    async fn fill(self: Rc<Self>, mut leader: Leader, asks: Asks) {
        leader.turn().await;
        let early = (self.omitted == Omitted::LookAgain).then(|| self.valid(asks));
        if early.is_some() {
            self.pause().await;
        }
        if self.omitted != Omitted::BeginFirst {
            self.cache.begin(&mut leader, STRIPE);
        }
        let old = early.unwrap_or_else(|| self.valid(asks));
        if let Some(stored) = &old
            && decide(&asks.wishes(), Some((&stored.freshness(), Validity::Valid)), self.clock.now()).0
                == Decision::Serve
            && self.omitted != Omitted::LookAgain
        {
            let varies = stored.field(&http::header::VARY).is_some();
            return self.kept(&leader, stored.clone(), Reason::Fresh, self.variant(varies, asks));
        }
        let old = old.filter(|_| !asks.bust);
        let Some(answer) = self.origin(asks.who, old.as_ref().map(|old| version_of(old))).await else {
            return leader.answer(Outcome::Failed(broken()));
        };
        self.cache.begin(&mut leader, STRIPE);
        match old.filter(|_| answer.not_modified) {
            Some(old) => {
                let varies = old.field(&http::header::VARY).is_some();
                let (variant, body) = (self.variant(varies, asks), old.body.clone());
                let stored = self.stored(&leader, varies, body);
                self.commit(&mut leader, stored.clone(), variant.clone());
                self.kept(&leader, stored, Reason::Validated, variant);
            }
            None => self.stream(leader, asks, answer).await,
        }
    }

    /// The stored response, if no purge covers it.
    fn valid(&self, asks: Asks) -> Option<Arc<StoredResponse>> {
        match self.cache.lookup(0, &self.key, &asks.headers(), self.clock.now()).0 {
            Lookup::Found(stored, Validity::Valid) => Some(stored),
            _ => None,
        }
    }

    fn kept(
        &self,
        leader: &Leader,
        response: Arc<StoredResponse>,
        how: Reason,
        variant: Option<(Vec<HeaderName>, CacheKey)>,
    ) {
        let (vary, variant) = variant.map_or((Vec::new(), None), |(vary, key)| (vary, Some(key)));
        leader.answer(Outcome::Stored(Arc::new(Kept { response, how, brought: false, vary, variant })));
    }

    fn variant(&self, varies: bool, asks: Asks) -> Option<(Vec<HeaderName>, CacheKey)> {
        varies.then(|| (vec![WHO], variant_key(&self.key, &[WHO], &asks.headers()).unwrap()))
    }

    async fn stream(&self, mut leader: Leader, asks: Asks, answer: Answer) {
        let varies = self.varies.get();
        let variant = self.variant(varies, asks);
        let body = SharedBody::new(1_000, false);
        let ends = self.omitted != Omitted::EndOfBody;
        let _ending = Ending(ends.then(|| body.clone()));
        leader.answer(Outcome::Streaming(Arc::new(SharedHead {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            vary: variant.as_ref().map(|(fields, _)| fields.clone()).unwrap_or_default(),
            variant: variant.as_ref().map(|(_, key)| key.clone()),
            selectors: self.selectors(),
            body: body.clone(),
            stored: true,
        })));
        let who = if varies { answer.who } else { "all" };
        for chunk in [format!("{} ", answer.version), format!("{} ", answer.asked), format!("{who} end")] {
            self.pause().await;
            if self.random.one_in(30) {
                return body.end(Err(broken()));
            }
            body.add(chunk.into());
        }
        let whole = body.whole().unwrap();
        let stored = self.stored(&leader, varies, whole);
        self.commit(&mut leader, stored, variant);
        body.end(Ok(None));
    }

    fn stored(&self, leader: &Leader, varies: bool, body: Bytes) -> Arc<StoredResponse> {
        let begun = leader.fill().begun().unwrap();
        let freshness = Freshness {
            received: self.clock.now().mono,
            lifetime: Some(Duration::from_secs(10)),
            ..Freshness::until_purged()
        };
        let mut headers = HeaderMap::new();
        if varies {
            headers.insert(http::header::VARY, HeaderValue::from_static("x-who"));
        }
        let selectors = self.selectors();
        Arc::new(StoredResponse::new(
            StatusCode::OK,
            &headers,
            body,
            freshness,
            begun.at,
            begun.ticket,
            selectors,
            0,
        ))
    }

    fn commit(
        &self,
        leader: &mut Leader,
        stored: Arc<StoredResponse>,
        variant: Option<(Vec<HeaderName>, CacheKey)>,
    ) {
        if self.omitted == Omitted::Tickets {
            let place = variant.as_ref().map_or(&self.key, |(_, place)| place).clone();
            if let Some((fields, _)) = variant {
                let variants = Entry::Variants(Arc::new(larder::stored::Variants {
                    fields,
                    members: Vec::new(),
                    until: None,
                }));
                self.store.put(self.key.clone(), variants, self.clock.now()).unwrap();
            }
            return self.store.put(place, Entry::Response(stored), self.clock.now()).unwrap();
        }
        self.cache.commit(leader, 0, &self.key, stored, variant).unwrap();
    }

    /// Time goes by, entries are evicted, and the application changes its mind about `Vary`.
    async fn weather(self: Rc<Self>) {
        for _ in 0..12 {
            self.pause().await;
            Yield::default().await;
            match self.random.below(4) {
                0 => self.clock.advance(Duration::from_secs(6)),
                1 => self.store.remove(&self.key),
                2 => self.store.remove(&variant_key(&self.key, &[WHO], &asking("ant")).unwrap()),
                _ => self.varies.set(self.random.one_in(2)),
            }
        }
    }
}

fn asking(who: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(WHO, HeaderValue::from_static(who))])
}

fn version_of(stored: &StoredResponse) -> u64 {
    std::str::from_utf8(&stored.body).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// One run: how many clients were served, and everything that was wrong.
fn run(seed: u64, omitted: Omitted) -> (usize, Vec<String>) {
    let random = Random::new(seed);
    let (clock, store) = (Clock::manual(Duration::from_secs(1_000)), Arc::new(Recorder::default()));
    let (route, method, path, query, selecting) = ("r", "GET", "/page", None, &[][..]);
    let parts =
        KeyParts { https: false, authority: "shop", owner: &OWNER, route, method, path, query, selecting };
    let world = Rc::new(World {
        cache: Cache::with_backends(vec![store.clone()], clock.clone()),
        store: store.clone(),
        clock,
        random: random.clone(),
        executor: Executor::new(random.clone()),
        omitted,
        key: CacheKey::new(&parts).unwrap(),
        varies: Cell::new(random.one_in(2)),
        version: Cell::default(),
        acknowledged: Cell::default(),
        time: Cell::default(),
        faults: RefCell::default(),
        served: Cell::default(),
    });
    let executor = world.executor.clone();
    executor.spawn("the weather", false, world.clone().weather());
    let feeder = world.clone();
    executor.spawn("the clients", false, async move {
        for _ in 0..24 {
            let who = if feeder.random.one_in(2) { "ant" } else { "bee" };
            match feeder.random.below(8) {
                0 | 1 => feeder.executor.spawn("a write", false, feeder.clone().write()),
                2 => feeder.executor.spawn("a bust", true, feeder.clone().request(who, true)),
                _ => feeder.executor.spawn("a request", true, feeder.clone().request(who, false)),
            }
            feeder.pause().await;
            feeder.pause().await;
        }
    });
    for left in executor.run() {
        world.fault(format!("{left} never ends"));
    }
    if world.cache.fills_in_flight() > 0 {
        world.fault("a slot is left over");
    }
    if *store.disorder.lock().unwrap() > 0 {
        world.fault("an older fill overwrote a newer one");
    }
    (world.served.get(), world.faults.take())
}

const SEEDS: u64 = 4_000;

#[test]
fn no_order_of_events_breaks_a_promise() {
    let mut served = 0;
    for seed in 0..SEEDS {
        let (some, faults) = run(seed, Omitted::Nothing);
        assert!(faults.is_empty(), "seed {seed}: {faults:?}");
        served += some;
    }
    assert!(served > 20_000, "{served} answers are too few to say anything");
}

#[test]
fn every_step_that_is_left_out_is_found() {
    for (omitted, fault) in [
        (Omitted::BeginFirst, "was acknowledged"),
        (Omitted::Tickets, "overwrote"),
        (Omitted::ValidityOnJoin, "was acknowledged"),
        (Omitted::BustsOwnFill, "a bust"),
        (Omitted::BustsEveryRound, "a bust"),
        (Omitted::LookAgain, "was acknowledged"),
        (Omitted::OwnVariant, "got the answer of"),
        (Omitted::EndOfBody, "never ends"),
    ] {
        let found = (0..SEEDS).find(|&seed| run(seed, omitted).1.iter().any(|what| what.contains(fault)));
        assert!(found.is_some(), "{omitted:?} was left out, and nobody noticed");
    }
}
