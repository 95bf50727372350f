//! `larder run`: binds, serves until a signal, drains.

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::app;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Listener};
use crate::control::{AdminService, WithHooks, WithVerbs, timed_purges};
use crate::server::{Server, Workers};

/// Serves `config` until SIGTERM or SIGINT, then lets requests in flight end.
pub(super) fn run(config: Config) -> Result<(), Failure> {
    start_diagnostics();
    // Connections have threads of their own; what is left for this one is accepting, the admin listener and the sweeping.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(Arc::new(config)))
}

/// A runtime with a worker per core.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Diagnostics go to standard error; `LARDER_LOG` chooses levels per module (`info` by default).
pub(super) fn start_diagnostics() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LARDER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Colours are for people: a file or a collector gets `name=value` without them.
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_ansi(colours).with_env_filter(filter);
    // A second call in one process keeps the first subscriber.
    let _ = lines.with_writer(std::io::stderr).try_init();
}

async fn serve(config: Arc<Config>) -> Result<(), Failure> {
    let signalled = signalled()?;
    let proxy = app::proxy(&config, Clock::system(), std::io::stdout())?;
    let shared = proxy.shared().clone();
    let doors = WithHooks::new(shared.clone(), WithVerbs::new(proxy))?;
    let server = Server::bind(&config.listen, config.limits)?.on(Workers::per_core()?);
    let admin = match &config.admin {
        Some(admin) => Some(Server::bind(&[Listener { addr: admin.listen, tls: None }], config.limits)?),
        None => None,
    };
    for (addr, listener) in server.local_addrs().iter().zip(&config.listen) {
        eprintln!("listening on {}://{addr}", if listener.tls.is_some() { "https" } else { "http" });
    }
    if let Some(admin) = &admin {
        admin.local_addrs().iter().for_each(|addr| eprintln!("admin on http://{addr}"));
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let wait = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        // An error means that the sender is gone: stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let cache = shared.cache().clone();
    let sweeping = sweep(cache.clone(), wait(stopped.clone()));
    let (timed, over) = (timed_purges(shared.clone()), wait(stopped.clone()));
    let purging = async {
        tokio::select! {
            () = timed => {}
            () = over => {}
        }
    };
    let side_door = AdminService::new(shared);
    let clients = server.run(doors, wait(stopped.clone()));
    let operators = async {
        if let Some(admin) = admin {
            admin.run(side_door, wait(stopped.clone())).await;
        }
    };
    let signals = async {
        let name = signalled.await;
        tracing::info!(signal = name, "stopping: requests in flight may end");
        stop.send_replace(true);
    };
    tokio::join!(clients, operators, sweeping, purging, signals);
    if let Some(members) = cache.members() {
        members.leave().await;
    }
    Ok(())
}

/// How often purged responses and old purges are swept out.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Sweeps now and then, on a thread where it is in nobody's way, until `stopped`.
async fn sweep(cache: Cache, stopped: impl Future<Output = ()>) {
    let sweeping = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let cache = cache.clone();
            let swept = tokio::task::spawn_blocking(move || cache.sweep(cache.clock().now())).await;
            tracing::debug!(?swept, "swept");
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = stopped => {}
    }
}

/// The name of the SIGTERM or SIGINT that comes from now on. To be called before anybody is told that Larder runs: until
/// then a signal ends the process at once.
pub(super) fn signalled() -> std::io::Result<impl Future<Output = &'static str>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    })
}
