//! A socket address as the kernel writes it.

use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for an IPv4 or IPv6 address: 28 bytes instead of `sockaddr_storage`'s 128.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    pub(super) const LEN: libc::socklen_t = size_of::<Name>() as libc::socklen_t;

    /// All zeroes: of no family.
    pub(super) fn empty() -> Name {
        // SAFETY: both variants are plain integers, for which zeroes are valid.
        unsafe { std::mem::zeroed() }
    }

    /// Encodes; the length is what the kernel is to be told.
    pub(super) fn encode(addr: SocketAddr) -> (Name, libc::socklen_t) {
        let mut name = Name::empty();
        match addr {
            SocketAddr::V4(addr) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (name, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(addr) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                    sin6_scope_id: addr.scope_id(),
                };
                (name, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }

    /// Decodes; `None` if it is neither IPv4 nor IPv6.
    pub(super) fn decode(&self) -> Option<SocketAddr> {
        // SAFETY: every byte of the union is initialised (`empty`, then the kernel or `encode`), both variants are
        // plain integers that any bytes are valid for, and the family stands at the same place in both.
        let (family, v4, v6) = unsafe { (self.v4.sin_family, &self.v4, &self.v6) };
        match libc::c_int::from(family) {
            libc::AF_INET => Some(SocketAddr::V4(SocketAddrV4::new(
                Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()),
                u16::from_be(v4.sin_port),
            ))),
            libc::AF_INET6 => Some(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            ))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_to_the_kernel_and_back() {
        for text in ["127.0.0.1:5060", "203.0.113.7:1", "[::1]:65535", "[fe80::1%7]:4000"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::encode(addr).0.decode(), Some(addr));
        }
        assert_eq!(Name::empty().decode(), None);
    }
}
