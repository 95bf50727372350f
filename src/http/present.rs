//! Which of the fields that decide about an answer a request may have: found in one walk over its fields, so that each step
//! need not look for what ordinary requests do not have.

use http::{HeaderName, header};

/// A set of such fields. What is in it may be there; what is not in it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present(u16);

impl Present {
    /// `Connection`.
    pub const CONNECTION: Self = Self(1);
    /// `Upgrade`.
    pub const UPGRADE: Self = Self(1 << 1);
    /// `Trailer`.
    pub const TRAILER: Self = Self(1 << 2);
    /// `If-None-Match`, `If-Modified-Since`: the client may have the response already.
    pub const CONDITION: Self = Self(1 << 3);
    /// `If-Match`, `If-Unmodified-Since`: only if the response is what the client thinks.
    pub const PRECONDITION: Self = Self(1 << 4);
    /// `Range`.
    pub const RANGE: Self = Self(1 << 5);
    /// `Cache-Control`, `Pragma`.
    pub const DIRECTIVES: Self = Self(1 << 6);
    /// `X-Larder-Cache`, by which an authorised client chooses.
    pub const CHOICE: Self = Self(1 << 7);
    /// An ordinary field that decides about nothing here.
    pub const ORDINARY: Self = Self(1 << 8);

    /// What a field of this name is. Nothing: a name that is none of those known here.
    pub fn of(name: &HeaderName) -> Self {
        // The names that the library knows are told apart by a number, without looking at a letter.
        match *name {
            header::ACCEPT
            | header::ACCEPT_ENCODING
            | header::ACCEPT_LANGUAGE
            | header::AUTHORIZATION
            | header::COOKIE
            | header::DNT
            | header::HOST
            | header::ORIGIN
            | header::REFERER
            | header::UPGRADE_INSECURE_REQUESTS
            | header::USER_AGENT => Self::ORDINARY,
            header::CONNECTION => Self::CONNECTION,
            header::UPGRADE => Self::UPGRADE,
            header::TRAILER => Self::TRAILER,
            header::IF_NONE_MATCH | header::IF_MODIFIED_SINCE => Self::CONDITION,
            header::IF_MATCH | header::IF_UNMODIFIED_SINCE => Self::PRECONDITION,
            header::RANGE => Self::RANGE,
            header::CACHE_CONTROL | header::PRAGMA => Self::DIRECTIVES,
            _ => Self::of_text(name.as_str()),
        }
    }

    fn of_text(name: &str) -> Self {
        match name {
            "x-larder-cache" => Self::CHOICE,
            "priority" | "sec-ch-ua" | "sec-ch-ua-mobile" | "sec-ch-ua-platform" | "sec-fetch-dest"
            | "sec-fetch-mode" | "sec-fetch-site" | "sec-fetch-user" => Self::ORDINARY,
            _ => Self(0),
        }
    }

    /// Both sets.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of these may be there.
    pub fn has(self, some: Self) -> bool {
        self.0 & some.0 != 0
    }

    /// Whether it is the empty set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
