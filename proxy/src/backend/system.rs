//! The system area: the bucket, or prefix of one, where the proxy keeps its own state on a backend. Makes it, checks
//! that it is ours and fit, names things in it. What is kept there, and how it is sealed, is decided elsewhere.

mod delete;
mod pages;

use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::failure::{Names, error_from};
use super::xml::leaves;
use super::{Backend, Caller, Outgoing};
use crate::error::{Code, Error, Result};
use crate::s3::name::{BucketName, ObjectKey};
pub use pages::{Named, Page, Pages};

/// Newest layout of the area that this release reads and writes.
const FORMAT: u32 = 1;
/// Components of names in the area stay below what common file systems take (255), escapes included.
const COMPONENT: usize = 200;
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Time for a competing replica's `format` object to show on a backend without conditional writes.
const SETTLE: Duration = Duration::from_millis(200);

/// Random name of one system area. Sealed state is bound to it, never to an endpoint, which may be renamed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SystemId([u8; 16]);

impl SystemId {
    /// The bytes that go into what is authenticated.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

/// The `format` object.
#[derive(Debug, Deserialize, Serialize)]
struct Format {
    format: u32,
    system_id: String,
}

/// An opened system area. Always under the backend's own keys.
#[derive(Clone, Debug)]
pub struct SystemArea {
    backend: Backend,
    opened: Opened,
}

/// What its `format` object says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    id: SystemId,
    format: u32,
}

impl SystemArea {
    /// Makes the area if it is absent, refuses it if it is not fit, and reads its id.
    pub(super) async fn open(backend: &Backend) -> Result<Opened> {
        let area = Self::new(backend, Opened { id: SystemId([0; 16]), format: FORMAT });
        area.own().await?;
        area.refuse_unfit().await?;
        let format = area.settle_format().await?;
        let id = SystemId::parse(&format.system_id)
            .ok_or_else(|| unusable("its `format` object has no readable system id"))?;
        if !(1..=FORMAT).contains(&format.format) {
            return Err(unusable(&format!(
                "it has format {}, and this release knows formats 1 to {FORMAT}: upgrade s3cloak",
                format.format
            )));
        }
        Ok(Opened { id, format: format.format })
    }

    pub(super) fn new(backend: &Backend, opened: Opened) -> Self {
        Self { backend: backend.clone(), opened }
    }

    /// Its random id.
    pub fn id(&self) -> &SystemId {
        &self.opened.id
    }

    /// The layout to write; a release reads older ones too.
    pub fn format(&self) -> u32 {
        self.opened.format
    }

    /// A request on an object of the area. `name` is of `[A-Za-z0-9._/-]`; long parts are cut with
    /// [`components`].
    pub fn object(&self, method: Method, name: &str) -> Result<Outgoing> {
        let system = &self.backend.config().system;
        let key = ObjectKey::parse(format!("{}{name}", system.prefix))?;
        Ok(Outgoing::object(method, &system.bucket, &key))
    }

