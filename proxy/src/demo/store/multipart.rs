//! Uploads in parts. They live in this process's memory, their parts as bodies that no object holds yet: an upload that
//! is aborted, or that a restart cuts off, leaves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyPartResult,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput,
    Part as PartEntry, Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::blob::Finished;
use super::conditions::{ReadConditions, WriteConditions};
use super::object::{Object, now, owner, parse_tags, stored_headers, timestamp};
use super::reading::md5_tag;
use super::receive::{Declared, Received};
use super::service::Store;

/// Smallest part of an upload, the last one excepted.
const MIN_PART: u64 = 5 * 1024 * 1024;

/// The uploads under way, by id. Ids grow, so that the uploads of one key are in order of their start.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    next: u64,
    pub(super) by_id: BTreeMap<String, Upload>,
}

#[derive(Debug)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) started: i64,
    headers: Vec<(String, String)>,
    tags: Vec<(String, String)>,
    parts: BTreeMap<i32, Part>,
}

#[derive(Clone, Debug)]
struct Part {
    size: u64,
    md5: [u8; 16],
    modified: i64,
    body: Arc<Finished>,
}

impl Uploads {
    fn get(&mut self, id: &str, bucket: &str, key: &str) -> S3Result<&mut Upload> {
        let found = self.by_id.get_mut(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        found.ok_or_else(|| s3_error!(NoSuchUpload))
    }
}

impl Store {
    pub(super) fn create_upload(
        &self,
        req: &S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let input = &req.input;
        self.catalog.with_bucket(&input.bucket, |_| ())?;
        let mut uploads = self.uploads.lock();
        uploads.next += 1;
        // The time makes an id of a former process unknown to this one.
        let id = format!("{:012x}{:08x}", now(), uploads.next);
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            started: now(),
            headers: stored_headers(&req.headers),
            tags: input.tagging.as_deref().map(parse_tags).unwrap_or_default(),
            parts: BTreeMap::new(),
        };
        uploads.by_id.insert(id.clone(), upload);
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    pub(super) async fn put_part(&self, req: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        let input = req.input;
        self.refuse_trailers(&req.headers)?;
        check_number(input.part_number)?;
        self.uploads.lock().get(&input.upload_id, &input.bucket, &input.key)?;
        let declared = Declared::new(&req.headers, req.trailing_headers, self.quirks.keep_short_bodies)?;
        let received = declared.receive(self.catalog.draft().await?, input.body).await?;
        let e_tag = Some(md5_tag(&received.md5));
        self.keep_part(&input.upload_id, &input.bucket, &input.key, input.part_number, received)?;
        Ok(UploadPartOutput { e_tag, ..Default::default() })
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        check_number(input.part_number)?;
        self.uploads.lock().get(&input.upload_id, &input.bucket, &input.key)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let (_, opened) = self.copy_source(&input.copy_source, &conditions)?;
        let length = opened.len().map_err(S3Error::internal_error)?;
        let span = match input.copy_source_range {
            None => 0..length,
            Some(text) => match Range::parse(&text) {
                Ok(Range::Int { first, last: Some(last) }) if last < length => first..last + 1,
                Ok(Range::Int { last: Some(_), .. }) => return Err(s3_error!(InvalidRange)),
                _ => {
                    return Err(s3_error!(
                        InvalidArgument,
                        "x-amz-copy-source-range must be bytes=first-last"
                    ));
                }
            },
        };
        let received = self.take_copy(opened, span).await?;
        let result = CopyPartResult {
            e_tag: Some(md5_tag(&received.md5)),
            last_modified: Some(timestamp(now())),
            ..Default::default()
        };
        self.keep_part(&input.upload_id, &input.bucket, &input.key, input.part_number, received)?;
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    fn keep_part(&self, id: &str, bucket: &str, key: &str, number: i32, received: Received) -> S3Result<()> {
        let part =
            Part { size: received.size, md5: received.md5, modified: now(), body: Arc::new(received.body) };
        self.uploads.lock().get(id, bucket, key)?.parts.insert(number, part);
        Ok(())
    }

    pub(super) fn parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let mut uploads = self.uploads.lock();
        let upload = uploads.get(&input.upload_id, &input.bucket, &input.key)?;
        let max = input.max_parts.unwrap_or(1000).clamp(0, 1000);
        let marker = input.part_number_marker.unwrap_or(0);
        let mut rest = upload.parts.range(marker.saturating_add(1)..);
        let entry = |(number, part): (&i32, &Part)| PartEntry {
            part_number: Some(*number),
            size: i64::try_from(part.size).ok(),
            e_tag: Some(md5_tag(&part.md5)),
            last_modified: Some(timestamp(part.modified)),
            ..Default::default()
        };
        let page: Vec<PartEntry> = rest.by_ref().take(usize::try_from(max).unwrap_or(0)).map(entry).collect();
        Ok(ListPartsOutput {
            is_truncated: Some(rest.next().is_some()),
            next_part_number_marker: page.last().and_then(|part| part.part_number),
            parts: Some(page),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(max),
            part_number_marker: Some(marker),
            owner: Some(owner()),
            ..Default::default()
        })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let conditions = if self.quirks.ignore_complete_conditions {
            WriteConditions::default()
        } else {
            self.write_conditions(input.if_match, input.if_none_match)
        };
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let (parts, headers, tags) = {
            let mut uploads = self.uploads.lock();
            let upload = uploads.get(&input.upload_id, &input.bucket, &input.key)?;
            let mut parts = Vec::with_capacity(listed.len());
            let mut last = 0;
            for part in &listed {
                let number = part.part_number.unwrap_or(0);
                if number <= last {
                    return Err(s3_error!(InvalidPartOrder));
                }
                last = number;
                let stored = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
                if part.e_tag.as_ref().is_none_or(|tag| *tag != md5_tag(&stored.md5)) {
                    return Err(s3_error!(InvalidPart));
                }
                parts.push(stored.clone());
            }
            (parts, upload.headers.clone(), upload.tags.clone())
        };
        let Some((_, firsts)) = parts.split_last() else { return Err(s3_error!(MalformedXML)) };
        if firsts.iter().any(|part| part.size < MIN_PART) {
            return Err(s3_error!(EntityTooSmall));
        }
        self.catalog.check(&input.bucket, &input.key, &conditions)?;
        let mut tag = Md5::new();
        let mut draft = self.catalog.draft().await?;
        for part in &parts {
            tag.update(part.md5);
            let mut stream = part
                .body
                .open()
                .and_then(|source| source.stream(0..part.size))
                .map_err(S3Error::internal_error)?;
            while let Some(piece) = futures_util::StreamExt::next(&mut stream).await {
                let piece =
                    piece.map_err(|error| S3Error::with_source(s3s::S3ErrorCode::InternalError, error))?;
                draft.write(&piece).await.map_err(S3Error::internal_error)?;
            }
        }
        let object = Object {
            key: input.key.clone(),
            size: parts.iter().map(|part| part.size).sum(),
            etag: format!("{}-{}", hex::encode(tag.finalize()), parts.len()),
            modified: now(),
            headers,
            tags,
            checksum: None,
            parts: parts.iter().map(|part| part.size).collect(),
            body: Default::default(),
        };
        let body = draft.finish().await.map_err(S3Error::internal_error)?;
        // Only one of two that complete the same upload finds it still there.
        let removed = {
            let mut uploads = self.uploads.lock();
            uploads.get(&input.upload_id, &input.bucket, &input.key)?;
            uploads.by_id.remove(&input.upload_id)
        };
        let committed = self.catalog.commit(&input.bucket, object, body, &conditions);
        if let (Err(_), Some(upload)) = (&committed, removed) {
            self.uploads.lock().by_id.insert(input.upload_id, upload);
        }
        let object = committed?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            ..Default::default()
        })
    }

    pub(super) fn abort_upload(&self, input: &AbortMultipartUploadInput) -> S3Result<()> {
        let mut uploads = self.uploads.lock();
        uploads.get(&input.upload_id, &input.bucket, &input.key)?;
        uploads.by_id.remove(&input.upload_id);
        Ok(())
    }
}

fn check_number(number: i32) -> S3Result<()> {
    if (1..=10_000).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}
