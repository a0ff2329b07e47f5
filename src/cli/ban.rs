//! `turnpike ban`.

use std::process::ExitCode;

use super::ask::{Whom, segment};
use crate::admin::{BanReport, BanRequest, BansReport};

/// Who is banned, and by whom.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists everyone who is banned, why, and until when
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Bans a source, a network or a user
    Add(Add),
    /// Ends a ban
    #[command(visible_alias = "remove")]
    Rm(Rm),
}

/// Arguments of `turnpike ban ls`.
#[derive(Debug, clap::Args)]
pub struct Ls {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `turnpike ban add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// 203.0.113.7, 198.51.100.0/24, or user:201
    #[arg(value_name = "WHO")]
    banned: String,
    /// For so long, such as 1h or 7d; without it until `ban rm`
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<String>,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "WORDS")]
    reason: Option<String>,
    /// End their live calls, too
    #[arg(long)]
    hang_up: bool,
    #[command(flatten)]
    whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `turnpike ban rm`.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// As in `ban ls`
    #[arg(value_name = "WHO")]
    banned: String,
    #[command(flatten)]
    whom: Whom,
}

/// Asks, or says what is to be done, and prints.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Ls(args) => shown(args.whom.ask::<BansReport>("/bans"), args.json),
        Command::Add(Add { banned, length, reason, hang_up, whom, json }) => {
            let request = BanRequest { banned, length, reason, hang_up };
            shown(whom.post::<BanReport>("/bans", &request), json)
        }
        Command::Rm(args) => {
            match args.whom.delete::<BanReport>(&format!("/bans/{}", segment(&args.banned))) {
                Ok(lifted) => {
                    println!("{} is no longer banned", lifted.banned);
                    ExitCode::SUCCESS
                }
                Err(code) => code,
            }
        }
    }
}

fn shown<T: std::fmt::Display + serde::Serialize>(answer: Result<T, ExitCode>, json: bool) -> ExitCode {
    match answer {
        Ok(report) => super::show(&report, json),
        Err(code) => code,
    }
}
