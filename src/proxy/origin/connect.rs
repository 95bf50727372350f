//! Connecting: TCP (with both address families raced), TLS where the origin is https, then the HTTP handshake.
//!
//! Keeps: an https origin is verified, against the system's authorities or the configured ones, and never asked for
//! anything without. Errors say what failed and give no address.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_service::Service;

use super::SetupError;
use super::driver::Driver;
use crate::config::Origin;
use crate::error::BoxError;
use crate::http::Body;

/// A response head may have so many fields; more is an error of the origin.
const MAX_RESPONSE_FIELDS: usize = 256;
/// How often an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);

/// How one origin is connected to.
pub(super) struct Connector {
    tcp: HttpConnector,
    target: Uri,
    tls: Option<(tokio_rustls::TlsConnector, ServerName<'static>)>,
    http2: bool,
    patience: Duration,
    /// Told when something happens to an HTTP/1.1 connection that nobody uses.
    stirred: Arc<Notify>,
}

/// A connection on which a request can be sent.
pub(super) enum Connection {
    /// HTTP/1.1, and what drives it.
    Http1(http1::SendRequest<Body>, Driver),
    /// HTTP/2; the clones share it.
    Http2(http2::SendRequest<Body>),
}

impl Connector {
    pub(super) fn new(origin: &Origin) -> Result<Self, SetupError> {
        let scheme = if origin.https { "https" } else { "http" };
        let target = Uri::builder().scheme(scheme).authority(origin.authority.as_str()).path_and_query("/");
        let target = target.build().map_err(|e| SetupError::new(origin, e))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let tls = match (origin.https, target.host()) {
            (true, Some(host)) => Some(tls(origin, host).map_err(|e| SetupError::new(origin, e))?),
            _ => None,
        };
        Ok(Self { tcp, target, tls, http2: origin.http2, patience: origin.timeout, stirred: Arc::default() })
    }

    /// What is told when something happens to an HTTP/1.1 connection that nobody uses.
    pub(super) fn stirred(&self) -> Arc<Notify> {
        Arc::clone(&self.stirred)
    }

    /// Connects. The caller bounds the time.
    pub(super) async fn connect(&self) -> Result<Connection, BoxError> {
        let stream: TcpStream = self.tcp.clone().call(self.target.clone()).await?.into_inner();
        let Some((tls, name)) = &self.tls else { return self.handshake(stream, self.http2).await };
        let stream = tls.connect(name.clone(), stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.handshake(stream, http2).await
    }

    async fn handshake<T>(&self, stream: T, http2: bool) -> Result<Connection, BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING)
                .keep_alive_timeout(self.patience)
                .handshake(io)
                .await?;
            // Its error reaches whoever waits for an answer on it; nobody else needs it.
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) =
            http1::Builder::new().max_headers(MAX_RESPONSE_FIELDS).handshake(io).await?;
        Ok(Connection::Http1(sender, Driver::new(connection.with_upgrades(), Arc::clone(&self.stirred))))
    }
}

fn tls(origin: &Origin, host: &str) -> Result<(tokio_rustls::TlsConnector, ServerName<'static>), BoxError> {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned())?;
    let roots = match &origin.ca {
        Some(file) => roots_of(file)?,
        None => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match origin.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok((Arc::new(config).into(), name))
}

fn roots_of(file: &Path) -> Result<rustls::RootCertStore, BoxError> {
    let unusable = |e: &dyn std::fmt::Display| format!("{} cannot be used: {e}", file.display());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unusable(&e))? {
        roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it holds no certificate").into());
    }
    Ok(roots)
}

fn system_roots() -> Result<rustls::RootCertStore, BoxError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("the system has no certificate authorities: name a file with `ca`".into());
    }
    Ok(roots)
}
