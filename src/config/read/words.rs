//! The words of the file: every section and key, declared once. See [`super::section`].
//!
//! The sections of routes and tiers are in [`super::route_words`].

use serde_json::json;

use super::super::tree::{Kind, Node, Plain, plain};
use super::super::{AdminRole, JwtAlgorithm};
use super::error::Errors;
use super::http_values::*;
use super::route_words::{RawBust, RawRoute, RawStore, RawTier, RawWho};
use super::section::{FromNode, Shape, mismatch, section};
use super::values::*;

/// A value in its short form (a scalar), or written out.
#[derive(Debug, Clone)]
pub(crate) enum ScalarOr<A, B> {
    /// The short form.
    Short(A),
    /// Written out.
    Long(B),
}

impl<A: FromNode, B: FromNode> FromNode for ScalarOr<A, B> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.kind {
            Kind::Map(_) => B::from_node(node, errors).map(Self::Long),
            _ => A::from_node(node, errors).map(Self::Short),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![A::shape(), B::shape()])
    }
}

/// The word `false`, for what can be switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Off;

impl FromNode for Off {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { text, quoted: false } = &node.kind
            && plain(text) == Plain::Bool(false)
        {
            return Some(Self);
        }
        mismatch(
            node,
            "`false`",
            "`false` switches it off; otherwise say how, with `key: value` pairs",
            errors,
        );
        None
    }

    fn shape() -> Shape {
        Shape::Only(json!(false))
    }
}

/// Where a secret is found. Written into the file itself it is refused.
#[derive(Debug, Clone)]
pub(crate) struct SecretRef(pub(crate) RawSecret);

impl FromNode for SecretRef {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { .. } = node.kind {
            let help =
                "write `{ env: NAME }` or `{ file: PATH }`, and change the secret: it was in this file";
            errors.add(node.pos, "a secret must not stand in the configuration file", help);
            return None;
        }
        RawSecret::from_node(node, errors).map(Self)
    }

    fn shape() -> Shape {
        RawSecret::shape()
    }
}

words!(AdminRole { "admin" => Self::Admin, "viewer" => Self::Viewer });

words!(JwtAlgorithm {
    "HS256" => Self::HS256, "HS384" => Self::HS384, "HS512" => Self::HS512,
    "RS256" => Self::RS256, "RS384" => Self::RS384, "RS512" => Self::RS512,
    "ES256" => Self::ES256, "ES384" => Self::ES384,
});

/// Whose `Host` an origin sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum HostMode {
    Preserve,
    Origin,
}

words!(HostMode { "preserve" => Self::Preserve, "origin" => Self::Origin });

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LogFormat {
    Json,
    Human,
}

words!(LogFormat { "json" => Self::Json, "human" => Self::Human });

/// Which of the origin's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Tenant,
    User,
    Role,
}

words!(Asked { "tenant" => Self::Tenant, "user" => Self::User, "role" => Self::Role });

section! {
    /// The whole file.
    RawConfig "the file";
    /// Where clients connect: an address, or a mapping with TLS, or a list of these.
    listen: OneOrMany<ScalarOr<Address, RawListener>> = default "127.0.0.1:8080";
    /// The side door for operators: health, metrics, and the tokens that authorise purging.
    admin: RawAdmin = optional "none";
    /// The applications behind Larder, by name.
    origins: Named<RawOrigin> = required;
    /// Where tenant, user and role come from.
    identity: RawIdentity = optional "nobody is known";
    /// Where responses are kept, by name. `default` exists even when it is not written.
    stores: Named<RawStore> = optional "`default` with 256MiB";
    /// How long responses are kept, by name.
    tiers: Named<RawTier> = optional "none";
    /// Which requests go where and how they are cached. The first that matches wins.
    routes: List<RawRoute> = required;
    /// What requests that change something purge besides their own URL.
    writes: List<RawWrite> = optional "none";
    /// What changes with a model: a list of patterns over tags for each name.
    models: Named<OneOrMany<TemplateText>> = optional "none";
    /// Requests for a fresh answer, on all routes that do not say otherwise; `false`: nobody may.
    bust: ScalarOr<Off, RawBust> = optional "as below";
    /// Who may choose per request (bypass, refresh, bounded timeout), on all routes that do not say otherwise.
    choices: RawWho = default "nobody";
    /// The languages of `vary_on: [language]`, the fallback first.
    languages: OneOrMany<Language> = optional "none";
    /// The time zone of `vary_on: [date]`.
    time_zone: Zone = default "UTC";
    /// What one client may cost.
    limits: RawLimits = optional "as below";
    /// The log of requests.
    log: RawLog = optional "as below";
}

