//! Which holes a template may have where it stands.
//!
//! Nothing may name a stored response that does not also select it: a tag or a key over a field that is not keyed
//! would be the one of whoever came first.

use super::super::tree::Pos;
use super::super::{Caching, PathPattern, Piece, QueryRule, Share, Template, VaryOn};
use super::Cx;
use super::identity::Facts;
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
        let found = match piece {
            Piece::Text(_) => None,
            Piece::Tenant if caching.share == Share::Public => Some((
                "{tenant}".to_owned(),
                "`share: public` means one response for all tenants: write `share: tenant`",
            )),
            Piece::User if caching.share != Share::User => {
                Some(("{user}".to_owned(), "the response is shared by several users: write `share: user`"))
            }
            Piece::Role if !caching.vary_on.contains(&VaryOn::Role) => {
                Some(("{role}".to_owned(), "add `role` to `vary_on`"))
            }
            Piece::Header(name) if !varies_on_header(caching, name) => {
                Some((format!("{{header.{name}}}"), "add `{ header: NAME }` to `vary_on`"))
            }
            Piece::Query(name) if is_key && !kept(&caching.query, name) => {
                Some((format!("{{query.{name}}}"), "the rule of `query` drops it: add it there"))
            }
            Piece::Query(name) if !is_key && !in_key(caching, piece) => {
                let help = match (&caching.key, kept(&caching.query, name)) {
                    (_, false) => "the rule of `query` drops it: add it there",
                    _ => "add it to `key`",
                };
                Some((format!("{{query.{name}}}"), help))
            }
            Piece::Path(name) if !is_key && !in_key(caching, piece) => {
                Some((format!("{{{name}}}"), "add it to `key`"))
            }
            _ => None,
        };
        if let Some((hole, help)) = found {
            cx.error(pos, format!("`{hole}` does not select the stored response"), help);
        }
    }
}

fn varies_on_header(caching: &Caching, name: &str) -> bool {
    caching.vary_on.iter().any(|vary| matches!(vary, VaryOn::Header(header) if header.as_str() == name))
}

/// Whether a hole of a tag is keyed: by the template of the key, or else by path and query themselves.
fn in_key(caching: &Caching, piece: &Piece) -> bool {
    match (&caching.key, piece) {
        (Some(key), _) => key.0.contains(piece),
        (None, Piece::Query(name)) => kept(&caching.query, name),
        (None, _) => true,
    }
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
