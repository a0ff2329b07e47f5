//! Attributes and what their values say.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::message::Message;
use super::types::{BadAttribute, ErrorCode, MAGIC_COOKIE, TransactionId, Type};

/// One attribute in the bytes of its message.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    /// What it is.
    pub kind: Type,
    /// Without padding.
    pub value: &'a [u8],
}

/// REQUESTED-ADDRESS-FAMILY and its like (RFC 8656 §18.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 0x01
    V4,
    /// 0x02
    V6,
}

/// What came back from a peer that could not be reached (RFC 8656 §18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// 7 bits: the type of ICMP or ICMPv6.
    pub kind: u8,
    /// 9 bits.
    pub code: u16,
    /// The MTU, if it was "fragmentation needed" or "packet too big".
    pub data: u32,
}

/// How the key of a long-term credential is made (RFC 8489 §18.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordAlgorithm {
    /// 0x0001
    Md5,
    /// 0x0002
    Sha256,
}

impl Family {
    /// Of this address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Family::V4 => 1,
            Family::V6 => 2,
        }
    }
}

impl Icmp {
    pub(super) fn value(self) -> [u8; 8] {
        let [k0, k1] = (u16::from(self.kind) << 9 | (self.code & 0x1ff)).to_be_bytes();
        let [d0, d1, d2, d3] = self.data.to_be_bytes();
        [0, 0, k0, k1, d0, d1, d2, d3]
    }
}

impl PasswordAlgorithm {
    /// As it stands in PASSWORD-ALGORITHM(S): number and an empty list of parameters.
    pub(super) fn entry(self) -> [u8; 4] {
        match self {
            PasswordAlgorithm::Md5 => [0, 1, 0, 0],
            PasswordAlgorithm::Sha256 => [0, 2, 0, 0],
        }
    }

    fn from_number(number: u16) -> Option<PasswordAlgorithm> {
        match number {
            1 => Some(PasswordAlgorithm::Md5),
            2 => Some(PasswordAlgorithm::Sha256),
            _ => None,
        }
    }
}

/// The algorithms of PASSWORD-ALGORITHMS, in their order; `None` for one that we do not know.
#[derive(Clone, Debug)]
pub struct PasswordAlgorithms<'a>(&'a [u8]);

impl Iterator for PasswordAlgorithms<'_> {
    type Item = Option<PasswordAlgorithm>;

    fn next(&mut self) -> Option<Self::Item> {
        let (number, _, rest) = split_tlv(self.0)?;
        self.0 = rest;
        Some(PasswordAlgorithm::from_number(number))
    }
}