section! {
    /// An address on which clients connect, with TLS.
    RawListener "listen";
    /// The IP address and port.
    address: Address = required;
    /// The certificate; without it the listener speaks plain HTTP.
    tls: RawTls = optional "none";
}

section! {
    /// A certificate and its key. HTTP/2 is offered by ALPN.
    RawTls "listen.tls";
    /// A PEM file with the certificate, and the chain after it.
    cert: FileName = required;
    /// A PEM file with the private key.
    key: FileName = required;
}

section! {
    /// The admin listener. Keep it off the public network.
    RawAdmin "admin";
    /// The IP address and port.
    listen: Address = required;
    /// Who may purge and look; a token is sent as `Authorization: Bearer`.
    tokens: List<RawToken> = optional "none";
}

section! {
    /// A token of an operator or a program.
    RawToken "admin.tokens";
    /// The name under which logs mention it.
    name: Name = required;
    /// `admin` may do everything, `viewer` may only look.
    role: AdminRole = required;
    /// The token.
    secret: SecretRef = required;
}

section! {
    /// Where a secret is found. It has at least 16 bytes; a line break at its end does not count.
    RawSecret "a secret", one_of [env, file];
    /// The environment variable that holds it.
    env: Text = optional;
    /// The file that holds it, relative to the folder of the configuration.
    file: FileName = optional;
}

section! {
    /// An application behind Larder.
    RawOrigin "origins.NAME";
    /// Where it is: `http://host:port` or `https://host:port`, without path, query or user.
    url: OriginUrl = required;
    /// Bounds connecting and waiting for the head of the response, each; not bodies.
    timeout: Wait = default "30s";
    /// How long a body may stand still before the exchange is broken off.
    body_idle: Wait = default "5m";
    /// How long an unused connection is kept open.
    keep_alive: Wait = default "60s";
    /// The most connections at once. A request beyond them waits for one, within `timeout`.
    connections: Whole<1, 65_535> = default "256";
    /// Whether to speak HTTP/2 to it.
    http2: bool = default "false";
    /// Which `Host` it sees: the client's (`preserve`), or its own (`origin`).
    host: HostMode = default "preserve";
    /// A PEM file with the certificate authorities trusted for it, instead of the system's.
    ca: FileName = optional "the system's";
}

section! {
    /// Where tenant, user and role come from. Each list is tried in order; the first source that speaks wins.
    RawIdentity "identity";
    /// Peers whose forwarded fields and identity fields are believed. From everybody else they are removed.
    trusted_proxies: List<Network> = optional "none";
    /// How JSON Web Tokens are verified.
    jwt: RawJwt = optional "none";
    /// How an application is asked who a credential belongs to.
    ask: RawAsk = optional "none";
    /// The sources of the tenant, best first.
    tenant: List<RawSource> = optional "none";
    /// The sources of the user, best first.
    user: List<RawSource> = optional "none";
    /// The sources of the role, best first.
    role: List<RawSource> = optional "none";
    /// Roles that have a scope of their own when no tenant is named: `ROLE: SCOPE`. A scope is shared with no tenant.
    scopes: Pairs<Text> = optional "none";
}

section! {
    /// How JSON Web Tokens are verified: `Authorization: Bearer`, or a cookie. Exactly one of `secret`, `key`, `jwks`
    /// and `keys` is given.
    RawJwt "identity.jwt", one_of [secret, key, jwks, keys];
    /// The algorithms accepted. With `keys` each key has its own.
    algorithms: OneOrMany<JwtAlgorithm> = optional;
    /// The shared secret, for the HS algorithms.
    secret: SecretRef = optional;
    /// The public key or certificate in PEM, for the RS and ES algorithms: a file name, `{ file: … }` or `{ env: … }`.
    key: ScalarOr<FileName, RawSecret> = optional;
    /// The URL of a key set, for the RS and ES algorithms.
    jwks: Url = optional;
    /// Several keys.
    keys: OneOrMany<RawJwtKey> = optional;
    /// How often key sets are fetched anew. An unknown key id is a reason to do it at once.
    refresh: Wait = default "5m";
    /// The issuers accepted (`iss`).
    issuer: OneOrMany<Text> = optional "any";
    /// The audiences accepted (`aud`).
    audience: OneOrMany<Text> = optional "any";
    /// Tolerance for `exp` and `nbf`.
    leeway: Window = default "30s";
    /// The cookie that holds the token where there is no `Authorization`.
    cookie: CookieName = optional "none";
}

