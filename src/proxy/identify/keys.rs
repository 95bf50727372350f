//! The keys that verify tokens. Each is good for the algorithms it was configured for and no other: a token's `alg`
//! only ever selects among keys whose list names it, so a public key is never taken for an HMAC secret, and `none`
//! selects nothing.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::SetupError;
use crate::config::{JwtAlgorithm, Secret};

/// How many keys of a set are looked at.
const MAX_SET: usize = 64;

/// The algorithm in the words of the token library.
pub(super) fn algorithm(configured: JwtAlgorithm) -> Algorithm {
    match configured {
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::HS384 => Algorithm::HS384,
        JwtAlgorithm::HS512 => Algorithm::HS512,
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
    }
}

/// How a public key is checked against an algorithm; `None` for HMAC, which has no public key.
fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        _ => return None,
    })
}

fn is_hmac(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

/// A shared secret, for HMAC algorithms only.
pub(super) fn secret(secret: &Secret, algorithms: &[Algorithm]) -> Result<DecodingKey, SetupError> {
    if !algorithms.iter().all(is_hmac) {
        return Err(SetupError::new("a `secret` is good for the HS algorithms only"));
    }
    Ok(DecodingKey::from_secret(secret.expose()))
}

/// A public key or certificate in PEM, which must fit every algorithm it is configured for.
pub(super) fn pem(pem: &[u8], algorithms: &[Algorithm]) -> Result<DecodingKey, SetupError> {
    let der = public_key(pem)?;
    for algorithm in algorithms {
        let fits = verification(*algorithm).is_some_and(|v| ParsedPublicKey::new(v, &der).is_ok());
        if !fits {
            return Err(SetupError::new(format!("the key file holds no key that is good for {algorithm:?}")));
        }
    }
    Ok(match algorithms.first() {
        Some(Algorithm::ES256 | Algorithm::ES384) => DecodingKey::from_ec_der(&der),
        _ => DecodingKey::from_rsa_der(&der),
    })
}

/// The first public key of a PEM file: `PUBLIC KEY`, `RSA PUBLIC KEY`, or that of a `CERTIFICATE`.
fn public_key(pem: &[u8]) -> Result<Vec<u8>, SetupError> {
    let nothing = || SetupError::new("the key file holds neither a public key nor a certificate in PEM");
    if memchr::memmem::find(pem, b"-----BEGIN RSA PUBLIC KEY-----").is_some() {
        let key = DecodingKey::from_rsa_pem(pem).map_err(|_| nothing())?;
        return key.try_get_as_bytes().map(<[u8]>::to_vec).map_err(|_| nothing());
    }
    for (kind, der) in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).map_while(Result::ok) {
        match kind {
            SectionKind::PublicKey => return Ok(der),
            SectionKind::Certificate => return key_of_certificate(der),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(SetupError::new("the key file holds a private key: give the public one"));
            }
            _ => {}
        }
    }
    Err(nothing())
}

fn key_of_certificate(der: Vec<u8>) -> Result<Vec<u8>, SetupError> {
    let der = CertificateDer::from(der);
    let certificate = rustls::server::ParsedCertificate::try_from(&der)
        .map_err(|_| SetupError::new("the certificate in the key file cannot be read"))?;
    Ok(certificate.subject_public_key_info().to_vec())
}

/// One key of a fetched set.
pub(super) struct SetKey {
    pub(super) kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl SetKey {
    /// The key, where it is good for the algorithm.
    pub(super) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.algorithms.contains(&algorithm).then_some(&self.key)
    }
}

/// Reads a key set (RFC 7517 section 5). Keys of other kinds, for encryption, or that are broken are left out, as
/// section 5 asks; symmetric keys always are. `None`: this is no key set.
pub(super) fn set(json: &[u8], algorithms: &[Algorithm]) -> Option<Vec<SetKey>> {
    let mut document: serde_json::Value = serde_json::from_slice(json).ok()?;
    let serde_json::Value::Array(keys) = document.get_mut("keys")?.take() else { return None };
    let jwks = keys.into_iter().take(MAX_SET).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Some(jwks.filter_map(|jwk| set_key(&jwk, algorithms)).collect())
}

fn set_key(jwk: &Jwk, algorithms: &[Algorithm]) -> Option<SetKey> {
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let good_for: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        _ => return None,
    };
    let said = jwk.common.key_algorithm;
    let usable = good_for.iter().filter(|a| algorithms.contains(a) && said.is_none_or(|s| s == (**a).into()));
    let algorithms: Vec<_> = usable.copied().collect();
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then(|| SetKey { kid: jwk.common.key_id.clone(), algorithms, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_must_fit_every_algorithm_it_is_configured_for() {
        let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let public = rsa.public_key_pem();
        assert!(pem(public.as_bytes(), &[Algorithm::ES256]).is_ok());
        assert!(pem(public.as_bytes(), &[Algorithm::ES384]).is_err());
        assert!(pem(public.as_bytes(), &[Algorithm::RS256]).is_err());
        assert!(pem(public.as_bytes(), &[Algorithm::HS256]).is_err());
        assert!(pem(rsa.serialize_pem().as_bytes(), &[Algorithm::ES256]).is_err());
        assert!(pem(b"no pem", &[Algorithm::ES256]).is_err());
        let shared = Secret::new(*b"0123456789abcdef").unwrap();
        assert!(secret(&shared, &[Algorithm::RS256]).is_err());
    }

    #[test]
    fn a_certificate_gives_its_own_key_whoever_signed_it() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = rcgen::CertificateParams::new(["issuer.example".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap().pem();
        assert!(pem(certificate.as_bytes(), &[Algorithm::ES384]).is_ok());
    }

    #[test]
    fn a_set_gives_signature_keys_of_the_configured_algorithms_and_never_a_secret() {
        let json = br#"{"keys":[
            {"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0","kid":"s","alg":"HS256"},
            {"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r"},
            {"kty":"RSA","n":"AQAB","e":"AQAB","kid":"enc","use":"enc"},
            {"kty":"RSA","n":"AQAB","e":"AQAB","kid":"pss","alg":"PS256"},
            {"kty":"unheard-of"}, 7]}"#;
        let keys = set(json, &[Algorithm::RS256, Algorithm::HS256]).unwrap();
        let kids: Vec<_> = keys.iter().filter_map(|k| k.kid.as_deref()).collect();
        assert_eq!(kids, ["r"]);
        assert!(keys[0].for_algorithm(Algorithm::RS384).is_none());
        assert!(set(b"[]", &[]).is_none() && set(b"{", &[]).is_none());
    }
}
