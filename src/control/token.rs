//! Who may use the side doors: the bearer tokens of `admin.tokens`, each for everybody's entries or for one tenant's.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::{Admin, AdminRole, Token};
use crate::error::{Error, ErrorKind};
use crate::purge::Where;

/// The token of a request, where it is known: it may look.
///
/// # Errors
/// 401 without a known token.
pub(super) fn may_look<'a>(admin: Option<&'a Admin>, headers: &HeaderMap) -> Result<&'a Token, Error> {
    let token = bearer(headers).ok_or_else(|| unauthorized("`Authorization: Bearer TOKEN` is missing"))?;
    let known = admin.map(|admin| admin.tokens.as_slice()).unwrap_or_default();
    // Every token is compared, each in constant time: the answer's delay tells nothing of them.
    let found = known.iter().fold(None, |found, candidate| {
        let same = verify_slices_are_equal(candidate.secret.expose(), token).is_ok();
        if same { Some(candidate) } else { found }
    });
    found.ok_or_else(|| unauthorized("the token is not one of `admin.tokens`"))
}

/// The token of a request, where it may purge.
///
/// # Errors
/// 401 without a known token, 403 with one that may only look.
pub(super) fn may_purge<'a>(admin: Option<&'a Admin>, headers: &HeaderMap) -> Result<&'a Token, Error> {
    let token = may_look(admin, headers)?;
    if token.role == AdminRole::Admin { Ok(token) } else { Err(forbidden("the token may look, not purge")) }
}

/// Whose entries a purge with this token is for, where the request names a tenant or none.
///
/// # Errors
/// 403 where the token is bound to another tenant.
pub(super) fn whose(token: &Token, tenant: Option<Arc<str>>) -> Result<Where, Error> {
    match (&token.tenant, tenant) {
        (None, None) => Ok(Where::All),
        (None, Some(tenant)) => Ok(Where::Tenant(tenant)),
        (Some(own), Some(tenant)) if *own != tenant => Err(another_tenant()),
        (Some(own), _) => Ok(Where::TenantOnly(own.clone())),
    }
}

/// The refusal of a token that is bound to another tenant.
pub(super) fn another_tenant() -> Error {
    forbidden("the token is for another tenant")
}

/// The refusal of a token that is bound to a tenant, where something is not told by tenants.
pub(super) fn for_one_tenant() -> Error {
    forbidden("the token is for one tenant, and these are figures of all")
}

fn forbidden(why: &'static str) -> Error {
    Error::new(ErrorKind::Forbidden, why)
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
