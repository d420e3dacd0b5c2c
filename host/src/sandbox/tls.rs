//! TLS for outgoing requests: whom a guest's connection trusts, and what it is told if
//! that is not who answers. Roots are compiled in, since a hardened process reads no
//! files; those of the job file come on top.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use wasmtime_wasi_http::Error;

/// What an instance has for its encrypted connections. Clones share it.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Trusts what everybody trusts, and these.
    pub(super) fn new(more: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in more {
            roots.add(root.clone()).map_err(|_| Error::TlsCertificateError)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::TlsProtocolError)?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // What servers hand out for the next time would lie in the host, uncounted.
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The other side proves that it is the host of this name or address.
    pub(super) async fn shake_hands(
        &self,
        name: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|_| Error::HttpRequestUriInvalid)?;
        self.0.connect(name, stream).await.map_err(|error| told(&error))
    }
}

fn told(error: &io::Error) -> Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        _ => Error::TlsProtocolError,
    }
}
