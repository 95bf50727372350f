//! What requests that change something purge: the models' patterns, with what a write's path can fill in.
//!
//! A model may have holes that only an event of the application can fill. Where the path of a write cannot, the hole
//! becomes `*`: a write then purges too much rather than too little.

use std::collections::HashMap;

use http::Method;

use super::super::{PathPattern, Piece, TagSelector, Template, Write};
use super::Cx;
use super::collections::OneOrMany;
use super::http_values::TemplateText;
use super::names::Names;
use super::section::{At, Slot};
use super::sources::Facts;
use super::template;
use super::words::{RawConfig, RawWrite};

type Models<'a> = HashMap<&'a str, &'a [At<TemplateText>]>;

/// Reads `writes` and `models`.
pub(super) fn read(raw: &RawConfig, facts: &Facts, cx: &mut Cx<'_>) -> Vec<Write> {
    let names = Names::new("model", raw.models.get());
    let models = models(raw, facts, cx);
    let items = raw.writes.get().map(|list| list.0.as_slice()).unwrap_or_default();
    items.iter().filter_map(|item| write(item, &names, &models, facts, cx)).collect()
}

fn models<'a>(raw: &'a RawConfig, facts: &Facts, cx: &mut Cx<'_>) -> Models<'a> {
    let mut models = HashMap::new();
    for entry in raw.models.get().into_iter().flat_map(|named| &named.0) {
        let Some(selectors) = &entry.value else { continue };
        for selector in &selectors.0 {
            check_model(selector, facts, cx);
        }
        models.insert(entry.name.value.as_str(), selectors.0.as_slice());
    }
    models
}

fn check_model(selector: &At<TemplateText>, facts: &Facts, cx: &mut Cx<'_>) {
    for piece in &selector.0.0 {
        let message = match piece {
            Piece::Tenant if !facts.tenant => "`{tenant}` needs a source of the tenant, and there is none",
            Piece::User | Piece::Role | Piece::Query(_) | Piece::Header(_) => {
                "a model has holes for `{tenant}` and for names of paths only"
            }
            _ => continue,
        };
        cx.error(
            selector.pos,
            message,
            "purges stay within the tenant of the writer: `{tenant}` is seldom needed",
        );
    }
}

fn write(
    raw: &At<RawWrite>,
    names: &Names<'_>,
    models: &Models<'_>,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<Write> {
    if raw.models.is_absent() && raw.tags.is_absent() && raw.patterns.is_absent() {
        let help = "add `models`, `tags` or `patterns`; a write purges its own URL without being listed";
        cx.error(raw.pos, "this write purges nothing", help);
    }
    let methods = methods(raw.methods.get()?, cx);
    let path = &raw.path.get()?.0;
    let mut purges = Vec::new();
    for name in raw.models.get().into_iter().flat_map(|list| &list.0) {
        if names.find(name, cx).is_some() {
            let selectors = models.get(name.0.as_str()).copied().unwrap_or_default();
            purges.extend(selectors.iter().map(|at| TagSelector::Pattern(widen(&at.0, path))));
        }
    }
    purges.extend(templates(&raw.tags, path, facts, cx).map(TagSelector::Tag));
    purges.extend(templates(&raw.patterns, path, facts, cx).map(TagSelector::Pattern));
    Some(Write { methods, path: path.clone(), purges })
}

fn methods(list: &OneOrMany<super::http_values::MethodName>, cx: &mut Cx<'_>) -> Vec<Method> {
    for method in list.0.iter().filter(|method| method.0.is_safe()) {
        let help = "writes are `POST`, `PUT`, `PATCH`, `DELETE` and the like (RFC 9110 section 9.2.1)";
        cx.error(method.pos, format!("`{}` is a safe method and changes nothing", method.0), help);
    }
    list.0.iter().map(|method| method.0.clone()).collect()
}

/// The templates that stand in the write itself: here a hole that nothing fills is a mistake.
fn templates(
    slot: &Slot<OneOrMany<TemplateText>>,
    path: &PathPattern,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> impl Iterator<Item = Template> {
    let items = slot.get().map(|list| list.0.as_slice()).unwrap_or_default();
    for item in items {
        template::check_sources(&item.0, item.pos, path, facts, cx);
        let other =
            |piece: &Piece| matches!(piece, Piece::User | Piece::Role | Piece::Query(_) | Piece::Header(_));
        if item.0.0.iter().any(other) {
            let help = "holes of a write are `{tenant}` and the names of its path";
            cx.error(item.pos, "this hole cannot be filled from a write", help);
        }
    }
    items.iter().map(|item| item.0.clone()).collect::<Vec<_>>().into_iter()
}

/// The pattern of a model with `*` for the holes that this path does not fill.
fn widen(template: &Template, path: &PathPattern) -> Template {
    let fill = |piece: &Piece| match piece {
        Piece::Path(name) if !path.names().any(|known| known == name) => Piece::Text("*".into()),
        other => other.clone(),
    };
    Template(template.0.iter().map(fill).collect())
}
