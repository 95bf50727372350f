//! A wire between a node and Redis that does what the test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::wait;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// What it should.
    Pass,
    /// Every message takes so long, both ways.
    Delay(Duration),
    /// Nothing comes out until this is over; then all of it does.
    Hole,
    /// Connections are cut, and new ones too.
    Cut,
    /// The first half of a message comes out, then the connection is cut.
    Half,
    /// Half of each message comes out, and the other half later.
    Split,
    /// Requests go through, and instead of the reply the connection is cut.
    LoseReplies,
}

/// A running wire.
pub(crate) struct Between {
    addr: SocketAddr,
    mode: Arc<watch::Sender<Wire>>,
    did: Arc<AtomicUsize>,
}

impl Between {
    /// A wire to this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (mode, did) = (Arc::new(watch::Sender::new(Wire::Pass)), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (mode.clone(), did.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *told.borrow() != Wire::Cut
                    && let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await
                {
                    tokio::spawn(carry(near, far, told.clone(), counted.clone()));
                }
            }
        });
        Self { addr, mode, did }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Does this from now on.
    pub(crate) fn set(&self, wire: Wire) {
        self.did.store(0, Ordering::SeqCst);
        self.mode.send_replace(wire);
    }

    /// How many messages it did not simply pass on since then.
    pub(crate) fn did(&self) -> usize {
        self.did.load(Ordering::SeqCst)
    }
}

async fn carry(near: TcpStream, far: TcpStream, mode: Arc<watch::Sender<Wire>>, did: Arc<AtomicUsize>) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // Where one direction ends, both do: everything here is dropped.
    tokio::select! {
        () = one_way(near_in, far_out, mode.subscribe(), &did, true) => {}
        () = one_way(far_in, near_out, mode.subscribe(), &did, false) => {}
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Wire>,
    did: &AtomicUsize,
    is_request: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = mode.wait_for(|wire| *wire == Wire::Cut) => return,
        };
        let Ok(length @ 1..) = read else { return };
        let (message, wire) = (&buffer[..length], *mode.borrow());
        if wire != Wire::Pass {
            did.fetch_add(1, Ordering::SeqCst);
        }
        let half = length.div_ceil(2);
        let done = match wire {
            Wire::Cut => return,
            Wire::LoseReplies if !is_request => return,
            Wire::Half => {
                let _ = to.write_all(&message[..half]).await;
                return;
            }
            Wire::Split => {
                let first = to.write_all(&message[..half]).await;
                wait::latency(Duration::from_millis(3)).await;
                first.and(to.write_all(&message[half..]).await)
            }
            Wire::Delay(time) => {
                wait::latency(time).await;
                to.write_all(message).await
            }
            Wire::Hole => {
                let _ = mode.wait_for(|wire| *wire != Wire::Hole).await;
                to.write_all(message).await
            }
            Wire::Pass | Wire::LoseReplies => to.write_all(message).await,
        };
        if done.is_err() {
            return;
        }
    }
}
