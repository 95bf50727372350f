//! TLS with Redis: the server's certificate is verified, against the authorities of the file or those of the system.

use std::io;
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{SharedError, SharedErrorKind};
use crate::config::RedisTls;

/// How TLS connections are made.
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// As configured; reads the system's authorities where no others are named.
    pub(super) fn new(config: &RedisTls) -> Result<Self, SharedError> {
        let wrong =
            |error: &dyn std::fmt::Display| SharedError::new(SharedErrorKind::Io, format!("TLS: {error}"));
        let mut roots = RootCertStore::empty();
        match &config.ca {
            Some(pem) => {
                for cert in CertificateDer::pem_slice_iter(pem) {
                    roots.add(cert.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| wrong(&error))?.with_root_certificates(roots);
        let tls = match &config.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
                let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|error| wrong(&error))?;
                let chain = chain.map_err(|error| wrong(&error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(tls))))
    }

    /// Speaks TLS with `host` over a connection.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// The same for the client of a Cluster, which makes its connections itself.
pub(super) fn certificates(config: &RedisTls) -> TlsCertificates {
    TlsCertificates {
        client_tls: config.client.as_ref().map(|(chain, key)| ClientTlsConfig {
            client_cert: chain.to_vec(),
            client_key: key.expose().to_vec(),
        }),
        root_cert: config.ca.as_ref().map(|pem| pem.to_vec()),
    }
}
