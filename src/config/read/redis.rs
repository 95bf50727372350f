//! Redis: the words of a connection, which stores and the purge log share, and those of a store's level.

use super::super::tree::{Key, Kind, Node, Pos};
use super::super::{Redis, RedisServer, RedisTls, Secret, Servers, SharedLevel};
use super::collections::OneOrMany;
use super::redis_words::*;
use super::section::{At, FromNode, Slot};
use super::short_words::{ScalarOr, SecretRef};
use super::units::{Size, Wait};
use super::values::{Text, Whole};
use super::{Cx, files};

/// The words of a connection, wherever they stand in the file.
pub(super) struct Words<'a> {
    pub(super) url: &'a Slot<RedisUrl>,
    pub(super) sentinel: &'a Slot<RawSentinel>,
    pub(super) cluster: &'a Slot<OneOrMany<RedisUrl>>,
    pub(super) database: &'a Slot<Whole<0, 15>>,
    pub(super) prefix: &'a Slot<Prefix>,
    pub(super) connections: Option<u64>,
    pub(super) username: &'a Slot<Text>,
    pub(super) password: &'a Slot<SecretRef>,
    pub(super) tls: &'a Slot<RawRedisTls>,
    pub(super) timeout: &'a Slot<Wait>,
    pub(super) failures: Option<u64>,
    pub(super) retries: Option<u64>,
}

/// A connection as the words say it.
pub(super) fn connection(words: &Words<'_>, cx: &mut Cx<'_>) -> Option<Redis> {
    let (servers, scheme, in_url) = servers(words, cx)?;
    let database = database(words.database, &servers, in_url, cx);
    let password = match words.password {
        Slot::Absent => Some(None),
        Slot::Bad => None,
        Slot::Given(secret) => files::password(secret, cx).map(Some),
    };
    if let (Slot::Given(name), Slot::Absent) = (words.username, words.password) {
        cx.error(name.pos, "`username` without `password`", "add `password: { env: NAME }`");
    }
    let tls = tls(words.tls, scheme, cx);
    Some(Redis {
        servers,
        database: database?,
        prefix: words.prefix.get()?.0.clone(),
        connections: usize::try_from(words.connections?).ok()?,
        username: words.username.get().map(|name| name.0.clone()),
        password: password?,
        tls: tls?,
        timeout: words.timeout.get()?.0,
        failures: u32::try_from(words.failures?).ok()?,
        retries: u32::try_from(words.retries?).ok()?,
    })
}

/// The servers; whether their URLs say TLS (a Sentinel has no URL); and the database of a URL, with its place.
type Found = (Servers, Option<bool>, Option<(u8, Pos)>);

fn servers(words: &Words<'_>, cx: &mut Cx<'_>) -> Option<Found> {
    if let Some(url) = words.url.given() {
        let place = &url.0;
        let database = place.database.map(|number| (number, url.pos));
        return Some((Servers::One(place.server.clone()), Some(place.tls), database));
    }
    if let Some(sentinel) = words.sentinel.given() {
        let password = match &sentinel.password {
            Slot::Absent => Some(None),
            Slot::Bad => None,
            Slot::Given(secret) => files::password(secret, cx).map(Some),
        };
        let nodes = sentinel.nodes.get()?.0.iter().map(|node| node.value.0.clone()).collect();
        let service = sentinel.service.get()?.0.clone();
        let username = sentinel.username.get().map(|name| name.0.clone());
        return Some((Servers::Sentinel { nodes, service, username, password: password? }, None, None));
    }
    let urls = &words.cluster.given()?.0;
    let first = urls.first()?;
    for url in urls.iter().filter(|url| url.0.tls != first.0.tls) {
        cx.error(
            url.pos,
            "some nodes of the Cluster with TLS and some without",
            "write the same scheme for all",
        );
    }
    let nodes: Vec<RedisServer> = urls.iter().map(|url| url.0.server.clone()).collect();
    let numbered = urls.iter().find_map(|url| Some((url.0.database.filter(|number| *number > 0)?, url.pos)));
    Some((Servers::Cluster(nodes), Some(first.0.tls), numbered))
}

fn database(
    slot: &Slot<Whole<0, 15>>,
    servers: &Servers,
    in_url: Option<(u8, Pos)>,
    cx: &mut Cx<'_>,
) -> Option<u8> {
    let written = match slot {
        Slot::Absent => None,
        Slot::Bad => return None,
        Slot::Given(at) => Some((u8::try_from(at.0).ok()?, at.pos)),
    };
    if let (Some((number, pos)), Some((other, _))) = (written, in_url)
        && number != other
    {
        cx.error(pos, "`database` and the URL name two databases", "name it once");
    }
    let (number, pos) = written.or(in_url).unwrap_or_default();
    if number > 0 && matches!(servers, Servers::Cluster(_)) {
        let help = "remove it, and tell stores apart by `prefix`";
        cx.error(pos, "Redis Cluster has database 0 only", help);
        return None;
    }
    Some(number)
}

