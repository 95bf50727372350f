//! Which holes a template may have where it stands.
//!
//! Nothing may name a stored response that does not also select it: a tag or a key over a field that is not keyed
//! would be the one of whoever came first.

use super::super::tree::Pos;
use super::super::{Caching, PathPattern, Piece, QueryRule, Share, Template, VaryOn};
use super::Cx;
use super::sources::Facts;
use super::suggest;

/// Checks the holes that come from the identity and from the path.
pub(super) fn check_sources(
    template: &Template,
    pos: Pos,
    path: &PathPattern,
    facts: &Facts,
    cx: &mut Cx<'_>,
) {
    for piece in &template.0 {
        let (there, name) = match piece {
            Piece::Tenant => (facts.tenant, "tenant"),
            Piece::User => (facts.user, "user"),
            Piece::Role => (facts.role, "role"),
            Piece::Path(name) => {
                check_path_name(name, pos, path, cx);
                continue;
            }
            Piece::Text(_) | Piece::Query(_) | Piece::Header(_) => continue,
        };
        if !there {
            let message = format!("`{{{name}}}` needs a source of the {name}, and there is none");
            cx.error(pos, message, format!("add one to `identity.{name}`"));
        }
    }
}

fn check_path_name(name: &str, pos: Pos, path: &PathPattern, cx: &mut Cx<'_>) {
    if path.names().any(|known| known == name) {
        return;
    }
    let known: Vec<&str> = path.names().chain(["tenant", "user", "role"]).collect();
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!(
            "the path is `{path}`; holes are its names, `{{tenant}}`, `{{user}}`, `{{role}}`, `{{query.NAME}}` and `{{header.NAME}}`"
        ),
    };
    cx.error(pos, format!("unknown placeholder `{{{name}}}`"), help);
}

/// Checks that every hole of a tag or key is part of what selects the response.
pub(super) fn check_selected(
    template: &Template,
    pos: Pos,
    caching: &Caching,
    is_key: bool,
    cx: &mut Cx<'_>,
) {
    for piece in &template.0 {
        let lost = if is_key { None } else { lost_by_key(piece, caching) };
        if let Some(help) = lost.or_else(|| unselected(piece, caching)) {
            cx.error(pos, format!("`{}` does not select the stored response", hole(piece)), help);
        }
    }
}

/// Why a hole does not select, and what would make it.
fn unselected(piece: &Piece, caching: &Caching) -> Option<&'static str> {
    match piece {
        Piece::Tenant if caching.share == Share::Public => {
            Some("`share: public` means one response for all tenants: write `share: tenant`")
        }
        Piece::User if caching.share != Share::User => {
            Some("the response is shared by several users: write `share: user`")
        }
        Piece::Role if !caching.vary_on.contains(&VaryOn::Role) => Some("add `role` to `vary_on`"),
        Piece::Header(name) if !varies_on_header(caching, name) => {
            Some("add `{ header: NAME }` to `vary_on`")
        }
        Piece::Query(name) if !kept(&caching.query, name) => {
            Some("the rule of `query` drops it: add it there")
        }
        _ => None,
    }
}

/// A template as `key` takes the place of path and query: what it leaves out does not select.
fn lost_by_key(piece: &Piece, caching: &Caching) -> Option<&'static str> {
    let key = caching.key.as_ref()?;
    let of_url = matches!(piece, Piece::Path(_) | Piece::Query(_));
    (of_url && !key.0.contains(piece)).then_some("add it to `key`")
}

fn hole(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Tenant => "{tenant}".into(),
        Piece::User => "{user}".into(),
        Piece::Role => "{role}".into(),
        Piece::Path(name) => format!("{{{name}}}"),
        Piece::Query(name) => format!("{{query.{name}}}"),
        Piece::Header(name) => format!("{{header.{name}}}"),
    }
}

fn varies_on_header(caching: &Caching, name: &str) -> bool {
    caching.vary_on.iter().any(|vary| matches!(vary, VaryOn::Header(header) if header.as_str() == name))
}

/// Whether a query parameter selects.
pub(super) fn kept(rule: &QueryRule, name: &str) -> bool {
    let covers = |listed: &String| match listed.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => listed == name,
    };
    match rule {
        QueryRule::Only(names) => names.iter().any(|listed| listed == name),
        QueryRule::Ignore(names) => !names.iter().any(covers),
    }
}
