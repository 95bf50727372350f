//! What responses say of their caching, seen from outside: which field governs, what is withheld, what is taken out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod governing;
mod received;
#[allow(dead_code, unreachable_pub)]
#[path = "../review/support.rs"]
mod support;
mod withheld;
