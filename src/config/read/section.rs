//! How a section of the file is declared: each key once, with its type, whether it must be there, and a sentence.
//! The reader, the JSON Schema and the tables of `docs/configuration.md` all come from the declaration.
//!
//! Reading goes on after an error: a value that was refused is [`Slot::Bad`], so that nothing complains about it again.

use std::ops::Deref;

use super::super::tree::{Key, Kind, Node, Plain, Pos, plain};
use super::error::Errors;
use super::suggest;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) pos: Pos,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The value of a key.
#[derive(Debug, Clone)]
pub(crate) enum Slot<T> {
    /// Not written, and no default.
    Absent,
    /// Written and refused; already reported.
    Bad,
    /// Written, or the default.
    Given(At<T>),
}

impl<T> Slot<T> {
    pub(crate) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            _ => None,
        }
    }

    /// The value, where there is a good one.
    pub(crate) fn get(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Something that can be read from a node.
pub(crate) trait FromNode: Sized {
    /// Reads a node. `None`: it was refused, and `errors` says why.
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self>;

    /// What the nodes look like that are accepted.
    fn shape() -> Shape;
}

/// What a value looks like, for the schema and the reference.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// A text; the word for it, and a regular expression where there is one.
    Text { word: &'static str, pattern: Option<&'static str> },
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Whole { min: u64, max: u64 },
    /// A number from 0 to 1.
    Fraction,
    /// A text, a number, `true` or `false`.
    Scalar,
    /// Exactly this: `0` or `false`.
    Only(serde_json::Value),
    /// One of these words.
    Words(Vec<&'static str>),
    /// A list with at least so many entries.
    List(Box<Shape>, usize),
    /// Names, each with a value; and the regular expression of the names.
    Map(Box<Shape>, &'static str),
    /// A section.
    Section(fn() -> Section),
    /// One of these.
    Either(Vec<Shape>),
}

/// A declared section.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// Where it stands, as the reference names it: `origins.NAME`.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) doc: String,
    /// Its keys.
    pub(crate) keys: Vec<KeyDoc>,
    /// Groups of keys of which exactly one is given.
    pub(crate) one_of: &'static [&'static [&'static str]],
}

/// A declared key.
#[derive(Debug, Clone)]
pub(crate) struct KeyDoc {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    pub(crate) shape: Shape,
    pub(crate) doc: String,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It must.
    Required,
    /// It need not; the words say what holds without it.
    Optional(&'static str),
    /// It need not; without it this text is read.
    Default(&'static str),
}

/// The keys of a section that is being read.
pub(crate) struct Keys<'a> {
    entries: &'a [(Key, Node)],
    pos: Pos,
    title: &'static str,
}

impl<'a> Keys<'a> {
    /// Opens a mapping: refuses unknown keys and checks the groups of which exactly one is given.
    pub(crate) fn open(
        node: &'a Node,
        title: &'static str,
        known: &[&str],
        one_of: &[&[&str]],
        errors: &mut Errors,
    ) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            mismatch(node, &format!("a mapping ({title})"), "write `key: value` pairs", errors);
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let message = format!("unknown key `{}` in {title}", key.name);
            errors.add(key.pos, message, suggest::help(&key.name, "its keys are", known));
        }
        for group in one_of {
            exactly_one(node.pos, entries, title, group, errors);
        }
        Some(Self { entries, pos: node.pos, title })
    }

    /// Reads one key.
    pub(crate) fn slot<T: FromNode>(&self, name: &'static str, need: Need, errors: &mut Errors) -> Slot<T> {
        let written = self.entries.iter().find(|(key, _)| key.name == name);
        match (written, need) {
            (Some((key, node)), _) if node.kind == Kind::Null => {
                let help = "give it a value, or remove the line";
                errors.add(key.pos, format!("`{name}` has no value"), help);
                Slot::Bad
            }
            (Some((_, node)), _) => read(node, errors),
            (None, Need::Required) => {
                let message = format!("`{name}` is missing in {}", self.title);
                errors.add(self.pos, message, format!("add `{name}: …`"));
                Slot::Bad
            }
            (None, Need::Optional(_)) => Slot::Absent,
            (None, Need::Default(text)) => read(&default_node(text, self.pos), errors),
        }
    }
}

fn read<T: FromNode>(node: &Node, errors: &mut Errors) -> Slot<T> {
    match T::from_node(node, errors) {
        Some(value) => Slot::Given(At { value, pos: node.pos }),
        None => Slot::Bad,
    }
}

/// A default as if it were written in the file: `30s`, `[GET, PUT]`.
fn default_node(text: &str, pos: Pos) -> Node {
    let scalar = |text: &str| {
        let kind = Kind::Scalar { text: text.trim().to_owned(), quoted: false };
        Node { pos, end: pos, kind }
    };
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(items) => {
            let items = items.split(',').filter(|item| !item.trim().is_empty()).map(scalar).collect();
            Node { pos, end: pos, kind: Kind::List(items) }
        }
        None => scalar(text),
    }
}

