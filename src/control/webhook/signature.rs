//! Signatures as in Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, in `webhook-signature` as `v1,BASE64`.
//!
//! Keeps: every secret is tried with every signature, each compared in constant time, so that the answer's delay tells
//! nothing of either. A message is younger than [`WINDOW`], and not from the future by more than that.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use crate::config::Secret;
use crate::error::{Error, ErrorKind};

/// How far a message's timestamp may be from the wall clock, in seconds.
pub(super) const WINDOW: u64 = 300;

/// How long an event is remembered, in seconds: one longer than a timestamp from the far end of the window holds.
pub(super) const REMEMBERED: u64 = 2 * WINDOW + 1;

/// The longest id, in bytes.
const MAX_ID: usize = 256;

/// The most signatures that are looked at: a few for secrets that are rotated.
const MAX_SIGNATURES: usize = 8;

/// The head of a signed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// The event's id: the same for every attempt to deliver it.
    pub(super) id: String,
    timestamp: String,
    signatures: Vec<Vec<u8>>,
}

impl Signed {
    /// Reads the three fields, at this wall time in seconds.
    ///
    /// # Errors
    /// 400 where one is missing, doubled or malformed, 401 where the timestamp is outside of the window.
    pub(super) fn read(headers: &HeaderMap, now: u64) -> Result<Self, Error> {
        let id = field(headers, "webhook-id")?;
        // The parts are signed with dots between them: an id with a dot could be read in two ways.
        let plain = |b: u8| b.is_ascii_graphic() && b != b'.';
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(plain) {
            return Err(bad("`webhook-id` has at most 256 visible characters and no `.`"));
        }
        let timestamp = field(headers, "webhook-timestamp")?;
        let digits = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
        let seconds: Option<u64> = timestamp.parse().ok().filter(|_| digits);
        let seconds =
            seconds.ok_or_else(|| bad("`webhook-timestamp` is a whole number of seconds since 1970"))?;
        if now.saturating_sub(seconds) > WINDOW {
            return Err(refused(
                "`webhook-timestamp` is more than five minutes old: sign every attempt anew",
            ));
        }
        if seconds.saturating_sub(now) > WINDOW {
            return Err(refused(
                "`webhook-timestamp` is more than five minutes in the future: compare the clocks",
            ));
        }
        let signatures = signatures(field(headers, "webhook-signature")?);
        Ok(Self { id: id.to_owned(), timestamp: timestamp.to_owned(), signatures })
    }

    /// Whether one of the keys made one of the signatures over this body.
    ///
    /// # Errors
    /// 401 where none did.
    pub(super) fn verify(&self, keys: &[Key], body: &[u8]) -> Result<(), Error> {
        let mut held = false;
        for key in keys {
            let mut signing = Context::with_key(key);
            for part in [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body] {
                signing.update(part);
            }
            // Once for each key, however many signatures came.
            let own = signing.sign();
            for signature in &self.signatures {
                held |= verify_slices_are_equal(own.as_ref(), signature).is_ok();
            }
        }
        match (held, self.signatures.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(refused("`webhook-signature` holds no signature of the form `v1,BASE64`")),
            (false, false) => Err(refused(
                "no signature fits: is the secret the same, and the body exactly what was signed?",
            )),
        }
    }
}

/// The keys of these secrets.
pub(super) fn keys(secrets: &[Secret]) -> Vec<Key> {
    secrets.iter().map(|secret| Key::new(HMAC_SHA256, secret.expose())).collect()
}

fn field<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value.trim()),
        (None, None) => Err(bad(format!("`{name}` is missing or not plain text"))),
        (_, Some(_)) => Err(bad(format!("`{name}` is there more than once"))),
    }
}

/// The signatures of the version that is known here. Others (`v1a`) are somebody else's.
fn signatures(field: &str) -> Vec<Vec<u8>> {
    let known = field.split_ascii_whitespace().filter_map(|one| one.strip_prefix("v1,"));
    known.filter_map(|encoded| STANDARD.decode(encoded).ok()).take(MAX_SIGNATURES).collect()
}

