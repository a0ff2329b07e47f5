//! The demo's phone: SIP over TLS, one call.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rsip::Method;
use rsip::message::HeadersExt;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::sip::{self, Dialog};
use super::talk::{Heard, talk};
use crate::sip::framing::{Frame, Framer};
use crate::sip::message::Limits;

/// The user that the phone registers as, and the one that it calls.
pub(super) const USER: &str = "201";
pub(super) const ECHO: &str = "600";

/// Connected, not yet registered.
pub(super) struct Phone {
    stream: StreamOwned<ClientConnection, TcpStream>,
    framer: Framer,
    buffer: BytesMut,
    local: SocketAddr,
    edge: SocketAddr,
}

/// One call as the phone saw it.
pub(super) struct Call {
    /// The offer that it sent and the answer that it got.
    pub offer: String,
    pub answer: String,
    pub heard: Heard,
}

impl Phone {
    /// Connects over TLS and checks the edge's certificate against `trusted`.
    pub fn connect(edge: SocketAddr, trusted: CertificateDer<'static>) -> io::Result<Phone> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).map_err(io::Error::other)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::from(edge.ip());
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect(edge)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let local = socket.local_addr()?;
        let stream = StreamOwned::new(connection, socket);
        Ok(Phone { stream, framer: Framer::default(), buffer: BytesMut::new(), local, edge })
    }

    /// REGISTER, until the PBX's 200.
    pub fn register(&mut self) -> io::Result<()> {
        let dialog = self.dialog("register");
        let uri = format!("sip:{}", self.edge);
        self.send(dialog.request(Method::Register, &uri, USER, Vec::new()))?;
        self.final_response().map(|_| ())
    }

    /// Calls the echo, talks for `packets` times 20 ms, hangs up.
    pub fn call(&mut self, packets: usize) -> io::Result<Call> {
        let media = UdpSocket::bind((self.local.ip(), 0))?;
        let offer = sip::describe(USER, media.local_addr()?);
        let mut dialog = self.dialog("call");
        let uri = format!("sip:{ECHO}@{}", self.edge);
        self.send(dialog.request(Method::Invite, &uri, ECHO, offer.clone().into_bytes()))?;
        let ok = self.final_response()?;
        dialog.confirm(&ok).map_err(io::Error::other)?;
        let contact = ok.contact_header().and_then(|c| c.uri()).map_err(io::Error::other)?.to_string();
        self.send(dialog.request(Method::Ack, &contact, ECHO, Vec::new()))?;

        let to = sip::media_address(&ok.body)
            .ok_or_else(|| io::Error::other("the answer names no media address"))?;
        let heard = talk(&media, to, packets)?;

        dialog.cseq += 1;
        self.send(dialog.request(Method::Bye, &contact, ECHO, Vec::new()))?;
        self.final_response()?;
        Ok(Call { offer, answer: String::from_utf8_lossy(&ok.body).into_owned(), heard })
    }

    fn dialog(&self, what: &str) -> Dialog {
        Dialog {
            transport: "TLS",
            local: self.local,
            user: USER,
            domain: "turnpike.example".into(),
            call_id: format!("{what}-{}@demo", self.local.port()),
            from_tag: format!("demo{}", self.local.port()),
            to_tag: None,
            routes: Vec::new(),
            cseq: 1,
        }
    }

    fn send(&mut self, request: Result<Vec<u8>, rsip::Error>) -> io::Result<()> {
        self.stream.write_all(&request.map_err(io::Error::other)?)?;
        self.stream.flush()
    }

    /// Reads past provisional responses; anything but a 200 in the end is an error.
    fn final_response(&mut self) -> io::Result<rsip::Response> {
        loop {
            let bytes = self.message()?;
            let response = rsip::Response::try_from(bytes.as_ref()).map_err(io::Error::other)?;
            match response.status_code.code() {
                100..200 => {}
                200..300 => return Ok(response),
                _ => return Err(io::Error::other(format!("the edge answered {}", response.status_code))),
            }
        }
    }

    fn message(&mut self) -> io::Result<bytes::Bytes> {
        loop {
            match self.framer.next(&mut self.buffer, &Limits::default()).map_err(io::Error::other)? {
                Some(Frame::Message(bytes)) => return Ok(bytes),
                Some(Frame::Ping | Frame::Pong) => {}
                None => {
                    let mut chunk = [0; 4096];
                    let length = self.stream.read(&mut chunk)?;
                    if length == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.buffer.extend_from_slice(&chunk[..length]);
                }
            }
        }
    }
}
