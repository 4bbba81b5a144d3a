//! What a copy keeps of its source and what it takes from the request. A copy under another envelope replaces all metadata
//! towards the backend, so everything that is to stay is said again.

use http::{HeaderMap, HeaderName, HeaderValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Directive, Directives};
use crate::error::{Code, Error, Result};
use crate::plan::write;
use crate::s3::headers::{ENVELOPE, META_PREFIX, SYSTEM_METADATA};

const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
const TAGGING_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-tagging-directive");
const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const RETAIN_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
/// Says that there is user metadata which headers cannot show.
const MISSING_META: HeaderName = HeaderName::from_static("x-amz-missing-meta");

/// Headers of the backend request that makes the copy, but for its source, its envelope and its conditions. `source` are
/// those of the backend's answer about the source.
///
/// # Errors
/// InvalidRequest where metadata is to be copied that the backend does not show.
pub fn backend_headers(
    request: &HeaderMap,
    source: &HeaderMap,
    directives: &Directives,
) -> Result<HeaderMap> {
    let mut merged = request.clone();
    if directives.metadata == Directive::Copy {
        refuse_missing(source)?;
        let theirs: Vec<HeaderName> = merged.keys().filter(|name| is_metadata(name)).cloned().collect();
        for name in theirs {
            merged.remove(name);
        }
        extend(&mut merged, source, is_metadata);
    }
    if directives.tagging == Directive::Copy {
        merged.remove(TAGGING);
    }
    Ok(directed(write::backend_headers(&merged), directives.tagging))
}

/// The same for an object that is copied onto itself and keeps everything but its key: storage class, lock and redirect
/// too, which a copy otherwise loses. A retention that has lapsed by `now` binds nobody, and no storage takes it again.
///
/// # Errors
/// As [`backend_headers`].
pub fn own_headers(source: &HeaderMap, now: OffsetDateTime) -> Result<HeaderMap> {
    refuse_missing(source)?;
    let until = source.get(RETAIN_UNTIL).and_then(|until| until.to_str().ok());
    let until = until.and_then(|until| OffsetDateTime::parse(until, &Rfc3339).ok());
    let lapsed = until.is_some_and(|until| until <= now);
    let mut own = HeaderMap::new();
    extend(&mut own, source, |name| {
        let retention = [LOCK_MODE, RETAIN_UNTIL].contains(name);
        is_metadata(name) || is_property(name) && !(lapsed && retention)
    });
    Ok(directed(write::backend_headers(&own), Directive::Copy))
}

/// Whether a copy of an object onto itself would change anything. S3 refuses one that does not.
pub fn changes_itself(request: &HeaderMap, directives: &Directives) -> bool {
    directives.metadata == Directive::Replace
        || request.keys().any(|name| {
            let name = name.as_str();
            matches!(name, "x-amz-storage-class" | "x-amz-website-redirect-location")
                || name.starts_with("x-amz-server-side-encryption")
        })
}

/// S3's refusal of it.
pub fn changes_nothing() -> Error {
    Error::client(
        Code::InvalidRequest,
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
         metadata, storage class, website redirect location or encryption attributes.",
    )
}

fn directed(mut headers: HeaderMap, tagging: Directive) -> HeaderMap {
    headers.insert(METADATA_DIRECTIVE, HeaderValue::from_static("REPLACE"));
    let tagging = match tagging {
        Directive::Copy => "COPY",
        Directive::Replace => "REPLACE",
    };
    headers.insert(TAGGING_DIRECTIVE, HeaderValue::from_static(tagging));
    headers
}

fn extend(out: &mut HeaderMap, from: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    for (name, value) in from.iter().filter(|(name, _)| keep(name)) {
        out.append(name.clone(), value.clone());
    }
}

/// What the metadata directive speaks of.
fn is_metadata(name: &HeaderName) -> bool {
    SYSTEM_METADATA.contains(name) || (name.as_str().starts_with(META_PREFIX) && name.as_str() != ENVELOPE)
}

/// What an object has beside its metadata, as answers show it.
fn is_property(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "x-amz-storage-class" | "x-amz-website-redirect-location")
        || name.starts_with("x-amz-object-lock-")
}

