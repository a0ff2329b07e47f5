//! A web server with fixed answers, over TLS if it has a certificate, that remembers what it was asked; and authorities for it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{DEADLINE, eventually};

/// What came: the head, as it stands, and the body.
pub type Asked = (String, String);

pub struct WebServer {
    pub at: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pages: Mutex<HashMap<String, String>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
}

impl WebServer {
    /// Without TLS.
    pub fn start() -> WebServer {
        WebServer::serve(None)
    }

    /// Over TLS, with this certificate.
    pub fn secure(certificate: &Arc<ServerConfig>) -> WebServer {
        WebServer::serve(Some(certificate.clone()))
    }

    fn serve(tls: Option<Arc<ServerConfig>>) -> WebServer {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let inner = Arc::new(Inner { tls: Mutex::new(tls), ..Inner::default() });
        let server = WebServer { at, inner: inner.clone() };
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let inner = inner.clone();
                std::thread::spawn(move || inner.visited(stream.unwrap()));
            }
        });
        server
    }

    /// From now on with this certificate.
    pub fn show(&self, certificate: &Arc<ServerConfig>) {
        *self.inner.tls.lock().unwrap() = Some(certificate.clone());
    }

    /// What a path is answered with; what was not published is not found, and what ends in NUL never ends.
    pub fn publish(&self, path: &str, page: String) {
        self.inner.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Everything that was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().unwrap().clone()
    }

    /// How often this path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|(head, _)| head.split(' ').nth(1) == Some(path)).count()
    }

    pub fn wait_until_asked(&self, path: &str, times: usize) {
        eventually("asked", || self.count(path) >= times);
    }

    /// Until so many more connections have come, whatever became of them; what came of all but the last is known then.
    pub fn wait_for_connections(&self, more: usize) {
        let connections = || self.inner.connections.load(Ordering::SeqCst);
        let enough = connections() + more;
        eventually("asked again", || connections() >= enough);
    }
}

impl Inner {
    fn visited(&self, mut stream: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let Some(config) = self.tls.lock().unwrap().clone() else {
            self.answer(&mut stream);
            let _ = stream.shutdown(Shutdown::Write);
            return;
        };
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() {
            if connection.complete_io(&mut stream).is_err() {
                return;
            }
        }
        let mut stream = StreamOwned::new(connection, stream);
        self.answer(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    fn answer(&self, stream: &mut (impl Read + Write)) {
        let Some((head, body)) = read(&mut BufReader::new(&mut *stream)) else { return };
        let path = head.split(' ').nth(1).unwrap_or_default();
        let page = self.pages.lock().unwrap().get(path).cloned();
        self.asked.lock().unwrap().push((head, body));
        match page {
            Some(page) if page.ends_with('\0') => {
                let _ = stream.write_all(page.trim_end_matches('\0').as_bytes());
                let _ = stream.flush();
                // Until the client has gone.
                let _ = stream.read(&mut [0]);
            }
            page => {
                let page = page.unwrap_or_else(|| answer("404 Not Found", ""));
                let _ = stream.write_all(page.as_bytes());
                let _ = stream.flush();
            }
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

pub fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of two of the same name one would be known by its signature alone.
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server of this name.
    pub fn sign(&self, name: &str) -> Arc<ServerConfig> {
        self.signed(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// The same, but it was valid for a month long ago.
    pub fn sign_expired(&self, name: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        self.signed(params)
    }

    fn signed(&self, params: CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            );
        Arc::new(config.unwrap())
    }
}
