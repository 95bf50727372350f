//! Verifies JSON Web Tokens (RFC 7519) and remembers those that held.
//!
//! Invariants: `alg` only selects among configured keys; `exp` is required, because a token without an end could never
//! be ended; all times are the given clock's; a remembered token ends at its `exp` and with every change of a key set.
//! Extensions that a token declares critical are not understood here, so such a token is invalid (RFC 7515 section 4.1.11).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Header};
use quick_cache::sync::Cache;
use serde_json::Value;

use super::digest::{Digest, Digester};
use super::jwks::KeySet;
use super::value::{Said, claim_at, said_by_claim};
use super::{FetchJwks, SetupError, keys};
use crate::clock::{Clock, Now};
use crate::config::{Jwt, JwtMaterial};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// How many verified tokens are remembered.
const REMEMBERED: usize = 10_000;
/// How many signatures are checked for one token.
const MAX_CHECKS: usize = 16;
/// What digests of tokens are made for.
const PURPOSE: u8 = 0;

/// What a configuration wants of tokens: claims by their paths.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Claims that name somebody.
    pub(super) names: Vec<String>,
    /// Claims that list tenants.
    pub(super) lists: Vec<String>,
}

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.lists.is_empty()
    }
}

/// A token that held, reduced to what is wanted of it.
pub(super) struct Verified {
    /// When it ends, leeway included (wall clock).
    end: Duration,
    epoch: u64,
    /// Whose users its names are.
    pub(super) issuer: Arc<str>,
    /// In the order of [`Wanted::names`].
    pub(super) names: Box<[Said<Arc<str>>]>,
    /// In the order of [`Wanted::lists`].
    pub(super) lists: Box<[Box<[Arc<str>]>]>,
}

/// What is known of a token.
pub(super) enum Verdict {
    Valid(Arc<Verified>),
    Invalid,
    /// The set of this number has to be fetched first.
    NeedsKeys(usize),
}

/// Verifies tokens.
pub(super) struct Tokens {
    config: Jwt,
    wanted: Wanted,
    keys: Vec<Key>,
    sets: Vec<Arc<KeySet>>,
    memory: Cache<Digest, Arc<Verified>>,
    digester: Digester,
    epoch: Arc<AtomicU64>,
}

struct Key {
    algorithms: Vec<Algorithm>,
    kid: Option<String>,
    material: Material,
}

enum Material {
    Fixed(DecodingKey),
    Set(usize),
}

impl Tokens {
    pub(super) fn new(
        config: &Jwt,
        wanted: Wanted,
        digester: Digester,
        clock: Clock,
        fetcher: &Arc<dyn FetchJwks>,
    ) -> Result<Self, SetupError> {
        let epoch = Arc::new(AtomicU64::new(0));
        let (mut all, mut sets) = (Vec::new(), Vec::new());
        for key in &config.keys {
            let algorithms: Vec<_> = key.algorithms.iter().copied().map(keys::algorithm).collect();
            let material = match &key.material {
                JwtMaterial::Secret(secret) => Material::Fixed(keys::secret(secret, &algorithms)?),
                JwtMaterial::Pem(pem) => Material::Fixed(keys::pem(pem, &algorithms)?),
                JwtMaterial::Jwks(url) => {
                    let (fetcher, clock) = (fetcher.clone(), clock.clone());
                    sets.push(KeySet::new(url.clone(), algorithms.clone(), fetcher, clock, epoch.clone()));
                    Material::Set(sets.len() - 1)
                }
            };
            all.push(Key { algorithms, kid: key.kid.clone(), material });
        }
        if sets.len() > 64 {
            return Err(SetupError::new("more than 64 key sets"));
        }
        let memory = Cache::new(REMEMBERED);
        Ok(Self { config: config.clone(), wanted, keys: all, sets, memory, digester, epoch })
    }

    /// The set of this number.
    pub(super) fn set(&self, number: usize) -> Option<Arc<KeySet>> {
        self.sets.get(number).cloned()
    }

