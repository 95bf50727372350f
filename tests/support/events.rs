//! Events as an application's sender signs them (Standard Webhooks).

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::client::Call;

/// The value of `webhook-signature` for a message.
pub fn signature(secret: &[u8], id: &str, at: u64, body: &str) -> String {
    let content = format!("{id}.{at}.{body}");
    let tag = sign(&Key::new(HMAC_SHA256, secret), content.as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

/// The request with its three fields and its body.
pub fn signed(call: Call, secret: &[u8], id: &str, at: u64, body: &str) -> Call {
    call.header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature(secret, id, at, body))
        .json(body.to_owned())
}
