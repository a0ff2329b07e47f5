//! `turnpike run`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Started;
use crate::admin::{Admin, Reload, ReloadReport};
use crate::config::compiled::Names;
use crate::config::{self, Report};
use crate::net::{Node, NodeSettings};
use crate::observe;

/// Arguments of `turnpike run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs a node until it is told to stop; fails if it cannot be started, or stops by itself.
pub fn run(args: Args) -> ExitCode {
    let (config, policies) = match read(&args.config, None) {
        Ok(read) => read,
        Err(report) => {
            eprint!("{report}");
            return ExitCode::FAILURE;
        }
    };
    eprint!("{}{}", config.report, policies.report);
    let (text, names) = (std::fs::read(&args.config).unwrap_or_default(), config.names.clone());
    observe::log::start(config.logging);
    let (admin, grace) = (config.admin.clone(), config.net.patience.drain);
    let (name, zones) = (config.edge.name.clone(), names.zones.clone());
    let node = match NodeSettings::new(config, policies).and_then(Node::start) {
        Ok(node) => node,
        Err(error) => return super::fail(error),
    };
    let started = Started { config: args.config.clone(), text, names, node: node.handle().clone() };
    let reload = started.reload();
    let start = |admin| Admin::start(admin, name.clone(), node.handle().clone(), reload.clone());
    let admin = match admin.map(start).transpose() {
        Ok(admin) => admin,
        Err(error) => return super::fail(error),
    };
    let zone = |listener: &crate::edge::settings::Listener| zones[usize::from(listener.zone.0)].clone();
    let mut out = io::stdout().lock();
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(out, "turnpike {}, node '{name}', listens on", env!("CARGO_PKG_VERSION"));
    for listener in node.listeners() {
        let url = format!("{}://{}", listener.transport.scheme(), listener.bind);
        let _ = writeln!(out, "  {url:<32} {} (zone {})", listener.name, zone(listener));
    }
    for listener in node.turn_listeners() {
        let url = format!("{}://{}", listener.transport.name(), listener.bind);
        let _ = writeln!(out, "  {url:<32} {} (TURN, for clients {})", listener.name, listener.advertise);
    }
    if let Some(admin) = &admin {
        let url = format!("http://{}", admin.addr());
        let _ = writeln!(out, "  {url:<32} admin: /metrics, /status, /healthz");
    }
    if io::stdout().is_terminal() {
        let _ = writeln!(out, "{}", advice(&args.config, grace));
    }
    drop(out);
    match serve(&node, grace, reload) {
        Ok(code) => code,
        Err(error) => super::fail(format_args!("the system gave no signal handler: {error}")),
    }
}

/// The config and its policies, if this build can do all that they ask for. Policies may use `names`, else those of the config.
pub(super) fn read(
    path: &Path,
    names: Option<&Names>,
) -> Result<(config::Compiled, config::policy::Loaded), Report> {
    let config = config::load(path, &config::process_environment)?;
    config.runnable()?;
    let names = names.unwrap_or(&config.names);
    let policies = config::policy::load(&config.policies, names, Instant::now())?;
    Ok((config, policies))
}

fn advice(config: &Path, grace: Duration) -> String {
    format!(
        "Point phones and trunks at these. `turnpike status --config {}` shows what is live.\n\
         Ctrl-C stops it: no new calls, live ones may go on for {} s; Ctrl-C again ends them at once.",
        config.display(),
        grace.as_secs()
    )
}

/// Obeys signals until one has stopped the node.
fn serve(node: &Node, grace: Duration, reload: Reload) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = StopSignals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? };
        let mut hangup = signal(SignalKind::hangup())?;
        let mut restart = signal(SignalKind::user_defined2())?;
        loop {
            tokio::select! {
                () = stop.recv() => break,
                _ = hangup.recv() => {
                    let _ = node.handle().reload().await;
                    let reload = reload.clone();
                    tokio::task::spawn_blocking(move || log(reload()));
                }
                _ = restart.recv() => {
                    let _ = node.handle().leave_calls().await;
                    return Ok(ExitCode::SUCCESS);
                }
                () = node.handle().stopped() => return Ok(super::fail("signalling stopped; the log says why")),
            }
        }
        let drained = node.handle().drain(grace);
        tokio::pin!(drained);
        loop {
            tokio::select! {
                _ = &mut drained => return Ok(ExitCode::SUCCESS),
                () = stop.recv() => {
                    let _ = node.handle().end_calls().await;
                }
            }
        }
    })
}

fn log(reloaded: Result<ReloadReport, String>) {
    match reloaded {
        Ok(ReloadReport { policies, tests, warnings }) => {
            tracing::info!(policies, tests, %warnings, "policies were read anew and are in force");
        }
        Err(wrong) => tracing::warn!("policies were not read anew: {wrong}"),
    }
}

struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
