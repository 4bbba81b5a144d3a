//! CopyObject, and the reading of a copy's source, which UploadPartCopy shares.

use std::ops::Range as Span;
use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, TaggingDirective,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::blob::Source;
use super::conditions::ReadConditions;
use super::object::{Object, now, parse_tags, stored_headers};
use super::reading::md5_tag;
use super::receive::{Declared, Received};
use super::service::Store;

impl Store {
    pub(super) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        let input = req.input;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let replace =
            input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let replace_tags =
            input.tagging_directive.as_ref().is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
        if let CopySource::Bucket { bucket, key, .. } = &input.copy_source
            && **bucket == input.bucket
            && **key == input.key
            && !replace
            && input.storage_class.is_none()
        {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let destination = self.write_conditions(
            header_condition(&req.headers, http::header::IF_MATCH)?,
            header_condition(&req.headers, http::header::IF_NONE_MATCH)?,
        );
        self.catalog.check(&input.bucket, &input.key, &destination)?;
        let (source, opened) = self.copy_source(&input.copy_source, &conditions)?;
        let length = opened.len().map_err(S3Error::internal_error)?;
        let received = self.take_copy(opened, 0..length).await?;
        let mut headers = stored_headers(&req.headers);
        if !replace {
            let class = headers.into_iter().find(|(name, _)| name == "x-amz-storage-class");
            headers =
                source.headers.iter().filter(|(name, _)| name != "x-amz-storage-class").cloned().collect();
            headers.extend(class);
        }
        let tags = if replace_tags {
            input.tagging.as_deref().map(parse_tags).unwrap_or_default()
        } else {
            source.tags.clone()
        };
        let object = Object {
            key: input.key,
            size: received.size,
            etag: hex::encode(received.md5),
            modified: now(),
            headers,
            tags,
            checksum: source.checksum.clone(),
            parts: Vec::new(),
            body: Default::default(),
        };
        let object = self.catalog.commit(&input.bucket, object, received.body, &destination)?;
        let result = CopyObjectResult {
            e_tag: Some(md5_tag(&received.md5)),
            last_modified: Some(object.last_modified()),
            ..Default::default()
        };
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    /// Opens a copy's source, if its conditions hold. What would be a 304 for a read is a 412 here.
    pub(super) fn copy_source(
        &self,
        source: &CopySource,
        conditions: &ReadConditions,
    ) -> S3Result<(Arc<Object>, Source)> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3_error!(NotImplemented, "Access points cannot be copied from"));
        };
        if version_id.as_deref().is_some_and(|id| id != "null") {
            return Err(s3_error!(NoSuchVersion));
        }
        let (object, opened) = self.catalog.open_object(bucket, key)?;
        conditions.check(&object).map_err(|_| s3_error!(PreconditionFailed))?;
        Ok((object, opened))
    }

    /// Copies some bytes of an open body into a new one.
    pub(super) async fn take_copy(&self, source: Source, span: Span<u64>) -> S3Result<Received> {
        let declared = Declared::copy_of(span.end - span.start);
        let stream = source.stream(span).map_err(S3Error::internal_error)?;
        declared.receive(self.catalog.draft().await?, Some(stream)).await
    }
}

/// `s3s` does not parse a copy's conditions on its destination.
fn header_condition(
    headers: &http::HeaderMap,
    name: http::HeaderName,
) -> S3Result<Option<s3s::dto::ETagCondition>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let condition = s3s::dto::ETagCondition::parse_http_header(value.as_bytes());
    condition.map(Some).map_err(|_| s3_error!(InvalidArgument, "The ETag of a condition is malformed"))
}
