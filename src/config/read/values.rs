//! Values that know nothing of HTTP: texts, names, numbers.
//!
//! Everything is strict: a text that looks like a number has quotes.

use super::super::tree::{Kind, Node, Plain, plain};
use super::error::Errors;
use super::section::{FromNode, Shape, mismatch};
use super::suggest;

/// Why a text was refused, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: String,
}

pub(crate) fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { message: message.into(), help: help.into() })
}

/// The characters of a text; numbers and booleans are none unless they are quoted.
pub(crate) fn text_of<'a>(
    node: &'a Node,
    expected: &str,
    help: &str,
    errors: &mut Errors,
) -> Option<&'a str> {
    match &node.kind {
        Kind::Scalar { text, quoted } if *quoted || plain(text) == Plain::Text => {
            let text = text.strip_suffix('\n').unwrap_or(text);
            if !text.is_empty() {
                return Some(text);
            }
            errors.add(node.pos, format!("expected {expected}, found an empty text"), help);
        }
        Kind::Scalar { text, .. } => {
            mismatch(node, expected, &format!("{help}; as a text it needs quotes: `\"{text}\"`"), errors);
        }
        Kind::Map(_) => {
            let quotes = format!("{help}; a text that begins with `{{` needs quotes");
            mismatch(node, expected, &quotes, errors);
        }
        _ => mismatch(node, expected, help, errors),
    }
    None
}

/// Declares a value that is read from a text: its type, what it is called, an example, its regular expression
/// (only a hint for editors, never narrower than the reader), and its parser.
macro_rules! text_value {
    ($(#[$meta:meta])* $name:ident($inner:ty), $word:literal, $example:literal, $pattern:expr, $parse:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl $crate::config::read::section::FromNode for $name {
            fn from_node(
                node: &$crate::config::tree::Node,
                errors: &mut $crate::config::read::error::Errors,
            ) -> Option<Self> {
                let expected = concat!($word, " such as `", $example, "`");
                let help = concat!("write for example `", $example, "`");
                let text = $crate::config::read::values::text_of(node, expected, help, errors)?;
                let parse: fn(&str) -> Result<$inner, $crate::config::read::values::Wrong> = $parse;
                match parse(text) {
                    Ok(value) => Some(Self(value)),
                    Err(wrong) => {
                        errors.add(node.pos, wrong.message, wrong.help);
                        None
                    }
                }
            }

            fn shape() -> $crate::config::read::section::Shape {
                $crate::config::read::section::Shape::Text { word: $word, pattern: $pattern }
            }
        }
    };
}
pub(crate) use text_value;

/// Declares how the words of an enum are written.
macro_rules! words {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl $crate::config::read::section::FromNode for $type {
            fn from_node(
                node: &$crate::config::tree::Node,
                errors: &mut $crate::config::read::error::Errors,
            ) -> Option<Self> {
                let words = [$($word),+];
                let text = $crate::config::read::values::word_of(node, &words, errors)?;
                match text { $($word => Some($value),)+ _ => None }
            }

            fn shape() -> $crate::config::read::section::Shape {
                $crate::config::read::section::Shape::Words(vec![$($word),+])
            }
        }
    };
}
pub(crate) use words;

/// One of these words.
pub(crate) fn word_of<'a>(node: &'a Node, words: &[&str], errors: &mut Errors) -> Option<&'a str> {
    let expected = format!("one of {}", suggest::listing(words));
    let text = text_of(node, &expected, "write one of these words", errors)?;
    if words.contains(&text) {
        return Some(text);
    }
    errors.add(
        node.pos,
        format!("`{text}` is not one of {}", suggest::listing(words)),
        match suggest::nearest(text, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write one of these words".into(),
        },
    );
    None
}

/// The regular expression of names.
pub(crate) const NAME: &str = "^[A-Za-z0-9_.-]+$";

pub(crate) fn parse_name(text: &str) -> Result<String, Wrong> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
        return Ok(text.to_owned());
    }
    wrong(format!("`{text}` is not a name"), "a name is made of letters, digits, `_`, `.` and `-`")
}

fn parse_text(text: &str) -> Result<String, Wrong> {
    match text.chars().find(|c| c.is_control()) {
        Some(_) => wrong("a control character in the text", "remove it"),
        None => Ok(text.to_owned()),
    }
}

text_value! {
    /// A name: letters, digits, `_`, `.` and `-`.
    Name(String), "a name", "shop", Some(NAME), parse_name
}
text_value! {
    /// Any text that is not empty.
    Text(String), "a text", "text", None, parse_text
}
text_value! {
    /// A path in the file system, relative to the folder of the configuration.
    FileName(String), "a file", "tls/key.pem", None, parse_text
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> FromNode for Whole<MIN, MAX> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        let number = match &node.kind {
            Kind::Scalar { text, quoted: false } if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => {
                mismatch(node, "a whole number", "write it in digits, without quotes or unit", errors);
                return None;
            }
        };
        match number {
            Some(number) if (MIN..=MAX).contains(&number) => Some(Self(number)),
            _ => {
                let help = format!("write a number from {MIN} to {MAX}");
                errors.add(node.pos, "the number is out of range", help);
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Whole { min: MIN, max: MAX }
    }
}

/// A share of a whole, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fraction(pub(crate) f64);

impl FromNode for Fraction {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { text, quoted: false } = &node.kind
            && let Plain::Number(number) = plain(text)
        {
            if (0.0..=1.0).contains(&number) {
                return Some(Self(number));
            }
            errors.add(
                node.pos,
                "the number is out of range",
                "write a number from 0 to 1: `0.1` for every tenth",
            );
            return None;
        }
        mismatch(node, "a number from 0 to 1", "write for example `0.1`", errors);
        None
    }

    fn shape() -> Shape {
        Shape::Fraction
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { text, quoted: false } = &node.kind
            && let Plain::Bool(value) = plain(text)
        {
            return Some(value);
        }
        mismatch(node, "`true` or `false`", "write `true` or `false`, without quotes", errors);
        None
    }

    fn shape() -> Shape {
        Shape::Bool
    }
}

/// A text, number or boolean, taken as the characters that were written.
#[derive(Debug, Clone)]
pub(crate) struct Scalar(pub(crate) String);

impl FromNode for Scalar {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { text, .. } = &node.kind {
            return Some(Self(text.clone()));
        }
        mismatch(node, "a value", "write a text, a number, `true` or `false`", errors);
        None
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}
