//! Call detail records: one line of JSON per call, appended to `data_dir/cdr.jsonl` by a thread of its own. Numbers are
//! whole: they are what is billed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use crate::base::UnixTime;
use crate::edge::event::{Cdr, LegCdr, StreamCdr};
use crate::policy::deck::Money;

/// CDRs that wait for the disk; more are lost, and counted.
const QUEUE: usize = 4_096;
/// How long the thread rests when it has written. A call that ends alone is written at once; where thousands end in a
/// second, waking the thread for each would cost more than the call itself.
const REST: Duration = Duration::from_millis(20);
/// Room for lines that is kept from one round to the next, bytes.
const KEPT: usize = 256 * 1024;

/// The way to the writing thread.
#[derive(Debug)]
pub struct CdrFile {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Job {
    Write(Box<Cdr>),
    Reopen,
}

impl CdrFile {
    /// Opens (or makes, readable by us alone) the file and starts the thread.
    pub fn open(node: &str, path: &Path, metrics: Arc<Metrics>) -> io::Result<CdrFile> {
        let file = open(path)?;
        let (jobs, receiver) = sync_channel(QUEUE);
        let writer = Writer { node: node.to_owned(), path: path.to_owned(), file, metrics: metrics.clone() };
        let thread = thread::Builder::new().name("cdr".into()).spawn(move || writer.run(&receiver))?;
        Ok(CdrFile { jobs: Some(jobs), thread: Some(thread), metrics })
    }

    /// Hands one over; never waits.
    pub fn write(&self, cdr: Box<Cdr>) {
        if let Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) =
            self.jobs.as_ref().map(|jobs| jobs.try_send(Job::Write(cdr)))
        {
            lost(&self.metrics, "the disk is too slow");
        }
    }

    /// Opens the file anew.
    pub fn reopen(&self) {
        if let Some(jobs) = &self.jobs {
            // Full: the disk does not keep up, and rotation can be asked for again.
            let _ = jobs.try_send(Job::Reopen);
        }
    }
}

impl Drop for CdrFile {
    /// Waits until what was handed over is written.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    node: String,
    path: PathBuf,
    file: File,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut lines = Lines::default();
        while let Ok(first) = jobs.recv() {
            // As many as the queue holds: those that come in the meantime are for the next round.
            for job in std::iter::once(first).chain(jobs.try_iter().take(QUEUE)) {
                match job {
                    Job::Write(cdr) => lines.push(&self.node, &cdr),
                    Job::Reopen => {
                        self.write(&mut lines);
                        self.reopen();
                    }
                }
            }
            self.write(&mut lines);
            thread::sleep(REST);
        }
    }

    fn write(&mut self, lines: &mut Lines) {
        if let Err(error) = self.file.write_all(lines.text.as_bytes()) {
            (0..lines.count).for_each(|_| lost(&self.metrics, &error.to_string()));
        }
        lines.clear();
    }

    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot reopen the CDR file")
            }
        }
    }
}

/// Lines that are written together.
#[derive(Default)]
struct Lines {
    text: String,
    count: usize,
}

impl Lines {
    fn push(&mut self, node: &str, cdr: &Cdr) {
        self.text.push_str(&line(node, cdr));
        self.count += 1;
    }

    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.count = 0;
    }
}

