//! Tags as the header of a write: those of an object that is written anew (a backend copies them, a pump has to), or of a form.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use crate::backend::error_from;
use crate::error::{Error, Result};
use crate::info::Target;
use crate::s3::name::encode_component;
use crate::s3::xml::parse_tags;

/// Ten tags of 128 and 256 characters, and markup.
const MAX_ANSWER: usize = 64 * 1024;
/// What backends say of an object without tags, or of tags altogether.
const NONE: [&str; 4] = ["NoSuchTagSet", "NoSuchTagSetError", "NotImplemented", "MethodNotAllowed"];

/// As `x-amz-tagging` of a write. `None`: it has no tags.
pub(crate) async fn tags_of(target: &Target<'_>) -> Result<Option<HeaderValue>> {
    let out = target.outgoing(Method::GET).flag("tagging");
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    if response.status != StatusCode::OK {
        let error = error_from(response, &target.names()).await;
        return if NONE.contains(&error.code().name()) { Ok(None) } else { Err(error) };
    }
    header_of(&parse_tags(&response.body.collect(MAX_ANSWER).await?)?)
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
