//! The authority of a request: host and port, strictly read, in lower case and without the scheme's default port.
//!
//! Keeps: one spelling per host, so that a key cannot be split or joined by case, a trailing colon or `:80`.

use std::net::Ipv6Addr;

use http::HeaderValue;

use super::Bytes;

/// The longest name of a host, in bytes (RFC 1035 section 2.3.4).
const MOST_BYTES: usize = 255;

/// What the names of hosts are of, as nearly every client spells them.
const USUAL: Bytes = Bytes::graphic().without(b"!\"#$%&'()*+,/:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^`{|}~");

/// A checked authority.
#[derive(Debug, Clone)]
pub struct Authority {
    text: Box<str>,
    /// The length of the host.
    host: usize,
}

/// An authority that was read but not yet put into the one spelling.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    host: &'a str,
    /// `None`: no port, or the default one.
    port: Option<u16>,
}

impl Authority {
    /// The authority of a `Host` field.
    pub(super) fn from_field(value: &HeaderValue, https: bool) -> Result<Self, &'static str> {
        let text = value.to_str().map_err(|_| "the host has bytes that no host has")?;
        match usual_host(text, https) {
            Some(host) => Ok(Self { text: text.into(), host }),
            None => Self::from_target(text, https),
        }
    }

    /// The authority of a request target.
    pub(super) fn from_target(text: &str, https: bool) -> Result<Self, &'static str> {
        let parts = Parts::read(text, https)?;
        Ok(Self { text: parts.spell(), host: parts.host.len() })
    }

    /// No authority: HTTP/1.0 without `Host`.
    pub(super) fn none() -> Self {
        Self { text: Box::default(), host: 0 }
    }

    /// The authority's one spelling; empty for HTTP/1.0 without `Host`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in lower case, without the port.
    pub fn host(&self) -> &str {
        self.as_str().get(..self.host).unwrap_or_default()
    }

    /// The authority as a field value.
    pub(super) fn to_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The length of the host, where this is a name or an IPv4 address as nearly every client spells it: in lower case, without a
/// port or with another one than the scheme's. Such an authority is in its one spelling already.
fn usual_host(text: &str, https: bool) -> Option<usize> {
    let host = text.bytes().position(|b| !USUAL.has(b)).unwrap_or(text.len());
    let port = text.get(host..)?;
    let fine = port.is_empty() || read_port(port).is_some_and(|port| port != default_port(https));
    (fine && (1..=MOST_BYTES).contains(&host)).then_some(host)
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// The host of an authority: without the port, an IPv6 address in its brackets.
pub fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.find(']').and_then(|end| authority.get(..=end)).unwrap_or(authority);
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

impl<'a> Parts<'a> {
    fn read(text: &'a str, https: bool) -> Result<Self, &'static str> {
        if text.contains('@') {
            return Err("the authority names a user, which http does not have");
        }
        let host = host_of(text);
        let port = match text.get(host.len()..).unwrap_or_default() {
            "" | ":" => None,
            rest => Some(read_port(rest).ok_or("the authority's port is not a port")?),
        };
        if !is_host(host) {
            return Err("the host is empty, or has bytes that no host has");
        }
        Ok(Self { host, port: port.filter(|&port| port != default_port(https)) })
    }

    fn spell(&self) -> Box<str> {
        let mut text = self.host.to_ascii_lowercase();
        if let Some(port) = self.port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        text.into()
    }
}

/// Reads `:8080`. A leading zero is a second spelling, so it is refused.
fn read_port(rest: &str) -> Option<u16> {
    let digits = rest.strip_prefix(':')?;
    let fine = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    fine.then(|| digits.parse().ok()).flatten()
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && host.len() <= MOST_BYTES
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, https: bool) -> Option<String> {
        let value = HeaderValue::from_str(text).ok()?;
        Authority::from_field(&value, https).ok().map(|a| a.as_str().to_owned())
    }

    #[test]
    fn every_host_has_one_spelling() {
        assert_eq!(read("Shop.Example", false).unwrap(), "shop.example");
        assert_eq!(read("shop.example:80", false).unwrap(), "shop.example");
        assert_eq!(read("shop.example:80", true).unwrap(), "shop.example:80");
        assert_eq!(read("shop.example:443", true).unwrap(), "shop.example");
        assert_eq!(read("shop.example:", false).unwrap(), "shop.example");
        assert_eq!(read("127.0.0.1:8080", false).unwrap(), "127.0.0.1:8080");
        assert_eq!(read("[::1]:8080", false).unwrap(), "[::1]:8080");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "", ":80", "a b", "a,b", "u@a", "a:b", "a:080", "a:70000", "a/b", "a%2eb", "[::1", "[x]", "::1",
            "a:80:80", "[::1]x", "a\\b",
        ] {
            assert_eq!(read(bad, false), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_one_spelling_is_read_as_itself(text in "[ -~]{0,24}|[a-zA._-]{1,8}(:[0-9]{0,5})?", https: bool) {
            if let Some(once) = read(&text, https) {
                prop_assert_eq!(read(&once, https), Some(once.clone()));
                let value = HeaderValue::from_str(&text).unwrap();
                let authority = Authority::from_field(&value, https).unwrap();
                prop_assert_eq!(authority.host(), host_of(&once));
                // The short way says the same as the long one.
                let target = Authority::from_target(&text, https).unwrap();
                prop_assert_eq!((target.as_str(), target.host()), (once.as_str(), host_of(&once)));
            }
        }
    }
}
