//! GetObject, HeadObject and GetObjectTagging: conditions, ranges, parts, and the stored headers with their overrides.

use std::ops::Range as Span;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput, HeadObjectInput,
    HeadObjectOutput, Range, Tag,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, s3_error};

use super::conditions::ReadConditions;
use super::object::Object;
use super::service::Store;

/// A status that `s3s` does not know of: it travels beside the response, and the server sets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status(pub(super) StatusCode);

/// The part of an object that a request asks for.
struct Selected {
    span: Span<u64>,
    /// `bytes a-b/total` where it is a part and not the whole.
    content_range: Option<String>,
    parts_count: Option<i32>,
}

impl Store {
    pub(super) fn get(&self, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
        refuse_version(input.version_id.as_deref())?;
        let (object, source) = self.catalog.open_object(&input.bucket, &input.key)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&object)?;
        let length = source.len().map_err(S3Error::internal_error)?;
        let selected = self.select(&object, length, input.range, input.part_number)?;
        let mut headers = object.response_headers();
        // These come from the query, and `s3s` has set them by now.
        let overridden = [
            (header::CONTENT_TYPE, input.response_content_type.is_some()),
            (header::CONTENT_LANGUAGE, input.response_content_language.is_some()),
            (header::EXPIRES, input.response_expires.is_some()),
            (header::CACHE_CONTROL, input.response_cache_control.is_some()),
            (header::CONTENT_DISPOSITION, input.response_content_disposition.is_some()),
            (header::CONTENT_ENCODING, input.response_content_encoding.is_some()),
        ];
        for (name, _) in overridden.into_iter().filter(|(_, overridden)| *overridden) {
            headers.remove(name);
        }
        let whole = selected.content_range.is_none();
        add_checksum(&mut headers, &object, whole && input.checksum_mode.is_some())?;
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(selected.span.end - selected.span.start).ok(),
            content_range: selected.content_range,
            parts_count: selected.parts_count,
            e_tag: Some(object.e_tag()),
            last_modified: Some(object.last_modified()),
            tag_count: i32::try_from(object.tags.len()).ok().filter(|count| *count > 0),
            body: Some(source.stream(selected.span).map_err(S3Error::internal_error)?),
            ..Default::default()
        };
        Ok(S3Response::with_headers(output, headers))
    }

    pub(super) fn head(&self, input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
        refuse_version(input.version_id.as_deref())?;
        let (object, source) = self.catalog.open_object(&input.bucket, &input.key)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&object)?;
        let length = source.len().map_err(S3Error::internal_error)?;
        let selected = self.select(&object, length, input.range, input.part_number)?;
        let mut headers = object.response_headers();
        let overrides = [
            (header::CONTENT_TYPE, input.response_content_type),
            (header::CONTENT_LANGUAGE, input.response_content_language),
            (header::CACHE_CONTROL, input.response_cache_control),
            (header::CONTENT_DISPOSITION, input.response_content_disposition),
            (header::CONTENT_ENCODING, input.response_content_encoding),
        ];
        for (name, value) in overrides {
            if let Some(value) = value {
                let value = HeaderValue::try_from(value).map_err(|_| s3_error!(InvalidArgument))?;
                headers.insert(name, value);
            }
        }
        let whole = selected.content_range.is_none();
        add_checksum(&mut headers, &object, whole && input.checksum_mode.is_some())?;
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(selected.span.end - selected.span.start).ok(),
            content_range: selected.content_range,
            parts_count: selected.parts_count,
            e_tag: Some(object.e_tag()),
            last_modified: Some(object.last_modified()),
            ..Default::default()
        };
        let mut response = S3Response::with_headers(output, headers);
        if !whole {
            response.extensions.insert(Status(StatusCode::PARTIAL_CONTENT));
        }
        Ok(response)
    }

    pub(super) fn tags(&self, input: &GetObjectTaggingInput) -> S3Result<GetObjectTaggingOutput> {
        refuse_version(input.version_id.as_deref())?;
        let (bucket, key) = (&input.bucket, &input.key);
        self.catalog.with_bucket(bucket, |_| ())?;
        let object = self.catalog.find(bucket, key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let tag =
            |(name, value): &(String, String)| Tag { key: Some(name.clone()), value: Some(value.clone()) };
        Ok(GetObjectTaggingOutput { tag_set: object.tags.iter().map(tag).collect(), version_id: None })
    }

    fn select(
        &self,
        object: &Object,
        length: u64,
        range: Option<Range>,
        part: Option<i32>,
    ) -> S3Result<Selected> {
        let whole = Selected { span: 0..length, content_range: None, parts_count: None };
        match (range, part) {
            (Some(_), Some(_)) => {
                Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber"))
            }
            (Some(Range::Suffix { .. }), None) if self.quirks.refuse_suffix_ranges => {
                Err(unsatisfiable(length))
            }
            (Some(range), None) => {
                if length == 0 {
                    return Err(unsatisfiable(length));
                }
                let span = range.check(length).map_err(|_| unsatisfiable(length))?;
                Ok(Selected { content_range: Some(content_range(&span, length)), span, ..whole })
            }
            (None, Some(part)) if !self.quirks.ignore_part_number => {
                let sizes = if object.parts.is_empty() { vec![length] } else { object.parts.clone() };
                let at = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
                let Some(size) = at.and_then(|at| sizes.get(at)) else {
                    let mut error = S3Error::new(S3ErrorCode::Custom("InvalidPartNumber".into()));
                    error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
                    return Err(error);
                };
                let start: u64 = sizes.iter().take(at.unwrap_or_default()).sum();
                let span = start.min(length)..(start + size).min(length);
                if span.is_empty() {
                    return Ok(whole);
                }
                let parts_count =
                    (!object.parts.is_empty()).then_some(i32::try_from(sizes.len()).unwrap_or(i32::MAX));
                Ok(Selected { content_range: Some(content_range(&span, length)), span, parts_count })
            }
            _ => Ok(whole),
        }
    }
}

/// A version that a write or delete names has to be the one that there is: it would go in place of it.
pub(super) fn refuse_other_version(version: Option<&str>) -> S3Result<()> {
    refuse_version(version).map_err(|_| s3_error!(InvalidArgument, "Invalid version id specified"))
}

/// The store keeps one version of an object, and that has no id.
pub(super) fn refuse_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion)),
    }
}

fn content_range(span: &Span<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", span.start, span.end - 1)
}

fn unsatisfiable(length: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
        error.set_headers(HeaderMap::from_iter([(header::CONTENT_RANGE, value)]));
    }
    error
}

fn add_checksum(headers: &mut HeaderMap, object: &Object, wanted: bool) -> S3Result<()> {
    if let (Some(checksum), true) = (&object.checksum, wanted) {
        let name = HeaderName::try_from(&checksum.header).map_err(S3Error::internal_error)?;
        headers.insert(name, HeaderValue::try_from(&checksum.value).map_err(S3Error::internal_error)?);
        headers.insert("x-amz-checksum-type", HeaderValue::from_static("FULL_OBJECT"));
    }
    Ok(())
}

/// The ETag of bytes stored at once: their MD5.
pub(super) fn md5_tag(md5: &[u8; 16]) -> ETag {
    ETag::Strong(hex::encode(md5))
}
