//! Where tenant, user and role come from, and whether what each source needs is there.

use super::super::tree::Pos;
use super::super::{Ask, Identity};
use super::collections::{Entry, List, OneOrMany};
use super::identity_words::{Asked, RawAsk, RawIdentity, RawSource};
use super::names::Names;
use super::section::{At, Slot};
use super::sources::{Facts, sources};
use super::words::RawConfig;
use super::{Cx, jwt};

/// Reads the identity, and says what it can give.
pub(super) fn read(raw: &RawConfig, origins: &Names<'_>, cx: &mut Cx<'_>) -> (Option<Identity>, Facts) {
    match &raw.identity {
        Slot::Absent => (Some(Identity::default()), Facts::default()),
        Slot::Bad => {
            let parameters = Vec::new();
            let all = Facts {
                tenant: true,
                user: true,
                role: true,
                verified: true,
                verified_role: true,
                parameters,
            };
            (None, all)
        }
        Slot::Given(raw) => {
            let facts = facts(raw);
            (identity(raw, origins, &facts, cx), facts)
        }
    }
}

fn facts(raw: &RawIdentity) -> Facts {
    let any = |slot: &Slot<List<RawSource>>| match slot {
        Slot::Absent => false,
        Slot::Bad => true,
        Slot::Given(list) => !list.0.is_empty(),
    };
    let verified = |slot: &Slot<List<RawSource>>| match slot {
        Slot::Absent => false,
        Slot::Bad => true,
        Slot::Given(list) => list.0.iter().any(|source| is_verified(source)),
    };
    Facts {
        tenant: any(&raw.tenant),
        user: any(&raw.user),
        role: any(&raw.role),
        verified: verified(&raw.tenant) || verified(&raw.user),
        verified_role: verified(&raw.role),
        parameters: parameters(raw),
    }
}

fn parameters(raw: &RawIdentity) -> Vec<(Asked, String)> {
    let lists = [(Asked::Tenant, &raw.tenant), (Asked::User, &raw.user), (Asked::Role, &raw.role)];
    let named = |(asked, slot): (Asked, &Slot<List<RawSource>>)| {
        let sources = slot.get().map(|list| list.0.as_slice()).unwrap_or_default();
        let names =
            sources.iter().filter_map(|source| source.query.get()).map(|name| (asked, name.0.clone()));
        names.collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(named).collect()
}

fn is_verified(source: &RawSource) -> bool {
    let written = [
        !source.jwt.is_absent(),
        !source.ask.is_absent(),
        !source.header.is_absent(),
        !source.entitled.is_absent(),
    ];
    written.contains(&true)
}

fn identity(raw: &RawIdentity, origins: &Names<'_>, facts: &Facts, cx: &mut Cx<'_>) -> Option<Identity> {
    let trusted_proxies = trusted_proxies(raw, cx);
    let jwt = match &raw.jwt {
        Slot::Absent => Some(None),
        Slot::Bad => None,
        Slot::Given(at) => jwt::read(at, cx).map(Some),
    };
    let ask = match &raw.ask {
        Slot::Absent => Some(None),
        Slot::Bad => None,
        Slot::Given(at) => ask(at, origins, cx).map(Some),
    };
    let scopes = scopes(raw, facts, cx);
    Some(Identity {
        trusted_proxies,
        tenant: sources(raw, Asked::Tenant, facts, cx),
        user: sources(raw, Asked::User, facts, cx),
        role: sources(raw, Asked::Role, facts, cx),
        scopes,
        jwt: jwt?,
        ask: ask?,
    })
}

fn trusted_proxies(raw: &RawIdentity, cx: &mut Cx<'_>) -> Vec<ipnet::IpNet> {
    let networks = raw.trusted_proxies.get().map(|list| list.0.as_slice()).unwrap_or_default();
    for network in networks.iter().filter(|network| network.0.prefix_len() == 0) {
        let help = "name the addresses of your proxies: whoever is trusted can be any tenant and any user";
        cx.error(network.pos, format!("`{}` trusts everybody", network.0), help);
    }
    networks.iter().map(|network| network.0).collect()
}

fn scopes(raw: &RawIdentity, facts: &Facts, cx: &mut Cx<'_>) -> Vec<(String, String)> {
    let Some(scopes) = raw.scopes.given() else { return Vec::new() };
    if !facts.verified_role {
        let help = "add one to `identity.role`: `[{ jwt: role }]`";
        cx.error(scopes.pos, "`scopes` needs a verified source of the role", help);
    }
    let pair = |entry: &Entry<super::values::Text>| {
        Some((entry.name.value.clone(), entry.value.as_ref()?.0.clone()))
    };
    scopes.0.iter().filter_map(pair).collect()
}

fn ask(raw: &At<RawAsk>, origins: &Names<'_>, cx: &mut Cx<'_>) -> Option<Ask> {
    if raw.tenant.is_absent() && raw.user.is_absent() && raw.role.is_absent() {
        let help =
            "name the response fields that tell it: `tenant: X-Tenant`, `user: X-User`, `role: X-Role`";
        cx.error(raw.pos, "`ask` learns neither tenant nor user nor role", help);
    }
    let field = |slot: &Slot<super::http_values::FieldName>| slot.get().map(|field| field.0.clone());
    let list = |slot: &Slot<OneOrMany<super::http_values::CookieName>>| {
        slot.get().map(|list| list.0.iter().map(|cookie| cookie.0.clone()).collect())
    };
    Some(Ask {
        origin: origin_of(&raw.origin, raw.pos, "`ask`", origins, cx)?,
        path: raw.path.get()?.0.clone(),
        tenant: field(&raw.tenant),
        user: field(&raw.user),
        role: field(&raw.role),
        remember: raw.remember.get()?.0,
        logout: raw
            .logout
            .get()
            .into_iter()
            .flat_map(|list| &list.0)
            .map(|path| path.value.0.clone())
            .collect(),
        cookies: list(&raw.cookies),
    })
}

/// The named origin, or the only one.
pub(super) fn origin_of(
    slot: &Slot<super::values::Text>,
    pos: Pos,
    whose: &str,
    origins: &Names<'_>,
    cx: &mut Cx<'_>,
) -> Option<usize> {
    match slot {
        Slot::Given(name) => origins.find(name, cx),
        Slot::Bad => None,
        Slot::Absent => {
            let only = origins.only();
            if only.is_none() && !origins.is_empty() {
                cx.error(
                    pos,
                    format!("{whose} names no origin, and there are several"),
                    "add `origin: NAME`",
                );
            }
            only
        }
    }
}
