//! The source of a copy: whether this client may read it, where it lies, what it is, and whether its conditions hold.
//! What is made of it is the copying operations' own.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{folded, reach};
use crate::auth::Verified;
use crate::backend::{Backend, Caller};
use crate::config::{Action, BucketRule};
use crate::error::{Code, Error, Result};
use crate::info::{self, Found, Info, Need, Opens, Target};
use crate::plan::copy::{CopySource, check_source};
use crate::plan::customer::CustomerKeyHeaders;
use crate::s3::S3Request;
use crate::s3::headers::{COPY_SOURCE, copy_source};
use crate::services::Services;

const EXPECTED_OWNER: HeaderName = HeaderName::from_static("x-amz-expected-bucket-owner");
const EXPECTED_SOURCE_OWNER: HeaderName = HeaderName::from_static("x-amz-source-expected-bucket-owner");
const REQUEST_PAYER: HeaderName = HeaderName::from_static("x-amz-request-payer");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const SOURCE_VERSION_ID: HeaderName = HeaderName::from_static("x-amz-copy-source-version-id");
/// Pins the source of a copy that the backend makes.
const COPY_SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");

/// The source of a CopyObject or UploadPartCopy request, read just now.
pub struct Source<'a> {
    /// What the request names.
    pub named: CopySource,
    /// Its bucket's rule.
    pub rule: &'a BucketRule,
    /// Where it lies.
    pub backend: &'a Backend,
    /// Under whose keys it is read.
    pub caller: Caller,
    /// The customer's key that came for it, if any.
    pub customer: Option<CustomerKeyHeaders>,
    /// What was found there.
    pub found: Found,
    carried: HeaderMap,
}

impl<'a> Source<'a> {
    /// Reads the source that a request names: the client needs the right to read it, and for an object under a customer's
    /// key that key. Its conditions hold when this returns.
    ///
    /// # Errors
    /// Those of reading it; PreconditionFailed.
    pub async fn of(services: &'a Services, request: &'a Verified<S3Request>, need: Need) -> Result<Self> {
        let named = CopySource::of(&request.headers)?;
        request.identity().authorize(Action::Read, &named.bucket, Some(named.key.as_bytes()))?;
        let customer = CustomerKeyHeaders::of_copy_source(&request.headers)?;
        let (rule, backend, caller) = reach(services, request, &named.bucket)?;
        if backend.is_hidden(&named.bucket, Some(named.key.as_bytes())) {
            return Err(Error::client(Code::NoSuchKey, "The specified key does not exist.")
                .field("Key", named.key.to_lossy()));
        }
        folded::refuse_missing(backend, &named.key).await?;
        // Until it is measured a backend promises nothing, and the copy would be refused for good.
        backend.prepare().await?;
        let carried = carried(&request.headers);
        let target = Target {
            backend,
            caller: &caller,
            rule,
            bucket: &named.bucket,
            key: &named.key,
            version: named.version.as_deref(),
            carried: Some(&carried),
            opens: Opens::Client(customer.as_ref()),
        };
        let found = Box::pin(info::read(services, &target, need)).await;
        let found = found.map_err(|error| of_source(error, &named))?;
        check_source(&request.headers, &found.info)?;
        Ok(Self { named, rule, backend, caller, customer, found, carried })
    }

    /// Reads it again, for a copy that met another object than the one that was found. The client's conditions have to hold
    /// on this one too.
    ///
    /// # Errors
    /// As [`Source::of`].
    pub async fn again(&mut self, services: &Services, request: &S3Request, need: Need) -> Result<()> {
        let found = Box::pin(info::read(services, &self.target(), need)).await;
        self.found = found.map_err(|error| of_source(error, &self.named))?;
        check_source(&request.headers, &self.found.info)
    }

    /// What is known of it.
    pub fn info(&self) -> &Info {
        &self.found.info
    }

    /// For reads of its bytes.
    pub fn target(&self) -> Target<'_> {
        Target {
            backend: self.backend,
            caller: &self.caller,
            rule: self.rule,
            bucket: &self.named.bucket,
            key: &self.named.key,
            version: self.named.version.as_deref(),
            carried: Some(&self.carried),
            opens: Opens::Client(self.customer.as_ref()),
        }
    }

    /// Tells in an answer which version was copied, in place of what the backend said of it; of a bucket that keeps none S3
    /// tells nothing.
    pub fn show_version(&self, out: &mut HeaderMap) {
        out.remove(SOURCE_VERSION_ID);
        if let Some(version) = self.found.headers.get(VERSION_ID).filter(|version| *version != "null") {
            out.insert(SOURCE_VERSION_ID, version.clone());
        }
    }

    /// See [`pins`].
    pub fn pins(&self) -> Result<HeaderMap> {
        pins(&self.target(), self.info())
    }
}

/// What has the backend copy this very object and no later one: its name, and the ETag it has. A self-copy leaves the
/// ETag as it is, and the bytes too, so that a newer envelope does no harm. A date would not help: a backend has to
/// ignore it beside a tag that matches (RFC 9110 section 13.2.2), and those that do not compare fractions of a second.
pub fn pins(source: &Target<'_>, info: &Info) -> Result<HeaderMap> {
    let mut out = HeaderMap::new();
    out.insert(COPY_SOURCE, copy_source(source.bucket, source.key, source.version)?);
    out.insert(COPY_SOURCE_IF_MATCH, info::pin(&info.backend_etag)?);
    Ok(out)
}

/// Whether the answer that was read was about the version that is named, which never changes.
pub fn is_version(source: &Target<'_>, found: &Found) -> bool {
    // A version of that name is overwritten where versioning is off.
    let named = source.version.filter(|version| *version != "null");
    let answered = found.headers.get(VERSION_ID).and_then(|value| value.to_str().ok());
    named.is_some() && named == answered
}

/// What of a client's headers goes along with reads of the source. The owner that is expected of it has a name of its own.
fn carried(request: &HeaderMap) -> HeaderMap {
    let pairs =
        [(ORIGIN, &ORIGIN), (REQUEST_PAYER, &REQUEST_PAYER), (EXPECTED_OWNER, &EXPECTED_SOURCE_OWNER)];
    let value = |name: &HeaderName| -> Option<HeaderValue> { request.get(name).cloned() };
    pairs.into_iter().filter_map(|(name, theirs)| Some((name, value(theirs)?))).collect()
}

/// A delete marker that was named as a version is no object, and nothing else is wrong with the request. A bucket that the
/// storage holds to stricter rules is one of the source's.
fn of_source(error: Error, named: &CopySource) -> Error {
    if *error.code() == Code::InvalidBucketName {
        return Error::client(Code::InvalidArgument, "Invalid copy source bucket name")
            .field("ArgumentName", COPY_SOURCE.as_str());
    }
    if named.version.is_none() || error.code().name() != Code::MethodNotAllowed.name() {
        return error;
    }
    Error::client(
        Code::InvalidRequest,
        "The source of a copy request may not specifically refer to a delete marker by version id.",
    )
}
