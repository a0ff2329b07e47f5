//! `POST /reload`: policies are read anew, all of them or none.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Context;
use super::answer::{as_json, error};
use super::guard::not_as_json;
use crate::sip::message::escape_for_log;

/// Reads policies anew and has the node obey them; what is in force then, or what is wrong with them. It may take its time.
pub type Reload = Arc<dyn Fn() -> Result<ReloadReport, String> + Send + Sync>;

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Policies.
    pub policies: usize,
    /// Tests in them, all passed.
    pub tests: usize,
    /// What `turnpike check` warns of, and what only a restart brings into force.
    pub warnings: String,
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.warnings.lines() {
            writeln!(f, "{}", escape_for_log(line.as_bytes()))?;
        }
        let ReloadReport { policies, tests, .. } = self;
        writeln!(f, "in force: policies: {policies}, tests passed: {tests}")
    }
}

pub(super) async fn reload(State(context): State<Context>, headers: HeaderMap) -> Response {
    if let Some(refused) = not_as_json(&headers) {
        return refused;
    }
    let reload = context.reload.clone();
    match tokio::task::spawn_blocking(move || reload()).await {
        Ok(Ok(report)) => as_json(StatusCode::OK, &report),
        Ok(Err(wrong)) => error(StatusCode::UNPROCESSABLE_ENTITY, wrong),
        Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, failed),
    }
}
