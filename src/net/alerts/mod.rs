//! Alerts on their way to a webhook: summed up, kept on disk until they are taken, sent again and again, on a thread of
//! their own.

mod queue;
mod sums;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::http::{self, HttpError};
use super::settings::{Webhook, Website};
use crate::observe::alerts::Alert;
use crate::observe::metrics::Metrics;
use queue::Queue;
use sums::{Lost, Sums};

/// Alerts that wait for the thread.
const INBOX: usize = 1_024;
/// It is tried again after so long, then twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What comes within this is written to disk together.
const WRITE: Duration = Duration::from_millis(500);
/// How long the end waits for the webhook; what it has not taken then is sent after the next start.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where alerts are handed in, and what ends when nobody can hand in any more.
pub(super) type Started = (mpsc::Sender<Alert>, JoinHandle<()>);

/// Takes up what an earlier run left in `data_dir`, and starts the thread.
pub(super) fn start(
    webhook: Webhook,
    node: &str,
    data_dir: &Path,
    metrics: Arc<Metrics>,
) -> io::Result<Started> {
    let (sender, inbox) = mpsc::channel(INBOX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sums = Sums::new(webhook.every);
    let queue = Queue::open(data_dir.join("alerts.json"), node, metrics.clone());
    let delivery = Delivery { webhook, sums, queue, metrics, failures: 0, retry: None, write: None };
    let thread = std::thread::Builder::new().name("alerts".into()).spawn(move || {
        runtime.block_on(delivery.run(inbox));
        // A name look-up that hangs must not hold us up.
        runtime.shutdown_background();
    })?;
    Ok((sender, thread))
}

/// Why an alert was not taken.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("no answer within {} s", .0.as_secs_f32())]
    TooSlow(Duration),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("this is no request")]
    Unsayable,
}

impl PostError {
    /// It has been read and will never be taken.
    fn is_final(&self) -> bool {
        matches!(self, PostError::Status(status) if matches!(status.as_u16(), 400 | 413 | 415 | 422))
    }
}

struct Delivery {
    webhook: Webhook,
    sums: Sums,
    queue: Queue,
    metrics: Arc<Metrics>,
    /// In a row.
    failures: u32,
    /// Not before.
    retry: Option<Instant>,
    /// When what has changed is written to disk.
    write: Option<Instant>,
}

impl Delivery {
    async fn run(mut self, mut inbox: mpsc::Receiver<Alert>) {
        let mut posting = JoinSet::new();
        loop {
            let now = Instant::now();
            self.tick(now);
            if posting.is_empty()
                && self.retry.is_none()
                && let Some(body) = self.queue.first()
            {
                posting.spawn(post(self.webhook.clone(), body));
            }
            let wake = [self.sums.next(), self.retry, self.write].into_iter().flatten().min();
            tokio::select! {
                alert = inbox.recv() => match alert {
                    Some(alert) => self.take(alert),
                    None => break,
                },
                Some(outcome) = posting.join_next() => self.posted(outcome.unwrap_or(Err(PostError::Unsayable))),
                () = sleep_until(wake.unwrap_or(now).into()), if wake.is_some() => {}
            }
        }
        self.finish(posting).await;
    }

    /// Nobody has anything to tell any more.
    async fn finish(mut self, mut posting: JoinSet<Result<(), PostError>>) {
        for alert in self.sums.rest() {
            self.queue.push(&alert);
        }
        self.queue.write();
        let last_words = async {
            loop {
                if posting.is_empty() {
                    // One that is not there now is asked after the next start.
                    let next = self.queue.first().filter(|_| self.failures == 0);
                    let Some(body) = next else { break };
                    posting.spawn(post(self.webhook.clone(), body));
                }
                // What is on its way may be taken, though what came before was not.
                if let Some(outcome) = posting.join_next().await {
                    self.posted(outcome.unwrap_or(Err(PostError::Unsayable)));
                }
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
        self.queue.write();
    }

    fn take(&mut self, alert: Alert) {
        match self.sums.take(alert, Instant::now()) {
            Ok(Some(alert)) => self.push(&alert),
            Ok(None) => {}
            Err(Lost(count)) => {
                self.metrics.alerts.dropped.inc_by(count);
            }
        }
    }

    fn push(&mut self, alert: &Alert) {
        self.queue.push(alert);
        self.changed();
    }

    fn tick(&mut self, now: Instant) {
        while let Some(alert) = self.sums.due(now) {
            self.push(&alert);
        }
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
        }
        if self.write.is_some_and(|write| write <= now) {
            self.write = None;
            self.queue.write();
        }
    }

    fn posted(&mut self, outcome: Result<(), PostError>) {
        match outcome {
            Ok(()) => {
                self.metrics.alerts.sent.inc();
                self.failures = 0;
                self.queue.done();
            }
            Err(error) if error.is_final() => {
                tracing::warn!(%error, "the webhook refuses an alert: it is dropped");
                self.metrics.alerts.dropped.inc();
                self.failures = 0;
                self.queue.done();
            }
            Err(error) => {
                self.metrics.alerts.failed.inc();
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(16))).min(LONGEST_PAUSE);
                self.failures += 1;
                self.retry = Instant::now().checked_add(pause);
                let (host, waiting) = (self.webhook.at.url.host().unwrap_or_default(), self.queue.len());
                tracing::warn!(host, %error, waiting, again_s = pause.as_secs_f32(), "an alert was not taken by the webhook");
            }
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.write = self.write.or_else(|| Instant::now().checked_add(WRITE));
    }
}

/// Any answer of 2xx says that it was taken.
async fn post(webhook: Webhook, body: Bytes) -> Result<(), PostError> {
    let Website { url, patience, .. } = &webhook.at;
    let mut request = Request::post(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(CONTENT_TYPE, "application/json");
    if let Some(secret) = &webhook.secret {
        request = request.header("Turnpike-Signature", signature(secret.reveal(), &body));
    }
    let request = request.body(Full::new(body)).map_err(|_| PostError::Unsayable)?;
    let response = timeout(*patience, http::ask(&webhook.at, request)).await;
    let response = response.map_err(|_| PostError::TooSlow(*patience))??;
    if response.status().is_success() { Ok(()) } else { Err(PostError::Status(response.status())) }
}

/// `sha256=` and the HMAC of the body in hex digits.
fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let digits = hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_as_openssl_signs_it() {
        // printf %s '{"a":1}' | openssl dgst -sha256 -hmac north
        let expected = "sha256=fdb237a032c8358fb1f9166f4c5456c1d42a4364878d9211667c276646559cab";
        assert_eq!(signature("north", br#"{"a":1}"#), expected);
    }
}
