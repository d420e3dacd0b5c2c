//! TLS at the door: the certificate and its key, read when the server starts and again when one
//! of the files has changed, so that a certificate can be renewed while the server runs.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::config::server::TlsFiles;

/// From one look at the files to the next.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// What connections are made with.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// What the files looked like before they were read.
    looked: Looks,
}

/// By what a change of a file is seen.
type Looks = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// What cannot be used, in words.
    pub fn open(files: &TlsFiles) -> Result<Self, String> {
        let looked = looks_of(files);
        let config = RwLock::new(Arc::new(read(files)?));
        Ok(Self { files: files.clone(), config, looked })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(config.clone())
    }

    /// Reads the files whenever they have changed. What cannot be used changes nothing.
    pub(super) async fn follow(self: Arc<Self>) {
        let look = |tls: &Arc<Self>| {
            let files = tls.files.clone();
            tokio::task::spawn_blocking(move || looks_of(&files))
        };
        let mut known = self.looked;
        while let Ok(now) = look(&self).await {
            if known != now {
                self.clone().read_again().await;
            }
            known = now;
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn read_again(self: Arc<Self>) {
        let read = tokio::task::spawn_blocking({
            let files = self.files.clone();
            move || read(&files)
        });
        match read.await {
            Ok(Ok(config)) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("the certificate was read again");
            }
            Ok(Err(error)) => tracing::warn!("{error}; the certificate from before is used"),
            Err(error) => tracing::error!("a bug in cofferdam: {error}"),
        }
    }
}

fn looks_of(files: &TlsFiles) -> Looks {
    [&files.certificate, &files.key].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
}

fn read(files: &TlsFiles) -> Result<ServerConfig, String> {
    let TlsFiles { certificate, key } = files;
    let wrong = |what: &str, path: &Path, error: &dyn std::fmt::Display| {
        format!("the {what} {} of `[tls]` cannot be used: {error}", path.display())
    };
    let pem = |path: &Path, what| fs::read(path).map_err(|error| wrong(what, path, &error));
    let chain = pem(certificate, "certificate")?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong("certificate", certificate, &error))?;
    if chain.is_empty() {
        let none = io::Error::other("there is no certificate in it: it must be PEM");
        return Err(wrong("certificate", certificate, &none));
    }
    let secret = PrivateKeyDer::from_pem_slice(&pem(key, "key")?)
        .map_err(|error| wrong("key", key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be had: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong("certificate", certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
