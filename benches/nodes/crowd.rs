//! Many clients at once, who all want the same page: each has its connection already, and all ask at one moment.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{measured, request};
use crate::micros;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(nodes: &[SocketAddr], path: &str, clients: usize) -> Result<String, Box<dyn Error>> {
    let wanted = request("GET", path, "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let times = runtime.block_on(async {
        let mut connections = Vec::with_capacity(clients);
        for node in nodes.iter().cycle().take(clients) {
            let stream = TcpStream::connect(node).await?;
            stream.set_nodelay(true)?;
            connections.push(stream);
        }
        let begin = Instant::now();
        let asking: Vec<_> = connections
            .into_iter()
            .map(|stream| {
                let wanted = wanted.clone();
                tokio::spawn(tokio::time::timeout(PATIENCE, ask(stream, wanted, begin)))
            })
            .collect();
        let mut times = Vec::with_capacity(clients);
        for one in asking {
            times.push(one.await.map_err(io::Error::other)?.map_err(io::Error::other)??);
        }
        io::Result::Ok(times)
    })?;
    Ok(format!("{{\"times\": {}}}", micros(times)))
}

/// How long after the beginning the whole answer was here.
async fn ask(mut stream: TcpStream, wanted: Vec<u8>, begin: Instant) -> io::Result<Duration> {
    stream.write_all(&wanted).await?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let read = stream.read_buf(&mut buffer).await?;
        match measured(&buffer)? {
            Some((_, whole)) if buffer.len() >= whole => return Ok(begin.elapsed()),
            _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
}
