//! What an event changes: the templates of models and writes, with the event's fields in their holes.
//!
//! A hole that the event does not fill becomes `*`: a purge covers too much rather than too little. A value counts only
//! where every reader of the event sees the same text in it: a number with a fraction, an object or a list does not.

use std::borrow::Cow;

use serde_json::Value;

use crate::config::{Piece, TagSelector, Template};
use crate::http::cookies::Found;
use crate::http::query;
use crate::purge::Selector;
use crate::tag::{MAX_TAG_BYTES, Pattern};

/// The selectors of these templates, where `value` says what a hole stands for.
pub fn selectors<'a>(
    purges: &'a [TagSelector],
    value: impl Fn(&'a Piece) -> Option<String>,
) -> impl Iterator<Item = Selector> {
    purges
        .iter()
        .flat_map(move |purge| {
            let (text, whole) = filled(purge.template(), &value);
            let below = format!("{text}:*");
            match purge {
                TagSelector::Tag(_) if whole => [Some(Selector::Tag(text.into())), None],
                // A bare name covers what is below it; a star that came out of a hole must not take that away.
                TagSelector::Tag(_) | TagSelector::Pattern(_) => {
                    [Some(text.clone()), (text.contains('*') && !text.ends_with('*')).then_some(below)]
                        .map(|text| text.map(|text| Selector::Pattern(Pattern::new(&text))))
                }
            }
        })
        .flatten()
}

/// The text, and whether every hole was filled.
fn filled<'a>(template: &'a Template, value: &impl Fn(&'a Piece) -> Option<String>) -> (String, bool) {
    let mut whole = true;
    let mut text = String::new();
    for piece in &template.0 {
        let fill = match piece {
            Piece::Text(plain) => Cow::Borrowed(plain.as_str()),
            hole => match value(hole).filter(|value| !value.is_empty() && value.len() <= MAX_TAG_BYTES) {
                Some(value) => Cow::Owned(value),
                None => {
                    whole = false;
                    Cow::Borrowed("*")
                }
            },
        };
        text.push_str(&fill);
    }
    (text, whole)
}

/// A scalar as a text: a text, a whole number, `true` or `false`.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The fields of a body.
#[derive(Debug, Clone, PartialEq)]
pub enum BodyFields {
    /// A JSON document.
    Json(Value),
    /// A form: decoded names and values.
    Form(Vec<(String, String)>),
    /// Something else, or not whole.
    Unknown,
}

impl BodyFields {
    /// Reads a whole body. What is not JSON, nor said to be a form, has no fields.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Self {
        let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return std::str::from_utf8(body).ok().and_then(form).map_or(Self::Unknown, Self::Form);
        }
        serde_json::from_slice(body).map_or(Self::Unknown, Self::Json)
    }

    /// The scalar at a JSON pointer; in a form, the only value of the field of that name.
    pub fn at(&self, pointer: &str) -> Option<String> {
        match self {
            Self::Json(document) => scalar(document.pointer(pointer)?),
            Self::Form(fields) => {
                let name = pointer.strip_prefix('/')?.replace("~1", "/").replace("~0", "~");
                let mut named = fields.iter().filter(|(field, _)| *field == name);
                let (_, value) = named.next()?;
                named.next().is_none().then(|| value.clone())
            }
            Self::Unknown => None,
        }
    }
}

fn form(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |encoded| query::decode(encoded).map(Cow::into_owned);
    query::pairs(text).map(|pair| Some((decoded(pair.name)?, decoded(pair.value)?))).collect()
}