fn bad(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::BadRequest, why)
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Unauthorized, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const ID: &str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
    const AT: u64 = 1_674_087_231;
    const BODY: &[u8] = br#"{"tenant":"acme","model":"InventoryItem","id":7}"#;

    // Made with `openssl dgst -sha256 -hmac`, not with this code.
    const SECRET: &[u8] = b"a secret of the vectors";
    const SIGNATURE: &str = "v1,d2hAN1ubTCMdNbzveJhqahK5kgacMRaOaik6oMf4prc=";
    const SECRET_WITH_PREFIX: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE_WITH_PREFIX: &str = "v1,mQ2/8IuqytphcNe6d26pAYG9qUWCH6Ze8NSZfrM5N14=";

    fn headers(id: &str, at: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)]
        {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn check(headers: &HeaderMap, now: u64, secrets: &[&[u8]], body: &[u8]) -> Result<(), ErrorKind> {
        let keys = keys(&secrets.iter().map(|s| Secret::new(s.to_vec()).unwrap()).collect::<Vec<_>>());
        let signed = Signed::read(headers, now).map_err(|error| error.kind())?;
        signed.verify(&keys, body).map_err(|error| error.kind())
    }

    fn vector() -> HeaderMap {
        headers(ID, &AT.to_string(), SIGNATURE)
    }

    #[test]
    fn the_vectors_hold() {
        assert_eq!(check(&vector(), AT, &[SECRET], BODY), Ok(()));
        let decoded = STANDARD.decode(SECRET_WITH_PREFIX).unwrap();
        let signed = headers(ID, &AT.to_string(), SIGNATURE_WITH_PREFIX);
        assert_eq!(check(&signed, AT, &[&decoded], BODY), Ok(()));
    }

    #[test]
    fn one_of_several_signatures_and_one_of_several_secrets_is_enough() {
        let other = b"another secret, the new one".as_slice();
        assert_eq!(check(&vector(), AT, &[other, SECRET], BODY), Ok(()));
        let several = format!("v1a,AAAA v1,not-base64! v1,AAAA {SIGNATURE}");
        assert_eq!(check(&headers(ID, &AT.to_string(), &several), AT, &[SECRET], BODY), Ok(()));
        let many = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(MAX_SIGNATURES));
        let refused = check(&headers(ID, &AT.to_string(), &many), AT, &[SECRET], BODY);
        assert_eq!(refused, Err(ErrorKind::Unauthorized), "nobody buys work with a long field");
    }

    #[test]
    fn whatever_was_changed_does_not_hold() {
        let no = Err(ErrorKind::Unauthorized);
        let at = AT.to_string();
        assert_eq!(check(&vector(), AT, &[b"another secret, the new one"], BODY), no);
        assert_eq!(check(&vector(), AT, &[SECRET], b"{}"), no);
        assert_eq!(check(&headers("msg_other", &at, SIGNATURE), AT, &[SECRET], BODY), no);
        assert_eq!(check(&headers(ID, &(AT + 1).to_string(), SIGNATURE), AT, &[SECRET], BODY), no);
        assert_eq!(check(&headers(ID, &format!("0{at}"), SIGNATURE), AT, &[SECRET], BODY), no);
        let cut = &SIGNATURE[..SIGNATURE.len() - 4];
        for signature in ["v1", "v1,", "v1,AAAA", "v2,AAAA", "", cut, &SIGNATURE.replace("v1,", "v1a,")] {
            assert_eq!(check(&headers(ID, &at, signature), AT, &[SECRET], BODY), no, "{signature}");
        }
    }

    #[test]
    fn the_window_is_five_minutes_in_both_directions() {
        assert_eq!(check(&vector(), AT + WINDOW, &[SECRET], BODY), Ok(()));
        assert_eq!(check(&vector(), AT - WINDOW, &[SECRET], BODY), Ok(()));
        for now in [AT + WINDOW + 1, AT - WINDOW - 1, 0, u64::MAX] {
            assert_eq!(check(&vector(), now, &[SECRET], BODY), Err(ErrorKind::Unauthorized), "{now}");
        }
    }

    #[test]
    fn a_field_that_is_missing_doubled_or_malformed_is_a_bad_request() {
        let bad = Err(ErrorKind::BadRequest);
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut without = vector();
            without.remove(name);
            assert_eq!(check(&without, AT, &[SECRET], BODY), bad, "without {name}");
            let mut twice = vector();
            twice.append(name, HeaderValue::from_static("1"));
            assert_eq!(check(&twice, AT, &[SECRET], BODY), bad, "{name} twice");
        }
        for id in ["", "a.b", "a b", &"x".repeat(MAX_ID + 1)] {
            assert_eq!(check(&headers(id, &AT.to_string(), SIGNATURE), AT, &[SECRET], BODY), bad, "{id}");
        }
        for at in ["", "now", "-1", "+1674087231", "1674087231.5", "99999999999999999999999"] {
            assert_eq!(check(&headers(ID, at, SIGNATURE), AT, &[SECRET], BODY), bad, "{at}");
        }
    }

    proptest! {
        #[test]
        fn no_head_and_no_body_makes_the_check_panic_or_hold(
            id in "[ -~]{0,20}", at in "[0-9a-z]{0,12}", signature in "[ -~]{0,60}",
            body in proptest::collection::vec(any::<u8>(), 0..64), now in any::<u64>(),
        ) {
            prop_assert!(check(&headers(&id, &at, &signature), now, &[SECRET], &body).is_err());
        }
    }
}
