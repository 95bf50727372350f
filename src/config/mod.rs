//! The checked configuration: what the rest of Larder reads. Every name in it is resolved and every value is in range.
//!
//! `tree` reads YAML into a tree with positions, `read` checks the tree and collects every error of the file,
//! `schema` describes the same shape as a JSON Schema. The words are the contract of `docs/configuration.md`.

mod begins;
mod events;
pub mod pattern;
mod purging;
pub mod read;
mod redis;
pub mod schema;
pub mod tree;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

pub use crate::policy::{Overrides, Ttl};
pub use begins::Begins;
pub use events::{ClearCache, EventFields, EventTenant, FieldAt, Model, Webhook};
pub use pattern::{HostPattern, PathPattern};
pub use purging::{OnPartition, Purging, RedisLog, TimedPurge, Wait};
pub use redis::{Password, Redis, RedisServer, RedisTls, Servers, SharedLevel};

/// A whole configuration file, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect: at least one.
    pub listen: Vec<Listener>,
    /// The side door for operators.
    pub admin: Option<Admin>,
    /// The applications, in the order of the file. [`Route::origin`] points in here.
    pub origins: Vec<Arc<Origin>>,
    /// Where tenant, user and role come from.
    pub identity: Identity,
    /// The stores; number 0 is `default`, which exists even when it is not written.
    pub stores: Vec<Arc<Store>>,
    /// The routes, in the order of the file: the first that matches wins.
    pub routes: Vec<Arc<Route>>,
    /// What a write that matches purges besides its own URL.
    pub writes: Vec<Write>,
    /// The models that events name.
    pub models: Vec<Model>,
    /// The senders of events.
    pub webhooks: Vec<Webhook>,
    /// Where the application's own users clear the cache.
    pub clear_cache: Vec<ClearCache>,
    /// Purges by the clock.
    pub timed_purges: Vec<TimedPurge>,
    /// How purges get their order, and who has to know of them.
    pub purging: Purging,
    /// The folder for what outlives a restart.
    pub data_dir: Option<PathBuf>,
    /// The fields that say before `Cache-Control` how Larder caches a response, in their order (RFC 9213).
    pub target_fields: Vec<HeaderName>,
    /// What one client may cost.
    pub limits: Limits,
    /// The log of requests.
    pub log: Log,
}

/// One address on which clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address and port.
    pub addr: SocketAddr,
    /// The certificate, where the listener speaks TLS.
    pub tls: Option<Tls>,
}

/// Where a listener's certificate is found. Paths are relative to the folder of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file with the certificate chain.
    pub cert: PathBuf,
    /// A PEM file with the private key.
    pub key: PathBuf,
}

/// The admin listener and who may use it.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The address of the admin listener.
    pub listen: SocketAddr,
    /// The tokens that authorise an operator, also for `PURGE` on the clients' listeners.
    pub tokens: Vec<Token>,
}

/// A named token of an operator.
#[derive(Debug, Clone)]
pub struct Token {
    /// The name under which logs mention it.
    pub name: String,
    /// What it may do.
    pub role: AdminRole,
    /// The only tenant whose entries it sees and purges; `None`: everybody's.
    pub tenant: Option<Arc<str>>,
    /// The token itself.
    pub secret: Secret,
}

/// What an operator's token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminRole {
    /// Everything.
    Admin,
    /// Only look.
    Viewer,
}

/// Bytes that must not appear in a log, an error, a metric or the admin API. At least 16 of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// The shortest secret that is accepted, in bytes.
    pub const MIN_BYTES: usize = 16;

    /// Takes the bytes, or gives `None` where they are fewer than [`Secret::MIN_BYTES`].
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() >= Self::MIN_BYTES).then_some(Self(bytes))
    }

    /// The bytes. Whoever asks for them keeps them out of every message.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An application behind Larder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name in the file.
    pub name: String,
    /// Whether it is spoken to over TLS.
    pub https: bool,
    /// Host and port, as in a `Host` field.
    pub authority: String,
    /// Bounds connecting and waiting for the response head, each; not bodies.
    pub timeout: Duration,
    /// How long a body may stand still (no byte in either direction) before the exchange is broken off.
    pub body_idle: Duration,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
    /// The most connections at once; a request beyond them waits for one within `timeout`.
    pub connections: usize,
    /// Whether HTTP/2 is spoken to it (prior knowledge, or ALPN over TLS).
    pub http2: bool,
    /// Whether the client's `Host` goes on to the application (default), or the application's own authority.
    pub preserve_host: bool,
    /// A PEM file with the certificate authorities that are trusted for it, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Believes that an answer whose end is that of its connection is whole, whatever its transfer coding.
    pub unsafe_read_to_close: bool,
}

