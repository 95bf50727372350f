//! A file -> a checked [`Config`], or everything that is wrong with it.
//!
//! Three steps: text to tree ([`super::tree`]), tree to the declared sections (`words`), sections to the
//! configuration (`servers`, `identity`, `storage`, `routes`, `writes`). Each goes on after an error, so that an
//! operator sees all of them at once; a configuration comes out only when there was none.

mod caching;
mod collections;
mod error;
mod files;
mod hooks;
mod http_values;
mod identity;
mod identity_words;
mod jwt;
mod models;
mod names;
mod purging;
mod purging_words;
mod reach;
mod redis;
mod redis_words;
mod route_words;
mod routes;
pub(super) mod section;
mod servers;
mod short_words;
mod sources;
mod storage;
mod suggest;
mod template;
mod timed;
mod units;
mod values;
mod who;
pub(super) mod words;
mod writes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::{self, Kind, Node, Pos};
use super::{Config, Limits, Log};
use collections::Named;
use error::Errors;
pub use error::{ConfigError, ConfigErrors};
use names::Names;
use section::FromNode;
use words::RawConfig;

/// Looks a variable up.
type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a file is read with: its name, its folder, and the environment.
#[derive(Clone)]
pub struct ReadContext {
    file: String,
    folder: PathBuf,
    env: Environment,
}

impl ReadContext {
    /// The context of a file: names in it are relative to its folder, and the environment is the process's.
    pub fn of(file: &Path) -> Self {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self {
            file: file.display().to_string(),
            folder: folder.to_owned(),
            env: Arc::new(|name| std::env::var(name).ok()),
        }
    }

    /// The same with another environment; tests need not touch the process's own.
    pub fn with_env(mut self, env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.env = Arc::new(env);
        self
    }
}

impl std::fmt::Debug for ReadContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadContext").field("file", &self.file).field("folder", &self.folder).finish()
    }
}

/// What the steps share: the context, and the errors found so far.
struct Cx<'a> {
    context: &'a ReadContext,
    errors: Errors,
}

impl Cx<'_> {
    fn error(&mut self, pos: Pos, message: impl Into<String>, help: impl Into<String>) {
        self.errors.add(pos, message, help);
    }
}

impl Config {
    /// Reads a text. All errors at once, in the order of the text; never an empty list of them.
    pub fn from_yaml(text: &str, context: &ReadContext) -> Result<Self, Vec<ConfigError>> {
        let mut cx = Cx { context, errors: Errors::default() };
        let (tree, problems) = tree::parse(text);
        cx.errors.extend(problems);
        let config = tree.as_ref().and_then(|tree| read(tree, &mut cx));
        match config {
            Some(config) if cx.errors.is_empty() => Ok(config),
            _ => Err(cx.errors.finish(&context.file, text, tree.as_ref())),
        }
    }

    /// Reads a file. Names of files in it are relative to its folder; secrets come from the process's environment.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(path, &ReadContext::of(path))
    }

    /// Reads a file with a context of one's own.
    pub fn load_with(path: &Path, context: &ReadContext) -> Result<Self, ConfigErrors> {
        let too_large = format!("the file is larger than {} MiB", tree::MAX_BYTES >> 20);
        let bytes = match files::read_bounded(path, tree::MAX_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(ConfigErrors::of_file(path, too_large, "is this the right file?")),
            Err(error) => {
                let message = format!("the file cannot be read: {error}");
                return Err(ConfigErrors::of_file(path, message, "name a file with `-c FILE`"));
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Self::from_yaml(&text, context).map_err(ConfigErrors),
            Err(error) => {
                let line =
                    error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n');
                let message = format!("line {} is not UTF-8", line.count() + 1);
                Err(ConfigErrors::of_file(path, message, "save the file as UTF-8"))
            }
        }
    }

    /// The configuration of `larder run --origin URL`: one origin, public responses by their own header fields.
    pub fn for_origin(url: &str, listen: SocketAddr) -> Result<Self, ConfigErrors> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let text = format!(
            "listen: {}\norigins: {{ origin: {{ url: {} }} }}\ntiers: {{ origin: {{}} }}\nroutes:\n  - {{ name: all, path: \"/{{*rest}}\", tier: origin, share: public }}\n",
            quoted(&listen.to_string()),
            quoted(url),
        );
        Self::from_yaml(&text, &ReadContext::of(Path::new("--origin"))).map_err(ConfigErrors)
    }
}

fn read(tree: &Node, cx: &mut Cx<'_>) -> Option<Config> {
    if tree.kind == Kind::Null {
        let help = "the least is one of `origins` and one of `routes`: see config/examples/minimal.yaml";
        cx.error(tree.pos, "the file is empty", help);
        return None;
    }
    let raw = RawConfig::from_node(tree, &mut cx.errors)?;
    assemble(&raw, cx)
}

/// Puts the parts together. Each part reports its own errors; `None` where a part is missing.
fn assemble(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Config> {
    let origin_names = Names::new("origin", raw.origins.get());
    let listen = servers::listeners(raw, cx);
    let admin = servers::admin(raw, cx);
    let origins = servers::origins(raw, cx);
    let (identity, facts) = identity::read(raw, &origin_names, cx);
    let stores = storage::stores(raw, cx);
    let tiers = storage::tiers(raw, &stores, cx);
    let routes = routes::read(raw, &origin_names, &tiers, &facts, cx);
    let models = models::read(raw, &facts, cx);
    let writes = writes::read(raw, &models, &facts, cx);
    let webhooks = hooks::webhooks(raw, &models, cx);
    let clear_cache = hooks::clear_cache(raw, identity.as_ref(), &facts, cx);
    Some(Config {
        listen: listen?,
        admin: admin?,
        origins: origins?,
        identity: identity?,
        stores: stores.stores,
        routes: routes?,
        writes,
        models,
        webhooks,
        clear_cache,
        purging: purging::read(raw, cx)?,
        timed_purges: timed::read(raw, cx),
        data_dir: raw.data_dir.get().map(|name| files::resolve(name, cx)),
        target_fields: servers::target_fields(raw, cx)?,
        limits: servers::limits(raw, cx)?,
        log: servers::log(raw, cx)?,
    })
}

/// The section under a key, or an empty one whose keys all have their defaults.
fn section_or_default<T: FromNode + Clone>(slot: &section::Slot<T>, cx: &mut Cx<'_>) -> Option<T> {
    match slot {
        section::Slot::Given(at) => Some(at.value.clone()),
        section::Slot::Bad => None,
        section::Slot::Absent => {
            let pos = Pos::default();
            T::from_node(&Node { pos, end: pos, kind: Kind::Map(Vec::new()) }, &mut cx.errors)
        }
    }
}

/// The names that some section declares.
fn declared<T>(named: Option<&Named<T>>) -> impl Iterator<Item = &str> {
    named.into_iter().flat_map(|named| named.0.iter().map(|entry| entry.name.value.as_str()))
}
