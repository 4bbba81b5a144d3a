//! PutObject, DeleteObject, DeleteObjects and tags. A write's conditions are looked at before its body is read, and
//! decided when it takes its place.

use http::HeaderMap;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, Error,
    PutObjectInput, PutObjectOutput, Tag,
};
use s3s::{S3Request, S3Result, s3_error};

use super::conditions::WriteConditions;
use super::object::{Object, now, parse_tags, stored_headers};
use super::reading::{md5_tag, refuse_other_version};
use super::receive::Declared;
use super::service::Store;

impl Store {
    pub(super) fn write_conditions(
        &self,
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> WriteConditions {
        WriteConditions::new(if_match, if_none_match, self.quirks.ignore_write_conditions)
    }

    /// Refuses a body in a form that a store with this quirk does not know.
    pub(super) fn refuse_trailers(&self, headers: &HeaderMap) -> S3Result<()> {
        let form = headers.get("x-amz-content-sha256").map(http::HeaderValue::as_bytes);
        if self.quirks.refuse_trailers && form == Some(b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") {
            return Err(s3_error!(InvalidRequest, "The value of x-amz-content-sha256 header is invalid"));
        }
        Ok(())
    }

    pub(super) async fn put(&self, req: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let input = req.input;
        self.refuse_trailers(&req.headers)?;
        let conditions = if self.quirks.ignore_put_conditions {
            WriteConditions::default()
        } else {
            self.write_conditions(input.if_match, input.if_none_match)
        };
        self.catalog.check(&input.bucket, &input.key, &conditions)?;
        let declared = Declared::new(&req.headers, req.trailing_headers, self.quirks.keep_short_bodies)?;
        let received = declared.receive(self.catalog.draft().await?, input.body).await?;
        let object = Object {
            key: input.key,
            size: received.size,
            etag: hex::encode(received.md5),
            modified: now(),
            headers: stored_headers(&req.headers),
            tags: input.tagging.as_deref().map(parse_tags).unwrap_or_default(),
            checksum: received.checksum,
            parts: Vec::new(),
            body: Default::default(),
        };
        let object = self.catalog.commit(&input.bucket, object, received.body, &conditions)?;
        let mut output = PutObjectOutput { e_tag: Some(md5_tag(&received.md5)), ..Default::default() };
        if let Some(checksum) = &object.checksum {
            let value = Some(checksum.value.clone());
            match checksum.header.as_str() {
                "x-amz-checksum-crc32" => output.checksum_crc32 = value,
                "x-amz-checksum-crc32c" => output.checksum_crc32c = value,
                "x-amz-checksum-crc64nvme" => output.checksum_crc64nvme = value,
                "x-amz-checksum-sha1" => output.checksum_sha1 = value,
                _ => output.checksum_sha256 = value,
            }
        }
        Ok(output)
    }

    pub(super) fn delete(&self, input: DeleteObjectInput) -> S3Result<()> {
        refuse_other_version(input.version_id.as_deref())?;
        self.catalog.remove(&input.bucket, &input.key, &self.write_conditions(input.if_match, None))
    }

    pub(super) fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        self.catalog.with_bucket(&input.bucket, |_| ())?;
        if input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let etag = object.e_tag.filter(|_| !self.quirks.ignore_entry_etags);
            let condition =
                |etag: ETag| if etag.value() == "*" { ETagCondition::Any } else { ETagCondition::ETag(etag) };
            let conditions = self.write_conditions(etag.map(condition), None);
            let removed = refuse_other_version(object.version_id.as_deref())
                .and_then(|()| self.catalog.remove(&input.bucket, &object.key, &conditions));
            match removed {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..Default::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None })
    }

    pub(super) fn set_tags(&self, bucket: &str, key: &str, tags: Vec<Tag>) -> S3Result<()> {
        let tags = tags
            .into_iter()
            .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
            .collect();
        self.catalog.update(bucket, key, |object| object.tags = tags)
    }
}