/// The value of a query parameter that is there once.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    match query::find(query?, name) {
        Found::Once(value) => query::decode(value).map(Cow::into_owned),
        Found::Absent | Found::Several => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn piece(name: &str) -> Piece {
        Piece::Path(name.into())
    }

    fn tag(pieces: Vec<Piece>) -> TagSelector {
        TagSelector::Tag(Template(pieces))
    }

    fn purged(purges: &[TagSelector], fields: &BodyFields) -> Vec<Selector> {
        let value = |hole: &Piece| match hole {
            Piece::Path(name) => fields.at(&format!("/{name}")),
            _ => None,
        };
        selectors(purges, value).collect()
    }

    #[test]
    fn a_hole_that_is_not_filled_widens_an_exact_tag_to_a_pattern() {
        let purges = [tag(vec![Piece::Text("branch:".into()), piece("id")])];
        let with = |text: &str| purged(&purges, &BodyFields::read(None, text.as_bytes()));
        assert_eq!(with(r#"{"id": 7}"#), [Selector::Tag("branch:7".into())]);
        assert_eq!(with(r#"{"id": "x*"}"#), [Selector::Tag("branch:x*".into())]);
        let long = format!(r#"{{"id": "{}"}}"#, "x".repeat(MAX_TAG_BYTES + 1));
        for wide in
            ["{}", r#"{"id": null}"#, r#"{"id": ""}"#, r#"{"id": [7]}"#, r#"{"id": 7.0}"#, "no", &long]
        {
            assert_eq!(with(wide), [Selector::Pattern(Pattern::new("branch:*"))], "{wide}");
        }
    }

    #[test]
    fn a_hole_that_is_not_filled_takes_nothing_away_of_what_lies_below() {
        let pieces = vec![Piece::Text("branch:".into()), piece("id"), Piece::Text(":stock".into())];
        let purges = [TagSelector::Pattern(Template(pieces))];
        for body in [r#"{"id": 7}"#, "{}", r#"{"id": "*"}"#] {
            let selectors = purged(&purges, &BodyFields::read(None, body.as_bytes()));
            let covers = |tag: &str| {
                selectors.iter().any(|s| matches!(s, Selector::Pattern(pattern) if pattern.covers(tag)))
            };
            assert!(covers("branch:7:stock") && covers("branch:7:stock:daily"), "{body}");
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_not_guessed() {
        assert_eq!(scalar(&json!(u64::MAX)), Some(u64::MAX.to_string()));
        let huge: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        assert_eq!(scalar(&huge), None);
    }

    #[test]
    fn a_form_is_read_by_the_names_of_its_fields_and_a_doubled_one_is_not() {
        let form = BodyFields::read(
            Some("application/x-www-form-urlencoded; charset=utf-8"),
            b"branch=A+%26+B&a%2Fb=1&twice=1&twice=2",
        );
        assert_eq!(form.at("/branch").as_deref(), Some("A & B"));
        assert_eq!(form.at("/a~1b").as_deref(), Some("1"));
        assert_eq!((form.at("/twice"), form.at("/none"), form.at("branch")), (None, None, None));
    }

    #[test]
    fn a_parameter_that_comes_twice_fills_nothing() {
        assert_eq!(parameter(Some("a=1&b=%32"), "b").as_deref(), Some("2"));
        assert_eq!((parameter(Some("a=1&a=2"), "a"), parameter(None, "a")), (None, None));
    }

    proptest! {
        #[test]
        fn no_body_and_no_pointer_makes_the_reader_panic(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            pointer in "(/[a-z0-9~]{0,4}){0,4}|.{0,8}",
            form in any::<bool>(),
        ) {
            let kind = form.then_some("application/x-www-form-urlencoded");
            BodyFields::read(kind, &body).at(&pointer);
        }

        #[test]
        fn what_a_json_body_holds_is_found_at_its_pointer(name in "[^/~]{1,8}", value in ".{0,12}") {
            let body = json!({ "outer": [0, { name.clone(): value.clone() }] }).to_string();
            let fields = BodyFields::read(Some("application/json"), body.as_bytes());
            prop_assert_eq!(fields.at(&format!("/outer/1/{name}")), Some(value));
        }

        #[test]
        fn a_purge_with_unknown_fields_covers_every_tag_that_the_template_could_make(
            before in "[a-z:]{0,6}", value in "[a-z0-9:]{1,8}", after in "[a-z:]{0,6}", known in any::<bool>(),
        ) {
            let template = Template(vec![Piece::Text(before.clone()), piece("x"), Piece::Text(after.clone())]);
            let fields = if known { BodyFields::Json(json!({ "x": value })) } else { BodyFields::Unknown };
            let tag = format!("{before}{value}{after}");
            for purge in [TagSelector::Tag(template.clone()), TagSelector::Pattern(template)] {
                let covers = match &purged(&[purge], &fields)[0] {
                    Selector::Tag(name) => **name == *tag,
                    Selector::Pattern(pattern) => pattern.covers(&tag),
                    _ => false,
                };
                prop_assert!(covers, "{}", tag);
            }
        }
    }
}
