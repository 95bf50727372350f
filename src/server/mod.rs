//! Where clients connect: listeners, accepting, and stopping without breaking what runs.
//!
//! Keeps: the promise that every message has exactly one reading (`framing`), no more connections than configured (the
//! next one waits in the kernel's queue), an accept that fails never ends the loop, and a fault in a service ends its
//! own connection only.

mod connection;
mod framing;
mod head_timer;
mod held;
mod patience;
mod protocol;
mod request;
mod stream;
mod tls;
mod workers;

#[cfg(test)]
mod interim_tests;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::config;
use crate::http::{Body, Peer};
use connection::Stage;
use held::Held;
use protocol::Handler;
pub use workers::Workers;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long accepting rests when the process has no file descriptor left.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A connection whose other end vanished is noticed after this long without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Bound listeners, not yet serving.
pub struct Server {
    listeners: Vec<Listener>,
    limits: config::Limits,
    permits: Arc<Semaphore>,
    total: u32,
    workers: Option<Arc<Workers>>,
}

struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Binds all listeners and reads their certificates. It needs a tokio runtime.
    ///
    /// # Errors
    /// Where an address cannot be bound or a certificate cannot be used; the error names it.
    pub fn bind(listeners: &[config::Listener], limits: config::Limits) -> io::Result<Self> {
        let listeners = listeners.iter().map(Listener::bind).collect::<io::Result<_>>()?;
        let total = u32::try_from(limits.connections.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let permits = Arc::new(Semaphore::new(total as usize));
        Ok(Self { listeners, limits, permits, total, workers: None })
    }

    /// Serves the connections on these threads, and not on the runtime that [`Server::run`] is called on.
    #[must_use]
    pub fn on(self, workers: Workers) -> Self {
        Self { workers: Some(Arc::new(workers)), ..self }
    }

    /// The addresses that were bound, in the order of the listeners.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` is ready; then accepts no more, lets requests in flight end for as long as the limits
    /// say, and returns. The body of each request tells the connection's [`Peer`], and for one of HTTP/1.1 what says
    /// non-final responses ([`Interim`](crate::http::Interim)).
    pub async fn run<S, F>(self, service: S, shutdown: F)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        F: Future,
    {
        let (stage, watched) = watch::channel(Stage::Serving);
        let loops: Vec<_> = (self.listeners.into_iter())
            .map(|listener| {
                let room = Room {
                    permits: Arc::clone(&self.permits),
                    limits: self.limits,
                    stage: watched.clone(),
                    workers: self.workers.clone(),
                };
                tokio::spawn(listener.accept(room, service.clone()))
            })
            .collect();
        drop(watched);
        shutdown.await;
        // The sender stays alive until the end: connections watch it.
        stage.send_replace(Stage::Draining);
        for accepting in loops {
            accepting.abort();
            // The listener is gone when its task is: the address is free for the next process.
            let _ = accepting.await;
        }
        let all = self.permits.acquire_many(self.total);
        if timeout(self.limits.drain, all).await.is_err() {
            tracing::warn!(drain = ?self.limits.drain, "connections were cut at the end of the drain");
        }
        stage.send_replace(Stage::Over);
    }
}

/// What all accept loops share.
#[derive(Clone)]
struct Room {
    permits: Arc<Semaphore>,
    limits: config::Limits,
    stage: watch::Receiver<Stage>,
    workers: Option<Arc<Workers>>,
}

impl Listener {
    fn bind(listener: &config::Listener) -> io::Result<Self> {
        let tls = listener.tls.as_ref().map(tls::acceptor).transpose()?;
        let socket = bind(listener.addr).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be listened on: {error}", listener.addr))
        })?;
        Ok(Self { socket, tls })
    }

    async fn accept(self, room: Room, service: impl Handler) {
        loop {
            // First the right to a connection, then the connection: beyond the limit, the kernel's queue holds it.
            let Ok(permit) = Arc::clone(&room.permits).acquire_owned().await else { return };
            match self.socket.accept().await {
                Ok((stream, addr)) => self.start(stream, addr, permit, &room, service.clone()),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn start(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        permit: OwnedSemaphorePermit,
        room: &Room,
        service: impl Handler,
    ) {
        // Options that cannot be set make a connection slower, not wrong.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
        let peer = Peer { addr, tls: self.tls.is_some() };
        let (tls, limits, stage) = (self.tls.clone(), room.limits, room.stage.clone());
        let stream = stream.into_std();
        let serving = async move {
            // From here on the stream belongs to the runtime that drives it.
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => {
                    connection::serve(Held::new(stream, permit), tls, peer, limits, service, stage).await;
                }
                Err(error) => tracing::warn!(%error, "a connection cannot be watched"),
            }
        };
        match &room.workers {
            Some(workers) => workers.spawn(serving),
            None => drop(tokio::spawn(serving)),
        }
    }
}

/// Errors that concern the connection that was to be accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionRefused | E::ConnectionAborted | E::ConnectionReset | E::Interrupted)
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
