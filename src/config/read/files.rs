//! What a configuration takes from outside: secrets, keys and certificates.
//!
//! Neither a secret nor a part of one is ever in a message.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::tree::Pos;
use super::super::{JwtAlgorithm, Password, Secret};
use super::Cx;
use super::section::At;
use super::short_words::{RawSecret, SecretRef};
use super::values::FileName;

/// No secret, key or certificate chain is larger.
const MAX_BYTES: usize = 1 << 20;

/// Reads a file of at most `max` bytes; `None`: it is larger.
pub(super) fn read_bounded(path: &Path, max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then_some(bytes))
}

/// The place of a file named in the configuration.
pub(super) fn resolve(name: &FileName, cx: &Cx<'_>) -> PathBuf {
    cx.context.folder.join(&name.0)
}

fn read_named(name: &FileName, pos: Pos, cx: &mut Cx<'_>) -> Option<Vec<u8>> {
    let path = resolve(name, cx);
    let help = format!("names are relative to the folder of the configuration: `{}`", path.display());
    match read_bounded(&path, MAX_BYTES) {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => {
            cx.error(pos, format!("the file `{}` is larger than 1 MiB", name.0), "is it the right file?")
        }
        Err(error) => cx.error(pos, format!("the file `{}` cannot be read: {error}", name.0), help),
    }
    None
}

/// The bytes behind `{ env: NAME }` or `{ file: PATH }`, without a line break at the end.
fn referenced(raw: &RawSecret, cx: &mut Cx<'_>) -> Option<(Vec<u8>, Pos)> {
    let (mut bytes, pos) = if let Some(name) = raw.env.given() {
        let usable = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.0.chars().all(usable) {
            let help = "write the name of the variable, not the secret: `{ env: CRM_SECRET }`";
            cx.error(name.pos, "this is not the name of an environment variable", help);
            return None;
        }
        let Some(value) = (cx.context.env)(&name.0) else {
            let help = format!("set it before Larder starts: `export {}=…`", name.0);
            cx.error(name.pos, format!("the environment variable `{}` is not set", name.0), help);
            return None;
        };
        (value.into_bytes(), name.pos)
    } else {
        let name = raw.file.given()?;
        (read_named(name, name.pos, cx)?, name.pos)
    };
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Some((bytes, pos))
}

/// A secret.
pub(super) fn secret(secret: &SecretRef, cx: &mut Cx<'_>) -> Option<Secret> {
    let (bytes, pos) = referenced(&secret.0, cx)?;
    let help = "make one with `openssl rand -hex 32`";
    let length = bytes.len();
    let found = Secret::new(bytes);
    match (&found, length) {
        (None, 0) => cx.error(pos, "the secret is empty", help),
        (None, _) => {
            let message =
                format!("the secret is too short: {length} bytes, at least {} are needed", Secret::MIN_BYTES);
            cx.error(pos, message, help);
        }
        _ => {}
    }
    found
}

/// A password that somebody else chose: of any length but none.
pub(super) fn password(secret: &SecretRef, cx: &mut Cx<'_>) -> Option<Password> {
    let (bytes, pos) = referenced(&secret.0, cx)?;
    let Ok(text) = String::from_utf8(bytes) else {
        cx.error(pos, "the password is not UTF-8", "choose one that is");
        return None;
    };
    let found = Password::new(&text);
    if found.is_none() {
        cx.error(pos, "the password is empty", "remove `password`, or give it a value");
    }
    found
}

/// The bytes of a certificate chain and of its key, checked as [`check_certificate`] does.
pub(super) fn certificate(
    cert: &At<FileName>,
    key: &At<FileName>,
    cx: &mut Cx<'_>,
) -> Option<(Arc<[u8]>, Secret)> {
    let before = cx.errors.count();
    check_certificate(cert, key, cx);
    if cx.errors.count() > before {
        return None;
    }
    Some((read_named(cert, cert.pos, cx)?.into(), Secret::new(read_named(key, key.pos, cx)?)?))
}

/// The bytes of a PEM file with certificates; at least one.
pub(super) fn authorities(name: &At<FileName>, cx: &mut Cx<'_>) -> Option<Arc<[u8]>> {
    certificates(name, cx)?;
    read_named(name, name.pos, cx).map(Into::into)
}

