//! Alerts that the webhook has not taken yet, in `data_dir/alerts.json`.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use crate::net::data_dir;
use crate::observe::alerts::Alert;
use crate::observe::metrics::Metrics;

/// Full: the oldest is dropped.
const CAPACITY: usize = 1_000;
/// What is older has no news in it.
const OLDEST: Duration = Duration::from_secs(86_400);

/// In the order in which they are sent.
#[derive(Debug)]
pub(super) struct Queue {
    file: PathBuf,
    node: String,
    waiting: VecDeque<Waiting>,
    /// Of the last that was given an id.
    serial: u64,
    is_written: bool,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    /// Seconds since 1970.
    since: u64,
    /// As it is sent.
    body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    /// The same each time that it is sent.
    id: String,
    node: &'a str,
    #[serde(flatten)]
    alert: &'a Alert,
}

impl Queue {
    /// With what an earlier run left.
    pub fn open(file: PathBuf, node: &str, metrics: Arc<Metrics>) -> Queue {
        let waiting = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %file.display(), %error, "alerts that were not sent before the restart are lost");
                VecDeque::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => {
                tracing::warn!(path = %file.display(), %error, "alerts that were not sent before the restart are lost");
                VecDeque::new()
            }
        };
        let node = node.to_owned();
        let mut queue = Queue { file, node, waiting, serial: 0, is_written: true, metrics };
        queue.forget(unix());
        queue
    }

    pub fn push(&mut self, alert: &Alert) {
        self.push_at(alert, unix());
    }

    fn push_at(&mut self, alert: &Alert, now: Duration) {
        // Ids count on from the clock, so that those of two runs differ.
        self.serial = (self.serial + 1).max(now.as_micros() as u64);
        let id = format!("{}-{:x}", self.node, self.serial);
        // Strings and numbers always serialise.
        let body = serde_json::to_string(&Body { id, node: &self.node, alert }).unwrap_or_default();
        self.waiting.push_back(Waiting { since: now.as_secs(), body });
        self.forget(now);
    }

    /// The one that is sent next.
    pub fn first(&mut self) -> Option<Bytes> {
        self.forget(unix());
        self.waiting.front().map(|waiting| Bytes::from(waiting.body.clone()))
    }

    /// The first needs no more sending.
    pub fn done(&mut self) {
        self.waiting.pop_front();
        self.changed();
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Drops what is too much or too old.
    fn forget(&mut self, now: Duration) {
        let before = self.waiting.len();
        while self.waiting.len() > CAPACITY
            || self.waiting.front().is_some_and(|first| first.since + OLDEST.as_secs() < now.as_secs())
        {
            self.waiting.pop_front();
        }
        let dropped = before - self.waiting.len();
        if dropped > 0 {
            self.metrics.alerts.dropped.inc_by(dropped as u64);
            tracing::warn!(dropped, "alerts are dropped: the webhook has not taken any for too long");
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.is_written = false;
        self.metrics.alerts.waiting.set(self.waiting.len() as i64);
    }

    /// To disk, if it is not there.
    pub fn write(&mut self) {
        if std::mem::replace(&mut self.is_written, true) {
            return;
        }
        let written = match self.waiting.is_empty() {
            true => std::fs::remove_file(&self.file).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            false => serde_json::to_vec(&self.waiting)
                .map_err(io::Error::from)
                .and_then(|bytes| data_dir::write_private(&self.file, &bytes)),
        };
        if let Err(error) = written {
            tracing::warn!(path = %self.file.display(), %error, "cannot keep alerts: those that wait do not survive a restart");
        }
    }
}

fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(number: usize) -> Alert {
        Alert::of("refused", &format!("rule {number}"))
    }

    fn open(folder: &tempfile::TempDir) -> (Queue, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new("edge-1"));
        (Queue::open(folder.path().join("alerts.json"), "edge-1", metrics.clone()), metrics)
    }

    /// Which of [`alert`] the bodies tell, in order.
    fn told(queue: &mut Queue) -> Vec<String> {
        let next = || {
            let body = queue.first()?;
            queue.done();
            let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
            Some(body["name"].as_str()?.to_owned())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn when_full_the_oldest_go_first_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (mut queue, metrics) = open(&folder);
        for number in 0..CAPACITY + 3 {
            queue.push(&alert(number));
        }
        assert_eq!(
            (queue.len(), metrics.alerts.dropped.get(), metrics.alerts.waiting.get()),
            (CAPACITY, 3, 1_000)
        );
        queue.write();
        let (mut queue, metrics) = open(&folder);
        assert_eq!((queue.len(), metrics.alerts.dropped.get()), (CAPACITY, 0), "all of them after a restart");
        queue.push(&alert(CAPACITY + 3));
        assert_eq!(metrics.alerts.dropped.get(), 1);
        let expected: Vec<_> = (4..CAPACITY + 4).map(|number| format!("rule {number}")).collect();
        assert_eq!(told(&mut queue), expected);
        queue.write();
        assert!(!folder.path().join("alerts.json").exists(), "nothing is left to say");
    }

    #[test]
    fn what_is_a_day_old_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let (mut queue, metrics) = open(&folder);
        let now = unix();
        queue.push_at(&alert(1), now.saturating_sub(OLDEST + Duration::from_secs(1)));
        queue.push_at(&alert(2), now);
        assert_eq!((told(&mut queue), metrics.alerts.dropped.get()), (vec!["rule 2".to_owned()], 1));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_empty_queue() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("alerts.json"), "[{\"since\":").unwrap();
        let (mut queue, _) = open(&folder);
        assert_eq!(queue.len(), 0);
        queue.push(&alert(1));
        queue.write();
        assert_eq!(open(&folder).0.len(), 1);
    }
}
