//! `turnpike reload`, and what the running node does then.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use super::ask::Asking;
use crate::admin::{Reload, ReloadReport};
use crate::config::compiled::Names;
use crate::net::Handle;

/// Asks, and prints what is in force or what is wrong.
pub fn run(asking: &Asking) -> ExitCode {
    asking.print(asking.whom.post::<ReloadReport>("/reload", &serde_json::json!({})))
}

/// What a node was started with, as far as it does not change while it runs.
pub(super) struct Started {
    pub config: PathBuf,
    /// The config's text.
    pub text: Vec<u8>,
    /// What policies may name.
    pub names: Names,
    pub node: Handle,
}

impl Started {
    /// How its policies are read anew.
    pub fn reload(self) -> Reload {
        // One at a time: what was read last is what is in force.
        let started = Mutex::new(self);
        Arc::new(move || started.lock().unwrap_or_else(PoisonError::into_inner).read_anew())
    }

    fn read_anew(&self) -> Result<ReloadReport, String> {
        let read = super::run::read(&self.config, Some(&self.names));
        let (config, policies) =
            read.map_err(|report| format!("{report}the policies of before are in force"))?;
        let mut warnings = format!("{}{}", config.report, policies.report);
        if std::fs::read(&self.config).is_ok_and(|text| text != self.text) {
            let file = self.config.display();
            warnings += &format!(
                "{file} is not what it was at the start: of it only `policies` and `geoip` are in force now, the rest after a restart\n"
            );
        }
        let report = ReloadReport { policies: policies.policies.len(), tests: policies.tests, warnings };
        let feeds = policies.feeds.clone();
        let replaced = self.node.replace_policies(policies.settings(&config), feeds);
        replaced.map_err(|error| format!("{error}: the policies of before are in force"))?;
        Ok(report)
    }
}
