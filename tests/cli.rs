//! Subcommands as a shell sees them.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use turnpike::base::UnixTime;
use turnpike::turn::credentials::SharedSecret;

#[path = "support/running.rs"]
mod running;

use running::Running;

const SECRET: &str = "a secret that nobody guesses";

/// How it ended, standard output and standard error.
fn turnpike(arguments: &[&str], folder: &Path, input: &str) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("TURN_SECRET", SECRET)
        .env("OLD_SECRET", "the one before it");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that does not read its input may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// A folder with turnpike.yaml and this in its `turn:`.
fn folder(credentials: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
name: edge-1
zones:
  internet: {{ trust: none, admit: registered }}
certificates:
  public: {{ self_signed: [turn.example.com] }}
listeners:
  phones: {{ zone: internet, bind: "udp://203.0.113.10:5060" }}
routes:
  - {{ name: nothing, reject: 404 }}
relay:
  addresses: {{ internet: {{ bind: 203.0.113.10 }} }}
  turn:
    realm: turn
    listeners:
      udp: "udp://0.0.0.0:3478"
      tcp: "tcp://[2001:db8::10]:3478"
      tls: {{ bind: "tls://0.0.0.0:443", advertise: turn.example.com, certificate: public }}
      dtls: {{ bind: "dtls://0.0.0.0:5349", advertise: "turn.example.com:5349", certificate: public }}
    credentials: {{ {credentials} }}
policies: []
"#
    );
    std::fs::write(folder.path().join("turnpike.yaml"), config).unwrap();
    folder
}

#[test]
fn short_lived_credentials_are_those_of_the_first_secret_and_say_where_to_use_them() {
    let folder = folder(r#"shared_secret: ["env:TURN_SECRET", "env:OLD_SECRET"], lifetime: 2h"#);
    let arguments = ["credentials", "turn", "--user", "alice"];
    let (ok, json, complained) = turnpike(&[&arguments[..], &["--json"]].concat(), folder.path(), "");
    assert!(ok && complained.is_empty(), "{complained}");
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    let username = told["username"].as_str().unwrap();
    let (expires, user) = username.split_once(':').unwrap();
    assert_eq!((user, told["ttl"].as_u64()), ("alice", Some(7200)));
    let made = UnixTime(Duration::from_secs(expires.parse::<u64>().unwrap() - 7200));
    let expected = SharedSecret::new(SECRET.as_bytes()).issue("alice", Duration::from_secs(7200), made);
    assert_eq!((username, told["password"].as_str().unwrap()), (&*expected.username, &*expected.password));
    let uris = [
        "turn:203.0.113.10:3478?transport=udp",
        "turn:[2001:db8::10]:3478?transport=tcp",
        "turns:turn.example.com:443?transport=tcp",
        "turns:turn.example.com:5349?transport=udp",
    ];
    assert_eq!(told["uris"], serde_json::json!(uris));
    let browser = serde_json::json!([
        { "urls": uris[..3], "username": username, "credential": told["password"] }
    ]);
    assert_eq!(told["iceServers"], browser);

    let (ok, text, _) = turnpike(&[&arguments[..], &["--lifetime", "10m"]].concat(), folder.path(), "");
    assert!(ok && text.contains(":alice\npassword  ") && text.contains(uris[2]), "{text}");
    assert!(!text.contains(SECRET) && !json.contains(SECRET));
}

#[test]
fn without_a_shared_secret_one_is_told_how_to_make_it() {
    let folder = folder("users: { alice: { password: \"env:TURN_SECRET\" } }");
    let (ok, said, complained) = turnpike(&["credentials", "turn", "--user", "alice"], folder.path(), "");
    assert!(!ok && said.is_empty());
    assert!(complained.contains("openssl rand") && complained.contains("shared_secret"), "{complained}");
    let (ok, _, complained) =
        turnpike(&["credentials", "turn", "--user", "a", "--lifetime", "8"], folder.path(), "");
    assert!(!ok && complained.contains("`8` is no duration"), "{complained}");
    let elsewhere = tempfile::tempdir().unwrap();
    let (ok, _, complained) = turnpike(&["credentials", "turn", "--user", "a"], elsewhere.path(), "");
    assert!(!ok && complained.contains("cannot read turnpike.yaml"), "{complained}");
}

/// The user of RFC 2617 §3.5, whose HA1 every implementation of digest knows.
#[test]
fn hashes_for_the_users_file_are_those_of_digest() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["credentials", "ha1", "--user", "Mufasa", "--realm", "testrealm@host.com"];
    let (ok, said, _) = turnpike(&arguments, folder.path(), "Circle Of Life\n");
    assert!(ok);
    assert!(
        said.starts_with("\"Mufasa\": { ha1: \"939e7578ed9e3c518a452acee763bce9\", ha1_sha256: \""),
        "{said}"
    );
    assert!(!said.contains("Circle"));
    let (ok, _, complained) = turnpike(&arguments, folder.path(), "\n");
    assert!(!ok && complained.contains("no password came"), "{complained}");
}

