//! One question to a running node's admin listener, for `status`, `ban` and their like.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::BadAnswer;
use crate::admin::settings::{AdminSettings, Token};
use crate::sip::message::escape_for_log;

/// Where a node's admin listener is unless somebody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:8080";
/// Where the token comes from when `--config` does not say.
const TOKEN: &str = "TURNPIKE_ADMIN_TOKEN";
/// How long the node may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of an answer. That of a node with all the allocations that it can have is some megabytes.
const LONGEST: u64 = 64 << 20;

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub struct Whom {
    /// Its admin listener; the token, if it has one, is taken from the environment: TURNPIKE_ADMIN_TOKEN
    #[arg(long, value_name = "URL", default_value = DEFAULT, conflicts_with = "config")]
    admin: String,
    /// Its config file, which names admin listener and token
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A question whose answer is printed.
#[derive(Debug, clap::Args)]
pub struct Asking {
    #[command(flatten)]
    pub whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Asking {
    /// Asks `GET path`, and prints.
    pub fn show<T: DeserializeOwned + Serialize + Display>(&self, path: &str) -> ExitCode {
        self.print(self.whom.ask::<T>(path))
    }

    /// Prints what was answered.
    pub fn print(&self, answer: Result<impl Serialize + Display, ExitCode>) -> ExitCode {
        match answer {
            Ok(report) => super::show(&report, self.json),
            Err(code) => code,
        }
    }
}

impl Whom {
    /// What it answers to `GET path`. Whoever gets no answer has told the administrator why.
    pub fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, ExitCode> {
        self.request("GET", path, None)
    }

    /// What it answers to `POST path`, likewise.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ExitCode> {
        let body = serde_json::to_string(body).map_err(super::fail)?;
        self.request("POST", path, Some(&body))
    }

    /// What it answers to `DELETE path`, likewise.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ExitCode> {
        self.request("DELETE", path, None)
    }

    fn request<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<T, ExitCode> {
        let (addr, token) = self.find()?;
        let (status, answer) = exchange(addr, method, path, token.as_ref(), body).map_err(|error| {
            super::fail(format_args!("no answer from {addr}: {error}. Is turnpike running there?"))
        })?;
        match (status, serde_json::from_str(&answer)) {
            (200 | 201, Ok(answer)) => Ok(answer),
            (401, _) => {
                Err(super::fail(format_args!("{addr} wants its token: set {TOKEN}, or give --config FILE")))
            }
            (status, _) => Err(match serde_json::from_str::<BadAnswer>(&answer) {
                Ok(bad) => super::fail(escape_for_log(bad.error.as_bytes())),
                Err(_) => super::fail(format_args!("{addr} answered {status}; it may not be turnpike")),
            }),
        }
    }

    fn find(&self) -> Result<(SocketAddr, Option<Token>), ExitCode> {
        let Some(path) = &self.config else {
            let addr = resolve(&self.admin).map_err(|error| {
                super::fail(format_args!("--admin {}: {error}; write it like {DEFAULT}", self.admin))
            })?;
            return Ok((addr, std::env::var(TOKEN).ok().map(Token::new)));
        };
        let Some(AdminSettings { listen, token, .. }) = super::load(path)?.admin else {
            let none = "this config has no admin listener: add  admin: { listen: \"127.0.0.1:8080\" }";
            return Err(super::fail(none));
        };
        Ok((reachable(listen), token))
    }
}

/// `http://host:port` or `host:port`.
fn resolve(url: &str) -> io::Result<SocketAddr> {
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    host.to_socket_addrs()?.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whoever listens everywhere is asked here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// As one segment of a path: whatever is not unreserved is escaped (RFC 3986 §2.1).
pub fn segment(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encoded = |byte: u8| match is_plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

/// One HTTP/1.1 request to our own server, which gives the length and closes: status and body.
fn exchange(
    addr: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&Token>,
    body: Option<&str>,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    if let Some(token) = token {
        request += &format!("Authorization: {}\r\n", token.bearer());
    }
    if let Some(body) = body {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += &format!("\r\n{}", body.unwrap_or_default());
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}
