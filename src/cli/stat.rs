//! `larder stat`: asks the admin listener of a running Larder how it is.

use std::fmt::Write as _;

use serde_json::Value;

use super::Failure;
use super::ask_admin::Look;

/// Prints the figures.
pub(super) fn stat(look: &Look) -> Result<(), Failure> {
    look.at("/stat", table)
}

/// A line for each thing, with its figures as `name=value`.
fn table(answer: &Value) -> String {
    let mut text = format!("status: {}\n", word(&answer["status"]));
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for what in list(&answer["degraded"]) {
        let _ = writeln!(text, "  {}", word(&what));
    }
    for store in list(&answer["stores"]) {
        let _ = writeln!(text, "store {}: {}", word(&store["name"]), figures(&store));
        if store["redis"].is_object() {
            let _ = writeln!(text, "  redis: {}", figures(&store["redis"]));
        }
    }
    let _ = writeln!(text, "purge log: {}", figures(&answer["purge_log"]));
    for node in list(&answer["purge_log"]["nodes"]) {
        let _ = writeln!(text, "  {}", figures(&node));
    }
    let _ = writeln!(text, "fence: {}", figures(&answer["fence"]));
    let _ = writeln!(text, "fills in flight: {}", word(&answer["fills_in_flight"]));
    text
}

/// The plain members of an object, but its name.
fn figures(object: &Value) -> String {
    let members = object.as_object().into_iter().flatten();
    let plain = members.filter(|(name, value)| {
        *name != "name" && !(value.is_object() || value.is_array() || value.is_null())
    });
    plain.map(|(name, value)| format!("{name}={}", word(value))).collect::<Vec<_>>().join(" ")
}

/// A text without its quotes; anything else as JSON writes it.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
