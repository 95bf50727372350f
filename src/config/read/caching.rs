//! How a route is cached: what goes with a tier, what selects, what is let through.

use std::sync::Arc;

use super::super::tree::Pos;
use super::super::{Caching, OnPartition, OnlyIf, Overrides, QueryRule, Share, Tier, Ttl, VaryOn};
use super::Cx;
use super::collections::OneOrMany;
use super::identity_words::Asked;
use super::route_words::{Conditions, OverrideWord, RawRoute, RawVary, VaryWord};
use super::section::{At, Slot};
use super::short_words::ScalarOr;
use super::sources::Facts;
use super::sources::list_name;
use super::storage::Tiers;
use super::template;
use super::who::{self, Defaults};

/// Query parameters that follow people around and select nothing.
pub(super) const TRACKING: [&str; 24] = [
    "utm_*",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "yclid",
    "ttclid",
    "twclid",
    "igshid",
    "li_fat_id",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "mkt_tok",
    "oly_enc_id",
    "vero_id",
    "srsltid",
    "epik",
];

/// Reads how a route is cached. `Some(None)`: not at all. `None`: refused.
pub(super) fn read(
    raw: &At<RawRoute>,
    tiers: &Tiers<'_>,
    defaults: &Defaults,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<Option<Caching>> {
    let tier = match &raw.tier {
        Slot::Bad => return None,
        Slot::Absent => {
            needs_tier(raw, cx);
            return Some(None);
        }
        Slot::Given(name) => tiers.names.find(name, cx),
    };
    // A tier that was refused has its own errors; the route's are found with what is left.
    let tier = tier.and_then(|index| tiers.tiers.get(index).cloned().flatten());
    cached(raw, tier, defaults, facts, cx).map(Some)
}

fn cached(
    raw: &At<RawRoute>,
    tier: Option<Arc<Tier>>,
    defaults: &Defaults,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<Caching> {
    cached_methods(raw, cx);
    let share = share(raw, facts, cx);
    let vary_on = vary_on(raw, defaults, facts, cx);
    let query = query(raw, tier.as_deref(), cx);
    let only_if = only_if(raw, facts, cx);
    let overrides = overrides(raw, tier.as_deref(), cx);
    let permissions = who::permissions(raw, defaults, facts, cx);
    let (bust, choices) = permissions?;
    let caching = Caching {
        tier: tier?,
        share: share?,
        vary_on,
        query_begins: query.as_ref()?.begins(),
        query: query?,
        key: raw.key.get().map(|key| key.0.clone()),
        tags: raw.tags.get().into_iter().flat_map(|list| &list.0).map(|tag| tag.0.clone()).collect(),
        overrides,
        unsafe_store_set_cookie: *raw.unsafe_store_set_cookie.get()?,
        unsafe_uneven_parts: *raw.unsafe_uneven_parts.get()?,
        only_if,
        bust,
        choices,
        on_partition: *raw.on_partition.get()?,
    };
    templates(raw, &caching, facts, cx);
    identity_goes_on(raw, &caching, facts, cx);
    Some(caching)
}

/// An application that does not see the parameter which names the tenant would answer for another one.
fn identity_goes_on(raw: &RawRoute, caching: &Caching, facts: &Facts, cx: &mut Cx<'_>) {
    let Some(rule) = raw.query.given() else { return };
    for (asked, name) in &facts.parameters {
        let keyed = match asked {
            Asked::Tenant => caching.share != Share::Public,
            Asked::User => caching.share == Share::User,
            Asked::Role => caching.vary_on.contains(&VaryOn::Role),
        };
        if keyed && !template::kept(&caching.query, name) {
            let message = format!("`query` drops `{name}`, which names the {}", list_name(*asked));
            cx.error(rule.pos, message, "keep it: without it the application would answer for somebody else");
        }
    }
}

fn needs_tier(raw: &RawRoute, cx: &mut Cx<'_>) {
    let lifted = |word: &Slot<bool>| word.given().filter(|_| word.get() == Some(&true)).map(|at| at.pos);
    let partition = raw.on_partition.given().filter(|at| at.value != OnPartition::default());
    let written = [
        ("share", raw.share.given().map(|at| at.pos)),
        ("vary_on", raw.vary_on.given().map(|at| at.pos)),
        ("query", raw.query.given().map(|at| at.pos)),
        ("key", raw.key.given().map(|at| at.pos)),
        ("tags", raw.tags.given().map(|at| at.pos)),
        ("override", raw.r#override.given().map(|at| at.pos)),
        ("unsafe_store_set_cookie", lifted(&raw.unsafe_store_set_cookie)),
        ("unsafe_uneven_parts", lifted(&raw.unsafe_uneven_parts)),
        ("only_if", raw.only_if.given().map(|at| at.pos)),
        ("bust", raw.bust.given().map(|at| at.pos)),
        ("choices", raw.choices.given().map(|at| at.pos)),
        ("on_partition", partition.map(|at| at.pos)),
    ];
    for (key, pos) in written {
        if let Some(pos) = pos {
            let help = format!("add `tier: NAME` to cache the route, or remove `{key}`");
            cx.error(pos, format!("`{key}` on a route without a tier: nothing is stored here"), help);
        }
    }
}

fn cached_methods(raw: &RawRoute, cx: &mut Cx<'_>) {
    if let Some(methods) = raw.methods.given()
        && !methods.0.is_empty()
        && !methods.0.iter().any(|method| matches!(method.0.as_str(), "GET" | "HEAD"))
    {
        let help = "only GET and HEAD are cached: add one of them, or remove `tier`";
        cx.error(methods.pos, "none of these methods is cached", help);
    }
}

fn share(raw: &At<RawRoute>, facts: &Facts, cx: &mut Cx<'_>) -> Option<Share> {
    let Some(share) = raw.share.given() else {
        if raw.share.is_absent() {
            let help = "say among whom: `share: user`, `share: tenant`, or `share: public` for what everybody may see";
            let pos = raw.tier.given().map_or(raw.pos, |tier| tier.pos);
            cx.error(pos, "`tier` without `share`", help);
        }
        return None;
    };
    let missing = match share.value {
        Share::Tenant if !facts.tenant => Some("tenant"),
        Share::User if !facts.user => Some("user"),
        _ => None,
    };
    if let Some(missing) = missing {
        let message = format!("`share: {missing}`, but nothing says who the {missing} is");
        cx.error(share.pos, message, format!("add a source to `identity.{missing}`"));
    }
    Some(share.value)
}

fn vary_on(raw: &RawRoute, defaults: &Defaults, facts: &Facts, cx: &mut Cx<'_>) -> Vec<VaryOn> {
    let mut found: Vec<VaryOn> = Vec::new();
    for item in raw.vary_on.get().into_iter().flat_map(|list| &list.0) {
        let vary = match &item.value {
            ScalarOr::Short(word) => vary_word(*word, item.pos, defaults, facts, cx),
            ScalarOr::Long(long) => vary_long(long, cx),
        };
        let Some(vary) = vary else { continue };
        if found.contains(&vary) {
            cx.error(item.pos, "this is in `vary_on` twice", "remove one of the two");
        }
        found.push(vary);
    }
    found
}

fn vary_word(
    word: VaryWord,
    pos: Pos,
    defaults: &Defaults,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<VaryOn> {
    match word {
        VaryWord::Role => {
            if !facts.role {
                cx.error(
                    pos,
                    "`vary_on: role`, but nothing says what the role is",
                    "add a source to `identity.role`",
                );
            }
            Some(VaryOn::Role)
        }
        VaryWord::Language => {
            if defaults.languages.is_empty() {
                let help = "write `{ language: [en, de] }`, or `languages: [en, de]` at the top level";
                cx.error(pos, "`vary_on: language`, but no languages are configured", help);
            }
            Some(VaryOn::Language(defaults.languages.clone()))
        }
        VaryWord::Date => defaults.time_zone.clone().map(VaryOn::Date),
    }
}

/// Fields that a response is never selected by, and what to do instead.
const NO_SELECTOR: [(&str, &str); 8] = [
    ("cookie", "name the cookie: `{ cookie: NAME }`"),
    ("authorization", "write `share: user`: a credential selects through the identity that it proves"),
    ("host", "remove it: the host is part of every key"),
    ("connection", "remove it: it concerns one connection only"),
    ("content-length", "remove it: a request with a body is never cached"),
    ("transfer-encoding", "remove it: a request with a body is never cached"),
    ("if-none-match", "remove it: Larder answers conditional requests itself"),
    ("if-modified-since", "remove it: Larder answers conditional requests itself"),
];

fn vary_long(raw: &RawVary, cx: &mut Cx<'_>) -> Option<VaryOn> {
    if let Some(cookie) = raw.cookie.get() {
        return Some(VaryOn::Cookie(cookie.0.clone()));
    }
    if let Some(header) = raw.header.given() {
        if let Some((_, help)) = NO_SELECTOR.iter().find(|(name, _)| *name == header.0.as_str()) {
            cx.error(header.pos, format!("`{}` cannot select a stored response", header.0), *help);
            return None;
        }
        return Some(VaryOn::Header(header.0.clone()));
    }
    if let Some(languages) = raw.language.get() {
        return Some(VaryOn::Language(languages.0.iter().map(|language| language.0.clone()).collect()));
    }
    raw.date.get().map(|zone| VaryOn::Date(zone.0.clone()))
}

fn query(raw: &RawRoute, tier: Option<&Tier>, cx: &mut Cx<'_>) -> Option<QueryRule> {
    let keeps_tracking = tier.is_some_and(|tier| tier.ttl == Ttl::Origin);
    let tracking: &[&str] = if keeps_tracking { &[] } else { &TRACKING };
    let tracking = tracking.iter().map(|name| (*name).to_owned());
    let rule = match &raw.query {
        Slot::Bad => return None,
        Slot::Absent => return Some(QueryRule::Ignore(tracking.collect())),
        Slot::Given(rule) => rule,
    };
    if let Some(only) = rule.only.get() {
        for name in only.0.iter().filter(|name| name.0.ends_with('*')) {
            cx.error(name.pos, "`only` takes whole names", "name each parameter; `*` is for `ignore`");
        }
        return Some(QueryRule::Only(only.0.iter().map(|name| name.0.clone()).collect()));
    }
    let ignored = rule.ignore.get()?.0.iter().map(|name| name.0.clone());
    Some(QueryRule::Ignore(ignored.chain(tracking).collect()))
}

fn overrides(raw: &RawRoute, tier: Option<&Tier>, cx: &mut Cx<'_>) -> Overrides {
    let mut overrides = Overrides::default();
    let Some(list) = raw.r#override.given() else { return overrides };
    if tier.is_some_and(|tier| tier.ttl == Ttl::Origin) {
        let help = "give the tier a `ttl`: without one the response's own fields decide";
        cx.error(list.pos, "`override` on a tier without `ttl`", help);
    }
    for word in &list.0 {
        match word.value {
            OverrideWord::NoStore => overrides.no_store = true,
            OverrideWord::Private => overrides.private = true,
            OverrideWord::NoCache => overrides.no_cache = true,
            OverrideWord::VaryCookie => overrides.vary_cookie = true,
            OverrideWord::VaryAuthorization => overrides.vary_authorization = true,
            OverrideWord::SetCookie => overrides.set_cookie = true,
        }
    }
    overrides
}

fn only_if(raw: &RawRoute, facts: &Facts, cx: &mut Cx<'_>) -> OnlyIf {
    let Some(raw) = raw.only_if.get() else { return OnlyIf::default() };
    if let Some(role) = raw.role.given()
        && !facts.role
    {
        cx.error(
            role.pos,
            "`only_if: role`, but nothing says what the role is",
            "add a source to `identity.role`",
        );
    }
    let conditions = |slot: &Slot<Conditions>| slot.get().map(|list| list.0.clone()).unwrap_or_default();
    let mut header = Vec::new();
    for (name, values) in conditions(&raw.header) {
        match http::HeaderName::from_bytes(name.as_bytes()) {
            Ok(field) => header.push((field, values)),
            Err(_) => cx.error(
                name.pos,
                format!("`{}` is not the name of a header field", *name),
                "write the name alone",
            ),
        }
    }
    OnlyIf {
        role: raw.role.get().into_iter().flat_map(|list| &list.0).map(|role| role.0.clone()).collect(),
        query: conditions(&raw.query).into_iter().map(|(name, values)| (name.value, values)).collect(),
        header,
    }
}

fn templates(raw: &RawRoute, caching: &Caching, facts: &Facts, cx: &mut Cx<'_>) {
    let Some(path) = raw.path.get() else { return };
    if let Some(key) = raw.key.given() {
        template::check_sources(&key.0, key.pos, &path.0, facts, cx);
        template::check_selected(&key.0, key.pos, caching, true, cx);
    }
    let tags: Option<&OneOrMany<_>> = raw.tags.get();
    for tag in tags.into_iter().flat_map(|list| &list.0) {
        template::check_sources(&tag.0, tag.pos, &path.0, facts, cx);
        template::check_selected(&tag.0, tag.pos, caching, false, cx);
    }
}