/// A public key or certificate in PEM, named as a file.
pub(super) fn pem_file(
    name: &FileName,
    pos: Pos,
    algorithms: &[At<JwtAlgorithm>],
    cx: &mut Cx<'_>,
) -> Option<Arc<[u8]>> {
    if name.0.contains("-----BEGIN") {
        let help = "put it into a file and name the file, or write `{ env: NAME }`";
        cx.error(pos, "a key must not stand in the configuration file", help);
        return None;
    }
    let bytes = read_named(name, pos, cx)?;
    public_key(bytes, pos, algorithms, cx)
}

/// A public key or certificate in PEM, behind `{ env }` or `{ file }`.
pub(super) fn pem_referenced(
    raw: &RawSecret,
    algorithms: &[At<JwtAlgorithm>],
    cx: &mut Cx<'_>,
) -> Option<Arc<[u8]>> {
    let (bytes, pos) = referenced(raw, cx)?;
    public_key(bytes, pos, algorithms, cx)
}

fn public_key(pem: Vec<u8>, pos: Pos, algorithms: &[At<JwtAlgorithm>], cx: &mut Cx<'_>) -> Option<Arc<[u8]>> {
    if PrivateKeyDer::from_pem_slice(&pem).is_ok() {
        let help = "give the public key: `openssl pkey -in private.pem -pubout`";
        cx.error(pos, "this is a private key", help);
        return None;
    }
    let Some(kind) = key_kind(&pem) else {
        let help = "expected `-----BEGIN PUBLIC KEY-----` or a certificate, of RSA (2048 bits or more), P-256 or P-384";
        cx.error(pos, "this is not a public key in PEM that can be used", help);
        return None;
    };
    for algorithm in algorithms.iter().filter(|algorithm| !kind.contains(&algorithm.value)) {
        let fitting: Vec<String> = kind.iter().map(|fits| format!("`{fits:?}`")).collect();
        let message = format!("the key is not one for `{:?}`", algorithm.value);
        cx.error(algorithm.pos, message, format!("it fits {}", fitting.join(", ")));
    }
    Some(pem.into())
}

/// The algorithms that a public key is good for.
fn key_kind(pem: &[u8]) -> Option<&'static [JwtAlgorithm]> {
    use JwtAlgorithm::{ES256, ES384, RS256, RS384, RS512};
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        // An uncompressed point: a byte, and twice the size of the curve's field.
        return match key.try_get_as_bytes().ok()?.len() {
            65 => Some(&[ES256]),
            97 => Some(&[ES384]),
            _ => None,
        };
    }
    // The modulus makes up most of an RSA key; below 2048 bits no signature is accepted.
    let key = DecodingKey::from_rsa_pem(pem).ok()?;
    (key.try_get_as_bytes().ok()?.len() >= 256).then_some(&[RS256, RS384, RS512])
}

/// Checks a certificate chain and its key, as a listener needs them.
pub(super) fn check_certificate(cert: &At<FileName>, key: &At<FileName>, cx: &mut Cx<'_>) {
    let chain = certificates(cert, cx);
    let Some(bytes) = read_named(key, key.pos, cx) else { return };
    let Ok(private) = PrivateKeyDer::from_pem_slice(&bytes) else {
        cx.error(
            key.pos,
            format!("`{}` has no private key in PEM", key.0),
            "expected `-----BEGIN PRIVATE KEY-----`",
        );
        return;
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Some(chain) = chain
        && let Err(error) = rustls::sign::CertifiedKey::from_der(chain, private, &provider)
    {
        let help = format!("`{}` and `{}` must belong together", cert.0, key.0);
        cx.error(key.pos, format!("certificate and key cannot be used: {error}"), help);
    }
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(name: &At<FileName>, cx: &mut Cx<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read_named(name, name.pos, cx)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        _ => {
            let message = format!("`{}` has no certificate in PEM", name.0);
            cx.error(name.pos, message, "expected `-----BEGIN CERTIFICATE-----`");
            None
        }
    }
}
