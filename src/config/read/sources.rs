//! One source of tenant, user or role: whether it says what is meant, and whether what it needs is there.

use http::HeaderName;

use super::super::pattern::Segment;
use super::super::tree::Pos;
use super::super::{Entitled, HostPattern, PathPattern, Source};
use super::Cx;
use super::identity_words::{Asked, RawEntitled, RawIdentity, RawSource};
use super::section::{At, Slot};

/// Which identities the file can give. What was refused counts as given: it has its own error.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) tenant: bool,
    pub(super) user: bool,
    pub(super) role: bool,
    /// Tenant or user has a verified source.
    pub(super) verified: bool,
    pub(super) verified_role: bool,
    /// The query parameters that name tenant, user or role.
    pub(super) parameters: Vec<(Asked, String)>,
}

/// The sources of one list, each with what it needs.
pub(super) fn sources(raw: &RawIdentity, list: Asked, facts: &Facts, cx: &mut Cx<'_>) -> Vec<Source> {
    let slot = match list {
        Asked::Tenant => &raw.tenant,
        Asked::User => &raw.user,
        Asked::Role => &raw.role,
    };
    let items = slot.get().map(|list| list.0.as_slice()).unwrap_or_default();
    items.iter().filter_map(|item| source(item, raw, list, facts, cx)).collect()
}

fn source(
    item: &At<RawSource>,
    raw: &RawIdentity,
    list: Asked,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<Source> {
    if item.query.is_absent() && !item.entitled.is_absent() {
        cx.error(
            item.pos,
            "`entitled` goes with `query` only",
            "remove it: the other sources need no entitlement",
        );
    }
    if let Some(claim) = item.jwt.given() {
        needs_jwt(raw, claim.pos, cx);
        return Some(Source::Jwt(claim.0.clone()));
    }
    if let Some(word) = item.ask.given() {
        asked(word, raw, list, cx);
        return Some(Source::Ask);
    }
    if let Some(name) = item.header.given() {
        return header(&name.0, name.pos, raw, cx);
    }
    if let Some(host) = item.host.given() {
        return labelled_host(&host.0, host.pos, list, cx);
    }
    if let Some(path) = item.path.given() {
        return path_segment(&path.0, path.pos, list, cx);
    }
    if let Some(cookie) = item.cookie.given() {
        return Some(Source::Cookie(cookie.0.clone()));
    }
    let name = item.query.get()?.0.clone();
    let entitled = match &item.entitled {
        Slot::Given(at) => Some(entitled(at, raw, list, facts, cx)),
        _ => None,
    };
    Some(Source::Query { name, entitled })
}

fn needs_jwt(raw: &RawIdentity, pos: Pos, cx: &mut Cx<'_>) {
    if raw.jwt.is_absent() {
        let help = "add `identity.jwt`: `{ algorithms: [HS256], secret: { env: JWT_SECRET } }`";
        cx.error(pos, "a claim of a token, but tokens are not verified", help);
    }
}

pub(super) fn list_name(list: Asked) -> &'static str {
    match list {
        Asked::Tenant => "tenant",
        Asked::User => "user",
        Asked::Role => "role",
    }
}

fn asked(word: &At<Asked>, raw: &RawIdentity, list: Asked, cx: &mut Cx<'_>) {
    let name = list_name(list);
    if word.value != list {
        let message = format!("`ask: {}` in the list of the {name}", list_name(word.value));
        cx.error(word.pos, message, format!("write `{{ ask: {name} }}` here"));
        return;
    }
    let Some(ask) = raw.ask.get() else {
        if raw.ask.is_absent() {
            let help = format!("add `identity.ask`: `{{ path: /whoami, {name}: X-Name }}`");
            cx.error(word.pos, "nobody is asked: `identity.ask` is missing", help);
        }
        return;
    };
    let absent = match list {
        Asked::Tenant => ask.tenant.is_absent(),
        Asked::User => ask.user.is_absent(),
        Asked::Role => ask.role.is_absent(),
    };
    if absent {
        let help = format!("add to `identity.ask`: `{name}: X-Name`, the response field that tells it");
        cx.error(word.pos, format!("`identity.ask` does not learn the {name}"), help);
    }
}

/// Fields that mean something else, and would make nonsense of an identity.
const NO_IDENTITY: [&str; 8] = [
    "authorization",
    "cookie",
    "host",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "connection",
    "via",
];

fn header(name: &HeaderName, pos: Pos, raw: &RawIdentity, cx: &mut Cx<'_>) -> Option<Source> {
    if NO_IDENTITY.contains(&name.as_str()) {
        let help = "use a field of its own that your proxy sets: `X-Tenant-Id`";
        cx.error(pos, format!("`{name}` has another meaning and cannot name an identity"), help);
        return None;
    }
    let trusted = match &raw.trusted_proxies {
        Slot::Absent => false,
        Slot::Bad => true,
        Slot::Given(list) => !list.0.is_empty(),
    };
    if !trusted {
        let help = "add `identity.trusted_proxies`: `[10.0.0.5]`; from anybody else the field is removed";
        cx.error(pos, "a header is believed from trusted proxies only, and there are none", help);
    }
    Some(Source::Header(name.clone()))
}

fn labelled_host(host: &HostPattern, pos: Pos, list: Asked, cx: &mut Cx<'_>) -> Option<Source> {
    match host {
        HostPattern::Label { name, .. } if !name.is_empty() => Some(Source::Host(host.clone())),
        _ => {
            let help = format!("write `\"{{{}}}.example.com\"`", list_name(list));
            cx.error(pos, "the pattern does not say which label is meant", help);
            None
        }
    }
}

fn path_segment(path: &PathPattern, pos: Pos, list: Asked, cx: &mut Cx<'_>) -> Option<Source> {
    let names: Vec<&str> = path
        .segments()
        .iter()
        .filter(|segment| matches!(segment, Segment::Param(_)))
        .filter_map(Segment::name)
        .collect();
    match names.as_slice() {
        [name] => Some(Source::Path(path.clone(), (*name).to_owned())),
        _ => {
            let help = format!("name exactly one segment: `\"/t/{{{}}}/{{*rest}}\"`", list_name(list));
            cx.error(pos, "the pattern does not say which segment is meant", help);
            None
        }
    }
}

fn entitled(
    raw: &At<RawEntitled>,
    id: &RawIdentity,
    list: Asked,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Entitled {
    if list != Asked::Tenant {
        cx.error(raw.pos, "`entitled` is for tenants only", "remove it here");
    }
    if raw.jwt.is_absent() && raw.roles.is_absent() {
        let help = "add `jwt: CLAIM` (the token lists the tenants), or `roles: [...]` (these may name any)";
        cx.error(raw.pos, "`entitled` entitles nobody", help);
    }
    if let Some(claim) = raw.jwt.given() {
        needs_jwt(id, claim.pos, cx);
    }
    if let Some(roles) = raw.roles.given()
        && !facts.verified_role
    {
        let help = "add one to `identity.role`: `[{ jwt: role }]`";
        cx.error(roles.pos, "`roles` needs a verified source of the role", help);
    }
    Entitled {
        jwt: raw.jwt.get().map(|claim| claim.0.clone()),
        roles: raw.roles.get().into_iter().flat_map(|list| &list.0).map(|role| role.0.clone()).collect(),
    }
}
