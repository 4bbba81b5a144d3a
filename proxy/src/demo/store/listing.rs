//! ListObjects V1 and V2 and ListObjectVersions: one walk over a bucket's keys in order, written out in three ways.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ObjectStorageClass, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Result, s3_error};

use super::catalog::Bucket;
use super::object::{Object, owner};
use super::service::Store;

/// Most entries of one page.
const MAX_KEYS: i32 = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What is asked for.
struct Query<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    /// Only keys and common prefixes behind this one.
    after: &'a str,
    max: usize,
}

/// One page of a listing.
#[derive(Default)]
struct Page {
    objects: Vec<(Arc<Object>, i64)>,
    prefixes: Vec<String>,
    /// The last entry, where there are more behind it.
    next: Option<String>,
}

fn walk(bucket: &Bucket, query: &Query<'_>) -> Page {
    let mut page = Page::default();
    let mut last = String::new();
    let start = query.prefix.max(query.after);
    for (key, object) in bucket.objects.range(start.to_owned()..) {
        let Some(rest) = key.strip_prefix(query.prefix) else { break };
        let group = query.delimiter.and_then(|delimiter| {
            rest.find(delimiter).map(|at| &key[..query.prefix.len() + at + delimiter.len()])
        });
        let entry = group.unwrap_or(key);
        // A group is behind its marker as long as one of its keys is, unless it is the marker itself.
        let passed = if group.is_some() { entry == query.after } else { entry <= query.after };
        let repeated = group.is_some() && page.prefixes.last().map(String::as_str) == group;
        if passed || repeated {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == query.max {
            page.next = (query.max > 0).then_some(last);
            break;
        }
        last = entry.to_owned();
        if group.is_some() {
            page.prefixes.push(entry.to_owned());
        } else if let Ok(length) = object.body.len() {
            page.objects.push((object.clone(), i64::try_from(length).unwrap_or(i64::MAX)));
        }
    }
    page
}

/// Names as the client asked for them: as they are, or URL-encoded.
pub(super) struct Names(bool);

impl Names {
    pub(super) fn new(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some(EncodingType::URL) => Ok(Self(true)),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    /// Whatever was asked for.
    pub(super) fn as_they_are() -> Self {
        Self(false)
    }

    pub(super) fn write(&self, name: &str) -> String {
        if self.0 { utf8_percent_encode(name, PLAIN).to_string() } else { name.to_owned() }
    }

    fn prefixes(&self, page: &Page) -> Option<Vec<CommonPrefix>> {
        Some(page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.write(prefix)) }).collect())
    }

    fn objects(&self, page: &Page, with_owner: bool) -> Option<Vec<s3s::dto::Object>> {
        let entry = |(object, size): &(Arc<Object>, i64)| s3s::dto::Object {
            key: Some(self.write(&object.key)),
            e_tag: Some(object.e_tag()),
            last_modified: Some(object.last_modified()),
            size: Some(*size),
            storage_class: Some(ObjectStorageClass::from(object.storage_class().to_owned())),
            owner: with_owner.then(owner),
            ..Default::default()
        };
        Some(page.objects.iter().map(entry).collect())
    }
}

pub(super) fn page_size(asked: Option<i32>) -> S3Result<(i32, usize)> {
    let asked = asked.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let size = usize::try_from(asked);
    Ok((asked, size.map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative"))?))
}

impl Store {
    pub(super) fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let names = Names::new(input.encoding_type.as_ref())?;
        let (asked, max) = page_size(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let marker = input.marker.unwrap_or_default();
        let query = Query { prefix: &prefix, delimiter: delimiter.as_deref(), after: &marker, max };
        let page = self.catalog.with_bucket(&input.bucket, |bucket| walk(bucket, &query))?;
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(&prefix)),
            marker: Some(names.write(&marker)),
            max_keys: Some(asked),
            is_truncated: Some(page.next.is_some()),
            contents: names.objects(&page, true),
            common_prefixes: names.prefixes(&page),
            // Without a delimiter S3 leaves it out: the last key is the marker.
            next_marker: page.next.as_ref().filter(|_| delimiter.is_some()).map(|next| names.write(next)),
            delimiter: delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    pub(super) fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let names = Names::new(input.encoding_type.as_ref())?;
        let (asked, max) = page_size(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let after = match &input.continuation_token {
            Some(token) => hex::decode(token)
                .ok()
                .and_then(|token| String::from_utf8(token).ok())
                .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let query = Query { prefix: &prefix, delimiter: delimiter.as_deref(), after: &after, max };
        let page = self.catalog.with_bucket(&input.bucket, |bucket| walk(bucket, &query))?;
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.write(&prefix)),
            max_keys: Some(asked),
            key_count: i32::try_from(page.objects.len() + page.prefixes.len()).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(hex::encode),
            contents: names.objects(&page, input.fetch_owner.unwrap_or(false)),
            common_prefixes: names.prefixes(&page),
            delimiter: delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|start| names.write(&start)),
            ..Default::default()
        })
    }

    /// Without versioning every object is its one version, whose id is `null`.
    pub(super) fn list_versions(&self, input: ListObjectVersionsInput) -> S3Result<ListObjectVersionsOutput> {
        let names = Names::new(input.encoding_type.as_ref())?;
        let (asked, max) = page_size(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let marker = input.key_marker.unwrap_or_default();
        let query = Query { prefix: &prefix, delimiter: delimiter.as_deref(), after: &marker, max };
        let page = self.catalog.with_bucket(&input.bucket, |bucket| walk(bucket, &query))?;
        let version = |(object, size): &(Arc<Object>, i64)| ObjectVersion {
            key: Some(names.write(&object.key)),
            version_id: Some("null".to_owned()),
            is_latest: Some(true),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.last_modified()),
            size: Some(*size),
            storage_class: Some(ObjectVersionStorageClass::from(object.storage_class().to_owned())),
            owner: Some(owner()),
            ..Default::default()
        };
        Ok(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(&prefix)),
            key_marker: Some(names.write(&marker)),
            version_id_marker: input.version_id_marker,
            max_keys: Some(asked),
            is_truncated: Some(page.next.is_some()),
            versions: Some(page.objects.iter().map(version).collect()),
            common_prefixes: names.prefixes(&page),
            next_key_marker: page.next.as_ref().map(|next| names.write(next)),
            next_version_id_marker: page.next.as_ref().map(|_| "null".to_owned()),
            delimiter: delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }
}
