//! The addresses of this machine (`getifaddrs(3)`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of all interfaces.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes a pointer to a list that it makes, which is freed below.
    super::counted(unsafe { libc::getifaddrs(&raw mut first) })?;
    let mut addresses = Vec::new();
    let mut next = first;
    // SAFETY: until it is freed, the list is valid: each entry leads to the next or is null, and to an address or null.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: an entry's address is null or a socket address of the family that it begins with.
        addresses.extend(unsafe { ip_of(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: the list that `getifaddrs` made, freed once; nothing borrows from it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(addresses)
}

/// # Safety
/// `address` is null, or points to a socket address as long as its family's are.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller says so; the family stands in front of every socket address.
    let family = unsafe { address.as_ref() }?.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: it is of this family.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: it is of this family.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours_and_the_documentation_is_not() {
        let ours = own_addresses().unwrap();
        assert!(ours.contains(&Ipv4Addr::LOCALHOST.into()), "{ours:?}");
        assert!(!ours.contains(&Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
