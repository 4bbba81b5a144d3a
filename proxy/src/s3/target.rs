//! Request target and `Host` -> bucket, key and query: path style and virtual-host style, every byte kept.
//! What the request then means is decided in `operation/`.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::HOST;
use percent_encoding::percent_decode;

use super::name::{BucketName, ObjectKey};
use super::query::Query;
use crate::error::{Code, Error, Result};

/// A request target taken apart.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) bucket: Option<BucketName>,
    pub(super) key: Option<ObjectKey>,
    pub(super) query: Query,
    /// The path as the client spelled it, with its leading slash.
    pub(super) raw_path: String,
    /// Whether the bucket stands in the path.
    pub(super) path_style: bool,
}

impl Target {
    /// Takes the target of the request line (origin form, absolute form or `*`).
    pub(super) fn parse(raw: &str, headers: &HeaderMap, domains: &[String]) -> Result<Self> {
        let (authority, origin) = split_absolute(raw);
        let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
        let host = host(headers)?;
        // A signature covers Host and not the request line's authority, which must not name another bucket.
        if authority
            .is_some_and(|authority| !host.as_deref().unwrap_or_default().eq_ignore_ascii_case(authority))
        {
            return Err(Error::client(
                Code::BadRequest,
                "The request target names another host than the Host header.",
            ));
        }
        let hosted = host.as_deref().and_then(|host| bucket_of_host(host, domains));
        let rest = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = match &hosted {
            Some(bucket) => (Some(bucket.as_bytes().to_vec()), rest),
            None if rest.is_empty() || path == "*" => (None, ""),
            None => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(decode(bucket)), key)
            }
        };
        if bucket.as_ref().is_some_and(|name| name.starts_with(b"arn:")) {
            return Err(Error::client(
                Code::NotImplemented,
                "Access points and their ARNs are not supported. Name the bucket itself.",
            ));
        }
        Ok(Self {
            bucket: bucket.map(|name| BucketName::parse(&name)).transpose()?,
            key: if key.is_empty() { None } else { Some(ObjectKey::parse(decode(key))?) },
            query: Query::parse(query),
            raw_path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            path_style: hosted.is_none(),
        })
    }
}

/// A target as it stood on the wire, as text: bytes beyond ASCII percent-encoded, which is how they will be read.
pub fn target_text(raw: &[u8]) -> String {
    Cow::from(percent_encoding::percent_encode(raw, percent_encoding::CONTROLS)).into_owned()
}

fn decode(raw: &str) -> Vec<u8> {
    Cow::from(percent_decode(raw.as_bytes())).into_owned()
}

/// `http://host/path` -> (`host`, `/path`); anything else is origin form.
fn split_absolute(raw: &str) -> (Option<&str>, &str) {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = raw.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &raw[scheme.len()..])
    });
    match rest {
        None => (None, raw),
        Some(rest) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..at]), &rest[at..])
        }
    }
}

/// The one `Host` header, if there is one.
fn host(headers: &HeaderMap) -> Result<Option<String>> {
    let mut all = headers.get_all(HOST).iter();
    let first = all.next();
    if all.next().is_some() {
        return Err(Error::client(Code::BadRequest, "The request has more than one Host header."));
    }
    match first.map(|v| v.to_str()) {
        None => Ok(None),
        Some(Ok(host)) => Ok(Some(host.to_owned())),
        Some(Err(_)) => Err(Error::client(Code::BadRequest, "The Host header is not ASCII.")),
    }
}

