//! The words of stores, tiers and routes, declared once. See [`super::section`].

use super::super::tree::{Kind, Node};
use super::super::{Eviction, OnPartition, Share};
use super::collections::{Entry, List, OneOrMany, Pairs};
use super::error::Errors;
use super::http_values::*;
use super::redis_words::{OffOr, RawRedis, RedisOr};
use super::section::{At, FromNode, Shape, mismatch, section};
use super::short_words::{Off, ScalarOr};
use super::units::*;
use super::values::*;

words!(Eviction {
    "scan_resistant" => Self::ScanResistant, "lru" => Self::Lru, "lfu" => Self::Lfu, "time" => Self::Time,
});

words!(Share { "public" => Self::Public, "tenant" => Self::Tenant, "user" => Self::User });

/// What else selects, in one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum VaryWord {
    Role,
    Language,
    Date,
}

words!(VaryWord { "role" => Self::Role, "language" => Self::Language, "date" => Self::Date });

words!(OnPartition {
    "serve" => Self::Serve, "revalidate" => Self::Revalidate, "bypass" => Self::Bypass,
});

/// Which answers may purge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PurgeOn {
    Write,
    Any,
}

words!(PurgeOn { "write" => Self::Write, "any" => Self::Any });

/// What of a response does not forbid storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverrideWord {
    NoStore,
    Private,
    NoCache,
    VaryCookie,
    VaryAuthorization,
    SetCookie,
}

words!(OverrideWord {
    "Cache-Control: no-store" => Self::NoStore, "no-store" => Self::NoStore,
    "Cache-Control: private" => Self::Private, "private" => Self::Private,
    "Cache-Control: no-cache" => Self::NoCache, "no-cache" => Self::NoCache,
    "Vary: Cookie" => Self::VaryCookie,
    "Vary: Authorization" => Self::VaryAuthorization,
    "Set-Cookie" => Self::SetCookie,
});

/// Who may, in one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum WhoWord {
    Anyone,
    Identified,
    Nobody,
}

words!(WhoWord { "anyone" => Self::Anyone, "identified" => Self::Identified, "nobody" => Self::Nobody });

/// Who may.
pub(crate) type RawWho = ScalarOr<WhoWord, RawRoles>;

/// Names, each with the values that satisfy; a mere list of names asks for presence only.
#[derive(Debug, Clone)]
pub(crate) struct Conditions(pub(crate) Vec<(At<String>, Vec<String>)>);

impl FromNode for Conditions {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Map(_) = node.kind {
            let pairs = Pairs::<OneOrMany<Scalar>>::from_node(node, errors)?;
            let entry = |entry: Entry<OneOrMany<Scalar>>| {
                let values = entry.value?.0.into_iter().map(|at| at.value.0).collect();
                Some((entry.name, values))
            };
            return Some(Self(pairs.0.into_iter().filter_map(entry).collect()));
        }
        if let Kind::List(_) = node.kind {
            let names = List::<Text>::from_node(node, errors)?;
            return Some(Self(
                names.0.into_iter().map(|at| (At { value: at.value.0, pos: at.pos }, Vec::new())).collect(),
            ));
        }
        mismatch(
            node,
            "names with values",
            "write `{ NAME: value }`, or `[NAME]` where presence suffices",
            errors,
        );
        None
    }

    fn shape() -> Shape {
        Shape::Either(vec![Pairs::<OneOrMany<Scalar>>::shape(), List::<Text>::shape()])
    }
}

/// The word `false` of `store: false`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Never;

impl FromNode for Never {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        match bool::from_node(node, errors)? {
            false => Some(Self),
            true => {
                errors.add(
                    node.pos,
                    "`store: true` says nothing",
                    "write `ttl: …` to store it for another time, or `store: false`",
                );
                None
            }
        }
    }

    fn shape() -> Shape {
        Off::shape()
    }
}

section! {
    /// A place where responses are kept: in memory, in Redis, or in memory before Redis.
    RawStore "stores.NAME";
    /// How much it holds in memory: bytes with all overhead, or `{ entries: … }`. `off`, where there is `redis`: nothing.
    memory: ScalarOr<OffOr<Size>, RawEntries> = default "256MiB";
    /// The longest that a response is used from memory. After that it is looked for in Redis, or fetched.
    memory_ttl: Wait = optional "as long as it may be";
    /// The level that several Larders share: its URL, or written out.
    redis: RedisOr<RawRedis> = optional "none";
    /// The largest body that memory takes.
    max_object: Size = optional "an eighth of `memory`, at most 64MiB; 8MiB with `entries`";
    /// What goes first when it is full. `scan_resistant`: what was asked for once goes before what was asked for again.
    /// `lru`: what was not asked for the longest. `lfu`: what was asked for the least often. `time`: what expires first.
    eviction: Eviction = default "scan_resistant";
}

section! {
    /// A maximum in stored responses.
    RawEntries "stores.NAME.memory";
    /// How many.
    entries: Whole<1, 1_000_000_000> = required;
}

section! {
    /// How long responses are kept. Without `ttl` their own `Cache-Control` decides (RFC 9111).
    RawTier "tiers.NAME";
    /// The lifetime, whatever the response says; `0`: until purged.
    ttl: Lifetime = optional "the response decides";
    /// How long after its end a response is still served while a new one is fetched.
    stale_while_revalidate: Window = default "0";
    /// How long after its end a response is still served when the application fails.
    stale_if_error: Window = default "0";
    /// Which store.
    store: Text = default "default";
    /// Exceptions by what the answer looks like; the first that matches wins.
    when: List<RawWhen> = optional "none";
}

