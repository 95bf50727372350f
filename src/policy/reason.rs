//! Every "no", and every "how", has a name: one enum for the log, the metrics and `Cache-Status`.

/// Why a request was answered the way it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // `name` and `meaning` are the documentation, and the table in docs/cache-status.md
pub enum Reason {
    // Served from the cache.
    Fresh,
    StaleWhileRevalidate,
    StaleIfError,
    MaxStale,
    Validated,
    HeadUpdated,
    // Fetched.
    Absent,
    PartStored,
    VaryMiss,
    Expired,
    NoCacheStored,
    RequestNoCache,
    RequestMaxAge,
    Purged,
    LogAway,
    SoftPurged,
    Bust,
    ClientRefresh,
    ClientTtl,
    // Passed by the request.
    NoTier,
    Method,
    GetWithBody,
    RangeRequest,
    Upgrade,
    NoIdentity,
    InvalidToken,
    OnlyIf,
    ClientBypass,
    RequestNoStore,
    Precondition,
    Uncacheable,
    Write,
    KeyTooLong,
    // Not stored by the answer.
    StatusNotStorable,
    MustUnderstand,
    NoStore,
    Private,
    NoCache,
    SetCookie,
    VaryCookie,
    VaryAuthorization,
    VaryStar,
    VaryTooMany,
    Authorization,
    NoFreshness,
    Partial,
    TooLarge,
    TierSaysNever,
    CredentialChanged,
    CloseDelimited,
    EventStream,
    HeadChanged,
    HeadAnswer,
    OnlyIfCached,
    TagsTooMany,
    // Asked for in vain.
    BustDenied,
    BustBudget,
    ChoiceDenied,
    // Failed.
    OriginFailed,
    Refused,
}