#[test]
fn bans_are_added_listed_and_lifted_and_outlive_a_killed_node() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"
name: edge-1
data_dir: data
admin: { listen: "127.0.0.1:0" }
zones: { internet: { trust: none, admit: registered, media: { anchor: never } } }
listeners: { phones: { zone: internet, bind: "udp://127.0.0.1:0" } }
never_ban: [192.0.2.0/28]
routes: [ { name: nothing, reject: 404 } ]
policies: []
"#;
    std::fs::write(folder.path().join("turnpike.yaml"), config).unwrap();
    let mut node = Running::start(folder.path(), Stdio::null());
    let mut admin = node.admin().to_string();
    let ban = |admin: &str, arguments: &[&str]| {
        let (ok, said, complained) =
            turnpike(&[&["ban"], arguments, &["--admin", admin]].concat(), folder.path(), "");
        (ok, said + &complained)
    };
    assert_eq!(ban(&admin, &["ls"]), (true, "nobody is banned\n".into()));
    let (ok, said) = ban(&admin, &["add", "203.0.113.7", "--for", "1h", "--reason", "noise at night"]);
    assert!(ok && said.starts_with("203.0.113.7 is banned until 2"), "{said}");
    let (ok, said) = ban(&admin, &["add", "user:201", "--hang-up"]);
    assert!(ok && said == "user:201 is banned until you lift it; 0 live calls ended\n", "{said}");
    for (wrong, help) in [
        (&["add", "201"][..], "error: `201` is nobody who can be banned: write an address"),
        (
            &["add", "192.0.2.9"],
            "error: 192.0.2.9 holds addresses that cannot be banned: those of `never_ban`",
        ),
        (
            &["add", "192.0.3.9", "--for", "1"],
            "error: for: `1` is no duration: write a number and one of ms, s, m, h, d",
        ),
        (&["rm", "203.0.113.8"], "error: 203.0.113.8 is not banned\n"),
    ] {
        let (ok, said) = ban(&admin, wrong);
        assert!(!ok && said.starts_with(help), "{said}");
    }
    let (_, listed) = ban(&admin, &["ls"]);
    let asked = |what: &[&str]| turnpike(&[what, &["--admin", &admin]].concat(), folder.path(), "");
    assert_eq!(asked(&["calls"]), (true, "no live calls\n".into(), "".into()));
    let (ok, _, complained) = asked(&["calls", "a/b"]);
    assert!(!ok && complained.starts_with("error: no call of this Call-ID is live"), "{complained}");
    assert!(asked(&["policies"]).1.starts_with("no policies"), "{:?}", asked(&["policies"]));
    // SIGKILL: nothing more is written.
    drop(node);

    let mut node = Running::start(folder.path(), Stdio::null());
    admin = node.admin().to_string();
    assert_eq!(ban(&admin, &["ls"]), (true, listed.clone()));
    assert!(listed.contains("203.0.113.7") && listed.contains("noise at night"), "{listed}");
    assert!(listed.contains("user:201") && listed.contains("by hand"), "{listed}");
    assert_eq!(ban(&admin, &["rm", "user:201"]), (true, "user:201 is no longer banned\n".into()));
    let (_, json) = ban(&admin, &["ls", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["bans"].as_array().unwrap().len(), 1);
    drop(node);
    let (ok, _, complained) = turnpike(&["ban", "ls", "--admin", "127.0.0.1:1"], folder.path(), "");
    assert!(!ok && complained.contains("Is turnpike running there?"), "{complained}");
}

/// One who speaks SIP over UDP.
struct Sip(UdpSocket);

