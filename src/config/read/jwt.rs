//! The keys that tokens are verified with: each with algorithms that fit it, so that none is taken for another kind.

use super::super::tree::Pos;
use super::super::{JwksUrl, Jwt, JwtAlgorithm, JwtKey, JwtMaterial};
use super::collections::OneOrMany;
use super::http_values::Url;
use super::identity_words::{RawJwt, RawJwtKey};
use super::section::{At, Slot};
use super::short_words::{RawSecret, ScalarOr, SecretRef};
use super::values::{FileName, Text};
use super::{Cx, files};

/// Reads `identity.jwt`.
pub(super) fn read(raw: &At<RawJwt>, cx: &mut Cx<'_>) -> Option<Jwt> {
    let refresh = raw.refresh.get().map(|wait| wait.0);
    let keys = match &raw.keys {
        Slot::Given(keys) => several(keys, raw, cx),
        Slot::Bad => Vec::new(),
        Slot::Absent => single(raw, cx).into_iter().collect(),
    };
    let jwks_at_all = keys.iter().any(|key| matches!(key.material, JwtMaterial::Jwks(_)));
    if !jwks_at_all
        && let Some(written) = raw.refresh.given().filter(|refresh| refresh.pos != raw.pos)
        && raw.jwks.is_absent()
        && raw.keys.is_absent()
    {
        cx.error(
            written.pos,
            "`refresh` is for key sets, and there is none",
            "remove it, or give `jwks: URL`",
        );
    }
    let texts = |slot: &Slot<OneOrMany<Text>>| {
        slot.get().into_iter().flat_map(|list| &list.0).map(|text| text.0.clone()).collect()
    };
    refresh?;
    Some(Jwt {
        keys,
        issuer: texts(&raw.issuer),
        audience: texts(&raw.audience),
        leeway: raw.leeway.get()?.0,
        cookie: raw.cookie.get().map(|cookie| cookie.0.clone()),
    })
}

fn single(raw: &At<RawJwt>, cx: &mut Cx<'_>) -> Option<JwtKey> {
    if raw.algorithms.is_absent() {
        cx.error(
            raw.pos,
            "`algorithms` is missing in identity.jwt",
            "say which are accepted: `algorithms: [RS256]`",
        );
    }
    let algorithms = raw.algorithms.get().map(|list| list.0.as_slice()).unwrap_or_default();
    let material = Material { secret: &raw.secret, key: &raw.key, jwks: &raw.jwks };
    material.read(algorithms, None, raw.refresh.get()?.0, cx)
}

fn several(keys: &OneOrMany<RawJwtKey>, raw: &RawJwt, cx: &mut Cx<'_>) -> Vec<JwtKey> {
    if let Some(algorithms) = raw.algorithms.given() {
        let help = "move it into each of `keys`: a key is good for its own algorithms only";
        cx.error(algorithms.pos, "`algorithms` beside `keys`", help);
    }
    let Some(refresh) = raw.refresh.get() else { return Vec::new() };
    let mut read = Vec::new();
    for key in &keys.0 {
        let one: Vec<At<JwtAlgorithm>> = key.algorithm.given().cloned().into_iter().collect();
        let algorithms = key.algorithms.get().map_or(one.as_slice(), |list| list.0.as_slice());
        let material = Material { secret: &key.secret, key: &key.key, jwks: &key.jwks };
        let kid = key.kid.get().map(|kid| kid.0.clone());
        read.extend(material.read(algorithms, kid, refresh.0, cx));
    }
    read
}

/// The three ways to give a key.
struct Material<'a> {
    secret: &'a Slot<SecretRef>,
    key: &'a Slot<ScalarOr<FileName, RawSecret>>,
    jwks: &'a Slot<Url>,
}

impl Material<'_> {
    fn read(
        &self,
        algorithms: &[At<JwtAlgorithm>],
        kid: Option<String>,
        refresh: std::time::Duration,
        cx: &mut Cx<'_>,
    ) -> Option<JwtKey> {
        let material = if let Some(secret) = self.secret.given() {
            only(algorithms, true, "a secret", cx);
            JwtMaterial::Secret(files::secret(secret, cx)?)
        } else if let Some(key) = self.key.given() {
            let algorithms = only(algorithms, false, "a public key", cx);
            JwtMaterial::Pem(pem(key, key.pos, &algorithms, cx)?)
        } else {
            let url = self.jwks.given()?;
            only(algorithms, false, "a key set", cx);
            JwtMaterial::Jwks(JwksUrl { url: url.0.clone(), refresh })
        };
        Some(JwtKey { algorithms: algorithms.iter().map(|at| at.value).collect(), kid, material })
    }
}

fn pem(
    key: &ScalarOr<FileName, RawSecret>,
    pos: Pos,
    algorithms: &[At<JwtAlgorithm>],
    cx: &mut Cx<'_>,
) -> Option<std::sync::Arc<[u8]>> {
    match key {
        ScalarOr::Short(name) => files::pem_file(name, pos, algorithms, cx),
        ScalarOr::Long(raw) => files::pem_referenced(raw, algorithms, cx),
    }
}

/// The algorithms of the right family: HMAC goes with secrets, signatures with keys. Others are reported.
fn only(algorithms: &[At<JwtAlgorithm>], hmac: bool, what: &str, cx: &mut Cx<'_>) -> Vec<At<JwtAlgorithm>> {
    use JwtAlgorithm::{HS256, HS384, HS512};
    let is_hmac = |at: &At<JwtAlgorithm>| matches!(at.value, HS256 | HS384 | HS512);
    let (fit, unfit): (Vec<_>, Vec<_>) = algorithms.iter().cloned().partition(|at| is_hmac(at) == hmac);
    for algorithm in unfit {
        let help = if hmac {
            "a secret goes with HS256, HS384 and HS512; RS and ES algorithms need `key` or `jwks`"
        } else {
            "public keys go with RS and ES algorithms; HS algorithms need `secret`: with a public key anybody could sign"
        };
        cx.error(algorithm.pos, format!("`{:?}` does not go with {what}", algorithm.value), help);
    }
    fit
}
