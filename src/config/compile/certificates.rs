//! `certificates:`: where they come from, and whether chain, key and date are right today.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::super::diagnose::Problems;
use super::super::raw;
use super::super::read::{At, Wrong};
use super::super::words::{Reference, is_host_name};
use super::super::x509;
use super::{Context, files};
use crate::net::settings::{Certificate, CertificateSource, DTLS_SIGNATURES};

/// `certificates:`, in the order of the file.
pub(super) fn certificates(cx: &mut Context<'_>) -> Vec<Certificate> {
    let raw = cx.raw;
    let mut built = Vec::new();
    for (name, certificate) in cx.entries(raw.certificates.as_ref(), "certificates") {
        if let Some(source) = source(cx, name, certificate) {
            built.push(Certificate { name: name.value.as_str().into(), source });
        }
    }
    built
}

fn source(
    cx: &mut Context<'_>,
    name: &At<String>,
    certificate: &raw::Certificate,
) -> Option<CertificateSource> {
    match certificate {
        raw::Certificate { self_signed: Some(names), chain: None, key: None, .. } => self_signed(cx, names),
        raw::Certificate { self_signed: None, chain: Some(chain), key: Some(key), .. } => {
            from_files(cx, chain, key)
        }
        _ => {
            let what = format!("certificate `{}` is neither files nor self-signed", name.value);
            let help = "write `{ chain: tls/chain.pem, key: \"file:tls/key.pem\" }` or `{ self_signed: [localhost] }`";
            cx.absent(name.at, what, help);
            None
        }
    }
}

fn self_signed(cx: &mut Context<'_>, names: &At<Vec<At<String>>>) -> Option<CertificateSource> {
    if names.value.is_empty() {
        cx.problems.error(
            names.at,
            "a certificate is for someone",
            "write `self_signed: [localhost, 127.0.0.1]`",
        );
    }
    for name in &names.value {
        if name.value.parse::<std::net::IpAddr>().is_err() && !is_host_name(&name.value) {
            let what = format!("`{}` is neither a host name nor an address", name.value);
            cx.problems.error(name.at, what, "write a name such as `localhost`, without port");
        }
    }
    Some(CertificateSource::SelfSigned { names: names.value.iter().map(|n| n.value.clone()).collect() })
}

fn from_files(cx: &mut Context<'_>, chain: &At<PathBuf>, key: &At<Reference>) -> Option<CertificateSource> {
    let Reference::File(key_path) = &key.value else {
        let help = "write it to a file that only Turnpike can read, and `key: \"file:tls/key.pem\"`";
        cx.problems.error(key.at, "a private key is read from a file, so that it can be watched", help);
        return None;
    };
    let (chain_path, key_path) = (cx.folder.join(&chain.value), cx.folder.join(key_path));
    let mut tell = |at, wrong: Wrong| cx.problems.error(at, wrong.what, wrong.help);
    let certificates = read_chain(&chain_path).map_err(|wrong| tell(chain.at, wrong)).ok();
    let private_key = read_key(&key_path).map_err(|wrong| tell(key.at, wrong)).ok();
    let certificates = certificates?;
    check_dates(cx, chain, &certificates);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Err(why) = CertifiedKey::from_der(certificates, private_key?, &provider) {
        let what = match why {
            rustls::Error::InconsistentKeys(_) => {
                format!("the key is not that of the first certificate in {}", chain_path.display())
            }
            why => format!("the key cannot be used: {why}"),
        };
        let help = format!(
            "put your own certificate first, then its intermediates; compare `openssl x509 -noout -pubkey -in {}` \
             with `openssl pkey -pubout -in {}`",
            chain_path.display(),
            key_path.display()
        );
        cx.problems.error(key.at, what, help);
    }
    Some(CertificateSource::Files { chain: chain_path, key: key_path })
}

/// A warning only: an expired certificate on one listener must not keep the whole edge from starting again at night.
fn check_dates(cx: &mut Context<'_>, chain: &At<PathBuf>, certificates: &[CertificateDer<'_>]) {
    let Some(validity) = certificates.first().and_then(|first| x509::validity(first)) else { return };
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::MAX);
    if now > validity.not_after {
        let what = format!("the certificate expired on {}", validity.not_after);
        cx.problems.warning(chain.at, what, "renew it: every peer that verifies will refuse it");
    } else if now < validity.not_before {
        let what = format!("the certificate is not valid before {}", validity.not_before);
        cx.problems.warning(chain.at, what, "wait, or look at this machine's clock: `date`");
    }
}

impl Context<'_> {
    /// Tells if DTLS cannot show the certificate that is called so and stands there, or not all of it.
    pub(super) fn check_for_dtls(&mut self, certificate: &At<String>, index: usize) {
        let entry = self.raw.certificates.as_ref().and_then(|all| all.entries.get(index));
        let Some((_, raw::Certificate { chain: Some(chain), key: Some(key), .. })) = entry else { return };
        let Reference::File(key) = &key.value else { return };
        let (chain, key) = (self.folder.join(&chain.value), self.folder.join(key));
        // What cannot be read is told where the certificate stands.
        let (Ok(chain), Ok(private_key)) = (read_chain(&chain), read_key(&key)) else { return };
        let Ok(signing) = any_supported_type(&private_key) else { return };
        if signing.choose_scheme(DTLS_SIGNATURES).is_none() {
            let what = format!("DTLS needs an ECDSA key on P-256 or P-384, and {} is another", key.display());
            let help = "name a certificate for such a key (`openssl ecparam -name prime256v1 -genkey -noout`), \
                        or listen on `tls://` instead";
            self.problems.error(certificate.at, what, help);
        } else if chain.len() > 1 {
            let what = "of this chain DTLS shows the first certificate alone";
            let help = "clients that check it must know the others already; `tls://` shows them all";
            self.problems.warning(certificate.at, what, help);
        }
    }

    /// The path of a PEM file of certificates that we trust; tells if there is none in it.
    pub(super) fn authorities(&mut self, path: &At<PathBuf>) -> PathBuf {
        authorities(path, self.folder, self.problems)
    }

    /// The file of `ca:`; none: the system's count.
    pub(super) fn trusted(&mut self, ca: &At<raw::Authorities>) -> Option<PathBuf> {
        trusted(ca, self.folder, self.problems)
    }
}

/// The same, where a relative path begins at `folder`.
pub fn trusted(ca: &At<raw::Authorities>, folder: &Path, problems: &mut Problems) -> Option<PathBuf> {
    match &ca.value {
        raw::Authorities::System => None,
        raw::Authorities::File(path) => {
            Some(authorities(&At { at: ca.at, value: path.clone() }, folder, problems))
        }
    }
}

fn authorities(path: &At<PathBuf>, folder: &Path, problems: &mut Problems) -> PathBuf {
    let file = folder.join(&path.value);
    if let Err(wrong) = read_chain(&file) {
        problems.error(path.at, wrong.what, wrong.help);
    }
    file
}

/// Every certificate of a PEM file; at least one.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let pem = std::fs::read(path).map_err(|error| files::missing(path, &error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => {
            let what = format!("{} holds no certificate that can be read", path.display());
            Err(Wrong::new(what, "write PEM: it begins with `-----BEGIN CERTIFICATE-----`"))
        }
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Wrong> {
    let pem = std::fs::read(path).map_err(|error| files::missing(path, &error))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let what = format!("{} holds no private key that can be read", path.display());
        Wrong::new(what, "write PEM without a passphrase: it begins with `-----BEGIN PRIVATE KEY-----`")
    })
}
