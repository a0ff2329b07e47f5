//! `GET /policies`: how often each rule spoke.

use std::fmt;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Context;
use super::answer::{as_json, unavailable};
use crate::policy::hits::{PolicyHits, RuleHits};
use crate::policy::settings::Mode;

/// All policies of a node, in the order in which they are asked.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoliciesReport {
    pub node: String,
    pub policies: Vec<PolicyReport>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// `policy:`.
    pub policy: String,
    /// `enforce`, `audit` or `disabled`.
    pub mode: String,
    /// `packets`, `registrations`, `calls`, …
    pub stages: Vec<String>,
    /// In their order; at the end the default. Empty, if it is disabled.
    pub rules: Vec<RuleReport>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Policy and rule.
    pub rule: String,
    /// Where it is written.
    pub file: String,
    /// Its line.
    pub line: usize,
    /// How often it decided since the start of the node; in `mode: audit`, would have.
    pub hits: u64,
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    match context.node.policy_hits().await {
        Ok((policies, _)) => as_json(StatusCode::OK, &PoliciesReport::new(&context.name, &policies)),
        Err(stopped) => unavailable(stopped),
    }
}

impl PoliciesReport {
    /// Of the node `name`.
    pub fn new(name: &str, policies: &[PolicyHits]) -> PoliciesReport {
        PoliciesReport { node: name.to_owned(), policies: policies.iter().map(PolicyReport::from).collect() }
    }
}

impl From<&PolicyHits> for PolicyReport {
    fn from(PolicyHits { name, mode, stages, rules }: &PolicyHits) -> PolicyReport {
        let mode = match mode {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
            Mode::Disabled => "disabled",
        };
        PolicyReport {
            policy: name.to_string(),
            mode: mode.to_owned(),
            stages: stages.iter().map(ToString::to_string).collect(),
            rules: rules.iter().map(RuleReport::from).collect(),
        }
    }
}

impl From<&RuleHits> for RuleReport {
    fn from(RuleHits { name, place, hits }: &RuleHits) -> RuleReport {
        RuleReport { rule: name.to_string(), file: place.file.to_string(), line: place.line, hits: *hits }
    }
}

/// A table for people.
impl fmt::Display for PoliciesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.policies.is_empty() {
            return writeln!(f, "no policies: everyone who is let in may do everything");
        }
        for PolicyReport { policy, mode, stages, rules } in &self.policies {
            let would = if mode == "audit" { ": hits are what would have been" } else { "" };
            writeln!(f, "{policy} ({mode}{would}; {})", stages.join(", "))?;
            for RuleReport { rule, file, line, hits } in rules {
                let own =
                    rule.strip_prefix(&**policy).and_then(|own| own.strip_prefix(" / ")).unwrap_or(rule);
                writeln!(f, "  {hits:>10}  {own:<44} {file}:{line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Stage;
    use crate::policy::settings::Place;

    #[test]
    fn people_and_machines_are_told_how_often_each_rule_spoke() {
        let rule = |name: &str, line, hits| RuleHits {
            name: name.into(),
            place: Place { file: "policies/toll-fraud.yaml".into(), line },
            hits,
        };
        let toll = PolicyHits {
            name: "toll fraud".into(),
            mode: Mode::Enforce,
            stages: vec![Stage::Calls, Stage::InCall],
            rules: vec![
                rule("toll fraud / emergency", 12, 1),
                rule("toll fraud / never premium or satellite", 15, 1_234_567),
                rule("toll fraud / default", 1, 88),
            ],
        };
        let trial = PolicyHits { name: "trial".into(), mode: Mode::Audit, ..toll.clone() };
        let off = PolicyHits { name: "off".into(), mode: Mode::Disabled, rules: Vec::new(), ..toll.clone() };
        let report = PoliciesReport::new("edge-1", &[toll, trial, off]);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<PoliciesReport>(&json).unwrap(), report);
        let one = serde_json::to_string_pretty(&report.policies[0].rules[1]).unwrap();
        insta::assert_snapshot!(format!("{report}\n{one}"));
    }
}
