//! Whether the backend honours conditions of copies: on the source, without which a copy may mix one object's bytes with
//! another one's key, and on the destination. Copies of parts are another matter than those of objects.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{MAX_DOCUMENT, OLD, Outgoing, Probe, refused};
use crate::backend::profile::Profile;
use crate::error::Result;
use crate::s3::headers::{COPY_SOURCE, copy_source};
use crate::s3::xml::{parse_backend_copy, parse_initiated, render_complete};

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
        let wrong = self.copy_part(OTHER).await?;
        let right = self.copy_part(&etag).await?;
        profile.part_copies = right.is_some_and(|status| status.is_success())
            && self.read("parts").await?.as_deref() == Some(OLD);
        profile.part_copy_source_if_match = profile.part_copies && wrong.is_some_and(failed);
        let text = |status: Option<StatusCode>| status.map_or("no upload".to_owned(), |s| s.to_string());
        self.note(
            "copy of a part, x-amz-copy-source-if-match",
            profile.part_copy_source_if_match,
            format!("{} on another ETag, {} on its own", text(wrong), text(right)),
        );
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

    /// The status of a copy.
    async fn copy(&self, to: &str, condition: HeaderName, value: &str) -> Result<StatusCode> {
        let out = self
            .copying(self.object(Method::PUT, to)?, condition, value)?
            .header(HeaderName::from_static("x-amz-metadata-directive"), HeaderValue::from_static("REPLACE"));
        Ok(self.status_of(out).await?.0)
    }

    /// The status of a copy that becomes the one part of an upload; `None` where it takes no uploads.
    async fn copy_part(&self, if_match: &str) -> Result<Option<StatusCode>> {
        let object = |method| self.object(method, "parts");
        let begun = self.send(object(Method::POST)?.flag("uploads"), Bytes::new()).await?;
        if !begun.is_success() {
            return Ok(None);
        }
        let Ok(id) = parse_initiated(&begun.body.prefix(MAX_DOCUMENT).await) else { return Ok(None) };
        let part = object(Method::PUT)?.param("partNumber", "1").param("uploadId", id.as_str());
        let (status, document) = self.status_of(self.copying(part, SOURCE_IF_MATCH, if_match)?).await?;
        if status.is_success()
            && let Ok(copied) = parse_backend_copy(&document)
        {
            let list = render_complete([(1, copied.etag.as_str())]);
            let out = object(Method::POST)?.param("uploadId", id.as_str());
            return Ok(Some(self.send(out, list.into()).await?.status));
        }
        self.send(object(Method::DELETE)?.param("uploadId", id.as_str()), Bytes::new()).await?;
        Ok(Some(status))
    }

    fn copying(&self, out: Outgoing, condition: HeaderName, value: &str) -> Result<Outgoing> {
        let source = self.object(Method::GET, "copied")?;
        let (Some(bucket), Some(key)) = (&source.bucket, &source.key) else {
            return Err(refused("a name of the system area without a key"));
        };
        let value =
            HeaderValue::from_str(value).map_err(|e| refused(&format!("an ETag that is no header: {e}")))?;
        Ok(out.header(COPY_SOURCE, copy_source(bucket, key, None)?).header(condition, value))
    }

    /// The status of a copy and its document; an error within a 200 counts as 500.
    async fn status_of(&self, out: Outgoing) -> Result<(StatusCode, Bytes)> {
        let response = self.send(out, Bytes::new()).await?;
        let status = response.status;
        let document = response.body.prefix(MAX_DOCUMENT).await;
        let late = status.is_success() && document.windows(7).any(|window| window == b"<Error>");
        Ok((if late { StatusCode::INTERNAL_SERVER_ERROR } else { status }, document))
    }
}

fn failed(status: StatusCode) -> bool {
    status == StatusCode::PRECONDITION_FAILED
}
