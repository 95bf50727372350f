//! The cache key. Identity is part of it.
//!
//! A key is one run of bytes: every part is preceded by its length, so that no two different requests have the same
//! bytes. Stores compare the whole of it; the hash only finds the place, and is keyed with random numbers of this
//! process so that nobody can aim requests at one place (SipHash).

mod derived;
mod shared_name;
mod view;

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use siphasher::sip::SipHasher13;

use crate::identity::{Identity, Kind, Tenant, User};

pub use shared_name::NAME_VERSION;
pub use view::KeyView;

/// The longest key, in bytes. A request whose key would be longer is passed.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// Among whom a stored response is shared, and with whom in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Everybody.
    Public,
    /// The users of this tenant.
    Tenant(Tenant),
    /// This user, of this tenant where there is one.
    User(Option<Tenant>, User),
}

impl Owner {
    /// The tenant to whom the response belongs.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Public => None,
            Self::Tenant(tenant) => Some(tenant),
            Self::User(tenant, _) => tenant.as_ref(),
        }
    }

    /// The owner for a share by tenant, or `None` where the request has no tenant.
    pub fn tenant_of(identity: &Identity) -> Option<Self> {
        identity.tenant.clone().map(Self::Tenant)
    }

    /// The owner for a share by user, or `None` where the request has no user.
    pub fn user_of(identity: &Identity) -> Option<Self> {
        let user = identity.user.clone()?;
        Some(Self::User(identity.tenant.clone(), user))
    }
}

/// Something besides owner and URL that selects: its name and, where the request has it, its value.
pub type Selecting<'a> = (&'a str, Option<&'a [u8]>);

/// Everything that selects a stored response.
#[derive(Debug, Clone)]
pub struct KeyParts<'a> {
    /// Whether the client spoke TLS: an application may answer differently.
    pub https: bool,
    /// The authority, in lower case.
    pub authority: &'a str,
    /// Among whom.
    pub owner: &'a Owner,
    /// The route's name.
    pub route: &'a str,
    /// The method whose answer is stored.
    pub method: &'a str,
    /// The path's bytes as they came, or what the route's key template gave.
    pub path: &'a str,
    /// The keyed query as it is forwarded; `None`: there is none (which differs from an empty one).
    pub query: Option<&'a str>,
    /// Role, language, day, cookies, fields: in the order of the route.
    pub selecting: &'a [Selecting<'a>],
}

#[cfg(test)]
impl KeyParts<'static> {
    /// Those of a plain URL.
    pub(crate) const PLAIN: Self = Self {
        https: false,
        authority: "a",
        owner: &Owner::Public,
        route: "r",
        method: "GET",
        path: "/",
        query: None,
        selecting: &[],
    };
}

/// The key of a stored response.
#[derive(Clone)]
pub struct CacheKey {
    bytes: Arc<[u8]>,
    hash: u64,
}

/// Lengths up to this one are one byte, which is that of most parts. A key is kept for as long as its response.
const SHORT: u8 = 0xf0;
/// Stands before a length of four bytes, which is that of all other parts: each part has one form only.
const LONG: u8 = 0xf1;
/// What stands where a part's length would, but is the length of none: so what follows is never the key of something else.
const VARIANT: [u8; 1] = [0xff];
/// The same, for what is kept or fetched of a part of the content.
const PART: [u8; 1] = [0xfd];

struct Writer(Vec<u8>);

impl Writer {
    fn part(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(length @ ..=SHORT) => self.0.push(length),
            _ => {
                // Lengths of more than 32 bits cannot occur: keys are bounded far below.
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.0.push(LONG);
                self.0.extend_from_slice(&length.to_be_bytes());
            }
        }
        self.0.extend_from_slice(bytes);
    }

    fn maybe(&mut self, bytes: Option<&[u8]>) {
        self.0.push(u8::from(bytes.is_some()));
        if let Some(bytes) = bytes {
            self.part(bytes);
        }
    }

    fn tenant(&mut self, tenant: &Tenant) {
        self.0.push(kind_byte(tenant.kind) | if tenant.scope { 2 } else { 0 });
        self.part(tenant.name.as_bytes());
    }

    fn owner(&mut self, owner: &Owner) {
        match owner {
            Owner::Public => self.0.push(0),
            Owner::Tenant(tenant) => {
                self.0.push(1);
                self.tenant(tenant);
            }
            Owner::User(tenant, user) => {
                self.0.push(2);
                self.0.push(u8::from(tenant.is_some()));
                if let Some(tenant) = tenant {
                    self.tenant(tenant);
                }
                self.0.push(kind_byte(user.kind));
                self.part(user.issuer.as_bytes());
                self.part(user.name.as_bytes());
            }
        }
    }
}

