//! Bytes over a socket, for messages that no well-behaved client or server sends.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::wait;

/// What came back for some bytes.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// All bytes, as they came.
    pub bytes: Vec<u8>,
}

impl RawAnswer {
    /// The bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The status of the first answer; 0 where there was none.
    pub fn status(&self) -> u16 {
        self.text().split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// Sends `bytes` and reads until the peer closes. Fails when the peer keeps the connection open.
pub async fn until_closed(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> RawAnswer {
    let mut stream = connect(addr).await;
    // A peer that has refused the message may close before all of it was written.
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut answer = Vec::new();
    // A reset after the answer is a close, too.
    let _ = wait::within("the peer closes the connection", stream.read_to_end(&mut answer)).await;
    RawAnswer { bytes: answer }
}

/// Sends `bytes` and reads until `enough` says so, or the peer closes.
pub async fn until(addr: SocketAddr, bytes: impl AsRef<[u8]>, enough: impl Fn(&[u8]) -> bool) -> RawAnswer {
    let mut stream = connect(addr).await;
    stream.write_all(bytes.as_ref()).await.unwrap();
    RawAnswer { bytes: read_until(&mut stream, enough).await }
}

/// A connection.
pub async fn connect(addr: SocketAddr) -> TcpStream {
    wait::within("a connection", TcpStream::connect(addr)).await.unwrap()
}

/// Reads until `enough` says so, or the peer closes.
pub async fn read_until(stream: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async { while !enough(&bytes) && matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {} };
    wait::within("the bytes that a test waits for", reading).await;
    bytes
}

/// Reads a message's head, to the empty line.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let bytes = read_until(stream, |bytes| bytes.windows(4).any(|w| w == b"\r\n\r\n")).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An origin that speaks bytes: every connection is given to a closure.
pub struct RawOrigin {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl RawOrigin {
    /// Gives every connection to `handler`; it is closed when the handler returns.
    pub async fn start<F, A>(handler: F) -> Self
    where
        F: Fn(TcpStream) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handler(stream));
            }
        });
        Self { addr, task }
    }

    /// Reads each request's head, answers with these bytes, and closes.
    pub async fn constant(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
            }
        })
        .await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}
