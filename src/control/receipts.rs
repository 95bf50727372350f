//! What a purge answers with.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::http::Body;
use crate::purge::{Receipt, Where};

/// A receipt in JSON: the purge's id, its sequence number, whose entries and which it covered.
pub(super) fn receipt(
    receipt: &Receipt,
    whose: &Where,
    what: &serde_json::Value,
    by: &str,
) -> Response<Body> {
    let scope = match whose {
        Where::All => "all".to_owned(),
        Where::Tenant(name) => format!("tenant {name}, public and global scopes"),
        Where::TenantOnly(name) => format!("tenant {name} and global scopes"),
    };
    tracing::info!(id = receipt.id, seq = receipt.seq, by, scope, %what, "purged");
    json(
        StatusCode::OK,
        &serde_json::json!({
            "id": receipt.id, "seq": receipt.seq, "scope": scope, "purged": what, "covered": "not counted",
        }),
    )
}

/// A JSON answer that nobody keeps.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    json_text(status, format!("{value}\n"))
}

/// The same of a text that is JSON already.
pub(super) fn json_text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