fn kind_byte(kind: Kind) -> u8 {
    u8::from(kind == Kind::Verified)
}

impl CacheKey {
    /// The key of `parts`, or `None` where it would be longer than [`MAX_KEY_BYTES`].
    pub fn new(parts: &KeyParts<'_>) -> Option<Self> {
        let mut writer = Writer(Vec::with_capacity(192));
        writer.0.push(u8::from(parts.https));
        writer.part(parts.authority.as_bytes());
        writer.owner(parts.owner);
        writer.part(parts.route.as_bytes());
        writer.part(parts.method.as_bytes());
        writer.part(parts.path.as_bytes());
        writer.maybe(parts.query.map(str::as_bytes));
        for (name, value) in parts.selecting {
            writer.part(name.as_bytes());
            writer.maybe(*value);
        }
        (writer.0.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(writer.0))
    }

    /// A key from its bytes, as another node wrote them down. `None`: they are no key.
    pub fn read(bytes: Vec<u8>) -> Option<Self> {
        let key = (bytes.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(bytes))?;
        key.view().map(|_| key)
    }

    /// The key of one variant below this one (RFC 9111 section 4.1): the selecting fields and their values.
    /// `None` where it would be too long.
    pub fn variant(&self, selecting: &[(http::HeaderName, Option<Vec<u8>>)]) -> Option<Self> {
        let mut writer = Writer(Vec::with_capacity(self.bytes.len() + 64));
        writer.0.extend_from_slice(&self.bytes);
        writer.0.extend_from_slice(&VARIANT);
        for (name, value) in selecting {
            writer.part(name.as_str().as_bytes());
            writer.maybe(value.as_deref());
        }
        (writer.0.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(writer.0))
    }

    /// The key of the stored part of this response, or, with the range and the condition that are asked for, the place of
    /// its fill. `None` where it would be too long.
    pub fn part(&self, asked: Option<(&str, Option<&[u8]>)>) -> Option<Self> {
        let mut writer = Writer(Vec::with_capacity(self.bytes.len() + 64));
        writer.0.extend_from_slice(&self.bytes);
        writer.0.extend_from_slice(&PART);
        if let Some((range, condition)) = asked {
            writer.part(range.as_bytes());
            writer.maybe(condition);
        }
        (writer.0.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(writer.0))
    }

    fn from_bytes(bytes: Vec<u8>) -> Self {
        let hash = digest(&bytes);
        Self { bytes: bytes.into(), hash }
    }

