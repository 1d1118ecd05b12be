//! TLS by rustls, when a certificate is given.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ServeError;
use crate::config::ServeConfig;

/// What makes TLS of a connection. Two are equal if they show the same certificates.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    chain: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({} certificates)", self.chain.len())
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Tls {
    /// Reads the certificate and its key, which must fit; `None` if none is given.
    pub(super) fn load(config: &ServeConfig) -> Result<Option<Self>, ServeError> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let fault = |key: &'static str, path: &Path| {
            let path = path.to_path_buf();
            move |why: String| ServeError::Tls { key, path, why }
        };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault("serve.tls_cert", cert)(error.to_string()))?;
        if chain.is_empty() {
            return Err(fault("serve.tls_cert", cert)("there is no certificate in it".to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| fault("serve.tls_key", key)(error.to_string()))?;
        let built = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain.clone(), secret));
        let mut built = built.map_err(|error| fault("serve.tls_cert", cert)(error.to_string()))?;
        built.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(built)), chain }))
    }
}
