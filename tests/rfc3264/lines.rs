//! Bodies with several lines of several kinds, and where RTCP goes, through the whole edge.

use turnpike::relay::Side;

use super::scene::{PBX, PHONE, Scene, TO_PBX, TO_PHONE, session, shown};

/// "rtcp with and without address": `a=rtcp` (RFC 3605) names the relay wherever it stood, and where RTCP is sent is what
/// it said.
#[test]
fn where_rtcp_goes() {
    let cases = [
        ("", 4001, "m=audio 40002 RTP/AVP 0\r\n".to_owned()),
        ("a=rtcp:4011\n", 4011, "m=audio 40002 RTP/AVP 0\r\na=rtcp:40003\r\n".to_owned()),
        (
            "a=rtcp:4011 IN IP4 192.0.2.7\n",
            4011,
            format!("m=audio 40002 RTP/AVP 0\r\na=rtcp:40003 IN IP4 {TO_PBX}\r\n"),
        ),
    ];
    for (line, port, written) in cases {
        let mut call = Scene::ringing(&session(PHONE, &format!("m=audio 4000 RTP/AVP 0\n{line}")));
        assert!(call.seen.ends_with(&written), "{}", call.seen);
        call.accept(&session(PBX, &format!("m=audio 5000 RTP/AVP 0\na=rtcp:5011 IN IP4 {PBX}\n")));
        let (a, b) = call.rules().remove(0);
        assert_eq!((a.rtcp, b.rtcp), (Some((super::ip(PHONE), port).into()), "10.20.0.20:5011".parse().ok()));
        call.end();
    }
    // Somebody else's address is not believed of a side that is not trusted.
    let victim = "m=audio 4000 RTP/AVP 0\na=rtcp:4011 IN IP4 198.51.100.99\n";
    let call = Scene::established(&session(PHONE, victim), &session(PBX, "m=audio 5000 RTP/AVP 0\n"));
    assert_eq!(call.rules()[0].0.rtcp, None);
    call.end();
}

/// Each line has its own pair; what the answer turns down is free; what a later offer adds, or takes up again, opens.
#[test]
fn lines_come_and_go_each_with_its_own_ports() {
    let lines = |host: &str, [audio, video, slides, text]: [u16; 4]| {
        session(
            host,
            &format!(
                "m=audio {audio} RTP/AVP 0\nm=video {video} RTP/AVP 96\na=content:main\n\
                 m=video {slides} RTP/AVP 97\na=content:slides\nm=text {text} RTP/AVP 98\n"
            ),
        )
    };
    let mut call = Scene::ringing(&lines(PHONE, [4000, 4002, 4004, 4006]));
    let offered = [40_002, 40_006, 40_010, 40_014];
    assert!(call.seen.ends_with(&shown(&lines(PHONE, [4000, 4002, 4004, 4006]), TO_PBX, &offered)));
    let answer = lines(PBX, [5000, 5002, 0, 0]);
    assert_eq!(call.accept(&answer), shown(&answer, TO_PHONE, &[40_000, 40_004]));
    assert_eq!(call.pairs(), 2);
    let (asked, came) =
        call.agree(Side::B, "INVITE", &lines(PBX, [5000, 0, 5004, 0]), &lines(PHONE, [4000, 0, 4004, 0]));
    assert_eq!(asked, shown(&lines(PBX, [5000, 0, 5004, 0]), TO_PHONE, &[40_000, 40_016]));
    assert_eq!(came, shown(&lines(PHONE, [4000, 0, 4004, 0]), TO_PBX, &[40_002, 40_018]));
    assert_eq!(call.pairs(), 2);
    let goes: Vec<_> = call.rules().iter().map(|(a, _)| a.rtp.map(|rtp| rtp.port())).collect();
    assert_eq!(goes, [Some(4000), Some(4004)]);
    let world = call.end();
    let kinds: Vec<_> = world.cdrs()[0].media.iter().map(|stream| stream.kind.name()).collect();
    assert_eq!(kinds, ["audio", "video", "video", "text"]);
}

/// A data channel (RFC 8841) over UDP goes through the relay as it is: DTLS, and no RTP. Over TCP it is not ours.
#[test]
fn a_data_channel() {
    let channel = |host: &str, port: u16, ufrag: &str| {
        session(
            host,
            &format!(
                "m=application {port} UDP/DTLS/SCTP webrtc-datachannel\na=ice-ufrag:{ufrag}xxxx\n\
                 a=ice-pwd:{ufrag}xxxxxxxxxxxxxxxxxxxxxxx\na=fingerprint:sha-256 {}\na=setup:actpass\n\
                 a=mid:0\na=sctp-port:5000\na=max-message-size:262144\n",
                ["AB"; 32].join(":")
            ),
        )
    };
    let mut call = Scene::ringing(&channel(PHONE, 4000, "u"));
    assert!(call.seen.contains("m=application 40002 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{}", call.seen);
    assert!(!call.seen.contains("a=rtcp:") && call.seen.matches("typ relay").count() == 1, "one component");
    let came = call.accept(&channel(PBX, 5000, "v"));
    assert!(came.contains("a=sctp-port:5000\r\na=max-message-size:262144\r\n"));
    let (a, b) = call.rules().remove(0);
    assert!(!a.rtp_only && !b.rtp_only && a.stun_and_dtls && b.stun_and_dtls);
    call.end();

    let tcp = session(
        PHONE,
        "m=audio 4000 RTP/AVP 0\nm=application 9 TCP/DTLS/SCTP webrtc-datachannel\na=setup:active\n",
    );
    let call = Scene::established(&tcp, &tcp.replace(PHONE, PBX));
    assert!(call.seen.contains("m=application 9 TCP/DTLS/SCTP webrtc-datachannel\r\na=setup:active\r\n"));
    assert_eq!(call.pairs(), 1);
    call.end();
}
