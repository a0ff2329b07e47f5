//! How much the kernel holds for a socket (`SO_RCVBUFFORCE` in `socket(7)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::set;

/// Asks for buffers of so many bytes. Who may administer the network (CAP_NET_ADMIN) gets them; others what
/// `net.core.rmem_max` and `wmem_max` allow, which by default is a few hundred datagrams.
pub fn set_buffers(socket: &impl AsFd, bytes: libc::c_int) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    for (by_force, by_leave) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        if set(fd, libc::SOL_SOCKET, by_force, bytes).is_err() {
            set(fd, libc::SOL_SOCKET, by_leave, bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_buffer_grows_with_leave_or_by_force() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let size = || socket2::SockRef::from(&socket).recv_buffer_size().unwrap();
        set_buffers(&socket, 16 * 1024).unwrap();
        let small = size();
        set_buffers(&socket, 64 * 1024).unwrap();
        assert!(size() > small);
    }
}
