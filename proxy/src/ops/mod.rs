//! OPERATIONS: one typed handler each. A handler reads the request, calls the backend and answers through the
//! exchange; what is decided without I/O stands in `plan/`.

pub mod attributes;
pub mod bucket;
pub mod copy;
pub mod delete;
pub mod encryption;
pub(crate) mod fetch;
mod folded;
pub mod get;
pub mod keep_alive;
mod late;
pub mod list;
pub mod minio;
pub mod multipart;
pub mod pass;
pub mod post;
pub mod put;
pub mod source;
pub(crate) mod tags;
pub mod write_key;

use crate::auth::Verified;
use bytes::Bytes;
use http::Method;

use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::config::BucketRule;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Outcome};
use crate::info::{Opens, Target};
use crate::plan::customer;
use crate::s3::S3Request;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::operation::{Class, Operation};
use crate::services::Services;

/// Where a bucket's requests go, and as whom.
pub struct Route<'a> {
    /// The bucket's rule.
    pub rule: &'a BucketRule,
    /// Its backend.
    pub backend: &'a Backend,
    /// Under whose keys.
    pub caller: Caller,
    /// Its name.
    pub bucket: &'a BucketName,
}

impl<'a> Route<'a> {
    /// Authorizes the request's own bucket and key for its operation, and finds the backend.
    pub fn of(services: &'a Services, request: &'a Verified<S3Request>) -> Result<Self> {
        let bucket = request.bucket()?;
        request.identity().authorize_request(request)?;
        Self::to(services, request, bucket)
    }

    /// The same for a bucket that the caller has authorized itself.
    pub fn to(services: &'a Services, request: &Verified<S3Request>, bucket: &'a BucketName) -> Result<Self> {
        let (rule, backend, caller) = reach(services, request, bucket)?;
        Ok(Self { rule, backend, caller, bucket })
    }

    /// The object that a client's request names, for that client.
    pub fn object<'t>(&'t self, request: &'t S3Request) -> Result<Target<'t>> {
        Ok(self.target(object_key(self, request)?, None).carrying(&request.headers))
    }

    /// Asks the backend for the bucket; its refusal, such as NoSuchBucket, is the error.
    pub async fn exists(&self, request: &S3Request) -> Result<()> {
        const OWNER: &str = "x-amz-expected-bucket-owner";
        let mut out = Outgoing::bucket(Method::HEAD, self.bucket);
        if let Some(owner) = request.headers.get(OWNER) {
            out.headers.insert(OWNER, owner.clone());
        }
        let response = self.backend.call(&self.caller, out, Bytes::new()).await?;
        if response.is_success() {
            return Ok(());
        }
        Err(error_from(response, &Names { bucket: Some(self.bucket), key: None }).await)
    }

    /// One object there.
    pub fn target<'t>(&'t self, key: &'t ObjectKey, version: Option<&'t str>) -> Target<'t> {
        Target {
            backend: self.backend,
            caller: &self.caller,
            rule: self.rule,
            bucket: self.bucket,
            key,
            version,
            carried: None,
            opens: Opens::default(),
        }
    }
}

/// A bucket's rule, its backend, and as whom this request goes there; NoSuchBucket for one that is hidden.
fn reach<'a>(
    services: &'a Services,
    request: &Verified<S3Request>,
    bucket: &BucketName,
) -> Result<(&'a BucketRule, &'a Backend, Caller)> {
    let rule = services.config.buckets.rule(bucket);
    let backend = services.backends.get(&rule.backend)?;
    if backend.is_hidden(bucket, None) {
        return Err(Error::client(Code::NoSuchBucket, "The specified bucket does not exist")
            .field("BucketName", bucket.as_str()));
    }
    let identity = request.identity();
    let caller =
        if identity.is_anonymous() { Caller::Anonymous } else { backend.caller(identity.access_key()) };
    Ok((rule, backend, caller))
}

/// The key that an object operation names.
pub fn object_key<'a>(route: &Route<'_>, request: &'a S3Request) -> Result<&'a ObjectKey> {
    let key = request.key()?;
    if route.backend.is_hidden(route.bucket, Some(key.as_bytes())) {
        return Err(Error::client(Code::NoSuchKey, "The specified key does not exist."));
    }
    Ok(key)
}

