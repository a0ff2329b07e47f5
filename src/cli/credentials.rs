//! `turnpike credentials`: what phones, browsers and the users file need to know.

use std::fmt;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::base::UnixTime;
use crate::config::read::FromWord;
use crate::net::settings::{TurnSettings, TurnTransport};
use crate::stun::Key;
use crate::turn::credentials::Ephemeral;

/// RFC 8489 §14.3: USERNAME has fewer than 509 bytes, and the expiry stands in it too.
const LONGEST_USER: usize = 480;
/// Of a password on standard input.
const LONGEST_PASSWORD: u64 = 4096;

/// What to make.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Short-lived credentials for the TURN server of a config, with its URIs and what a browser wants
    Turn(Turn),
    /// Hashes of a password for the users file; the password is read from standard input
    Ha1(Ha1),
}

/// Arguments of `turnpike credentials turn`.
#[derive(Debug, clap::Args)]
pub struct Turn {
    /// Whom they are for: decides the role and stands in listings
    #[arg(long, value_name = "NAME", value_parser = user)]
    user: String,
    /// How long they are good, such as 8h; unless said, what the config says
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    lifetime: Option<Duration>,
    /// The config file with the shared secret
    #[arg(long, short, value_name = "FILE", default_value = "turnpike.yaml")]
    config: PathBuf,
    /// Print JSON: username, password, ttl, uris, iceServers
    #[arg(long)]
    json: bool,
}

/// Arguments of `turnpike credentials ha1`.
#[derive(Debug, clap::Args)]
pub struct Ha1 {
    /// The user's name
    #[arg(long, value_name = "NAME", value_parser = user)]
    user: String,
    /// `users: { realm: … }` of the config
    #[arg(long)]
    realm: String,
}

fn user(text: &str) -> Result<String, String> {
    let name = String::from_word(text).map_err(|wrong| format!("{}: {}", wrong.what, wrong.help))?;
    if name.len() > LONGEST_USER {
        return Err(format!("a name has at most {LONGEST_USER} bytes"));
    }
    Ok(name)
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::from_word(text).map_err(|wrong| format!("{}: {}", wrong.what, wrong.help))
}

/// Makes and prints.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Turn(args) => turn(&args),
        Command::Ha1(args) => ha1(&args),
    }
}

fn turn(args: &Turn) -> ExitCode {
    let config = match super::load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let path = args.config.display();
    let Some(turn) = config.net.turn else {
        return super::fail(format_args!(
            "{path} has no TURN server: add `turn:` to `relay:` (docs/turn.md)"
        ));
    };
    let Some(secret) = turn.accounts.secrets.first() else {
        return super::fail(format_args!(
            "{path} has no shared secret: make one, export TURN_SECRET=$(openssl rand -base64 24), and add \
             credentials: {{ shared_secret: \"env:TURN_SECRET\" }}  to `turn:`"
        ));
    };
    let now = UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let lifetime = args.lifetime.unwrap_or(turn.credentials_lifetime);
    super::show(&Issued::new(secret.issue(&args.user, lifetime, now), lifetime, now, &turn), args.json)
}

/// Short-lived credentials with all that a client needs. As JSON: the answer of the TURN REST convention, and what a browser
/// is given as RTCConfiguration.
#[derive(Serialize)]
struct Issued {
    username: String,
    password: String,
    /// Seconds.
    ttl: u64,
    uris: Vec<String>,
    #[serde(rename = "iceServers")]
    ice_servers: [IceServer; 1],
    #[serde(skip)]
    until: jiff::Timestamp,
}

#[derive(Serialize)]
struct IceServer {
    urls: Vec<String>,
    username: String,
    credential: String,
}

impl Issued {
    fn new(ephemeral: Ephemeral, lifetime: Duration, now: UnixTime, turn: &TurnSettings) -> Issued {
        let Ephemeral { username, password } = ephemeral;
        let uri = |transport: TurnTransport, at: &str| {
            // RFC 7065 §3.1: turns with UDP is DTLS.
            let scheme = if transport.is_secure() { "turns" } else { "turn" };
            let over = if transport.is_datagram() { "udp" } else { "tcp" };
            format!("{scheme}:{at}?transport={over}")
        };
        let uris = |of: &dyn Fn(TurnTransport) -> bool| {
            let wanted = turn.listeners.iter().filter(|listener| of(listener.transport));
            wanted.map(|listener| uri(listener.transport, &listener.advertise)).collect::<Vec<_>>()
        };
        let until = i64::try_from(now.0.saturating_add(lifetime).as_secs()).unwrap_or(i64::MAX);
        let browser = IceServer {
            // Browsers speak no DTLS to a TURN server.
            urls: uris(&|transport| transport != TurnTransport::Dtls),
            username: username.clone(),
            credential: password.clone(),
        };
        Issued {
            username,
            password,
            ttl: lifetime.as_secs(),
            uris: uris(&|_| true),
            ice_servers: [browser],
            until: jiff::Timestamp::from_second(until).unwrap_or(jiff::Timestamp::MAX),
        }
    }
}

impl fmt::Display for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "username  {}", self.username)?;
        writeln!(f, "password  {}", self.password)?;
        writeln!(f, "until     {}", self.until)?;
        for (i, uri) in self.uris.iter().enumerate() {
            writeln!(f, "{:<9} {uri}", if i == 0 { "uris" } else { "" })?;
        }
        let browser = serde_json::json!({ "iceServers": self.ice_servers });
        writeln!(f, "\nFor a browser, new RTCPeerConnection(…):\n{browser:#}")
    }
}

fn ha1(args: &Ha1) -> ExitCode {
    if io::stdin().is_terminal() {
        eprintln!(
            "Type the password and Enter, then Ctrl-D. It is shown: behind  read -rs P; printf %s \"$P\" |  it is not."
        );
    }
    let mut text = String::new();
    if let Err(error) = io::stdin().take(LONGEST_PASSWORD).read_to_string(&mut text) {
        return super::fail(format_args!("the password cannot be read: {error}"));
    }
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return super::fail(format_args!(
            "no password came on standard input: type  printf %s \"$PASSWORD\" | turnpike credentials ha1 --user {} --realm {}",
            args.user, args.realm
        ));
    }
    let (md5, sha256) =
        (Key::md5(&args.user, &args.realm, password), Key::sha256(&args.user, &args.realm, password));
    println!("\"{}\": {{ ha1: \"{}\", ha1_sha256: \"{}\" }}", args.user, hex(&md5), hex(&sha256));
    ExitCode::SUCCESS
}

fn hex(key: &Key) -> String {
    key.reveal().iter().map(|byte| format!("{byte:02x}")).collect()
}
