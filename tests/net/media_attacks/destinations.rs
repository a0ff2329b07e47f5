//! SDP and candidates of a phone without trust that point where media must not go. (What is public and has not spoken, which no
//! test here may send to: `rfc3264::hostile`, with every kind and spelling of address.)

use super::*;

/// Every way in which an SDP names an address.
fn pointing_at(phone: &Endpoint, target: SocketAddr) -> Vec<String> {
    let (ip, port) = (target.ip(), target.port());
    let ice = "a=ice-ufrag:alfa\r\na=ice-pwd:alfaalfaalfaalfaalfaalfa\r\n";
    let candidate = |kind| format!("a=candidate:1 1 udp 2130706431 {ip} {port} typ {kind}\r\n");
    vec![
        sdp(target),
        phone
            .sdp()
            .replace(&format!("a=rtcp:{}", addr(&phone.rtcp).port()), &format!("a=rtcp:{port} IN IP4 {ip}")),
        sdp(target) + "a=recvonly\r\n",
        phone.sdp() + ice + &candidate("host"),
        sdp(target) + ice + &candidate("relay raddr 0.0.0.0 rport 9"),
        phone.sdp() + &format!("a=altc:1 IP4 {ip} {port}\r\na=source-filter: incl IN IP4 * {ip}\r\n"),
    ]
}

#[test]
fn nothing_is_sent_where_an_untrusted_sdp_points() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, victim) = (Endpoint::new(), socket(ELSEWHERE));
    // Somebody else's call, in which nobody has spoken yet.
    let (other_phone, other_office) = (Endpoint::new(), Endpoint::new());
    let other = edge.call(&other_phone.sdp(), &other_office.sdp());
    let targets = [
        ("a victim on loopback", addr(&victim)),
        ("our SIP listener", edge.node.listener("udp").unwrap()),
        ("our TURN listener", edge.node.turn_listener("turn").unwrap()),
        ("another call, facing its phone", shown(&other.ok)[0]),
        ("another call, facing the PBX", shown(&other.invite)[0]),
        ("the PBX's media", addr(&other_office.rtp)),
    ];
    let mut pbx = Udp { to: other.callee.to, socket: other.callee.socket.try_clone().unwrap() };
    for (what, target) in targets {
        for offer in pointing_at(&phone, target) {
            let office = Endpoint::new();
            let call = Call::up(edge.phone(), pbx, &offer, &office.sdp());
            let before = edge.media();
            let (facing_office, facing_phone) = (shown(&call.invite), shown(&call.ok));
            for number in 0..5 {
                office.rtp.send_to(&rtp(number), facing_office[0]).unwrap();
                office.rtcp.send_to(&rtcp(number), facing_office[1]).unwrap();
            }
            eventually("all had nowhere to go", || {
                let now = edge.media();
                now.undeliverable + now.refused_source == before.undeliverable + before.refused_source + 10
            });
            assert_eq!(edge.media().packets, before.packets, "{what}: {offer}");
            // Without ICE the phone is heard from where its SIP comes, and answered there and nowhere else.
            if !offer.contains("a=ice-ufrag") {
                phone.rtp.send_to(&rtp(9), facing_phone[0]).unwrap();
                assert_eq!(receive(&office.rtp), (rtp(9).to_vec(), facing_office[0]), "{what}");
                office.rtp.send_to(&rtp(10), facing_office[0]).unwrap();
                assert_eq!(receive(&phone.rtp), (rtp(10).to_vec(), facing_phone[0]), "{what}");
                eventually("both are counted", || edge.media().packets == before.packets + 2);
            }
            call.hang_up();
            pbx = call.callee;
        }
    }
    for socket in [&victim, &other_phone.rtp, &other_phone.rtcp, &other_office.rtp, &other_office.rtcp] {
        assert_silent(socket);
    }
    other.hang_up();
    edge.assert_served();
}