section! {
    /// One key and the algorithms that it is good for.
    RawJwtKey "identity.jwt.keys", one_of [algorithms, algorithm], one_of [secret, key, jwks];
    /// The algorithms.
    algorithms: OneOrMany<JwtAlgorithm> = optional;
    /// The algorithm, where it is one.
    algorithm: JwtAlgorithm = optional;
    /// The key id that a token must name.
    kid: Text = optional "any";
    /// The shared secret, for the HS algorithms.
    secret: SecretRef = optional;
    /// The public key or certificate in PEM.
    key: ScalarOr<FileName, RawSecret> = optional;
    /// The URL of a key set.
    jwks: Url = optional;
}

section! {
    /// How an application is asked who a credential belongs to: a sub-request with the client's cookies and
    /// `Authorization`, whose response fields give tenant, user and role. For opaque session cookies.
    RawAsk "identity.ask";
    /// The application.
    origin: Text = optional "the only one";
    /// The path of the sub-request.
    path: FixedPath = required;
    /// The response field that names the tenant.
    tenant: FieldName = optional;
    /// The response field that names the user.
    user: FieldName = optional;
    /// The response field that names the role.
    role: FieldName = optional;
    /// How long an answer is remembered per credential; `0`: never.
    remember: Window = default "30s";
    /// Paths that end a credential at once.
    logout: OneOrMany<PathText> = optional "none";
    /// The cookies that make up the credential.
    cookies: OneOrMany<CookieName> = optional "all";
}

section! {
    /// One source of tenant, user or role. `jwt`, `ask`, `header` and an entitled `query` are *verified*; `host`, `path`,
    /// `cookie` and `query` are only *claimed* by the client, and never share a stored response with verified ones.
    RawSource "a source", one_of [jwt, ask, header, host, path, cookie, query];
    /// A claim of the token; a dotted path reaches into objects.
    jwt: Text = optional;
    /// The application's word: the name of the list that this source stands in.
    ask: Asked = optional;
    /// A field that a trusted proxy sets.
    header: FieldName = optional;
    /// A label of the host: `"{tenant}.example.com"`.
    host: HostText = optional;
    /// A segment of the path: `"/t/{tenant}/{*rest}"`.
    path: PathText = optional;
    /// A cookie.
    cookie: CookieName = optional;
    /// A query parameter.
    query: ParamName = optional;
    /// Who may name which tenant in the query; it makes the tenant a verified one.
    entitled: RawEntitled = optional "the tenant is only claimed";
}

section! {
    /// What entitles a credential to the tenant that the query names.
    RawEntitled "identity.tenant.entitled";
    /// The claim of the token that lists its tenants.
    jwt: Text = optional "none";
    /// Roles that may name any tenant.
    roles: OneOrMany<Text> = optional "none";
}

section! {
    /// What a request that changes something purges besides its own URL, once it was answered 2xx or 3xx. At least one of
    /// `models`, `tags` and `patterns` is given.
    RawWrite "writes";
    /// The methods.
    methods: OneOrMany<MethodName> = default "[POST, PUT, PATCH, DELETE]";
    /// The pattern over the path.
    path: PathText = required;
    /// The models that it changes.
    models: OneOrMany<Text> = optional;
    /// Exact tags: templates over `{tenant}` and the names of `path`.
    tags: OneOrMany<TemplateText> = optional;
    /// Patterns over tags: templates too.
    patterns: OneOrMany<TemplateText> = optional;
}

section! {
    /// What one client may cost.
    RawLimits "limits";
    /// The longest request target.
    uri: Size = default "8KiB";
    /// The most bytes of header fields.
    header_bytes: Size = default "32KiB";
    /// The most header fields.
    header_count: Whole<1, 10_000> = default "100";
    /// How long the head of a request may take.
    header_timeout: Wait = default "10s";
    /// How long the body of a request may stand still.
    body_timeout: Wait = default "30s";
    /// The most connections at once, over all listeners.
    connections: Whole<1, 10_000_000> = default "10000";
    /// How long requests in flight may go on after a signal to stop.
    drain: Window = default "30s";
}

section! {
    /// The log of requests.
    RawLog "log";
    /// One line per request, or none.
    requests: bool = default "true";
    /// `json`, or `human`.
    format: LogFormat = default "human";
    /// Which share of the requests is logged, from 0 to 1. Errors always are.
    sample: Fraction = default "1.0";
}
