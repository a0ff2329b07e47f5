//! `a=crypto` lines (RFC 4568): an SRTP key in SDP. What a suite's name means is not known here.

use std::fmt;
use std::str;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;

/// RFC 4568 §6.1: padding is discarded, so its absence is no error; all else is strict.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// More than any suite's key and salt have, in base64.
const LONGEST_KEY: usize = 128;

/// A line that asks for nothing that we do not do.
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto<'s> {
    /// Its number: an answer repeats the one that it takes.
    pub tag: u32,
    /// The crypto suite's name as it stands there.
    pub suite: &'s str,
    key_and_salt: SmallVec<[u8; 48]>,
}

/// Why a line cannot be used; another one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not what RFC 4568 §9.2 calls a crypto attribute of SRTP.
    #[error("is not <tag> <suite> inline:<base64 of key and salt>")]
    Malformed,
    /// With a master key identifier in every packet, or several keys told apart by it (RFC 4568 §6.1).
    #[error("asks for a master key identifier (MKI): switch it off on the device")]
    Mki,
    /// KDR, UNENCRYPTED_SRTP, UNENCRYPTED_SRTCP, UNAUTHENTICATED_SRTP, FEC_ORDER, FEC_KEY or an unknown one (RFC 4568
    /// §6.3).
    #[error(
        "asks for a session parameter (KDR, UNENCRYPTED_…, UNAUTHENTICATED_SRTP, FEC_…): switch it off on the device"
    )]
    SessionParameter,
}

impl<'s> Crypto<'s> {
    /// Reads the value of an `a=crypto` line (RFC 4568 §9.1): `<tag> <suite> <key parameters> [<session parameters>]`.
    pub fn parse(value: &'s [u8]) -> Result<Crypto<'s>, Unusable> {
        let value = str::from_utf8(value).map_err(|_| Unusable::Malformed)?;
        let mut fields = value.split([' ', '\t']).filter(|field| !field.is_empty());
        let (Some(tag), Some(suite), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Unusable::Malformed);
        };
        let is_tag = (1..=9).contains(&tag.len()) && tag.bytes().all(|c| c.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| is_tag).ok_or(Unusable::Malformed)?;
        if !suite.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            return Err(Unusable::Malformed);
        }
        let key_and_salt = inline_key(key)?;
        if fields.all(may_be_ignored) {
            Ok(Crypto { tag, suite, key_and_salt })
        } else {
            Err(Unusable::SessionParameter)
        }
    }

    /// The secret: master key and master salt.
    pub fn key_and_salt(&self) -> &[u8] {
        &self.key_and_salt
    }
}

/// Writes such a line without its end.
pub fn write(tag: u32, suite: &str, key_and_salt: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("a=crypto:{tag} {suite} inline:").as_bytes());
    out.extend_from_slice(BASE64.encode(key_and_salt).as_bytes());
}

/// `inline:<key||salt>[|<lifetime>][|<MKI>:<length>]` (RFC 4568 §6.1). The lifetime is for the one who sends under the
/// key to keep.
fn inline_key(parameters: &str) -> Result<SmallVec<[u8; 48]>, Unusable> {
    if parameters.contains(';') {
        return Err(Unusable::Mki);
    }
    let (method, info) = parameters.split_once(':').ok_or(Unusable::Malformed)?;
    let mut parts = info.split('|');
    let key = parts.next().filter(|key| method.eq_ignore_ascii_case("inline") && key.len() <= LONGEST_KEY);
    match (parts.next(), parts.next()) {
        (None, _) => {}
        (Some(lifetime), None) if is_lifetime(lifetime) => {}
        (Some(mki), None) if mki.contains(':') => return Err(Unusable::Mki),
        (Some(lifetime), Some(_)) if is_lifetime(lifetime) => return Err(Unusable::Mki),
        _ => return Err(Unusable::Malformed),
    }
    let key = BASE64.decode(key.ok_or(Unusable::Malformed)?).map_err(|_| Unusable::Malformed)?;
    if key.is_empty() { Err(Unusable::Malformed) } else { Ok(SmallVec::from_vec(key)) }
}

