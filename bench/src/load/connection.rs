//! One keep-alive connection, and requests on it whose answers must be what was asked for.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Job;
use crate::Failure;
use crate::pattern::Pattern;

/// A request, signed once and sent often.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    method: Method,
    uri: Uri,
    host: HeaderValue,
    pub(super) size: u64,
    headers: Vec<(HeaderName, String)>,
    /// Sent instead of the pattern.
    document: Option<Bytes>,
}

/// The pattern, or a document.
type Sent = Either<Pattern, Full<Bytes>>;

impl Prepared {
    /// `target` is the canonical path and query behind the bucket; a PUT sends `size` bytes of the pattern.
    pub(super) fn new(job: &Job, method: Method, target: &str, size: u64) -> Result<Self, Failure> {
        Self::with(job, method, target, size, Vec::new())
    }

    /// A copy of `from`, with more headers.
    pub(super) fn copy(
        job: &Job,
        from: &str,
        to: &str,
        mut more: Vec<(HeaderName, String)>,
    ) -> Result<Self, Failure> {
        more.push((HeaderName::from_static("x-amz-copy-source"), format!("/{}{from}", job.bucket)));
        Self::with(job, Method::PUT, to, 0, more)
    }

    fn with(
        job: &Job,
        method: Method,
        target: &str,
        size: u64,
        headers: Vec<(HeaderName, String)>,
    ) -> Result<Self, Failure> {
        let uri = job.endpoint.presign(&method, &format!("/{}{target}", job.bucket), &headers)?;
        let host = HeaderValue::try_from(&job.endpoint.address)?;
        Ok(Self { method, uri, host, size, headers, document: None })
    }

    /// A POST of a document.
    pub(super) fn post(job: &Job, target: &str, document: String) -> Result<Self, Failure> {
        let size = document.len() as u64;
        Ok(Self { document: Some(document.into()), ..Self::new(job, Method::POST, target, size)? })
    }

    fn request(&self) -> Result<Request<Sent>, Failure> {
        let writes = matches!(self.method, Method::PUT | Method::POST);
        let size = if writes { self.size } else { 0 };
        let body = match &self.document {
            Some(document) => Either::Right(Full::new(document.clone())),
            None => Either::Left(Pattern::new(size)),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::HOST, self.host.clone());
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), HeaderValue::try_from(value)?);
        }
        if writes {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        }
        Ok(request)
    }
}

/// A connection; it lasts as long as it is held.
pub(super) struct Connection {
    sender: SendRequest<Sent>,
}

impl Connection {
    pub(super) async fn open(job: &Job) -> Result<Self, Failure> {
        let stream = TcpStream::connect(&job.endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // The request that was under way reports what went wrong.
            let _ = connection.await;
        });
        Ok(Self { sender })
    }

    /// Sends a request and returns the head of its answer, which must be a success.
    pub(super) async fn send(
        &mut self,
        prepared: &Prepared,
        range: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Failure> {
        self.sender.ready().await?;
        let mut request = prepared.request()?;
        if let Some(range) = range {
            request.headers_mut().insert(header::RANGE, range.clone());
        }
        let response = self.sender.send_request(request).await?;
        let expected = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if response.status() == expected {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let path = prepared.uri.path();
        Err(format!("{} {path}: {status} {}", prepared.method, String::from_utf8_lossy(&body)).into())
    }

    /// Sends a request and gives its answer's ETag, if there is one, and body.
    pub(super) async fn ask(&mut self, prepared: &Prepared) -> Result<(String, String), Failure> {
        let response = self.send(prepared, None).await?;
        let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let etag = etag.to_owned();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((etag, String::from_utf8(body.to_vec())?))
    }

    /// Sends a request and reads its answer to the end; returns the number of bytes.
    pub(super) async fn exchange(
        &mut self,
        prepared: &Prepared,
        range: Option<&HeaderValue>,
    ) -> Result<u64, Failure> {
        let mut body = self.send(prepared, range).await?.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.into_data().map_or(0, |data| data.len() as u64);
        }
        Ok(length)
    }
}
