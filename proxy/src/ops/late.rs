//! Answers that a backend began before it knew them: a 200 whose document is an error all the same.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::backend::{Body, Names, Response, error_from};
use crate::error::{Code, Result};
use crate::info;
use crate::s3::xml::first_text;

const MAX_ANSWER: usize = 4 << 20;

/// Headers and document of a success. Any error comes out as one, whenever the backend found it.
pub(super) async fn document(response: Response, names: &Names<'_>) -> Result<(HeaderMap, Bytes)> {
    if response.status != StatusCode::OK {
        return Err(error_from(response, names).await);
    }
    let headers = response.headers;
    let document = response.body.collect(MAX_ANSWER).await?;
    let code = first_text(&document, "Code").map_err(|_| info::unexpected("an answer that is no XML"))?;
    let Some(code) = code else { return Ok((headers, document)) };
    let status = Code::known(&code).map_or(StatusCode::INTERNAL_SERVER_ERROR, |code| code.status());
    let late = Response { status, headers: HeaderMap::new(), body: Body::from_bytes(document) };
    Err(error_from(late, names).await)
}
