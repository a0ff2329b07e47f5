//! The files of RFC 5118.

use super::torture::Fate::{self, Forwarded, Refused};
use super::torture::{folder, send};

const FATES: &[(&str, Fate)] = &[
    // §4.9.
    ("ipv4-mapped-ipv6", Forwarded),
    // §4.2.
    ("ipv6-bad", Refused(400)),
    // §4.10: the generator's mistake, and as RFC 5954 has it.
    ("ipv6-bug-abnf-3-colons", Refused(400)),
    ("ipv6-correct-abnf-2-colons", Forwarded),
    // §4.1.
    ("ipv6-good", Forwarded),
    // §4.6.
    ("ipv6-in-sdp", Forwarded),
    // §4.7 and §4.5: BYE in dialogs that never began here.
    ("mult-ip-in-header", Refused(481)),
    // §4.8.
    ("mult-ip-in-sdp", Forwarded),
    // §4.3: the port is a part of the address.
    ("port-ambiguous", Forwarded),
    // §4.4.
    ("port-unambiguous", Forwarded),
    // §4.5: OPTIONS that ask after us are answered by us.
    ("via-received-param-no-delim", Refused(200)),
    ("via-received-param-with-delim", Refused(481)),
];

/// The files end their lines with LF alone, some lack the empty line, and their Content-Length fits neither: made what they mean.
fn as_meant(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let body = body.replace('\n', "\r\n");
    let lines = head.lines().map(|line| match line.split_once(':') {
        Some(("Content-Length", _)) => format!("Content-Length: {}\r\n", body.len()),
        _ => format!("{line}\r\n"),
    });
    (lines.collect::<String>() + "\r\n" + &body).into_bytes()
}

#[test]
fn each_file_has_its_fate() {
    let Some(folder) = folder("rfc5118") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).expect(name);
    let fates: Vec<_> = FATES.iter().map(|(name, _)| (*name, send(as_meant(&read(name))).fate)).collect();
    assert_eq!(fates, FATES);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), FATES.len(), "files that are not in the table");
}
