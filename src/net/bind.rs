//! Binds the listeners' sockets, before any thread starts: what is wrong is said at once, to whoever started us.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::node::StartError;
use crate::base::Transport;
use crate::edge::settings::Listener;

/// Connections that the kernel holds until we accept them.
const BACKLOG: i32 = 1_024;
/// Asked for; the kernel gives what `net.core.rmem_max` and `wmem_max` allow. A burst of calls must fit.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// A listener's socket.
pub(super) enum Socketed {
    /// Datagrams.
    Udp(UdpSocket),
    /// Connections; with TLS or without.
    Stream(TcpListener),
}

/// Binds one listener, and writes the port that it was given, if it asked for any, into `bind` and `advertise`.
pub(super) fn bind(listener: &mut Listener) -> Result<Socketed, StartError> {
    let failed = |listener: &Listener, error: io::Error| StartError::Bind {
        name: listener.name.clone(),
        transport: listener.transport,
        addr: listener.bind,
        advice: advice(&error, listener.bind),
        error,
    };
    let bound = match listener.transport {
        Transport::Udp => {
            udp(listener.bind).and_then(|socket| Ok((socket.local_addr()?, Socketed::Udp(socket))))
        }
        Transport::Tcp | Transport::Tls => {
            tcp(listener.bind).and_then(|socket| Ok((socket.local_addr()?, Socketed::Stream(socket))))
        }
        Transport::Ws | Transport::Wss => Err(io::ErrorKind::Unsupported.into()),
    };
    let (addr, socket) = bound.map_err(|error| failed(listener, error))?;
    if let Some(host) = listener.advertise.strip_suffix(":0") {
        listener.advertise = format!("{host}:{}", addr.port()).into();
    }
    listener.bind = addr;
    Ok(socket)
}

fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // No SO_REUSEADDR: for UDP it would let a second process take our datagrams.
    prepare(&socket, addr)?;
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    let _ = socket.set_send_buffer_size(UDP_BUFFER);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    prepare(&socket, addr)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if addr.is_ipv6() {
        // An IPv4 source must not arrive as ::ffff:a.b.c.d, where no rule about IPv4 networks would see it.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)
}

fn advice(error: &io::Error, addr: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("something else listens there: see `ss -lunpt 'sport = :{}'`, or choose another port", addr.port())
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has this address: see `ip address`, or bind 0.0.0.0".into()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: `setcap cap_net_bind_service=+ep $(command -v turnpike)`, or choose a higher one"
                .into()
        }
        _ => "check `bind:` of this listener".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ZoneId;

    fn listener(transport: Transport, bind: &str, advertise: &str) -> Listener {
        Listener {
            name: "phones".into(),
            zone: ZoneId(0),
            transport,
            bind: bind.parse().unwrap(),
            advertise: advertise.into(),
        }
    }

    #[test]
    fn any_port_becomes_the_real_one_wherever_it_is_named() {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            let mut listener = listener(transport, "127.0.0.1:0", "127.0.0.1:0");
            let _socket = bind(&mut listener).unwrap();
            assert_ne!(listener.bind.port(), 0);
            assert_eq!(*listener.advertise, listener.bind.to_string());
        }
        let mut named = listener(Transport::Tcp, "127.0.0.1:0", "sip.example.com:5061");
        let _socket = bind(&mut named).unwrap();
        assert_eq!(&*named.advertise, "sip.example.com:5061");
    }

    #[test]
    fn a_port_that_is_taken_is_refused_with_what_to_type() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut first = listener(transport, "127.0.0.1:0", "127.0.0.1:0");
            let _socket = bind(&mut first).unwrap();
            let error = bind(&mut first.clone()).err().unwrap().to_string();
            assert!(error.contains("ss -lunpt"), "{error}");
            assert!(error.contains("phones"), "{error}");
        }
    }
}
