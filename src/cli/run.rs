//! `turnpike run`.

use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `turnpike run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs it.
pub fn run(_args: Args) -> ExitCode {
    super::fail("`turnpike run` is not built yet")
}
