//! Commands that ask the admin listener of a running Larder, with a token of its configuration file.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::{Failure, run::runtime};
use crate::config::{Admin, AdminRole, Config, Token};

/// What is asked, and with which token.
pub(super) struct Ask<'a> {
    /// The configuration file.
    pub(super) config: &'a Path,
    /// The name of the token; otherwise the first that may.
    pub(super) token: Option<&'a str>,
    /// Whether it takes a token that may do everything.
    pub(super) purges: bool,
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) body: String,
}

/// Where Larder runs, and how what is looked at is shown.
#[derive(Debug, Args)]
pub(super) struct Look {
    /// The configuration file of the running Larder: it names the admin listener and the token.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
    /// The token of `admin.tokens` to use, by its name.
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
}

impl Look {
    /// Asks for something that changes nothing, and prints it: as it came, or as a table.
    pub(super) fn at(&self, target: &str, table: fn(&Value) -> String) -> Result<(), Failure> {
        let answer = ask(Ask {
            config: &self.config,
            token: self.token.as_deref(),
            purges: false,
            method: Method::GET,
            target,
            body: String::new(),
        })?;
        if self.json {
            print!("{answer}");
        } else {
            print!("{}", table(&serde_json::from_str(&answer)?));
        }
        Ok(())
    }
}

/// The answer's text.
pub(super) fn ask(ask: Ask<'_>) -> Result<String, Failure> {
    let config = Config::load(ask.config)?;
    let admin = config
        .admin
        .as_ref()
        .ok_or("the configuration has no `admin`: this command needs its listener and a token")?;
    let mut authorization = b"Bearer ".to_vec();
    authorization.extend_from_slice(token(admin, &ask)?.secret.expose());
    let request = Request::builder()
        .method(ask.method)
        .uri(format!("http://{}{}", admin.listen, ask.target))
        .header(HOST, admin.listen.to_string())
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(ask.body)))
        .map_err(|_| "the token has bytes that no header field can carry")?;
    let (status, answer) = runtime()?.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client
            .request(request)
            .await
            .map_err(|error| format!("no answer from the admin listener at {}: {error}", admin.listen))?;
        let status = response.status();
        let body =
            response.into_body().collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok::<_, String>((status, body.to_bytes()))
    })?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if status.is_success() { Ok(answer) } else { Err(answer.trim_end().to_owned().into()) }
}

/// The token of that name, or the first that may: one for all tenants rather than one that is bound to one.
fn token<'a>(admin: &'a Admin, ask: &Ask<'_>) -> Result<&'a Token, Failure> {
    if let Some(name) = ask.token {
        let found = admin.tokens.iter().find(|token| token.name == name);
        return found.ok_or_else(|| format!("none of `admin.tokens` has the name `{name}`").into());
    }
    let may = |token: &&Token| !ask.purges || token.role == AdminRole::Admin;
    let free = admin.tokens.iter().filter(may).find(|token| token.tenant.is_none());
    let found = free.or_else(|| admin.tokens.iter().find(may));
    found.ok_or_else(|| {
        let which = if ask.purges {
            "none of `admin.tokens` has the role `admin`"
        } else {
            "there are no `admin.tokens`"
        };
        which.into()
    })
}
