//! Values with a unit: durations and sizes. A bare number is an error, except `0` where it has a meaning.

use std::time::Duration;

use serde_json::json;

use super::super::tree::{Kind, Node, Plain, plain};
use super::error::Errors;
use super::section::{FromNode, Shape, mismatch};
use super::values::{Wrong, text_of, wrong};

/// The regular expression of durations.
const DURATION: &str = "^[0-9]+(ms|s|m|h|d)$";
/// Longer than this, nothing is meant: ten years.
const MAX_DURATION: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads `90s`, `15m`, `2h`, `500ms`, `1d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    const HELP: &str =
        "write a whole number and one unit, `ms`, `s`, `m`, `h` or `d`: `500ms`, `90s`, `15m`, `2h`, `1d`";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return wrong(format!("`{text}` is not a duration"), HELP),
    };
    if number.is_empty() {
        return wrong(format!("`{text}` is not a duration"), HELP);
    }
    let duration = number.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).map(Duration::from_millis);
    match duration {
        Some(duration) if duration <= MAX_DURATION => Ok(duration),
        _ => wrong(format!("`{text}` is longer than ten years"), "write a shorter duration, at most `3650d`"),
    }
}

fn duration_of(node: &Node, errors: &mut Errors) -> Option<Duration> {
    if let Kind::Scalar { text, quoted: false } = &node.kind
        && let Plain::Number(_) = plain(text)
    {
        let help = format!("say in which unit: `{text}s`, `{text}m`, `{text}h`");
        mismatch(node, "a duration such as `30s`", &help, errors);
        return None;
    }
    let text = text_of(node, "a duration such as `30s`", "write for example `30s`", errors)?;
    match parse_duration(text) {
        Ok(duration) => Some(duration),
        Err(wrong) => {
            errors.add(node.pos, wrong.message, wrong.help);
            None
        }
    }
}

fn duration_shape() -> Shape {
    Shape::Text { word: "a duration", pattern: Some(DURATION) }
}

fn is_zero(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { text, quoted: false } if text == "0")
}

/// A duration that is not zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait(pub(crate) Duration);

impl FromNode for Wait {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        let duration = if is_zero(node) { Duration::ZERO } else { duration_of(node, errors)? };
        if duration.is_zero() {
            errors.add(node.pos, "this duration must not be zero", "write for example `30s`");
            return None;
        }
        Some(Self(duration))
    }

    fn shape() -> Shape {
        duration_shape()
    }
}

/// A duration, or `0` for none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window(pub(crate) Duration);

impl FromNode for Window {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if is_zero(node) {
            return Some(Self(Duration::ZERO));
        }
        duration_of(node, errors).map(Self)
    }

    fn shape() -> Shape {
        Shape::Either(vec![duration_shape(), Shape::Only(json!(0))])
    }
}

/// A lifetime; `None` is `0`: until purged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime(pub(crate) Option<Duration>);

impl FromNode for Lifetime {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if is_zero(node) {
            return Some(Self(None));
        }
        let duration = duration_of(node, errors)?;
        if duration.is_zero() {
            let help =
                "write `0` for \"until purged\", or leave the `tier` of the route out to store nothing";
            errors.add(node.pos, "a lifetime of no time at all", help);
            return None;
        }
        Some(Self(Some(duration)))
    }

    fn shape() -> Shape {
        Window::shape()
    }
}

/// A number of bytes that is not zero: `512B`, `10KiB`, `64MiB`, `1GiB`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) u64);

/// Reads a size.
pub(crate) fn parse_size(text: &str) -> Result<u64, Wrong> {
    const HELP: &str =
        "write a whole number and one unit, `B`, `KiB`, `MiB` or `GiB`: `512B`, `10KiB`, `64MiB`, `1GiB`";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "K" | "KB" | "kB" | "kb" | "k" | "M" | "MB" | "mb" | "G" | "GB" | "gb" => {
            let right = format!("{number}{}iB", unit[..1].to_ascii_uppercase());
            return wrong(
                format!("`{text}` is not a size"),
                format!("units are powers of 1024: write `{right}`"),
            );
        }
        _ => return wrong(format!("`{text}` is not a size"), HELP),
    };
    if number.is_empty() {
        return wrong(format!("`{text}` is not a size"), HELP);
    }
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)) {
        Some(0) => wrong("a size of nothing", "write for example `64MiB`"),
        Some(bytes) if bytes <= 1 << 50 => Ok(bytes),
        _ => wrong(format!("`{text}` is larger than any memory"), "write a smaller size"),
    }
}

impl FromNode for Size {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Kind::Scalar { text, quoted: false } = &node.kind
            && let Plain::Number(_) = plain(text)
        {
            let help = format!("say in which unit: `{text}B`, `{text}KiB`, `{text}MiB`");
            mismatch(node, "a size such as `64MiB`", &help, errors);
            return None;
        }
        let text = text_of(node, "a size such as `64MiB`", "write for example `64MiB`", errors)?;
        match parse_size(text) {
            Ok(bytes) => Some(Self(bytes)),
            Err(wrong) => {
                errors.add(node.pos, wrong.message, wrong.help);
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Text { word: "a size", pattern: Some("^[0-9]+(B|KiB|MiB|GiB)$") }
    }
}
