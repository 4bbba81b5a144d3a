//! ListMultipartUploads: the uploads under way in order of their keys and ids, or, as a quirk, as storage lists them that
//! knows no more than its own ids.

use s3s::S3Result;
use s3s::dto::{CommonPrefix, ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload};

use super::listing::{Names, page_size};
use super::multipart::Upload;
use super::object::{owner, timestamp};
use super::service::Store;

/// An entry of a page: an upload, or a group of them by its name.
type Entry<'a> = (String, Option<(&'a String, &'a Upload)>);

impl Store {
    pub(super) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        self.catalog.with_bucket(&input.bucket, |_| ())?;
        let bare = self.quirks.bare_upload_lists;
        let names = if bare { Names::as_they_are() } else { Names::new(input.encoding_type.as_ref())? };
        let (asked, max) = page_size(input.max_uploads)?;
        let uploads = self.uploads.lock();
        let here = uploads.by_id.iter().filter(|(_, upload)| upload.bucket == input.bucket);
        let mut entries: Vec<Entry<'_>> =
            if bare { by_id(here, &input) } else { in_order(here.collect(), &input) };
        let truncated = max > 0 && entries.len() > max;
        entries.truncate(max);
        let last = entries.last().filter(|_| truncated);
        let id = |entry: &Entry<'_>| entry.1.map(|(id, _)| id.clone()).unwrap_or_default();
        let (next_key, next_id) = (last.filter(|_| !bare).map(|last| names.write(&last.0)), last.map(id));
        let upload = |(key, upload): &Entry<'_>| {
            upload.map(|(id, upload)| MultipartUpload {
                upload_id: Some(id.clone()),
                key: Some(names.write(key)),
                initiated: Some(timestamp(upload.started)),
                owner: Some(owner()),
                ..Default::default()
            })
        };
        let group = |(key, upload): &Entry<'_>| {
            upload.is_none().then(|| CommonPrefix { prefix: Some(names.write(key)) })
        };
        Ok(ListMultipartUploadsOutput {
            uploads: Some(entries.iter().filter_map(upload).collect()),
            common_prefixes: Some(entries.iter().filter_map(group).collect()),
            is_truncated: Some(truncated),
            next_key_marker: next_key,
            next_upload_id_marker: next_id,
            bucket: Some(input.bucket),
            prefix: input.prefix.map(|prefix| names.write(&prefix)),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            key_marker: input.key_marker.map(|marker| names.write(&marker)),
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(asked),
            ..Default::default()
        })
    }
}

/// As S3 does.
fn in_order<'a>(
    mut uploads: Vec<(&'a String, &'a Upload)>,
    input: &ListMultipartUploadsInput,
) -> Vec<Entry<'a>> {
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let marker = input.key_marker.as_deref().unwrap_or_default();
    let id_marker = input.upload_id_marker.as_deref().filter(|id| !id.is_empty());
    uploads.sort_by(|a, b| (&a.1.key, a.0).cmp(&(&b.1.key, b.0)));
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for (id, upload) in uploads {
        let Some(rest) = upload.key.strip_prefix(prefix) else { continue };
        let behind = match id_marker {
            Some(id_marker) => (upload.key.as_str(), id.as_str()) > (marker, id_marker),
            None => upload.key.as_str() > marker,
        };
        let group = delimiter.and_then(|delimiter| {
            rest.find(delimiter).map(|at| &upload.key[..prefix.len() + at + delimiter.len()])
        });
        let repeated = entries.last().is_some_and(|last| last.1.is_none() && Some(last.0.as_str()) == group);
        if !behind || repeated || group == Some(marker) {
            continue;
        }
        entries.push(match group {
            Some(group) => (group.to_owned(), None),
            None => (upload.key.clone(), Some((id, upload))),
        });
    }
    entries
}

/// In order of the ids: the key marker is a filter, and nothing is grouped.
fn by_id<'a>(
    uploads: impl Iterator<Item = (&'a String, &'a Upload)>,
    input: &ListMultipartUploadsInput,
) -> Vec<Entry<'a>> {
    let (key, id_marker) = (input.key_marker.as_deref(), input.upload_id_marker.as_deref());
    let prefix = input.prefix.as_deref().unwrap_or_default();
    uploads
        .filter(|(id, upload)| {
            id_marker.is_none_or(|marker| id.as_str() > marker)
                && key.is_none_or(|key| key == upload.key)
                && upload.key.starts_with(prefix)
        })
        .map(|(id, upload)| (upload.key.clone(), Some((id, upload))))
        .collect()
}
