//! Whether datagrams may be fragmented on their way (`IP_MTU_DISCOVER` in `ip(7)`, `IPV6_DONTFRAG` in RFC 3542 §11.2).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::set;

/// With `dont_fragment`, what this socket sends over IPv4 has the DF bit, and over IPv6 it is not fragmented here; what is too
/// long for the way fails with `EMSGSIZE`. Without, it may be fragmented, here or on its way: RFC 8656 §14 wants no DF bit
/// unless the client asks for it, and Linux would set it.
pub fn set_dont_fragment(socket: &impl AsFd, dont_fragment: bool) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let v4 = if dont_fragment { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
    match set(fd, libc::SOL_IPV6, libc::IPV6_DONTFRAG, dont_fragment.into()) {
        // An IPv4 socket knows no options of IPv6.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            set(fd, libc::SOL_IP, libc::IP_MTU_DISCOVER, v4)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::super::counted;
    use super::*;
    use std::mem::size_of;
    use std::net::UdpSocket;

    fn get(socket: &UdpSocket, level: libc::c_int, option: libc::c_int) -> libc::c_int {
        let mut value: libc::c_int = -1;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: value and length outlive the call, and the length is the value's.
        let result = unsafe {
            libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut len)
        };
        counted(result).unwrap();
        value
    }

    #[test]
    fn the_bit_is_set_and_cleared_in_both_families() {
        let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
        let v6 = UdpSocket::bind("[::1]:0").unwrap();
        for dont_fragment in [true, false] {
            set_dont_fragment(&v4, dont_fragment).unwrap();
            let discover = if dont_fragment { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
            assert_eq!(get(&v4, libc::SOL_IP, libc::IP_MTU_DISCOVER), discover);
            set_dont_fragment(&v6, dont_fragment).unwrap();
            assert_eq!(get(&v6, libc::SOL_IPV6, libc::IPV6_DONTFRAG), libc::c_int::from(dont_fragment));
        }
    }
}
