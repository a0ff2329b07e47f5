//! Typed readers: small parsers of one value, run on demand (RFC 3261 §20, §25.1).

use memchr::{memchr, memchr3};

use super::scan::{
    host_len, is_lws, is_plain_uri, is_token, number, param_name_len, param_value_len, quoted_len, split,
    token_len, trim_end, trim_start,
};
use super::{CSeq, Element, Malformed, Method, NameAddr, Via};

impl<'m> Element<'m> {
    /// Reads it as `name-addr`/`addr-spec`.
    pub fn name_addr(&self) -> Result<NameAddr<'m>, Malformed> {
        name_addr(self.value).ok_or(Malformed::bad("Malformed address", self.at))
    }
    /// Reads it as a Via value.
    pub fn via(&self) -> Result<Via<'m>, Malformed> {
        via(self.value).ok_or(Malformed::bad("Malformed Via", self.at))
    }
    /// Reads it as a number (Max-Forwards, Expires, …): digits only, no overflow.
    pub fn number(&self) -> Option<u32> {
        u32::try_from(number(self.value)?).ok()
    }
}

impl<'m> NameAddr<'m> {
    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'m [u8]> {
        self.tag
    }
}

impl<'m> Via<'m> {
    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&'m [u8]> {
        self.branch
    }
}

/// Value of parameter `name` (any case) in `;a=b;c` (as in [`Via::params`]): `Some(b"")` for one without value. A
/// quoted value keeps its quotes.
pub fn param<'m>(params: &'m [u8], name: &[u8]) -> Option<&'m [u8]> {
    params_of(params)
        .map_while(|param| param)
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The parameters in `;a=b;c`, name and value. `None` for one that is malformed; nothing follows it.
pub fn params_of(params: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    let mut rest = trim_start(params);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let param = next_param(rest);
        rest = param.map_or(&[], |(_, _, behind)| behind);
        Some(param.map(|(name, value, _)| (name, value)))
    })
}

/// `;` name [ `=` value ], white space allowed around each: name, value, what follows.
fn next_param(params: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let rest = trim_start(params.strip_prefix(b";")?);
    let (name, rest) = split(rest, param_name_len(rest));
    if name.is_empty() {
        return None;
    }
    let rest = trim_start(rest);
    let Some(rest) = rest.strip_prefix(b"=") else {
        let no_value = name.get(name.len()..).unwrap_or_default();
        return matches!(rest.first(), None | Some(b';')).then_some((name, no_value, rest));
    };
    let rest = trim_start(rest);
    let len = match rest.first() {
        Some(b'"') => quoted_len(rest)?,
        _ => param_value_len(rest),
    };
    let (value, rest) = split(rest, len);
    let rest = trim_start(rest);
    matches!(rest.first(), None | Some(b';')).then_some((name, value, rest))
}

/// Value of the first of `once`, if that is there. `None` if the parameters are malformed, or one of `once` is there twice
/// (RFC 3261 §7.3.1): two readers could take different ones.
fn checked_params<'m>(params: &'m [u8], once: &[&[u8]]) -> Option<Option<&'m [u8]>> {
    let (mut seen, mut first) = (0u32, None);
    for param in params_of(params) {
        let (name, value) = param?;
        let Some(known) = once.iter().position(|known| known.eq_ignore_ascii_case(name)) else { continue };
        if seen & (1 << known) != 0 {
            return None;
        }
        seen |= 1 << known;
        if known == 0 {
            first = Some(value);
        }
    }
    Some(first)
}

/// RFC 3261 §20.10: without angle brackets a `;` begins the header's parameters, and `?` and `,` may not stand.
pub(super) fn name_addr(value: &[u8]) -> Option<NameAddr<'_>> {
    let (display, bracket) = if value.first() == Some(&b'"') {
        let (display, rest) = split(value, quoted_len(value)?);
        (display, trim_start(rest))
    } else {
        let at = memchr3(b'<', b'"', b';', value).unwrap_or(value.len());
        let (display, rest) = split(value, at);
        if rest.first() != Some(&b'<') {
            let uri = trim_end(display);
            if !is_plain_uri(uri) || memchr3(b'?', b',', b'>', uri).is_some() {
                return None;
            }
            let tag = checked_params(rest, &[b"tag"])?;
            return Some(NameAddr { display: b"", uri, params: rest, tag });
        }
        (trim_end(display), rest)
    };
    if display.first() != Some(&b'"') && memchr(b',', display).is_some() {
        return None;
    }
    let inside = bracket.strip_prefix(b"<")?;
    let (uri, rest) = split(inside, memchr(b'>', inside)?);
    let params = trim_start(rest.get(1..)?);
    let tag = checked_params(params, &[b"tag"])?;
    is_plain_uri(uri).then_some(NameAddr { display, uri, params, tag })
}

/// RFC 3261 §25.1 via-parm; white space may stand around each separator.
pub(super) fn via(value: &[u8]) -> Option<Via<'_>> {
    let rest = match value.strip_prefix(b"SIP/2.0/") {
        Some(rest) => rest,
        None => {
            let rest = skip(value, b"SIP")?;
            let rest = skip(skip(rest, b"/")?, b"2.0")?;
            skip(rest, b"/")?
        }
    };
    let (transport, rest) = split(trim_start(rest), token_len(trim_start(rest)));
    if transport.is_empty() || !rest.first().is_some_and(|byte| is_lws(*byte)) {
        return None;
    }
    let rest = trim_start(rest);
    let len = match rest.first()? {
        b'[' => memchr(b']', rest)? + 1,
        _ => host_len(rest),
    };
    let (host, rest) = split(rest, len);
    let is_foul = |byte: &u8| is_lws(*byte) || matches!(byte, b'"' | b',' | b';');
    if host.is_empty() || host.first() == Some(&b'[') && host.iter().any(is_foul) {
        return None;
    }
    let (port, rest) = match trim_start(rest).strip_prefix(b":") {
        Some(rest) => {
            let rest = trim_start(rest);
            let (digits, rest) = split(rest, rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
            (Some(u16::try_from(number(digits)?).ok()?), rest)
        }
        None => (None, rest),
    };
    let params = trim_start(rest);
    let branch = checked_params(params, &[b"branch", b"received", b"rport", b"maddr"])?;
    Some(Via { transport, host, port, params, branch })
}

/// `value` behind `expected` (any case) and the white space around it.
fn skip<'v>(value: &'v [u8], expected: &[u8]) -> Option<&'v [u8]> {
    let (start, rest) = trim_start(value).split_at_checked(expected.len())?;
    start.eq_ignore_ascii_case(expected).then_some(trim_start(rest))
}

/// RFC 3261 §8.1.1.5: number below 2^31, white space, method.
pub(super) fn cseq(value: &[u8]) -> Option<CSeq<'_>> {
    let (digits, rest) = split(value, value.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let method_bytes = trim_start(rest);
    let number = u32::try_from(number(digits)?).ok().filter(|number| *number < 1 << 31)?;
    (rest.len() > method_bytes.len() && is_token(method_bytes)).then_some(CSeq {
        number,
        method: Method::from_bytes(method_bytes),
        method_bytes,
    })
}
