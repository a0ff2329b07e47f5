//! An INVITE as a phone sends it, and what a proxy does to it (RFC 3261 §16.6): for the bench and the allocation test.

use bytes::Bytes;
use turnpike::sip::message::{Edit, Message, Name};

/// An INVITE of about 750 bytes, with these header lines and this body added.
pub fn invite(headers: &str, body: &str) -> Bytes {
    Bytes::from(format!(
        "INVITE sip:+4930123456@edge.example.com;user=phone SIP/2.0\r\n\
         Via: SIP/2.0/TLS 192.168.1.20:5061;branch=z9hG4bK-524287-1---8d3c5a2f9b1e;rport\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:edge.example.com:5061;transport=tls;lr>\r\n\
         Contact: <sip:alice@192.168.1.20:5061;transport=tls>\r\n\
         To: <sip:+4930123456@edge.example.com;user=phone>\r\n\
         From: \"Alice Example\" <sip:alice@edge.example.com>;tag=b42f1a73\r\n\
         Call-ID: 86895ZTQ1YjA3Y2M0YzE2NGI0NzM5OTI2ZTRkNmQ0ZWE5ZjQ\r\n\
         CSeq: 1 INVITE\r\n\
         {headers}\
         Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, OPTIONS, INFO, SUBSCRIBE\r\n\
         Supported: replaces, outbound, path, gruu\r\n\
         User-Agent: Softphone 7.1.4 (build 20431; Linux x86_64)\r\n\
         P-Preferred-Identity: \"Alice Example\" <sip:alice@edge.example.com>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\
         \r\n\
         {body}",
        body.len()
    ))
}

/// Via on top, Max-Forwards, Record-Route, Request-URI, the top Route removed, received and rport.
pub fn proxy_edit(message: &Message, out: &mut Vec<u8>) {
    let hops = message.header(Name::MaxForwards).and_then(|hops| hops.number()).unwrap_or(70);
    let mut edit = Edit::new(message);
    edit.set_request_uri(b"sip:+4930123456@10.0.0.5:5060;user=phone");
    edit.stamp_top_via(std::net::Ipv4Addr::new(203, 0, 113, 7).into(), 49152);
    edit.set_number(Name::MaxForwards, hops - 1);
    if let Some(route) = message.elements(Name::Route).next() {
        edit.remove(route);
    }
    edit.add_above(Name::RecordRoute, b"<sip:a1b2c3d4e5f6@edge.example.com:5061;transport=tls;lr>");
    edit.add_above(
        Name::Via,
        b"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK0123456789abcdef0123456789abcdef;rport",
    );
    edit.write(out);
}
