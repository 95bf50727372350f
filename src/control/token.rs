//! Who may use the side doors: the bearer tokens of `admin.tokens`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::{Admin, AdminRole};
use crate::error::{Error, ErrorKind};

/// The name of the token, where it may purge.
///
/// # Errors
/// 401 without a known token, 403 with one that may only look.
pub(super) fn may_purge<'a>(admin: Option<&'a Admin>, headers: &HeaderMap) -> Result<&'a str, Error> {
    let token = bearer(headers).ok_or_else(|| unauthorized("`Authorization: Bearer TOKEN` is missing"))?;
    let known = admin.map(|admin| admin.tokens.as_slice()).unwrap_or_default();
    // Every token is compared, each in constant time: the answer's delay tells nothing of them.
    let found = known.iter().fold(None, |found, candidate| {
        let same = verify_slices_are_equal(candidate.secret.expose(), token).is_ok();
        if same { Some(candidate) } else { found }
    });
    match found {
        None => Err(unauthorized("the token is not one of `admin.tokens`")),
        Some(token) if token.role == AdminRole::Admin => Ok(&token.name),
        Some(_) => Err(Error::new(ErrorKind::Forbidden, "the token may look, not purge")),
    }
}

fn unauthorized(why: &'static str) -> Error {
    Error::new(ErrorKind::Unauthorized, why)
}

/// The token of the request, where there is exactly one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
