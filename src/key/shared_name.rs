//! A key as other processes know it: its name in Redis, and the bytes by which one variant is told to another node.
//!
//! Invariant: name and bytes are those that every process of this version makes of the same parts. A change of the layout of
//! keys needs another [`NAME_VERSION`], as a change of the names does.

use aws_lc_rs::digest::{SHA256, digest};

use super::view::Reader;
use super::{CacheKey, MAX_KEY_BYTES, Owner, VARIANT};

/// The version of the names, and of the bytes that keys are made of. It stands in each name.
pub const NAME_VERSION: u8 = 1;

/// How long a tenant or a route may be in a name, in bytes.
const LONGEST: usize = 64;
/// How much of the digest a name has, in bytes.
const DIGEST: usize = 16;

impl CacheKey {
    /// The SHA-256 of the key.
    pub fn sha256(&self) -> [u8; 32] {
        let digest = digest(&SHA256, &self.bytes);
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// The name of the entry in Redis, below `prefix`: `PREFIX:1:TENANT:ROUTE:{DIGEST}`. The digest alone tells entries apart;
    /// tenant and route are there for operators. It stands in braces so that a cluster keeps what belongs to one entry together.
    pub fn shared_name(&self, prefix: &str) -> String {
        let (tenant, route) = match self.view() {
            Some(view) => (owner_word(&view.owner), word(&view.route)),
            None => (NOBODY.to_owned(), NOBODY.to_owned()),
        };
        let digest = u128::from_be_bytes(self.sha256().first_chunk::<DIGEST>().copied().unwrap_or_default());
        format!("{prefix}:{NAME_VERSION}:{tenant}:{route}:{{{digest:032x}}}")
    }

    /// Whether this is the key of a variant of `base`, read to its end: nothing that came from elsewhere leads further.
    pub fn is_variant_of(&self, base: &Self) -> bool {
        let rest = self.bytes.strip_prefix(base.as_bytes()).and_then(|rest| rest.strip_prefix(&VARIANT));
        rest.is_some_and(|rest| {
            let mut reader = Reader { bytes: rest, at: 0 };
            while reader.at < rest.len() {
                if reader.part().is_none() || reader.maybe_part().is_none() {
                    return false;
                }
            }
            true
        })
    }

    /// The key of a variant of this one, of bytes that came from elsewhere. `None` where they are not those of one.
    pub fn variant_of_bytes(&self, bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() <= MAX_KEY_BYTES && bytes.starts_with(&self.bytes);
        let variant = fits.then(|| Self::from_bytes(bytes.to_vec()))?;
        variant.is_variant_of(self).then_some(variant)
    }
}

/// Stands for "no tenant".
const NOBODY: &str = "_";

fn owner_word(owner: &Owner) -> String {
    match owner.tenant() {
        None => NOBODY.to_owned(),
        Some(tenant) if tenant.scope => format!("~{}", word(&tenant.name)),
        Some(tenant) => word(&tenant.name),
    }
}

/// A name within a name: what has a meaning there, to Redis or to a pattern of `SCAN` is percent-encoded. What is too long is
/// cut, and never within an encoded byte.
fn word(text: &str) -> String {
    let mut word = String::new();
    for &byte in text.as_bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let encoded = if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        if word.len() + encoded.len() > LONGEST {
            break;
        }
        word.push_str(&encoded);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::super::KeyParts;
    use super::*;
    use crate::identity::{Kind, Tenant, User};
    use http::header::{ACCEPT, ACCEPT_LANGUAGE};
    use proptest::prelude::*;

    fn key(owner: &Owner, route: &str) -> CacheKey {
        CacheKey::new(&KeyParts { owner, route, ..KeyParts::PLAIN }).unwrap()
    }

    fn tenant(name: &str, scope: bool) -> Owner {
        Owner::Tenant(Tenant { name: name.into(), kind: Kind::Verified, scope })
    }

    fn user(tenant: Option<Tenant>) -> Owner {
        Owner::User(tenant, User { name: "ann".into(), issuer: "idp".into(), kind: Kind::Claimed })
    }

    /// The digest of a layout that other processes, and processes to come, have to make as well.
    #[test]
    fn a_name_is_the_same_in_every_process_of_this_version() {
        let parts = KeyParts {
            https: true,
            authority: "shop.example",
            owner: &tenant("acme", false),
            route: "pages",
            path: "/x",
            query: Some("a=1"),
            selecting: &[("role", Some(b"clerk")), ("date", None)],
            ..KeyParts::PLAIN
        };
        let key = CacheKey::new(&parts).unwrap();
        assert_eq!(key.shared_name("larder"), "larder:1:acme:pages:{65b985d4ae9f1ba3c22f7ba9467a2b7c}");
    }

    #[test]
    fn a_name_tells_tenant_and_route_and_nothing_in_them_reads_as_something_else() {
        let part = |owner: &Owner, route: &str| {
            let name = key(owner, route).shared_name("p");
            let (head, digest) = name.split_once('{').unwrap();
            assert_eq!(digest.len(), 33, "{name}");
            head.strip_prefix("p:1:").unwrap().strip_suffix(':').unwrap().to_owned()
        };
        assert_eq!(part(&Owner::Public, "a.b-C9"), "_:a.b-C9");
        assert_eq!(part(&user(None), "r"), "_:r");
        assert_eq!(part(&tenant("acme", false), "r"), "acme:r");
        let Owner::Tenant(acme) = tenant("acme", false) else { unreachable!() };
        assert_eq!(part(&user(Some(acme)), "r"), "acme:r");
        assert_eq!(part(&tenant("acme", true), "r"), "~acme:r");
        assert_eq!(part(&tenant("_", false), "~:{*"), "%5F:%7E%3A%7B%2A");
        assert_eq!(part(&tenant("", false), "é"), ":%C3%A9");
        let long = "x".repeat(63) + "é";
        assert_eq!(
            part(&tenant(&long, false), &"y".repeat(65)),
            format!("{}:{}", "x".repeat(63), "y".repeat(64))
        );
    }

    #[test]
    fn only_a_whole_variant_of_a_key_is_one() {
        let base = key(&Owner::Public, "r");
        let one = base.variant(&[(ACCEPT, None), (ACCEPT_LANGUAGE, Some(b"de".to_vec()))]).unwrap();
        assert!(one.is_variant_of(&base) && base.variant(&[]).unwrap().is_variant_of(&base));
        assert_eq!(base.variant_of_bytes(one.as_bytes()), Some(one.clone()));
        let other = key(&Owner::Public, "s");
        assert!(!base.is_variant_of(&base) && !one.is_variant_of(&other));
        assert!(
            !one.part(None).unwrap().is_variant_of(&base) && !base.part(None).unwrap().is_variant_of(&base)
        );
        for cut in base.len()..one.len() {
            let whole = base.variant_of_bytes(&one.as_bytes()[..cut]);
            // It ends where its first pair of name and value does.
            assert_eq!(whole.is_some(), cut == base.len() + 1 || cut == base.len() + 1 + 8, "{cut}");
        }
        let long = [one.as_bytes(), &vec![0; MAX_KEY_BYTES]].concat();
        assert_eq!(base.variant_of_bytes(&long), None);
    }

    proptest! {
        #[test]
        fn names_have_no_other_characters_and_differ_where_keys_do(
            one in ("\\PC{0,40}", "\\PC{0,40}", any::<bool>()),
            two in ("\\PC{0,40}", "\\PC{0,40}", any::<bool>()),
        ) {
            let of = |(name, route, scope): &(String, String, bool)| key(&tenant(name, *scope), route);
            let name = of(&one).shared_name("p");
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b":{}%.-~".contains(&b));
            prop_assert!(plain);
            prop_assert_eq!(name.matches(':').count(), 4);
            prop_assert!(name.len() <= 2 + 2 + 65 + 1 + 64 + 1 + 34);
            prop_assert_eq!(name == of(&two).shared_name("p"), of(&one) == of(&two));
        }

        #[test]
        fn no_bytes_make_a_key_of_them_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let base = key(&Owner::Public, "r");
            let bytes = [base.as_bytes(), &VARIANT, &bytes].concat();
            if let Some(variant) = base.variant_of_bytes(&bytes) {
                prop_assert_eq!(variant.base(), base);
            }
        }
    }
}
