//! A page of somebody's web server, wherever it has moved to.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use hyper::{Request, Response, StatusCode, Uri};
use tokio::time::timeout;

use crate::net::http::{self, HttpError};
use crate::net::settings::Website;

/// A page that moves further is going round in circles.
const MOVES: usize = 5;

/// Why there is no page.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("it did not come within {} s", .0.as_secs_f32())]
    TooSlow(Duration),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the answer moved it on to nowhere, or in circles")]
    Lost,
    #[error("it came compressed, which was not asked for")]
    Encoded,
    #[error("it broke off, or is larger than {} MiB", .0 >> 20)]
    Body(usize),
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Page {
    /// Whatever it is, but no redirection; 304 only to who has named a version.
    pub status: StatusCode,
    /// The body.
    pub text: String,
    /// To ask with next time.
    pub version: Option<Version>,
}

/// What tells a page from what it was before (RFC 9110 §8.8), and which page.
#[derive(Clone, Debug)]
pub(super) struct Version {
    url: Uri,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

/// The page at `at`, of at most so many bytes; 304 if it is still the one that is `known`.
pub(super) async fn get(at: &Website, known: Option<&Version>, most: usize) -> Result<Page, PageError> {
    timeout(at.patience, follow(at, known, most)).await.map_err(|_| PageError::TooSlow(at.patience))?
}

async fn follow(at: &Website, known: Option<&Version>, most: usize) -> Result<Page, PageError> {
    let mut at = at.clone();
    for _ in 0..=MOVES {
        let response = ask(&at, known).await?;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            at.url = moved(&at.url, &response).ok_or(PageError::Lost)?;
            continue;
        }
        if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(PageError::Encoded);
        }
        let version = Version::of(&at.url, &response);
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|_| PageError::Body(most))?.to_bytes();
        return Ok(Page { status, text: String::from_utf8_lossy(&body).into_owned(), version });
    }
    Err(PageError::Lost)
}

async fn ask(at: &Website, known: Option<&Version>) -> Result<Response<hyper::body::Incoming>, PageError> {
    let mut request = Request::get(at.url.path_and_query().map_or("/", |path| path.as_str()))
        .header(ACCEPT, "text/plain, */*;q=0.5")
        // RFC 9110 §12.5.3: who says nothing takes any coding.
        .header(ACCEPT_ENCODING, "identity");
    for (name, value) in known.filter(|known| known.url == at.url).into_iter().flat_map(Version::condition) {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| PageError::Lost)?;
    Ok(http::ask(at, request).await?)
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

impl Version {
    fn of<B>(url: &Uri, response: &Response<B>) -> Option<Version> {
        let field = |name| response.headers().get(name).cloned();
        let version = Version { url: url.clone(), etag: field(ETAG), modified: field(LAST_MODIFIED) };
        (version.etag.is_some() || version.modified.is_some()).then_some(version)
    }

    /// RFC 9110 §13.1.3: the date counts for nothing where there is a tag.
    fn condition(&self) -> Option<(HeaderName, &HeaderValue)> {
        let tag = self.etag.as_ref().map(|tag| (IF_NONE_MATCH, tag));
        tag.or_else(|| self.modified.as_ref().map(|date| (IF_MODIFIED_SINCE, date)))
    }
}
