//! Lists and mappings of values, as the file writes them.

use super::super::tree::{Kind, Node, Pos};
use super::error::Errors;
use super::section::{At, FromNode, Shape, mismatch};
use super::values::{NAME, parse_name};

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct List<T>(pub(crate) Vec<At<T>>);

fn items<T: FromNode>(nodes: &[Node], errors: &mut Errors) -> Vec<At<T>> {
    let read = |node: &Node| Some(At { value: T::from_node(node, errors)?, pos: node.pos });
    nodes.iter().filter_map(read).collect()
}

impl<T: FromNode> FromNode for List<T> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.kind {
            Kind::List(nodes) => Some(Self(items(nodes, errors))),
            _ => {
                mismatch(node, "a list", "write `[one, two]`, or one entry per line after `- `", errors);
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()), 0)
    }
}

/// One value, or a list of at least one.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<At<T>>);

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.kind {
            Kind::List(nodes) if nodes.is_empty() => {
                errors.add(node.pos, "the list is empty", "name at least one, or remove the key");
                None
            }
            Kind::List(nodes) => Some(Self(items(nodes, errors))),
            _ => Some(Self(vec![At { value: T::from_node(node, errors)?, pos: node.pos }])),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![T::shape(), Shape::List(Box::new(T::shape()), 1)])
    }
}

/// A named value.
#[derive(Debug, Clone)]
pub(crate) struct Entry<T> {
    pub(crate) name: At<String>,
    /// `None`: it was refused.
    pub(crate) value: Option<T>,
}

/// Names, each with a value.
#[derive(Debug, Clone)]
pub(crate) struct Named<T>(pub(crate) Vec<Entry<T>>);

impl<T: FromNode> FromNode for Named<T> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            mismatch(node, "a mapping of names", "write `NAME: …`, one per line", errors);
            return None;
        };
        for (key, _) in entries {
            if let Err(wrong) = parse_name(&key.name) {
                errors.add(key.pos, wrong.message, wrong.help);
            }
        }
        Some(Self(entries.iter().map(|(key, node)| entry(&key.name, key.pos, node, errors)).collect()))
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()), NAME)
    }
}

fn entry<T: FromNode>(name: &str, pos: Pos, node: &Node, errors: &mut Errors) -> Entry<T> {
    let value = match node.kind {
        Kind::Null => {
            errors.add(pos, format!("`{name}` has no value"), "write `{}` where all defaults hold");
            None
        }
        _ => T::from_node(node, errors),
    };
    Entry { name: At { value: name.to_owned(), pos }, value }
}

/// Texts of any kind, each with a value.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<T>(pub(crate) Vec<Entry<T>>);

impl<T: FromNode> FromNode for Pairs<T> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            mismatch(node, "a mapping", "write `key: value` pairs", errors);
            return None;
        };
        Some(Self(entries.iter().map(|(key, node)| entry(&key.name, key.pos, node, errors)).collect()))
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()), "")
    }
}