impl Sip {
    fn new() -> Sip {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Sip(socket)
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn calls(&self, to: SocketAddr, number: &str, call_id: &str) {
        let here = self.addr();
        let invite = format!(
            "INVITE sip:{number}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:201@{to}>;tag=a\r\nTo: <sip:{number}@{to}>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:201@{here}>\r\nUser-Agent: desk phone\r\nContent-Length: 0\r\n\r\n"
        );
        self.0.send_to(invite.as_bytes(), to).unwrap();
    }

    /// Waits for a message that begins so.
    fn expect(&self, start: &str) -> (String, SocketAddr) {
        let mut bytes = [0; 65_535];
        loop {
            let (length, from) = self.0.recv_from(&mut bytes).expect(start);
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.starts_with(start) {
                return (text, from);
            }
        }
    }

    fn answers(&self, request: &str, from: SocketAddr) {
        let copied = ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines = request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
        let head: String = lines
            .map(|line| {
                if line.starts_with("To:") && !line.contains("tag=") {
                    format!("{line};tag=b\r\n")
                } else {
                    format!("{line}\r\n")
                }
            })
            .collect();
        let answer =
            format!("SIP/2.0 200 OK\r\n{head}Contact: <sip:b@{}>\r\nContent-Length: 0\r\n\r\n", self.addr());
        self.0.send_to(answer.as_bytes(), from).unwrap();
    }
}

#[test]
fn why_a_call_was_refused_or_hung_up_is_told_by_the_running_node() {
    let (phone, pbx) = (Sip::new(), Sip::new());
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
name: edge-1
data_dir: data
admin: {{ listen: "127.0.0.1:0" }}
zones:
  internet: {{ trust: none, admit: any, media: {{ anchor: never }} }}
  office: {{ trust: full, admit: any, networks: [127.0.0.0/8], media: {{ anchor: never }} }}
listeners:
  phones: {{ zone: internet, bind: "udp://127.0.0.1:0" }}
  inside: {{ zone: office, bind: "udp://127.0.0.1:0" }}
pbx: {{ zone: office, hosts: ["sip:{}"] }}
routes: [ {{ name: inbound, send_to: pbx }} ]
policies: [house.yaml]
"#,
        pbx.addr()
    );
    let policy = "policy: house\napplies_to: calls\nrates: { file: rates.csv }\nrules:\n\
        \x20 - { name: scanners, when: { agent: friendly* }, then: drop }\n\
        \x20 - { name: never, when: { to: +882 }, then: reject 403 }\n\
        \x20 - { name: purse, when: { to: +49 }, count: { per: user, spend: 0.10/day }, over: [reject 403, hang_up] }\n";
    for (file, text) in
        [("turnpike.yaml", &config[..]), ("house.yaml", policy), ("rates.csv", "49,1.00,0,1/1\n")]
    {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let mut node = Running::start(folder.path(), Stdio::null());
    let (edge, admin) = (node.listener("phones"), node.admin().to_string());
    phone.calls(edge, "+8821612345", "far");
    let (refused, _) = phone.expect("SIP/2.0 4");
    assert!(refused.starts_with("SIP/2.0 403 Forbidden\r\n") && !refused.contains("never"), "{refused}");
    phone.calls(edge, "+4930123", "near");
    let (invite, inside) = pbx.expect("INVITE");
    pbx.answers(&invite, inside);
    phone.expect("SIP/2.0 200");
    // Six seconds are paid for; the last two are the carrier's.
    for side in [&phone, &pbx] {
        let (bye, from) = side.expect("BYE");
        side.answers(&bye, from);
    }
    phone.calls(edge, "+4930123", "broke");
    phone.expect("SIP/2.0 403");
    let why = |call_id: &str| {
        let (ok, said, complained) = turnpike(&["why", call_id, "--admin", &admin], folder.path(), "");
        assert!(ok, "{complained}");
        let is_time = |line: &str| {
            ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "].iter().any(|day| line.starts_with(day))
        };
        said.lines()
            .map(|line| format!("{}\n", if is_time(line) { "WHEN" } else { line }))
            .collect::<String>()
    };
    let told = ["far", "near", "broke", "nobody"].map(|call_id| format!("=== {call_id}\n{}\n", why(call_id)));
    insta::assert_snapshot!(told.concat());
}
