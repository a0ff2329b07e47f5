//! A line to one server: a socket that waits for a while and no longer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustls::{ClientConnection, StreamOwned};

use super::TlsSeen;
use crate::net::tls;
use crate::sip::framing::{Frame, Framer};
use crate::sip::locate::Server;
use crate::sip::message::{Limits, Message};

/// Connected.
pub(super) struct Line {
    wire: Wire,
    /// As Via names the transport.
    pub transport: &'static str,
    /// Ours.
    pub local: SocketAddr,
    framer: Framer,
    buffer: BytesMut,
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between TCP and TLS.
    None,
}

impl Line {
    /// To this server, from this address if it must be one.
    pub fn open(server: Server, local: Option<IpAddr>, patience: Duration) -> io::Result<Line> {
        let remote = server.remote;
        let any: IpAddr =
            if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let from = local.filter(|local| local.is_ipv4() == remote.is_ipv4()).unwrap_or(any);
        let (wire, local) = if server.transport.is_reliable() {
            let kind = if remote.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
            let socket = socket2::Socket::new(kind, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            socket.connect_timeout(&remote.into(), patience)?;
            let stream = TcpStream::from(socket);
            stream.set_write_timeout(Some(patience))?;
            let local = stream.local_addr()?;
            (Wire::Tcp(stream), local)
        } else {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect(remote)?;
            let local = socket.local_addr()?;
            (Wire::Udp(socket), local)
        };
        let transport = server.transport.via();
        Ok(Line { wire, transport, local, framer: Framer::default(), buffer: BytesMut::new() })
    }

    /// Shakes hands over the TCP connection.
    pub fn secure(&mut self, client: tls::Client, patience: Duration) -> io::Result<TlsSeen> {
        let Wire::Tcp(mut stream) = std::mem::replace(&mut self.wire, Wire::None) else {
            return Err(ErrorKind::Unsupported.into());
        };
        stream.set_read_timeout(Some(patience))?;
        let mut connection =
            ClientConnection::new(client.config, client.server_name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let seen = TlsSeen {
            version: connection.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default(),
            names: shown.map(tls::names).unwrap_or_default(),
        };
        self.wire = Wire::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(seen)
    }

    /// What is lost must be sent again.
    pub fn is_lossy(&self) -> bool {
        matches!(self.wire, Wire::Udp(_))
    }

    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Udp(socket) => socket.send(message).map(|_| ()),
            Wire::Tcp(stream) => stream.write_all(message),
            Wire::Tls(stream) => stream.write_all(message).and_then(|()| stream.flush()),
            Wire::None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// The next response in this call; `None`: none until then.
    pub fn response(&mut self, call_id: &str, until: Instant) -> io::Result<Option<Message>> {
        loop {
            let Some(bytes) = self.message(until)? else { return Ok(None) };
            // What cannot be read is as good as nothing.
            let Ok(message) = Message::parse(bytes, &Limits::default()) else { continue };
            if message.status().is_some() && message.call_id() == call_id.as_bytes() {
                return Ok(Some(message));
            }
        }
    }

    fn message(&mut self, until: Instant) -> io::Result<Option<Bytes>> {
        loop {
            if !self.is_lossy() {
                let frame = self.framer.next(&mut self.buffer, &Limits::default());
                match frame.map_err(|_| io::Error::new(ErrorKind::InvalidData, "what it sends is not SIP"))? {
                    Some(Frame::Message(bytes)) => return Ok(Some(bytes)),
                    Some(Frame::Ping | Frame::Pong) => continue,
                    None => {}
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut chunk = [0; 65_536];
            let n = match self.read(&mut chunk, left) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                read => read?,
            };
            let read = chunk.get(..n).unwrap_or_default();
            match (self.is_lossy(), n) {
                (true, _) => return Ok(Some(Bytes::copy_from_slice(read))),
                (false, 0) => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection"));
                }
                (false, _) => self.buffer.extend_from_slice(read),
            }
        }
    }

    fn read(&mut self, chunk: &mut [u8], within: Duration) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Udp(socket) => {
                socket.set_read_timeout(Some(within))?;
                socket.recv(chunk)
            }
            Wire::Tcp(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.read(chunk)
            }
            Wire::Tls(stream) => {
                stream.sock.set_read_timeout(Some(within))?;
                stream.read(chunk)
            }
            Wire::None => Err(ErrorKind::NotConnected.into()),
        }
    }
}
