//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), read in place.

/// What kind of URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
}

/// A URI's parts, as they stand (escapes kept).
#[derive(Clone, Copy, Debug)]
pub struct Uri<'u> {
    /// The scheme; any other scheme does not parse (416).
    pub scheme: Scheme,
    /// User part without password; for `tel:` the number. `None` if absent.
    pub user: Option<&'u [u8]>,
    /// Host without port, brackets of an IPv6 reference kept; empty for `tel:`.
    pub host: &'u [u8],
    /// The port.
    pub port: Option<u16>,
    /// Parameters, `;` first; read them with [`crate::sip::message::param`].
    pub params: &'u [u8],
    /// Headers behind `?`.
    pub headers: &'u [u8],
}

impl<'u> Uri<'u> {
    /// Reads it; `None` if it is none of ours or its syntax is broken. `sip:a@evil@pbx`, a port above 65535, and
    /// control characters or blanks inside are broken.
    pub fn parse(uri: &'u [u8]) -> Option<Uri<'u>> {
        let _ = uri;
        todo!()
    }
    /// Host as an IP address, if it is one.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        todo!()
    }
    /// The `transport` parameter.
    pub fn transport(&self) -> Option<crate::base::Transport> {
        todo!()
    }
    /// The user part with %-escapes undone, as policy and numbers read it.
    pub fn user_unescaped(&self) -> Option<std::borrow::Cow<'u, [u8]>> {
        todo!()
    }
}
