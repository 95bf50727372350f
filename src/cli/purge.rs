//! `larder purge`: asks the admin listener of a running Larder to purge.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{Failure, run::runtime};
use crate::config::{AdminRole, Config};

/// What to purge, and where Larder runs.
#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The configuration file of the running Larder: it names the admin listener and the token.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Everything, instead of URLs.
    #[arg(long, conflicts_with = "urls")]
    everything: bool,
    /// Of this tenant only (and, for URLs, the public entries).
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Whole URLs as clients ask for them, such as http://shop.example/api/items.
    #[arg(value_name = "URL", required_unless_present = "everything")]
    urls: Vec<String>,
}

/// Purges, and prints the receipt.
pub(super) fn purge(args: PurgeArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let admin = config
        .admin
        .as_ref()
        .ok_or("the configuration has no `admin`: larder purge needs its listener and a token")?;
    let token = admin.tokens.iter().find(|token| token.role == AdminRole::Admin);
    let token = token.ok_or("none of `admin.tokens` has the role `admin`")?;
    let mut authorization = b"Bearer ".to_vec();
    authorization.extend_from_slice(token.secret.expose());
    let body = serde_json::json!({ "urls": args.urls, "everything": args.everything, "tenant": args.tenant });
    let request = Request::post(format!("http://{}/purge", admin.listen))
        .header(HOST, admin.listen.to_string())
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
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
    if !status.is_success() {
        return Err(answer.trim_end().to_owned().into());
    }
    print!("{answer}");
    Ok(())
}
