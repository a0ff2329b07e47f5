//! `turnpike check --trunk NAME`: tries a live trunk, and says of each demand whether it is met and what to do.

use std::process::ExitCode;
use std::time::Duration;

use super::trunk_report::TrunkReport;
use crate::config::Compiled;
use crate::net::probe::{Plan, probe};

/// What of the command line is about a trunk.
#[derive(Debug, clap::Args)]
pub struct TrunkArgs {
    /// Tries this trunk of the config live: DNS, TCP, TLS, OPTIONS, and with --call a call that is cancelled at once
    #[arg(long, value_name = "NAME", requires = "config")]
    trunk: Option<String>,
    /// Calls this number over the trunk, learns codecs and SRTP, and cancels: it may ring there for a moment
    #[arg(long, value_name = "NUMBER", requires = "trunk")]
    call: Option<String>,
    /// Who calls: a number of yours
    #[arg(long, value_name = "NUMBER", requires = "trunk")]
    caller: Option<String>,
    /// How many seconds each answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "trunk")]
    wait: u64,
}

impl TrunkArgs {
    /// Tries the trunk if one is named; `None`: none is.
    pub fn run(&self, config: &Compiled) -> Option<ExitCode> {
        let name = self.trunk.as_ref()?;
        Some(self.try_trunk(name, config).unwrap_or_else(|code| code))
    }

    fn try_trunk(&self, name: &str, config: &Compiled) -> Result<ExitCode, ExitCode> {
        let Some(trunk) = config.edge.trunks.iter().find(|trunk| *trunk.name == *name) else {
            let known: Vec<_> = config.edge.trunks.iter().map(|trunk| &*trunk.name).collect();
            return Err(super::fail(format_args!("there is no trunk `{name}`: {}", known.join(", "))));
        };
        if trunk.hosts.is_empty() {
            return Err(super::fail(format_args!("trunk `{name}` only calls in: it has no `hosts` to try")));
        }
        for number in self.call.iter().chain(&self.caller) {
            if number.is_empty()
                || !number.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-._*#".contains(&c))
            {
                return Err(super::fail(format_args!("`{number}` is no number: write it like +4930123456")));
            }
        }
        let plan = Plan {
            config,
            trunk,
            callee: self.call.as_deref(),
            caller: self.caller.as_deref(),
            patience: Duration::from_secs(self.wait.clamp(1, 60)),
        };
        let hosts = probe(&plan).map_err(super::fail)?;
        let listener = trunk.hosts.iter().flat_map(|host| &host.ways).next().map(|(_, listener)| *listener);
        let listener = listener.and_then(|id| config.edge.listeners.get(usize::from(id.0)));
        let advertise = listener.map_or("", |listener| &*listener.advertise);
        let report = TrunkReport::new(trunk, &hosts, self.call.is_some(), advertise);
        print!("{report}");
        Ok(if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
