//! A client on one connection: it asks, waits for the whole answer, and asks again.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::HOST;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and what came over it.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, as far as anybody looks at it.
pub(crate) struct Answer<'a> {
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Asks and waits; whatever is not 200 is an error.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let (head, whole) = loop {
            let had = self.buffer.len();
            self.buffer.resize(had + 16 * 1024, 0);
            let read = self.stream.read(&mut self.buffer[had..])?;
            self.buffer.truncate(had + read);
            match measured(&self.buffer)? {
                Some((head, whole)) if self.buffer.len() >= whole => break (head, whole),
                _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head]).map_err(io::Error::other)?;
        Ok(Answer { head: text, body: &self.buffer[head..whole] })
    }
}

/// Where the head ends and where the body does, once the head is here.
pub(crate) fn measured(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        Some(length) if head.starts_with("http/1.1 200 ") => Ok(Some((end + 4, end + 4 + length))),
        _ => Err(io::Error::other(String::from_utf8_lossy(bytes).into_owned())),
    }
}

/// A request as it is written, with the fields of a browser.
pub(crate) fn request(method: &str, path: &str, more: &str) -> Vec<u8> {
    let usual = "Accept: */*\r\nAccept-Encoding: gzip\r\nUser-Agent: larder-bench/1.0\r\n";
    format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{usual}{more}\r\n").into_bytes()
}
