//! The sockets of one side of a pair.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// What the kernel may hold for one socket: more than a second of HD video, less than what thousands of flooded sockets
/// would need to exhaust a small machine. (It doubles this for its own bookkeeping.)
const RECEIVE_BUFFER: usize = 128 * 1024;

/// Binds RTP to `port` and RTCP to the next one up; indexed by [`crate::relay::Component`].
pub(super) fn bind(ip: IpAddr, port: u16) -> io::Result<[UdpSocket; 2]> {
    let twin = port.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
    Ok([bind_one(SocketAddr::new(ip, port))?, bind_one(SocketAddr::new(ip, twin))?])
}

fn bind_one(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // `[::]` beside `0.0.0.0`, and no source is ever spelled ::ffff:192.0.2.1.
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}
