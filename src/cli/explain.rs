//! `larder explain`: which route, tier, identity, key and tags a request has, and why.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::{Failure, run::runtime};
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, Share, Ttl};
use crate::http::{Body, Peer};
use crate::identity::{Identity, Kind};
use crate::proxy::{Cached, Explanation};

/// The request to explain.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// A field of the request, as `Name: value`; as often as needed.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: Method,
    /// The address that the request comes from, which decides whether its identity fields are believed.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    peer: IpAddr,
    /// The whole URL as a client asks for it.
    url: Uri,
}

/// Prints the explanation.
pub(super) fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let config = Arc::new(Config::load(&args.config)?);
    let request = request(&args)?;
    let explanation = runtime()?.block_on(async {
        let proxy = app::proxy(&config, Clock::system(), std::io::sink())?;
        Ok::<_, Failure>(proxy.explain(request).await?)
    })?;
    print!("{}", told(&config, &explanation));
    Ok(())
}

fn request(args: &ExplainArgs) -> Result<Request<Body>, Failure> {
    let authority = args.url.authority().ok_or("the URL has no host: write it whole, as http://host/path")?;
    let target = args.url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::new(Body::empty());
    *request.method_mut() = args.method.clone();
    *request.uri_mut() = target.parse()?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    for field in &args.headers {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| format!("`{field}` is not a field: write it as `Name: value`"))?;
        headers.append(HeaderName::from_bytes(name.trim().as_bytes())?, HeaderValue::from_str(value.trim())?);
    }
    let tls = args.url.scheme_str() == Some("https");
    request.extensions_mut().insert(Peer { addr: SocketAddr::new(args.peer, 0), tls });
    Ok(request)
}

fn told(config: &Config, explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    let route = &explanation.route;
    line(
        "route",
        format!("{} ({}), the first of {} that matches", route.name, route.path, config.routes.len()),
    );
    if let Some(origin) = config.origins.get(route.origin) {
        line("origin", origin.name.clone());
    }
    line("identity", identity(&explanation.identity, explanation.invalid));
    match &explanation.cached {
        Ok(cached) => tell_cached(&mut line, config, cached),
        Err(reason) => line("cache", format!("passed: {} ({})", reason.name(), reason.meaning())),
    }
    if let Some(denied) = explanation.denied {
        line("denied", format!("{} ({})", denied.name(), denied.meaning()));
    }
    line("sent", explanation.target.clone());
    let fields: Vec<&str> = explanation.fields.iter().map(HeaderName::as_str).collect();
    line("fields", fields.join(", "));
    text
}

fn tell_cached(line: &mut impl FnMut(&str, String), config: &Config, cached: &Cached) {
    let tier = &cached.caching.tier;
    let ttl = match tier.ttl {
        Ttl::Origin => "as long as the answer says (RFC 9111)".to_owned(),
        Ttl::Fixed(ttl) => format!("{} s", ttl.as_secs_f64()),
        Ttl::UntilPurged => "until purged".to_owned(),
    };
    line("tier", format!("{}: kept {ttl}", tier.name));
    let windows = [
        ("stale while revalidating", tier.stale_while_revalidate),
        ("stale if the origin fails", tier.stale_if_error),
    ];
    for (name, window) in windows.into_iter().filter(|(_, window)| *window > Duration::ZERO) {
        line("", format!("then {name} for {} s", window.as_secs_f64()));
    }
    if let Some(store) = config.stores.get(tier.store) {
        line("store", store.name.clone());
    }
    let share = match cached.caching.share {
        Share::Public => "everybody",
        Share::Tenant => "the users of one tenant",
        Share::User => "one user",
    };
    line("shared by", share.to_owned());
    line("key", cached.keyed.key.describe());
    let tags: Vec<&str> = cached.tags.iter().map(|tag| &**tag).collect();
    line("tags", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") });
}

fn identity(identity: &Identity, invalid: bool) -> String {
    if invalid {
        return "none: the credential identifies nobody, so the request passes uncached".to_owned();
    }
    let kind = |kind| if kind == Kind::Verified { "verified" } else { "claimed" };
    let mut parts = Vec::new();
    if let Some(tenant) = &identity.tenant {
        let what = if tenant.scope { "scope" } else { "tenant" };
        parts.push(format!("{what} {} ({})", tenant.name, kind(tenant.kind)));
    }
    if let Some(user) = &identity.user {
        parts.push(format!("user {} of {} ({})", user.name, user.issuer, kind(user.kind)));
    }
    if let Some(role) = &identity.role {
        parts.push(format!("role {} ({})", role.name, kind(role.kind)));
    }
    if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
}