    /// The keyed hash, for choosing a shard.
    pub fn hash64(&self) -> u64 {
        self.hash
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The size of the key in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a key has at least its fixed parts.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A keyed digest (SipHash-1-3 with random numbers of this process) of bytes that clients choose.
pub fn digest(bytes: &[u8]) -> u64 {
    static KEYS: LazyLock<(u64, u64)> = LazyLock::new(|| {
        let random = std::collections::hash_map::RandomState::new();
        (random.hash_one(0_u8), random.hash_one(1_u8))
    });
    let (k0, k1) = *KEYS;
    let mut hasher = SipHasher13::new_with_keys(k0, k1);
    hasher.write(bytes);
    hasher.finish()
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes the hash that a [`CacheKey`] already has.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreparedHash(u64);

impl Hasher for PreparedHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only keys with a prepared hash are used with this hasher; anything else still hashes, with the digest.
        self.0 ^= digest(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Builds [`PreparedHash`].
pub type PreparedState = std::hash::BuildHasherDefault<PreparedHash>;

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.describe())
    }
}

impl CacheKey {
    /// The key for a person: owner, route, URL, and what else selects. It names tenants and users: for staff only.
    pub fn describe(&self) -> String {
        let mut reader = Reader(&self.bytes);
        reader.describe().unwrap_or_else(|| format!("{:016x}", self.hash))
    }
}

/// Enough to tell values apart by, for as long as the process runs.
fn masked(value: &str) -> String {
    format!("#{:08x}", digest(value.as_bytes()) >> 32)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn part(&mut self) -> Option<String> {
        let (part, rest) = view::part(self.0)?;
        self.0 = rest;
        let text = String::from_utf8_lossy(part);
        // One line, and blanks only between parts, whatever a client sent.
        Some(text.chars().map(|c| if c == ' ' || c.is_control() { '_' } else { c }).collect())
    }

    fn maybe(&mut self) -> Option<Option<String>> {
        Some(if self.byte()? == 1 { Some(self.part()?) } else { None })
    }

    fn tenant(&mut self) -> Option<String> {
        let flags = self.byte()?;
        let name = self.part()?;
        let what = if flags & 2 == 2 { "scope" } else { "tenant" };
        let kind = if flags & 1 == 1 { "" } else { "(claimed)" };
        Some(format!("{what}:{name}{kind}"))
    }

    fn owner(&mut self) -> Option<String> {
        Some(match self.byte()? {
            0 => "public".to_owned(),
            1 => self.tenant()?,
            _ => {
                let tenant = if self.byte()? == 1 { format!("{} ", self.tenant()?) } else { String::new() };
                let kind = if self.byte()? == 1 { "" } else { "(claimed)" };
                let issuer = self.part()?;
                format!("{tenant}user:{}@{issuer}{kind}", self.part()?)
            }
        })
    }

    fn describe(&mut self) -> Option<String> {
        let scheme = if self.byte()? == 1 { "https" } else { "http" };
        let authority = self.part()?;
        let owner = self.owner()?;
        let route = self.part()?;
        let method = self.part()?;
        let path = self.part()?;
        let query = self.maybe()?.map(|q| format!("?{q}")).unwrap_or_default();
        let mut text = format!("{owner} route:{route} {method} {scheme}://{authority}{path}{query}");
        let mut variant = false;
        while !self.0.is_empty() {
            if let Some(rest) = self.0.strip_prefix(&derived::SEARCH) {
                self.0 = rest;
                text.push_str(" search");
                // The rule and the folded query, where it is the place of one.
                while !self.0.is_empty() {
                    text.push_str(&format!(" {}", self.part()?));
                }
                continue;
            }
            let marker =
                [(VARIANT, " vary"), (PART, " part")].into_iter().find(|(m, _)| self.0.starts_with(m));
            if let Some((_, word)) = marker {
                self.0 = self.0.get(VARIANT.len()..)?; // both are as long
                text.push_str(word);
                variant = true;
                continue;
            }
            let name = self.part()?;
            // Keys stand in logs, and cookies and fields may be credentials: of their values only a digest is told.
            let open = if variant { name.starts_with("accept") } else { name != "=" };
            let value = self.maybe()?.map(|value| if open { value } else { masked(&value) });
            text.push_str(&format!(" {name}={}", value.as_deref().unwrap_or("-")));
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Owned {
        https: bool,
        authority: String,
        owner: Owner,
        route: String,
        path: String,
        query: Option<String>,
        selecting: Vec<(String, Option<Vec<u8>>)>,
    }

    impl Owned {
        fn key(&self) -> CacheKey {
            let selecting: Vec<Selecting<'_>> =
                self.selecting.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
            CacheKey::new(&KeyParts {
                https: self.https,
                authority: &self.authority,
                owner: &self.owner,
                route: &self.route,
                method: "GET",
                path: &self.path,
                query: self.query.as_deref(),
                selecting: &selecting,
            })
            .unwrap()
        }
    }

    // Few, short and awkward texts, so that equal and nearly equal parts come together often.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[ab:/\\?\u{0}]{0,3}"]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Claimed), Just(Kind::Verified)]
    }

    fn tenant() -> impl Strategy<Value = Tenant> {
        (text(), kind(), any::<bool>()).prop_map(|(name, kind, scope)| Tenant {
            name: name.into(),
            kind,
            scope,
        })
    }

    fn user() -> impl Strategy<Value = User> {
        (text(), text(), kind()).prop_map(|(name, issuer, kind)| User {
            name: name.into(),
            issuer: issuer.into(),
            kind,
        })
    }

    fn owner() -> impl Strategy<Value = Owner> {
        prop_oneof![
            Just(Owner::Public),
            tenant().prop_map(Owner::Tenant),
            (prop::option::of(tenant()), user()).prop_map(|(t, u)| Owner::User(t, u)),
        ]
    }

    fn parts() -> impl Strategy<Value = Owned> {
        let selecting =
            prop::collection::vec((text(), prop::option::of(prop::collection::vec(any::<u8>(), 0..3))), 0..3);
        (any::<bool>(), text(), owner(), text(), text(), prop::option::of(text()), selecting).prop_map(
            |(https, authority, owner, route, path, query, selecting)| Owned {
                https,
                authority,
                owner,
                route,
                path,
                query,
                selecting,
            },
        )
    }

    /// 24 sets of 300 parts, each compared pair by pair: more than 10^6 pairs.
    /// The bytes are equal exactly where the parts are.
    #[test]
    fn b1_different_parts_never_have_the_same_key() {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 24,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let sets = prop::collection::vec(parts(), 300);
        let mut pairs = 0_u64;
        let pairs_seen = std::cell::Cell::new(0_u64);
        runner
            .run(&sets, |set| {
                let keys: Vec<CacheKey> = set.iter().map(Owned::key).collect();
                for (i, a) in set.iter().enumerate() {
                    for (j, b) in set.iter().enumerate().skip(i) {
                        prop_assert_eq!(keys[i].bytes == keys[j].bytes, a == b);
                    }
                }
                pairs_seen.set(pairs_seen.get() + 300 * 301 / 2);
                Ok(())
            })
            .unwrap();
        pairs += pairs_seen.get();
        assert!(pairs >= 1_000_000, "{pairs} pairs");
    }

    proptest! {
        #[test]
        fn a_key_is_told_to_a_person_without_a_panic(parts in parts()) {
            prop_assert!(!parts.key().describe().contains('\n'));
        }
    }

    #[test]
    fn a_variant_differs_from_its_key_and_from_a_route_that_selects_by_the_same_field() {
        let parts = Owned {
            https: false,
            authority: "a".into(),
            owner: Owner::Public,
            route: "r".into(),
            path: "/".into(),
            query: None,
            selecting: vec![],
        };
        let name = http::HeaderName::from_static("accept");
        let variant = parts.key().variant(&[(name, Some(b"x".to_vec()))]).unwrap();
        let routed = Owned { selecting: vec![("accept".into(), Some(b"x".to_vec()))], ..parts.clone() };
        assert!(variant != parts.key() && variant != routed.key());
        assert_eq!(variant.describe(), "public route:r GET http://a/ vary accept=x");
        let part = variant.part(None).unwrap();
        assert_eq!(part.describe(), "public route:r GET http://a/ vary accept=x part");
        let fills = [None, Some(&b""[..]), Some(b"x")].map(|c| variant.part(Some(("bytes=0-1", c))).unwrap());
        let all = [&[parts.key(), variant, part][..], &fills].concat();
        assert!(all.iter().enumerate().all(|(n, key)| !all[n + 1..].contains(key)));
    }

    #[test]
    fn a_key_tells_nobody_the_value_of_a_cookie_or_a_field() {
        let selecting =
            vec![("cookie".into(), Some(b"session".to_vec())), ("=".into(), Some(b"s3cret".to_vec()))];
        let parts = Owned {
            https: false,
            authority: "a".into(),
            owner: Owner::Public,
            route: "r".into(),
            path: "/".into(),
            query: None,
            selecting,
        };
        let token = http::HeaderName::from_static("x-token");
        let told = parts.key().variant(&[(token, Some(b"s3cret".to_vec()))]).unwrap().describe();
        assert!(
            told.contains("cookie=session =") && told.contains("x-token=#") && !told.contains("s3cret"),
            "{told}"
        );
    }

    #[test]
    fn a_key_that_is_too_long_is_none() {
        let parts = KeyParts { path: &"x".repeat(MAX_KEY_BYTES), ..KeyParts::PLAIN };
        assert!(CacheKey::new(&parts).is_none());
    }
}
