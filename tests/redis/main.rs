//! The level in Redis, against real servers: what each operation does, in which order fills win, and what is left when
//! servers stop, die, fail over, move slots, or refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by a panic

#[path = "../support/mod.rs"]
mod support;

mod failures;
mod operations;
mod order;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::clock::Clock;
use larder::config::read::ReadContext;
use larder::config::{Config, Redis as Place};
use larder::identity::{Kind, Tenant};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::store::redis::{RedisIo, RedisStore};
use larder::store::{Begin, Claim, Committed, NO_TICKET, Offer, Shared, SharedErrorKind};
use support::redis::Redis;

/// The password of every test.
const PASSWORD: &str = "a-long-password-of-the-tests";

/// What `redis:` in a file says.
fn place(words: &str) -> Place {
    place_in(words, std::path::Path::new("."))
}

/// The same, with files that are found in `folder`.
fn place_in(words: &str, folder: &std::path::Path) -> Place {
    let text = format!(
        "origins: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\nroutes: [{{ name: all, path: \"/{{*rest}}\" }}]\n\
         stores: {{ default: {{ redis: {{ {words} }} }} }}\n"
    );
    let context = ReadContext::of(&folder.join("larder.yaml")).with_env(|_| Some(PASSWORD.to_owned()));
    let config = Config::from_yaml(&text, &context).unwrap_or_else(|errors| panic!("{errors:?}"));
    config.stores[0].redis.as_ref().unwrap().redis.clone()
}

/// A node's store. The shared machine is slow at times: where no deadline is tested, it is far away.
fn node(words: &str) -> RedisStore {
    store(&place(&format!("{words}, timeout: 20s")))
}

fn store(place: &Place) -> RedisStore {
    RedisStore::new(place, RedisIo::start().unwrap(), Clock::system()).unwrap()
}

/// The shipped user, with another password, and the prefixes of the tests.
fn users() -> String {
    let shipped = std::fs::read_to_string("docker/redis-acl.conf").unwrap();
    let users = shipped.replace("change-me-to-a-long-password", PASSWORD);
    assert!(users.contains(PASSWORD) && users.contains(" ~larder:1:* "));
    users.replace(" ~larder:1:* ", " ~larder:1:* ~shop:1:* ~shop_api:1:* ")
}

/// A server that knows the shipped user.
fn server() -> Redis {
    Redis::with().file(&users()).start()
}

/// The words of a node that speaks to this server as the shipped user.
fn words(redis: &Redis) -> String {
    format!("url: \"{}\", {USER}", redis.url())
}

/// The shipped user in words.
const USER: &str = "username: larder, password: { env: P }";

/// A node that speaks to this server as the shipped user.
fn plain(redis: &Redis) -> RedisStore {
    node(&words(redis))
}

fn name(store: &RedisStore, key: &str) -> String {
    let tenant = Tenant { name: "acme".into(), kind: Kind::Verified, scope: false };
    let key = CacheKey::new(&KeyParts {
        https: false,
        authority: "shop",
        owner: &Owner::Tenant(tenant),
        route: "all",
        method: "GET",
        path: key,
        query: None,
        selecting: &[],
    });
    let prefix = store.names().begin().strip_suffix(":1:").unwrap();
    key.unwrap().shared_name(prefix)
}

fn claim(token: &str) -> Claim {
    Claim { token: token.to_owned(), lease: Duration::from_secs(60), seen: 0, over: 0, word: "" }
}

/// A claim that no entry satisfies.
fn busting(token: &str) -> Claim {
    Claim { seen: NO_TICKET, over: NO_TICKET, word: "bust", ..claim(token) }
}

/// An entry with its ticket at its place.
fn entry(ticket: u64, body: &str) -> Bytes {
    format!("LRD1....{ticket:016x}{body}").into()
}

fn offer(ticket: u64, body: &str, token: &str) -> Offer {
    Offer {
        ticket,
        bytes: entry(ticket, body),
        stay: Some(Duration::from_secs(600)),
        token: token.to_owned(),
    }
}

/// The ticket of a claim that leads.
async fn lead(store: &RedisStore, name: &str, claim: Claim) -> u64 {
    match store.begin(name, claim).await.unwrap() {
        Begin::Lead { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    }
}

/// Puts an entry into a place; its ticket.
async fn put(store: &RedisStore, name: &str, body: &str) -> u64 {
    let ticket = lead(store, name, busting(body)).await;
    assert_eq!(store.commit(name, offer(ticket, body, body)).await.unwrap(), Committed::Kept);
    ticket
}

/// The body of the entry in a place.
async fn body(store: &RedisStore, name: &str) -> Option<String> {
    let bytes = store.get(name, 1 << 20).await.unwrap()?;
    Some(String::from_utf8(bytes[24..].to_vec()).unwrap())
}

async fn kind<T: std::fmt::Debug>(reply: larder::store::Reply<T>) -> SharedErrorKind {
    reply.await.unwrap_err().kind
}

type Nodes = [Arc<RedisStore>; 2];
