//! The admin listener: metrics, status, listings and bans over HTTP, on a thread of its own, so that whoever asks slows no call
//! down.

mod answer;
mod bans;
mod calls;
mod guard;
mod policies;
mod reload;
pub mod settings;
mod status;
mod turn;
mod why;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::net::settings::Capacity;
use crate::net::{Handle, Places};
pub use answer::{BadAnswer, LONGEST_BODY};
use answer::{as_json, error, unavailable};
pub use bans::{BanReport, BanRequest, BansReport};
pub use calls::{CallReport, CallsReport};
pub use policies::{PoliciesReport, PolicyReport, RuleReport};
pub use reload::{Reload, ReloadReport};
use settings::{AdminSettings, Token};
pub use status::StatusReport;
pub use turn::AllocationsReport;
pub use why::WhyReport;

/// Served at a time.
const CONNECTIONS: usize = 128;
/// The same, of one source.
const CONNECTIONS_PER_SOURCE: usize = 32;
/// Where the system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Why the admin listener did not start; says what to type.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("admin: cannot listen on {0}: {1}. Change `admin: {{ listen: … }}`")]
    Bind(SocketAddr, io::Error),
    #[error(
        "admin: {0} can be reached from other machines: add a token, admin: {{ token: \"env:ADMIN_TOKEN\" }}, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    #[error("admin: the system gave no thread: {0}")]
    System(#[from] io::Error),
}

/// A running admin listener; it stops when this is dropped.
pub struct Admin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Context {
    node: Handle,
    name: Arc<str>,
    token: Option<Token>,
    reload: Reload,
    /// Nobody but this machine can ask.
    loopback: bool,
}

impl Admin {
    /// Binds and starts the thread. `name` is the node's, `reload` reads its policies anew.
    pub fn start(
        settings: AdminSettings,
        name: Arc<str>,
        node: Handle,
        reload: Reload,
    ) -> Result<Admin, AdminError> {
        let AdminSettings { listen, token, patience } = settings;
        if token.is_none() && !listen.ip().is_loopback() {
            return Err(AdminError::Open(listen));
        }
        let socket = TcpListener::bind(listen).map_err(|error| AdminError::Bind(listen, error))?;
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        let context = Context { node, name, token, reload, loopback: addr.ip().is_loopback() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    outcome = serve(socket, context, patience) => {
                        if let Err(error) = outcome {
                            tracing::error!(%error, "the admin listener stopped");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Admin { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until the runtime ends. Nobody who is slow or many keeps others from being served.
async fn serve(socket: TcpListener, context: Context, patience: Duration) -> io::Result<()> {
    let routes = routes(context);
    let socket = tokio::net::TcpListener::from_std(socket)?;
    let places = Places::new(Capacity {
        connections: CONNECTIONS,
        connections_per_source: CONNECTIONS_PER_SOURCE,
        ..Capacity::default()
    });
    loop {
        let (stream, from) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of this client, or of everybody: no more files.
                tracing::debug!(%error, "the admin listener accepts nobody for a moment");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(Some(from.ip())) else {
            tracing::debug!(%from, "more connections to the admin listener than it takes");
            continue;
        };
        let routes = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let _place = place;
            // One request each, so that one time is enough for all that can be slow: head, body, answer.
            let served =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), routes);
            if timeout(patience, served).await.is_err() {
                tracing::debug!(%from, "a client of the admin listener is too slow");
            }
        });
    }
}

fn routes(context: Context) -> Router {
    let guarded = Router::new()
        .route("/status", get(status))
        .route("/policies", get(policies::list))
        .route("/reload", post(reload::reload))
        .route("/calls", get(calls::list))
        .route("/calls/{call_id}", get(calls::one))
        .route("/calls/{call_id}/why", get(call_why))
        .route("/turn/allocations", get(turn_allocations))
        .route("/bans", get(bans::list).post(bans::add))
        .route("/bans/{banned}", delete(bans::lift))
        .route_layer(middleware::from_fn_with_state(context.clone(), guard::guard));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .fallback(async || error(StatusCode::NOT_FOUND, "there is nothing of this name"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "this is not done with such a method")
        })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(context)
}

async fn healthz(State(context): State<Context>) -> Response {
    match context.node.status().await {
        Ok(_) => "ok\n".into_response(),
        Err(stopped) => unavailable(stopped),
    }
}

/// What Prometheus on the same machine scrapes needs no token; who comes from elsewhere shows it here too.
async fn metrics(State(context): State<Context>, headers: HeaderMap) -> Response {
    if !context.loopback
        && let Some(refused) = guard::without_token(&context, &headers)
    {
        return refused;
    }
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match context.node.metrics().await {
        Ok(text) => (kind, text).into_response(),
        Err(stopped) => unavailable(stopped),
    }
}

async fn status(State(context): State<Context>) -> Response {
    match context.node.status().await {
        Ok(live) => as_json(StatusCode::OK, &StatusReport::new(&context.name, &live)),
        Err(stopped) => unavailable(stopped),
    }
}

async fn call_why(State(context): State<Context>, Path(call_id): Path<String>) -> Response {
    match context.node.why(call_id.clone()).await {
        Ok(decisions) => {
            as_json(StatusCode::OK, &WhyReport { node: context.name.to_string(), call_id, decisions })
        }
        Err(stopped) => unavailable(stopped),
    }
}

async fn turn_allocations(State(context): State<Context>) -> Response {
    match context.node.turn_allocations().await {
        Ok(listed) => as_json(StatusCode::OK, &AllocationsReport::new(&context.name, &listed)),
        Err(stopped) => unavailable(stopped),
    }
}
