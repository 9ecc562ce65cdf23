//! Connections that only their two ends can read: whom to trust there, and who one is. Knows no message.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Failure;
use super::collector::{Identity, Tls};

/// How one host is connected to.
#[derive(Clone)]
pub struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({:?})", self.name)
    }
}

impl Connector {
    /// To a host by its name or address, which its certificate has to bear.
    pub fn new(host: &str, tls: &Tls) -> Result<Self, Failure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Failure::Endpoint(host.to_owned()))?;
        let trusting = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(trusted(tls.authorities.as_deref())?);
        let mut config = match &tls.identity {
            None => trusting.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
                trusting.with_client_auth_cert(chain, key).map_err(refused)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    pub async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// Whether it was the other end's certificate, or ours: then another try does no better.
pub fn is_mistrust(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

// The authorities in a file, or else those that the system trusts.
fn trusted(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut trusted = RootCertStore::empty();
    let found = match file {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _unfit) = trusted.add_parsable_certificates(found);
    if added > 0 {
        return Ok(trusted);
    }
    let whose = file.map_or("this system".to_owned(), |file| file.display().to_string());
    Err(Failure::Trust(format!(
        "{whose} has no certificate authority to trust"
    )))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| unreadable(file, error))
}

fn unreadable(file: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Trust(format!("{} cannot be read: {error}", file.display()))
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Trust(error.to_string())
}
