//! TURN over DTLS: what [`TurnClient`](crate::turn_client::TurnClient) speaks over besides UDP.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};

use crate::turn_client::Wire;

/// A client's association.
pub struct Association {
    pub socket: UdpSocket,
    dtls: Dtls,
    pub is_connected: bool,
    /// The server has closed it.
    pub is_closed: bool,
    /// It was told that there is no way.
    pub is_refused: bool,
    /// What the server showed.
    pub certificate: Option<Vec<u8>>,
    received: VecDeque<Vec<u8>>,
    bytes_sent: usize,
}

/// Shakes hands from an address of `server`'s family on loopback.
pub fn over_dtls(server: SocketAddr) -> Association {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    socket.connect(server).unwrap();
    let mut association = begin(socket);
    association.wait(Duration::from_secs(10), |association| association.is_connected);
    association
}

/// Has something to say, and has not said it.
pub fn begin(socket: UdpSocket) -> Association {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let certificate =
        DtlsCertificate { certificate: certificate.der().to_vec(), private_key: key.serialize_der() };
    let mut dtls = Dtls::new_12(Arc::new(Config::default()), certificate, Instant::now());
    dtls.set_active(true);
    dtls.handle_timeout(Instant::now()).unwrap();
    Association {
        socket,
        dtls,
        is_connected: false,
        is_closed: false,
        is_refused: false,
        certificate: None,
        received: VecDeque::new(),
        bytes_sent: 0,
    }
}

impl Association {
    /// Talks until `enough`, or so long; whether it was enough.
    pub fn wait(&mut self, patience: Duration, enough: impl Fn(&Association) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut buffer = vec![0; 65_536];
        loop {
            let due = self.say();
            if enough(self) {
                return true;
            }
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            let left = due.min(deadline).saturating_duration_since(now).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            match self.socket.recv(&mut buffer) {
                Ok(n) => self.is_refused |= self.dtls.handle_packet(&buffer[..n]).is_err(),
                Err(_) => self.dtls.handle_timeout(Instant::now()).unwrap(),
            }
        }
    }

    /// Says what there is to say; when there will be more.
    fn say(&mut self) -> Instant {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => self.bytes_sent += self.socket.send(datagram).unwrap(),
                Output::ApplicationData(message) => self.received.push_back(message.to_vec()),
                Output::PeerCert(certificate) => self.certificate = Some(certificate.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(due) => return due,
                _ => {}
            }
        }
    }

    /// Sends several messages in one datagram.
    pub fn send_together(&mut self, messages: &[&[u8]]) {
        for message in messages {
            self.dtls.send_application_data(message).unwrap();
        }
        self.say();
    }

    /// Says the first thing that it has to say; how many bytes that are.
    pub fn say_bytes(&mut self) -> usize {
        self.say();
        self.bytes_sent
    }
}

/// Says good-bye.
impl Drop for Association {
    fn drop(&mut self) {
        if self.dtls.close().is_ok() {
            self.say();
        }
    }
}

impl Wire for Association {
    fn send(&mut self, message: &[u8]) {
        self.send_together(&[message]);
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.wait(patience, |association| !association.received.is_empty());
        self.received.pop_front()
    }
}
