//! Listings of the system area, a page at a time: names, and when the storage says that each was written.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{MAX_ANSWER, SystemArea, unusable};
use crate::backend::failure::{Names, error_from};
use crate::backend::{Caller, Outgoing};
use crate::error::Result;
use crate::s3::xml::{Broken, Tokens};

/// One object of the area.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// Its name as given to [`SystemArea::put`].
    pub name: String,
    /// When it was written, by the storage's clock; `None` where the storage does not tell.
    pub modified: Option<OffsetDateTime>,
}

/// A page of objects in the area.
#[derive(Debug)]
pub struct Page {
    /// In the backend's order, which need not be that of their names.
    pub entries: Vec<Named>,
    /// The storage's clock when it answered; it tells whole seconds.
    pub date: Option<OffsetDateTime>,
}

/// The pages of one listing, in turn.
pub struct Pages {
    area: SystemArea,
    below: String,
    next: Option<String>,
    ended: bool,
    /// Where pages began: a storage that names one twice would be listed forever.
    seen: HashSet<String>,
}

impl SystemArea {
    /// The objects whose names begin so.
    pub fn pages(&self, below: &str) -> Pages {
        Pages { area: self.clone(), below: below.to_owned(), next: None, ended: false, seen: HashSet::new() }
    }
}

impl Pages {
    /// The next page; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Page>> {
        if self.ended {
            return Ok(None);
        }
        let backend = &self.area.backend;
        let system = &backend.config().system;
        let prefix = format!("{}{}", system.prefix, self.below);
        let mut out = Outgoing::bucket(Method::GET, &system.bucket).param("list-type", "2");
        out = out.param("prefix", prefix.as_str());
        if let Some(token) = &self.next {
            out = out.param("continuation-token", token.as_str());
        }
        let response = backend.call(&Caller::Own, out, Bytes::new()).await?;
        if !response.is_success() {
            return Err(error_from(response, &Names::default()).await);
        }
        let date = date(&response.headers);
        let mut listed = parse(&response.body.collect(MAX_ANSWER).await?).map_err(Broken::by_backend)?;
        // What was not asked for is nothing that this listing speaks of, whatever its caller does with names.
        listed.entries.retain(|entry| entry.name.starts_with(&prefix));
        for entry in &mut listed.entries {
            entry.name.drain(..system.prefix.len());
        }
        self.ended = !listed.truncated;
        if listed.truncated {
            let token = listed
                .next
                .filter(|token| !token.is_empty())
                .ok_or_else(|| unusable("a truncated listing came without a continuation token"))?;
            if !self.seen.insert(token.clone()) {
                return Err(unusable("a listing goes in circles"));
            }
            self.next = Some(token);
        }
        Ok(Some(Page { entries: listed.entries, date }))
    }
}

#[derive(Default)]
struct Listed {
    entries: Vec<Named>,
    truncated: bool,
    next: Option<String>,
}

fn parse(document: &[u8]) -> Result<Listed, Broken> {
    let mut tokens = Tokens::new(document);
    let mut listed = Listed::default();
    tokens.root("ListBucketResult")?;
    while let Some(element) = tokens.child()? {
        match element {
            b"Contents" => {
                let (mut name, mut modified) = (None, None);
                while let Some(element) = tokens.child()? {
                    match element {
                        // What is not UTF-8 is no name of ours, and has to spoil no page.
                        b"Key" => name = Some(String::from_utf8_lossy(&tokens.bytes()?).into_owned()),
                        b"LastModified" => {
                            modified = OffsetDateTime::parse(tokens.text()?.trim(), &Rfc3339).ok();
                        }
                        _ => tokens.skip()?,
                    }
                }
                let name = name.ok_or_else(|| Broken::new("an entry without a Key"))?;
                listed.entries.push(Named { name, modified });
            }
            b"IsTruncated" => listed.truncated = tokens.text()?.trim() == "true",
            b"NextContinuationToken" => listed.next = Some(tokens.text()?),
            _ => tokens.skip()?,
        }
    }
    Ok(listed)
}

fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(OffsetDateTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_with_their_times() {
        let document =
            b"<ListBucketResult><Contents><LastModified>2026-01-02T03:04:05.678Z</LastModified><Key>a</Key>\
            <Size>1</Size></Contents><Contents><Key>b</Key><LastModified>yesterday</LastModified></Contents>\
            <Contents><Key>c</Key><Owner><ID>x</ID></Owner></Contents><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let listed = parse(document).unwrap();
        let names: Vec<_> = listed.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!((names, listed.truncated, listed.next.as_deref()), (vec!["a", "b", "c"], true, Some("t")));
        let times: Vec<_> =
            listed.entries.iter().map(|entry| entry.modified.map(|t| t.unix_timestamp())).collect();
        assert_eq!(times, [Some(1_767_323_045), None, None]);
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        for bad in [
            &b""[..],
            b"<html/>",
            b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
            b"<ListBucketResult><Contents><Key>a</Key>",
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
