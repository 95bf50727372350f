//! Who may ask for a fresh answer or choose per request, and what the top level says of it for all routes.

use super::super::{Allow, Bust};
use super::Cx;
use super::route_words::{RawBust, RawRoute, RawWho, WhoWord};
use super::section::{At, Slot};
use super::short_words::{Off, ScalarOr};
use super::sources::Facts;
use super::words::RawConfig;

/// What the top level says for all routes.
pub(super) struct Defaults {
    bust: Option<Bust>,
    choices: Option<Allow>,
    pub(super) languages: Vec<String>,
    pub(super) time_zone: Option<jiff::tz::TimeZone>,
}

impl Defaults {
    pub(super) fn read(raw: &RawConfig, facts: &Facts, cx: &mut Cx<'_>) -> Self {
        let built_in = Bust {
            param: "bust_cache".into(),
            allow: Allow::Identified,
            per_key: (1, std::time::Duration::from_secs(5)),
            forward: false,
        };
        Self {
            bust: bust(&raw.bust, &built_in, facts, cx),
            choices: raw.choices.given().and_then(|who| allow(who, facts, cx)),
            languages: raw
                .languages
                .get()
                .into_iter()
                .flat_map(|list| &list.0)
                .map(|at| at.0.clone())
                .collect(),
            time_zone: raw.time_zone.get().map(|zone| zone.0.clone()),
        }
    }
}

/// Who may ask a route for a fresh answer, and who may choose per request.
pub(super) fn permissions(
    raw: &RawRoute,
    defaults: &Defaults,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<(Bust, Allow)> {
    let bust = match &raw.bust {
        Slot::Absent => defaults.bust.clone(),
        slot => defaults.bust.as_ref().and_then(|base| bust(slot, base, facts, cx)),
    };
    let choices = match &raw.choices {
        Slot::Absent => defaults.choices.clone(),
        Slot::Bad => None,
        Slot::Given(who) => allow(who, facts, cx),
    };
    Some((bust?, choices?))
}

/// Who may ask for a fresh answer: what is not written holds as in `base`.
fn bust(slot: &Slot<ScalarOr<Off, RawBust>>, base: &Bust, facts: &Facts, cx: &mut Cx<'_>) -> Option<Bust> {
    let raw = match slot {
        Slot::Absent => return Some(base.clone()),
        Slot::Bad => return None,
        Slot::Given(at) => match &at.value {
            ScalarOr::Short(_) => return Some(Bust { allow: Allow::Nobody, ..base.clone() }),
            ScalarOr::Long(raw) => raw,
        },
    };
    let allowed = match &raw.allow {
        Slot::Absent => base.allow.clone(),
        Slot::Bad => return None,
        Slot::Given(who) => allow(who, facts, cx)?,
    };
    Some(Bust {
        param: raw.param.get().map_or_else(|| base.param.clone(), |param| param.0.clone()),
        allow: allowed,
        per_key: raw.per_key.get().map_or(base.per_key, |rate| rate.0),
        forward: raw.forward.get().copied().unwrap_or(base.forward),
    })
}

fn allow(who: &At<RawWho>, facts: &Facts, cx: &mut Cx<'_>) -> Option<Allow> {
    Some(match &who.value {
        ScalarOr::Short(WhoWord::Anyone) => Allow::Anyone,
        ScalarOr::Short(WhoWord::Nobody) => Allow::Nobody,
        ScalarOr::Short(WhoWord::Identified) => {
            if !facts.verified {
                let help =
                    "add a verified source to `identity.tenant` or `identity.user`: `jwt`, `ask` or `header`";
                cx.error(who.pos, "`identified`, but nobody's identity is ever verified", help);
            }
            Allow::Identified
        }
        ScalarOr::Long(raw) => {
            let roles = raw.roles.given()?;
            if !facts.verified_role {
                let help = "add one to `identity.role`: `[{ jwt: role }]`";
                cx.error(roles.pos, "`roles` needs a verified source of the role", help);
            }
            Allow::Roles(roles.0.iter().map(|role| role.0.clone()).collect())
        }
    })
}
