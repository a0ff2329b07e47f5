//! How often each rule spoke since the start.

use std::ops::Range;
use std::sync::Arc;

use super::settings::{Mode, Place};
use super::{Engine, Stage};

/// A policy with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyHits {
    /// `policy:`.
    pub name: Arc<str>,
    /// Whether its word counts; a disabled one has no rules here.
    pub mode: Mode,
    /// Where it is asked.
    pub stages: Vec<Stage>,
    /// In their order; at the end the default.
    pub rules: Vec<RuleHits>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHits {
    /// Policy and rule, as in log, metric and CDR.
    pub name: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// How often it decided, or would have; for one that only alerts, how often it did. Where it ends live calls, those too.
    pub hits: u64,
}

/// Which of the engine's rules are a policy's.
#[derive(Debug)]
pub(super) struct Listed {
    pub name: Arc<str>,
    pub mode: Mode,
    pub stages: Vec<Stage>,
    pub rules: Range<usize>,
    pub default: Option<usize>,
}

impl Engine {
    /// All policies, in the order in which they are asked.
    pub fn hits(&self) -> Vec<PolicyHits> {
        let rule = |index: usize| {
            let (_, rule) = self.rules.get(index)?;
            let hits = self.trail.hits(index);
            Some(RuleHits { name: rule.name.clone(), place: rule.written.place.clone(), hits })
        };
        let policy = |listed: &Listed| PolicyHits {
            name: listed.name.clone(),
            mode: listed.mode,
            stages: listed.stages.clone(),
            rules: listed.rules.clone().chain(listed.default).filter_map(rule).collect(),
        };
        self.listed.iter().map(policy).collect()
    }
}