/// RFC 4568 §9.2: a number of packets, or a power of two.
fn is_lifetime(text: &str) -> bool {
    let digits = text.strip_prefix("2^").unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

/// The hint at a window size (RFC 4568 §6.3.6: ours is wider than the least), and what is marked as optional (§6.3.7).
fn may_be_ignored(parameter: &str) -> bool {
    let is_window = |name: &str| name.eq_ignore_ascii_case("WSH");
    parameter.starts_with('-') || parameter.split_once('=').is_some_and(|(name, _)| is_window(name))
}

impl fmt::Debug for Crypto<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crypto({} {} ***)", self.tag, self.suite)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of RFC 4568's own.
    const KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    fn parse(line: &str) -> Result<Crypto<'_>, Unusable> {
        Crypto::parse(line.as_bytes())
    }

    #[test]
    fn a_plain_line_with_or_without_lifetime_window_and_options() {
        for behind in ["", "|2^20", "|1048576", "|2^20 WSH=128", " wsh=64 -WEIRD=1", "  "] {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{behind}");
            let crypto = parse(&line).unwrap();
            assert_eq!(
                (crypto.tag, crypto.suite, crypto.key_and_salt().len()),
                (1, "AES_CM_128_HMAC_SHA1_80", 30)
            );
            assert_eq!(crypto.key_and_salt()[..4], *b"=-n@");
        }
        assert!(parse(&format!("999999999 X INLINE:{KEY}")).is_ok());
    }

    #[test]
    fn padding_may_be_there_or_not() {
        let (with, without) = ("1 AEAD_AES_128_GCM inline:AAECAw==", "1 AEAD_AES_128_GCM inline:AAECAw");
        assert_eq!(parse(with), parse(without));
        assert_eq!(parse("1 X inline:AAECAx"), Err(Unusable::Malformed), "bits behind the last byte");
        assert_eq!(parse("1 X inline:AA-_"), Err(Unusable::Malformed), "another alphabet");
    }

    #[test]
    fn an_mki_is_refused_by_name() {
        for key in
            ["inline:K|2^20|1:4", "inline:K|1:4", "inline:K|2^20|1:4;inline:L|2^20|2:4", "inline:K;inline:L"]
        {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 {}", key.replace(['K', 'L'], KEY));
            assert_eq!(parse(&line), Err(Unusable::Mki), "{key}");
        }
    }

    #[test]
    fn session_parameters_that_weaken_or_change_srtp_are_refused() {
        for parameter in [
            "UNENCRYPTED_SRTP",
            "UNENCRYPTED_SRTCP",
            "UNAUTHENTICATED_SRTP",
            "KDR=0",
            "FEC_ORDER=FEC_SRTP",
            "NEW",
            "WSH",
        ] {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=64 {parameter}");
            assert_eq!(parse(&line), Err(Unusable::SessionParameter), "{parameter}");
        }
    }

    #[test]
    fn what_is_no_crypto_line() {
        let long = format!("1 X inline:{}", "A".repeat(132));
        for line in [
            "",
            "1",
            "1 X",
            "x X inline:AAAA",
            "-1 X inline:AAAA",
            "+1 X inline:AAAA",
            "1234567890 X inline:AAAA",
            "1 X! inline:AAAA",
            "1 X AAAA",
            "1 X uri:AAAA",
            "1 X inline:",
            "1 X inline:A",
            "1 X inline:AAAA|",
            "1 X inline:AAAA|2^",
            "1 X inline:AAAA|x",
            "1 X inline:AAAA|2^20|",
            &long,
        ] {
            let expected = if line.ends_with("2^20|") { Unusable::Mki } else { Unusable::Malformed };
            assert_eq!(parse(line), Err(expected), "{line}");
        }
        assert_eq!(Crypto::parse(b"1 \xff inline:AAAA"), Err(Unusable::Malformed));
    }

    #[test]
    fn a_key_is_never_printed() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        assert_eq!(format!("{:?}", parse(&line).unwrap()), "Crypto(1 AES_CM_128_HMAC_SHA1_80 ***)");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            tag in 0..1_000_000_000u32,
            suite in "[A-Z0-9_]{1,30}",
            key in proptest::collection::vec(any::<u8>(), 1..=64),
        ) {
            let mut line = Vec::new();
            write(tag, &suite, &key, &mut line);
            let crypto = Crypto::parse(line.strip_prefix(b"a=crypto:").unwrap()).unwrap();
            prop_assert_eq!((crypto.tag, crypto.suite, crypto.key_and_salt()), (tag, &suite[..], &key[..]));
        }

        #[test]
        fn no_bytes_are_too_odd(value in "[0-9]{0,3}[ \t]?[A-Z_]{0,5}[ \t]?(inline:)?[A-Za-z0-9+/=|:;^ -]{0,60}", junk in any::<Vec<u8>>()) {
            let _ = Crypto::parse(value.as_bytes());
            let _ = Crypto::parse(&junk);
        }
    }
}