fn refuse_missing(source: &HeaderMap) -> Result<()> {
    let none = |value: &HeaderValue| value.as_bytes().trim_ascii() == b"0";
    if source.get(MISSING_META).is_none_or(none) {
        return Ok(());
    }
    Err(Error::client(
        Code::InvalidRequest,
        "The source has user metadata that the storage cannot show in headers, so that a copy would lose it. Copy it with \
         x-amz-metadata-directive: REPLACE and the metadata that it is to have.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, value) in pairs {
            out.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        out
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut out: Vec<String> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        out.sort();
        out
    }

    fn source() -> HeaderMap {
        map(&[
            ("content-type", "a/source"),
            ("content-encoding", "aws-chunked,gzip"),
            ("expires", "never"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-a", "2"),
            ("x-amz-meta-s3cloak", "envelope"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-website-redirect-location", "/x"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-tagging-count", "1"),
            ("x-amz-version-id", "v"),
            ("etag", "\"e\""),
            ("last-modified", "yesterday"),
            ("server", "s"),
        ])
    }

    fn request() -> HeaderMap {
        map(&[
            ("content-type", "b/request"),
            ("cache-control", "no-cache"),
            ("x-amz-meta-b", "3"),
            ("x-amz-tagging", "t=1"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-acl", "private"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-copy-source", "bkt/k"),
            ("x-amz-copy-source-if-match", "secret-md5"),
            ("if-match", "secret-md5"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("authorization", "secret"),
        ])
    }

    const ALWAYS: [&str; 4] = [
        "x-amz-acl: private",
        "x-amz-metadata-directive: REPLACE",
        "x-amz-object-lock-legal-hold: ON",
        "x-amz-storage-class: STANDARD",
    ];

    fn expected(more: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = ALWAYS.iter().chain(more).map(|text| (*text).to_owned()).collect();
        all.sort();
        all
    }

    #[test]
    fn metadata_and_tags_come_from_where_the_directives_say() {
        use Directive::{Copy, Replace};
        let both = |metadata, tagging| {
            shown(&backend_headers(&request(), &source(), &Directives { metadata, tagging }).unwrap())
        };
        let of_source = [
            "content-encoding: gzip",
            "content-type: a/source",
            "expires: never",
            "x-amz-meta-a: 1",
            "x-amz-meta-a: 2",
        ];
        let of_request = ["cache-control: no-cache", "content-type: b/request", "x-amz-meta-b: 3"];
        let copied = ["x-amz-tagging-directive: COPY"];
        let replaced = ["x-amz-tagging-directive: REPLACE", "x-amz-tagging: t=1"];
        assert_eq!(both(Copy, Copy), expected(&[&of_source[..], &copied].concat()));
        assert_eq!(both(Copy, Replace), expected(&[&of_source[..], &replaced].concat()));
        assert_eq!(both(Replace, Copy), expected(&[&of_request[..], &copied].concat()));
        assert_eq!(both(Replace, Replace), expected(&[&of_request[..], &replaced].concat()));
        let bare = backend_headers(&HeaderMap::new(), &HeaderMap::new(), &Directives::default()).unwrap();
        assert_eq!(bare["content-type"], "binary/octet-stream");
    }

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-02 03:04:05 UTC);

    #[test]
    fn a_retention_is_kept_until_it_has_lapsed() {
        let locked = |until: &'static str| {
            let source = map(&[
                ("x-amz-object-lock-mode", "COMPLIANCE"),
                ("x-amz-object-lock-retain-until-date", until),
                ("x-amz-object-lock-legal-hold", "ON"),
            ]);
            let own = own_headers(&source, NOW).unwrap();
            assert_eq!(own["x-amz-object-lock-legal-hold"], "ON");
            assert_eq!(own.contains_key(LOCK_MODE), own.contains_key(RETAIN_UNTIL));
            own.contains_key(LOCK_MODE)
        };
        assert!(locked("2026-01-02T03:04:06Z") && locked("2027-01-01T00:00:00.000Z"));
        assert!(!locked("2026-01-02T03:04:05Z") && !locked("2025-12-31T23:59:59.5Z"));
        // What cannot be read is for the storage to judge.
        assert!(locked("some day"));
    }

    #[test]
    fn onto_itself_an_object_keeps_what_it_has() {
        let mut want: Vec<String> = [
            "content-encoding: gzip",
            "content-type: a/source",
            "expires: never",
            "x-amz-meta-a: 1",
            "x-amz-meta-a: 2",
            "x-amz-metadata-directive: REPLACE",
            "x-amz-object-lock-mode: GOVERNANCE",
            "x-amz-storage-class: STANDARD_IA",
            "x-amz-tagging-directive: COPY",
            "x-amz-website-redirect-location: /x",
        ]
        .map(str::to_owned)
        .into();
        want.sort();
        assert_eq!(shown(&own_headers(&source(), NOW).unwrap()), want);
    }

    #[test]
    fn metadata_that_cannot_be_said_again_is_not_lost() {
        for (count, fine) in [("0", true), ("1", false), ("many", false)] {
            let mut source = source();
            source.insert(MISSING_META, HeaderValue::from_static(count));
            assert_eq!(own_headers(&source, NOW).is_ok(), fine);
            let copy = backend_headers(&request(), &source, &Directives::default());
            assert_eq!(copy.is_ok(), fine);
            let replace = Directives { metadata: Directive::Replace, ..Directives::default() };
            assert!(backend_headers(&request(), &source, &replace).is_ok());
        }
    }

    #[test]
    fn a_self_copy_has_to_change_something() {
        let copy = Directives::default();
        let tags = Directives { tagging: Directive::Replace, ..copy };
        assert!(!changes_itself(&HeaderMap::new(), &copy));
        for nothing in
            ["x-amz-tagging", "x-amz-meta-a", "content-type", "x-amz-acl", "x-amz-checksum-algorithm"]
        {
            assert!(!changes_itself(&map(&[(nothing, "x")]), &tags), "{nothing}");
        }
        let metadata = Directives { metadata: Directive::Replace, ..copy };
        assert!(changes_itself(&HeaderMap::new(), &metadata));
        for something in [
            "x-amz-storage-class",
            "x-amz-website-redirect-location",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-customer-key",
            "x-amz-server-side-encryption-bucket-key-enabled",
        ] {
            assert!(changes_itself(&map(&[(something, "x")]), &copy), "{something}");
        }
        assert_eq!(changes_nothing().code(), &Code::InvalidRequest);
    }
}
