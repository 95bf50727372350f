//! What the configuration says of Redis: where it is, how it is spoken to, and what a store keeps there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// A Redis, and how it is spoken to. Stores and the purge log say it with the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where it is.
    pub servers: Servers,
    /// The number of the database; 0 with a Cluster, which has no other.
    pub database: u8,
    /// What the name of every key begins with: letters, digits, `_`, `.` and `-`.
    pub prefix: String,
    /// How many connections are kept.
    pub connections: usize,
    /// The user (ACL); `None`: the default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// How TLS is spoken; `None`: not at all.
    pub tls: Option<RedisTls>,
    /// How long an operation may take.
    pub timeout: Duration,
    /// After how many failures in a row Redis is left alone for a while.
    pub failures: u32,
    /// How often an operation may be tried again, within its time.
    pub retries: u32,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(RedisServer),
    /// A primary that Sentinels know.
    Sentinel {
        /// The Sentinels; at least one.
        nodes: Vec<RedisServer>,
        /// The name under which they watch over it.
        service: String,
        /// The user at the Sentinels themselves.
        username: Option<String>,
        /// The password at the Sentinels themselves.
        password: Option<Password>,
    },
    /// Nodes of a Cluster; at least one. The others are learned from them.
    Cluster(Vec<RedisServer>),
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedisServer {
    /// A name or an address (an IPv6 address without brackets), in lower case.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Redis {
    /// Whether the two name the same keys of the same server, as far as the file can tell.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.is_same_server(other) && self.database == other.database && self.prefix == other.prefix
    }

    /// Whether the two share the memory of a server, as far as the file can tell.
    pub fn is_same_server(&self, other: &Self) -> bool {
        match (&self.servers, &other.servers) {
            (Servers::One(a), Servers::One(b)) => a == b,
            (
                Servers::Sentinel { nodes: a, service, .. },
                Servers::Sentinel { nodes: b, service: other, .. },
            ) => service == other && a.iter().any(|node| b.contains(node)),
            (Servers::Cluster(a), Servers::Cluster(b)) => a.iter().any(|node| b.contains(node)),
            _ => false,
        }
    }
}

/// A password that somebody else chose: of any length but none. It is in no log, error, metric or admin answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    /// Takes the text, or gives `None` where it is empty.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The text. Whoever asks for it keeps it out of every message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How TLS is spoken with Redis. The server's certificate is always verified. All in PEM, read with the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedisTls {
    /// The authorities that are trusted, instead of the system's.
    pub ca: Option<Arc<[u8]>>,
    /// The client's own certificate with its chain, and its private key.
    pub client: Option<(Arc<[u8]>, Secret)>,
}

/// The level of a store in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLevel {
    /// Where.
    pub redis: Redis,
    /// The longest that an entry stays there; `None`: as long as it may be of use.
    pub ttl: Option<Duration>,
    /// The largest body that goes there, in bytes.
    pub max_object: u64,
    /// From how many bytes on entries are compressed; `None`: never.
    pub compress: Option<u64>,
    /// The keys of encryption, each of [`SharedLevel::KEY_BYTES`] or more; the first encrypts, all decrypt. Empty: entries are not encrypted.
    pub encrypt: Vec<Secret>,
}

impl SharedLevel {
    /// The least bytes of a key of encryption.
    pub const KEY_BYTES: usize = 32;
}