impl Reason {
    /// All reasons, for the documentation.
    pub const ALL: &'static [Self] = &[
        Self::Fresh,
        Self::StaleWhileRevalidate,
        Self::StaleIfError,
        Self::MaxStale,
        Self::Validated,
        Self::HeadUpdated,
        Self::Absent,
        Self::PartStored,
        Self::VaryMiss,
        Self::Expired,
        Self::NoCacheStored,
        Self::RequestNoCache,
        Self::RequestMaxAge,
        Self::Purged,
        Self::LogAway,
        Self::SoftPurged,
        Self::Bust,
        Self::ClientRefresh,
        Self::ClientTtl,
        Self::NoTier,
        Self::Method,
        Self::GetWithBody,
        Self::RangeRequest,
        Self::Upgrade,
        Self::NoIdentity,
        Self::InvalidToken,
        Self::OnlyIf,
        Self::ClientBypass,
        Self::RequestNoStore,
        Self::Precondition,
        Self::Uncacheable,
        Self::Write,
        Self::KeyTooLong,
        Self::StatusNotStorable,
        Self::MustUnderstand,
        Self::NoStore,
        Self::Private,
        Self::NoCache,
        Self::SetCookie,
        Self::VaryCookie,
        Self::VaryAuthorization,
        Self::VaryStar,
        Self::VaryTooMany,
        Self::Authorization,
        Self::NoFreshness,
        Self::Partial,
        Self::TooLarge,
        Self::TierSaysNever,
        Self::CredentialChanged,
        Self::CloseDelimited,
        Self::EventStream,
        Self::HeadChanged,
        Self::HeadAnswer,
        Self::OnlyIfCached,
        Self::TagsTooMany,
        Self::BustDenied,
        Self::BustBudget,
        Self::ChoiceDenied,
        Self::OriginFailed,
        Self::Refused,
    ];

    /// The token in `Cache-Status`'s `detail`, in logs and in metrics.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it means, for the documentation.
    pub fn meaning(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Fresh => ("fresh", "a stored response within its freshness lifetime"),
            Self::StaleWhileRevalidate => {
                ("stale-while-revalidate", "stale, served while a new one is fetched (RFC 5861 section 3)")
            }
            Self::StaleIfError => {
                ("stale-if-error", "stale, served because the origin failed (RFC 5861 section 4)")
            }
            Self::MaxStale => ("max-stale", "stale, and the request accepts it (RFC 9111 section 5.2.1.2)"),
            Self::Validated => {
                ("validated", "the origin answered 304 to the validator of the stored response")
            }
            Self::HeadUpdated => (
                "head-updated",
                "the origin's answer to HEAD updated the stored response (RFC 9111 section 4.3.5)",
            ),
            Self::Absent => ("absent", "nothing is stored under the key"),
            Self::PartStored => ("part", "a part is stored, and more is asked for than it holds"),
            Self::VaryMiss => ("vary-miss", "other variants are stored, not this one (RFC 9111 section 4.1)"),
            Self::Expired => ("expired", "the stored response is past its freshness lifetime"),
            Self::NoCacheStored => {
                ("no-cache-stored", "the stored response asks for validation before every use")
            }
            Self::RequestNoCache => {
                ("request-no-cache", "the request asks for validation (RFC 9111 section 5.2.1.4)")
            }
            Self::RequestMaxAge => {
                ("request-max-age", "the request wants a younger response (RFC 9111 section 5.2.1.1)")
            }
            Self::Purged => ("purged", "the stored response was purged"),
            Self::LogAway => {
                ("log-away", "the shared log of purges could not be read for longer than its bound")
            }
            Self::SoftPurged => {
                ("soft-purged", "the stored response was softly purged, longer ago than its stale window")
            }
            Self::Bust => ("bust", "the request asked for a fresh answer with the bust parameter"),
            Self::ClientRefresh => {
                ("client-refresh", "the request asked for a fresh answer with X-Larder-Cache")
            }
            Self::ClientTtl => (
                "client-ttl",
                "the request bounded the age with X-Larder-Cache, and the stored response is older",
            ),
            Self::NoTier => ("no-tier", "the route has no tier"),
            Self::Method => ("method", "only GET and HEAD are answered from the cache"),
            Self::GetWithBody => {
                ("get-with-body", "a GET with a body has no defined meaning and is never cached")
            }
            Self::RangeRequest => (
                "range",
                "several ranges, or another unit than bytes, are asked for, and nothing whole and fresh is stored",
            ),
            Self::Upgrade => ("upgrade", "a request to switch protocols is passed through"),
            Self::NoIdentity => {
                ("no-identity", "the route shares by tenant or user, and the request has none")
            }
            Self::InvalidToken => ("invalid-token", "the token is invalid, so nobody is identified"),
            Self::OnlyIf => ("only-if", "the route's condition `only_if` does not hold"),
            Self::ClientBypass => {
                ("client-bypass", "the request asked to bypass the cache with X-Larder-Cache")
            }
            Self::RequestNoStore => {
                ("request-no-store", "the request forbids storing its answer (RFC 9111 section 5.2.1.5)")
            }
            Self::Precondition => (
                "precondition",
                "If-Match or If-Unmodified-Since, which no fresh stored response meets, is the origin's to evaluate \
                 (RFC 9111 section 4.3.2)",
            ),
            Self::Uncacheable => {
                ("uncacheable", "the last answer could not be stored; this is remembered for a short time")
            }
            Self::Write => ("write", "an unsafe method: passed, and what it changed is purged"),
            Self::KeyTooLong => ("key-too-long", "the cache key would be longer than 64 KiB"),
            Self::StatusNotStorable => ("status", "this status is not stored unless the tier says so"),
            Self::MustUnderstand => (
                "must-understand",
                "Cache-Control: must-understand, and Larder does not know the status (RFC 9111 section 5.2.2.3)",
            ),
            Self::NoStore => (
                "no-store",
                "no-store in the governing field: Cache-Control (RFC 9111 section 5.2.2.5) or one that takes its place",
            ),
            Self::Private => ("private", "Cache-Control: private (RFC 9111 section 5.2.2.7)"),
            Self::NoCache => ("no-cache", "Cache-Control: no-cache (RFC 9111 section 5.2.2.4)"),
            Self::SetCookie => {
                ("set-cookie", "a response with Set-Cookie is not stored unless the route strips the field")
            }
            Self::VaryCookie => ("vary-cookie", "Vary: Cookie, and the route does not override it"),
            Self::VaryAuthorization => {
                ("vary-authorization", "Vary: Authorization, and the route does not override it")
            }
            Self::VaryStar => ("vary-star", "Vary: * never matches another request (RFC 9111 section 4.1)"),
            Self::VaryTooMany => ("vary-too-many", "Vary names more fields than are kept apart"),
            Self::Authorization => (
                "authorization",
                "a request with Authorization, and nothing allows sharing (RFC 9111 section 3.5)",
            ),
            Self::NoFreshness => ("no-freshness", "the response gives no lifetime, and none may be guessed"),
            Self::Partial => {
                ("partial", "a 206 answer that nobody asked for, or that is not the one range that it says")
            }
            Self::TooLarge => ("too-large", "the body is larger than the store takes"),
            Self::TierSaysNever => ("tier-never", "an exception of the tier says `store: false`"),
            Self::CredentialChanged => (
                "credential-changed",
                "the credential was used for a write or ended while the answer was fetched",
            ),
            Self::CloseDelimited => (
                "close-delimited",
                "the answer ends with its connection, so nobody can say whether it is whole (RFC 9112 section 8)",
            ),
            Self::EventStream => {
                ("event-stream", "a stream of events (text/event-stream) is for one reader, and has no end")
            }
            Self::HeadChanged => (
                "head-changed",
                "the origin's answer to HEAD says that what is stored is out of date: it is forgotten (RFC 9111 section 4.3.5)",
            ),
            Self::HeadAnswer => (
                "head-answer",
                "an answer to HEAD that says nothing of what is stored, and has no content to store",
            ),
            Self::OnlyIfCached => {
                ("only-if-cached", "the request accepts stored responses only (RFC 9111 section 5.2.1.7)")
            }
            Self::TagsTooMany => {
                ("tags-too-many", "more or longer tags than are kept; the response could not be purged")
            }
            Self::BustDenied => ("bust-denied", "the request may not ask for a fresh answer"),
            Self::BustBudget => ("bust-budget", "fresh answers for this key were asked for too often"),
            Self::ChoiceDenied => ("choice-denied", "the request may not choose with X-Larder-Cache"),
            Self::OriginFailed => ("origin-failed", "the origin could not be reached or failed"),
            Self::Refused => ("refused", "the request was refused"),
        }
    }
}
