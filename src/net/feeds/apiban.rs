//! APIBAN (apiban.org): addresses that its honeypots were attacked from, the oldest first, in pages that each say where the
//! next one begins. So only what is new is asked for, but for the first time.

use std::collections::BTreeMap;
use std::fmt::Write;

use hyper::{StatusCode, Uri};
use ipnetwork::IpNetwork;
use serde_json::Value;

use super::FetchError;
use super::page::{self, Page};
use crate::config::secret::Secret;
use crate::net::settings::Website;

/// How long an address stays after it was told last; so says APIBAN.
const ACTIVE: u64 = 7 * 86_400;
/// Of what is known. Full: what has come is left out.
const CAPACITY: usize = 100_000;
/// Asked for in one go. Whoever asks more often than eleven times in two minutes is told to wait (429).
const PAGES: usize = 500;
/// 250 addresses fit several times.
const PAGE_BYTES: usize = 64 << 10;

/// The list as far as it is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Where the next page begins; none: at the beginning.
    next: Option<String>,
    /// When each was told last, in seconds since 1970.
    told: BTreeMap<IpNetwork, u64>,
}

/// What stands before the place of the next page in the copy.
const NEXT: &str = "# APIBAN ID ";

impl Known {
    /// From the list's copy.
    pub fn read(copy: &str) -> Known {
        let entry = |line: &str| {
            let (network, told) = line.split_once(" # ")?;
            Some((network.parse().ok()?, told.parse().ok()?))
        };
        Known {
            next: copy
                .lines()
                .find_map(|line| line.strip_prefix(NEXT))
                .filter(|id| is_id(id))
                .map(str::to_owned),
            told: copy.lines().filter_map(entry).collect(),
        }
    }

    /// As a list of one entry on each line.
    pub fn text(&mut self, now: u64) -> String {
        self.told.retain(|_, told| now < told.saturating_add(ACTIVE));
        let mut text = String::new();
        if let Some(next) = &self.next {
            let _ = writeln!(text, "{NEXT}{next}");
        }
        for (network, told) in &self.told {
            let _ = writeln!(text, "{network} # {told}");
        }
        text
    }

    /// Asks for what is new. True: something was.
    ///
    /// # Errors
    /// Why that is not all. What came before stays.
    pub async fn fetch(&mut self, at: &Website, key: &Secret, now: u64) -> (bool, Result<(), FetchError>) {
        for page in 0..PAGES {
            match self.fetch_page(at, key, now).await {
                Ok(true) => {}
                Ok(false) => return (page > 0, Ok(())),
                Err(error) => return (page > 0, Err(error)),
            }
        }
        (true, Err(FetchError::TooOften))
    }

    /// True: there may be more.
    async fn fetch_page(&mut self, at: &Website, key: &Secret, now: u64) -> Result<bool, FetchError> {
        let url = page_of(&at.url, key, self.next.as_deref()).ok_or(FetchError::NoKey)?;
        let page = page::get(&Website { url, ..at.clone() }, None, PAGE_BYTES).await?;
        let Some((networks, next)) = read(&page)? else { return Ok(false) };
        for network in networks {
            if self.told.len() < CAPACITY || self.told.contains_key(&network) {
                self.told.insert(network, now);
            }
        }
        let goes_on = self.next.as_deref() != Some(&next);
        self.next = Some(next);
        Ok(goes_on)
    }
}

/// A page's addresses, and where the next page begins; none: nothing is new.
fn read(page: &Page) -> Result<Option<(Vec<IpNetwork>, String)>, FetchError> {
    let body: Value = serde_json::from_str(&page.text).unwrap_or_default();
    let id = body.get("ID").and_then(Value::as_str);
    match (page.status, id) {
        (StatusCode::TOO_MANY_REQUESTS, _) => Err(FetchError::TooOften),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) | (_, Some("unauthorized")) => {
            Err(FetchError::NoKey)
        }
        // Said with 400 or 200.
        (_, Some("none")) => Ok(None),
        (status, Some(id)) if status.is_success() && is_id(id) => {
            let texts = body.get("ipaddress").and_then(Value::as_array).into_iter().flatten();
            let networks = texts.filter_map(|text| text.as_str()?.parse().ok()).collect();
            Ok(Some((networks, id.to_owned())))
        }
        (status, _) if status.is_success() => Err(FetchError::NoApiban),
        (status, _) => Err(FetchError::Status(status)),
    }
}

/// It becomes part of a URL.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `…/KEY/banned` or `…/KEY/banned/ID`.
fn page_of(api: &Uri, key: &Secret, next: Option<&str>) -> Option<Uri> {
    let path = api.path().trim_end_matches('/');
    let path = format!(
        "{path}/{}/banned{}{}",
        key.reveal(),
        if next.is_some() { "/" } else { "" },
        next.unwrap_or("")
    );
    let here = Uri::builder().scheme(api.scheme()?.clone()).authority(api.authority()?.clone());
    here.path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(status: u16, text: &str) -> Page {
        Page { status: StatusCode::from_u16(status).unwrap(), text: text.into(), version: None }
    }

    #[test]
    fn answers_are_read_as_apiban_gives_them() {
        let (networks, next) =
            read(&page(200, r#"{"ipaddress":["192.0.2.1","2001:db8::1","?"],"ID":"987654321"}"#))
                .unwrap()
                .unwrap();
        assert_eq!((networks.len(), next.as_str()), (2, "987654321"));
        for (status, nothing) in [
            (200, r#"{"ipaddress":["no new bans"],"ID":"none"}"#),
            (400, r#"{"ipaddress":"no new bans","ID":"none"}"#),
        ] {
            assert_eq!(read(&page(status, nothing)).unwrap(), None);
        }
        let error = |status, text| read(&page(status, text)).unwrap_err();
        let limit = r#"{"ipaddress":"rate limit exceeded","ID":"unauthorized"}"#;
        assert!(matches!(error(429, limit), FetchError::TooOften));
        assert!(matches!(error(403, r#"{"ipaddress":"none","ID":"unauthorized"}"#), FetchError::NoKey));
        for no_apiban in ["<html>", "[]", r#"{"ID":7}"#, r#"{"ID":"../../secret"}"#, r#"{"ID":""}"#] {
            assert!(matches!(error(200, no_apiban), FetchError::NoApiban), "{no_apiban}");
        }
        assert!(matches!(error(500, ""), FetchError::Status(_)));
    }

    #[test]
    fn the_copy_holds_all_that_is_known_and_addresses_are_forgotten_after_a_week() {
        let network = |text: &str| text.parse::<IpNetwork>().unwrap();
        let told = BTreeMap::from([(network("192.0.2.1"), 1_000), (network("2001:db8::/64"), 2_000)]);
        let mut known = Known { next: Some("77".into()), told };
        let copy = known.text(2_000);
        assert_eq!(copy, "# APIBAN ID 77\n192.0.2.1/32 # 1000\n2001:db8::/64 # 2000\n");
        assert_eq!(Known::read(&copy), known);
        assert_eq!(known.text(1_000 + ACTIVE), "# APIBAN ID 77\n2001:db8::/64 # 2000\n");
        assert_eq!(Known::read("no copy"), Known::default());
    }

    #[test]
    fn the_key_stands_in_the_path() {
        let api = "https://apiban.org/api/".parse().unwrap();
        let page = |next| page_of(&api, &Secret::new("k3y".into()), next).unwrap().to_string();
        assert_eq!(page(None), "https://apiban.org/api/k3y/banned");
        assert_eq!(page(Some("77")), "https://apiban.org/api/k3y/banned/77");
    }
}
