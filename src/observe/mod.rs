//! What happened, told to people and machines: log lines, metrics, CDRs, alerts, ladders.

pub mod alerts;
pub mod cdr;
pub mod ladder;
mod lines;
pub mod log;
pub mod metrics;
mod redact;
pub mod settings;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::base::{ListenerId, UnixTime};
use crate::edge::event::Event;
use crate::sip::transaction::Source;
use alerts::{Alert, Alerts};
use cdr::CdrFile;
pub use cdr::rfc3339;
use lines::Lines;
use metrics::Metrics;
use settings::Numbers;

/// Everyone who is told of an event. Telling is cheap: counters are added to, CDRs are handed to a thread.
#[derive(Debug)]
pub struct Observers {
    lines: Lines,
    metrics: Arc<Metrics>,
    cdr: CdrFile,
    numbers: Numbers,
    alerts: Option<Alerts>,
}

impl Observers {
    /// Opens the CDR file in `data_dir`, which must be there; `listeners`: their names, by [`ListenerId`].
    pub fn start(
        node: &str,
        listeners: Vec<Arc<str>>,
        numbers: Numbers,
        data_dir: &Path,
    ) -> io::Result<Observers> {
        let metrics = Arc::new(Metrics::new(node));
        let cdr = CdrFile::open(node, &data_dir.join("cdr.jsonl"), metrics.clone())?;
        Ok(Observers { lines: Lines::new(numbers, listeners), metrics, cdr, numbers, alerts: None })
    }

    /// From now on alerts go there too; full: they are lost, and counted.
    pub fn alert(&mut self, queue: Sender<Alert>) {
        self.alerts = Some(Alerts::new(self.numbers, queue));
    }

    /// Tells them all of what happened now.
    pub fn observe(&mut self, event: Event, at: UnixTime) {
        if let Some(alerts) = &mut self.alerts {
            alerts.observe(&event, at, &self.metrics);
        }
        self.lines.observe(&event);
        self.metrics.observe(&event);
        if let Event::CallEnded(cdr) | Event::CallRefused(cdr) = event {
            self.cdr.write(cdr);
        }
    }

    /// A TLS client of `listener` did not get through its handshake.
    pub fn handshake_failed(
        &mut self,
        listener: ListenerId,
        remote: SocketAddr,
        error: &io::Error,
        at: UnixTime,
    ) {
        self.metrics.handshake_failed();
        self.lines.handshake_failed(listener, remote, error, at);
    }

    /// A connection that we opened, or tried to, broke; `target`: what would have come from it.
    pub fn target_failed(&mut self, target: &Source, error: &io::Error, at: UnixTime) {
        self.lines.target_failed(target, error, at);
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Opens the CDR file anew, after somebody has moved it away (log rotation).
    pub fn reopen(&self) {
        self.cdr.reopen();
    }
}
