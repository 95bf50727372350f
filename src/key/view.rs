//! A key read back into its parts: for inspection, and to find the key that variants share.

use super::{CacheKey, LONG, Owner, PART, SHORT, VARIANT};
use crate::identity::{Kind, Tenant, User};

/// The parts of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// Whether the client spoke TLS.
    pub https: bool,
    /// The authority.
    pub authority: String,
    /// Among whom the response is shared.
    pub owner: Owner,
    /// The route's name.
    pub route: String,
    /// The path, or nothing under a key of the route's own.
    pub path: String,
    /// The keyed query.
    pub query: Option<String>,
    /// Where it begins that variants, or parts of the content, are told apart.
    base: Option<usize>,
}

impl KeyView {
    /// The whole URL.
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{}{}{query}", self.authority, self.path)
    }
}

impl CacheKey {
    /// The parts. `None` is for bytes that are no key, which do not occur.
    pub fn view(&self) -> Option<KeyView> {
        let mut reader = Reader { bytes: &self.bytes, at: 0 };
        let BeforeQuery { https, authority, owner, route, path } = reader.before_query()?;
        let query = reader.maybe()?;
        let base = reader.marker();
        Some(KeyView { https, authority, owner, route, path, query, base })
    }

    /// The key that all variants and parts of one response share: this one, where it is of none.
    pub fn base(&self) -> Self {
        let base = self.view().and_then(|view| self.bytes.get(..view.base?));
        base.map_or_else(|| self.clone(), |bytes| Self::from_bytes(bytes.to_vec()))
    }

    /// Sixteen hexadecimal digits that name the key to operators of this process.
    pub fn name(&self) -> String {
        format!("{:016x}", self.hash)
    }
}

/// The first part of these bytes, and what follows it.
pub(super) fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match bytes.split_first()? {
        (&LONG, rest) => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (usize::try_from(u32::from_be_bytes(*length)).ok()?, rest)
        }
        (&length @ ..=SHORT, rest) => (usize::from(length), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Reads the bytes of a key, part by part.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// The parts that come before the query.
pub(super) struct BeforeQuery {
    https: bool,
    authority: String,
    owner: Owner,
    route: String,
    path: String,
}

impl<'a> Reader<'a> {
    /// Reads up to the query.
    pub(super) fn before_query(&mut self) -> Option<BeforeQuery> {
        let https = self.byte()? == 1;
        let authority = self.text()?;
        let owner = self.owner()?;
        let route = self.text()?;
        let _method = self.part()?;
        Some(BeforeQuery { https, authority, owner, route, path: self.text()? })
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn part(&mut self) -> Option<&'a [u8]> {
        let (part, rest) = part(self.bytes.get(self.at..)?)?;
        self.at = self.bytes.len() - rest.len();
        Some(part)
    }

    fn text(&mut self) -> Option<String> {
        self.part().map(|part| String::from_utf8_lossy(part).into_owned())
    }

    pub(super) fn maybe_part(&mut self) -> Option<Option<&'a [u8]>> {
        Some(if self.byte()? == 1 { Some(self.part()?) } else { None })
    }

    fn maybe(&mut self) -> Option<Option<String>> {
        Some(self.maybe_part()?.map(|part| String::from_utf8_lossy(part).into_owned()))
    }

    fn tenant(&mut self) -> Option<Tenant> {
        let flags = self.byte()?;
        let name = self.text()?.into();
        Some(Tenant { name, kind: kind(flags), scope: flags & 2 == 2 })
    }

    fn owner(&mut self) -> Option<Owner> {
        Some(match self.byte()? {
            0 => Owner::Public,
            1 => Owner::Tenant(self.tenant()?),
            _ => {
                let tenant = if self.byte()? == 1 { Some(self.tenant()?) } else { None };
                let kind = kind(self.byte()?);
                let issuer = self.text()?.into();
                Owner::User(tenant, User { name: self.text()?.into(), issuer, kind })
            }
        })
    }

    /// Where the variant's part begins, or the marker of a part of the content, after what else selects.
    fn marker(&mut self) -> Option<usize> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            if rest.starts_with(&VARIANT) || rest.starts_with(&PART) {
                return Some(self.at);
            }
            self.part()?;
            self.maybe()?;
        }
    }
}

fn kind(flags: u8) -> Kind {
    if flags & 1 == 1 { Kind::Verified } else { Kind::Claimed }
}

#[cfg(test)]
mod tests {
    use super::super::KeyParts;
    use super::*;
    use http::header::ACCEPT_ENCODING;

    fn tenant(scope: bool, kind: Kind) -> Tenant {
        Tenant { name: "acme".into(), kind, scope }
    }

    #[test]
    fn a_key_is_read_back_as_it_was_made() {
        let user = |kind| User { name: "ann".into(), issuer: "idp".into(), kind };
        for owner in [
            Owner::Public,
            Owner::Tenant(tenant(false, Kind::Verified)),
            Owner::Tenant(tenant(true, Kind::Claimed)),
            Owner::User(None, user(Kind::Claimed)),
            Owner::User(Some(tenant(false, Kind::Verified)), user(Kind::Verified)),
        ] {
            for query in [None, Some("a=1")] {
                let parts = KeyParts {
                    https: true,
                    authority: "shop.example",
                    owner: &owner,
                    route: "pages",
                    method: "GET",
                    path: "/x",
                    query,
                    selecting: &[("role", Some(b"clerk")), ("date", None)],
                };
                let key = CacheKey::new(&parts).unwrap();
                let view = key.view().unwrap();
                assert_eq!((&view.owner, view.route.as_str(), view.base), (&owner, "pages", None));
                let query = query.map_or(String::new(), |query| format!("?{query}"));
                assert_eq!(view.url(), format!("https://shop.example/x{query}"));
                let variant = key.variant(&[(ACCEPT_ENCODING, Some(b"gzip".to_vec()))]).unwrap();
                assert_eq!(key.base(), key);
                assert_eq!(variant.base(), key);
                assert_eq!(key.part(None).unwrap().base(), key);
                assert_eq!(variant.part(None).unwrap().base(), key);
                assert_ne!(variant.name(), key.name());
            }
        }
    }

    #[test]
    fn a_part_of_any_length_is_read_back() {
        for length in [0, 1, 239, 240, 241, 242, 255, 256, 60_000] {
            let path = "x".repeat(length);
            let key = CacheKey::new(&KeyParts { path: &path, query: Some(""), ..KeyParts::PLAIN }).unwrap();
            assert_eq!(key.view().unwrap().path, path);
            assert_eq!(key.part(None).unwrap().base(), key);
            let without = key.without_query().unwrap();
            assert_ne!(without, key);
            assert!(!key.describe().contains("search") && without.describe().ends_with(" search"));
        }
        for no_part in [&VARIANT[..], &PART, &[LONG, 0, 0], &[LONG, 0, 0, 0, 2, b'x'], &[2, b'x'], &[]] {
            assert_eq!(part(no_part), None);
        }
    }
}
