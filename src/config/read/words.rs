//! The words of the file: every section and key, declared once. See [`super::section`].
//!
//! Those of `identity` are in [`super::identity_words`], those of stores, tiers and routes in [`super::route_words`].

use super::super::AdminRole;
use super::collections::{List, Named, OneOrMany, Pairs};
use super::http_values::*;
use super::identity_words::RawIdentity;
use super::purging_words::RawPurge;
use super::route_words::{RawBust, RawRoute, RawStore, RawTier, RawWho};
use super::section::section;
use super::short_words::{Off, ScalarOr, SecretRef};
use super::units::*;
use super::values::*;

words!(AdminRole { "admin" => Self::Admin, "viewer" => Self::Viewer });

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
    /// What changes with a model: a list of patterns over tags for each name, or written out with related models.
    models: Named<ScalarOr<OneOrMany<TemplateText>, RawModel>> = optional "none";
    /// Senders of signed events: `POST /.larder/webhooks/NAME` on the clients' listeners.
    webhooks: List<RawWebhook> = optional "none";
    /// Where users of the application clear the cache with the application's own token.
    clear_cache: OneOrMany<RawClearCache> = optional "nowhere";
    /// How purges get their order where several Larders share a cache, and who has to know of them.
    purge: RawPurge = optional "one process";
    /// Purges by the clock.
    timed_purges: List<RawTimed> = optional "none";
    /// The folder for what outlives a restart (the ids of webhooks, unless a shared log of purges remembers them). It is made when it is not there.
    data_dir: FileName = optional "nothing outlives a restart";
    /// Requests for a fresh answer, on all routes that do not say otherwise; `false`: nobody may.
    bust: ScalarOr<Off, RawBust> = optional "as below";
    /// Who may choose per request (bypass, refresh, bounded timeout), on all routes that do not say otherwise.
    choices: RawWho = default "nobody";
    /// The languages of `vary_on: [language]`, the fallback first.
    languages: OneOrMany<Language> = optional "none";
    /// The time zone of `vary_on: [date]`.
    time_zone: Zone = default "UTC";
    /// Fields that take the place of `Cache-Control` and `Expires` for Larder (RFC 9213), the first that a response has and
    /// that is valid; at most 8. `[]`: none. Clients get them as they are.
    target_fields: List<FieldName> = default "[Larder-Cache-Control, CDN-Cache-Control]";
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
    /// The only tenant whose stored responses it sees and purges.
    tenant: Text = optional "all";
    /// The token.
    secret: SecretRef = required;
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
    /// How long an unused connection is kept open. Where the application says that it closes sooner (`Keep-Alive: timeout=5`), up to a second before.
    keep_alive: Wait = default "60s";
    /// The most connections at once. A request beyond them waits for one, within `timeout`.
    connections: Whole<1, 65_535> = default "256";
    /// Whether to speak HTTP/2 to it.
    http2: bool = default "false";
    /// Which `Host` it sees: the client's (`preserve`), or its own (`origin`).
    host: HostMode = default "preserve";
    /// A PEM file with the certificate authorities trusted for it, instead of the system's.
    ca: FileName = optional "the system's";
    /// Believes that an answer without a length, or in an unknown transfer coding (which is not undone), is whole when its
    /// connection ends, and stores it. For conformance runs only.
    unsafe_read_to_close: bool = default "false";
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
    /// Where the request holds further fields that fill holes, by name: `query.NAME`, or a JSON pointer into the body
    /// (`/item/branch_id`; in a form's body `/NAME`). A field that is not there, or in a body that is larger than 64 KiB
    /// or something else, becomes `*`.
    fields: Pairs<FieldPlace> = optional "none";
    /// Exact tags: templates over `{tenant}`, the names of `path` and of `fields`, and `{query.NAME}`.
    tags: OneOrMany<TemplateText> = optional;
    /// Patterns over tags: templates too.
    patterns: OneOrMany<TemplateText> = optional;
}

section! {
    /// What changes with a model. At least one of the two is given.
    RawModel "models.NAME";
    /// Patterns over tags: templates over `{tenant}` and the fields of the event. A hole that an event does not fill
    /// becomes `*`.
    purges: OneOrMany<TemplateText> = optional "none";
    /// Models that change with it: their patterns are purged too, and those of their related models.
    related: OneOrMany<Text> = optional "none";
}

section! {
    /// A sender of events, signed as in Standard Webhooks. See [webhooks](webhooks.md).
    RawWebhook "webhooks", one_of [secret, secrets];
    /// Its name: the last part of the path.
    name: Name = required;
    /// The secret that its messages are signed with. After `whsec_` it is base64.
    secret: SecretRef = optional;
    /// Several secrets, any of which will do: while one takes the place of another.
    secrets: OneOrMany<SecretRef> = optional;
    /// The tenant that all its events mean; `"*"`: all tenants.
    tenant: Text = optional "each event names it";
    /// Whether an event may say `"tenant": "*"`, which means all tenants.
    all_tenants: bool = default "false";
    /// The largest body.
    body_limit: Size = default "256KiB";
    /// Where an application's own payload holds `tenant`, `model`, `tags`, `patterns`, `urls`, `soft` and what fills the
    /// holes of models: JSON pointers by name. Nothing else is read then.
    fields: Pairs<Pointer> = optional "members of the same names";
    /// A JSON pointer to a running number, which the sender counts up by one per tenant. A gap purges everything of the
    /// tenant, and the public responses.
    sequence: Pointer = optional "none";
}

section! {
    /// A path on which a `POST` with the application's own bearer token clears the cache: everything or any tenant for
    /// administrators, the token's own tenant for everybody else.
    RawClearCache "clear_cache";
    /// The path.
    path: FixedPath = required;
    /// The member of the body that names a tenant.
    tenant: Text = default "tenant_id";
    /// The roles that may clear everything and any tenant.
    admin_roles: OneOrMany<Text> = optional "nobody";
}

section! {
    /// A purge that is repeated, counted from the start of Larder. `tags`, `patterns` or both.
    RawTimed "timed_purges";
    /// How long from one to the next.
    every: Wait = required;
    /// Exact tags.
    tags: OneOrMany<Text> = optional "none";
    /// Patterns over tags.
    patterns: OneOrMany<Text> = optional "none";
    /// The tenant whose responses are purged (and the public ones).
    tenant: Text = optional "everybody's";
    /// Whether what is purged may still be served within the stale windows of its tier.
    soft: bool = default "false";
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
