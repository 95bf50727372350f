//! What can go wrong on the request path, and on whose side it arose.
//!
//! Layers return these typed errors; they become responses in one place only (`proxy/rescue.rs`).

use std::fmt;

/// Any error, as the tower ecosystem passes it around.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The side on which an error arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The message of the client was refused.
    Client,
    /// The origin could not be reached, was too slow, or broke its answer off.
    Origin,
    /// A store failed.
    Store,
    /// A fault of Larder itself.
    Internal,
}

/// What went wrong. Each kind has one status (see [`ErrorKind::status`]) and one name for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A request with more than one possible parse, or with forbidden bytes (RFC 9112 sections 2.2, 3.2 and 6).
    BadRequest,
    /// Two verified identity sources disagree.
    IdentityConflict,
    /// No token, or one that is not known, on a request that needs one.
    Unauthorized,
    /// A known credential that may not do this.
    Forbidden,
    /// No route matches the request.
    NoRoute,
    /// A method that is never served (`TRACE`); the answer carries `Allow` (RFC 9110 section 15.5.6).
    MethodNotAllowed,
    /// The request's target is longer than configured.
    UriTooLong,
    /// The request's header fields are more or larger than configured.
    HeadersTooLarge,
    /// A body that is larger than what is taken.
    ContentTooLarge,
    /// A message that is well-formed and cannot be understood (RFC 9110 section 15.5.21).
    Unprocessable,
    /// A message that contradicts an earlier one.
    Conflict,
    /// The client sent its body too slowly.
    RequestTimeout,
    /// No connection to the origin within the origin's `timeout`.
    ConnectFailed,
    /// No response head from the origin within the origin's `timeout`.
    OriginTimeout,
    /// The origin broke the exchange, or answered something that is not HTTP.
    OriginBroken,
    /// All connections that the configuration grants the origin are in use, and none came free in time.
    OriginBusy,
    /// The log of purges cannot be reached: a purge is not acknowledged.
    PurgeNotLogged,
    /// A fault of Larder itself.
    Internal,
}

impl ErrorKind {
    /// The status with which the error is answered.
    pub fn status(self) -> http::StatusCode {
        use http::StatusCode as S;
        match self {
            Self::BadRequest | Self::IdentityConflict => S::BAD_REQUEST,
            Self::Unauthorized => S::UNAUTHORIZED,
            Self::Forbidden => S::FORBIDDEN,
            Self::NoRoute => S::NOT_FOUND,
            Self::MethodNotAllowed => S::METHOD_NOT_ALLOWED,
            Self::UriTooLong => S::URI_TOO_LONG,
            Self::HeadersTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ContentTooLarge => S::PAYLOAD_TOO_LARGE,
            Self::Unprocessable => S::UNPROCESSABLE_ENTITY,
            Self::Conflict => S::CONFLICT,
            Self::RequestTimeout => S::REQUEST_TIMEOUT,
            Self::ConnectFailed | Self::OriginBroken => S::BAD_GATEWAY,
            Self::OriginTimeout => S::GATEWAY_TIMEOUT,
            Self::OriginBusy | Self::PurgeNotLogged => S::SERVICE_UNAVAILABLE,
            Self::Internal => S::INTERNAL_SERVER_ERROR,
        }
    }

    /// The side on which this kind arises.
    pub fn side(self) -> Side {
        match self {
            Self::ConnectFailed | Self::OriginTimeout | Self::OriginBroken | Self::OriginBusy => Side::Origin,
            Self::PurgeNotLogged => Side::Store,
            Self::Internal => Side::Internal,
            _ => Side::Client,
        }
    }

    /// The name in logs, metrics and the error body.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::IdentityConflict => "identity_conflict",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ContentTooLarge => "content_too_large",
            Self::Unprocessable => "unprocessable",
            Self::Conflict => "conflict",
            Self::RequestTimeout => "request_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::OriginTimeout => "origin_timeout",
            Self::OriginBroken => "origin_broken",
            Self::OriginBusy => "origin_busy",
            Self::PurgeNotLogged => "purge_not_logged",
            Self::Internal => "internal",
        }
    }
}

/// An error on the request path: its kind, and a sentence for a person.
///
/// It is `Clone` because one failed fill fails every request that waited for it.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    detail: std::borrow::Cow<'static, str>,
}

impl Error {
    /// An error of `kind`; `detail` says in a sentence what was wrong. It reaches the client: no secrets.
    pub fn new(kind: ErrorKind, detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}

impl std::error::Error for Error {}
