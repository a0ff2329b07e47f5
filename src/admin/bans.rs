//! `GET /bans`, `POST /bans`, `DELETE /bans/WHO`.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Context;
use super::answer::{as_json, error, unavailable};
use super::guard::not_as_json;
use crate::base::UnixTime;
use crate::base::ban::Banned;
use crate::config::read::FromWord;
use crate::observe::rfc3339;
use crate::policy::ban::Ban;
use crate::sip::message::escape_for_log;

/// Of the words that somebody bans with.
const LONGEST_REASON: usize = 500;

/// Everyone who is banned.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BansReport {
    pub node: String,
    pub bans: Vec<BanReport>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanReport {
    /// `203.0.113.7`, `198.51.100.0/24`, `user:201`.
    pub banned: String,
    /// Policy and rule, or somebody's words.
    pub reason: String,
    /// RFC 3339.
    pub since: String,
    /// RFC 3339; missing: until somebody lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Live calls that ended with it, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hung_up: Option<usize>,
}

/// What `POST /bans` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// As in [`BanReport`].
    pub banned: String,
    /// `90s`, `1h`, `7d`; missing: until somebody lifts it.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the live calls of whom it bans end too.
    #[serde(default)]
    pub hang_up: bool,
}

impl BanRequest {
    fn read(&self) -> Result<(Banned, Option<Duration>, String), String> {
        let banned = self.banned.parse().map_err(|nobody: crate::base::ban::Nobody| nobody.to_string())?;
        let length = self.length.as_deref().map(|length| {
            Duration::from_word(length).map_err(|wrong| format!("for: {}: {}", wrong.what, wrong.help))
        });
        let reason = self.reason.clone().unwrap_or_else(|| "by hand".to_owned());
        if reason.len() > LONGEST_REASON {
            return Err(format!("reason: at most {LONGEST_REASON} bytes"));
        }
        Ok((banned, length.transpose()?, reason))
    }
}

impl From<&Ban> for BanReport {
    fn from(Ban { banned, reason, since, until }: &Ban) -> BanReport {
        let at = |seconds: u64| rfc3339(UnixTime(Duration::from_secs(seconds)));
        BanReport {
            banned: banned.to_string(),
            reason: reason.clone(),
            since: at(*since),
            until: until.map(at),
            hung_up: None,
        }
    }
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    match context.node.bans().await {
        Ok(bans) => {
            let report = BansReport {
                node: context.name.to_string(),
                bans: bans.iter().map(BanReport::from).collect(),
            };
            as_json(StatusCode::OK, &report)
        }
        Err(stopped) => unavailable(stopped),
    }
}

pub(super) async fn add(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Some(refused) = not_as_json(&headers) {
        return refused;
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return error(rejection.status(), rejection.body_text()),
    };
    let request: BanRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(why) => {
            let help =
                r#"send such as {"banned": "203.0.113.7", "for": "1h", "reason": "noise", "hang_up": false}"#;
            return error(StatusCode::BAD_REQUEST, format_args!("{why}; {help}"));
        }
    };
    let (banned, length, reason) = match request.read() {
        Ok(read) => read,
        Err(why) => return error(StatusCode::BAD_REQUEST, why),
    };
    match context.node.ban(banned, length, reason, request.hang_up).await {
        Ok(Ok((ban, hung_up))) => {
            let reason = escape_for_log(ban.reason.as_bytes());
            tracing::info!(banned = %ban.banned, until = ?ban.until, %reason, hung_up, "banned over the admin listener");
            let hung_up = request.hang_up.then_some(hung_up);
            as_json(StatusCode::CREATED, &BanReport { hung_up, ..BanReport::from(&ban) })
        }
        Ok(Err(why)) => error(StatusCode::CONFLICT, why),
        Err(stopped) => unavailable(stopped),
    }
}

pub(super) async fn lift(State(context): State<Context>, Path(banned): Path<String>) -> Response {
    let banned: Banned = match banned.parse() {
        Ok(banned) => banned,
        Err(nobody) => return error(StatusCode::BAD_REQUEST, nobody),
    };
    let lifted = match context.node.lift_ban(banned.clone()).await {
        Ok(lifted) => lifted,
        Err(stopped) => return unavailable(stopped),
    };
    match lifted {
        Some(ban) => {
            tracing::info!(%banned, "ban lifted over the admin listener");
            as_json(StatusCode::OK, &BanReport::from(&ban))
        }
        None => match context.node.bans().await {
            Ok(bans) => error(StatusCode::NOT_FOUND, no_such(&banned, &bans)),
            Err(stopped) => unavailable(stopped),
        },
    }
}

/// Whoever wants to free an address may not know that its network is banned.
fn no_such(banned: &Banned, bans: &[Ban]) -> String {
    let wider = match banned {
        Banned::Network(network) => bans.iter().find(|ban| ban.banned.covers(network.network())),
        Banned::User(_) => None,
    };
    match wider {
        Some(wider) => format!("{banned} is not banned by itself, but it lies in {}, which is", wider.banned),
        None => format!("{banned} is not banned"),
    }
}

/// A table for people.
impl fmt::Display for BansReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bans.is_empty() {
            return writeln!(f, "nobody is banned");
        }
        writeln!(f, "{:<24} {:<24} {:<24} why", "banned", "since", "until")?;
        self.bans.iter().try_for_each(|ban| {
            let until = ban.until.as_deref().unwrap_or("lifted by hand");
            let banned = escape_for_log(ban.banned.as_bytes()).to_string();
            let reason = escape_for_log(ban.reason.as_bytes());
            writeln!(f, "{banned:<24} {:<24} {until:<24} {reason}", ban.since)
        })
    }
}

impl fmt::Display for BanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is banned", escape_for_log(self.banned.as_bytes()))?;
        match &self.until {
            Some(until) => write!(f, " until {until}")?,
            None => write!(f, " until you lift it")?,
        }
        match self.hung_up {
            Some(1) => writeln!(f, "; 1 live call ended"),
            Some(calls) => writeln!(f, "; {calls} live calls ended"),
            None => writeln!(f),
        }
    }
}
