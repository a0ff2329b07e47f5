//! `turnpike why`.

use std::process::ExitCode;

use super::ask::Whom;
use crate::admin::WhyReport;

/// Arguments of `turnpike why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The call's Call-ID, as in the log and the CDR
    #[arg(value_name = "CALL-ID")]
    call_id: String,
    #[command(flatten)]
    whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    match args.whom.ask::<WhyReport>(&format!("/calls/{}/why", in_path(&args.call_id))) {
        Ok(report) => super::show(&report, args.json),
        Err(code) => code,
    }
}

/// RFC 3986 §2.1: whatever is not unreserved is escaped, so that a Call-ID with a slash stays one segment.
fn in_path(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}
