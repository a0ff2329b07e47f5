//! `turnpike status`.

use std::process::ExitCode;

/// Arguments of `turnpike status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> ExitCode {
    super::fail("`turnpike status` is not built yet")
}
