//! A multipart upload as the backend has it: begun with an object's envelope, completed, given up. What clients see of it, if
//! they see it at all, is decided elsewhere.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_format::{Envelope, Kind, ObjectSecrets};

use crate::backend::{Names, Response, error_from};
use crate::body;
use crate::error::{Code, Error, Result};
use crate::info::{self, Target};
use crate::keys::random::SystemRandom;
use crate::ops::late;
use crate::ops::write_key::WriteKey;
use crate::plan::answer;
use crate::s3::checksum::content_md5;
use crate::s3::etag;
use crate::s3::xml::{first_text, parse_initiated, render_complete};
use crate::uploads::no_such_upload;

/// Answers about uploads, lists of parts included.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// An upload that has begun.
pub(in crate::ops) struct Begun {
    /// The backend's id of it.
    pub(in crate::ops) id: String,
    /// The envelope that its object will have.
    pub(in crate::ops) envelope: Envelope,
    /// What seals its parts and its trailer.
    pub(in crate::ops) secrets: ObjectSecrets,
    /// What the backend's answer may show.
    pub(in crate::ops) headers: HeaderMap,
}

/// Begins one under `key`, with `headers` as those of its object.
pub(in crate::ops) async fn begin(target: &Target<'_>, headers: HeaderMap, key: &WriteKey) -> Result<Begun> {
    let secrets = ObjectSecrets::multipart(&mut SystemRandom);
    let header = key.envelope_header(Kind::Multipart);
    let envelope =
        Envelope::rewrap(&secrets, header, key.key_ref(), &target.object_name(), &mut SystemRandom)
            .map_err(|e| Error::internal(format!("sealing an envelope: {e}")))?;
    let (id, headers) = begin_under(target, headers, &envelope).await?;
    Ok(Begun { id, envelope, secrets, headers })
}

/// Begins one whose object will have `envelope`. Gives the backend's id of it, and what its answer may show.
pub(in crate::ops) async fn begin_under(
    target: &Target<'_>,
    headers: HeaderMap,
    envelope: &Envelope,
) -> Result<(String, HeaderMap)> {
    let mut out = target.outgoing(Method::POST).flag("uploads");
    out.headers = headers;
    body::carry_envelope(envelope, &mut out)?;
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    let (headers, document) = late::document(response, &target.names()).await?;
    Ok((parse_initiated(&document)?, answer::from_backend(&headers)))
}

/// Has the backend put together these parts, given by their numbers and its own ETags. Gives what its answer may show, and
/// its ETag of the object.
pub(in crate::ops) async fn complete(
    target: &Target<'_>,
    id: &str,
    parts: &[(u16, String)],
    conditions: HeaderMap,
) -> Result<(HeaderMap, String)> {
    let document = Bytes::from(render_complete(parts.iter().map(|(n, etag)| (*n, etag.as_str()))));
    let mut out = target.outgoing(Method::POST).param("uploadId", id);
    out.headers.extend(conditions);
    out.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let response = target.backend.call(target.caller, out, document).await?;
    let (headers, document) = late::document(response, &target.names()).await?;
    let headers = answer::from_backend(&headers);
    let unreadable = || info::unexpected("an answer to CompleteMultipartUpload that tells nothing");
    let etag = first_text(&document, "ETag").map_err(|_| unreadable())?.unwrap_or_default();
    let etag = etag::unquote(&etag).to_owned();
    if etag.is_empty() { Err(unreadable()) } else { Ok((headers, etag)) }
}

/// What the backend says against a request on an upload's parts. Storage that takes the upload apart just then may miss a file
/// of it, and call that a key: there is no key that such a request could miss.
pub(super) async fn error_about(response: Response, names: &Names<'_>) -> Error {
    let error = error_from(response, names).await;
    if *error.code() == Code::NoSuchKey { no_such_upload().because(error.to_string()) } else { error }
}

/// Stores a trailer as part `number`; the answer may be an error.
pub(in crate::ops) async fn store_trailer(
    target: &Target<'_>,
    id: &str,
    number: u16,
    trailer: Bytes,
) -> Result<Response> {
    let mut out = target.outgoing(Method::PUT).param("partNumber", number.to_string()).param("uploadId", id);
    // A bucket with Object Lock wants a digest, and elsewhere it does no harm.
    out.headers.insert(HeaderName::from_static("content-md5"), content_md5(&trailer));
    target.backend.call(target.caller, out, trailer).await
}

/// Ends an upload that no client will hear of. Whether it is no more.
pub(in crate::ops) async fn give_up(target: &Target<'_>, id: &str) -> bool {
    let out = target.outgoing(Method::DELETE).param("uploadId", id);
    let error = match target.backend.call(target.caller, out, Bytes::new()).await {
        Ok(response) if response.is_success() => return true,
        Ok(response) => error_from(response, &target.names()).await,
        Err(error) => error,
    };
    if *error.code() == Code::NoSuchUpload {
        return true;
    }
    tracing::warn!(%error, "an upload that came to nothing stays on the backend");
    false
}
