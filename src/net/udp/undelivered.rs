//! What ICMP says about datagrams that did not arrive: a socket's error queue (`IP_RECVERR` in `ip(7)`).

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use libc::sock_extended_err;

use super::counted;
use super::name::Name;
use crate::stun::Icmp;

/// ICMP "destination unreachable", its code "fragmentation needed", and "parameter problem" (RFC 792).
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PARAMETER_PROBLEM: u8 = 12;
/// The same of ICMPv6, and "packet too big" (RFC 4443 §3.1, §3.2, §3.4).
const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const PARAMETER_PROBLEM_V6: u8 = 4;

/// Has the kernel keep ICMP errors about what this socket sends, for [`next_undelivered`]. From then on any call on it
/// may fail with the error of an earlier datagram, once, instead of doing what it was asked for: ask again.
pub fn keep_undelivered(socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
    let (level, option) =
        if is_ipv6 { (libc::SOL_IPV6, libc::IPV6_RECVERR) } else { (libc::SOL_IP, libc::IP_RECVERR) };
    let on: libc::c_int = 1;
    // SAFETY: the value is an int that outlives the call, and its size is what the call is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    counted(result).map(drop)
}

/// Of a datagram: ICMP quotes no more of one (RFC 1812 §4.3.2.3: 576 bytes with all headers; RFC 4443 §3.1: 1280).
const QUOTE: usize = 1_280;

/// A datagram that did not arrive.
#[derive(Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Where it was sent.
    pub to: SocketAddr,
    /// As much of it as ICMP quotes, from its beginning; RFC 792 asks for nothing of it. Whoever forges ICMP has to guess it.
    pub quote: Vec<u8>,
}

/// Takes one error off the queue: the datagram that did not arrive, or `None` if it is an error of another kind. Never blocks;
/// `WouldBlock` means that the queue is empty.
pub fn next_undelivered(socket: &impl AsFd) -> io::Result<Option<Undelivered>> {
    let mut quote = vec![0; QUOTE];
    let (error, to, length) = next_error(socket, &mut quote)?;
    quote.truncate(length);
    Ok(error.filter(says_undelivered).and(to).map(|to| Undelivered { to, quote }))
}

/// Takes one error off the queue: where the datagram was sent, and what ICMP said of it; the kernel's own word that it is too
/// long for the way there counts as ICMP's. Otherwise like [`next_undelivered`].
pub fn next_icmp(socket: &impl AsFd) -> io::Result<Option<(SocketAddr, Icmp)>> {
    let (error, to, _) = next_error(socket, &mut [])?;
    let (Some(error), Some(to)) = (error, to) else { return Ok(None) };
    Ok(as_icmp(&error, to.is_ipv6()).map(|icmp| (to, icmp)))
}

fn as_icmp(error: &sock_extended_err, is_ipv6: bool) -> Option<Icmp> {
    let (too_long, too_long_code) =
        if is_ipv6 { (TOO_BIG_V6, 0) } else { (UNREACHABLE, FRAGMENTATION_NEEDED) };
    let (kind, code) = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => (error.ee_type, error.ee_code),
        libc::SO_EE_ORIGIN_LOCAL if error.ee_errno == libc::EMSGSIZE as u32 => (too_long, too_long_code),
        _ => return None,
    };
    // RFC 8656 §18.13: the MTU, and nothing with others.
    let data = if (kind, code) == (too_long, too_long_code) { error.ee_info } else { 0 };
    Some(Icmp { kind, code: code.into(), data })
}

/// The next error, where what it is about was sent, and how many bytes of that stand in `quote` now.
fn next_error(
    socket: &impl AsFd,
    quote: &mut [u8],
) -> io::Result<(Option<sock_extended_err>, Option<SocketAddr>, usize)> {
    let mut name = Name::empty();
    let mut room = libc::iovec { iov_base: quote.as_mut_ptr().cast(), iov_len: quote.len() };
    // Room for the error and the address of who reports it, aligned as control messages are.
    let mut control = [0_u64; 16];
    // SAFETY: msghdr is plain data, for which zeroes (null pointers, no lengths) are a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = Name::LEN;
    header.msg_iov = &raw mut room;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    let length = loop {
        // SAFETY: the header points to `name`, `control` and, by `room`, `quote`, with their sizes; all outlive it.
        let result = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
        match counted(result as libc::c_int) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(length) => break length,
        }
    };
    Ok((extended_error(&header), name.decode(), length.min(quote.len())))
}

