//! Which request fields a client may not set: those that would speak of an identity, a URL or a method that
//! Larder answers for.
//!
//! Keeps: no spelling gets past. Application servers fold every byte that is no letter and no digit to `_`
//! (`X_Tenant_Id`, `x.tenant-id`), so names are compared folded, and an odd spelling of a field that matters goes,
//! from whomever it comes.

use http::HeaderName;

/// Never passed on, in any spelling, from anybody: they name another URL, method or proxy than the request does.
const NEVER: [&str; 14] = [
    "front-end-https",
    "http2-settings",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Believed from trusted proxies only: they say who the client is, or what the caches on the way can do.
const TRUSTED_ONLY: [&str; 17] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "remote-addr",
    "remote-user",
    "surrogate-capability",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-user",
    "x-url-scheme",
];

/// The families of fields that are believed from trusted proxies only.
const TRUSTED_FAMILIES: [&str; 3] = ["x-forwarded-", "ssl-client-", "x-ssl-client-"];

/// An odd spelling of one of these families would be a second value beside the one that Larder reads.
const FAMILIES: [&str; 4] = ["accept-", "content-", "if-", "x-larder-"];

/// As [`FAMILIES`], whole names.
const STANDARD: [&str; 4] = ["cache-control", "set-cookie", "transfer-encoding", "user-agent"];

/// Whether the field must go. `identity` names the fields that the configuration reads identities from.
pub(super) fn must_go(name: &HeaderName, trusted: bool, identity: &[HeaderName]) -> bool {
    let text = name.as_str();
    if !text.bytes().all(|b| PLAIN[usize::from(b)]) {
        return !(trusted && identity.contains(name)) && odd_must_go(text, identity);
    }
    if identity.iter().any(|i| same_folded(i.as_str(), text)) {
        return !(trusted && identity.contains(name));
    }
    is_watched(text) && (NEVER.contains(&text) || !trusted && is_trusted_only(text))
}

/// The bytes of ordinary names: in a table, as this is asked of each byte of each name of each request.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-';
        byte += 1;
    }
    table
};

/// The cheap look that spares most fields the tables.
fn is_watched(name: &str) -> bool {
    const STARTS: [&[u8]; 12] =
        [b"x-", b"cf", b"cl", b"fa", b"fo", b"fr", b"prox", b"rem", b"ss", b"surr", b"tru", b"http2"];
    let name = name.as_bytes();
    matches!(name.first(), Some(b'x' | b'c' | b'f' | b'p' | b'r' | b's' | b't' | b'h'))
        && STARTS.iter().any(|start| name.starts_with(start))
}

fn is_trusted_only(name: &str) -> bool {
    TRUSTED_ONLY.contains(&name) || TRUSTED_FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cold]
fn odd_must_go(name: &str, identity: &[HeaderName]) -> bool {
    let folded: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folded = folded.as_str();
    identity.iter().any(|i| same_folded(i.as_str(), name))
        || NEVER.contains(&folded)
        || STANDARD.contains(&folded)
        || is_trusted_only(folded)
        || FAMILIES.iter().any(|family| folded.starts_with(family))
}

/// Whether two names are one to an application server. Both are in lower case.
fn same_folded(a: &str, b: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || !a.is_ascii_alphanumeric() && !b.is_ascii_alphanumeric();
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Present;

    fn goes(name: &str, trusted: bool) -> bool {
        let identity = [HeaderName::from_static("x-tenant-id"), HeaderName::from_static("api_user")];
        must_go(&HeaderName::from_bytes(name.as_bytes()).unwrap(), trusted, &identity)
    }

    #[test]
    fn an_identity_field_passes_from_a_trusted_proxy_in_its_exact_spelling_only() {
        assert!(!goes("X-Tenant-Id", true) && goes("X-Tenant-Id", false));
        assert!(!goes("api_user", true) && goes("api_user", false));
        for name in ["X_Tenant_Id", "x-tenant_id", "X.Tenant.Id", "x_tenant-id", "api-user", "api.user"] {
            assert!(goes(name, true) && goes(name, false), "{name}");
        }
    }

    #[test]
    fn forwarded_fields_pass_from_trusted_proxies_only() {
        for name in ["X-Forwarded-For", "X-Forwarded-Anything", "Forwarded", "X-Real-IP", "Remote-User"] {
            assert!(goes(name, false) && !goes(name, true), "{name}");
        }
        for name in ["X_Forwarded_For", "X_Real-IP", "REMOTE_USER"] {
            assert!(goes(name, false) && goes(name, true), "{name}");
        }
    }

    #[test]
    fn another_url_or_method_never_passes() {
        for name in NEVER {
            assert!(goes(name, false) && goes(name, true), "{name}");
            if name.contains('-') {
                assert!(goes(&name.replace('-', "_"), true), "{name}");
            }
        }
        for name in ["Content_Length", "Transfer_Encoding", "Accept_Language", "If_None-Match"] {
            assert!(goes(name, true), "{name}");
        }
    }

    #[test]
    fn the_applications_own_fields_pass() {
        for name in
            ["accept", "cookie", "x-requested-with", "x-csrftoken", "api_key", "x_custom", "host", "te"]
        {
            assert!(!goes(name, false), "{name}");
        }
    }

    #[test]
    fn the_cheap_look_spares_no_name_of_the_tables() {
        for name in NEVER.iter().chain(&TRUSTED_ONLY).chain(&TRUSTED_FAMILIES) {
            assert!(is_watched(name), "{name}");
        }
    }

    #[test]
    fn what_is_known_to_be_harmless_is_in_no_table_and_has_no_odd_spelling() {
        for name in NEVER.iter().chain(&TRUSTED_ONLY) {
            for name in [(*name).to_owned(), name.replace('-', "_")] {
                assert!(Present::of(&name.parse().unwrap()).is_empty(), "{name}");
            }
        }
        for name in ["x-forwarded-host", "x-larder-cache_", "if_range", "accept_encoding", "user_agent"] {
            assert!(Present::of(&name.parse().unwrap()).is_empty(), "{name}");
        }
    }
}
