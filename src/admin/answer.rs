//! Answers are JSON, those that say no as well.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::net::Stopped;

/// Bytes of a request's body; more is 413.
pub const LONGEST_BODY: usize = 16 * 1024;

/// What was wrong.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadAnswer {
    pub error: String,
}

pub(super) fn as_json(status: StatusCode, report: &impl Serialize) -> Response {
    match serde_json::to_string(report) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub(super) fn error(status: StatusCode, why: impl ToString) -> Response {
    as_json(status, &BadAnswer { error: why.to_string() })
}

pub(super) fn unavailable(stopped: Stopped) -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, stopped)
}
