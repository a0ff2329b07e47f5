//! What a relay worker says of one leg, besides how many packets: how well it is heard, and if it is not, who or what came
//! instead. One writer, any reader.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::media::Component;
use crate::media::dtls::Keys;
use crate::media::quality::QualityCounters;
use crate::media::srtp::Milestones;

/// One leg's.
#[derive(Debug, Default)]
pub struct LegCounters {
    /// How well it is heard.
    pub quality: QualityCounters,
    /// Who sent the last RTP that was refused for whom it came from.
    pub stranger: LastAddress,
    /// The payload type of the last RTP that was refused for that.
    pub payload_type: LastPayloadType,
    /// By ICE its endpoint has shown to be there.
    pub is_proved: AtomicBool,
    /// Who is heard, by component.
    latched: [Latched; 2],
    /// Once it is SRTP.
    srtp: OnceLock<Box<SrtpSoFar>>,
}

/// How far the SRTP of a leg has come.
#[derive(Debug, Default)]
pub struct SrtpSoFar {
    /// The senders of what its endpoint sends.
    pub inbound: Milestones,
    /// Those of what it is sent.
    pub outbound: Milestones,
    /// Out of its DTLS handshakes, by component. Locked when one is done or void, and when somebody looks: never for a packet
    /// of media.
    keys: Mutex<[Option<Keys>; 2]>,
}

impl SrtpSoFar {
    /// What its DTLS handshakes have come to, by component.
    pub fn keys(&self) -> [Option<Keys>; 2] {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True: others than before.
    pub fn keep_keys(&self, keys: [Option<&Keys>; 2]) -> bool {
        let mut kept = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let are_new = kept.each_ref().map(Option::as_ref) != keys;
        if are_new {
            *kept = keys.map(Option::<&Keys>::cloned);
        }
        are_new
    }
}

impl LegCounters {
    /// Once [`Self::begin_srtp`] was called.
    #[inline]
    pub fn srtp(&self) -> Option<&SrtpSoFar> {
        self.srtp.get().map(|srtp| &**srtp)
    }

    /// The leg is SRTP.
    pub fn begin_srtp(&self) {
        self.srtp.get_or_init(Box::default);
    }

    /// Who is heard on that component, or was heard last by ICE.
    pub fn latched(&self, component: Component) -> &Latched {
        &self.latched[component as usize]
    }
}

/// Who is heard, as far as anyone is.
#[derive(Debug, Default)]
pub struct Latched(LastAddress);

impl Latched {
    /// This thread is the only writer. True: that is somebody else than before.
    pub fn set(&self, source: Option<SocketAddr>) -> bool {
        let is_new = self.get() != source;
        if is_new {
            self.0.set(source.unwrap_or(NOBODY));
        }
        is_new
    }

    /// `None`: nobody, or it changes too often to tell.
    pub fn get(&self) -> Option<SocketAddr> {
        self.0.get().filter(|source| *source != NOBODY)
    }
}

/// Nothing comes from there.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// An address that changes under the reader's eyes: it is seen whole, or not at all.
#[derive(Debug, Default)]
pub struct LastAddress {
    /// Odd while it is written; 0: never was.
    version: AtomicU64,
    ip: [AtomicU64; 2],
    port: AtomicU16,
}

impl LastAddress {
    /// This thread is the only writer.
    pub fn set(&self, address: SocketAddr) {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let (high, low) = ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64);
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.ip[0].store(high, Ordering::Relaxed);
        self.ip[1].store(low, Ordering::Relaxed);
        self.port.store(address.port(), Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// `None`: there was none, or it changes too often to tell.
    pub fn get(&self) -> Option<SocketAddr> {
        let never = self.version.load(Ordering::Relaxed) == 0;
        (0..8).take_while(|_| !never).find_map(|_| self.try_get())
    }

    fn try_get(&self) -> Option<SocketAddr> {
        let before = self.version.load(Ordering::Acquire);
        let [high, low] = [0, 1].map(|half| u128::from(self.ip[half].load(Ordering::Relaxed)));
        let port = self.port.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole = before == self.version.load(Ordering::Relaxed) && before.is_multiple_of(2);
        let ip = Ipv6Addr::from_bits(high << 64 | low).to_canonical();
        (is_whole && before != 0).then(|| SocketAddr::new(ip, port))
    }
}

/// A payload type, once there was one.
#[derive(Debug, Default)]
pub struct LastPayloadType(AtomicU16);

impl LastPayloadType {
    /// It was seen.
    pub fn set(&self, payload_type: u8) {
        self.0.store(u16::from(payload_type) + 1, Ordering::Relaxed);
    }

    /// The last that was.
    pub fn get(&self) -> Option<u8> {
        self.0.load(Ordering::Relaxed).checked_sub(1)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_was_set_last() {
        let last = LastAddress::default();
        assert_eq!(last.get(), None);
        for address in ["192.0.2.1:4000", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            last.set(address.parse().unwrap());
            assert_eq!(last.get().unwrap().to_string(), address);
        }
        last.set("[::ffff:192.0.2.1]:1".parse().unwrap());
        assert_eq!(last.get().unwrap().to_string(), "192.0.2.1:1");
    }

    #[test]
    fn an_address_is_never_half_one_and_half_another() {
        let last = LastAddress::default();
        let (one, other) = ("192.0.2.1:4000".parse().unwrap(), "[2001:db8::1]:65535".parse().unwrap());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..20_000 {
                    last.set(one);
                    last.set(other);
                }
            });
            while !writer.is_finished() {
                assert!(last.get().is_none_or(|seen| seen == one || seen == other));
            }
        });
        assert_eq!(last.get(), Some(other));
    }

    #[test]
    fn payload_type_0_is_one() {
        let last = LastPayloadType::default();
        assert_eq!(last.get(), None);
        last.set(0);
        assert_eq!(last.get(), Some(0));
    }
}
