//! The names of keys in Redis: `PREFIX:1:TENANT:ROUTE:{DIGEST}`, and the same with `:fill` for the lease of a fill. 1 is the
//! version of the format. The braces are the Cluster's hash tag: an entry and its lease lie in one slot.
//!
//! The log's keys begin with `PREFIX:1:{purge}:`; no tenant's name begins with a brace.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

/// The version of the format. Another one reads and writes other keys.
const VERSION: u8 = 1;
/// The longest that a tenant or a route is in a name.
const LONGEST: usize = 64;

/// Whose an entry is, as names say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Everybody's, or of a user without a tenant.
    Nobodys,
    /// A tenant's.
    Tenant(&'a str),
    /// A scope's.
    Scope(&'a str),
}

/// The names of one store.
#[derive(Debug, Clone)]
pub struct Names {
    begin: String,
}

impl Names {
    /// Those below a prefix of letters, digits, `_`, `.` and `-`.
    pub fn new(prefix: &str) -> Self {
        Self { begin: format!("{prefix}:{VERSION}:") }
    }

    /// What every name begins with. No character of it means anything to `SCAN MATCH`.
    pub fn begin(&self) -> &str {
        &self.begin
    }

    /// What the names of the log's keys begin with.
    pub fn log(&self) -> String {
        format!("{}{{purge}}:", self.begin)
    }

    /// The name of an entry: whose it is, the name of its route, the bytes of its key.
    pub fn entry(&self, whose: Whose<'_>, route: &str, key: &[u8]) -> String {
        let mut name = self.begin.clone();
        match whose {
            Whose::Nobodys => name.push('_'),
            Whose::Tenant(tenant) => encode(tenant, &mut name),
            Whose::Scope(scope) => {
                name.push('~');
                encode(scope, &mut name);
            }
        }
        name.push(':');
        encode(route, &mut name);
        name.push_str(":{");
        for byte in digest(&SHA256, key).as_ref().iter().take(16) {
            let _ = write!(name, "{byte:02x}");
        }
        name.push('}');
        name
    }
}

/// The name of the lease of a fill.
pub(super) fn fill(entry: &str) -> String {
    format!("{entry}:fill")
}

/// Percent-encodes what is not a letter, a digit, `.` or `-`, and cuts at 64 characters, never within an escape.
fn encode(text: &str, name: &mut String) {
    let end = name.len() + LONGEST;
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if name.len() + if plain { 1 } else { 3 } > end {
            return;
        }
        if plain {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_no_tenant_can_pass_for_another_part() {
        let names = Names::new("shop");
        let digest = "ba7816bf8f01cfea414140de5dae2223"; // of "abc"
        let name = |whose| names.entry(whose, "api_v1", b"abc");
        assert_eq!(name(Whose::Tenant("acme")), format!("shop:1:acme:api%5Fv1:{{{digest}}}"));
        assert_eq!(name(Whose::Nobodys), format!("shop:1:_:api%5Fv1:{{{digest}}}"));
        assert_eq!(name(Whose::Tenant("_")), format!("shop:1:%5F:api%5Fv1:{{{digest}}}"));
        assert_eq!(name(Whose::Scope("staff")), format!("shop:1:~staff:api%5Fv1:{{{digest}}}"));
        assert_eq!(name(Whose::Tenant("~staff")), format!("shop:1:%7Estaff:api%5Fv1:{{{digest}}}"));
        assert_eq!(
            name(Whose::Tenant("{purge}:a*")),
            format!("shop:1:%7Bpurge%7D%3Aa%2A:api%5Fv1:{{{digest}}}")
        );
        let umlauts = "ü".repeat(100);
        let long = name(Whose::Tenant(&umlauts));
        assert_eq!(long.split(':').nth(2).unwrap().len(), 63, "{long}");
        assert_eq!(fill(&name(Whose::Nobodys)), format!("shop:1:_:api%5Fv1:{{{digest}}}:fill"));
    }
}
