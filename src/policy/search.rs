//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search-05): which parts of a query do not tell responses apart.
//!
//! Whatever is not understood is as if the field were absent: that costs hits only.

use http::{HeaderName, HeaderValue};

use crate::http::query;
use crate::http::structured::{self, Value};

/// The field.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// The longest field that is read, in bytes.
const MAX_BYTES: usize = 4 * 1024;

/// A rule that is not the usual one: a "URL search variance" (section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRule {
    /// Whether the order of parameters of different names tells queries apart.
    key_order: bool,
    names: Names,
}

/// The decoded names of parameters, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    /// All parameters tell queries apart but these.
    AllBut(Vec<String>),
    /// Only these do.
    Only(Vec<String>),
}

impl SearchRule {
    /// The rule of a response, from the lines of its field (section 5). `None`: none, or the usual one, or one that cannot be
    /// read.
    pub fn of<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
        if lines.is_empty() || lines.iter().map(|line| line.len()).sum::<usize>() > MAX_BYTES {
            return None;
        }
        let (mut order, mut params, mut except) = (None, None, None);
        for (key, value) in structured::dictionary(&lines)? {
            match key.as_str() {
                "key-order" => order = Some(value),
                "params" => params = Some(value),
                "except" => except = Some(value),
                // Later drafts may give it a meaning.
                _ => {}
            }
        }
        let key_order = match order {
            None => true,
            Some(Value::Boolean(ignored)) => !ignored,
            Some(_) => return None,
        };
        let names = match (params, except) {
            (Some(Value::Boolean(true)), None) => Names::Only(Vec::new()),
            (Some(Value::Boolean(true)), Some(Value::Strings(names))) => Names::Only(decoded(&names)),
            (None | Some(Value::Boolean(false)), None) => Names::AllBut(Vec::new()),
            (Some(Value::Strings(names)), None) => Names::AllBut(decoded(&names)),
            _ => return None,
        };
        let rule = Self { key_order, names };
        (rule != Self { key_order: true, names: Names::AllBut(Vec::new()) }).then_some(rule)
    }

    /// The query in a form that is the same for all queries that the rule does not tell apart, and for no others (section 6):
    /// parameters as an application reads them, the significant ones, sorted where their order does not count.
    pub fn fold(&self, query: Option<&str>) -> String {
        let mut pairs: Vec<_> = query::pairs(query.unwrap_or_default())
            .map(|pair| (query::decode_lossy(pair.name), query::decode_lossy(pair.value)))
            .filter(|(name, _)| self.counts(name))
            .collect();
        if !self.key_order {
            // Stable: values of one name keep their order.
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let mut folded = String::new();
        for (name, value) in &pairs {
            if !folded.is_empty() {
                folded.push('&');
            }
            escape(&mut folded, name);
            folded.push('=');
            escape(&mut folded, value);
        }
        folded
    }

    fn counts(&self, name: &str) -> bool {
        let listed = |names: &[String]| names.binary_search_by(|one| one.as_str().cmp(name)).is_ok();
        match &self.names {
            Names::AllBut(names) => !listed(names),
            Names::Only(names) => listed(names),
        }
    }

    /// The rule as a text, which is that of no other rule.
    pub fn text(&self) -> String {
        let (word, names) = match &self.names {
            Names::AllBut(names) => ("params", names),
            Names::Only(names) => ("except", names),
        };
        let mut text = format!("{}{word}", if self.key_order { "" } else { "key-order," });
        for name in names {
            text.push(' ');
            escape(&mut text, name);
        }
        text
    }

    /// What it takes in memory, in bytes.
    pub fn weight(&self) -> usize {
        let (Names::AllBut(names) | Names::Only(names)) = &self.names;
        32 + names.iter().map(|name| name.len() + 32).sum::<usize>()
    }
}

