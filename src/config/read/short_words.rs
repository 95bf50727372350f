//! Forms that several sections share: a value short or written out, `false` for off, and where a secret is found.

use serde_json::json;

use super::super::tree::{Kind, Node, Plain, plain};
use super::error::Errors;
use super::section::{FromNode, Shape, mismatch, section};
use super::values::*;

/// A value in its short form (a scalar), or written out.
#[derive(Debug, Clone)]
pub(crate) enum ScalarOr<A, B> {
    /// The short form.
    Short(A),
    /// Written out.
    Long(B),
}

impl<A: FromNode, B: FromNode> FromNode for ScalarOr<A, B> {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.kind {
            Kind::Map(_) => B::from_node(node, errors).map(Self::Long),
            _ => A::from_node(node, errors).map(Self::Short),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![A::shape(), B::shape()])
    }
}

/// The word `false`, for what can be switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Off;

impl FromNode for Off {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { text, quoted: false } = &node.kind
            && plain(text) == Plain::Bool(false)
        {
            return Some(Self);
        }
        mismatch(
            node,
            "`false`",
            "`false` switches it off; otherwise say how, with `key: value` pairs",
            errors,
        );
        None
    }

    fn shape() -> Shape {
        Shape::Only(json!(false))
    }
}

/// Where a secret is found. Written into the file itself it is refused.
#[derive(Debug, Clone)]
pub(crate) struct SecretRef(pub(crate) RawSecret);

impl FromNode for SecretRef {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { .. } = node.kind {
            let help =
                "write `{ env: NAME }` or `{ file: PATH }`, and change the secret: it was in this file";
            errors.add(node.pos, "a secret must not stand in the configuration file", help);
            return None;
        }
        RawSecret::from_node(node, errors).map(Self)
    }

    fn shape() -> Shape {
        RawSecret::shape()
    }
}

section! {
    /// Where a secret is found. It has at least 16 bytes, except for a password of Redis; a line break at its end does not count.
    RawSecret "a secret", one_of [env, file];
    /// The environment variable that holds it.
    env: Text = optional;
    /// The file that holds it, relative to the folder of the configuration.
    file: FileName = optional;
}
