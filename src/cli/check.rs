//! `turnpike check`: reads everything that `run` would read, and says what is wrong and what to type.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;

/// Arguments of `turnpike check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// Prints every problem to standard error; fails if one of them is an error.
pub fn run(args: Args) -> ExitCode {
    match config::load(&args.config, &config::process_environment) {
        Ok(compiled) => {
            eprint!("{}", compiled.report);
            println!("{}: ok", args.config.display());
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprint!("{report}");
            ExitCode::FAILURE
        }
    }
}