    /// Reads an object of the area; `None` if it is not there.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let response = self.call(self.object(Method::GET, name)?, Bytes::new()).await?;
        match response.status {
            StatusCode::OK => response.body.collect(MAX_ANSWER).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(error_from(response, &Names::default()).await),
        }
    }

    /// Writes an object of the area.
    pub async fn put(&self, name: &str, body: Bytes) -> Result<()> {
        self.done(self.object(Method::PUT, name)?, body).await
    }

    /// Deletes an object of the area; one that is not there counts as deleted.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let response = self.call(self.object(Method::DELETE, name)?, Bytes::new()).await?;
        if response.is_success() || response.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(error_from(response, &Names::default()).await)
    }

    async fn call(&self, out: Outgoing, body: Bytes) -> Result<super::Response> {
        self.backend.call(&Caller::Own, out, body).await
    }

    async fn done(&self, out: Outgoing, body: Bytes) -> Result<()> {
        let response = self.call(out, body).await?;
        if response.is_success() {
            return Ok(());
        }
        Err(error_from(response, &Names::default()).await)
    }

    /// A bucket of that name may be somebody else's: it counts only if our own ListBuckets shows it. In a
    /// one-bucket account (a prefix is set) there may be no ListBuckets, so the operator's word counts.
    async fn own(&self) -> Result<()> {
        let system = &self.backend.config().system;
        if !system.prefix.is_empty() {
            let head = self.call(Outgoing::bucket(Method::HEAD, &system.bucket), Bytes::new()).await?;
            if head.is_success() {
                return Ok(());
            }
            return Err(unusable(&format!("HEAD of bucket {} gives {}", system.bucket, head.status)));
        }
        if self.is_listed().await? {
            return Ok(());
        }
        let made = self.make_bucket(&system.bucket).await?;
        // A replica that starts beside us may have made it meanwhile; the listing decides.
        let refused = if made.is_success() { None } else { Some(error_from(made, &Names::default()).await) };
        if self.is_listed().await? {
            return Ok(());
        }
        Err(unusable(&format!(
            "bucket {} can't be made or belongs to another account ({}); set `system.bucket` to a free name, or \
             `system.bucket` and `system.prefix` for an account with one bucket",
            system.bucket,
            refused.map_or_else(|| "ListBuckets does not show it".to_owned(), |error| error.to_string())
        )))
    }

    /// CreateBucket under our own keys, whatever comes of it.
    pub(super) async fn make_bucket(&self, name: &BucketName) -> Result<super::Response> {
        let region = &self.backend.config().region;
        let body = if region == "us-east-1" {
            Bytes::new()
        } else {
            format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
            .into()
        };
        self.call(Outgoing::bucket(Method::PUT, name), body).await
    }

    async fn is_listed(&self) -> Result<bool> {
        let response = self.call(Outgoing::service(Method::GET), Bytes::new()).await?;
        if !response.is_success() {
            return Err(error_from(response, &Names::default()).await);
        }
        let name = self.backend.config().system.bucket.as_str();
        let buckets = leaves(&response.body.collect(MAX_ANSWER).await?);
        Ok(buckets.iter().any(|(path, text)| path.ends_with("/Buckets/Bucket/Name") && text == name))
    }

    /// Versions would keep what is deleted, a lock would keep us from deleting, a lifecycle rule would delete what
    /// is in use. A backend without such a subresource has none.
    async fn refuse_unfit(&self) -> Result<()> {
        type Fault = fn(&str, &str) -> bool;
        let checks: [(&str, &str, Fault); 3] = [
            ("versioning", "versioning", |path, text| {
                path == "VersioningConfiguration/Status" && text == "Enabled"
            }),
            ("object-lock", "object lock", |path, text| {
                path.ends_with("/ObjectLockEnabled") && text == "Enabled"
            }),
            ("lifecycle", "lifecycle rules", |path, _| path.starts_with("LifecycleConfiguration/Rule")),
        ];
        let bucket = &self.backend.config().system.bucket;
        for (subresource, what, fault) in checks {
            let out = Outgoing::bucket(Method::GET, bucket).flag(subresource);
            let response = self.call(out, Bytes::new()).await?;
            let status = response.status;
            if !response.is_success() {
                let error = error_from(response, &Names::default()).await;
                let lacking = status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED;
                if !lacking {
                    return Err(error);
                }
                if status == StatusCode::FORBIDDEN {
                    tracing::warn!(%bucket, subresource, "can't see whether the system bucket has it: denied");
                }
                continue;
            }
            let found = leaves(&response.body.collect(MAX_ANSWER).await?);
            if found.iter().any(|(path, text)| fault(path, text)) {
                return Err(unusable(&format!(
                    "bucket {bucket} has {what}; use a bucket of its own without"
                )));
            }
        }
        Ok(())
    }

    /// Reads `format`, or writes it once. Where conditional writes are ignored, two first starts at the same moment
    /// may both write; the later one stands, and both read it after a pause.
    async fn settle_format(&self) -> Result<Format> {
        if let Some(format) = self.read_format().await? {
            return Ok(format);
        }
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| Error::internal("no randomness"))?;
        let format = Format { format: FORMAT, system_id: hex::encode(id) };
        let body = serde_json::to_vec(&format).map_err(|e| Error::internal(e.to_string()))?;
        let out = self
            .object(Method::PUT, "format")?
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let once = out.clone().header(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        let response = self.call(once, body.clone().into()).await?;
        match response.status.as_u16() {
            200..=299 | 409 | 412 => {}
            501 => self.done(out, body.into()).await?,
            _ => return Err(error_from(response, &Names::default()).await),
        }
        tokio::time::sleep(SETTLE).await;
        self.read_format().await?.ok_or_else(|| unusable("its `format` object was written and is not there"))
    }

    async fn read_format(&self) -> Result<Option<Format>> {
        let Some(body) = self.get("format").await? else { return Ok(None) };
        let format = serde_json::from_slice(&body).map_err(|e| {
            unusable(&format!("its `format` object can't be read ({e}); restore it, never delete it"))
        })?;
        Ok(Some(format))
    }
}

impl Backend {
    /// Whether clients must not see or touch this name: it lies in the system area.
    pub fn is_hidden(&self, bucket: &BucketName, key: Option<&[u8]>) -> bool {
        let system = &self.config().system;
        if *bucket != system.bucket {
            return false;
        }
        system.prefix.is_empty() || key.is_some_and(|key| key.starts_with(system.prefix.as_bytes()))
    }
}

/// Cuts a long name with `/` into parts that file systems behind a backend can hold.
pub fn components(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + name.len() / COMPONENT);
    for (i, c) in name.chars().enumerate() {
        if i > 0 && i % COMPONENT == 0 {
            out.push('/');
        }
        out.push(c);
    }
    out
}

fn unusable(why: &str) -> Error {
    Error::backend(
        Code::ServiceUnavailable,
        "The proxy's own area on the storage behind it is not usable. Tell the operator.",
    )
    .because(format!("system area: {why}"))
}