/// The first control message, which is the only one that these sockets ask for.
fn extended_error(header: &libc::msghdr) -> Option<sock_extended_err> {
    // SAFETY: `recvmsg` has filled the control buffer that the header points to with whole messages and put their
    // length into the header; the first is looked at only if it is there, and read only if it is long enough.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header).as_ref()?;
        let kind = (message.cmsg_level, message.cmsg_type);
        let is_error =
            kind == (libc::SOL_IP, libc::IP_RECVERR) || kind == (libc::SOL_IPV6, libc::IPV6_RECVERR);
        let is_whole =
            message.cmsg_len as usize >= libc::CMSG_LEN(size_of::<sock_extended_err>() as _) as usize;
        (is_error && is_whole).then(|| libc::CMSG_DATA(message).cast::<sock_extended_err>().read_unaligned())
    }
}

/// RFC 3261 §18.4: host, network, port and protocol unreachable and parameter problem are failures in sending; source
/// quench and TTL exceeded are not. Nor is a datagram that was too large: the next fits what the kernel learned by it.
fn says_undelivered(error: &sock_extended_err) -> bool {
    match (error.ee_origin, error.ee_type) {
        (libc::SO_EE_ORIGIN_ICMP, UNREACHABLE) => error.ee_code != FRAGMENTATION_NEEDED,
        (libc::SO_EE_ORIGIN_ICMP, PARAMETER_PROBLEM)
        | (libc::SO_EE_ORIGIN_ICMP6, UNREACHABLE_V6 | PARAMETER_PROBLEM_V6) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_closed_port_is_named_once() {
        for ip in ["127.0.0.1", "::1"] {
            let here = UdpSocket::bind((ip, 0)).unwrap();
            keep_undelivered(&here, ip == "::1").unwrap();
            let closed = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
            assert_eq!(next_undelivered(&here).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            here.send_to(b"anybody there?", closed).unwrap();
            // On loopback the answer is there before the call returns.
            let undelivered = Undelivered { to: closed, quote: b"anybody there?".to_vec() };
            assert_eq!(next_undelivered(&here).unwrap(), Some(undelivered));
            assert_eq!(next_undelivered(&here).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    fn error(ee_origin: u8, ee_type: u8, ee_code: u8) -> sock_extended_err {
        sock_extended_err { ee_errno: 0, ee_origin, ee_type, ee_code, ee_pad: 0, ee_info: 1400, ee_data: 0 }
    }

    #[test]
    fn icmp_says_of_which_kind_it_is() {
        for (ip, unreachable) in [("127.0.0.1", (3, 3)), ("::1", (1, 4))] {
            let here = UdpSocket::bind((ip, 0)).unwrap();
            keep_undelivered(&here, ip == "::1").unwrap();
            let closed = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
            here.send_to(b"anybody there?", closed).unwrap();
            let (to, icmp) = next_icmp(&here).unwrap().unwrap();
            assert_eq!((to, (icmp.kind, icmp.code), icmp.data), (closed, unreachable, 0));
        }
        let (v4, v6, local) = (libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6, libc::SO_EE_ORIGIN_LOCAL);
        let too_long = |ee_errno| sock_extended_err { ee_errno, ..error(local, 0, 0) };
        let emsgsize = libc::EMSGSIZE as u32;
        let needed = Icmp { kind: 3, code: 4, data: 1400 };
        let too_big = Icmp { kind: 2, code: 0, data: 1400 };
        assert_eq!(as_icmp(&error(v4, 3, 4), false), Some(needed));
        assert_eq!(as_icmp(&error(v6, 2, 0), true), Some(too_big));
        assert_eq!(as_icmp(&too_long(emsgsize), false), Some(needed));
        assert_eq!(as_icmp(&too_long(emsgsize), true), Some(too_big));
        assert_eq!(as_icmp(&too_long(1), true), None);
        assert_eq!(as_icmp(&error(v4, 11, 0), false), Some(Icmp { kind: 11, code: 0, data: 0 }));
    }

    #[test]
    fn what_is_no_failure_in_sending_is_passed_over() {
        let (v4, v6, local) = (libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6, libc::SO_EE_ORIGIN_LOCAL);
        for code in [0, 1, 2, 3, 13] {
            assert!(says_undelivered(&error(v4, 3, code)));
        }
        assert!(says_undelivered(&error(v4, 12, 0)));
        assert!(says_undelivered(&error(v6, 1, 4)));
        let fragmentation = error(v4, 3, 4);
        let (quench, ttl, too_big, ttl_v6) =
            (error(v4, 4, 0), error(v4, 11, 0), error(v6, 2, 0), error(v6, 3, 0));
        for harmless in [fragmentation, quench, ttl, too_big, ttl_v6, error(local, 0, 0)] {
            assert!(!says_undelivered(&harmless));
        }
    }
}
