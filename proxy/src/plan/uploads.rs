//! A page of ListMultipartUploads, made of uploads that come in any order, as S3 makes it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>).

use std::collections::BTreeMap;

use crate::error::{Code, Error, Result};
use crate::s3::query::{Query, number};
use crate::s3::xml::{BackendUpload, UploadMarker};

/// Most entries of a page.
pub const MOST: u16 = 1000;

/// What a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// What keys have to begin with.
    pub prefix: Vec<u8>,
    /// What keys are grouped by; empty: nothing.
    pub delimiter: Vec<u8>,
    /// Behind what the page begins.
    pub marker: UploadMarker,
    /// Most entries.
    pub max_uploads: u16,
    /// `encoding-type=url`.
    pub url: bool,
}

impl Asked {
    /// Out of the query.
    ///
    /// # Errors
    /// InvalidArgument for a number that is none, and for another encoding than `url`.
    pub fn of(query: &Query) -> Result<Self> {
        let bytes = |name| query.get(name).unwrap_or_default().to_vec();
        let url = match query.get("encoding-type") {
            None => false,
            Some(b"url") => true,
            Some(other) => {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(invalid("encoding-type", "Invalid Encoding Method specified in Request", other));
            }
        };
        let key = bytes("key-marker");
        // On its own it says nothing.
        let id = query.get_str("upload-id-marker").filter(|_| !key.is_empty()).unwrap_or_default().to_owned();
        Ok(Self {
            prefix: bytes("prefix"),
            delimiter: bytes("delimiter"),
            marker: UploadMarker { key, id },
            max_uploads: page_number(query, "max-uploads")?.unwrap_or(MOST).min(MOST),
            url,
        })
    }
}

/// A number of a query about pages; one that is larger than any page means the same as the largest.
///
/// # Errors
/// InvalidArgument.
pub fn page_number(query: &Query, name: &'static str) -> Result<Option<u16>> {
    let Some(text) = query.get_str(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let value: u32 = number(text).ok_or_else(|| {
        invalid(name, format!("Provided {name} not an integer or within integer range"), text.to_owned())
    })?;
    Ok(Some(u16::try_from(value).unwrap_or(u16::MAX)))
}

/// The first entries behind the marker of all uploads that were seen. Holds no more than a page.
#[derive(Debug)]
pub struct Selection {
    asked: Asked,
    /// By key and id. A common prefix has no id and no upload; no upload's key is also a common prefix.
    entries: BTreeMap<(Vec<u8>, String), Option<BackendUpload>>,
}

/// What a page holds.
#[derive(Debug, Default)]
pub struct Selected {
    /// In order of their keys and ids.
    pub uploads: Vec<BackendUpload>,
    /// In order.
    pub common_prefixes: Vec<Vec<u8>>,
    /// Behind what the next page begins, if there is more.
    pub next: Option<UploadMarker>,
}

impl Selection {
    /// Of nothing yet.
    pub fn of(asked: Asked) -> Self {
        Self { asked, entries: BTreeMap::new() }
    }

    /// One more upload.
    pub fn add(&mut self, upload: BackendUpload) {
        let Asked { prefix, delimiter, marker, max_uploads, .. } = &self.asked;
        let Some(rest) = upload.key.strip_prefix(&prefix[..]) else { return };
        let listed = match upload.key.cmp(&marker.key) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => marker.id.is_empty() || upload.id <= marker.id,
            std::cmp::Ordering::Greater => false,
        };
        if listed && !marker.key.is_empty() {
            return;
        }
        let group = find(rest, delimiter).map(|at| prefix.len() + at + delimiter.len());
        let (place, entry) = match group.map(|end| &upload.key[..end]) {
            // A page that ended with a group goes on behind all of it.
            Some(group) if group == marker.key => return,
            Some(group) => ((group.to_vec(), String::new()), None),
            None => ((upload.key.clone(), upload.id.clone()), Some(upload)),
        };
        self.entries.insert(place, entry);
        // One more than a page tells whether there is another.
        if self.entries.len() > usize::from(*max_uploads) + 1 {
            self.entries.pop_last();
        }
    }

    /// The page, once all uploads were seen.
    pub fn page(mut self) -> Selected {
        let most = usize::from(self.asked.max_uploads);
        let more = self.entries.len() > most;
        if more {
            self.entries.pop_last();
        }
        // A page of nothing leads nowhere: its marker would be the one that was asked with.
        let last = self.entries.last_key_value().filter(|_| more);
        let next = last.map(|((key, id), _)| UploadMarker { key: key.clone(), id: id.clone() });
        let mut page = Selected { next, ..Selected::default() };
        for ((name, _), upload) in self.entries {
            match upload {
                Some(upload) => page.uploads.push(upload),
                None => page.common_prefixes.push(name),
            }
        }
        page
    }
}

