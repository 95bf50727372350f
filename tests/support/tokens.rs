//! JSON Web Tokens as the tests' applications sign them.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

/// The secret that the tests' configurations read from `JWT_SECRET`.
pub const JWT_SECRET: &str = "a secret that signs the tests' tokens";

/// A token (HS256) with these claims; an `exp` far away is added where there is none.
pub fn token(mut claims: Value) -> String {
    let map = claims.as_object_mut().unwrap();
    map.entry("exp").or_insert(Value::from(32_503_680_000_u64)); // the year 3000
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes()))
        .unwrap()
}

/// The value of an `Authorization` field with such a token.
pub fn bearer(claims: Value) -> String {
    format!("Bearer {}", token(claims))
}