/// The version that a request names. What cannot be one is refused: taken for "the latest", a delete of it would hit
/// the wrong object.
pub fn version(request: &S3Request) -> Result<Option<&str>> {
    const NAME: &str = "versionId";
    let mut given = request.query.iter().filter(|p| p.name == NAME.as_bytes());
    let Some(first) = given.next() else { return Ok(None) };
    let text = std::str::from_utf8(first.value.as_deref().unwrap_or_default()).unwrap_or_default();
    let why = match (text, given.next()) {
        ("", None) => "Version id cannot be the empty string, and has to be UTF-8",
        (_, Some(_)) => "Version id is given twice",
        _ => return Ok(Some(text)),
    };
    Err(Error::client(Code::InvalidArgument, why).field("ArgumentName", NAME))
}

/// Runs the handler of the request's operation.
pub async fn dispatch(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    request.operation.refuse()?;
    customer::refuse_insecure(&request.headers, request.secure)?;
    Box::pin(folded::refuse(services, request)).await?;
    // A policy is passed on too, after a look into it.
    if matches!(request.operation.class(), Class::Pass | Class::PassIfListed(_))
        || request.operation == Operation::PutBucketPolicy
    {
        return Box::pin(pass::pass(services, request, exchange)).await;
    }
    // Boxed, or the future of every request would be as large as that of the largest handler.
    match request.operation {
        Operation::PutObject => Box::pin(put::put_object(services, request, exchange)).await,
        Operation::PostObject => Box::pin(post::post_object(services, request, exchange)).await,
        Operation::GetObject => Box::pin(get::get_object(services, request, exchange)).await,
        Operation::HeadObject => Box::pin(get::head_object(services, request)).await,
        Operation::CopyObject => Box::pin(copy::copy_object(services, request, exchange)).await,
        Operation::UpdateObjectEncryption => {
            Box::pin(copy::update_object_encryption(services, request, exchange)).await
        }
        Operation::GetObjectAttributes => {
            Box::pin(attributes::get_object_attributes(services, request)).await
        }
        Operation::CreateMultipartUpload
        | Operation::UploadPart
        | Operation::UploadPartCopy
        | Operation::CompleteMultipartUpload
        | Operation::ListParts
        | Operation::ListMultipartUploads
        | Operation::AbortMultipartUpload => Box::pin(multipart::dispatch(services, request, exchange)).await,
        Operation::DeleteObject => Box::pin(delete::delete_object(services, request)).await,
        Operation::DeleteObjects => Box::pin(delete::delete_objects(services, request, exchange)).await,
        Operation::ListObjects | Operation::ListObjectsV2 | Operation::ListObjectVersions => {
            Box::pin(list::list(services, request)).await
        }
        Operation::ListBuckets => Box::pin(bucket::list_buckets(services, request)).await,
        Operation::CreateBucket => Box::pin(bucket::create_bucket(services, request, exchange)).await,
        Operation::DeleteBucket => Box::pin(bucket::delete_bucket(services, request)).await,
        Operation::GetBucketEncryption => {
            Box::pin(encryption::get_bucket_encryption(services, request)).await
        }
        Operation::PutBucketEncryption => {
            Box::pin(encryption::put_bucket_encryption(services, request, exchange)).await
        }
        Operation::DeleteBucketEncryption => {
            Box::pin(encryption::delete_bucket_encryption(services, request)).await
        }
        Operation::MinioHealth => minio::health(services, request),
        Operation::MinioKms => Box::pin(minio::kms(services, request)).await,
        other => Err(Error::internal(format!("no handler for {}", other.name()))),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::s3::{RequestHead, RequestId};

    fn versions(query: &str) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        headers.insert("host", http::HeaderValue::from_static("s3"));
        let request = S3Request::parse(RequestHead {
            method: Method::DELETE,
            target: &format!("/bkt/k?{query}"),
            headers,
            secure: false,
            domains: &[],
            region: None,
            minio_api: false,
            request_id: RequestId::from_random([0; 8]),
        })?;
        version(&request).map(|v| v.map(str::to_owned))
    }

    #[test]
    fn only_a_request_without_a_version_means_the_latest() {
        assert_eq!(versions("x-id=DeleteObject").unwrap(), None);
        assert_eq!(versions("versionId=3%2F4").unwrap().as_deref(), Some("3/4"));
        assert_eq!(versions("versionId=null").unwrap().as_deref(), Some("null"));
        for bad in ["versionId=%ff", "versionId=", "versionId", "versionId=3&versionId=3"] {
            assert_eq!(versions(bad).unwrap_err().code(), &Code::InvalidArgument, "{bad}");
        }
    }
}