/// `photos.s3.example.com:9000` under the domain `s3.example.com` -> `photos`.
fn bucket_of_host(host: &str, domains: &[String]) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if domains.contains(&name) {
        return None;
    }
    domains
        .iter()
        .filter_map(|domain| Some((domain.len(), name.strip_suffix(domain.as_str())?.strip_suffix('.')?)))
        .filter(|(_, bucket)| !bucket.is_empty())
        // The longest domain that fits leaves the shortest bucket name.
        .max_by_key(|(length, _)| *length)
        .map(|(_, bucket)| bucket.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str, host: &str) -> Result<Target> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        Target::parse(raw, &headers, &["s3.example.com".to_owned(), "eu.s3.example.com".to_owned()])
    }

    fn names(raw: &str, host: &str) -> (Option<String>, Option<Vec<u8>>) {
        let t = parse(raw, host).unwrap();
        (t.bucket.map(|b| b.to_string()), t.key.map(|k| k.as_bytes().to_vec()))
    }

    #[test]
    fn path_style() {
        let host = "s3.example.com:9000";
        let some = |s: &str| Some(s.to_owned());
        let key = |s: &str| Some(s.as_bytes().to_vec());
        assert_eq!(names("/", host), (None, None));
        assert_eq!(names("", host), (None, None));
        assert_eq!(names("*", host), (None, None));
        assert_eq!(names("/bucket", host), (some("bucket"), None));
        assert_eq!(names("/bucket/", host), (some("bucket"), None));
        assert_eq!(names("/bucket?acl", host), (some("bucket"), None));
        assert_eq!(names("/bucket//a//../b/", host), (some("bucket"), key("/a//../b/")));
        assert_eq!(names("/bucket/a%2Fb%252F+%20x?y=%2F", host), (some("bucket"), key("a/b%2F+ x")));
        assert_eq!(names("/bucket/%FF%00", host).1, Some(vec![0xff, 0]));
        assert_eq!(names("/bucket/a%zz%4", host).1, key("a%zz%4"));
        assert_eq!(names("http://s3.example.com:9000/bucket/k", host), (some("bucket"), key("k")));
        let hosted = "bucket.s3.example.com";
        assert_eq!(names("HTTP://bucket.S3.example.com?x=1", hosted), (some("bucket"), None));
    }

    #[test]
    fn raw_bytes_survive() {
        assert_eq!(target_text(b"/bucket/a b\xc3\xa9\xff%20?x=+"), "/bucket/a b%C3%A9%FF%20?x=+");
        assert_eq!(names(&target_text(b"/bucket/\xff%fe"), "h").1, Some(vec![0xff, 0xfe]));
    }

    #[test]
    fn virtual_host_style() {
        let some = |s: &str| Some(s.to_owned());
        for host in ["photos.s3.example.com", "Photos.S3.example.com:80", "photos.s3.example.com."] {
            assert_eq!(names("/a/b", host), (some("photos"), Some(b"a/b".to_vec())), "{host}");
            assert_eq!(names("/", host), (some("photos"), None), "{host}");
            assert_eq!(names("//k", host), (some("photos"), Some(b"/k".to_vec())), "{host}");
        }
        assert_eq!(names("/k", "a.b.s3.example.com").0, some("a.b"));
        assert_eq!(names("/bucket", "eu.s3.example.com").0, some("bucket"));
        assert_eq!(names("/k", "pic.eu.s3.example.com").0, some("pic"));
        assert_eq!(names("/bucket", "xs3.example.com").0, some("bucket"));
        assert_eq!(names("/bucket", "[::1]:9000").0, some("bucket"));
    }

    #[test]
    fn bad_names_and_hosts_are_refused() {
        for raw in ["//key", "/ab/key", "/a%2Fb/key", "/bad bucket/k"] {
            assert_eq!(parse(raw, "h").unwrap_err().code(), &Code::InvalidBucketName, "{raw}");
        }
        let arn = "/arn%3Aaws%3As3%3Aus-east-1%3A1%3Aaccesspoint%2Fa/k";
        assert_eq!(parse(arn, "h").unwrap_err().code(), &Code::NotImplemented);
        let long = format!("/bucket/{}", "a".repeat(1025));
        assert_eq!(parse(&long, "h").unwrap_err().code(), &Code::KeyTooLong);
        for raw in ["http://other.s3.example.com/k", "https://s3.example.com/k", "http:///k", "http://h:80/k"]
        {
            assert_eq!(parse(raw, "h").unwrap_err().code(), &Code::BadRequest, "{raw}");
        }
        assert_eq!(
            Target::parse("http://h/k", &HeaderMap::new(), &[]).unwrap_err().code(),
            &Code::BadRequest
        );
        let mut headers = HeaderMap::new();
        headers.append(HOST, "a".parse().unwrap());
        headers.append(HOST, "b".parse().unwrap());
        assert_eq!(Target::parse("/", &headers, &[]).unwrap_err().code(), &Code::BadRequest);
    }
}
