//! Certificates for etcd, from files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ureq::tls::{ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{EtcdError, EtcdOptions};

/// What TLS needs. `None`: there is none. `secured`: an address wants it.
pub(super) fn config(options: &EtcdOptions, secured: bool) -> Result<Option<TlsConfig>, EtcdError> {
    if !secured {
        if options.ca.is_some() || options.certificate.is_some() {
            let text = "certificates are for etcd at https://…, and none of its addresses is that";
            return Err(EtcdError::Options(text.to_owned()));
        }
        return Ok(None);
    }
    let Some(ca) = &options.ca else {
        let text = "etcd at https://… needs the certificate of who signs for it";
        return Err(EtcdError::Options(text.to_owned()));
    };
    let roots = certificates(ca)?;
    let client = match &options.certificate {
        None => None,
        Some((chain, key)) => {
            let key = items(key, "private key", |item| match item {
                PemItem::PrivateKey(key) => Some(key),
                _ => None,
            })?;
            let first = key.into_iter().next();
            let chain = certificates(chain)?;
            first.map(|key| ClientCert::new_with_certs(&chain, key))
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(provider);
    Ok(Some(config.build()))
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, EtcdError> {
    items(path, "certificate", |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    })
}

/// What a PEM file has of one kind: one at least.
fn items<T>(
    path: &Path,
    kind: &str,
    of: impl Fn(PemItem<'static>) -> Option<T>,
) -> Result<Vec<T>, EtcdError> {
    let failed = |cause: String| EtcdError::File { path: path.to_owned(), cause };
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        let item = item.map_err(|error| failed(error.to_string()))?;
        found.extend(of(item));
    }
    if found.is_empty() { Err(failed(format!("there is no {kind} in it"))) } else { Ok(found) }
}
