//! A worker's round with nothing but streams in it, a server that makes an allocation for whoever asks, and clients; all on
//! one thread, over loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use mio::{Events, Poll};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion,
};

use super::super::*;
use crate::net::certificates::{OwnCertificate, OwnCertificates};
use crate::net::settings::{Capacity, Certificate, CertificateSource};
use crate::net::tls;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct World {
    pub streams: Streams,
    poll: Poll,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    /// What the streams are told is the time; stands still unless a test moves it.
    pub now: Instant,
    /// Messages that the server was given.
    pub messages: Vec<(FiveTuple, Vec<u8>)>,
    pub closed: Vec<FiveTuple>,
    room: Vec<u8>,
    /// Connections from there are not accepted.
    pub banned: Option<IpAddr>,
    _data_dir: tempfile::TempDir,
}

pub fn patience() -> Patience {
    Patience {
        handshake: Duration::from_secs(5),
        message: Duration::from_secs(10),
        write: Duration::from_secs(20),
        ..Patience::default()
    }
}

impl World {
    pub fn new() -> World {
        World::with(Capacity::default())
    }

    pub fn with(capacity: Capacity) -> World {
        let data_dir = tempfile::tempdir().unwrap();
        let source = CertificateSource::SelfSigned { names: vec!["localhost".into()] };
        let certificate = Certificate { name: "demo".into(), source };
        let certificate = Arc::new(OwnCertificate::load(&certificate, data_dir.path()).unwrap());
        let poll = Poll::new().unwrap();
        let settings = Settings {
            tls: vec![None, Some(tls::server(OwnCertificates::one(certificate), None, &[]).unwrap())],
            places: Places::new(capacity),
            outbound_bytes: capacity.outbound_bytes,
            patience: patience(),
        };
        let registry = poll.registry().try_clone().unwrap();
        let now = Instant::now();
        let mut streams = Streams::new(settings, registry, Arc::default(), now);
        let mut listen = |listener| {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let addr = socket.local_addr().unwrap();
            streams.listen(listener, socket).unwrap();
            addr
        };
        let (plain, tls) = (listen(0), listen(1));
        let (messages, closed) = (Vec::new(), Vec::new());
        World {
            streams,
            poll,
            plain,
            tls,
            now,
            messages,
            closed,
            room: vec![0; ROOM],
            banned: None,
            _data_dir: data_dir,
        }
    }

    /// One round. Requests are sent back as they came, and the first makes an allocation; ChannelData is sent back too.
    pub fn round(&mut self) {
        let mut events = Events::with_capacity(64);
        // The streams' own clock stands still: look again soon.
        self.poll.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
        for _ in 0..self.streams.begin_round(self.now) {
            if let Some(ready) = self.streams.next_postponed() {
                self.serve(ready);
            }
        }
        for event in &events {
            let ready = Ready::from_token(event.token()).unwrap();
            if let (Ready::Stream(slot), true) = (ready, event.is_read_closed()) {
                self.streams.hung_up(slot);
            }
            self.serve(ready);
        }
        self.end_round();
    }

    fn serve(&mut self, ready: Ready) {
        match ready {
            Ready::Accept(listener) => {
                let banned = self.banned;
                self.streams
                    .accept(listener, self.now, |source| (Some(source) == banned).then_some(Reason::Banned));
            }
            Ready::Stream(slot) => self.read(slot),
            _ => panic!("{ready:?}"),
        }
    }

    /// As the packet path does it.
    fn read(&mut self, slot: usize) {
        for turn in 1.. {
            let Some(stretch) = self.streams.read(slot, &mut self.room) else { return };
            let (mut at, mut messages) = (0, 0);
            while let Some(cut) = self.streams.cut(slot, &self.room[at..stretch.bytes]) {
                self.handle(stretch.client, at..at + cut.message);
                at += cut.consumed;
                messages += 1;
            }
            self.streams.keep(slot, &self.room[at..stretch.bytes], messages, self.now);
            if !stretch.more {
                return;
            }
            if turn == TURNS {
                return self.streams.postpone(slot);
            }
        }
    }

