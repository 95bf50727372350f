//! `larder keys`: asks the admin listener of a running Larder what is stored.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::Failure;
use super::ask_admin::Look;

/// What to show, and where Larder runs. All conditions must hold.
#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    look: Look,
    /// What has exactly this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// What has a tag that this pattern covers.
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
    /// What belongs to this tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The responses of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// The responses in this store.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// One whole URL, with all its variants.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// One response, by its name.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A glob over the key as it is shown: `*tenant:acme*/reports/*`.
    #[arg(long = "match", value_name = "GLOB")]
    matching: Option<String>,
    /// How many are shown at most. All are counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
}

/// Prints the keys, and how many there are.
pub(super) fn keys(args: KeysArgs) -> Result<(), Failure> {
    let mut target = format!("/keys?limit={}", args.limit);
    let given = [
        ("tag", &args.tag),
        ("pattern", &args.pattern),
        ("tenant", &args.tenant),
        ("route", &args.route),
        ("store", &args.store),
        ("url", &args.url),
        ("key", &args.key),
        ("match", &args.matching),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            let _ = write!(target, "&{name}={}", encoded(value));
        }
    }
    args.look.at(&target, table)
}

/// A value as a query carries it.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            // Writing to a String cannot fail.
            byte => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

fn table(answer: &Value) -> String {
    let keys = answer["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for key in keys {
        let word = |name: &str| key[name].as_str().unwrap_or_default();
        let number = |name: &str| key[name].as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
        let tags: Vec<&str> =
            key["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}  {}  age {} s, {} s left, {}, {} bytes\n  {}\n  tags: {}",
            word("name"),
            number("status"),
            number("age"),
            number("remaining"),
            word("state"),
            number("size"),
            word("key"),
            if tags.is_empty() { "none".to_owned() } else { tags.join(", ") },
        );
    }
    let count = answer["count"].as_u64().unwrap_or_default();
    let _ = writeln!(text, "{count} stored, {} shown", keys.len());
    text
}
