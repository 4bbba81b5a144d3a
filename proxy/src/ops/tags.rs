//! Tags as the header of a write: those of an object that is written anew (a backend copies them, a pump has to), or of a form.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::backend::error_from;
use crate::error::{Code, Error, Result};
use crate::info::{self, Target};
use crate::s3::name::encode_component;
use crate::s3::xml::parse_tags;

/// Ten tags of 128 and 256 characters, and markup.
const MAX_ANSWER: usize = 64 * 1024;
/// What backends say of an object without tags, or of tags altogether.
const NONE: [&str; 4] = ["NoSuchTagSet", "NoSuchTagSetError", "NotImplemented", "MethodNotAllowed"];

const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
const TAGGING_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-tagging-directive");

/// Makes of the tagging directive of a copy the tags of a write that is none: those of its source are read and said. `found`
/// are the headers of the source.
///
/// # Errors
/// AccessDenied where the storage does not let its tags be read: they would be lost, if there are any.
pub(crate) async fn say_tags(headers: &mut HeaderMap, source: &Target<'_>, found: &HeaderMap) -> Result<()> {
    if headers.remove(TAGGING_DIRECTIVE).is_none_or(|directive| directive != "COPY") {
        return Ok(());
    }
    headers.remove(TAGGING);
    // Only a count says that there are none: not every storage gives one, and S3 gives none to whom it shows no tags.
    let count = found.get(TAGGING_COUNT);
    if count.is_some_and(|count| count == "0") {
        return Ok(());
    }
    match tags_of(source).await? {
        Some(tags) => drop(headers.insert(TAGGING, tags)),
        None if count.is_none() => {}
        None => return Err(info::unexpected("no tags of an object that it has just counted some of")),
    }
    Ok(())
}

/// As `x-amz-tagging` of a write. `None`: it has no tags.
async fn tags_of(target: &Target<'_>) -> Result<Option<HeaderValue>> {
    let out = target.outgoing(Method::GET).flag("tagging");
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    if response.status == StatusCode::OK {
        return header_of(&parse_tags(&response.body.collect(MAX_ANSWER).await?)?);
    }
    let error = error_from(response, &target.names()).await;
    match error.code() {
        code if NONE.contains(&code.name()) => Ok(None),
        Code::AccessDenied => Err(Error::client(
            Code::AccessDenied,
            "The storage does not let the proxy read the tags of this object (s3:GetObjectTagging), and without them a copy \
             would lose them. Grant that right, or replace the tags: x-amz-tagging-directive: REPLACE.",
        )
        .because(error.to_string())),
        _ => Err(error),
    }
}

/// Tags as `x-amz-tagging`; `None` where there are none.
pub(crate) fn header_of(tags: &[(String, String)]) -> Result<Option<HeaderValue>> {
    if tags.is_empty() {
        return Ok(None);
    }
    let pair = |(key, value): &(String, String)| {
        format!("{}={}", encode_component(key.as_bytes()), encode_component(value.as_bytes()))
    };
    let text = tags.iter().map(pair).collect::<Vec<_>>().join("&");
    HeaderValue::try_from(text).map(Some).map_err(|_| Error::internal("encoded tags are no header value"))
}
