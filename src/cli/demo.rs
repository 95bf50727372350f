//! `larder demo`: the built-in CRM behind Larder, until a signal.

use std::io::Write;
use std::net::SocketAddr;

use clap::Args;

use super::Failure;
use super::run::{runtime, signalled, start_diagnostics};
use crate::demo::Demo;

/// Where the demo listens.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where Larder listens [default: 127.0.0.1:8080, or a free port where that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Prints what to try, and serves.
pub(super) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    start_diagnostics();
    runtime()?.block_on(async {
        let demo = Demo::bind(args.listen)?;
        let signalled = signalled()?;
        write_out(&demo.guide());
        demo.run(signalled).await;
        Ok(())
    })
}

/// Nobody may be reading: the demo runs all the same.
fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
