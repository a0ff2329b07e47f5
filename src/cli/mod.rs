//! The command line: a file per subcommand that does more than ask one thing.

mod allocations;
mod ask;
mod ban;
mod calls;
mod check;
mod check_trunk;
mod credentials;
mod demo;
mod explain;
mod preset;
mod reload;
mod replay;
mod run;
mod trunk_report;
mod why;

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::admin::{PoliciesReport, StatusReport};
use crate::config::{self, Compiled};

/// SIP edge proxy (SBC) with a media relay and YAML policies in one process.
///
/// New here? `turnpike demo` places a real call through the edge on this machine and shows every message of it.
/// Then copy config/turnpike.yaml, change what its comments point at, and type
/// `turnpike check --config turnpike.yaml` until it is content, and `turnpike run --config turnpike.yaml`.
#[derive(Debug, Parser)]
#[command(name = "turnpike", version, verbatim_doc_comment)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carries calls until it is told to stop (SIGTERM: live calls end first; twice: at once)
    Run(run::Args),
    /// Reads a config and its policies, runs the policies' tests, and says what is wrong and what to type; with --trunk tries one live
    Check(check::Args),
    /// Lists the presets for trunks and PBXs, or prints one: what to add to the config, and what the other side must set
    Preset(preset::Args),
    /// Places a real call through an edge on this machine and shows what happens
    Demo(demo::Args),
    /// Says what policies would decide about a request, and why: every rule that is looked at, its file and line
    Explain(explain::Args),
    /// Plays yesterday's call records to tomorrow's policies: which calls would be refused or hung up, what that saves, whom it hits
    Replay(replay::Args),
    /// Asks a running Turnpike what is live
    Status(ask::Asking),
    /// Asks a running Turnpike why a call was carried, refused or hung up: every rule that was looked at
    Why(why::Args),
    /// Asks a running Turnpike which calls are live, for how long, and what they have cost
    Calls(calls::Args),
    /// Asks a running Turnpike how often each rule of its policies spoke
    Policies(ask::Asking),
    /// Has a running Turnpike read its policies anew, all of them or none; counters, budgets, bans and live calls go on
    Reload(ask::Asking),
    /// Asks a running Turnpike who relays over TURN
    Allocations(allocations::Args),
    /// Bans sources, networks and users at a running Turnpike, lists bans and ends them
    #[command(subcommand)]
    Ban(ban::Command),
    /// Makes credentials: short-lived ones for TURN, hashes for the users file
    #[command(subcommand)]
    Credentials(credentials::Command),
}

/// Runs the command line and says how it ended: 0 well, 1 not, 2 for a command line that cannot be read.
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Preset(args) => preset::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Status(asking) => asking.show::<StatusReport>("/status"),
        Command::Why(args) => why::run(args),
        Command::Calls(args) => calls::run(args),
        Command::Policies(asking) => asking.show::<PoliciesReport>("/policies"),
        Command::Reload(asking) => reload::run(&asking),
        Command::Allocations(args) => allocations::run(args),
        Command::Ban(command) => ban::run(command),
        Command::Credentials(command) => credentials::run(command),
    }
}

/// The config at `path`; its errors are told on standard error.
fn load(path: &Path) -> Result<Compiled, ExitCode> {
    config::load(path, &config::process_environment).map_err(|report| {
        eprint!("{report}");
        ExitCode::FAILURE
    })
}

/// Prints `what`, for people or as JSON.
fn show<T: Display + Serialize>(what: &T, json: bool) -> ExitCode {
    match serde_json::to_string_pretty(what) {
        Ok(text) if json => println!("{text}"),
        Ok(_) => print!("{what}"),
        Err(error) => return fail(error),
    }
    ExitCode::SUCCESS
}

/// Says why on standard error and ends with 1.
fn fail(why: impl Display) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}
