//! What the integration tests share: a scriptable origin, the built binary, clients, and waiting with a deadline.
//!
//! Nothing here sleeps to let something happen: a test opens gates, sends bodies in steps, and waits on conditions
//! (`wait`), each with a deadline that fails the test with a sentence.

// Every test crate compiles the whole of it and uses a part. Helpers fail a test by a panic, as tests do.
#![allow(dead_code, unreachable_pub, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod browser;
pub mod client;
pub mod django;
pub mod events;
pub mod in_process;
pub mod larder;
pub mod origin;
pub mod process;
pub mod raw;
pub mod redis;
pub mod reply;
pub mod script;
pub mod tokens;
pub mod wait;

pub use browser::Browser;
pub use client::{Answer, Client};
pub use django::Django;
pub use in_process::InProcess;
pub use larder::Larder;
pub use origin::Origin;
pub use reply::Reply;
pub use script::{Gate, Steps};
