//! The SIP and SDP that the demo's phone and PBX originate: built with rsip and sdp-rs, by people who did not write
//! Turnpike's parser.

use std::net::{IpAddr, SocketAddr};

use rsip::Headers;
use rsip::headers::{
    CSeq, CallId, Contact, ContentLength, ContentType, From, MaxForwards, Route, To, UntypedHeader,
    UserAgent, Via,
};
use rsip::message::HeadersExt;
use sdp_rs::lines::common::{Addrtype, Nettype};
use sdp_rs::lines::media::{MediaType, ProtoType};
use sdp_rs::lines::{Active, Attribute, Connection, Media, Origin, SessionName, Version};
use sdp_rs::{MediaDescription, SessionDescription};

/// Where a request stands in its dialog.
pub(super) struct Dialog {
    /// Transport and address of who asks, for Via and Contact: `TLS 127.0.0.1:40001`.
    pub transport: &'static str,
    pub local: SocketAddr,
    pub user: &'static str,
    pub domain: String,
    pub call_id: String,
    pub from_tag: String,
    pub to_tag: Option<String>,
    /// Record-Route of the answer, reversed.
    pub routes: Vec<String>,
    pub cseq: u32,
}

impl Dialog {
    /// A request in this dialog, to the user `to` of the domain.
    pub fn request(
        &self,
        method: rsip::Method,
        uri: &str,
        to: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, rsip::Error> {
        let mut headers = Headers::default();
        let branch = format!("z9hG4bK{}{}{method}", self.from_tag, self.cseq);
        headers.push(
            Via::new(format!("SIP/2.0/{} {};branch={branch};rport", self.transport, self.local)).into(),
        );
        headers.push(MaxForwards::new("70").into());
        for route in &self.routes {
            headers.push(Route::new(route.clone()).into());
        }
        headers.push(From::new(format!("<sip:{}@{}>;tag={}", self.user, self.domain, self.from_tag)).into());
        let to_tag = self.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        headers.push(To::new(format!("<sip:{to}@{}>{to_tag}", self.domain)).into());
        headers.push(CallId::new(self.call_id.clone()).into());
        headers.push(CSeq::new(format!("{} {method}", self.cseq)).into());
        let transport = self.transport.to_ascii_lowercase();
        headers
            .push(Contact::new(format!("<sip:{}@{};transport={transport}>", self.user, self.local)).into());
        headers.push(UserAgent::new("Turnpike demo phone").into());
        if !body.is_empty() {
            headers.push(ContentType::new("application/sdp").into());
        }
        headers.push(ContentLength::new(body.len().to_string()).into());
        let uri = rsip::Uri::try_from(uri)?;
        let request = rsip::Request { method, uri, version: rsip::Version::V2, headers, body };
        Ok(rsip::SipMessage::Request(request).into())
    }

    /// Takes the To tag and the routes of an answer (RFC 3261 §12.1.2).
    pub fn confirm(&mut self, response: &rsip::Response) -> Result<(), rsip::Error> {
        self.to_tag = tag_of(response.to_header()?.value());
        self.routes = record_routes(&response.headers).rev().collect();
        Ok(())
    }
}

/// An answer to `request` (RFC 3261 §8.2.6), with the dialog's tag and, where it is given, Contact and SDP.
pub(super) fn respond(
    request: &rsip::Request,
    status: u16,
    tag: &str,
    contact: Option<String>,
    body: Vec<u8>,
) -> Result<Vec<u8>, rsip::Error> {
    let mut headers = Headers::default();
    for header in request.headers.iter() {
        use rsip::Header::{CSeq, CallId, From, RecordRoute, Via};
        if matches!(header, Via(_) | From(_) | CallId(_) | CSeq(_) | RecordRoute(_)) {
            headers.push(header.clone());
        }
    }
    let to = request.to_header()?.value();
    let tagged = if tag_of(to).is_some() { to.to_owned() } else { format!("{to};tag={tag}") };
    headers.push(To::new(tagged).into());
    if let Some(contact) = contact {
        headers.push(Contact::new(contact).into());
    }
    if !body.is_empty() {
        headers.push(ContentType::new("application/sdp").into());
    }
    headers.push(ContentLength::new(body.len().to_string()).into());
    let response = rsip::Response { status_code: status.into(), version: rsip::Version::V2, headers, body };
    Ok(rsip::SipMessage::Response(response).into())
}

/// SDP with one G.711 stream at `media`.
pub(super) fn describe(who: &str, media: SocketAddr) -> String {
    let addrtype = if media.is_ipv4() { Addrtype::Ip4 } else { Addrtype::Ip6 };
    let attribute = |name: &str, value: &str| Attribute::Other(name.into(), Some(value.into()));
    let always = sdp_rs::Time { active: Active { start: 0, stop: 0 }, repeat: Vec::new(), zone: None };
    SessionDescription {
        version: Version::V0,
        origin: Origin {
            username: who.into(),
            sess_id: "1".into(),
            sess_version: "1".into(),
            nettype: Nettype::In,
            addrtype: addrtype.clone(),
            unicast_address: media.ip(),
        },
        session_name: SessionName::new("-".into()),
        session_info: None,
        uri: None,
        emails: Vec::new(),
        phones: Vec::new(),
        connection: Some(connection(addrtype, media.ip())),
        bandwidths: Vec::new(),
        times: vec![always].try_into().expect("one time"),
        key: None,
        attributes: Vec::new(),
        media_descriptions: vec![MediaDescription {
            media: Media {
                media: MediaType::Audio,
                port: media.port(),
                num_of_ports: None,
                proto: ProtoType::RtpAvp,
                fmt: "0".into(),
            },
            info: None,
            connections: Vec::new(),
            bandwidths: Vec::new(),
            key: None,
            attributes: vec![attribute("rtpmap", "0 PCMU/8000"), attribute("ptime", "20")],
        }],
    }
    .to_string()
}

/// Where the first stream of an SDP wants its media.
pub(super) fn media_address(body: &[u8]) -> Option<SocketAddr> {
    crate::sdp::Session::parse(body).ok()?.media().first()?.rtp
}

/// The value of `;tag=` in a From or To.
pub(super) fn tag_of(value: &str) -> Option<String> {
    let after = value.split(";tag=").nth(1)?;
    Some(after.split(';').next().unwrap_or(after).to_owned())
}

fn record_routes(headers: &Headers) -> impl DoubleEndedIterator<Item = String> {
    let lines = headers.iter().filter_map(|header| match header {
        rsip::Header::RecordRoute(line) => Some(line.value().to_owned()),
        _ => None,
    });
    lines
        .flat_map(|line| line.split(',').map(|r| r.trim().to_owned()).collect::<Vec<_>>())
        .collect::<Vec<_>>()
        .into_iter()
}

fn connection(addrtype: Addrtype, address: IpAddr) -> Connection {
    Connection {
        nettype: Nettype::In,
        addrtype,
        connection_address: sdp_rs::lines::connection::ConnectionAddress {
            base: address,
            ttl: None,
            numaddr: None,
        },
    }
}