/// Names as they are compared (section 5.3).
fn decoded(names: &[String]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|name| query::decode_lossy(name).into_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Appends a decoded text so that it holds no separator.
fn escape(text: &mut String, decoded: &str) {
    for c in decoded.chars() {
        match c {
            '%' => text.push_str("%25"),
            '&' => text.push_str("%26"),
            '=' => text.push_str("%3D"),
            ' ' => text.push_str("%20"),
            _ => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(line: &str) -> Option<SearchRule> {
        SearchRule::of([HeaderValue::from_bytes(line.as_bytes()).unwrap()].iter())
    }

    fn same(line: &str, a: &str, b: &str) -> bool {
        let rule = rule(line).unwrap();
        let query = |url: &str| url.split_once('?').map(|(_, query)| query.to_owned());
        rule.fold(query(a).as_deref()) == rule.fold(query(b).as_deref())
    }

    #[test]
    fn nvs_5_1_what_is_not_understood_is_as_if_absent() {
        for line in [
            "unknown-key",
            "key-order=\"not a boolean\"",
            "params=\"not a boolean or inner list\"",
            "params=(not-a-string)",
            "params=(\"a\" 1)",
            "params=(\"a\"), except=(\"x\")",
            "params=(), except=()",
            "params=?0, except=(\"x\")",
            "params, except=(not-a-string)",
            "params, except=\"not an inner list\"",
            "params, except=?1",
            "except=(\"x\")",
            "except=()",
            "params, key-order=1",
            // The usual rule, in other words.
            "params=?0",
            "params=()",
            "key-order=?0",
            "",
            // No dictionary.
            "params, ",
            "params=(\"a\"",
            "PARAMS",
        ] {
            assert_eq!(rule(line), None, "{line}");
        }
        assert_eq!(SearchRule::of(std::iter::empty()), None);
        let long = format!("params=(\"{}\")", "x".repeat(MAX_BYTES));
        assert_eq!(rule(&long), None);
    }

    #[test]
    fn nvs_5_1_the_same_rule_in_other_words() {
        assert_eq!(rule("params=?1"), rule("params"));
        assert_eq!(rule("params, except=()"), rule("params"));
        assert_eq!(rule("key-order=?1;x=y"), rule("key-order, unknown=2"));
        assert_eq!(
            rule("params, key-order, except=(\"x\")"),
            rule("key-order, params, except=(\"x\" \"x\")")
        );
        let lines = ["params", "except=(\"x\")"].map(HeaderValue::from_static);
        assert_eq!(SearchRule::of(lines.iter()), rule("params, except=(\"x\")"));
        // The last of doubled keys counts (RFC 9651 section 4.2.2).
        assert_eq!(rule("params, params=(\"a\")"), rule("params=(\"a\")"));
    }

    #[test]
    fn nvs_6_key_order() {
        assert!(same("key-order", "/?a=1&b=2&a=3", "/?b=2&a=1&a=3"));
        assert!(!same("key-order", "/?a=1&a=3", "/?a=3&a=1"), "values of one name keep their order");
        assert!(!same("key-order", "/?a=1", "/?a=1&b="));
        assert!(!same("params=(\"x\")", "/?a=1&b=2", "/?b=2&a=1"));
    }

    #[test]
    fn nvs_6_params_and_except() {
        assert!(same("params", "/?a=1&b=2", "/"));
        assert!(same("params=(\"utm\" \"x y\")", "/?a=1&utm=2&x+y=3", "/?x%20y&a=1"));
        assert!(!same("params=(\"utm\")", "/?a=1&utm=2", "/?a=2&utm=2"));
        assert!(!same("params=(\"utm\")", "/?UTM=1", "/"), "names care for case");
        assert!(same("params, except=(\"id\")", "/?id=1&a=2", "/?b=3&id=1"));
        assert!(!same("params, except=(\"id\")", "/?id=1", "/?id=2"));
        assert!(!same("params, except=(\"id\")", "/?id=1", "/?id=1&id=1"));
        assert!(same("key-order, params, except=(\"a\" \"b\")", "/?a=1&x&b=2", "/?b=2&a=1"));
    }

    #[test]
    fn nvs_6_1_queries_are_compared_as_they_are_decoded() {
        for (a, b) in [
            ("/", "/?"),
            ("/?a=x", "/?%61=%78"),
            ("/?a=%C3%A9", "/?a=%c3%a9"),
            ("/?a=%f6", "/?a=%ef%bf%bd"),
            ("/?a=x&&&&", "/?a=x"),
            ("/?a=", "/?a"),
            ("/?a=%20", "/?a=+"),
            ("/?a=%20", "/?a=+&"),
        ] {
            assert!(same("key-order", a, b), "{a} {b}");
        }
        for (a, b) in
            [("/?a=%26b", "/?a=&b"), ("/?a%3Db=c", "/?a=b%3Dc"), ("/?a=%2B", "/?a=+"), ("/?=a", "/?a")]
        {
            assert!(!same("key-order", a, b), "{a} {b}");
        }
        let key = "params=(\"%C3%A9+%E6%B0%97\")";
        assert!(same(key, "/?%C3%A9%20\u{6c17}=3", "/?\u{e9}+%E6%B0%97=4"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(lines: Vec<Vec<u8>>, query in "\\PC{0,40}") {
            let values: Vec<_> = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
            let _ = SearchRule::of(values.iter());
            for line in ["key-order", "params", "params=(\"a\")", "params, except=(\"a\")"] {
                let _ = rule(line).unwrap().fold(Some(&query));
            }
        }

        /// Against the algorithm of section 6, word by word.
        #[test]
        fn queries_fold_to_the_same_exactly_where_they_are_equivalent(
            a in "[ab=&+%26]{0,12}",
            b in "[ab=&+%26]{0,12}",
            which in 0_usize..6,
        ) {
            let line = ["key-order", "params", "params=(\"a\")", "key-order, params=(\"b\")",
                "params, except=(\"a\")", "key-order, params, except=(\"a\" \"b\")"][which];
            let rule = rule(line).unwrap();
            let list = |query: &str| {
                let mut list: Vec<(String, String)> = query
                    .split('&')
                    .filter(|part| !part.is_empty())
                    .map(|part| part.split_once('=').unwrap_or((part, "")))
                    .map(|(n, v)| (query::decode_lossy(n).into_owned(), query::decode_lossy(v).into_owned()))
                    .filter(|(name, _)| match which {
                        0 => true,
                        1 => false,
                        2 => name != "a",
                        3 => name != "b",
                        4 => name == "a",
                        _ => name == "a" || name == "b",
                    })
                    .collect();
                if line.starts_with("key-order") {
                    list.sort_by(|x, y| x.0.cmp(&y.0));
                }
                list
            };
            prop_assert_eq!(rule.fold(Some(&a)) == rule.fold(Some(&b)), list(&a) == list(&b));
        }
    }
}
