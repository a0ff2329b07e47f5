//! Who may ask. With a token: whoever shows it. Without one the listener is on a loopback address, where every program of this
//! machine may ask, except a browser for a web page from elsewhere.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Context;
use super::answer::error;
use super::settings::Token;

pub(super) async fn guard(State(context): State<Context>, request: Request, next: Next) -> Response {
    let (method, headers) = (request.method(), request.headers());
    let refused = match context.token {
        Some(_) => without_token(&context, headers),
        None => from_a_page(method, headers),
    };
    match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

/// What to answer to whoever does not show the token, if one is asked for.
pub(super) fn without_token(context: &Context, headers: &HeaderMap) -> Option<Response> {
    let shown = context.token.as_ref().is_none_or(|token| shows(headers, token));
    (!shown).then(|| {
        let how = [(header::WWW_AUTHENTICATE, "Bearer")];
        let told = error(StatusCode::UNAUTHORIZED, "a bearer token is needed: Authorization: Bearer …");
        (how, told).into_response()
    })
}

/// A page that the administrator has open may make the browser send requests here. It cannot read the answers (we send no
/// CORS headers), but need not to do harm, so:
/// - Its name may have been made to mean 127.0.0.1 (DNS rebinding): then for the browser we are the page's own server, and no
///   other check below helps. But its name stands in Host, so there we take nothing but this machine's own.
/// - What changes something is DELETE, or a POST of `application/json` ([`not_as_json`]): neither is "simple" (Fetch
///   standard, CORS-safelisted), so the browser asks with OPTIONS first, and is told no. Where one forgets to ask, it
///   still says Origin, which programs have no reason to.
///
/// With a token nothing of this is needed: no browser knows it.
fn from_a_page(method: &Method, headers: &HeaderMap) -> Option<Response> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_this_machine) {
        let help = "ask for http://127.0.0.1 or http://localhost, or give the admin listener a token: any name does then";
        return Some(error(StatusCode::FORBIDDEN, help));
    }
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    (changes && headers.contains_key(header::ORIGIN))
        .then(|| error(StatusCode::FORBIDDEN, "a web page may change nothing here without a token"))
}

/// What to answer to a POST that says nothing of JSON.
pub(super) fn not_as_json(headers: &HeaderMap) -> Option<Response> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    (!is_json)
        .then(|| error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json"))
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or(host),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// RFC 6750 §2.1.
fn shows(headers: &HeaderMap, token: &Token) -> bool {
    let value = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let shown = value.and_then(|value| value.split_at_checked("Bearer ".len()));
    shown.is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_taken_for_it() {
        for host in
            ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "LocalHost", "[::1]:8080", "127.1.2.3:1"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.0.2.1", "[::2]"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
