//! PUT, GET and HEAD of an object. A body stays in the pieces in which it came, and goes out without a copy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::chunked::Decoder;
use super::rope::Rope;
use super::store::{Object, Store};
use super::{Refusal, empty};

/// Bodies below this are copied into an allocation of their size: a piece otherwise keeps a whole read buffer alive.
const SMALL: u64 = 64 << 10;

/// Keys below this prefix answer a PUT and keep no body: for loads that nobody reads back.
const SINK: &str = "sink/";

const INCOMPLETE: Refusal = (StatusCode::BAD_REQUEST, "IncompleteBody");

/// A response body.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    pub(super) fn one(piece: Bytes) -> Self {
        Self(if piece.is_empty() { VecDeque::new() } else { VecDeque::from([piece]) })
    }

    fn cut(object: &Object, range: &Range<u64>) -> Self {
        Self(object.body.slice(range).pieces())
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

pub(super) fn get(object: Arc<Object>, request: &Request<Incoming>) -> Result<Response<Pieces>, Refusal> {
    let headers = request.headers();
    if headers.get(header::IF_MATCH).is_some_and(|wanted| wanted != "*" && *wanted != object.etag) {
        return Err((StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
    }
    if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == "*" || *tag == object.etag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        response.headers_mut().insert(header::ETAG, object.etag.clone());
        return Ok(response);
    }
    let size = object.body.size();
    let range = match headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        None => None,
        Some(text) => {
            Some(parse_range(text, size).ok_or((StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"))?)
        }
    };
    let span = range.clone().unwrap_or(0..size);
    let body = if request.method() == Method::HEAD { Pieces::default() } else { Pieces::cut(&object, &span) };
    let mut response = Response::new(body);
    *response.headers_mut() = object.headers.clone();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(span.end - span.start));
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let value = format!("bytes {}-{}/{}", span.start, span.end - 1, size);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    Ok(response)
}

/// `bytes=a-b`, `bytes=a-` and `bytes=-n`, cut at the object's end; `None` where nothing of it exists.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => size.saturating_sub(suffix.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => first.parse().ok()?..last.parse::<u64>().ok()?.saturating_add(1).min(size),
    };
    (!range.is_empty()).then_some(range)
}

pub(super) async fn put(
    store: &Store,
    bucket: &str,
    key: &str,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Refusal> {
    let (parts, body) = request.into_parts();
    store.may_write(bucket, key, &parts.headers)?;
    let sink = key.starts_with(SINK);
    let body = receive(&parts.headers, body, sink).await?;
    let etag = store.etag();
    let object =
        Object { body, headers: shown(&parts.headers, &etag), modified: now_rfc3339(), etag: etag.clone() };
    store.insert(bucket, key, object, &parts.headers)?;
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

/// The bytes of an upload, in the pieces in which they came. A sink keeps none.
pub(super) async fn receive(headers: &HeaderMap, mut body: Incoming, sink: bool) -> Result<Rope, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let form = text("x-amz-content-sha256").unwrap_or("");
    let mut decoder = form.starts_with("STREAMING-").then(|| Decoder::new(text("x-amz-trailer")));
    let declared = match &decoder {
        Some(_) => text("x-amz-decoded-content-length").and_then(|length| length.parse().ok()),
        None => body.size_hint().exact(),
    };
    let declared: u64 = declared.ok_or((StatusCode::LENGTH_REQUIRED, "MissingContentLength"))?;
    let (mut size, mut pieces) = (0_u64, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| INCOMPLETE)?.into_data() else { continue };
        let mut keep = |piece: Bytes| {
            size += piece.len() as u64;
            if !sink {
                pieces.push(piece);
            }
        };
        match &mut decoder {
            Some(decoder) => decoder.push(data, &mut keep).map_err(|()| INCOMPLETE)?,
            None => keep(data),
        }
    }
    if size != declared {
        return Err(INCOMPLETE);
    }
    if let Some(decoder) = decoder {
        decoder
            .finish()
            .map_err(|complete| if complete { (StatusCode::BAD_REQUEST, "BadDigest") } else { INCOMPLETE })?;
    }
    if size < SMALL && !sink {
        pieces = vec![Bytes::from(pieces.concat())];
    }
    Ok(Rope::new(pieces))
}

/// What GET and HEAD will show.
pub(super) fn shown(request: &HeaderMap, etag: &HeaderValue) -> HeaderMap {
    const KEPT: [header::HeaderName; 6] = [
        header::CACHE_CONTROL,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_TYPE,
        header::EXPIRES,
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in request {
        let encoding = name == header::CONTENT_ENCODING && value == "aws-chunked";
        if (KEPT.contains(name) && !encoding) || name.as_str().starts_with("x-amz-meta-") {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers.insert(header::ETAG, etag.clone());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    headers
}

/// Now, as listings show it. An HTTP date holds all that is needed.
pub(super) fn now_rfc3339() -> String {
    let date = httpdate::HttpDate::from(SystemTime::now()).to_string();
    let mut words = date.split(' ').skip(1);
    let (day, month, year, time) = (words.next(), words.next(), words.next(), words.next());
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| Some(*name) == month).unwrap_or(0) + 1;
    let (day, year, time) = (day.unwrap_or("01"), year.unwrap_or("1970"), time.unwrap_or("00:00:00"));
    format!("{year}-{month:02}-{day}T{time}.000Z")
}