/// Number, value and what follows its padding. The padding of the last may be missing.
fn split_tlv(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let ([n0, n1, l0, l1], rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    let value = rest.get(..length)?;
    Some((u16::from_be_bytes([*n0, *n1]), value, rest.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

impl<'a> Attribute<'a> {
    /// The first attribute of `bytes` and the rest.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Attribute<'a>, &'a [u8])> {
        let (kind, value, rest) = split_tlv(bytes)?;
        Some((Attribute { kind: Type(kind), value }, rest))
    }

    fn exactly<const N: usize>(self) -> Result<[u8; N], BadAttribute> {
        self.value.try_into().map_err(|_| BadAttribute(self.kind))
    }

    /// 32 bits: LIFETIME, CONNECTION-ID.
    pub fn u32(self) -> Result<u32, BadAttribute> {
        self.exactly().map(u32::from_be_bytes)
    }

    /// RFC 8489 §14.1: MAPPED-ADDRESS, ALTERNATE-SERVER.
    pub fn address(self) -> Result<SocketAddr, BadAttribute> {
        self.read_address([0; 16])
    }

    /// RFC 8489 §14.2: XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS, XOR-RELAYED-ADDRESS of a message with this transaction id.
    pub fn xor_address(self, transaction_id: TransactionId) -> Result<SocketAddr, BadAttribute> {
        self.read_address(xor_mask(Some(&transaction_id)))
    }

    fn read_address(self, mask: [u8; 16]) -> Result<SocketAddr, BadAttribute> {
        let bad = BadAttribute(self.kind);
        // RFC 8489 §14.1: the first byte is ignored by receivers.
        let ([_, family, p0, p1], address) = self.value.split_first_chunk::<4>().ok_or(bad)?;
        let [m0, m1, ..] = mask;
        let port = u16::from_be_bytes([p0 ^ m0, p1 ^ m1]);
        let ip = match (family, address.len()) {
            (1, 4) => IpAddr::V4(Ipv4Addr::from(masked::<4>(address, &mask))),
            (2, 16) => IpAddr::V6(Ipv6Addr::from(masked::<16>(address, &mask))),
            _ => return Err(bad),
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// UTF-8 of at most `most` bytes.
    fn text(self, most: usize) -> Result<&'a str, BadAttribute> {
        let text = std::str::from_utf8(self.value).map_err(|_| BadAttribute(self.kind))?;
        (text.len() <= most).then_some(text).ok_or(BadAttribute(self.kind))
    }

    fn family(self) -> Result<Option<Family>, BadAttribute> {
        let [family, _, _, _] = self.exactly()?;
        Ok(match family {
            1 => Some(Family::V4),
            2 => Some(Family::V6),
            _ => None,
        })
    }
}

impl std::fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}[{}]", self.kind, self.value.len())
    }
}

/// RFC 8489 §14.2: port and IPv4 address are masked by the cookie, IPv6 by cookie and transaction id.
fn xor_mask(transaction_id: Option<&TransactionId>) -> [u8; 16] {
    let Some(TransactionId(id)) = transaction_id else { return [0; 16] };
    let id = id.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
    (u128::from(MAGIC_COOKIE) << 96 | id).to_be_bytes()
}

fn masked<const N: usize>(address: &[u8], mask: &[u8; 16]) -> [u8; N] {
    let mut out = [0; N];
    for ((out, byte), mask) in out.iter_mut().zip(address).zip(mask) {
        *out = byte ^ mask;
    }
    out
}

/// The value of an address attribute and its length: 8 bytes for IPv4, 20 for IPv6.
pub(super) fn address_value(address: SocketAddr, mask: Option<&TransactionId>) -> ([u8; 20], usize) {
    let mask = xor_mask(mask);
    let [m0, m1, ..] = mask;
    let [p0, p1] = address.port().to_be_bytes();
    let (ip, length) = match address.ip() {
        IpAddr::V4(ip) => (masked::<16>(&ip.octets(), &mask), 8),
        IpAddr::V6(ip) => (masked::<16>(&ip.octets(), &mask), 20),
    };
    let mut value = [0; 20];
    for (to, byte) in
        value.iter_mut().zip([0, Family::of(address.ip()).number(), p0 ^ m0, p1 ^ m1].iter().chain(&ip))
    {
        *to = *byte;
    }
    (value, length)
}

/// RFC 8489 §14.8: the hundreds, and the rest.
pub(super) fn class_and_number(ErrorCode(code): ErrorCode) -> [u8; 2] {
    // An error code has three digits, so both fit.
    [(code / 100) as u8, (code % 100) as u8]
}

/// Readers by name. `None`: not there. `Err`: there, but not what it should be: 400 to a request.
impl<'a> Message<'a> {
    fn read<T>(
        &self,
        kind: Type,
        read: impl FnOnce(Attribute<'a>) -> Result<T, BadAttribute>,
    ) -> Result<Option<T>, BadAttribute> {
        self.attribute(kind).map(read).transpose()
    }

    /// RFC 8489 §14.3: UTF-8; fewer than 509 bytes are written, up to 763 must be read.
    pub fn username(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.read(Type::USERNAME, |a| a.text(763))
    }

    /// RFC 8489 §14.4.
    pub fn userhash(&self) -> Result<Option<[u8; 32]>, BadAttribute> {
        self.read(Type::USERHASH, Attribute::exactly)
    }

    /// RFC 8489 §14.9: at most 763 bytes.
    pub fn realm(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.read(Type::REALM, |a| a.text(763))
    }

    /// RFC 8489 §14.10: at most 763 bytes.
    pub fn nonce(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.read(Type::NONCE, |a| a.text(763))
    }

    /// RFC 8489 §14.11.
    pub fn password_algorithms(&self) -> Result<Option<PasswordAlgorithms<'a>>, BadAttribute> {
        self.read(Type::PASSWORD_ALGORITHMS, |a| {
            let mut rest = a.value;
            while !rest.is_empty() {
                (_, _, rest) = split_tlv(rest).ok_or(BadAttribute(a.kind))?;
            }
            Ok(PasswordAlgorithms(a.value))
        })
    }

    /// RFC 8489 §14.12. The inner `None`: an algorithm that we do not know.
    pub fn password_algorithm(&self) -> Result<Option<Option<PasswordAlgorithm>>, BadAttribute> {
        self.read(Type::PASSWORD_ALGORITHM, |a| {
            let (number, _, rest) = split_tlv(a.value).ok_or(BadAttribute(a.kind))?;
            rest.is_empty().then_some(PasswordAlgorithm::from_number(number)).ok_or(BadAttribute(a.kind))
        })
    }

    /// RFC 8489 §14.8: the code (300 to 699) and the reason.
    pub fn error_code(&self) -> Result<Option<(ErrorCode, &'a str)>, BadAttribute> {
        self.read(Type::ERROR_CODE, |a| {
            let bad = BadAttribute(a.kind);
            let ([_, _, class, number], reason) = a.value.split_first_chunk::<4>().ok_or(bad)?;
            let (class, number) = (u16::from(class & 7), u16::from(*number));
            if !(3..=6).contains(&class) || number > 99 {
                return Err(bad);
            }
            let reason = Attribute { kind: a.kind, value: reason }.text(763)?;
            Ok((ErrorCode(class * 100 + number), reason))
        })
    }

    /// RFC 8489 §14.13.
    pub fn unknown_attributes(&self) -> Result<Option<impl Iterator<Item = Type> + use<'a>>, BadAttribute> {
        self.read(Type::UNKNOWN_ATTRIBUTES, |a| {
            let (pairs, odd) = a.value.as_chunks::<2>();
            odd.is_empty()
                .then(|| pairs.iter().map(|p| Type(u16::from_be_bytes(*p))))
                .ok_or(BadAttribute(a.kind))
        })
    }

    /// RFC 8489 §14.2.
    pub fn xor_mapped_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.read(Type::XOR_MAPPED_ADDRESS, |a| a.xor_address(self.transaction_id()))
    }

    /// RFC 8656 §18.5.
    pub fn xor_relayed_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.read(Type::XOR_RELAYED_ADDRESS, |a| a.xor_address(self.transaction_id()))
    }

    /// RFC 8656 §18.3: the first.
    pub fn xor_peer_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.read(Type::XOR_PEER_ADDRESS, |a| a.xor_address(self.transaction_id()))
    }

    /// RFC 8656 §10: CreatePermission names one or more.
    pub fn xor_peer_addresses(&self) -> impl Iterator<Item = Result<SocketAddr, BadAttribute>> + use<'a> {
        let id = self.transaction_id();
        self.attributes().filter(|a| a.kind == Type::XOR_PEER_ADDRESS).map(move |a| a.xor_address(id))
    }

    /// RFC 8489 §14.15.
    pub fn alternate_server(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.read(Type::ALTERNATE_SERVER, Attribute::address)
    }

    /// RFC 8656 §18.1: whatever 16 bits it says; the range is for ChannelBind to judge.
    pub fn channel_number(&self) -> Result<Option<u16>, BadAttribute> {
        self.read(Type::CHANNEL_NUMBER, |a| {
            a.exactly().map(|[high, low, _, _]| u16::from_be_bytes([high, low]))
        })
    }

    /// RFC 8656 §18.2: seconds.
    pub fn lifetime(&self) -> Result<Option<u32>, BadAttribute> {
        self.read(Type::LIFETIME, Attribute::u32)
    }

    /// RFC 8656 §18.4.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.attribute(Type::DATA).map(|a| a.value)
    }

    /// RFC 8656 §18.6. The inner `None`: a family that does not exist (440).
    pub fn requested_address_family(&self) -> Result<Option<Option<Family>>, BadAttribute> {
        self.read(Type::REQUESTED_ADDRESS_FAMILY, Attribute::family)
    }

    /// RFC 8656 §18.11. The inner `None`: a family that does not exist.
    pub fn additional_address_family(&self) -> Result<Option<Option<Family>>, BadAttribute> {
        self.read(Type::ADDITIONAL_ADDRESS_FAMILY, Attribute::family)
    }

    /// RFC 8656 §18.12. The inner `None`: a family that does not exist.
    pub fn address_error_code(&self) -> Result<Option<(Option<Family>, ErrorCode)>, BadAttribute> {
        self.read(Type::ADDRESS_ERROR_CODE, |a| {
            let ([family, _, class, number], _) =
                a.value.split_first_chunk::<4>().ok_or(BadAttribute(a.kind))?;
            let family = Attribute { kind: a.kind, value: &[*family, 0, 0, 0] }.family()?;
            Ok((family, ErrorCode(u16::from(class & 7) * 100 + u16::from(*number))))
        })
    }

    /// RFC 8656 §18.7: true if the port above shall be reserved too.
    pub fn even_port(&self) -> Result<Option<bool>, BadAttribute> {
        self.read(Type::EVEN_PORT, |a| a.exactly().map(|[flags]| flags & 0x80 != 0))
    }

    /// RFC 8656 §18.8: an IP protocol number, 17 for UDP, 6 for TCP (RFC 6062).
    pub fn requested_transport(&self) -> Result<Option<u8>, BadAttribute> {
        self.read(Type::REQUESTED_TRANSPORT, |a| a.exactly().map(|[protocol, _, _, _]| protocol))
    }

    /// RFC 8656 §18.9.
    pub fn dont_fragment(&self) -> Result<bool, BadAttribute> {
        Ok(self.read(Type::DONT_FRAGMENT, Attribute::exactly::<0>)?.is_some())
    }

    /// RFC 8656 §18.10.
    pub fn reservation_token(&self) -> Result<Option<[u8; 8]>, BadAttribute> {
        self.read(Type::RESERVATION_TOKEN, Attribute::exactly)
    }

    /// RFC 8656 §18.13.
    pub fn icmp(&self) -> Result<Option<Icmp>, BadAttribute> {
        self.read(Type::ICMP, |a| {
            let [_, _, k0, k1, d0, d1, d2, d3] = a.exactly()?;
            let code = u16::from_be_bytes([k0 & 1, k1]);
            Ok(Icmp { kind: k0 >> 1, code, data: u32::from_be_bytes([d0, d1, d2, d3]) })
        })
    }

    /// RFC 6062 §6.2.1.
    pub fn connection_id(&self) -> Result<Option<u32>, BadAttribute> {
        self.read(Type::CONNECTION_ID, Attribute::u32)
    }
}
