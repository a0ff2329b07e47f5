//! The node's own certificates: read from PEM files, or self-signed on first start and kept; read again when a file
//! changes, so that a renewed one serves the next handshake while calls go on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use dimpl::DtlsCertificate;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::settings::{Certificate, CertificateSource, DTLS_SIGNATURES};

/// A certificate that cannot be used: names the file and what to do.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("certificate '{name}': cannot read {}: {reason}. Check the path and that this user may read it", file.display())]
    Unreadable { name: Arc<str>, file: PathBuf, reason: String },
    #[error(
        "certificate '{name}': {} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)", file.display()
    )]
    Empty { name: Arc<str>, file: PathBuf },
    #[error("certificate '{name}': the key in {} does not belong to the first certificate of {}: put the server's own certificate first", key.display(), chain.display())]
    Mismatch { name: Arc<str>, chain: PathBuf, key: PathBuf },
    #[error("certificate '{name}': cannot be made: {reason}. Check `self_signed:` and that {} is writable", folder.display())]
    SelfSigned { name: Arc<str>, folder: PathBuf, reason: String },
    #[error("certificate '{name}': DTLS needs an ECDSA key on the curve P-256 or P-384, and {} holds another kind: make such a key (openssl ecparam -name prime256v1 -genkey) and have it certified, or use `transport: tls`", key.display())]
    NotForDtls { name: Arc<str>, key: PathBuf },
}

/// One certificate with its key, as TLS handshakes take it.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    name: Arc<str>,
    chain: PathBuf,
    key: PathBuf,
    read_at: Mutex<Modified>,
    current: RwLock<Current>,
    serves_dtls: AtomicBool,
}

/// What is in force.
#[derive(Clone, Debug)]
struct Current {
    tls: Arc<CertifiedKey>,
    /// The same for DTLS, whose library wants it in another form; `None` if it is of a kind that it cannot use.
    dtls: Option<Arc<DtlsCertificate>>,
}

/// Modification times of chain and key.
type Modified = [Option<SystemTime>; 2];

impl OwnCertificate {
    /// Reads it; a self-signed one that is not there yet, or lacks one of its names, is made in `data_dir`.
    pub fn load(settings: &Certificate, data_dir: &Path) -> Result<OwnCertificate, CertificateError> {
        let name = settings.name.clone();
        let (chain, key) = match &settings.source {
            CertificateSource::Files { chain, key } => (chain.clone(), key.clone()),
            CertificateSource::SelfSigned { names } => keep_self_signed(&name, names, data_dir)?,
        };
        let read_at = Mutex::new(modified(&chain, &key));
        let current = RwLock::new(read(&name, &chain, &key)?);
        Ok(OwnCertificate { name, chain, key, read_at, current, serves_dtls: AtomicBool::new(false) })
    }

    /// Reads the files again if one has changed since; true if there is a new certificate now. On an error the old one
    /// stays in force, and the files are not tried again until they change.
    pub fn refresh(&self) -> Result<bool, CertificateError> {
        let seen = modified(&self.chain, &self.key);
        let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        if *read_at == seen {
            return Ok(false);
        }
        *read_at = seen;
        let mut new = read(&self.name, &self.chain, &self.key)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if new.dtls.is_none() && self.serves_dtls.load(Ordering::Relaxed) {
            tracing::warn!("{}; until then DTLS shows the certificate before it", self.of_another_kind());
            new.dtls = current.dtls.take();
        }
        *current = new;
        Ok(true)
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As DTLS handshakes take it: of the chain only the first certificate.
    pub fn for_dtls(&self) -> Result<Arc<DtlsCertificate>, CertificateError> {
        self.serves_dtls.store(true, Ordering::Relaxed);
        self.read().dtls.clone().ok_or_else(|| self.of_another_kind())
    }

    fn of_another_kind(&self) -> CertificateError {
        CertificateError::NotForDtls { name: self.name.clone(), key: self.key.clone() }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.read().tls.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a listener shows: of several certificates the one for the name that the client has asked for.
#[derive(Debug)]
pub(super) struct OwnCertificates {
    default: Arc<OwnCertificate>,
    others: Vec<Arc<OwnCertificate>>,
}

impl OwnCertificates {
    /// The first is for clients that ask for no name, or for one that none of them carries; `None` if there is none.
    pub fn new(certificates: Vec<Arc<OwnCertificate>>) -> Option<OwnCertificates> {
        let mut certificates = certificates.into_iter();
        Some(OwnCertificates { default: certificates.next()?, others: certificates.collect() })
    }

    /// This one for everybody.
    pub fn one(certificate: Arc<OwnCertificate>) -> OwnCertificates {
        OwnCertificates { default: certificate, others: Vec::new() }
    }

    /// The one to show to a client that asks for this name and can check these signatures.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let default = self.default.current();
        let Some(name) = name.and_then(|name| ServerName::try_from(name).ok()) else { return default };
        let is_right =
            |shown: &Arc<CertifiedKey>| carries(shown, &name) && shown.key.choose_scheme(schemes).is_some();
        if self.others.is_empty() || is_right(&default) {
            return default;
        }
        self.others.iter().map(|other| other.current()).find(is_right).unwrap_or(default)
    }
}

/// RFC 6066 §3: a name that we do not know is no reason to hang up. Peers that verify will; those that do not ask by address, or
/// by a name of the PBX's, and want to be served.
impl ResolvesServerCert for OwnCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name(), hello.signature_schemes()))
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

