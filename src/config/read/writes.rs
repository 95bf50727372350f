//! What requests that change something purge: the models' patterns, with what the request can fill in.
//!
//! A model may have holes that only an event of the application can fill. Where a write cannot, the hole becomes `*`: a
//! write then purges too much rather than too little.

use http::Method;

use super::super::pattern::is_name;
use super::super::{FieldAt, Model, PathPattern, Piece, TagSelector, Template, Write};
use super::Cx;
use super::collections::OneOrMany;
use super::http_values::TemplateText;
use super::names::Names;
use super::section::{At, Slot};
use super::sources::Facts;
use super::template;
use super::words::{RawConfig, RawWrite};

type Fields = Vec<(String, FieldAt)>;

/// Reads `writes`.
pub(super) fn read(raw: &RawConfig, models: &[Model], facts: &Facts, cx: &mut Cx<'_>) -> Vec<Write> {
    let names = Names::new("model", raw.models.get());
    let items = raw.writes.get().map(|list| list.0.as_slice()).unwrap_or_default();
    items.iter().filter_map(|item| write(item, &names, models, facts, cx)).collect()
}

fn write(
    raw: &At<RawWrite>,
    names: &Names<'_>,
    models: &[Model],
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<Write> {
    if raw.models.is_absent() && raw.tags.is_absent() && raw.patterns.is_absent() {
        let help = "add `models`, `tags` or `patterns`; a write purges its own URL without being listed";
        cx.error(raw.pos, "this write purges nothing", help);
    }
    let methods = methods(raw.methods.get()?, cx);
    let path = &raw.path.get()?.0;
    let fields = fields(raw, path, cx);
    let mut purges = Vec::new();
    for name in raw.models.get().into_iter().flat_map(|list| &list.0) {
        let model = names.find(name, cx).and_then(|index| models.get(index));
        purges.extend(model.into_iter().flat_map(|model| model.purges.iter().cloned()));
    }
    purges.extend(templates(&raw.tags, path, &fields, facts, cx).map(TagSelector::Tag));
    purges.extend(templates(&raw.patterns, path, &fields, facts, cx).map(TagSelector::Pattern));
    unused(raw, &fields, &purges, cx);
    let purges = purges.into_iter().map(|selector| widen(selector, path, &fields)).collect();
    Some(Write { methods, path: path.clone(), fields, purges })
}

fn methods(list: &OneOrMany<super::http_values::MethodName>, cx: &mut Cx<'_>) -> Vec<Method> {
    for method in list.0.iter().filter(|method| method.0.is_safe()) {
        let help = "writes are `POST`, `PUT`, `PATCH`, `DELETE` and the like (RFC 9110 section 9.2.1)";
        cx.error(method.pos, format!("`{}` is a safe method and changes nothing", method.0), help);
    }
    list.0.iter().map(|method| method.0.clone()).collect()
}

fn fields(raw: &RawWrite, path: &PathPattern, cx: &mut Cx<'_>) -> Fields {
    let mut fields = Vec::new();
    for entry in raw.fields.get().into_iter().flat_map(|pairs| &pairs.0) {
        let name = &entry.name.value;
        if !is_name(name) || matches!(name.as_str(), "tenant" | "user" | "role") {
            let help = "a field is named like the hole that it fills: letters, digits and `_`; not `tenant`, `user`, `role`";
            cx.error(entry.name.pos, format!("`{name}` cannot be the name of a field"), help);
        } else if path.names().any(|known| known == name) {
            cx.error(entry.name.pos, format!("the path has the name `{name}` already"), "remove one of them");
        }
        if let Some(place) = &entry.value {
            fields.push((name.clone(), place.0.clone()));
        }
    }
    fields
}

/// A field that fills no hole is a mistake.
fn unused(raw: &RawWrite, fields: &Fields, purges: &[TagSelector], cx: &mut Cx<'_>) {
    let Some(given) = raw.fields.given() else { return };
    for (name, _) in fields {
        let is_it = |piece: &Piece| matches!(piece, Piece::Path(hole) if hole == name);
        if !purges.iter().any(|selector| selector.template().0.iter().any(is_it)) {
            let help = "name a hole of this write's models, tags or patterns";
            cx.error(given.pos, format!("no hole is named `{name}`"), help);
        }
    }
}

/// The templates that stand in the write itself: here a hole that nothing fills is a mistake.
fn templates(
    slot: &Slot<OneOrMany<TemplateText>>,
    path: &PathPattern,
    fields: &Fields,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> impl Iterator<Item = Template> + use<> {
    let items = slot.get().map(|list| list.0.as_slice()).unwrap_or_default();
    for item in items {
        let of_field = |piece: &&Piece| matches!(piece, Piece::Path(name) if is_field(fields, name));
        let others = Template(item.0.0.iter().filter(|piece| !of_field(piece)).cloned().collect());
        template::check_sources(&others, item.pos, path, facts, cx);
        let unfilled = |piece: &Piece| matches!(piece, Piece::User | Piece::Role | Piece::Header(_));
        if others.0.iter().any(unfilled) {
            let help = "holes of a write are `{tenant}`, the names of its path and of its `fields`, and `{query.NAME}`";
            cx.error(item.pos, "this hole cannot be filled from a write", help);
        }
    }
    items.iter().map(|item| item.0.clone()).collect::<Vec<_>>().into_iter()
}

fn is_field(fields: &Fields, name: &str) -> bool {
    fields.iter().any(|(field, _)| field == name)
}

/// A model's pattern with `*` for the holes that this write does not fill.
fn widen(selector: TagSelector, path: &PathPattern, fields: &Fields) -> TagSelector {
    let fill = |piece: &Piece| match piece {
        Piece::Path(name) if !path.names().any(|known| known == name) && !is_field(fields, name) => {
            Piece::Text("*".into())
        }
        other => other.clone(),
    };
    match selector {
        TagSelector::Pattern(Template(pieces)) => {
            TagSelector::Pattern(Template(pieces.iter().map(fill).collect()))
        }
        exact @ TagSelector::Tag(_) => exact,
    }
}