/// Where tenant, user and role come from, best source first.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Peers whose forwarded fields and identity fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How JSON Web Tokens are verified.
    pub jwt: Option<Jwt>,
    /// How an origin is asked who a credential is.
    pub ask: Option<Ask>,
    /// The sources of the tenant.
    pub tenant: Vec<Source>,
    /// The sources of the user.
    pub user: Vec<Source>,
    /// The sources of the role.
    pub role: Vec<Source>,
    /// Roles that have a scope of their own when no tenant is given (D8): role, then scope.
    pub scopes: Vec<(String, String)>,
}

/// One source of tenant, user or role. DESIGN: *verified* (`Jwt`, `Ask`, `Header`, an entitled `Query`) or *claimed*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A claim of the verified token; a dotted path reaches into objects.
    Jwt(String),
    /// The origin's word (which of the three is told by the list that the source stands in).
    Ask,
    /// A field that a trusted proxy sets. From any other peer it is stripped.
    Header(HeaderName),
    /// A label of the host.
    Host(HostPattern),
    /// A segment of the path: the pattern, and which of its names.
    Path(PathPattern, String),
    /// A cookie.
    Cookie(String),
    /// A query parameter; verified where the credential is entitled to it.
    Query {
        /// The parameter's name.
        name: String,
        /// Who may name which tenant. Without it the parameter is a mere claim.
        entitled: Option<Entitled>,
    },
}

/// What makes a named tenant a verified one: the token lists it, or the role may name any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitled {
    /// The claim of the token that lists the tenants (an array of strings or numbers, or one of them).
    pub jwt: Option<String>,
    /// Roles that may name any tenant.
    pub roles: Vec<String>,
}

/// How tokens are verified. Where there is no usable key for a token's algorithm and key id, the token is invalid.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// The keys: each holds for its own algorithms only, so that a public key is never taken for an HMAC secret.
    pub keys: Vec<JwtKey>,
    /// The issuers accepted; empty: any.
    pub issuer: Vec<String>,
    /// The audiences accepted; empty: any.
    pub audience: Vec<String>,
    /// Tolerance for `exp` and `nbf`.
    pub leeway: Duration,
    /// The cookie that holds the token where there is no `Authorization: Bearer`.
    pub cookie: Option<String>,
}

/// One key, or one set of keys, and the algorithms that it is good for.
#[derive(Debug, Clone)]
pub struct JwtKey {
    /// The algorithms.
    pub algorithms: Vec<JwtAlgorithm>,
    /// The key id that a token must name to be verified with this key; `None`: any token.
    pub kid: Option<String>,
    /// The key itself.
    pub material: JwtMaterial,
}

/// The signature algorithms of tokens (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
}

/// Where a key comes from.
#[derive(Debug, Clone)]
pub enum JwtMaterial {
    /// A shared secret (HS algorithms).
    Secret(Secret),
    /// A public key or certificate in PEM (RS and ES algorithms), read when the file was checked.
    Pem(Arc<[u8]>),
    /// A key set (RFC 7517) behind a URL, fetched and refreshed while running.
    Jwks(JwksUrl),
}

/// The URL of a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl {
    /// The whole URL, `http` or `https`.
    pub url: http::Uri,
    /// How often it is fetched anew without a reason. An unknown key id is a reason, at most every ten seconds.
    pub refresh: Duration,
}

/// How an origin is asked who a credential is (`ask`).
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which origin: an index into [`Config::origins`].
    pub origin: usize,
    /// The path of the sub-request.
    pub path: String,
    /// The response field that names the tenant.
    pub tenant: Option<HeaderName>,
    /// The response field that names the user.
    pub user: Option<HeaderName>,
    /// The response field that names the role.
    pub role: Option<HeaderName>,
    /// How long an answer is remembered per credential; zero: never.
    pub remember: Duration,
    /// Paths of the application that end a credential.
    pub logout: Vec<PathPattern>,
    /// The cookies that make up the credential; `None`: all of them. `Authorization` always belongs to it.
    pub cookies: Option<Vec<String>>,
}

