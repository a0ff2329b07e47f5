//! Lists that somebody publishes (`lists: { bad: { url: … } }`), fetched over HTTP beside everything else, on a thread of
//! their own. Each has a copy in `data_dir`, so that a start neither waits for anybody nor forgets anything.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, LOCATION};
use hyper::{Request, Response, Uri};
use siphasher::sip::SipHasher13;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::node::Command;
use super::settings::FeedSource;
use super::{data_dir, http};
use crate::policy::feed::{Feed, FeedId, Kind, NoList, Read};

/// Connecting, asking and reading one answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// When to ask again where it failed, unless the list is fetched more often anyway.
const RETRY: Duration = Duration::from_secs(300);
/// A page that moves further is going round in circles.
const MOVES: usize = 5;

/// A million networks fit; numbers take more memory, and there are fewer of them.
fn most_bytes(kind: Kind) -> usize {
    match kind {
        Kind::Networks => 32 << 20,
        Kind::Numbers => 2 << 20,
    }
}

/// Why a list was not fetched.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it did not come within {} s", PATIENCE.as_secs())]
    TooSlow,
    #[error(transparent)]
    Http(#[from] http::HttpError),
    #[error("the answer was {0}")]
    Status(hyper::StatusCode),
    #[error("the answer moved it on to nowhere, or in circles")]
    Lost,
    #[error("it broke off, or is larger than {} MiB", .0 >> 20)]
    Body(usize),
    #[error("it is no list: {0} lines are neither networks nor numbers")]
    NoList(usize),
}

/// What each feed held when it was last fetched, by its copy in `data_dir`; nothing, where there is none.
pub(super) fn from_copies(sources: &[FeedSource], data_dir: &Path) -> Vec<Feed> {
    let read = |source: &FeedSource| {
        let file = copy(source, data_dir);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(list = %source.name, file = %file.display(), %error, "the list's copy cannot be read");
                }
                return Feed::empty(source.kind);
            }
        };
        Feed::read(source.kind, &text).map_or_else(|NoList { .. }| Feed::empty(source.kind), |read| read.feed)
    };
    sources.iter().map(read).collect()
}

/// Where the copy is. Another URL under the same name is another list.
fn copy(source: &FeedSource, data_dir: &Path) -> PathBuf {
    let word: String = source.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let hash = SipHasher13::new().hash(format!("{} {}", source.name, source.url).as_bytes());
    data_dir.join("lists").join(format!("{word}-{hash:016x}.txt"))
}

/// Fetches the lists for as long as somebody takes commands.
pub(super) fn start(
    sources: Vec<FeedSource>,
    data_dir: &Path,
    commands: mpsc::Sender<Command>,
) -> io::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data_dir = data_dir.to_owned();
    std::thread::Builder::new().name("lists".into()).spawn(move || {
        runtime.block_on(async {
            let mut kept = JoinSet::new();
            for (index, source) in sources.into_iter().enumerate() {
                let file = copy(&source, &data_dir);
                kept.spawn(keep(FeedId(index), source, file, commands.clone()));
            }
            commands.closed().await;
        });
        // A name look-up that hangs must not hold us up.
        runtime.shutdown_background();
    })?;
    Ok(())
}

/// Keeps one list fresh.
async fn keep(id: FeedId, source: FeedSource, file: PathBuf, commands: mpsc::Sender<Command>) {
    let mut wait = age(&file).map_or(Duration::ZERO, |age| source.refresh.saturating_sub(age));
    let host = source.url.host().unwrap_or_default();
    loop {
        sleep(wait).await;
        wait = source.refresh;
        match fetched(&source).await {
            Ok((text, Read { feed, entries, wrong })) => {
                tracing::info!(list = %source.name, host, entries, wrong, "list fetched");
                if let Err(error) = keep_copy(&file, &text) {
                    tracing::warn!(list = %source.name, file = %file.display(), %error, "the list's copy cannot be written");
                }
                if commands.send(Command::Refresh(id, feed)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                wait = source.refresh.min(RETRY);
                let age_h = age(&file).map(|age| age.as_secs() / 3600);
                tracing::warn!(list = %source.name, host, %error, age_h, "the list was not fetched: the last copy stays in force");
            }
        }
    }
}

/// How old the copy is; none: there is none.
fn age(file: &Path) -> Option<Duration> {
    let written = std::fs::metadata(file).and_then(|file| file.modified()).ok()?;
    // A clock that was put back makes it new.
    Some(SystemTime::now().duration_since(written).unwrap_or_default())
}

fn keep_copy(file: &Path, text: &str) -> io::Result<()> {
    data_dir::make(file.parent().unwrap_or(Path::new("")))?;
    data_dir::write_private(file, text.as_bytes())
}

async fn fetched(source: &FeedSource) -> Result<(String, Read), FetchError> {
    let text = timeout(PATIENCE, fetch(&source.url, most_bytes(source.kind)));
    let text = text.await.map_err(|_| FetchError::TooSlow)??;
    let read = Feed::read(source.kind, &text).map_err(|NoList { wrong }| FetchError::NoList(wrong))?;
    Ok((text, read))
}

/// The page, wherever it has moved to.
async fn fetch(url: &Uri, most: usize) -> Result<String, FetchError> {
    let mut url = url.clone();
    for _ in 0..=MOVES {
        let response = get(&url).await?;
        if response.status().is_redirection() {
            url = moved(&url, &response).ok_or(FetchError::Lost)?;
            continue;
        }
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|_| FetchError::Body(most))?.to_bytes();
        return Ok(String::from_utf8_lossy(&body).into_owned());
    }
    Err(FetchError::Lost)
}

/// RFC 9110 §10.2.2. Whoever asked over TLS is not led out of it.
fn moved<B>(from: &Uri, response: &Response<B>) -> Option<Uri> {
    let location: Uri = response.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
    if location.scheme().is_none() {
        let path = location.path_and_query()?.clone();
        let here = Uri::builder().scheme(from.scheme()?.clone()).authority(from.authority()?.clone());
        return here.path_and_query(path).build().ok();
    }
    (location.scheme_str() == Some("https") || location.scheme() == from.scheme()).then_some(location)
}

async fn get(url: &Uri) -> Result<Response<hyper::body::Incoming>, FetchError> {
    let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(ACCEPT, "text/plain, */*;q=0.5")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Lost)?;
    Ok(http::ask(url, request).await?)
}