/// Where `needle` begins; `None` also where it is empty.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() { None } else { text.windows(needle.len()).position(|window| window == needle) }
}

fn invalid(name: &'static str, message: impl Into<std::borrow::Cow<'static, str>>, value: String) -> Error {
    Error::client(Code::InvalidArgument, message).field("ArgumentName", name).field("ArgumentValue", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::{AboutUpload, Initiated};

    const ALL: [(&str, &str); 7] =
        [("d", "7"), ("b/2", "5"), ("b/1", "4"), ("a", "1"), ("b/1", "3"), ("c/x", "6"), ("aa", "2")];

    fn upload(key: &str, id: &str) -> BackendUpload {
        let (initiated, about) = (Initiated::default(), AboutUpload::default());
        BackendUpload { key: key.as_bytes().to_vec(), id: id.to_owned(), initiated, about }
    }

    fn asked(query: &str) -> Asked {
        Asked::of(&Query::parse(query)).unwrap()
    }

    /// Ids and prefixes of a page in order, and its marker.
    fn page(asked: Asked) -> (Vec<String>, Option<UploadMarker>) {
        let mut selection = Selection::of(asked);
        for (key, id) in ALL {
            selection.add(upload(key, id));
            assert!(selection.entries.len() <= usize::from(selection.asked.max_uploads) + 1);
        }
        let page = selection.page();
        let ids = page.uploads.into_iter().map(|upload| upload.id);
        let prefixes = page.common_prefixes.into_iter().map(|prefix| String::from_utf8(prefix).unwrap());
        (ids.chain(prefixes).collect(), page.next)
    }

    #[test]
    fn a_page_holds_what_was_asked_for_in_order() {
        for (query, expected) in [
            ("", &["1", "2", "3", "4", "5", "6", "7"][..]),
            ("prefix=b/", &["3", "4", "5"]),
            ("prefix=a", &["1", "2"]),
            ("prefix=none", &[]),
            ("delimiter=/", &["1", "2", "7", "b/", "c/"]),
            ("delimiter=/&prefix=b/", &["3", "4", "5"]),
            ("delimiter=/&prefix=b", &["b/"]),
            ("delimiter=", &["1", "2", "3", "4", "5", "6", "7"]),
            ("key-marker=b/1", &["5", "6", "7"]),
            ("key-marker=b/1&upload-id-marker=3", &["4", "5", "6", "7"]),
            ("key-marker=b/1&upload-id-marker=9", &["5", "6", "7"]),
            // An id without a key says nothing.
            ("upload-id-marker=3", &["1", "2", "3", "4", "5", "6", "7"]),
            ("delimiter=/&key-marker=b/", &["7", "c/"]),
            // Some of the group is behind it still.
            ("delimiter=/&key-marker=b/1", &["7", "b/", "c/"]),
            ("max-uploads=0", &[]),
            ("max-uploads=99999", &["1", "2", "3", "4", "5", "6", "7"]),
        ] {
            assert_eq!(
                page(asked(query)),
                (expected.iter().map(ToString::to_string).collect(), None),
                "{query}"
            );
        }
    }

    #[test]
    fn pages_of_any_size_hold_everything_once() {
        for (query, whole) in [("", 7), ("delimiter=/", 5), ("prefix=b/", 3)] {
            let all = page(asked(query)).0;
            assert_eq!(all.len(), whole);
            for size in 1..=7 {
                let (mut seen, mut marker) = (Vec::new(), UploadMarker::default());
                loop {
                    let asked = Asked { max_uploads: size, marker: marker.clone(), ..asked(query) };
                    let (entries, next) = page(asked);
                    assert!(entries.len() == usize::from(size) || next.is_none(), "{query} {size}");
                    seen.extend(entries);
                    match next {
                        Some(next) => marker = next,
                        None => break,
                    }
                }
                let mut expected = all.clone();
                expected.sort();
                seen.sort();
                assert_eq!(seen, expected, "{query} by {size}");
            }
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in
            ["max-uploads=many", "max-uploads=-1", "max-uploads=%2B1", "encoding-type=xml", "encoding-type="]
        {
            let error = Asked::of(&Query::parse(bad)).unwrap_err();
            assert_eq!(error.code(), &Code::InvalidArgument, "{bad}");
        }
        assert!(asked("encoding-type=url").url && !asked("").url);
    }
}
