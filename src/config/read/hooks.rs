//! Webhooks, and the paths on which the application's own users clear the cache.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::tree::Pos;
use super::super::{ClearCache, EventFields, EventTenant, Identity, Model, Piece, Secret, Source, Webhook};
use super::section::{At, Slot};
use super::short_words::SecretRef;
use super::sources::Facts;
use super::words::{RawClearCache, RawConfig, RawWebhook};
use super::{Cx, files};

/// What a secret in the form of Standard Webhooks begins with; what follows is base64.
const PREFIX: &[u8] = b"whsec_";

/// Reads `webhooks`.
pub(super) fn webhooks(raw: &RawConfig, models: &[Model], cx: &mut Cx<'_>) -> Vec<Webhook> {
    let mut read: Vec<Webhook> = Vec::new();
    for item in raw.webhooks.get().map(|list| list.0.as_slice()).unwrap_or_default() {
        let Some(webhook) = webhook(item, models, cx) else { continue };
        if read.iter().any(|other| other.name == webhook.name) {
            let message = format!("two webhooks have the name `{}`", webhook.name);
            cx.error(item.pos, message, "give each a name of its own");
        }
        let shared = |other: &&Webhook| webhook.secrets.iter().any(|secret| other.secrets.contains(secret));
        if let Some(other) = read.iter().find(shared) {
            let message =
                format!("the webhooks `{}` and `{}` have the same secret", other.name, webhook.name);
            cx.error(
                item.pos,
                message,
                "give each a secret of its own: what is signed for one would hold for both",
            );
        }
        read.push(webhook);
    }
    read
}

fn webhook(raw: &At<RawWebhook>, models: &[Model], cx: &mut Cx<'_>) -> Option<Webhook> {
    let one = raw.secret.given().into_iter();
    let several = raw.secrets.get().map(|list| list.0.as_slice()).unwrap_or_default();
    let references: Vec<&At<SecretRef>> = one.chain(several).collect();
    let secrets: Vec<Secret> = references.iter().filter_map(|at| secret(at, cx)).collect();
    let fields = fields(raw, models, cx);
    let tenant = tenant(raw, &fields, cx);
    let limit = raw.body_limit.given()?;
    if !(1 << 10..=16 << 20).contains(&limit.0) {
        cx.error(limit.pos, "`body_limit` is out of range", "write a size from 1KiB to 16MiB");
    }
    (!secrets.is_empty()).then_some(Webhook {
        name: raw.name.get()?.0.clone(),
        secrets,
        tenant: tenant?,
        body_limit: usize::try_from(limit.0).ok()?,
        fields,
        sequence: raw.sequence.get().map(|pointer| pointer.0.clone()),
    })
}

/// A secret; with the prefix of Standard Webhooks, the bytes that the rest stands for.
fn secret(at: &At<SecretRef>, cx: &mut Cx<'_>) -> Option<Secret> {
    let secret = files::secret(&at.value, cx)?;
    let Some(encoded) = secret.expose().strip_prefix(PREFIX) else { return Some(secret) };
    let help = "make one with `echo whsec_$(openssl rand -base64 32)`";
    let Ok(bytes) = STANDARD.decode(encoded) else {
        cx.error(at.pos, "what follows `whsec_` is not base64", help);
        return None;
    };
    let found = Secret::new(bytes);
    if found.is_none() {
        let message = format!("the secret is too short: at least {} bytes are needed", Secret::MIN_BYTES);
        cx.error(at.pos, message, help);
    }
    found
}

fn tenant(raw: &RawWebhook, fields: &EventFields, cx: &mut Cx<'_>) -> Option<EventTenant> {
    let all = *raw.all_tenants.get()?;
    let named = fields.pointer("tenant").is_some();
    match &raw.tenant {
        Slot::Bad => None,
        Slot::Absent => {
            if !named {
                let help = "add `tenant` to `fields`, or `tenant: NAME` where it is always the same";
                cx.error(raw.pos, "the events of this webhook name no tenant", help);
            }
            Some(EventTenant::Named { all })
        }
        Slot::Given(name) => {
            if fields.0.is_some() && named {
                let help = "keep `tenant: NAME`, or the place in `fields`";
                cx.error(name.pos, "`tenant` and `fields.tenant` exclude each other", help);
            }
            let fixed = if name.0 == "*" { EventTenant::All } else { EventTenant::Fixed(name.0.clone()) };
            Some(fixed)
        }
    }
}

/// The places of the event's fields. One that nothing reads is a mistake.
fn fields(raw: &RawWebhook, models: &[Model], cx: &mut Cx<'_>) -> EventFields {
    let Some(places) = raw.fields.get() else { return EventFields::default() };
    let is_hole = |piece: &Piece, name: &str| matches!(piece, Piece::Path(hole) if hole == name);
    for entry in &places.0 {
        let name = entry.name.value.as_str();
        let used = models
            .iter()
            .flat_map(|model| &model.purges)
            .any(|selector| selector.template().0.iter().any(|piece| is_hole(piece, name)));
        if !used && !EventFields::KNOWN.contains(&name) {
            let help =
                "fields are `tenant`, `model`, `tags`, `patterns`, `urls`, `soft` and the holes of models";
            cx.error(entry.name.pos, format!("nothing reads the field `{name}`"), help);
        }
    }
    let place = |entry: &super::collections::Entry<super::http_values::Pointer>| {
        Some((entry.name.value.clone(), entry.value.as_ref()?.0.clone()))
    };
    EventFields(Some(places.0.iter().filter_map(place).collect()))
}

/// Reads `clear_cache`.
pub(super) fn clear_cache(
    raw: &RawConfig,
    identity: Option<&Identity>,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Vec<ClearCache> {
    let items = raw.clear_cache.get().map(|list| list.0.as_slice()).unwrap_or_default();
    let mut read: Vec<ClearCache> = Vec::new();
    for item in items {
        needs_token(item.pos, identity, cx);
        let Some(clear) = clear(item, facts, cx) else { continue };
        if read.iter().any(|other| other.path == clear.path) {
            cx.error(item.pos, format!("`{}` is there twice", clear.path), "keep one of them");
        }
        read.push(clear);
    }
    read
}

fn needs_token(pos: Pos, identity: Option<&Identity>, cx: &mut Cx<'_>) {
    let Some(identity) = identity else { return };
    let mut sources = identity.tenant.iter().chain(&identity.user).chain(&identity.role);
    if !sources.any(|source| matches!(source, Source::Jwt(_))) {
        let help = "configure `identity.jwt`, and read the tenant from it: `tenant: [{ jwt: tenant_id }]`";
        cx.error(pos, "clearing needs a token that Larder can verify, and no source reads one", help);
    }
}

fn clear(raw: &At<RawClearCache>, facts: &Facts, cx: &mut Cx<'_>) -> Option<ClearCache> {
    if let Some(roles) = raw.admin_roles.given()
        && !facts.verified_role
    {
        let help = "add one to `identity.role`: `[{ jwt: role }]`";
        cx.error(roles.pos, "`admin_roles` needs a verified source of the role", help);
    }
    let roles = raw.admin_roles.get().into_iter().flat_map(|list| &list.0);
    Some(ClearCache {
        path: raw.path.get()?.0.clone(),
        tenant: raw.tenant.get()?.0.clone(),
        admin_roles: roles.map(|role| role.0.clone()).collect(),
    })
}
