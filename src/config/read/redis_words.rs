//! The words of Redis, declared once. See [`super::section`].

use super::super::RedisServer;
use super::super::tree::{Kind, Node};
use super::collections::{List, OneOrMany};
use super::error::Errors;
use super::section::{FromNode, Shape, section};
use super::short_words::{ScalarOr, SecretRef};
use super::units::*;
use super::values::*;

/// The word `off`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OffWord {
    Off,
}

words!(OffWord { "off" => Self::Off });

/// The word `off`, or a value.
#[derive(Debug, Clone)]
pub(crate) enum OffOr<T> {
    /// `off`.
    Off,
    /// A value.
    On(T),
}

impl<T: FromNode> FromNode for OffOr<T> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, quoted: false } if text == "off" => Some(Self::Off),
            _ => T::from_node(node, errors).map(Self::On),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![OffWord::shape(), T::shape()])
    }
}

/// What a URL of Redis says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) tls: bool,
    pub(crate) server: RedisServer,
    pub(crate) database: Option<u8>,
}

text_value! {
    /// The URL of a Redis.
    RedisUrl(Place), "a URL of Redis", "redis://127.0.0.1:6379", Some("^rediss?://[^/?#@]+(/[0-9]*)?$"), parse_url
}

text_value! {
    /// Host and port.
    HostPort(RedisServer), "host and port", "127.0.0.1:26379", Some("^[^/?#@]+:[0-9]+$"), parse_node
}

text_value! {
    /// What the names of keys begin with.
    Prefix(String), "a prefix", "shop", Some(NAME), parse_prefix
}

fn parse_url(text: &str) -> Result<Place, Wrong> {
    const HELP: &str = "write `redis://HOST:PORT`, or `rediss://HOST:PORT` for TLS";
    if text.contains('@') {
        let help = "remove what stands before the `@`; write `username: …` and `password: { env: NAME }`, and change the password: it was in this file";
        return wrong("user and password do not stand in the URL", help);
    }
    let (tls, rest) = match text.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        Some((other, _)) => return wrong(format!("the scheme `{other}` is not one of Redis"), HELP),
        None => return wrong(format!("`{text}` has no scheme"), format!("write `redis://{text}`")),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains(['?', '#', '/']) || authority.contains(['?', '#']) {
        return wrong(format!("`{text}` has more than host, port and database"), HELP);
    }
    let database = match path {
        "" => None,
        digits => match digits.parse::<u8>() {
            Ok(number) if number < 16 => Some(number),
            _ => return wrong(format!("`{digits}` is not a database"), "write a number from 0 to 15"),
        },
    };
    match server(authority, Some(6379)) {
        Some(server) => Ok(Place { tls, server, database }),
        None => wrong(format!("`{text}` has no usable host and port"), HELP),
    }
}

fn parse_node(text: &str) -> Result<RedisServer, Wrong> {
    const HELP: &str = "write host and port alone: `10.0.0.5:26379`";
    if text.contains('@') {
        return wrong(
            "user and password do not stand here",
            "write `username` and `password` beside `nodes`",
        );
    }
    match server(text, None) {
        Some(server) => Ok(server),
        None => wrong(format!("`{text}` is not host and port"), HELP),
    }
}

/// Host and port of an authority.
fn server(authority: &str, default_port: Option<u16>) -> Option<RedisServer> {
    let parsed: http::uri::Authority = authority.parse().ok()?;
    let written = authority.strip_prefix(parsed.host())?;
    let port = match written.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
        None if written.is_empty() => default_port?,
        None => return None,
    };
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    (!host.is_empty()).then_some(RedisServer { host, port })
}

fn parse_prefix(text: &str) -> Result<String, Wrong> {
    const MOST: usize = 64;
    match parse_name(text) {
        Ok(name) if name.len() <= MOST => Ok(name),
        Ok(_) => wrong("the prefix is longer than 64 characters", "write a shorter one"),
        Err(_) => wrong(
            format!("`{text}` is not a prefix"),
            "a prefix is made of letters, digits, `_`, `.` and `-`; a `:` follows it by itself",
        ),
    }
}

/// A Redis in its short form (a URL), or written out.
pub(crate) type RedisOr<T> = ScalarOr<RedisUrl, T>;

section! {
    /// The level of a store in Redis, which several Larders share: its URL, or written out.
    RawRedis "stores.NAME.redis", one_of [url, sentinel, cluster];
    /// One server: `redis://host:port`, or `rediss://host:port` for TLS; `/3` at its end names a database.
    url: RedisUrl = optional;
    /// A primary that Sentinels know.
    sentinel: RawSentinel = optional;
    /// URLs of nodes of a Cluster; the others are learned from them.
    cluster: OneOrMany<RedisUrl> = optional;
    /// The number of the database. A Cluster has database 0 only.
    database: Whole<0, 15> = optional "that of `url`, or 0";
    /// What the name of every key begins with; a `:` follows it. Larder reads and deletes nothing else.
    prefix: Prefix = default "larder";
    /// How many connections are kept.
    connections: Whole<1, 200> = default "4";
    /// The user (ACL).
    username: Text = optional "the default user";
    /// The password, of any length.
    password: SecretRef = optional "none";
    /// How TLS is spoken; with `sentinel` also whether.
    tls: RawRedisTls = optional "by the scheme of the URL, with the system's authorities";
    /// How long an operation may take; a page waits no longer. Bodies have 10 ms more for each 256 KiB.
    timeout: Wait = default "50ms";
    /// After how many failures in a row Redis is left alone for a while: from 250 ms to 10 s, then one operation tries.
    failures: Whole<1, 1_000> = default "5";
    /// How often an operation may be tried again within its time; of all operations, a tenth at most.
    retries: Whole<0, 10> = default "3";
    /// The longest that a response stays at this level.
    ttl: Wait = optional "as long as it may be of use";
    /// The largest body that goes to this level; what is larger stays in memory only.
    max_object: Size = default "1MiB";
    /// From which size on responses are compressed (zstd), or `off`.
    compress: ScalarOr<OffWord, RawCompress> = optional "above 4KiB";
    /// How responses are encrypted (AES-256-GCM).
    encrypt: RawEncrypt = optional "not at all";
}

section! {
    /// A primary that Sentinels know.
    RawSentinel "stores.NAME.redis.sentinel";
    /// The Sentinels, as host and port.
    nodes: OneOrMany<HostPort> = required;
    /// The name under which they watch over the primary.
    service: Text = required;
    /// The user at the Sentinels themselves.
    username: Text = optional "the default user";
    /// The password at the Sentinels themselves.
    password: SecretRef = optional "none";
}

section! {
    /// How TLS is spoken with Redis. The server's certificate is always verified.
    RawRedisTls "stores.NAME.redis.tls";
    /// A PEM file with the certificate authorities that are trusted, instead of the system's.
    ca: FileName = optional "the system's";
    /// A PEM file with a certificate of Larder's own, and the chain after it.
    cert: FileName = optional "none";
    /// A PEM file with its private key.
    key: FileName = optional "none";
}

section! {
    /// How responses are compressed.
    RawCompress "stores.NAME.redis.compress";
    /// From which size on.
    above: Size = default "4KiB";
}

section! {
    /// How responses, or records of the log of purges, are encrypted.
    RawEncrypt "stores.NAME.redis.encrypt";
    /// Keys of 32 bytes or more. The first encrypts, all decrypt: a new one is put first, and the old one goes when what it
    /// encrypted has expired, or is not kept any more.
    keys: List<SecretRef> = required;
}
