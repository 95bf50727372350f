//! `larder demo`: a small CRM and Larder in front of it, in one process, on the embedded memory store.
//!
//! The configuration is `config/examples/demo.yaml`, an ordinary file. Its addresses are where the demo listens if they
//! are free; otherwise the system chooses a port, and the configuration is changed to say so.

mod crm;
mod data;
mod guide;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::app::{self, StartError};
use crate::clock::Clock;
use crate::config::read::ReadContext;
use crate::config::{Config, Limits, Listener};
use crate::control::WithVerbs;
use crate::proxy::Proxy;
use crate::proxy::origin::Origins;
use crate::server::Server;
use crm::Crm;
use guide::Guide;

const FILE: &str = "config/examples/demo.yaml";
const YAML: &str = include_str!("../../config/examples/demo.yaml");

/// The CRM and Larder, listening but not yet serving.
pub struct Demo {
    crm: (Server, Crm),
    larder: (Server, Proxy<Origins>),
    guide: Guide,
}

impl Demo {
    /// Binds both. An address of `listen` is taken as it is; without one, a port that is taken is replaced by a free one.
    /// It needs a tokio runtime.
    ///
    /// # Errors
    /// Where no address can be had.
    pub fn bind(listen: Option<SocketAddr>) -> Result<Self, StartError> {
        let mut config = config()?;
        let limits = config.limits;
        let usual = config.listen.first().map(|listener| listener.addr).ok_or_else(without_address)?;
        let larder = match listen {
            Some(addr) => bind(addr, limits),
            None => bind_or_any(usual, limits),
        };
        let (larder, front) = larder.map_err(StartError::new)?;
        let origin = config.origins.first_mut().ok_or_else(without_address)?;
        let behind = origin.authority.parse().map_err(StartError::new)?;
        let (crm, behind) = bind_or_any(behind, limits).map_err(StartError::new)?;
        Arc::make_mut(origin).authority = behind.to_string();
        config.listen = vec![Listener { addr: front, tls: None }];

        let clock = Clock::system();
        let application = Crm::new(clock.clone()).map_err(StartError::new)?;
        let guide = Guide::new(front, behind, (listen.is_none() && front != usual).then_some(usual));
        let guide = guide.with_sessions(application.sessions());
        let proxy = app::proxy(&Arc::new(config), clock, io::stdout())?;
        Ok(Self { crm: (crm, application), larder: (larder, proxy), guide })
    }

    /// What to try, and what to expect.
    pub fn guide(&self) -> String {
        self.guide.to_string()
    }

    /// Serves until `stop` is ready. Requests in flight end first; the CRM goes last.
    pub async fn run(self, stop: impl Future) {
        let Self { crm: (crm, application), larder: (larder, proxy), .. } = self;
        let (over, larder_is_over) = oneshot::channel::<()>();
        let front = async {
            larder.run(WithVerbs::new(proxy), stop).await;
            drop(over);
        };
        tokio::join!(front, crm.run(application, larder_is_over));
    }
}

fn config() -> Result<Config, StartError> {
    Config::from_yaml(YAML, &ReadContext::of(Path::new(FILE))).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        StartError::new(errors.join("\n"))
    })
}

fn without_address() -> StartError {
    StartError::new(format!("{FILE} names no address"))
}

fn bind(addr: SocketAddr, limits: Limits) -> io::Result<(Server, SocketAddr)> {
    let server = Server::bind(&[Listener { addr, tls: None }], limits)?;
    let bound = server.local_addrs().first().copied().unwrap_or(addr);
    Ok((server, bound))
}

fn bind_or_any(addr: SocketAddr, limits: Limits) -> io::Result<(Server, SocketAddr)> {
    match bind(addr, limits) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind(SocketAddr::new(addr.ip(), 0), limits),
        bound => bound,
    }
}
