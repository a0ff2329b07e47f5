//! Config files as an administrator writes them: the shipped ones load, and every mistake is told with its line, its
//! column and what to type.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use turnpike::config::diagnose::Severity;
use turnpike::config::{Compiled, Report, load};
use turnpike::sip::digest::Algorithm;

/// A folder with everything that the files in tests/config name.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(folder.path().join("tls")).unwrap();
        std::fs::create_dir_all(folder.path().join("policies")).unwrap();
        folder.certificate("tls/chain.pem", "tls/key.pem", 2100);
        folder.certificate("tls/carriers-ca.pem", "tls/other-key.pem", 2100);
        folder.certificate("tls/expired.pem", "tls/expired-key.pem", 2001);
        folder.certificate_of("tls/rsa.pem", "tls/rsa-key.pem", 2100, &rcgen::PKCS_RSA_SHA256);
        let chain = ["tls/chain.pem", "tls/carriers-ca.pem"].map(|file| folder.read(file)).concat();
        folder.write("tls/long-chain.pem", &chain);
        folder.write("broken-users.yaml", "\"201\": { role: phones }\n");
        folder.write("no-role-users.yaml", "\"201\": { password: \"env:USER_201_PASSWORD\" }\n");
        folder.write("short", "secret\n");
        folder.write("policies/toll-fraud.yaml", "policy: toll fraud\n");
        folder.copy(&in_tests("users.yaml"), "users.yaml");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn copy(&self, from: &Path, name: &str) {
        std::fs::copy(from, self.path().join(name)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn certificate(&self, chain: &str, key: &str, expires: i32) {
        self.certificate_of(chain, key, expires, &rcgen::PKCS_ECDSA_P256_SHA256);
    }

    fn certificate_of(
        &self,
        chain: &str,
        key: &str,
        expires: i32,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) {
        let mut params = rcgen::CertificateParams::new(vec!["sip.example.com".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(expires, 1, 1);
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        self.write(chain, &params.self_signed(&pair).unwrap().pem());
        self.write(key, &pair.serialize_pem());
    }

    /// Loads a file as if it stood in the folder.
    fn load(&self, file: &Path) -> Result<Compiled, Report> {
        self.copy(file, "edge.yaml");
        load(&self.path().join("edge.yaml"), &environment)
    }

    /// As shown to the administrator, without the folder's name, which is another one each time.
    fn shown(&self, report: &Report) -> String {
        report.to_string().replace(&format!("{}/", self.path().display()), "")
    }
}

const VARIABLES: [&str; 6] = [
    "ACME_PASSWORD",
    "TURN_SECRET",
    "TURN_PASSWORD",
    "SOFTPHONE_PASSWORD",
    "ADMIN_TOKEN",
    "USER_201_PASSWORD",
];

fn environment(name: &str) -> Option<String> {
    VARIABLES.contains(&name).then(|| format!("the value of {name}"))
}

fn in_tests(name: &str) -> PathBuf {
    Path::new("tests/config").join(name)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(in_tests(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn snapshot(file: &Path, shown: &str) {
    let name = file.with_extension("").to_string_lossy().replace("tests/config/", "").replace('/', "__");
    insta::with_settings!({ snapshot_path => "config/snapshots", prepend_module_to_snapshot => false,
        omit_expression => true }, { insta::assert_snapshot!(name, shown) });
}

#[test]
fn a_broken_file_is_told_once_with_place_and_remedy() {
    let folder = Folder::new();
    let broken = files("broken");
    assert!(broken.len() >= 20);
    for file in broken {
        let report = folder.load(&file).err().unwrap_or_else(|| panic!("{} loads", file.display()));
        let shown = folder.shown(&report);
        snapshot(&file, &shown);
        let errors: Vec<_> = report.problems().filter(|p| p.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "one mistake, one error: {}\n{shown}", file.display());
        assert!(errors[0].at.line > 0 && errors[0].help.is_some(), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_doubtful_file_loads_with_a_warning() {
    let folder = Folder::new();
    for file in files("doubtful") {
        let compiled = folder.load(&file).unwrap_or_else(|report| panic!("{report}"));
        snapshot(&file, &folder.shown(&compiled.report));
        assert!(!compiled.report.is_empty(), "{}", file.display());
        compiled.runnable().unwrap();
    }
}

#[test]
fn several_mistakes_are_told_together() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(in_tests("broken/misspelt-word.yaml")).unwrap();
    let text = text.replace("send_to: acme", "send_to: acmee").replace("40000-49999", "many");
    folder.write("edge.yaml", &text);
    let report = load(&folder.path().join("edge.yaml"), &environment).unwrap_err();
    let lines: Vec<_> = report.problems().map(|p| p.at.line).collect();
    assert_eq!(lines, [3, 17, 25], "{report}");
}

#[test]
fn the_example_loads_and_runs() {
    let folder = Folder::new();
    let compiled = folder.load(&in_tests("edge.yaml")).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(compiled.policies, [folder.path().join("policies/toll-fraud.yaml")]);
    assert_eq!(
        compiled.names.zones.iter().map(|n| &**n).collect::<Vec<_>>(),
        ["internet", "carriers", "office"]
    );
    let hidden: Vec<_> =
        compiled.edge.zones.iter().map(|zone| (zone.hides_topology, zone.hides_call_ids)).collect();
    assert_eq!(
        hidden,
        [(true, false), (true, false), (false, false)],
        "who is outside does not see the inside"
    );
    snapshot(&in_tests("edge-check"), &folder.shown(&compiled.report));
    assert!(compiled.runnable().is_ok(), "there is nothing in it that `run` cannot do");
    let shown = format!("{compiled:#?}");
    assert!(!shown.contains("the value of"), "a secret is printed");
    snapshot(&in_tests("edge-targets"), &targets(&compiled));
    snapshot(&in_tests("edge-turn"), &turn(&compiled));
}

/// Who may come to the TURN server, where, and what they may do.
fn turn(compiled: &Compiled) -> String {
    let turn = compiled.net.turn.as_ref().unwrap();
    let mut shown = String::new();
    for l in &turn.listeners {
        let (transport, certificate) = (l.transport.name(), l.certificate);
        shown += &format!(
            "{}: {transport} on {} as {}, certificate {certificate:?}\n",
            l.name, l.bind, l.advertise
        );
    }
    for (id, role) in turn.roles.iter().enumerate() {
        shown += &format!("role {id}: {role:?}\n");
    }
    for address in &turn.addresses {
        let (bind, advertise) = (address.address.bind, address.address.advertise);
        shown += &format!("relays from {bind} as {advertise} for {:?}\n", address.networks);
    }
    let accounts = &turn.accounts;
    for user in &accounts.users {
        shown += &format!("user {}: {:?}\n", user.name, user.role);
    }
    let (lifetime, secrets) = (turn.credentials_lifetime, accounts.secrets.len());
    shown
        + &format!(
            "realm {}, {secrets} secrets, {:?} for {lifetime:?}\n",
            accounts.realm, accounts.short_lived_role
        )
}

#[test]
fn turn_without_roles_is_safe_and_two_families_are_relayed() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(in_tests("doubtful/turn-short-secret.yaml")).unwrap();
    let both = r#"internet: [{ bind: 0.0.0.0, advertise: 203.0.113.10 }, { bind: "::", advertise: "2001:db8::10" }]"#;
    let text = text.replace("internet: { bind: 203.0.113.10 }", both);
    let text = text.replace("\"file:short\"", "[\"env:TURN_SECRET\", \"file:short\"]");
    folder.write(
        "edge.yaml",
        &text
            .replace("udp: \"udp://203.0.113.10:3478\"", "udp: \"udp://[::]\", tcp: \"tcp://10.20.0.5:443\""),
    );
    let compiled =
        load(&folder.path().join("edge.yaml"), &environment).unwrap_or_else(|report| panic!("{report}"));
    let shown = compiled.edge.zones[0].relay.unwrap().iter().map(|relay| relay.advertise.to_string());
    assert_eq!(shown.collect::<Vec<_>>(), ["203.0.113.10", "2001:db8::10"], "in SDP, by family");
    snapshot(&in_tests("turn-two-families"), &turn(&compiled));
}

/// What is bound to an IPv4 address cannot send to an IPv6 one.
#[test]
fn a_host_is_faced_by_a_listener_of_its_family() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(in_tests("doubtful/turn-short-secret.yaml")).unwrap();
    let inside = "inside: { zone: office, bind: \"udp://10.20.0.5:5060\" }";
    let both = format!("{inside}\n  inside6: {{ zone: office, bind: \"udp://[fd00::5]:5060\" }}");
    let hosts = r#"["sip:10.20.0.20:5060", "sip:[fd00::20]:5060"]"#;
    let text = text.replace(inside, &both).replace(r#"["sip:10.20.0.20:5060"]"#, hosts);
    folder.write("edge.yaml", &text.replace("10.20.0.0/16]", "10.20.0.0/16, \"fd00::/64\"]"));
    let compiled =
        load(&folder.path().join("edge.yaml"), &environment).unwrap_or_else(|report| panic!("{report}"));
    let faced_by = |host: &turnpike::edge::settings::Target| {
        compiled.edge.listeners[usize::from(host.ways[0].1.0)].name.to_string()
    };
    let faced: Vec<String> = compiled.edge.pbx.as_ref().unwrap().hosts.iter().map(faced_by).collect();
    assert_eq!(faced, ["inside", "inside6"]);
}

/// Who is called where, from which listener, and whom we believe there.
fn targets(compiled: &Compiled) -> String {
    let edge = &compiled.edge;
    let mut shown = String::new();
    let trunks = edge.trunks.iter().map(|t| (&*t.name, &t.hosts));
    for (party, hosts) in edge.pbx.iter().map(|p| ("pbx", &p.hosts)).chain(trunks) {
        for t in hosts {
            let tls = edge.tls_peers.get(usize::from(t.tls)).map(|p| (&p.server_name, p.verify));
            let port = t.port.map_or("of the DNS".to_owned(), |port| port.to_string());
            shown += &format!("{party}: {} = {:?} port {port}, tls {tls:?}", t.uri, t.host);
            for (transport, listener) in &t.ways {
                let listener = &edge.listeners[usize::from(listener.0)];
                shown += &format!(", over {transport:?} from {} as {}", listener.name, listener.advertise);
            }
            shown.push('\n');
        }
    }
    shown
}

/// Where the workshop's own copies are at hand, ours are the same, and the harnesses' configs load too.
#[test]
fn the_examples_are_those_of_the_workshop() {
    let shared = std::env::var_os("TURNPIKE_SHARED").map_or(PathBuf::from("../shared"), PathBuf::from);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    for name in ["edge.yaml", "users.yaml"] {
        let theirs = shared.join("examples").join(name);
        if theirs.exists() {
            assert_eq!(text(&theirs), text(&in_tests(name)), "{name}");
        }
    }
    for harness in ["bench/sip/turnpike/edge.yaml.in", "bench/media/conf/turnpike.yaml.in"] {
        if shared.join(harness).exists() {
            bench_config_loads(&text(&shared.join(harness)));
        }
    }
}

fn bench_config_loads(template: &str) {
    let folder = Folder::new();
    for name in ["cert.pem", "key.pem", "key8.pem"] {
        let tls = if name == "cert.pem" { "tls/chain.pem" } else { "tls/key.pem" };
        folder.copy(&folder.path().join(tls), name);
    }
    let run = folder.path().display().to_string();
    let mut text = template.to_owned();
    for (name, value) in [
        ("RUN", run.as_str()),
        ("W", &run),
        ("HERE", &run),
        ("POLICIES", "policies/*.yaml"),
        ("PORT", "15060"),
        ("TLS_PORT", "15061"),
        ("INSIDE_PORT", "15070"),
        ("UPSTREAM_PORT", "25080"),
        ("UPSTREAM_PROTO", "tls"),
        ("ANCHOR", "always"),
    ] {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    folder.write("edge.yaml", &text);
    let loaded = load(&folder.path().join("edge.yaml"), &environment);
    loaded.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn the_shipped_configs_load_without_a_word() {
    for name in ["config/turnpike.yaml", "config/demo.yaml"] {
        let compiled = load(Path::new(name), &|_| None).unwrap_or_else(|report| panic!("{report}"));
        assert!(compiled.report.is_empty(), "{}", compiled.report);
        compiled.runnable().unwrap();
    }
}

/// "Remove each #+": then there is a TURN server too.
#[test]
fn the_shipped_config_with_turn_loads_and_runs() {
    let text = std::fs::read_to_string("config/turnpike.yaml").unwrap();
    assert!(text.contains("\n#+"));
    let folder = Folder::new();
    folder.write("edge.yaml", &text.replace("\n#+", "\n").replace("../policies", "policies"));
    let compiled =
        load(&folder.path().join("edge.yaml"), &environment).unwrap_or_else(|report| panic!("{report}"));
    assert!(compiled.report.is_empty() && compiled.net.turn.is_some(), "{}", compiled.report);
}

/// docs/turn.md: "That is a complete server".
#[test]
fn the_turn_server_of_the_documentation_loads() {
    let page = std::fs::read_to_string("docs/turn.md").unwrap();
    let (_, block) = page.split_once("```yaml\n").unwrap();
    let (relay, _) = block.split_once("```").unwrap();
    let rest = r#"
name: edge-1
zones: { internet: { trust: none, admit: registered } }
certificates: { public: { chain: tls/chain.pem, key: "file:tls/key.pem" } }
listeners: { phones: { zone: internet, bind: "udp://203.0.113.10:5060" } }
routes: [{ name: nothing, reject: 404 }]
policies: []
"#;
    let folder = Folder::new();
    folder.write("edge.yaml", &(relay.to_owned() + rest));
    let compiled =
        load(&folder.path().join("edge.yaml"), &environment).unwrap_or_else(|report| panic!("{report}"));
    assert!(compiled.report.is_empty() && compiled.net.turn.is_some(), "{}", compiled.report);
}

/// "Remove each #-": then there is a zone whose passwords we check, and `run` does it.
#[test]
fn the_shipped_config_with_users_loads_and_runs() {
    let text = std::fs::read_to_string("config/turnpike.yaml").unwrap();
    assert!(text.contains("\n#-"));
    let folder = Folder::new();
    folder.write("edge.yaml", &text.replace("\n#-", "\n").replace("../policies", "policies"));
    let compiled =
        load(&folder.path().join("edge.yaml"), &environment).unwrap_or_else(|report| panic!("{report}"));
    compiled.runnable().unwrap();
    let users = &compiled.edge.users;
    assert!(users.get("201").is_some() && users.get("203").is_none());
    assert_eq!(users.algorithms(), [Algorithm::Md5], "one of them has no `ha1_sha256`");
}

/// `turnpike check FILE` as a shell sees it: does it end well, what it says on standard output and standard error.
fn check(arguments: &[&str], folder: &Folder) -> (bool, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_turnpike"));
    command.arg("check").args(arguments).current_dir(folder.path());
    for name in VARIABLES {
        command.env(name, "secret");
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_tells_the_shell_how_it_went() {
    let folder = Folder::new();
    folder.copy(&in_tests("edge.yaml"), "edge.yaml");
    folder.copy(&in_tests("broken/misspelt-key.yaml"), "broken.yaml");
    folder.write(
        "policies/toll-fraud.yaml",
        "policy: toll fraud\napplies_to: calls\nrules:\n  - { name: no, when: { trunk: acme }, then: reject 403 }\n",
    );
    let (ok, said, complained) = check(&["--config", "edge.yaml"], &folder);
    assert!(ok, "{complained}");
    assert!(said.contains("correct, with 6 warnings"), "{said}");
    let (ok, said, complained) = check(&["--config", "edge.yaml", "policies/toll-fraud.yaml"], &folder);
    assert!(ok && said.contains("policy `toll fraud`, 1 rule"), "{said}{complained}");
    let (ok, _, complained) = check(&["policies/toll-fraud.yaml"], &folder);
    assert!(!ok && complained.contains("acme"), "no trunk without a config: {complained}");
    let (ok, _, complained) = check(&["broken.yaml"], &folder);
    assert!(
        !ok && complained.contains("broken.yaml:9:13: error: a listener has no key `zoen`"),
        "{complained}"
    );
    let (ok, _, complained) = check(&["missing.yaml"], &folder);
    assert!(!ok && complained.contains("cannot read missing.yaml"), "{complained}");
}

#[test]
fn the_reference_names_every_key() {
    let reference = std::fs::read_to_string("docs/config.md").unwrap();
    let schema = ["src/config/raw.rs", "src/config/raw/media.rs", "src/config/raw/turn.rs"]
        .map(|f| std::fs::read_to_string(f).unwrap());
    let keys = schema
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("        ")?.split_once(": "));
    let keys = keys.map(|(key, _)| key.trim_start_matches("r#"));
    let keys: Vec<_> = keys.filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
    assert!(keys.len() > 80, "{keys:?}");
    for key in keys {
        let named = [format!("`{key}`"), format!(".{key}`"), format!("`{key}.")];
        assert!(named.iter().any(|n| reference.contains(n)), "docs/config.md does not tell of `{key}`");
    }
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    /// Words of the schema in odd places reach deeper than random characters.
    fn almost_a_config() -> impl Strategy<Value = String> {
        let text = std::fs::read_to_string(in_tests("edge.yaml")).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[ -~]{0,12}");
        prop::collection::vec(edit, 1..6).prop_map(move |edits| {
            let mut lines = lines.clone();
            for (line, column, inserted) in edits {
                let line = &mut lines[line.index(text.lines().count())];
                let kept: String = line.chars().take(column.index(line.len() + 1)).collect();
                *line = kept + &inserted;
            }
            lines.join("\n")
        })
    }

    fn never_panics(text: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.yaml");
        std::fs::write(&path, text).unwrap();
        match load(&path, &environment) {
            Ok(compiled) => drop(compiled.report.to_string()),
            Err(report) => assert!(report.has_errors() && !report.to_string().is_empty()),
        }
    }

    proptest! {
        #[test]
        fn is_read_without_a_panic(text in "\\PC*") {
            never_panics(&text);
        }

        #[test]
        fn that_is_almost_a_config_too(text in almost_a_config()) {
            never_panics(&text);
        }
    }
}
