//! `turnpike preset`: shows the presets that are part of this program, so that nobody has to look for them in its source.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::preset::{PBX, Shipped, TRUNKS};

/// Arguments of `turnpike preset`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The preset to print; without it all are listed
    name: Option<String>,
}

/// Prints one preset, or all names.
pub fn run(args: Args) -> ExitCode {
    let mut out = io::stdout().lock();
    // Nobody may be reading: that is no failure.
    let Some(name) = args.name else {
        for (title, presets) in [("trunks", &TRUNKS[..]), ("pbx", &PBX[..])] {
            let _ = writeln!(out, "{title}:");
            for preset in presets {
                let _ = writeln!(out, "  {:<14} {}", preset.name, preset.title());
            }
        }
        return ExitCode::SUCCESS;
    };
    match TRUNKS.iter().chain(&PBX).find(|preset: &&Shipped| preset.name == name) {
        Some(preset) => {
            let _ = write!(out, "{}", preset.text);
            ExitCode::SUCCESS
        }
        None => super::fail(format_args!("there is no preset `{name}`: `turnpike preset` lists them")),
    }
}
