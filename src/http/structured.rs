//! Structured fields (RFC 9651): lists of strings, as RFC 9875 uses them, and dictionaries.

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, List, ListEntry, Parser};

/// The strings of a list field, all its lines together. Parameters mean nothing here and are left out. `None`: the field
/// is not a list of strings, and all of it is to be ignored (RFC 9651 section 4.2).
pub fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let list: List = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    let string = |entry| match entry {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::String(text) => Some(text.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    list.into_iter().map(string).collect()
}

/// The value of a dictionary's key, as far as it is of use here. Parameters are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A boolean.
    Boolean(bool),
    /// An inner list of strings only.
    Strings(Vec<String>),
    /// Anything else.
    Other,
}

/// The keys of a dictionary field, all its lines together, each once. `None`: the field is no dictionary (RFC 9651 section
/// 4.2).
pub fn dictionary(lines: &[&[u8]]) -> Option<Vec<(String, Value)>> {
    let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    let value = |entry| match entry {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::Boolean(value) => Value::Boolean(value),
            _ => Value::Other,
        },
        ListEntry::InnerList(list) => {
            let string = |item: sfv::Item| match item.bare_item {
                BareItem::String(text) => Some(text.as_str().to_owned()),
                _ => None,
            };
            list.items.into_iter().map(string).collect::<Option<_>>().map_or(Value::Other, Value::Strings)
        }
    };
    Some(dictionary.into_iter().map(|(key, entry)| (key.as_str().to_owned(), value(entry))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: HeaderName = HeaderName::from_static("cache-groups");

    fn parsed(lines: &[&[u8]]) -> Option<Vec<String>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(NAME, HeaderValue::from_bytes(line).unwrap());
        }
        strings(&headers, &NAME)
    }

    #[test]
    fn rfc9651_a_list_of_strings_over_several_lines_with_parameters() {
        let got = parsed(&[br#""a", "b, c"; x=1"#, br#""d\"e""#]);
        assert_eq!(got.unwrap(), ["a", "b, c", "d\"e"]);
    }

    #[test]
    fn rfc9651_4_2_anything_else_is_ignored_whole() {
        for wrong in [r#""a", token"#, r#""a","#, "a", r#"("a" "b")"#, r#""a" "b""#, r#""open"#, "1", "\"ä\""]
        {
            assert_eq!(parsed(&[wrong.as_bytes()]), None, "{wrong}");
        }
        assert_eq!(parsed(&[br#""a""#, b"broken"]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(value in proptest::collection::vec(0x20_u8..=0xff, 0..64)) {
            if HeaderValue::from_bytes(&value).is_ok() {
                let _ = parsed(&[&value]);
            }
        }
    }
}