section! {
    /// An exception of a tier: all conditions that are given must hold. Then either `ttl` or `store: false`. An error
    /// status (400 and above) is stored only where an exception names it, with a `ttl` of at most `5m`.
    RawWhen "tiers.NAME.when", one_of [ttl, store];
    /// The status, or a list.
    status: OneOrMany<Status> = optional;
    /// A body of at least this size.
    min_size: Size = optional;
    /// A body of at most this size.
    max_size: Size = optional;
    /// The media type, or a range such as `image/*`.
    content_type: MediaType = optional;
    /// A response field: its name, or `{ name, value }`.
    header: ScalarOr<FieldName, RawField> = optional;
    /// The number of records in a JSON body.
    records: RawRecords = optional;
    /// Another lifetime; `0`: until purged.
    ttl: Lifetime = optional;
    /// `false`: not stored.
    store: Never = optional;
}

section! {
    /// A response field with a value.
    RawField "tiers.NAME.when.header";
    /// The field.
    name: FieldName = required;
    /// Its value.
    value: FieldValue = required;
}

section! {
    /// How many records a JSON body has. At least one of `min` and `max` is given.
    RawRecords "tiers.NAME.when.records";
    /// A JSON pointer to the array.
    at: Pointer = optional "the whole document";
    /// At least so many.
    min: Whole<0, 1_000_000_000> = optional;
    /// At most so many.
    max: Whole<0, 1_000_000_000> = optional;
}

section! {
    /// A route: which requests, to which application, and how they are cached. Routes with a tier cache GET and HEAD; other
    /// methods pass. Every key from `share` on needs a `tier`.
    RawRoute "routes";
    /// Its name, in logs and metrics.
    name: Name = required;
    /// The host, or a list: `shop.example.com`, `"*.example.com"`.
    host: OneOrMany<HostText> = optional "all";
    /// The pattern over the path: `{name}` stands for one segment, `{*name}` for the rest.
    path: PathText = required;
    /// The methods.
    methods: OneOrMany<MethodName> = optional "all";
    /// The application.
    origin: Text = optional "the only one";
    /// Which answers of the application may purge by their header fields: those to a `write` (an unsafe method), or `any`.
    purge_on: PurgeOn = default "write";
    /// The tier; without it the route passes through and nothing is stored.
    tier: Text = optional "none";
    /// Among whom a stored response is shared: `public`, `tenant` or `user`. Required with a tier.
    share: Share = optional;
    /// What else selects: `role`, `language`, `date`, or a mapping.
    vary_on: OneOrMany<ScalarOr<VaryWord, RawVary>> = optional "nothing";
    /// Which query parameters select, and go on to the application.
    query: RawQuery = optional "all but tracking parameters";
    /// Takes the place of path and query in the key: a template.
    key: TemplateText = optional "path and query";
    /// The tags of every response: templates.
    tags: OneOrMany<TemplateText> = optional "none";
    /// What of the application's answer does not forbid storing; on tiers with a `ttl`. `Set-Cookie` is stripped then.
    r#override: OneOrMany<OverrideWord> = optional "nothing";
    /// Replays `Set-Cookie` from the cache. For conformance runs only.
    unsafe_store_set_cookie: bool = default "false";
    /// Stores a 206 that is shorter than its `Content-Range` says. For conformance runs only.
    unsafe_uneven_parts: bool = default "false";
    /// Requests that do not satisfy this pass.
    only_if: RawOnlyIf = optional "all do";
    /// Requests for a fresh answer; `false`: nobody may.
    bust: ScalarOr<Off, RawBust> = optional "as at the top level";
    /// Who may choose per request.
    choices: RawWho = optional "as at the top level";
    /// What becomes of requests while the shared log of purges could not be read for longer than its bound: `serve` what is
    /// stored all the same, `revalidate` (the application is asked, for a whole answer), or `bypass` the cache.
    on_partition: OnPartition = default "revalidate";
}

section! {
    /// Something that selects besides the URL.
    RawVary "routes.vary_on", one_of [cookie, header, language, date];
    /// A cookie.
    cookie: CookieName = optional;
    /// A request field.
    header: FieldName = optional;
    /// The best of these languages for `Accept-Language`, the fallback first.
    language: OneOrMany<Language> = optional;
    /// The local day in this time zone. The response ends at local midnight.
    date: Zone = optional;
}

section! {
    /// Which query parameters select. What selects is what the application sees. On tiers with a `ttl`, tracking parameters
    /// (`utm_*`, `gclid`, `fbclid` and the like) never select unless `only` names them.
    RawQuery "routes.query", one_of [only, ignore];
    /// These only.
    only: List<ParamName> = optional;
    /// All but these; a name that ends in `*` stands for all that start so.
    ignore: List<ParamName> = optional;
}

section! {
    /// When a request may be answered from the cache at all: all that are given must hold.
    RawOnlyIf "routes.only_if";
    /// One of these roles.
    role: OneOrMany<Text> = optional "any";
    /// Query parameters, each with its values; or a list of names that must be there.
    query: Conditions = optional "any";
    /// Request fields, likewise.
    header: Conditions = optional "any";
}

section! {
    /// A request for a fresh answer: `?bust_cache=true`.
    RawBust "bust";
    /// The query parameter. `false`, `0`, `no` and an empty value do not ask.
    param: ParamName = optional "`bust_cache`";
    /// Who may: `anyone`, `identified`, `nobody`, or `{ roles: […] }`.
    allow: RawWho = optional "`identified`";
    /// How often per key: so many within so long. Beyond it the ordinary answer is given.
    per_key: Rate = optional "`1/5s`";
    /// Whether the parameter goes on to the application.
    forward: bool = optional "`false`";
}

section! {
    /// Who may, by role.
    RawRoles "who may";
    /// Roles from a verified source.
    roles: OneOrMany<Text> = required;
}