/// A place where responses are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its name in the file.
    pub name: String,
    /// How much it holds in memory; no byte at all with `memory: off`.
    pub capacity: Capacity,
    /// The largest body that it takes, in bytes.
    pub max_object: u64,
    /// What goes first when it is full.
    pub eviction: Eviction,
    /// The longest that an entry is used from memory; `None`: as long as it may be.
    pub memory_ttl: Option<Duration>,
    /// The level in Redis.
    pub redis: Option<Arc<SharedLevel>>,
}

/// The maximum of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// In bytes, overhead included.
    Bytes(u64),
    /// In stored responses.
    Entries(u64),
}

/// What goes first when a store is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// Responses asked for once go before those asked for again (default): a scan does not empty the store.
    #[default]
    ScanResistant,
    /// The response that was not asked for the longest.
    Lru,
    /// The response that was asked for the least often.
    Lfu,
    /// The response that expires first, however popular.
    Time,
}

/// How long responses are kept.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Its name in the file.
    pub name: String,
    /// The lifetime.
    pub ttl: Ttl,
    /// How long after its end a response is still served while a new one is fetched (RFC 5861 section 3).
    pub stale_while_revalidate: Duration,
    /// How long after its end a response is still served when the origin fails (RFC 5861 section 4).
    pub stale_if_error: Duration,
    /// Which store: an index into [`Config::stores`].
    pub store: usize,
    /// Exceptions by what the answer looks like; the first that matches wins.
    pub when: Vec<When>,
}

/// An exception of a tier: all conditions that are given must hold (C7).
#[derive(Debug, Clone)]
pub struct When {
    /// One of these statuses. A status that is an error is stored only where an exception names it.
    pub status: Vec<StatusCode>,
    /// A body of at least so many bytes.
    pub min_size: Option<u64>,
    /// A body of at most so many bytes.
    pub max_size: Option<u64>,
    /// A media type (`application/json`), or a range (`image/*`), in lower case.
    pub content_type: Option<String>,
    /// A response field, and its value where that matters.
    pub header: Option<(HeaderName, Option<HeaderValue>)>,
    /// A number of records in a JSON body.
    pub records: Option<Records>,
    /// What happens then.
    pub then: WhenThen,
}

/// How the records of a JSON body are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// A JSON pointer (RFC 6901) to an array; empty: the whole document.
    pub at: String,
    /// At least so many.
    pub min: Option<u64>,
    /// At most so many.
    pub max: Option<u64>,
}

/// What an exception of a tier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenThen {
    /// Another lifetime.
    Ttl(Ttl),
    /// Not stored.
    Never,
}

/// A route: which requests, to which origin, and how they are cached.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name in the file.
    pub name: String,
    /// Its place in the file, from 0.
    pub index: usize,
    /// Any of these hosts; empty: all.
    pub hosts: Vec<HostPattern>,
    /// The pattern over the path.
    pub path: PathPattern,
    /// Any of these methods; empty: all.
    pub methods: Vec<Method>,
    /// Which origin: an index into [`Config::origins`].
    pub origin: usize,
    /// Whether any answer of the application may purge, not only one to a write.
    pub purge_on_any: bool,
    /// How it is cached; `None`: passed through, never stored.
    pub caching: Option<Arc<Caching>>,
}

/// How a route is cached.
#[derive(Debug, Clone)]
pub struct Caching {
    /// How long.
    pub tier: Arc<Tier>,
    /// Among whom.
    pub share: Share,
    /// What else selects.
    pub vary_on: Vec<VaryOn>,
    /// Which query parameters select.
    pub query: QueryRule,
    /// With what the names begin that this rule lists.
    pub query_begins: Begins,
    /// Takes the place of path and query in the key.
    pub key: Option<Template>,
    /// The tags of every response of the route.
    pub tags: Vec<Template>,
    /// What of the response does not forbid storing.
    pub overrides: Overrides,
    /// Replays `Set-Cookie` from the cache. For conformance runs only.
    pub unsafe_store_set_cookie: bool,
    /// Stores a 206 that is shorter than its `Content-Range` says. For conformance runs only.
    pub unsafe_uneven_parts: bool,
    /// When a request may be answered from the cache at all; otherwise it is passed.
    pub only_if: OnlyIf,
    /// Who may ask for a fresh answer, and how.
    pub bust: Bust,
    /// Who may choose per request (C9).
    pub choices: Allow,
    /// What becomes of requests while nobody knows what was purged.
    pub on_partition: OnPartition,
}

