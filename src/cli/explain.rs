//! `turnpike explain`.

mod turn;

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use crate::base::{ListenerId, NodeKey, Now, UnixTime};
use crate::config::{self, Compiled, Report, policy};
use crate::edge::explain::{Coming, Foreseen, explain, invite};
use crate::policy::Engine;

/// Arguments of `turnpike explain`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// A SIP request, as it comes over the wire (or with bare line ends, as an editor saves it)
    #[arg(
        value_name = "MESSAGE.sip",
        required_unless_present_any = ["call", "turn"],
        conflicts_with_all = ["call", "turn"]
    )]
    message: Option<PathBuf>,
    /// Instead of a message: a call to this number
    #[arg(long, value_name = "NUMBER", requires = "user", allow_hyphen_values = true)]
    call: Option<String>,
    /// Instead of a message: a TURN allocation of --user
    #[arg(long, requires = "user", conflicts_with_all = ["call", "trunk"])]
    turn: bool,
    /// With --turn: this peer, whom the client wants to reach
    #[arg(long, value_name = "IP", requires = "turn")]
    peer: Option<IpAddr>,
    /// The config file
    #[arg(long, short, value_name = "FILE", default_value = "turnpike.yaml")]
    config: PathBuf,
    /// As if this user called, registered or with the right password
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The listener that it comes to; the trunk's or the first one, if nothing is said
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Where it comes from
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)))]
    source: IpAddr,
    /// As if it came from this trunk
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// When it comes: "2026-03-02 23:00", or with a time zone behind it; now, if nothing is said
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads config and policies, asks a policy engine of its own, and prints what it looked at.
pub fn run(args: Args) -> ExitCode {
    match foresee(&args) {
        Ok(foreseen) => super::show(&foreseen, args.json),
        Err(Untold::Report(report)) => {
            eprint!("{report}");
            ExitCode::FAILURE
        }
        Err(Untold::Other(why)) => super::fail(why),
    }
}

/// Why there is nothing to print.
enum Untold {
    /// Config or policies are wrong.
    Report(Report),
    /// What was asked for is.
    Other(String),
}

fn untold(why: impl Display) -> Untold {
    Untold::Other(why.to_string())
}

fn foresee(args: &Args) -> Result<Foreseen, Untold> {
    let config = config::load(&args.config, &config::process_environment).map_err(Untold::Report)?;
    let policies = policy::load(&config.policies, &config.names, Instant::now()).map_err(Untold::Report)?;
    let at = match &args.at {
        None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        Some(text) => policy::moment(text)
            .map(|at| at.0)
            .map_err(|wrong| untold(format_args!("--at: {}: {}", wrong.what, wrong.help)))?,
    };
    let at = Now { instant: Instant::now(), unix: UnixTime(at) };
    let key = NodeKey::new([0; 16]);
    let has_feeds = !policies.feeds.is_empty();
    let mut engine = Engine::new(policies.settings(&config), &key);
    let mut foreseen = match args.turn {
        true => turn::foresee(args, &config, &mut engine, at)?,
        false => request(args, config, key, &mut engine, at)?,
    };
    if has_feeds {
        foreseen.assumed.push("lists from a URL are empty".to_owned());
    }
    Ok(foreseen)
}

fn request(
    args: &Args,
    config: Compiled,
    key: NodeKey,
    engine: &mut Engine,
    at: Now,
) -> Result<Foreseen, Untold> {
    let bytes = message(args)?;
    let (listener, trunk) = where_from(args, &config)?;
    let user = args.user.as_deref();
    // A port that nobody looks at.
    let source = SocketAddr::new(args.source, 5060);
    let coming = Coming { listener, source, trunk, user, at };
    let edge = config.edge.with_key(key);
    explain(&bytes, coming, &edge, engine).map_err(untold)
}

fn message(args: &Args) -> Result<Vec<u8>, Untold> {
    let Some(path) = &args.message else {
        let (from, to) = (args.user.as_deref(), args.call.as_deref());
        return Ok(invite(from.unwrap_or_default(), to.unwrap_or_default()));
    };
    let bytes = std::fs::read(path).map_err(|error| untold(format_args!("{}: {error}", path.display())))?;
    let has_crlf = bytes.windows(2).any(|pair| pair == b"\r\n");
    if has_crlf {
        return Ok(bytes);
    }
    // RFC 3261 §7: lines end in CRLF; an editor's do not.
    Ok(bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]))
}

fn where_from(args: &Args, config: &Compiled) -> Result<(ListenerId, Option<crate::base::TrunkId>), Untold> {
    let unknown = |kind: &str, name: &str, known: &[std::sync::Arc<str>]| {
        untold(format_args!("the config has no {kind} `{name}`; it has: {}", known.join(", ")))
    };
    let names = &config.names;
    let trunk = match &args.trunk {
        None => None,
        Some(name) => Some(names.trunk(name).ok_or_else(|| unknown("trunk", name, &names.trunks))?),
    };
    let listener = match &args.listener {
        Some(name) => {
            let mut known = (0..).zip(&config.edge.listeners);
            let found = known.find(|(_, listener)| *listener.name == **name);
            let names =
                || config.edge.listeners.iter().map(|listener| listener.name.clone()).collect::<Vec<_>>();
            ListenerId(found.ok_or_else(|| unknown("listener", name, &names()))?.0)
        }
        None => {
            let zone = trunk.and_then(|id| config.edge.trunks.get(usize::from(id.0))).map(|t| t.zone);
            let fits = |zone_of: crate::base::ZoneId| zone.is_none_or(|zone| zone == zone_of);
            let found = (0..).zip(&config.edge.listeners).find(|(_, listener)| fits(listener.zone));
            ListenerId(found.map_or(0, |(index, _)| index))
        }
    };
    Ok((listener, trunk))
}

#[cfg(test)]
mod tests;
