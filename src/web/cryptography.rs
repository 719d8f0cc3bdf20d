//! The cryptography of TLS.

/// Without a default the TLS library panics. An application that has chosen one keeps it.
pub(crate) fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Who comes first wins; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