/// Among whom a stored response is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// Everybody.
    Public,
    /// The users of one tenant.
    Tenant,
    /// One user.
    User,
}

/// Something that selects a stored response besides the URL.
#[derive(Debug, Clone, PartialEq)]
pub enum VaryOn {
    /// The identity's role.
    Role,
    /// The best of these languages for `Accept-Language`; the first where none fits.
    Language(Vec<String>),
    /// The local day in this time zone; the response ends at local midnight.
    Date(jiff::tz::TimeZone),
    /// A cookie.
    Cookie(String),
    /// A request field.
    Header(HeaderName),
}

/// Which query parameters select; what selects is what is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryRule {
    /// These only.
    Only(Vec<String>),
    /// All but these (and, on tiers with a `ttl`, tracking parameters, which are in the list).
    /// A name that ends in `*` stands for all that start so.
    Ignore(Vec<String>),
}

impl QueryRule {
    /// With what the listed names begin.
    pub fn begins(&self) -> Begins {
        let (Self::Only(names) | Self::Ignore(names)) = self;
        Begins::of(names)
    }
}

/// A text with holes: `user:{user}`, `{query.model}`. Holes: `tenant`, `user`, `role`, a name of the path pattern,
/// `query.NAME`, `header.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template(pub Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// These characters.
    Text(String),
    /// The tenant, or nothing.
    Tenant,
    /// The user, or nothing.
    User,
    /// The role, or nothing.
    Role,
    /// What a name of the route's path pattern stands for.
    Path(String),
    /// The first value of a query parameter, or nothing.
    Query(String),
    /// The value of a request field, or nothing. Only where `vary_on` names the field too.
    Header(String),
}

/// A condition on the request: all that are given must hold (B6, C7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnlyIf {
    /// One of these roles; empty: any or none.
    pub role: Vec<String>,
    /// Each of these query parameters with one of its values; no values: present.
    pub query: Vec<(String, Vec<String>)>,
    /// Each of these request fields with one of its values; no values: present.
    pub header: Vec<(HeaderName, Vec<String>)>,
}

/// Who may ask for something out of the ordinary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// Everybody.
    Anyone,
    /// Whoever has a verified identity.
    Identified,
    /// Whoever has one of these roles from a verified source.
    Roles(Vec<String>),
    /// Nobody.
    Nobody,
}

/// A request for a fresh answer (`?bust_cache=true`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bust {
    /// The query parameter. `false`, `0`, `no` and an empty value do not ask.
    pub param: String,
    /// Who may.
    pub allow: Allow,
    /// How often per key: so many within so long.
    pub per_key: (u32, Duration),
    /// Whether the parameter goes on to the application.
    pub forward: bool,
}

/// What a write purges besides its own URL (F5).
#[derive(Debug, Clone)]
pub struct Write {
    /// The methods.
    pub methods: Vec<Method>,
    /// The pattern over the path.
    pub path: PathPattern,
    /// Fields of the request that fill holes, beside the path's captures.
    pub fields: Vec<(String, FieldAt)>,
    /// The exact tags and the patterns of its models, over the path's captures, the fields and the tenant.
    pub purges: Vec<TagSelector>,
}

/// What of the tags a purge selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSelector {
    /// An exact name.
    Tag(Template),
    /// A glob (it has a `*`), or a bare name that covers itself and everything below it at `:`.
    Pattern(Template),
}

impl TagSelector {
    /// The text with its holes.
    pub fn template(&self) -> &Template {
        match self {
            Self::Tag(template) | Self::Pattern(template) => template,
        }
    }
}

/// What one client may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest request target, in bytes.
    pub uri: usize,
    /// The most bytes of header fields.
    pub header_bytes: usize,
    /// The most header fields.
    pub header_count: usize,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// How long the body of a request may stand still.
    pub body_timeout: Duration,
    /// The most connections at once, over all listeners.
    pub connections: usize,
    /// How long requests in flight may go on after a signal to stop.
    pub drain: Duration,
}

/// The log of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Log {
    /// One line per request, or none.
    pub requests: bool,
    /// JSON, or for people.
    pub json: bool,
    /// Which share of the requests is logged, from 0 to 1. Errors always are.
    pub sample: f64,
}