    fn handle(&mut self, client: FiveTuple, message: std::ops::Range<usize>) {
        let message = self.room[message].to_vec();
        let cargo = if is_request(&message) { Cargo::Answer } else { Cargo::Media };
        let mut padded = message.clone();
        padded.resize(message.len().next_multiple_of(4), 0);
        self.streams.send(client, &padded, cargo);
        if is_request(&message) {
            self.streams.set_allocated(client, true, self.now);
        }
        self.messages.push((client, message));
    }

    pub fn end_round(&mut self) {
        self.streams.end_round(self.now);
        while let Some(client) = self.streams.next_closed() {
            self.closed.push(client);
        }
    }

    /// Rounds until it is so; the client reads and writes between them.
    pub fn until(&mut self, client: &mut Client, mut reached: impl FnMut(&World, &Client) -> bool) {
        let start = Instant::now();
        while !reached(self, client) {
            assert!(start.elapsed() < DEADLINE, "never: {:?} {:?}", client.received, self.messages);
            client.pump();
            self.round();
        }
    }

    /// Rounds until nothing more happens that would.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            self.round();
        }
    }

    /// Later.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.round();
    }

    pub fn connect(&mut self) -> Client {
        Client::new(self.plain, None)
    }

    pub fn connect_tls(&mut self) -> Client {
        let mut client = Client::new(self.tls, Some(client_config(rustls::ALL_VERSIONS)));
        self.until(&mut client, |_, client| !client.tls.as_ref().unwrap().is_handshaking());
        client.pump();
        client
    }

    /// One that has asked for an allocation and has its answer.
    pub fn allocated(&mut self, mut client: Client) -> Client {
        client.send(&request(0));
        self.until(&mut client, |_, client| client.received == request(0));
        client.received.clear();
        client
    }

    /// How many connections were closed, for this reason.
    pub fn count(&self, why: Closed) -> u64 {
        self.streams.counters.read().closed().find(|(reason, _)| *reason == why).unwrap().1
    }

    /// The only connection there is.
    pub fn only(&mut self) -> &mut Connection {
        assert_eq!(self.streams.connections.len(), 1);
        self.streams.connections.iter_mut().next().unwrap().1
    }
}

/// A STUN message that is an Allocate request by its first bytes.
pub fn request(number: u8) -> Vec<u8> {
    let mut request = vec![0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([number; 12]);
    request
}

fn is_request(message: &[u8]) -> bool {
    message[0] == 0
}

/// ChannelData with its padding.
pub fn on_channel(payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0x40, 0, (payload.len() >> 8) as u8, payload.len() as u8];
    message.extend(payload);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// A client that never waits.
pub struct Client {
    pub socket: TcpStream,
    pub tls: Option<ClientConnection>,
    pub received: Vec<u8>,
    /// TLS records, handshake ones included, in what the server sent; only counted over TLS.
    pub records: usize,
    raw: Vec<u8>,
    pub is_closed: bool,
}

impl Client {
    pub fn new(to: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Client {
        let socket = TcpStream::connect(to).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = tls.map(|config| ClientConnection::new(config, name).unwrap());
        Client { socket, tls, received: Vec::new(), records: 0, raw: Vec::new(), is_closed: false }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.socket.write_all(bytes).unwrap(),
            Some(tls) => tls.writer().write_all(bytes).unwrap(),
        }
        self.pump();
    }

    /// Writes what TLS has to write, reads what is there.
    pub fn pump(&mut self) {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
        }
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => self.is_closed = true,
                Ok(n) => {
                    self.take(&bytes[..n]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.is_closed = true,
            }
            return;
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.received.extend(bytes) };
        self.raw.extend(bytes);
        while let Some([_, _, _, high, low]) = self.raw.first_chunk() {
            let record = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            let Some(_) = self.raw.get(..record) else { break };
            self.raw.drain(..record);
            self.records += 1;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            tls.read_tls(&mut rest).unwrap();
            if tls.process_new_packets().is_err() {
                self.is_closed = true;
                return;
            }
            let mut content = Vec::new();
            let _ = tls.reader().read_to_end(&mut content);
            self.received.extend(content);
        }
    }
}

pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    Arc::new(config)
}

/// Whose certificate it is, is another test's business (tests/net/tls.rs).
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
