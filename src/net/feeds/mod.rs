//! Lists that somebody publishes (`lists: { bad: { url: … } }`), fetched over HTTP beside everything else, on a thread of
//! their own. Each has a copy in `data_dir`, so that a start neither waits for anybody nor forgets anything.

mod apiban;
mod page;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use siphasher::sip::SipHasher13;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::data_dir;
use super::settings::{FeedSource, Format};
use crate::config::secret::Secret;
use crate::policy::feed::{Feed, FeedId, Kind, NoList, Read};
use apiban::Known;
use page::{PageError, Version};

/// When to ask again where it failed, unless the list is fetched more often anyway.
const RETRY: Duration = Duration::from_secs(300);
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
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("it is no list: {0} lines are neither networks nor numbers")]
    NoList(usize),
    #[error("APIBAN does not take the key: look at `key:` of this list")]
    NoKey,
    #[error(
        "APIBAN wants to be asked less often: write a longer `refresh:`, or give each machine a key of its own"
    )]
    TooOften,
    #[error("this is not what APIBAN answers: `url:` is what stands before the key, https://apiban.org/api")]
    NoApiban,
}

/// What each feed held when it was last fetched, by its copy in `data_dir`; nothing, where there is none.
fn from_copies(sources: &[FeedSource], data_dir: &Path) -> Vec<Feed> {
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
    let hash = SipHasher13::new().hash(format!("{} {}", source.name, source.at.url).as_bytes());
    data_dir.join("lists").join(format!("{word}-{hash:016x}.txt"))
}

/// Lists as they are fetched.
pub(super) type Fetched = mpsc::Receiver<(FeedId, Feed)>;

/// The lists as they were when last fetched; and fetches them for as long as somebody takes them.
pub(super) fn start(sources: Vec<FeedSource>, data_dir: &Path) -> io::Result<(Vec<Feed>, Fetched)> {
    let known = from_copies(&sources, data_dir);
    let (lists, fetched) = mpsc::channel(1);
    if sources.is_empty() {
        return Ok((known, fetched));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data_dir = data_dir.to_owned();
    std::thread::Builder::new().name("lists".into()).spawn(move || {
        runtime.block_on(async {
            let mut kept = JoinSet::new();
            for (index, source) in sources.into_iter().enumerate() {
                let file = copy(&source, &data_dir);
                kept.spawn(keep(FeedId(index), source, file, lists.clone()));
            }
            lists.closed().await;
        });
        // A name look-up that hangs must not hold us up.
        runtime.shutdown_background();
    })?;
    Ok((known, fetched))
}

/// Keeps one list fresh.
async fn keep(id: FeedId, source: FeedSource, file: PathBuf, lists: mpsc::Sender<(FeedId, Feed)>) {
    let mut publisher = Publisher::new(&source, &file);
    let mut wait = age(&file).map_or(Duration::ZERO, |age| source.refresh.saturating_sub(age));
    let host = source.at.url.host().unwrap_or_default();
    loop {
        sleep(wait).await;
        let (news, outcome) = publisher.fetch(&source).await;
        if let Some((text, Read { feed, entries, wrong })) = news {
            tracing::info!(list = %source.name, host, entries, wrong, "list fetched");
            if let Err(error) = keep_copy(&file, &text) {
                tracing::warn!(list = %source.name, file = %file.display(), %error, "the list's copy cannot be written");
            }
            if lists.send((id, feed)).await.is_err() {
                return;
            }
        }
        wait = source.refresh;
        match outcome {
            Ok(()) => confirm_copy(&file),
            Err(error) => {
                wait = source.refresh.min(RETRY);
                let age_h = age(&file).map(|age| age.as_secs() / 3600);
                tracing::warn!(list = %source.name, host, %error, age_h, "the list was not fetched: the last copy stays in force");
            }
        }
    }
}

/// What we remember of who publishes a list.
enum Publisher {
    /// Of a page.
    Page(Option<Version>),
    /// Of APIBAN.
    Apiban(Known, Secret),
}

/// A list's text as its copy holds it, and what stands in it.
type News = (String, Read);

impl Publisher {
    fn new(source: &FeedSource, copy: &Path) -> Publisher {
        match &source.format {
            Format::Plain => Publisher::Page(None),
            Format::Apiban(key) => {
                let copy = std::fs::read_to_string(copy).unwrap_or_default();
                Publisher::Apiban(Known::read(&copy), key.clone())
            }
        }
    }

    /// What is new, if anything is; and why that is not all.
    async fn fetch(&mut self, source: &FeedSource) -> (Option<News>, Result<(), FetchError>) {
        match self {
            Publisher::Page(version) => match fetch_page(source, version).await {
                Ok(news) => (news, Ok(())),
                Err(error) => (None, Err(error)),
            },
            Publisher::Apiban(known, key) => {
                let now =
                    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let (is_new, outcome) = known.fetch(&source.at, key, now).await;
                // Without news addresses may still be forgotten by now.
                let news = (is_new || outcome.is_ok()).then(|| {
                    let text = known.text(now);
                    Feed::read(source.kind, &text).ok().map(|read| (text, read))
                });
                (news.flatten(), outcome)
            }
        }
    }
}

/// None: the page is still the one of this version.
async fn fetch_page(source: &FeedSource, version: &mut Option<Version>) -> Result<Option<News>, FetchError> {
    let page = page::get(&source.at, version.as_ref(), most_bytes(source.kind)).await?;
    if page.status == StatusCode::NOT_MODIFIED && version.is_some() {
        return Ok(None);
    }
    if !page.status.is_success() {
        return Err(FetchError::Status(page.status));
    }
    let read = Feed::read(source.kind, &page.text).map_err(|NoList { wrong }| FetchError::NoList(wrong))?;
    *version = page.version;
    Ok(Some((page.text, read)))
}

/// How old the copy is; none: there is none.
fn age(file: &Path) -> Option<Duration> {
    let written = std::fs::metadata(file).and_then(|file| file.modified()).ok()?;
    // A clock that was put back makes it new.
    Some(SystemTime::now().duration_since(written).unwrap_or_default())
}

/// It is as new as if it had been fetched just now: the publisher has said that nothing has changed.
fn confirm_copy(file: &Path) {
    let confirmed =
        File::options().write(true).open(file).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = confirmed {
        tracing::debug!(file = %file.display(), %error, "the list's copy keeps its old time");
    }
}

fn keep_copy(file: &Path, text: &str) -> io::Result<()> {
    data_dir::make(file.parent().unwrap_or(Path::new("")))?;
    data_dir::write_private(file, text.as_bytes())
}