/// Counts a CDR that is lost; warns of the first and of every thousandth.
fn lost(metrics: &Metrics, reason: &str) {
    let lost = metrics.cdr_lost();
    if lost % 1_000 == 1 {
        tracing::warn!(lost, reason, "CDRs are being lost");
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A CDR as it stands in the file: the names are an interface, so they are written down here and nowhere else.
#[derive(Serialize)]
struct Line<'c> {
    node: &'c str,
    call_id: &'c str,
    started: String,
    answered: Option<String>,
    ended: String,
    /// Seconds from answer to end.
    talked: f64,
    from: &'c str,
    to: &'c str,
    /// Authenticated or registered; null: nobody, or a trunk or the PBX.
    user: Option<&'c str>,
    /// The caller's User-Agent; null: it names none.
    agent: Option<&'c str>,
    listener: &'c str,
    source: String,
    from_party: &'c str,
    to_party: &'c str,
    target: &'c str,
    route: &'c str,
    rule: &'c str,
    /// The rule that refused the call; null: none did.
    refusal: Option<&'c str>,
    /// The rule that ended the call; null: none did.
    hung_up_by: Option<&'c str>,
    /// In the currency of the rates; null: no policy has a price for it.
    spend: Option<f64>,
    /// Of the called number.
    country: Option<String>,
    status: u16,
    end: &'c str,
    media: Vec<MediaLine<'c>>,
    unheard: Vec<&'c str>,
}

#[derive(Serialize)]
struct MediaLine<'c> {
    kind: &'c str,
    from_caller: Counted,
    from_callee: Counted,
}

#[derive(Serialize)]
struct Counted {
    packets: u64,
    bytes: u64,
    refused: u64,
    /// Packets of RTP.
    lost: u64,
    /// By the other side's reports; null where it sends none.
    lost_at_far_end: Option<u64>,
    /// Milliseconds; null where there was nothing to measure.
    jitter_ms: Option<f64>,
    jitter_max_ms: Option<f64>,
    rtt_ms: Option<f64>,
    rtt_max_ms: Option<f64>,
}

fn line(node: &str, cdr: &Cdr) -> String {
    let line = Line {
        node,
        call_id: &cdr.call_id,
        started: rfc3339(cdr.started),
        answered: cdr.answered.map(rfc3339),
        ended: rfc3339(cdr.ended),
        talked: cdr.talked().as_millis() as f64 / 1_000.0,
        from: &cdr.from,
        to: &cdr.to,
        user: cdr.user.as_deref(),
        agent: cdr.agent.as_deref(),
        listener: &cdr.listener,
        source: cdr.source.to_string(),
        from_party: &cdr.from_party,
        to_party: &cdr.to_party,
        target: &cdr.target,
        route: &cdr.route,
        rule: &cdr.rule,
        refusal: cdr.refusal.as_deref(),
        hung_up_by: cdr.hung_up_by.as_deref(),
        spend: cdr.spend.map(|Money(millionths)| millionths as f64 / 1e6),
        country: cdr.country.map(|country| country.to_string()),
        status: cdr.status,
        end: cdr.end,
        media: cdr.media.iter().map(media_line).collect(),
        unheard: cdr.unheard.iter().map(|unheard| unheard.text.as_str()).collect(),
    };
    // Strings and numbers always serialise.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// What a replay needs of a line, of this version or an older one.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Record {
    pub call_id: String,
    pub started: Written,
    pub answered: Option<Written>,
    pub ended: Written,
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default)]
    pub listener: String,
    pub source: SocketAddr,
    pub from_party: String,
    #[serde(default)]
    pub to_party: String,
    #[serde(default)]
    pub refusal: Option<String>,
    #[serde(default)]
    pub spend: Option<f64>,
}

/// A time as [`rfc3339`] writes it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Written(pub UnixTime);

impl TryFrom<String> for Written {
    type Error = String;
    fn try_from(text: String) -> Result<Written, String> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| format!("`{text}` is no time"))?;
        let since =
            u64::try_from(timestamp.as_millisecond()).map_err(|_| format!("`{text}` is before 1970"))?;
        Ok(Written(UnixTime(Duration::from_millis(since))))
    }
}

fn media_line(stream: &StreamCdr) -> MediaLine<'_> {
    MediaLine {
        kind: stream.kind.name(),
        from_caller: counted(&stream.a, &stream.b),
        from_callee: counted(&stream.b, &stream.a),
    }
}

