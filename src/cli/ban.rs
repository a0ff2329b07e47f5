//! `turnpike ban`.

use std::process::ExitCode;

use super::ask::{Asking, Whom, segment};
use crate::admin::{BanReport, BanRequest, BansReport};

/// Who is banned, and by whom.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists everyone who is banned, why, and until when
    #[command(visible_alias = "list")]
    Ls(Asking),
    /// Bans a source, a network or a user
    Add(Add),
    /// Ends a ban
    #[command(visible_alias = "remove")]
    Rm(Rm),
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
    asking: Asking,
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
        Command::Ls(asking) => asking.show::<BansReport>("/bans"),
        Command::Add(Add { banned, length, reason, hang_up, asking }) => {
            let request = BanRequest { banned, length, reason, hang_up };
            asking.print(asking.whom.post::<BanReport>("/bans", &request))
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
