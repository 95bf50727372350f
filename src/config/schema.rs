//! The words of the file, described: as a JSON Schema for editors, and as the tables of `docs/configuration.md`.
//!
//! Both come from the declarations that the reader itself uses, so neither can say anything else. The schema is
//! never stricter than the reader: whatever reads, validates.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::read::section::{FromNode, KeyDoc, Need, Section, Shape};
use super::read::words::RawConfig;

/// The JSON Schema (draft 2020-12) of the file.
pub fn json_schema() -> Value {
    let sections = sections();
    let definitions: Map<String, Value> =
        sections.iter().map(|section| (section.title.to_owned(), object(section))).collect();
    let top = sections.first().map(|section| section.title).unwrap_or_default();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Larder configuration",
        "$ref": reference(top),
        "$defs": definitions,
    })
}

/// The tables of the reference: the title of each section, and its table in Markdown.
pub fn reference_tables() -> Vec<(&'static str, String)> {
    sections().iter().map(|section| (section.title, table(section))).collect()
}

/// All sections, each once, in the order in which the file mentions them.
fn sections() -> Vec<Section> {
    let mut found = Vec::new();
    collect(&RawConfig::shape(), &mut HashSet::new(), &mut found);
    found
}

fn collect(shape: &Shape, seen: &mut HashSet<&'static str>, found: &mut Vec<Section>) {
    match shape {
        Shape::Section(section) => {
            let section = section();
            if seen.insert(section.title) {
                found.push(section.clone());
                section.keys.iter().for_each(|key| collect(&key.shape, seen, found));
            }
        }
        Shape::List(inner, _) | Shape::Map(inner, _) => collect(inner, seen, found),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| collect(shape, seen, found)),
        _ => {}
    }
}

fn reference(title: &str) -> String {
    format!("#/$defs/{}", title.replace(' ', "%20"))
}

fn object(section: &Section) -> Value {
    let properties: Map<String, Value> =
        section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        section.keys.iter().filter(|key| key.need == Need::Required).map(|key| key.name).collect();
    let one_of = |group: &&[&str]| {
        let choices: Vec<Value> = group.iter().map(|key| json!({ "required": [key] })).collect();
        json!({ "oneOf": choices })
    };
    let mut object = json!({
        "description": section.doc,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if !section.one_of.is_empty() {
        object["allOf"] = section.one_of.iter().map(one_of).collect();
    }
    object
}

fn property(key: &KeyDoc) -> Value {
    let mut schema = schema(&key.shape);
    schema["description"] = json!(key.doc);
    if let Need::Default(text) = key.need {
        schema["default"] = json!(text);
    }
    schema
}

fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Text { pattern: Some(pattern), .. } => json!({ "type": "string", "pattern": pattern }),
        Shape::Text { pattern: None, .. } => json!({ "type": "string", "minLength": 1 }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Fraction => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Only(value) => json!({ "const": value }),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::List(inner, least) => json!({ "type": "array", "items": schema(inner), "minItems": least }),
        Shape::Map(inner, names) => {
            json!({ "type": "object", "additionalProperties": schema(inner), "propertyNames": { "pattern": names } })
        }
        Shape::Section(section) => json!({ "$ref": reference(section().title) }),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(schema).collect::<Vec<_>>() }),
    }
}

fn table(section: &Section) -> String {
    let mut table = format!("{}\n\n| key | value | without it | meaning |\n|---|---|---|---|\n", section.doc);
    for key in &section.keys {
        let without = match key.need {
            Need::Required => "**required**".to_owned(),
            Need::Optional(words) => words.to_owned(),
            Need::Default(text) => format!("`{text}`"),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&word(&key.shape)),
            cell(&without),
            cell(&key.doc)
        );
    }
    table
}

/// What a value is called in the reference.
fn word(shape: &Shape) -> String {
    match shape {
        Shape::Text { word, .. } => (*word).to_owned(),
        Shape::Bool => "`true`, `false`".to_owned(),
        Shape::Whole { .. } => "a whole number".to_owned(),
        Shape::Fraction => "a number from 0 to 1".to_owned(),
        Shape::Scalar => "a value".to_owned(),
        Shape::Only(value) => format!("`{value}`"),
        Shape::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::List(inner, _) => format!("a list of: {}", word(inner)),
        Shape::Map(inner, _) => format!("by name: {}", word(inner)),
        Shape::Section(section) => {
            let title = section().title;
            format!("[`{title}`](#{})", anchor(title))
        }
        Shape::Either(shapes) => match shapes.as_slice() {
            [one, Shape::List(inner, _)] if word(one) == word(inner) => format!("{}, or a list", word(one)),
            shapes => shapes.iter().map(word).collect::<Vec<_>>().join(", or "),
        },
    }
}

/// The anchor of a section's heading.
pub fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
