//! `larder purge`: asks the admin listener of a running Larder to purge.

use std::path::PathBuf;

use clap::Args;
use http::Method;

use super::Failure;
use super::ask_admin::{Ask, ask};

/// What to purge, and where Larder runs.
#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The configuration file of the running Larder: it names the admin listener and the token.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Everything: of all, or with --tenant of that tenant.
    #[arg(long)]
    everything: bool,
    /// Of this tenant only (and, unless everything of it is meant, the public entries). Alone: everything of the tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// What has exactly this tag; as often as needed, like all selectors.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// What has a tag that this pattern covers: `inventory:*`, or `dashboard` for itself and everything below it.
    #[arg(long = "pattern", value_name = "PATTERN")]
    patterns: Vec<String>,
    /// The responses of this route.
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// The responses in this store.
    #[arg(long = "store", value_name = "STORE")]
    stores: Vec<String>,
    /// One response, by the name that `larder keys` shows.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// They become stale instead of going.
    #[arg(long)]
    soft: bool,
    /// Only says what would be covered.
    #[arg(long)]
    dry_run: bool,
    /// The token of `admin.tokens` to use, by its name.
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
    /// Whole URLs as clients ask for them, such as http://shop.example/api/items.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
}

/// Purges, and prints the receipt.
pub(super) fn purge(args: PurgeArgs) -> Result<(), Failure> {
    let mut body = serde_json::Map::new();
    let lists = [
        ("tags", &args.tags),
        ("patterns", &args.patterns),
        ("routes", &args.routes),
        ("stores", &args.stores),
        ("keys", &args.keys),
        ("urls", &args.urls),
    ];
    for (word, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        body.insert(word.to_owned(), list.as_slice().into());
    }
    for (word, on) in [("everything", args.everything), ("soft", args.soft), ("dry_run", args.dry_run)] {
        body.insert(word.to_owned(), on.into());
    }
    if let Some(tenant) = &args.tenant {
        body.insert("tenant".to_owned(), tenant.as_str().into());
    }
    let answer = ask(Ask {
        config: &args.config,
        token: args.token.as_deref(),
        purges: true,
        method: Method::POST,
        target: "/purge",
        body: serde_json::Value::Object(body).to_string(),
    })?;
    print!("{answer}");
    Ok(())
}
