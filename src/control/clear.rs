//! Clearing by the application's own users (D4): `POST` on a configured path of the application, with the application's own
//! bearer token. Administrators clear everything or any tenant, everybody else the tenant that the token names.
//!
//! The token is the only proof: cookies are taken out first, so that no other site's page can make a browser clear.

use http::header::{AUTHORIZATION, COOKIE};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::purging;
use super::receipts;
use super::token::bearer;
use crate::config::ClearCache;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::identity::{Identity, Kind};
use crate::proxy::audit::{self, Asker};
use crate::proxy::event::scalar;
use crate::proxy::selection::{Terms, Wanted};
use crate::proxy::{Shared, rescue};
use crate::purge::Where;

/// The largest body, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// Answers a `POST` on the path of `rule`.
pub(super) async fn answer(shared: &Shared, rule: &ClearCache, request: Request<Body>) -> Response<Body> {
    cleared(shared, rule, request).await.unwrap_or_else(|error| {
        audit::refused(&Asker { way: "clear-cache", ..Asker::default() }, &rule.path, &error);
        rescue(&error).0
    })
}

async fn cleared(
    shared: &Shared,
    rule: &ClearCache,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let about = shared.sanitized(&mut parts, &body)?;
    if bearer(&parts.headers).is_none() {
        return Err(unauthorized("`Authorization: Bearer TOKEN` is missing"));
    }
    parts.headers.remove(COOKIE);
    let id = purging::id_of(&parts.headers);
    let who = shared.identified(&parts, about.host()).await?;
    parts.headers.remove(AUTHORIZATION);
    if who.invalid {
        return Err(unauthorized("the token does not hold"));
    }
    let asked = tenant_of(body, &rule.tenant).await?;
    let whose = whose(rule, &who.identity, asked)?;
    let user = who.identity.user.as_ref().map(|user| user.name.to_string());
    let asker = Asker { who: user, from: about.client, way: "clear-cache" };
    let (wanted, terms) = ([Wanted::Everything], Terms::hard(whose));
    let planned = shared.plan_purge(&wanted, &terms)?;
    let done = shared.carry_out(&planned, &id).await?;
    for (purge, receipt) in planned.purges.iter().zip(&done) {
        audit::purged(&asker, &audit::what(&wanted), &purge.whose, purge.mode, receipt);
    }
    Ok(receipts::receipt(&done, &planned, &terms, receipts::what(&wanted)))
}

/// Whose responses this identity may clear, of those that were asked for.
fn whose(rule: &ClearCache, identity: &Identity, asked: Option<String>) -> Result<Where, Error> {
    let is_admin =
        identity.verified_role().is_some_and(|role| rule.admin_roles.iter().any(|admin| admin == role));
    if is_admin {
        return Ok(asked.map_or(Where::All, |tenant| Where::TenantOnly(tenant.into())));
    }
    let own = identity.tenant.as_ref().filter(|tenant| tenant.kind == Kind::Verified && !tenant.scope);
    let Some(own) = own else {
        return Err(Error::new(
            ErrorKind::Forbidden,
            "the token names no tenant, and its role may not clear everything",
        ));
    };
    if asked.is_some_and(|asked| *asked != *own.name) {
        return Err(Error::new(ErrorKind::Forbidden, "the token is not for this tenant"));
    }
    Ok(Where::TenantOnly(own.name.clone()))
}

/// The tenant that the body names. No body, and `{}`, name none.
async fn tenant_of(body: Body, member: &str) -> Result<Option<String>, Error> {
    let broken = |_| Error::new(ErrorKind::ContentTooLarge, "the body is larger than 16 KiB, or broke off");
    let bytes = Limited::new(body, MAX_BODY).collect().await.map_err(broken)?.to_bytes();
    named(&bytes, member)
}

fn named(body: &[u8], member: &str) -> Result<Option<String>, Error> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let expected = || format!("the body is `{{}}` or `{{\"{member}\": \"…\"}}`");
    let document: Value =
        serde_json::from_slice(body).map_err(|_| Error::new(ErrorKind::BadRequest, expected()))?;
    let wrong = || Error::new(ErrorKind::Unprocessable, expected());
    let members = document.as_object().ok_or_else(wrong)?;
    // A name that is not understood must not turn "one tenant" into "everything".
    if members.keys().any(|name| name != member) {
        return Err(wrong());
    }
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => scalar(value).filter(|name| !name.is_empty()).map(Some).ok_or_else(wrong),
    }
}

fn unauthorized(why: &'static str) -> Error {
    Error::new(ErrorKind::Unauthorized, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Role, Tenant};
    use proptest::prelude::*;

    fn rule() -> ClearCache {
        ClearCache {
            path: "/clear".into(),
            tenant: "tenant_id".into(),
            admin_roles: vec!["superadmin".into()],
        }
    }

    fn who(tenant: Option<(&str, Kind, bool)>, role: Option<(&str, Kind)>) -> Identity {
        Identity {
            tenant: tenant.map(|(name, kind, scope)| Tenant { name: name.into(), kind, scope }),
            user: None,
            role: role.map(|(name, kind)| Role { name: name.into(), kind }),
        }
    }

    #[test]
    fn who_may_clear_what() {
        use Kind::{Claimed, Verified};
        let only = |name: &str| Ok(Where::TenantOnly(name.into()));
        let ask = |identity: &Identity, asked: Option<&str>| {
            whose(&rule(), identity, asked.map(str::to_owned)).map_err(|error| error.kind())
        };
        let no = Err(ErrorKind::Forbidden);
        let admin = who(None, Some(("superadmin", Verified)));
        assert_eq!(ask(&admin, None), Ok(Where::All));
        assert_eq!(ask(&admin, Some("acme")), only("acme"));
        let member = who(Some(("acme", Verified, false)), Some(("clerk", Verified)));
        assert_eq!(ask(&member, None), only("acme"));
        assert_eq!(ask(&member, Some("acme")), only("acme"));
        assert_eq!(ask(&member, Some("bolt")), no);
        for nobody in [
            who(None, None),
            who(None, Some(("superadmin", Claimed))),
            who(Some(("acme", Claimed, false)), None),
            who(Some(("GLOBAL", Verified, true)), Some(("auditor", Verified))),
        ] {
            assert_eq!(
                (ask(&nobody, None), ask(&nobody, Some("acme"))),
                (no.clone(), no.clone()),
                "{nobody:?}"
            );
        }
    }

    #[test]
    fn a_body_names_a_tenant_or_none_and_nothing_else() {
        let named = |body: &str| named(body.as_bytes(), "tenant_id").map_err(|error| error.kind());
        for none in ["", " \r\n", "{}", "{\"tenant_id\": null}"] {
            assert_eq!(named(none), Ok(None), "{none}");
        }
        assert_eq!(named("{\"tenant_id\": \"acme\"}"), Ok(Some("acme".into())));
        assert_eq!(named("{\"tenant_id\": 17}"), Ok(Some("17".into())));
        assert_eq!(named("tenant_id=acme"), Err(ErrorKind::BadRequest));
        for wrong in
            ["[]", "\"acme\"", "{\"tenant\": \"acme\"}", "{\"tenant_id\": \"\"}", "{\"tenant_id\": [1]}"]
        {
            assert_eq!(named(wrong), Err(ErrorKind::Unprocessable), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = named(&body, "tenant_id");
        }
    }
}
