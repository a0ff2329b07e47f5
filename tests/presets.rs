//! Presets: each loads with the lines that its own comments tell a newcomer to write, and comes to what the comments say.
//! What the config writes wins, and a mistake is shown in the file that holds it.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::path::Path;

use tempfile::TempDir;
use turnpike::config::preset::{PBX, Shipped, TRUNKS};
use turnpike::config::{Compiled, Report, load};
use turnpike::edge::settings::Target;

/// A config for one trunk; ZONE, LISTENER and TRUNK are the preset's.
const FOR_A_TRUNK: &str = r#"
name: edge-1
zones:
  ZONE: { trust: peer, admit: trunks }
  office: { trust: full, admit: any, networks: [10.20.0.0/16], media: { srtp: off } }
certificates: { public: { self_signed: [sbc.example.com] } }
listeners:
  LISTENER
  inside: { zone: office, bind: "udp://10.20.0.5:5060" }
pbx: { zone: office, hosts: ["sip:10.20.0.20:5060"] }
trunks:
TRUNK
routes:
  - { name: outbound, from: pbx, send_to: trunks }
  - { name: inbound, from: trunks, send_to: pbx }
relay: { addresses: { ZONE: { bind: 0.0.0.0, advertise: 203.0.113.10 }, office: { bind: 10.20.0.5 } } }
"#;

/// A config for a PBX; ZONES, LISTENERS and PBX are the preset's.
const FOR_A_PBX: &str = r#"
name: edge-1
ZONES
LISTENERS
PBX
routes: [{ name: inside, from: office, send_to: pbx }]
relay: { addresses: { office: { bind: 10.20.0.5 } } }
"#;

/// The lines of a preset's comments that are to be written into the config.
fn for_the_config(preset: &Shipped) -> Vec<&'static str> {
    let section = preset.text.lines().skip_while(|line| !line.starts_with("# In your config"));
    let section =
        section.take_while(|line| line.starts_with("# In your config") || !line.starts_with("# In "));
    section.filter_map(|line| line.strip_prefix("#   ")).collect()
}

fn config_of(preset: &Shipped) -> String {
    let lines = for_the_config(preset);
    let starting = |start: &str| *lines.iter().find(|line| line.starts_with(start)).unwrap();
    if preset.path.starts_with("config/pbx") {
        return FOR_A_PBX
            .replace("ZONES", starting("zones:"))
            .replace("LISTENERS", starting("listeners:"))
            .replace("PBX", starting("pbx:"));
    }
    let trunk = lines.iter().skip_while(|line| !line.ends_with(':'));
    let (name, settings) = trunk.clone().next().zip(Some(trunk.skip(1))).unwrap();
    let settings = settings.take_while(|line| line.starts_with("  "));
    let trunk: Vec<_> = std::iter::once(name).chain(settings).map(|line| format!("  {line}")).collect();
    let listener = lines.iter().find(|line| line.contains("bind:")).unwrap();
    let zone = listener.split_once(':').unwrap().0;
    FOR_A_TRUNK.replace("ZONE", zone).replace("LISTENER", listener).replace("TRUNK", &trunk.join("\n"))
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let authority = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.path().join("tls/microsoft.pem"), authority.pem()).unwrap();
    folder
}

fn load_text(folder: &TempDir, text: &str) -> Result<Compiled, Report> {
    let path = folder.path().join("edge.yaml");
    std::fs::write(&path, text).unwrap();
    load(&path, &|name| Some(format!("the value of {name}")))
}