fn tls(slot: &Slot<RawRedisTls>, scheme: Option<bool>, cx: &mut Cx<'_>) -> Option<Option<RedisTls>> {
    let raw = match slot {
        Slot::Absent => return Some((scheme == Some(true)).then(RedisTls::default)),
        Slot::Bad => return None,
        Slot::Given(raw) => raw,
    };
    if scheme == Some(false) {
        cx.error(raw.pos, "`tls` is for Redis that speaks TLS", "write `rediss://`, or remove `tls`");
    }
    let ca = match &raw.ca {
        Slot::Absent => Some(None),
        Slot::Bad => None,
        Slot::Given(name) => files::authorities(name, cx).map(Some),
    };
    let client = match (&raw.cert, &raw.key) {
        (Slot::Absent, Slot::Absent) => Some(None),
        (Slot::Given(cert), Slot::Given(key)) => files::certificate(cert, key, cx).map(Some),
        (Slot::Given(at), Slot::Absent) | (Slot::Absent, Slot::Given(at)) => {
            cx.error(at.pos, "`cert` and `key` go together", "give both, or neither");
            None
        }
        _ => None,
    };
    Some(Some(RedisTls { ca: ca?, client: client? }))
}

/// The level of a store.
pub(super) fn level(raw: &RedisOr<RawRedis>, pos: Pos, cx: &mut Cx<'_>) -> Option<SharedLevel> {
    let raw = match raw {
        ScalarOr::Long(raw) => raw.clone(),
        ScalarOr::Short(url) => written_out(url, pos, cx)?,
    };
    let words = Words {
        url: &raw.url,
        sentinel: &raw.sentinel,
        cluster: &raw.cluster,
        database: &raw.database,
        prefix: &raw.prefix,
        connections: raw.connections.get().map(|count| count.0),
        username: &raw.username,
        password: &raw.password,
        tls: &raw.tls,
        timeout: &raw.timeout,
        failures: raw.failures.get().map(|count| count.0),
        retries: raw.retries.get().map(|count| count.0),
    };
    let redis = connection(&words, cx);
    let compress = match &raw.compress {
        Slot::Absent => Some(Some(4 << 10)),
        Slot::Bad => None,
        Slot::Given(at) => match &at.value {
            ScalarOr::Short(OffWord::Off) => Some(None),
            ScalarOr::Long(compress) => compress.above.get().map(|size| Some(size.0)),
        },
    };
    let encrypt = keys(&raw.encrypt, cx);
    let max_object = max_object(&raw.max_object, cx);
    Some(SharedLevel {
        redis: redis?,
        ttl: raw.ttl.get().map(|ttl| ttl.0),
        max_object: max_object?,
        compress: compress?,
        encrypt: encrypt?,
    })
}

/// The short form, written out: every other word has its default.
pub(super) fn written_out<T: FromNode>(url: &RedisUrl, pos: Pos, cx: &mut Cx<'_>) -> Option<T> {
    let scheme = if url.0.tls { "rediss" } else { "redis" };
    let database = url.0.database.map(|number| format!("/{number}")).unwrap_or_default();
    let text = format!("{scheme}://{}{database}", url.0.server);
    let value = Node { pos, end: pos, kind: Kind::Scalar { text, quoted: true } };
    let key = Key { name: "url".to_owned(), pos };
    T::from_node(&Node { pos, end: pos, kind: Kind::Map(vec![(key, value)]) }, &mut cx.errors)
}

/// A value of Redis is at most 512 MiB; far less is wise.
fn max_object(slot: &Slot<Size>, cx: &mut Cx<'_>) -> Option<u64> {
    const MOST: u64 = 64 << 20;
    let at = slot.given()?;
    if at.0 > MOST {
        cx.error(at.pos, "`max_object` is larger than Redis should carry", "write at most `64MiB`");
        return None;
    }
    Some(at.0)
}

/// Keys of encryption.
pub(super) fn keys(slot: &Slot<RawEncrypt>, cx: &mut Cx<'_>) -> Option<Vec<Secret>> {
    let raw = match slot {
        Slot::Absent => return Some(Vec::new()),
        Slot::Bad => return None,
        Slot::Given(raw) => raw,
    };
    let written = raw.keys.given()?;
    if written.0.is_empty() {
        cx.error(written.pos, "`encrypt` without a key", "add one: `keys: [{ env: LARDER_KEY }]`");
    }
    let before = cx.errors.count();
    let mut keys: Vec<Secret> = Vec::new();
    for item in &written.0 {
        let Some(key) = key(item, cx) else { continue };
        if keys.contains(&key) {
            cx.error(item.pos, "the same key twice", "name each once");
        }
        keys.push(key);
    }
    (cx.errors.count() == before && !keys.is_empty()).then_some(keys)
}

fn key(item: &At<SecretRef>, cx: &mut Cx<'_>) -> Option<Secret> {
    let key = files::secret(item, cx)?;
    let length = key.expose().len();
    if length < SharedLevel::KEY_BYTES {
        let message =
            format!("the key is too short: {length} bytes, at least {} are needed", SharedLevel::KEY_BYTES);
        cx.error(item.pos, message, "make one with `openssl rand -hex 32`");
        return None;
    }
    Some(key)
}