fn modified(chain: &Path, key: &Path) -> Modified {
    [chain, key].map(|file| fs::metadata(file).and_then(|meta| meta.modified()).ok())
}

fn read(name: &Arc<str>, chain: &Path, key: &Path) -> Result<Current, CertificateError> {
    let unreadable = |file: &Path, reason: String| CertificateError::Unreadable {
        name: name.clone(),
        file: file.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(chain, error.to_string()))?;
    if certificates.is_empty() {
        return Err(CertificateError::Empty { name: name.clone(), file: chain.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
    let signing = any_supported_type(&private).map_err(|error| unreadable(key, error.to_string()))?;
    let dtls = signing.choose_scheme(DTLS_SIGNATURES).map(|_| {
        let certificate = certificates.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        Arc::new(DtlsCertificate { certificate, private_key: private.secret_der().to_vec() })
    });
    let tls = Arc::new(CertifiedKey::new(certificates, signing));
    match tls.keys_match() {
        // `Unknown` is a key type that cannot say: the first handshake will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Current { tls, dtls })
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch {
            name: name.clone(),
            chain: chain.to_owned(),
            key: key.to_owned(),
        }),
        Err(error) => Err(unreadable(chain, error.to_string())),
    }
}

/// Makes the certificate unless the kept one carries every name; its paths.
fn keep_self_signed(
    name: &Arc<str>,
    names: &[String],
    data_dir: &Path,
) -> Result<(PathBuf, PathBuf), CertificateError> {
    let folder = data_dir.join("certificates");
    let (chain, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let has_all = |kept: &Current| {
        names.iter().all(|name| ServerName::try_from(&**name).is_ok_and(|name| carries(&kept.tls, &name)))
    };
    if read(name, &chain, &key).is_ok_and(|kept| has_all(&kept)) {
        return Ok((chain, key));
    }
    let failed =
        |reason: String| CertificateError::SelfSigned { name: name.clone(), folder: folder.clone(), reason };
    let (certificate, private) = self_sign(names).map_err(|error| failed(error.to_string()))?;
    super::data_dir::make(&folder)
        .and_then(|()| super::data_dir::write_private(&key, private.as_bytes()))
        .and_then(|()| fs::File::create(&chain)?.write_all(certificate.as_bytes()))
        .map_err(|error| failed(error.to_string()))?;
    Ok((chain, key))
}

fn carries(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let leaf = certificate.end_entity_cert().and_then(ParsedCertificate::try_from);
    leaf.is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, name).is_ok())
}

/// Certificate and key in PEM form.
fn self_sign(names: &[String]) -> Result<(String, String), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common_name = names.first().map_or("turnpike", String::as_str);
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed(names: &[&str]) -> Certificate {
        let names = names.iter().map(|name| name.to_string()).collect();
        Certificate { name: "demo".into(), source: CertificateSource::SelfSigned { names } }
    }

    fn leaf(certificate: &OwnCertificate) -> Vec<u8> {
        certificate.current().end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn the_certificate_for_the_name_is_shown_and_else_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, names: &[&str]| {
            let names = names.iter().map(|name| name.to_string()).collect();
            let settings = Certificate { name: name.into(), source: CertificateSource::SelfSigned { names } };
            Arc::new(OwnCertificate::load(&settings, dir.path()).unwrap())
        };
        let all = [
            make("first", &["sip.example.com"]),
            make("tenants", &["*.tenants.example.com"]),
            make("second", &["sip.example.org", "sip.example.net"]),
        ];
        let certificates = OwnCertificates::new(all.to_vec()).unwrap();
        let shown = |name: Option<&str>, schemes: &[SignatureScheme]| {
            let shown = certificates.choose(name, schemes);
            all.iter().find(|one| one.current().cert == shown.cert).unwrap().name().to_owned()
        };
        let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
        for (name, expected) in [
            (Some("sip.example.com"), "first"),
            (Some("SIP.Example.NET"), "second"),
            (Some("a.tenants.example.com"), "tenants"),
            (Some("a.b.tenants.example.com"), "first"),
            (Some("other.example"), "first"),
            (Some("..."), "first"),
            (None, "first"),
        ] {
            assert_eq!(shown(name, &ecdsa), expected, "{name:?}");
        }
        let rsa_alone = [SignatureScheme::RSA_PSS_SHA256];
        assert_eq!(shown(Some("sip.example.org"), &rsa_alone), "first", "none that the client can check");
        assert!(OwnCertificates::new(Vec::new()).is_none());
    }

    #[test]
    fn a_self_signed_certificate_is_kept_until_its_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let first = OwnCertificate::load(&self_signed(&["localhost", "127.0.0.1"]), dir.path()).unwrap();
        let again = OwnCertificate::load(&self_signed(&["localhost"]), dir.path()).unwrap();
        assert_eq!(leaf(&first), leaf(&again));
        let other = OwnCertificate::load(&self_signed(&["localhost", "::1"]), dir.path()).unwrap();
        assert_ne!(leaf(&first), leaf(&other));
    }

    #[cfg(unix)]
    #[test]
    fn its_key_is_for_our_eyes_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        OwnCertificate::load(&self_signed(&["localhost"]), dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("certificates/demo.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn from_files(dir: &Path) -> Certificate {
        let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
        Certificate { name: "public".into(), source: CertificateSource::Files { chain, key } }
    }

    fn put(dir: &Path, certificate: &str, key: &str) {
        fs::write(dir.join("chain.pem"), certificate).unwrap();
        fs::write(dir.join("key.pem"), key).unwrap();
        // A file system's clock may be coarser than this test: make sure that each write is seen as one.
        let later = SystemTime::now() + std::time::Duration::from_secs(certificate.len() as u64);
        fs::File::options().append(true).open(dir.join("chain.pem")).unwrap().set_modified(later).unwrap();
    }

    #[test]
    fn a_renewed_file_is_taken_and_a_broken_one_leaves_the_old_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let (one, one_key) = self_sign(&["one.example".into()]).unwrap();
        let (two, two_key) = self_sign(&["second.example".into()]).unwrap();
        put(dir.path(), &one, &one_key);
        let certificate = OwnCertificate::load(&from_files(dir.path()), dir.path()).unwrap();
        let before = leaf(&certificate);
        assert!(!certificate.refresh().unwrap());
        put(dir.path(), "nonsense", &two_key);
        assert!(matches!(certificate.refresh(), Err(CertificateError::Empty { .. })));
        assert!(!certificate.refresh().unwrap(), "not tried again until it changes");
        assert_eq!(leaf(&certificate), before);
        put(dir.path(), &two, &two_key);
        assert!(certificate.refresh().unwrap());
        assert_ne!(leaf(&certificate), before);
    }

    #[test]
    fn dtls_takes_ecdsa_and_says_what_to_do_about_others() {
        let of = |algorithm| {
            let dir = tempfile::tempdir().unwrap();
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
            put(dir.path(), &certificate.self_signed(&key).unwrap().pem(), &key.serialize_pem());
            let certificate = OwnCertificate::load(&from_files(dir.path()), dir.path()).unwrap();
            certificate.for_dtls().map(|dtls| (dtls.certificate.clone(), leaf(&certificate)))
        };
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let (dtls, tls) = of(algorithm).unwrap();
            assert_eq!(dtls, tls);
        }
        for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
            let error = of(algorithm).unwrap_err();
            assert!(error.to_string().contains("openssl ecparam"), "{error}");
        }
    }

    #[test]
    fn dtls_keeps_its_certificate_when_a_renewed_one_is_of_another_kind() {
        let dir = tempfile::tempdir().unwrap();
        let (one, one_key) = self_sign(&["one.example".into()]).unwrap();
        put(dir.path(), &one, &one_key);
        let certificate = OwnCertificate::load(&from_files(dir.path()), dir.path()).unwrap();
        let before = certificate.for_dtls().unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let other = rcgen::CertificateParams::new(["another.example".to_owned()]).unwrap();
        put(dir.path(), &other.self_signed(&key).unwrap().pem(), &key.serialize_pem());
        assert!(certificate.refresh().unwrap());
        assert_eq!(certificate.for_dtls().unwrap().certificate, before.certificate);
        assert_ne!(leaf(&certificate), before.certificate);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (one, _) = self_sign(&["one.example".into()]).unwrap();
        let (_, two_key) = self_sign(&["two.example".into()]).unwrap();
        put(dir.path(), &one, &two_key);
        let error = OwnCertificate::load(&from_files(dir.path()), dir.path()).unwrap_err();
        assert!(matches!(error, CertificateError::Mismatch { .. }), "{error}");
    }
}