/// As shown to the administrator, without the folder's name.
fn shown(folder: &TempDir, report: &Report) -> String {
    report.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn snapshot(name: &str, shown: &str) {
    insta::with_settings!({ snapshot_path => "presets/snapshots", prepend_module_to_snapshot => false,
        omit_expression => true }, { insta::assert_snapshot!(name, shown) });
}

#[test]
fn each_preset_comes_to_what_its_comments_say() {
    let folder = folder();
    for preset in TRUNKS.iter().chain(&PBX) {
        let text = config_of(preset);
        let compiled = load_text(&folder, &text).unwrap_or_else(|report| panic!("{text}\n{report}"));
        assert!(compiled.report.is_empty(), "{}: {}", preset.name, compiled.report);
        compiled.runnable().unwrap();
        snapshot(preset.name, &settings(&compiled));
    }
}

/// What the preset has decided.
fn settings(compiled: &Compiled) -> String {
    let edge = &compiled.edge;
    let host = |t: &Target| {
        let tls = edge.tls_peers.get(usize::from(t.tls)).zip(compiled.net.tls_peers.get(usize::from(t.tls)));
        let tls = tls.map(|(peer, trust)| (&peer.server_name, peer.verify, &trust.ca, trust.certificate));
        format!("host {} over {:?}, priority {}, tls {tls:?}\n", t.uri, t.transport, t.priority)
    };
    let mut shown = String::new();
    for trunk in &edge.trunks {
        shown += &trunk.hosts.iter().map(host).collect::<String>();
        for network in &trunk.accept_from {
            shown += &format!("accepts calls from {network}\n");
        }
        shown += &format!("accepts names {:?}\n", trunk.accept_names);
        shown += &format!("media {:?}\ncaller id {:?}\n", trunk.media, trunk.rules.caller_id);
        let username = trunk.auth.as_ref().map(|auth| &auth.username);
        shown += &format!("health {:?}\nauth {username:?}, register {:?}\n", trunk.health, trunk.register);
    }
    if edge.trunks.is_empty() {
        let pbx = edge.pbx.as_ref().unwrap();
        shown += &pbx.hosts.iter().map(host).collect::<String>();
        shown += &format!("health {:?}\n", pbx.health);
    }
    shown
}

#[test]
fn what_the_config_writes_wins_and_what_it_empties_is_gone() {
    let folder = folder();
    std::fs::write(
        folder.path().join("mine.yaml"),
        "hosts: [\"sip:sip.mine.example;transport=tls\"]\naccept_from: [192.0.2.0/24]\n\
         media: { srtp: sdes, ice: strip, idle_timeout: 90s }\nhealth: { options_every: 60s }\n",
    )
    .unwrap();
    let text = FOR_A_TRUNK
        .replace("ZONE", "carriers")
        .replace(
            "LISTENER",
            "carriers: { zone: carriers, bind: \"tls://203.0.113.10:5061\", certificate: public }",
        )
        .replace(
            "TRUNK",
            "  mine:\n    preset: ./mine.yaml\n    zone: carriers\n    accept_from: [198.51.100.7/32]\n    \
             media: { srtp: off }\n    health:\n",
        );
    let compiled = load_text(&folder, &text).unwrap_or_else(|report| panic!("{report}"));
    snapshot("overridden", &settings(&compiled));
}

/// Each: what stands under the trunk (zone and listener are those of carriers), and what the file that it names holds.
const MISTAKES: [(&str, &str, &str); 9] = [
    ("unknown", "preset: twillio, zone: carriers", ""),
    ("of-the-pbx", "preset: asterisk, zone: carriers", ""),
    ("no-word", "preset: [twilio], zone: carriers, accept_from: [192.0.2.1/32]", ""),
    ("file-missing", "preset: presets/none.yaml, zone: carriers", ""),
    ("misspelt-key", "preset: ./mine.yaml, zone: carriers", "# Mine\naccept_form: [192.0.2.1/32]\n"),
    (
        "wrong-value",
        "preset: ./mine.yaml, zone: carriers",
        "accept_from: [192.0.2.1/32]\nmedia:\n  srtp: some\n",
    ),
    ("not-yaml", "preset: ./mine.yaml, zone: carriers", "accept_from: [192.0.2.1/32\npassword: hunter2\n"),
    ("nested", "preset: ./mine.yaml, zone: carriers", "preset: twilio\n"),
    // Found only when all is put together, and in the file that is part of the program.
    ("no-auth", "preset: registration, zone: carriers, hosts: [\"sip:sip.carrier.example\"]", ""),
];

#[test]
fn a_mistake_is_told_once_in_the_file_that_holds_it() {
    let folder = folder();
    let listener = "carriers: { zone: carriers, bind: \"udp://203.0.113.10:5060\" }";
    for (name, trunk, file) in MISTAKES {
        std::fs::write(folder.path().join("mine.yaml"), file).unwrap();
        let text = FOR_A_TRUNK.replace("ZONE", "carriers").replace("LISTENER", listener);
        let text = text.replace("TRUNK", &format!("  mine: {{ {trunk} }}"));
        let report = load_text(&folder, &text).err().unwrap_or_else(|| panic!("{name} loads"));
        let shown = shown(&folder, &report);
        assert_eq!(report.problems().count(), 1, "one mistake, one error: {name}\n{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        snapshot(&format!("broken__{name}"), &shown);
    }
}

/// What the binary holds is what the folders hold, and the command line shows it.
#[test]
fn every_shipped_file_has_a_name_and_can_be_printed() {
    let files = ["config/presets", "config/pbx"].map(|dir| std::fs::read_dir(dir).unwrap().count());
    assert_eq!(files, [TRUNKS.len(), PBX.len()]);
    let turnpike = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_turnpike"));
        let output = command.arg("preset").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (ok, list) = turnpike(&[]);
    assert!(ok);
    snapshot("list", &list);
    for preset in TRUNKS.iter().chain(&PBX) {
        assert_eq!(std::fs::read_to_string(Path::new(preset.path)).unwrap(), preset.text);
        assert_eq!(turnpike(&[preset.name]), (true, preset.text.to_owned()));
    }
    assert!(!turnpike(&["acme"]).0);
}
