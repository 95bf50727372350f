//! Models: the patterns that each purges, its related models' included.

use std::collections::{HashMap, HashSet};

use super::super::{Model, Piece, TagSelector};
use super::Cx;
use super::collections::OneOrMany;
use super::http_values::TemplateText;
use super::names::Names;
use super::section::At;
use super::short_words::ScalarOr;
use super::sources::Facts;
use super::words::{RawConfig, RawModel};

type Form = ScalarOr<OneOrMany<TemplateText>, RawModel>;

/// Reads `models`.
pub(super) fn read(raw: &RawConfig, facts: &Facts, cx: &mut Cx<'_>) -> Vec<Model> {
    let names = Names::new("model", raw.models.get());
    let entries = raw.models.get().map(|named| named.0.as_slice()).unwrap_or_default();
    let forms: HashMap<&str, &Form> =
        entries.iter().filter_map(|entry| Some((entry.name.value.as_str(), entry.value.as_ref()?))).collect();
    for form in entries.iter().filter_map(|entry| entry.value.as_ref()) {
        check(form, &names, facts, cx);
    }
    let model = |name: &str| Model { name: name.to_owned(), purges: purges(name, &forms) };
    entries.iter().map(|entry| model(&entry.name.value)).collect()
}

fn own(form: &Form) -> &[At<TemplateText>] {
    match form {
        ScalarOr::Short(list) => &list.0,
        ScalarOr::Long(raw) => raw.purges.get().map(|list| list.0.as_slice()).unwrap_or_default(),
    }
}

fn related(form: &Form) -> &[At<super::values::Text>] {
    match form {
        ScalarOr::Short(_) => &[],
        ScalarOr::Long(raw) => raw.related.get().map(|list| list.0.as_slice()).unwrap_or_default(),
    }
}

fn check(form: &Form, names: &Names<'_>, facts: &Facts, cx: &mut Cx<'_>) {
    if let ScalarOr::Long(raw) = form
        && raw.purges.is_absent()
        && raw.related.is_absent()
    {
        cx.error(
            raw.pos,
            "this model purges nothing",
            "add `purges: [PATTERN, …]`, or `related: [MODEL, …]`",
        );
    }
    for name in related(form) {
        names.find(name, cx);
    }
    for selector in own(form) {
        check_holes(selector, facts, cx);
    }
}

fn check_holes(selector: &At<TemplateText>, facts: &Facts, cx: &mut Cx<'_>) {
    for piece in &selector.0.0 {
        let message = match piece {
            Piece::Tenant if !facts.tenant => "`{tenant}` needs a source of the tenant, and there is none",
            Piece::User | Piece::Role | Piece::Query(_) | Piece::Header(_) => {
                "a model has holes for `{tenant}` and for fields of the event only"
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

/// The patterns of a model and of all that it leads to. Circles are fine: each model counts once.
fn purges(name: &str, forms: &HashMap<&str, &Form>) -> Vec<TagSelector> {
    let mut seen = HashSet::new();
    let mut ahead = vec![name];
    let mut found: Vec<TagSelector> = Vec::new();
    while let Some(name) = ahead.pop() {
        let Some(form) = forms.get(name).filter(|_| seen.insert(name)) else { continue };
        for template in own(form) {
            let selector = TagSelector::Pattern(template.0.clone());
            if !found.contains(&selector) {
                found.push(selector);
            }
        }
        ahead.extend(related(form).iter().rev().map(|name| name.0.as_str()));
    }
    found
}
