//! The plaintext of a stored object, or a range of it, for whoever hands it on: to a client, or into another object. One
//! backend request, pinned to the object that the info speaks of, and held to what it says.

use std::ops::Range;

use bytes::Bytes;
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_format::{Envelope, Layout, ObjectSecrets, Trailer};

use crate::backend::{Body, Response, error_from};
use crate::body::{Opening, Reader, Window};
use crate::error::{Error, Result};
use crate::info::{self, Found, Info, Looks, Target};
use crate::services::Services;

/// The body request's answer, checked against the info that planned it.
pub(crate) struct Fetched {
    /// The backend's headers in that very answer.
    pub(crate) headers: HeaderMap,
    /// The envelope that came with the bytes, for sealed objects.
    pub(crate) opened: Option<(Envelope, ObjectSecrets)>,
    /// Its plaintext.
    pub(crate) reader: Reader,
}

/// Requests plaintext `range` of the object, and opens its first bytes. `None`: it is another object by now.
pub(crate) async fn fetch(
    services: &Services,
    target: &Target<'_>,
    info: &Info,
    range: &Range<u64>,
) -> Result<Option<Fetched>> {
    let mut looks = Looks::default();
    loop {
        match begin(services, target, info, range).await {
            Err(error) if looks.another_after(&error) => {}
            begun => return begun,
        }
    }
}

async fn begin(
    services: &Services,
    target: &Target<'_>,
    info: &Info,
    range: &Range<u64>,
) -> Result<Option<Fetched>> {
    let mut fetched = request(services, target, info, range).await?;
    if let Some(fetched) = &mut fetched {
        fetched.reader.open_some().await?;
    }
    Ok(fetched)
}

async fn request(
    services: &Services,
    target: &Target<'_>,
    info: &Info,
    range: &Range<u64>,
) -> Result<Option<Fetched>> {
    let whole = *range == (0..info.plain_size);
    let mut out = target.outgoing(Method::GET);
    out.headers.insert(IF_MATCH, info::pin(&info.backend_etag)?);
    // The sealed range of a multipart object hangs on its trailer, that of a single PUT on its size alone.
    let asked = if whole { None } else { Some(info.stored_range(range)) };
    if let Some(asked) = &asked {
        let value = format!("bytes={}-{}", asked.start, asked.end.saturating_sub(1));
        out.headers.insert(RANGE, HeaderValue::from_str(&value).expect("digits are a header value"));
    }
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    match response.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
            // The next round's fresh look says what is true now.
            return Ok(None);
        }
        _ => return Err(error_from(response, &target.names()).await),
    }
    let Some(window) = window(&response, asked, info.sealed_len)? else { return Ok(None) };
    if info::backend_etag(&response.headers)? != info.backend_etag {
        return Ok(None);
    }
    let opened = info::open_envelope(services, target, &response.headers).await?;
    if opened.as_ref().map(|(envelope, _)| envelope.commitment()) != info.commitment() {
        return Ok(None);
    }
    let opening = match &opened {
        // Never as it is: a sealed object's bytes would be relayed.
        Some((_, secrets)) => opening(
            layout(secrets, info)?.ok_or_else(|| info::unexpected("the bytes of an archived object"))?,
            info,
            range,
        ),
        // Its end was not seen, so it may be a sealed object that lost its envelope.
        None if !info.whole => return Err(info::unexpected("the bytes of an archived object")),
        None => Opening::Plain,
    };
    let reader = Reader::new(response.body, window, range.end - range.start, opening);
    Ok(Some(Fetched { headers: response.headers, opened, reader }))
}

/// Plaintext `range` of an object that the first look brought whole.
pub(crate) fn from_memory(found: &Found, range: &Range<u64>) -> Result<Reader> {
    let (info, length) = (&found.info, range.end - range.start);
    let body = Body::from_bytes(found.tail.clone());
    let Some((_, secrets)) = &found.opened else {
        return Ok(Reader::new(body, Window { skip: range.start, take: length }, length, Opening::Plain));
    };
    let layout =
        layout(secrets, info)?.ok_or_else(|| Error::tampered("a multipart object without a trailer"))?;
    let opening = opening(layout, info, range);
    let window = match &opening {
        Opening::Full(_) => Window { skip: 0, take: info.sealed_len },
        _ => {
            let sealed = info.stored_range(range);
            Window { skip: sealed.start, take: sealed.end - sealed.start }
        }
    };
    Ok(Reader::new(body, window, length, opening))
}

/// Plaintext `range` of an object that was just looked at, from wherever it can be had.
///
/// # Errors
/// SlowDown where it is another object by now.
pub(crate) async fn read(
    services: &Services,
    target: &Target<'_>,
    found: &Found,
    range: &Range<u64>,
) -> Result<Reader> {
    if is_in_memory(found, range) {
        return from_memory(found, range);
    }
    let fetched = fetch(services, target, &found.info, range).await?;
    fetched.map(|fetched| fetched.reader).ok_or_else(info::changed)
}

/// Whether [`from_memory`] can give the range: all of the object is there, or nothing of it is asked for.
pub(crate) fn is_in_memory(found: &Found, range: &Range<u64>) -> bool {
    found.tail.len() as u64 == found.info.sealed_len || range.is_empty()
}

/// Checks the shape of the answer. `None`: the object has another length by now.
fn window(response: &Response, asked: Option<Range<u64>>, sealed_len: u64) -> Result<Option<Window>> {
    let length = info::content_length(&response.headers)?;
    let asked = asked.unwrap_or(0..sealed_len);
    match info::content_range(&response.headers) {
        Some((_, _, total)) if total != sealed_len => Ok(None),
        Some((start, end, _))
            if start == asked.start && end + 1 == asked.end && length == end + 1 - start =>
        {
            Ok(Some(Window { skip: 0, take: length }))
        }
        Some(_) => Err(info::unexpected("another range than the one asked for")),
        None if response.status == StatusCode::PARTIAL_CONTENT => {
            Err(info::unexpected("206 without Content-Range"))
        }
        None if length != sealed_len => Ok(None),
        None => Ok(Some(Window { skip: asked.start, take: asked.end - asked.start })),
    }
}

/// `None`: a multipart object whose trailer was not read.
fn layout(secrets: &ObjectSecrets, info: &Info) -> Result<Option<Layout>> {
    let of_trailer = |trailer: &Trailer| {
        Layout::from_trailer(secrets, trailer).map_err(|e| Error::tampered(format!("layout: {e}")))
    };
    match info.trailer() {
        Some(trailer) => of_trailer(trailer).map(Some),
        None => Ok(Layout::single(secrets)),
    }
}

fn opening(layout: Layout, info: &Info, range: &Range<u64>) -> Opening {
    if *range == (0..info.plain_size) {
        Opening::Full(Box::new(layout.full_opener(info.sealed_len)))
    } else {
        Opening::Range(Box::new(layout.opener(range.clone())))
    }
}
