//! The S3 operations of the store, one line each: what they do stands in the modules beside. Every operation that is not
//! named here is answered with NotImplemented by `s3s`.

use std::sync::Arc;

use parking_lot::Mutex;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::Quirks;
use super::catalog::Catalog;
use super::multipart::Uploads;
use super::object::{owner, timestamp};
use super::reading::refuse_version;

/// Where every bucket is.
const REGION: &str = "us-east-1";

/// The store as `s3s` sees it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) catalog: Arc<Catalog>,
    pub(super) quirks: Quirks,
    pub(super) uploads: Mutex<Uploads>,
}

impl Store {
    pub(super) fn new(catalog: Arc<Catalog>, quirks: Quirks) -> Self {
        Self { catalog, quirks, uploads: Mutex::default() }
    }
}

fn reply<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = |(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(created)),
            bucket_region: None,
        };
        let buckets = self.catalog.buckets().into_iter().map(bucket).collect();
        reply(ListBucketsOutput { buckets: Some(buckets), owner: Some(owner()), ..Default::default() })
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.catalog.create_bucket(&req.input.bucket)?;
        reply(CreateBucketOutput { location: Some(format!("/{}", req.input.bucket)) })
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.catalog.delete_bucket(&req.input.bucket)?;
        reply(DeleteBucketOutput::default())
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.catalog.with_bucket(&req.input.bucket, |_| ())?;
        reply(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() })
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.catalog.with_bucket(&req.input.bucket, |_| ())?;
        reply(GetBucketLocationOutput::default())
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.catalog.with_bucket(&req.input.bucket, |_| ())?;
        reply(GetBucketVersioningOutput::default())
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        reply(self.list_v1(req.input)?)
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        reply(self.list_v2(req.input)?)
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        reply(self.list_versions(req.input)?)
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(req.input)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(req.input)
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        reply(self.put(req).await?)
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.delete(req.input)?;
        reply(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        reply(self.delete_many(req.input)?)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        reply(self.copy(req).await?)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        reply(self.create_upload(&req)?)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        reply(self.put_part(req).await?)
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        reply(self.copy_part(req.input).await?)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        reply(self.parts(req.input)?)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        reply(self.list_uploads(req.input)?)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        reply(self.complete_upload(req.input).await?)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort_upload(&req.input)?;
        reply(AbortMultipartUploadOutput::default())
    }

    async fn get_object_tagging(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        reply(self.tags(&req.input)?)
    }

    async fn put_object_tagging(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        refuse_version(req.input.version_id.as_deref())?;
        self.set_tags(&req.input.bucket, &req.input.key, req.input.tagging.tag_set)?;
        reply(PutObjectTaggingOutput::default())
    }

    async fn delete_object_tagging(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        refuse_version(req.input.version_id.as_deref())?;
        self.set_tags(&req.input.bucket, &req.input.key, Vec::new())?;
        reply(DeleteObjectTaggingOutput::default())
    }
}
