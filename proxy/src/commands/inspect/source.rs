//! Where `inspect` gets an object from: a backend, asked with HEAD and a range at the end, or files.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use object_format::length::FOOTER;

use super::super::Failure;
use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::s3::headers::ENVELOPE;
use crate::s3::name::{BucketName, ObjectKey};

/// More than any trailer: 10 000 table entries of 112 bytes and the footer.
const LONGEST_TAIL: u64 = 10_000 * 112 + FOOTER;

/// An object as it is stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// What it is called, for the report.
    pub(super) title: String,
    /// The envelope's value as it stands.
    pub(super) envelope: Option<String>,
    /// Stored bytes, where known.
    pub(super) size: Option<u64>,
    /// The last ones of them, where known.
    pub(super) tail: Option<Bytes>,
}

/// `s3://bucket/key`, taken apart.
pub(super) fn parse_object(text: &str) -> Result<(BucketName, ObjectKey), Failure> {
    let usage = || Failure::Usage(format!("{text:?} is not an object: write s3://BUCKET/KEY"));
    let (bucket, key) = text.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).ok_or_else(usage)?;
    let bucket = BucketName::parse(bucket.as_bytes()).map_err(|_| usage())?;
    let key = ObjectKey::parse(key.as_bytes()).map_err(|_| usage())?;
    Ok((bucket, key))
}

/// From copies of the envelope and of the stored bytes.
pub(super) fn from_files(envelope: Option<&str>, file: Option<&Path>) -> Result<Stored, Failure> {
    let mut stored = Stored {
        title: file.map_or_else(|| "an envelope".to_owned(), |file| file.display().to_string()),
        envelope: envelope.map(str::to_owned),
        ..Stored::default()
    };
    if let Some(path) = file {
        let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(size.saturating_sub(LONGEST_TAIL)))
            .and_then(|_| file.read_to_end(&mut tail))
            .map_err(failed)?;
        stored.size = Some(size);
        stored.tail = Some(tail.into());
    }
    Ok(stored)
}

/// From a backend, under its own keys.
pub(super) async fn fetch(
    backend: &Backend,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<&str>,
) -> Result<Stored, Failure> {
    let request = |method| {
        let request = Outgoing::object(method, bucket, key);
        match version {
            Some(version) => request.param("versionId", version),
            None => request,
        }
    };
    let names = Names { bucket: Some(bucket), key: Some(key) };
    let head = backend.call(&Caller::Own, request(Method::HEAD), Bytes::new()).await?;
    if !head.is_success() {
        return Err(error_from(head, &names).await.into());
    }
    let envelope =
        head.headers.get(ENVELOPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let size = head.content_length();
    let tail = match size {
        None => None,
        Some(0) => Some(Bytes::new()),
        Some(size) => {
            let first = size.saturating_sub(LONGEST_TAIL);
            let range = HeaderValue::from_str(&format!("bytes={first}-{}", size - 1))
                .expect("digits and a hyphen make a header value");
            let answer = backend
                .call(&Caller::Own, request(Method::GET).header(header::RANGE, range), Bytes::new())
                .await?;
            if !answer.is_success() {
                return Err(error_from(answer, &names).await.into());
            }
            let limit = usize::try_from(size.min(LONGEST_TAIL)).unwrap_or(usize::MAX);
            Some(answer.body.collect(limit).await?)
        }
    };
    Ok(Stored { title: String::new(), envelope, size, tail })
}