fn exactly_one(pos: Pos, entries: &[(Key, Node)], title: &str, group: &[&str], errors: &mut Errors) {
    let given: Vec<&Key> =
        entries.iter().map(|(key, _)| key).filter(|key| group.contains(&key.name.as_str())).collect();
    let words = suggest::listing(group);
    match given.as_slice() {
        [_] => {}
        [] => errors.add(pos, format!("{title} needs one of {words}"), "add one of them"),
        [first, second, ..] => {
            let message = format!("`{}` and `{}` exclude each other in {title}", first.name, second.name);
            errors.add(second.pos, message, format!("keep exactly one of {words}"));
        }
    }
}

/// Reports a value of the wrong type.
pub(crate) fn mismatch(node: &Node, expected: &str, help: &str, errors: &mut Errors) {
    let found = match &node.kind {
        Kind::Bad => return,
        Kind::Null => "nothing".to_owned(),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a mapping".to_owned(),
        Kind::Scalar { quoted: true, .. } => "a text".to_owned(),
        Kind::Scalar { text, .. } => match plain(text) {
            Plain::Bool(value) => format!("`{value}`"),
            Plain::Number(_) => "a number".to_owned(),
            Plain::Text => "a text".to_owned(),
        },
    };
    errors.add(node.pos, format!("expected {expected}, found {found}"), help);
}

/// The need of a key, as [`section`] writes it.
macro_rules! need {
    (required) => {
        $crate::config::read::section::Need::Required
    };
    (optional) => {
        $crate::config::read::section::Need::Optional("")
    };
    (optional $text:literal) => {
        $crate::config::read::section::Need::Optional($text)
    };
    (default $text:literal) => {
        $crate::config::read::section::Need::Default($text)
    };
}

/// Declares a section: a struct of [`Slot`]s, how it is read, and what it looks like.
///
/// ```text
/// section! {
///     /// What it is for.
///     Name "origins.NAME", one_of [a, b];
///     /// What the key means.
///     key: Type = required | optional | optional "what holds without it" | default "30s";
/// }
/// ```
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident $title:literal $(, one_of [$($one:ident),+])*;
        $( $(#[doc = $key_doc:literal])+ $key:ident: $type:ty = $need:ident $($text:literal)?; )+
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            /// Where the section begins.
            #[allow(dead_code)] // not every section is complained about as a whole
            pub(crate) pos: $crate::config::tree::Pos,
            $( $(#[doc = $key_doc])+ pub(crate) $key: $crate::config::read::section::Slot<$type>, )+
        }

        impl $name {
            const ONE_OF: &'static [&'static [&'static str]] = &[$(&[$(stringify!($one)),+]),*];

            /// The declaration.
            pub(crate) fn section() -> $crate::config::read::section::Section {
                use $crate::config::read::section::{FromNode, KeyDoc, Section, bare};
                Section {
                    title: $title,
                    doc: [$($doc),+].map(str::trim).join(" "),
                    keys: vec![$( KeyDoc {
                        name: bare(stringify!($key)),
                        need: $crate::config::read::section::need!($need $($text)?),
                        shape: <$type as FromNode>::shape(),
                        doc: [$($key_doc),+].map(str::trim).join(" "),
                    } ),+],
                    one_of: Self::ONE_OF,
                }
            }
        }

        impl $crate::config::read::section::FromNode for $name {
            fn from_node(
                node: &$crate::config::tree::Node,
                errors: &mut $crate::config::read::error::Errors,
            ) -> Option<Self> {
                use $crate::config::read::section::{Keys, bare};
                let known = [$(bare(stringify!($key))),+];
                let keys = Keys::open(node, $title, &known, Self::ONE_OF, errors)?;
                Some(Self {
                    pos: node.pos,
                    $( $key: keys.slot(bare(stringify!($key)), $crate::config::read::section::need!($need $($text)?), errors), )+
                })
            }

            fn shape() -> $crate::config::read::section::Shape {
                $crate::config::read::section::Shape::Section(Self::section)
            }
        }
    };
}

/// A key without the mark that Rust's own words need (`override`).
pub(crate) fn bare(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

pub(crate) use {need, section};
