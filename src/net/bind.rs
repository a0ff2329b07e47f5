//! Binds the listeners' sockets, before any thread starts: what is wrong is said at once, to whoever started us.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::node::StartError;
use super::settings::TurnListener;
use super::udp::{keep_undelivered, set_buffers};
use crate::base::Transport;
use crate::edge::settings::Listener;

/// Connections that the kernel holds until we accept them.
const BACKLOG: i32 = 1_024;
/// A burst of calls, or the media of a thousand clients while their thread waits for a core, must fit.
const UDP_BUFFER: i32 = 4 * 1024 * 1024;

/// A listener's socket.
pub(super) enum Socketed {
    /// Datagrams.
    Udp(UdpSocket),
    /// Connections; with TLS or without.
    Stream(TcpListener),
}

/// Binds all listeners.
///
/// The kernel lets an address stand beside the wildcard on one UDP port if both sockets say SO_REUSEADDR; what is sent
/// to the address then goes to its own socket. They say so only until all are bound: otherwise a second Turnpike could
/// bind the same port and take our datagrams.
pub(super) fn bind_all(listeners: &mut [Listener]) -> Result<Vec<Socketed>, StartError> {
    let shared: Vec<bool> =
        listeners.iter().map(|listener| listeners.iter().any(|other| beside(listener, other))).collect();
    let mut sockets = Vec::with_capacity(listeners.len());
    for (listener, shared) in listeners.iter_mut().zip(&shared) {
        sockets.push(bind(listener, *shared)?);
    }
    for (socket, listener) in sockets.iter().zip(listeners.iter()) {
        if let Socketed::Udp(socket) = socket {
            let alone = SockRef::from(socket).set_reuse_address(false);
            alone.map_err(|error| failed(listener, error))?;
        }
    }
    Ok(sockets)
}

/// One of the two is the wildcard, on the same UDP port.
fn beside(a: &Listener, b: &Listener) -> bool {
    let (x, y) = (a.bind, b.bind);
    a.transport == Transport::Udp
        && b.transport == Transport::Udp
        && x.is_ipv4() == y.is_ipv4()
        && x.port() == y.port()
        && x.port() != 0
        && x.ip().is_unspecified() != y.ip().is_unspecified()
}

/// A worker's socket of one TURN listener.
pub(super) enum TurnSocket {
    /// UDP and DTLS.
    Datagrams(UdpSocket),
    /// TCP and TLS.
    Connections(TcpListener),
}

/// Binds the TURN listeners once for each of the `workers`, between which the kernel then divides the clients; by worker, then
/// listener.
///
/// The sockets of a group share their port (SO_REUSEPORT), also with one that comes later: what listens there already is
/// found by asking for the port alone first.
pub(super) fn bind_turn(
    listeners: &mut [TurnListener],
    workers: usize,
) -> Result<Vec<Vec<TurnSocket>>, StartError> {
    let mut by_worker: Vec<Vec<TurnSocket>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in listeners {
        let alone = bind_turn_one(listener, false)?;
        listener.bind = alone.local_addr().map_err(|error| turn_failed(listener, error))?;
        if let Some(host) = listener.advertise.strip_suffix(":0") {
            listener.advertise = format!("{host}:{}", listener.bind.port()).into();
        }
        if let [only] = &mut by_worker[..] {
            only.push(alone);
            continue;
        }
        drop(alone);
        for sockets in &mut by_worker {
            sockets.push(bind_turn_one(listener, true)?);
        }
    }
    Ok(by_worker)
}

fn bind_turn_one(listener: &TurnListener, group: bool) -> Result<TurnSocket, StartError> {
    let bound = if listener.transport.is_datagram() {
        udp(listener.bind, false, group).map(TurnSocket::Datagrams)
    } else {
        tcp(listener.bind, group).map(TurnSocket::Connections)
    };
    bound.map_err(|error| turn_failed(listener, error))
}

fn turn_failed(listener: &TurnListener, error: io::Error) -> StartError {
    StartError::BindTurn {
        name: listener.name.clone(),
        transport: listener.transport.name(),
        addr: listener.bind,
        advice: advice(&error, listener.bind),
        error,
    }
}

impl TurnSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            TurnSocket::Datagrams(socket) => socket.local_addr(),
            TurnSocket::Connections(socket) => socket.local_addr(),
        }
    }
}

/// Binds one listener, and writes the port that it was given, if it asked for any, into `bind` and `advertise`.
fn bind(listener: &mut Listener, shared: bool) -> Result<Socketed, StartError> {
    let bound = match listener.transport {
        Transport::Udp => udp(listener.bind, shared, false).and_then(|socket| {
            keep_undelivered(&socket, listener.bind.is_ipv6())?;
            Ok((socket.local_addr()?, Socketed::Udp(socket)))
        }),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
            tcp(listener.bind, false).and_then(|socket| Ok((socket.local_addr()?, Socketed::Stream(socket))))
        }
    };
    let (addr, socket) = bound.map_err(|error| failed(listener, error))?;
    if let Some(host) = listener.advertise.strip_suffix(":0") {
        listener.advertise = format!("{host}:{}", addr.port()).into();
    }
    listener.bind = addr;
    Ok(socket)
}

fn failed(listener: &Listener, error: io::Error) -> StartError {
    StartError::Bind {
        name: listener.name.clone(),
        transport: listener.transport,
        addr: listener.bind,
        advice: advice(&error, listener.bind),
        error,
    }
}

/// `beside`: see [`bind_all`]; `group`: see [`bind_turn`].
fn udp(addr: SocketAddr, beside: bool, group: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(beside)?;
    socket.set_reuse_port(group)?;
    prepare(&socket, addr)?;
    let _ = set_buffers(&socket, UDP_BUFFER);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn tcp(addr: SocketAddr, group: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(group)?;
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
            let _socket = bind(&mut listener, false).unwrap();
            assert_ne!(listener.bind.port(), 0);
            assert_eq!(*listener.advertise, listener.bind.to_string());
        }
        let mut named = listener(Transport::Tcp, "127.0.0.1:0", "sip.example.com:5061");
        let _socket = bind(&mut named, false).unwrap();
        assert_eq!(&*named.advertise, "sip.example.com:5061");
    }

    #[test]
    fn a_port_that_is_taken_is_refused_with_what_to_type() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut first = listener(transport, "127.0.0.1:0", "127.0.0.1:0");
            let _socket = bind(&mut first, false).unwrap();
            let error = bind(&mut first.clone(), false).err().unwrap().to_string();
            assert!(error.contains("ss -lunpt"), "{error}");
            assert!(error.contains("phones"), "{error}");
        }
    }

    #[test]
    fn an_address_stands_beside_the_wildcard_and_a_second_turnpike_does_not() {
        for (address, wildcard) in [("127.0.0.1", "0.0.0.0"), ("[::1]", "[::]")] {
            // Any free port will do, and another process may take it meanwhile: then the next one.
            let (listeners, _sockets) = (0..20)
                .find_map(|_| {
                    let free = UdpSocket::bind(format!("{wildcard}:0")).unwrap().local_addr().unwrap().port();
                    let udp = |ip: &str| listener(Transport::Udp, &format!("{ip}:{free}"), "x:0");
                    let mut both = [udp(wildcard), udp(address)];
                    let sockets = bind_all(&mut both).ok()?;
                    Some((both, sockets))
                })
                .unwrap();
            for second in
                [&mut listeners.clone()[..], &mut listeners.clone()[..1], &mut listeners.clone()[1..]]
            {
                let error = bind_all(second).err().unwrap().to_string();
                assert!(error.contains("ss -lunpt"), "{error}");
            }
        }
    }
}