    /// Verifies a token. `tried` are the numbers of the sets that have been fetched for it already.
    pub(super) fn verify(&self, token: &[u8], tried: u64, now: Now) -> Verdict {
        if token.len() > MAX_TOKEN {
            return Verdict::Invalid;
        }
        for set in &self.sets {
            set.keep_fresh(now);
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let digest = self.digester.of(PURPOSE, token);
        if let Some(known) = self.memory.get(&digest) {
            if now.wall >= known.end {
                self.memory.remove(&digest);
                return Verdict::Invalid;
            }
            if known.epoch == epoch {
                return Verdict::Valid(known);
            }
        }
        self.check(token, tried, now).map_or_else(
            |verdict| verdict,
            |claims| match self.admit(&claims, now, epoch) {
                Some(verified) => {
                    let verified = Arc::new(verified);
                    self.memory.insert(digest, verified.clone());
                    Verdict::Valid(verified)
                }
                None => Verdict::Invalid,
            },
        )
    }

    /// The claims of a token whose signature holds.
    fn check(&self, token: &[u8], tried: u64, now: Now) -> Result<Value, Verdict> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Verdict::Invalid)?;
        if header.crit.is_some() {
            return Err(Verdict::Invalid);
        }
        let kid = header.kid.as_deref();
        let mut checks = Checks { token, header: &header, left: MAX_CHECKS };
        let mut missing = None;
        for key in &self.keys {
            if !key.algorithms.contains(&header.alg) || key.kid.as_deref().is_some_and(|k| Some(k) != kid) {
                continue;
            }
            let claims = match &key.material {
                Material::Fixed(key) => checks.check(key),
                Material::Set(number) => {
                    let (claims, known) = self.check_set(*number, &mut checks);
                    if !known && tried >> number & 1 == 0 && self.sets[*number].may_fetch(now) {
                        missing = missing.or(Some(*number));
                    }
                    claims
                }
            };
            if let Some(claims) = claims {
                return Ok(claims);
            }
        }
        Err(missing.map_or(Verdict::Invalid, Verdict::NeedsKeys))
    }

    /// The claims, where a key of the set verifies the token, and whether the set knows the token's key id. A key without
    /// an id is tried for any; a key with one only for a token that names it, or that names none.
    fn check_set(&self, number: usize, checks: &mut Checks<'_>) -> (Option<Value>, bool) {
        let Some(keys) = self.sets.get(number).and_then(|set| set.keys()) else { return (None, false) };
        let kid = checks.header.kid.as_deref();
        let known = kid.is_none() || keys.list.iter().any(|key| key.kid.as_deref() == kid);
        let fitting = keys.list.iter().filter(|key| match (kid, key.kid.as_deref()) {
            (Some(wanted), Some(given)) => wanted == given,
            _ => true,
        });
        let mut usable = fitting.filter_map(|key| key.for_algorithm(checks.header.alg));
        (usable.find_map(|key| checks.check(key)), known)
    }

    /// Whether the claims admit the token now, and what is wanted of them.
    fn admit(&self, claims: &Value, now: Now, epoch: u64) -> Option<Verified> {
        let end = seconds(claims.get("exp")?)?.saturating_add(self.config.leeway);
        let begun = match claims.get("nbf") {
            Some(nbf) => seconds(nbf)? <= now.wall.saturating_add(self.config.leeway),
            None => true,
        };
        let issuer = claims.get("iss").and_then(Value::as_str);
        let from_known = self.config.issuer.is_empty()
            || issuer.is_some_and(|issuer| self.config.issuer.iter().any(|known| known == issuer));
        let for_us = self.config.audience.is_empty() || self.is_for_us(claims.get("aud")?);
        if now.wall >= end || !begun || !from_known || !for_us {
            return None;
        }
        let names = self.wanted.names.iter();
        let lists = self.wanted.lists.iter();
        Some(Verified {
            end,
            epoch,
            issuer: issuer_name(issuer),
            names: names.map(|path| claim_at(claims, path).map_or(Said::Nothing, said_by_claim)).collect(),
            lists: lists.map(|path| listed(claim_at(claims, path))).collect(),
        })
    }

    /// RFC 7519 section 4.1.3: one audience, or a list of them.
    fn is_for_us(&self, audience: &Value) -> bool {
        let ours =
            |one: &Value| one.as_str().is_some_and(|one| self.config.audience.iter().any(|a| a == one));
        audience.as_array().map_or_else(|| ours(audience), |all| all.iter().any(ours))
    }
}

/// The signature checks of one token.
struct Checks<'a> {
    token: &'a [u8],
    header: &'a Header,
    left: usize,
}

impl Checks<'_> {
    /// The claims, where the key verifies the signature. They are judged by [`Tokens::admit`] alone.
    fn check(&mut self, key: &DecodingKey) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        let dot = memchr::memrchr(b'.', self.token)?;
        let signature = std::str::from_utf8(self.token.get(dot + 1..)?).ok()?;
        let holds = jsonwebtoken::crypto::verify(signature, &self.token[..dot], key, self.header.alg);
        // "Insecure" is what it is without the line above.
        holds.ok()?.then(|| jsonwebtoken::dangerous::insecure_decode_claims(self.token).ok())?
    }
}

/// A NumericDate (RFC 7519 section 2): seconds, perhaps with a fraction.
fn seconds(claim: &Value) -> Option<Duration> {
    match claim.as_u64() {
        Some(whole) => Some(Duration::from_secs(whole)),
        None => Duration::try_from_secs_f64(claim.as_f64()?).ok(),
    }
}

/// The tenants of a claim: an array of names, or one.
fn listed(claim: Option<&Value>) -> Box<[Arc<str>]> {
    let name = |one: &Value| if let Said::Name(name) = said_by_claim(one) { Some(name) } else { None };
    match claim {
        Some(Value::Array(all)) => all.iter().filter_map(name).collect(),
        Some(one) => name(one).into_iter().collect(),
        None => Box::default(),
    }
}

/// The token's issuer, spelled so that it is never the name of another kind of source.
fn issuer_name(issuer: Option<&str>) -> Arc<str> {
    match issuer {
        None => "jwt".into(),
        Some(own) if is_kind_of_source(own) || own.starts_with("jwt:") => format!("jwt:{own}").into(),
        Some(own) => own.into(),
    }
}

fn is_kind_of_source(issuer: &str) -> bool {
    matches!(issuer, "" | "jwt" | "ask" | "header" | "host" | "path" | "cookie" | "query")
}
