//! `turnpike check --trunk`: a trunk of the test's own on loopback that is wrong in one way at a time, and what the administrator is told.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 8 101\r\n\
                      a=rtpmap:101 telephone-event/8000\r\n";
const SRTP_ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/SAVP 0\r\n\
                           a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OUFCQ0RFRjAxMjM0NTY3ODlBQkNE\r\n";
const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"acme\", nonce=\"abc\", qop=\"auth\"\r\n";

/// What a trunk says to a request: status and reason, header fields, body. Nothing: it is silent.
type Script = fn(&str) -> Vec<(&'static str, &'static str, &'static str)>;

/// Says 200 to all but INVITE.
fn lives(request: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    match method(request) {
        "ACK" | "INVITE" => Vec::new(),
        _ => vec![("200 OK", "", "")],
    }
}

fn method(request: &str) -> &str {
    request.split(' ').next().unwrap()
}

/// The response to a request (RFC 3261 §8.2.6).
fn response(request: &str, (status, fields, body): (&str, &str, &str)) -> String {
    let kept = request
        .lines()
        .filter(|line| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    // A 487 is for the INVITE that is cancelled.
    let kept = if status.starts_with("487") { kept.replace("CANCEL\r\n", "INVITE\r\n") } else { kept };
    let to = request.lines().find(|line| line.starts_with("To:")).unwrap();
    let tag = if to.contains(";tag=") { "" } else { ";tag=trunk" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status}\r\n{kept}{to}{tag}\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A carrier's end, and the methods that it heard.
struct Carrier {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    tcp: bool,
}

impl Carrier {
    fn udp(script: Script) -> Carrier {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Carrier::start(socket.local_addr().unwrap(), false, move |heard, stopped| {
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                let request = String::from_utf8(buffer[..n].to_vec()).unwrap();
                heard.lock().unwrap().push(method(&request).to_owned());
                for answer in script(&request) {
                    socket.send_to(response(&request, answer).as_bytes(), from).unwrap();
                }
            }
        })
    }

    /// Over TLS; one connection.
    fn tls(script: Script, config: ServerConfig) -> Carrier {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Carrier::start(address, true, move |heard, _| {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            converse(StreamOwned::new(connection, stream), script, heard);
        })
    }

    fn start(
        address: SocketAddr,
        tcp: bool,
        run: impl FnOnce(&Mutex<Vec<String>>, &AtomicBool) + Send + 'static,
    ) -> Carrier {
        let (heard, stopped) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (h, s) = (heard.clone(), stopped.clone());
        Carrier { address, heard, stopped, thread: Some(std::thread::spawn(move || run(&h, &s))), tcp }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// Until the far end hangs up.
fn converse(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    script: Script,
    heard: &Mutex<Vec<String>>,
) {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        text += std::str::from_utf8(&chunk[..n]).unwrap();
        while let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            if body.len() < length {
                break;
            }
            let (request, rest) = (format!("{head}\r\n\r\n"), body[length..].to_owned());
            heard.lock().unwrap().push(method(&request).to_owned());
            for answer in script(&request) {
                if stream.write_all(response(&request, answer).as_bytes()).is_err() {
                    return;
                }
            }
            text = rest;
        }
    }
    // A reset would overtake our last words.
    let _ = stream.sock.shutdown(Shutdown::Write);
    let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if self.tcp {
            // Whoever still waits for its connection gets one.
            drop(TcpStream::connect(self.address));
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Knows sip.acme.test, and of all else that there is nothing.
fn name_server() -> Carrier {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    Carrier::start(socket.local_addr().unwrap(), false, move |_, stopped| {
        let mut buffer = [0; 4096];
        let host = Name::from_ascii("sip.acme.test.").unwrap();
        while !stopped.load(Ordering::Relaxed) {
            let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
            let Ok(question) = Message::from_vec(&buffer[..n]) else { continue };
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            for query in &question.queries {
                answer.add_query(query.clone());
                if *query.name() == host && query.query_type() == RecordType::A {
                    answer.add_answer(Record::from_rdata(host.clone(), 60, RData::A(A(Ipv4Addr::LOCALHOST))));
                }
            }
            socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    })
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for this name; `asks`: it wants to see one of the client's.
fn server(authority: &Authority, name: &str, asks: bool) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let pem =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap().pem();
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if asks {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap()
}

/// What `turnpike check --trunk acme` prints, and whether it is content. `trunk` is the trunk's settings.
fn check(trunk: &str, authority: &Authority, more: &[&str]) -> (bool, String) {
    let dns = name_server();
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
name: edge-1
dns: {{ servers: ["{dns}"] }}
zones:
  carriers: {{ trust: peer, admit: trunks, media: {{ anchor: never }} }}
  office: {{ trust: full, admit: any, networks: [127.0.0.9/32], media: {{ anchor: never }} }}
listeners:
  carriers: {{ zone: carriers, bind: "udp://127.0.0.1:5060", advertise: "sbc.example.com" }}
  inside: {{ zone: office, bind: "udp://127.0.0.1:5070" }}
pbx: {{ zone: office, hosts: ["sip:127.0.0.9:5060"] }}
trunks: {{ acme: {{ zone: carriers, {trunk} }} }}
routes: [{{ name: out, from: pbx, send_to: acme }}]
relay: {{ addresses: {{ carriers: {{ bind: 127.0.0.1 }}, office: {{ bind: 127.0.0.1 }} }} }}
policies: []
"#,
        dns = dns.address
    );
    std::fs::write(folder.path().join("edge.yaml"), config).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .args(["check", "--config", "edge.yaml", "--trunk", "acme"])
        .args(more)
        .current_dir(folder.path())
        .env("ACME_PASSWORD", "s3cret")
        .output()
        .unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!said.contains("s3cret") && !complained.contains("s3cret"));
    let report = said.find("trunk acme\n").unwrap_or_else(|| panic!("no report: {said}{complained}"));
    (output.status.success(), said[report..].to_owned())
}

/// The report with the port replaced, which is another one each time.
fn snapshot(name: &str, (content, report): (bool, String), port: u16) {
    let shown = format!("{report}{}\n", if content { "content" } else { "not content" });
    let shown = shown.replace(&format!(":{port}"), ":PORT");
    insta::with_settings!({ snapshot_path => "trunk_check/snapshots", prepend_module_to_snapshot => false,
        omit_expression => true }, { insta::assert_snapshot!(name, shown) });
}

/// As long as it takes on a busy machine.
const CALL: [&str; 6] = ["--wait", "30", "--call", "+4930123456", "--caller", "+4930987"];
/// For carriers that are silent somewhere.
const SHORT_CALL: [&str; 6] = ["--wait", "3", "--call", "+4930123456", "--caller", "+4930987"];

fn over_udp(carrier: &Carrier) -> String {
    format!("hosts: [\"sip:{}\"]", carrier.address)
}

fn over_tls(carrier: &Carrier) -> String {
    let port = carrier.address.port();
    format!(
        "hosts: [\"sip:sip.acme.test:{port};transport=tls\"], tls: {{ ca: ca.pem }}, media: {{ anchor: always, srtp: sdes }}"
    )
}

#[test]
fn a_host_that_is_not_there_is_told_with_what_is_missing() {
    let authority = authority();
    snapshot("no_dns", check("hosts: [\"sip:nowhere.test:5060\"]", &authority, &[]), 0);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let trunk = format!("hosts: [\"sip:{closed};transport=tcp\"]");
    snapshot("tcp_refused", check(&trunk, &authority, &[]), closed.port());
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    snapshot("udp_refused", check(&format!("hosts: [\"sip:{closed}\"]"), &authority, &[]), closed.port());
    let silent = Carrier::udp(|_| Vec::new());
    snapshot("no_answer", check(&over_udp(&silent), &authority, &SHORT_CALL), silent.address.port());
}

#[test]
fn a_certificate_that_is_not_right_is_told_with_the_remedy() {
    let (ours, others) = (authority(), authority());
    for (name, authority, host, asks) in [
        ("bad_chain", &others, "sip.acme.test", false),
        ("wrong_name", &ours, "sip.other.test", false),
        ("wants_ours", &ours, "sip.acme.test", true),
    ] {
        let carrier = Carrier::tls(lives, server(authority, host, asks));
        snapshot(name, check(&over_tls(&carrier), &ours, &CALL), carrier.address.port());
    }
}

#[test]
fn what_the_carrier_answers_is_told_with_the_remedy() {
    let authority = authority();
    let scripts: [(&str, Script); 6] = [
        ("options_403", |_| vec![("403 Forbidden", "", "")]),
        ("options_503", |_| vec![("503 Service Unavailable", "Retry-After: 60\r\n", "")]),
        ("invite_488", |request| match method(request) {
            "INVITE" => vec![("100 Trying", "", ""), ("488 Not Acceptable Here", "", "")],
            _ => lives(request),
        }),
        ("invite_404", |request| match method(request) {
            "INVITE" => vec![("404 Not \x07Found", "", "")],
            _ => lives(request),
        }),
        ("invite_401", |request| match method(request) {
            "INVITE" => vec![("401 Unauthorized", CHALLENGE, "")],
            _ => lives(request),
        }),
        ("invite_silent", lives),
    ];
    for (name, script) in scripts {
        let carrier = Carrier::udp(script);
        let call = if name == "invite_silent" { &SHORT_CALL } else { &CALL };
        snapshot(name, check(&over_udp(&carrier), &authority, call), carrier.address.port());
    }
}

#[test]
fn a_password_is_given_when_it_is_asked_for_and_told_when_it_is_refused() {
    let authority = authority();
    let auth = "auth: { username: acct42, password: \"env:ACME_PASSWORD\" }";
    let refused = Carrier::udp(|request| match method(request) {
        "INVITE" => vec![("401 Unauthorized", CHALLENGE, "")],
        _ => lives(request),
    });
    let trunk = format!("{}, {auth}", over_udp(&refused));
    snapshot("wrong_password", check(&trunk, &authority, &CALL), refused.address.port());
    assert_eq!(refused.heard(), ["OPTIONS", "INVITE", "ACK", "INVITE", "ACK"]);
    let taken = Carrier::udp(|request| match method(request) {
        "INVITE" if request.contains("\r\nAuthorization: Digest username=\"acct42\"") => {
            vec![("486 Busy Here", "", "")]
        }
        "INVITE" => vec![("401 Unauthorized", CHALLENGE, "")],
        _ => lives(request),
    });
    let trunk = format!("{}, {auth}", over_udp(&taken));
    snapshot("right_password", check(&trunk, &authority, &CALL), taken.address.port());
}

/// RFC 3261 §10.2.3: without a Contact a REGISTER asks, and changes nothing for the node that is registered.
#[test]
fn a_registrar_is_asked_who_is_registered_and_nothing_is_registered() {
    fn logged_in(request: &str) -> bool {
        assert!(!request.contains("\r\nContact:") || method(request) != "REGISTER", "{request}");
        request.contains("\r\nAuthorization: Digest username=\"acct42\"")
    }
    let authority = authority();
    let scripts: [(&str, Script); 6] = [
        ("registered", |request| match method(request) {
            "REGISTER" if logged_in(request) => {
                assert!(request.contains("\r\nTo: <sip:acct42@127.0.0.1:"), "{request}");
                let ours = "Contact: <sip:acct42@sbc.example.com;transport=udp>;expires=200\r\n";
                vec![("100 Trying", "", ""), ("200 OK", ours, "")]
            }
            "REGISTER" => vec![("401 Unauthorized", CHALLENGE, "")],
            _ => lives(request),
        }),
        ("registered_elsewhere", |request| match method(request) {
            "REGISTER" => vec![("200 OK", "Contact: <sip:acct42@192.0.2.7>\r\n", "")],
            _ => lives(request),
        }),
        ("registrar_401", |request| match method(request) {
            "REGISTER" => vec![("401 Unauthorized", CHALLENGE, "")],
            _ => lives(request),
        }),
        ("registrar_404", |request| match method(request) {
            "REGISTER" => vec![("404 Not Found", "", "")],
            _ => lives(request),
        }),
        ("registrar_405", |request| match method(request) {
            "REGISTER" => vec![("405 Method Not Allowed", "", "")],
            _ => lives(request),
        }),
        ("registrar_400", |request| match method(request) {
            "REGISTER" => vec![("400 Missing Contact Header", "", "")],
            _ => lives(request),
        }),
    ];
    for (name, script) in scripts {
        let carrier = Carrier::udp(script);
        let login = "auth: { username: acct42, password: \"env:ACME_PASSWORD\" }, register: { every: 300s }";
        let trunk = format!("{}, {login}", over_udp(&carrier));
        snapshot(name, check(&trunk, &authority, &["--wait", "30"]), carrier.address.port());
        let asked = carrier.heard().iter().filter(|method| *method == "REGISTER").count();
        assert_eq!(asked, if matches!(name, "registered" | "registrar_401") { 2 } else { 1 });
    }
}

#[test]
fn a_call_is_cancelled_as_soon_as_its_media_is_known_and_hung_up_if_somebody_answered() {
    let authority = authority();
    let ringing = Carrier::tls(
        |request| match method(request) {
            "INVITE" => vec![("100 Trying", "", ""), ("183 Session Progress", "", SRTP_ANSWER)],
            "CANCEL" => vec![("200 OK", "", ""), ("487 Request Terminated", "", "")],
            _ => lives(request),
        },
        server(&authority, "sip.acme.test", false),
    );
    snapshot("all_well", check(&over_tls(&ringing), &authority, &CALL), ringing.address.port());
    let answered = Carrier::udp(|request| match method(request) {
        "INVITE" => {
            vec![("200 OK", "Contact: <sip:far@127.0.0.1>\r\nRecord-Route: <sip:127.0.0.1;lr>\r\n", ANSWER)]
        }
        "BYE" => {
            assert!(request.starts_with("BYE sip:far@127.0.0.1 SIP/2.0\r\n"), "{request}");
            assert!(request.contains("\r\nRoute: <sip:127.0.0.1;lr>\r\n"), "{request}");
            lives(request)
        }
        _ => lives(request),
    });
    snapshot(
        "answered_in_the_clear",
        check(&over_udp(&answered), &authority, &CALL),
        answered.address.port(),
    );
    assert_eq!(answered.heard(), ["OPTIONS", "INVITE", "ACK", "BYE"]);
    let demanding = format!("{}, media: {{ anchor: always, srtp: required }}", over_udp(&answered));
    snapshot("no_srtp", check(&demanding, &authority, &CALL), answered.address.port());
    let deaf = Carrier::udp(|request| match method(request) {
        "INVITE" => vec![("180 Ringing", "", "")],
        "CANCEL" => Vec::new(),
        _ => lives(request),
    });
    snapshot("cancel_unheard", check(&over_udp(&deaf), &authority, &SHORT_CALL), deaf.address.port());
    drop(ringing);
}
