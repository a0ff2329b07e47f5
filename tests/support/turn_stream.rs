//! TURN over TCP and TLS: what [`TurnClient`](crate::turn_client::TurnClient) speaks over besides UDP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use turnpike::stun::demux::{Frame, stream_frame};

use crate::turn_client::Wire;

/// A stream, cut into messages.
pub struct Stream<S> {
    pub stream: S,
    pub socket: TcpStream,
    /// Read and not taken yet.
    pub received: Vec<u8>,
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Over TCP.
pub fn over_tcp(server: SocketAddr) -> Stream<TcpStream> {
    let socket = connect(server);
    Stream { stream: socket.try_clone().unwrap(), socket, received: Vec::new() }
}

/// Over TLS.
pub fn over_tls(server: SocketAddr, config: Arc<ClientConfig>) -> Stream<Tls> {
    let socket = connect(server);
    let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let stream = StreamOwned::new(connection, socket.try_clone().unwrap());
    Stream { stream, socket, received: Vec::new() }
}

/// Trusts only the certificate in `ca`.
pub fn trusting(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(server: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(server).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

impl<S: Read + Write + Send> Wire for Stream<S> {
    fn send(&mut self, message: &[u8]) {
        let mut padded = message.to_vec();
        padded.resize(message.len().next_multiple_of(4), 0);
        self.stream.write_all(&padded).unwrap();
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        loop {
            match stream_frame(&self.received, true) {
                Frame::Stun { bytes, consumed } | Frame::ChannelData { bytes, consumed } => {
                    let message = bytes.to_vec();
                    self.received.drain(..consumed);
                    return Some(message);
                }
                Frame::Wants(_) => {}
                Frame::Garbage => panic!("the server sends {:02x?}", self.received),
            }
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 16_384];
            match self.stream.read(&mut bytes) {
                Ok(n @ 1..) => self.received.extend(&bytes[..n]),
                Ok(0) | Err(_) => return None,
            }
        }
    }
}
