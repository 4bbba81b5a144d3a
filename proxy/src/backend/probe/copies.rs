//! Whether the backend honours conditions of copies: on the source, without which a copy may mix one object's bytes with
//! another one's key, and on the destination.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{MAX_DOCUMENT, OLD, Probe, refused};
use crate::backend::profile::Profile;
use crate::error::Result;
use crate::s3::headers::{COPY_SOURCE, copy_source};

const OTHER: &str = "\"00000000000000000000000000000000\"";
const SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");

impl Probe<'_> {
    pub(super) async fn copies(&mut self, profile: &mut Profile) -> Result<()> {
        let etag = self.store("copied", OLD).await?;
        let wrong = self.copy("copy", SOURCE_IF_MATCH, OTHER).await?;
        let right = self.copy("copy", SOURCE_IF_MATCH, &etag).await?;
        profile.copy_source_if_match = failed(wrong) && right.is_success();
        self.note(
            "copy, x-amz-copy-source-if-match",
            profile.copy_source_if_match,
            format!("{wrong} on another ETag, {right} on its own"),
        );
        // One that does not know copies stores the request's own empty body.
        profile.copies = right.is_success() && self.read("copy").await?.as_deref() == Some(OLD);
        if !profile.copies {
            self.note(
                "copy",
                false,
                "not made by the backend itself; every copy moves its bytes through the proxy",
            );
            return Ok(());
        }
        let wrong = self.copy("copy", header::IF_MATCH, OTHER).await?;
        let right = self.copy("copy", header::IF_MATCH, &etag).await?;
        profile.copy_if_match = failed(wrong) && right.is_success();
        self.note(
            "copy, If-Match",
            profile.copy_if_match,
            format!("{wrong} on another ETag, {right} on its own"),
        );
        let there = self.copy("copy", header::IF_NONE_MATCH, "*").await?;
        let fresh = self.copy("copy-new", header::IF_NONE_MATCH, "*").await?;
        profile.copy_if_none_match = failed(there) && fresh.is_success();
        self.note(
            "copy, If-None-Match: *",
            profile.copy_if_none_match,
            format!("{there} on an object, {fresh} on none"),
        );
        Ok(())
    }

    /// The status of a copy; an error within a 200 counts as 500.
    async fn copy(&self, to: &str, condition: HeaderName, value: &str) -> Result<StatusCode> {
        let source = self.object(Method::GET, "copied")?;
        let (Some(bucket), Some(key)) = (&source.bucket, &source.key) else {
            return Err(refused("a name of the system area without a key"));
        };
        let value =
            HeaderValue::from_str(value).map_err(|e| refused(&format!("an ETag that is no header: {e}")))?;
        let out = self
            .object(Method::PUT, to)?
            .header(COPY_SOURCE, copy_source(bucket, key, None)?)
            .header(HeaderName::from_static("x-amz-metadata-directive"), HeaderValue::from_static("REPLACE"))
            .header(condition, value);
        let response = self.send(out, Bytes::new()).await?;
        let status = response.status;
        let document = response.body.prefix(MAX_DOCUMENT).await;
        let late = status.is_success() && document.windows(7).any(|window| window == b"<Error>");
        Ok(if late { StatusCode::INTERNAL_SERVER_ERROR } else { status })
    }
}

fn failed(status: StatusCode) -> bool {
    status == StatusCode::PRECONDITION_FAILED
}