fn counted(leg: &LegCdr, far: &LegCdr) -> Counted {
    let LegCdr { packets, bytes, refused, measured } = *leg;
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_micros() as f64 / 1_000.0);
    Counted {
        packets,
        bytes,
        refused,
        lost: measured.lost,
        lost_at_far_end: (far.measured.far_reports > 0).then_some(far.measured.far_lost),
        jitter_ms: milliseconds(measured.jitter.mean()),
        jitter_max_ms: milliseconds(measured.jitter.most()),
        rtt_ms: milliseconds(measured.round_trip.mean()),
        rtt_max_ms: milliseconds(measured.round_trip.most()),
    }
}

/// `2026-11-22T15:04:05.123Z`
pub fn rfc3339(UnixTime(since): UnixTime) -> String {
    match jiff::Timestamp::from_millisecond(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClientAddr;
    use crate::edge::event::MediaKind;
    use crate::edge::event::Unheard;
    use crate::media::quality::Measured;
    use crate::policy::country::Country;
    use crate::relay::Side;

    fn cdr(call_id: &str) -> Box<Cdr> {
        let at = |ms: u64| UnixTime(Duration::from_millis(1_790_000_000_000 + ms));
        let mut measured = Measured { rtp: 500, lost: 3, ..Measured::default() };
        [1_000, 2_500].into_iter().for_each(|jitter| measured.jitter.add(jitter));
        measured.round_trip.add(40_250);
        Box::new(Cdr {
            started: at(0),
            answered: Some(at(1_200)),
            ended: at(11_450),
            call_id: call_id.into(),
            from: "+4930123456".into(),
            to: "200".into(),
            user: None,
            agent: Some("Asterisk PBX 22.0".into()),
            listener: "trunks".into(),
            source: ClientAddr("192.0.2.1:5060".parse().unwrap()),
            from_party: "acme".into(),
            to_party: "pbx".into(),
            target: "sip:10.0.0.1".into(),
            route: "inbound".into(),
            rule: "default".into(),
            refusal: None,
            hung_up_by: None,
            spend: Some(Money(123_400)),
            country: Some(Country(*b"DE")),
            status: 200,
            end: "bye from caller",
            media: vec![StreamCdr {
                kind: MediaKind::Audio,
                a: LegCdr { packets: 510, bytes: 87_720, refused: 0, measured },
                b: LegCdr {
                    measured: Measured { far_reports: 2, far_lost: 7, ..Measured::default() },
                    ..LegCdr::default()
                },
            }],
            unheard: vec![Unheard {
                side: Side::B,
                party: "pbx".into(),
                why: "never_sent",
                text: "leg B (pbx) never sent RTP".into(),
            }],
        })
    }

    #[test]
    fn a_call_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cdr.jsonl");
        let file = CdrFile::open("edge-1", &path, Arc::new(Metrics::new("edge-1"))).unwrap();
        file.write(cdr("one"));
        file.write(cdr("line\nbreak \"and quote\""));
        drop(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["call_id"], "line\nbreak \"and quote\"");
        insta::assert_snapshot!(text.lines().next().unwrap());
    }

    #[test]
    fn after_rotation_it_writes_to_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("cdr.jsonl"), dir.path().join("cdr.jsonl.1"));
        let file = CdrFile::open("edge-1", &path, Arc::new(Metrics::new("edge-1"))).unwrap();
        file.write(cdr("before"));
        std::fs::rename(&path, &moved).unwrap();
        file.reopen();
        file.write(cdr("after"));
        drop(file);
        assert!(std::fs::read_to_string(&moved).unwrap().contains("before"));
        assert!(std::fs::read_to_string(&path).unwrap().contains("after"));
    }

    #[test]
    fn when_the_disk_does_not_keep_up_cdrs_are_counted_lost() {
        let (jobs, _stuck) = sync_channel(2);
        let metrics = Arc::new(Metrics::new("edge-1"));
        let file = CdrFile { jobs: Some(jobs), thread: None, metrics: metrics.clone() };
        for _ in 0..5 {
            file.write(cdr("x"));
        }
        let text = metrics.text(&crate::edge::Status::default(), 0, &Default::default(), None);
        assert!(text.contains(r#"turnpike_cdrs_lost_total{node="edge-1"} 3"#), "{text}");
    }
}
