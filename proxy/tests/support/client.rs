//! A raw HTTP/1.1 client that signs: each request on a connection of its own, every byte of it under the test's
//! control, so that it can lie.

use std::net::SocketAddr;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A parsed answer. `complete` is false where the connection ended before the announced length.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub complete: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `<Code>` of an error answer.
    pub fn code(&self) -> String {
        self.element("Code")
    }

    /// The text of the first element of a name; empty where there is none.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let Some((_, rest)) = text.split_once(&format!("<{name}>")) else { return String::new() };
        rest.split_once(&format!("</{name}>")).map_or(String::new(), |(value, _)| value.to_owned())
    }
}

/// One identity at one address.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: SocketAddr,
    pub access_key: String,
    pub secret_key: String,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `x-amz-content-sha256`; the true hash of the body where `None`.
    pub payload: Option<String>,
    /// Content-Length; the body's where `None`.
    pub length: Option<u64>,
}

impl Call {
    pub fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            payload: None,
            length: None,
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn payload(mut self, value: &str) -> Self {
        self.payload = Some(value.to_owned());
        self
    }

    pub fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }
}

impl Client {
    /// The request as bytes on the wire, signed now.
    pub fn wire(&self, call: &Call) -> Vec<u8> {
        self.wire_at(call, SystemTime::now())
    }

    /// The request with its signature in the query, good for a minute; what stands in its query already is signed too.
    pub fn presigned(&self, call: &Call) -> Vec<u8> {
        let host = self.address.to_string();
        let identity =
            Credentials::new(self.access_key.as_str(), self.secret_key.as_str(), None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(std::time::Duration::from_secs(60));
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers =
            call.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("host", host.as_str())]);
        let uri = format!("http://{host}{}", call.target);
        let signable =
            SignableRequest::new(call.method, uri, headers, SignableBody::UnsignedPayload).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut target = call.target.clone();
        for (name, value) in instructions.params() {
            let encoded: String =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).collect();
            target += &format!("{}{name}={encoded}", if target.contains('?') { '&' } else { '?' });
        }
        let mut out = format!("{} {target} HTTP/1.1\r\nhost: {host}\r\n", call.method);
        for (name, value) in &call.headers {
            out += &format!("{name}: {value}\r\n");
        }
        out += &format!("content-length: {}\r\n\r\n", call.body.len());
        [out.as_bytes(), &call.body].concat()
    }

    pub fn wire_at(&self, call: &Call, time: SystemTime) -> Vec<u8> {
        let host = self.address.to_string();
        let payload = call.payload.clone().unwrap_or_else(|| {
            hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &call.body))
        });
        let mut headers = vec![("host".to_owned(), host.clone())];
        headers.extend(call.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())));
        let identity =
            Credentials::new(self.access_key.as_str(), self.secret_key.as_str(), None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://{host}{}", call.target);
        let signable = SignableRequest::new(
            call.method,
            uri,
            headers.iter().map(|(n, v)| (n.as_str(), v.as_str())),
            SignableBody::Precomputed(payload),
        )
        .unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut out = format!("{} {} HTTP/1.1\r\n", call.method, call.target).into_bytes();
        for (name, value) in &headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !call.body.is_empty() || call.length.is_some() || matches!(call.method, "PUT" | "POST") {
            let length = call.length.unwrap_or(call.body.len() as u64);
            out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&call.body);
        out
    }

    pub async fn send(&self, call: Call) -> Answer {
        let wire = self.wire(&call);
        self.raw(&wire, call.method == "HEAD").await
    }

    /// Sends bytes on a new connection, half-closes it where `length` promised more, and reads one answer.
    pub async fn raw(&self, wire: &[u8], head: bool) -> Answer {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        // A refused upload may be answered and closed before all of it is sent.
        let _ = tcp.write_all(wire).await;
        read_answer(&mut tcp, head).await
    }
}

/// Reads one answer, skipping `100 Continue`.
pub async fn read_answer(tcp: &mut TcpStream, head: bool) -> Answer {
    let mut buffer = Vec::new();
    let (status, headers, start) = loop {
        if let Some(end) = find(&buffer, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = text.split("\r\n");
            let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            if status == 100 {
                buffer.drain(..end + 4);
                continue;
            }
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
                .collect();
            break (status, headers, end + 4);
        }
        let mut chunk = vec![0; 65536];
        match tcp.read(&mut chunk).await {
            Ok(0) | Err(_) => {
                return Answer { status: 0, headers: Vec::new(), body: buffer, complete: false };
            }
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    };
    let mut body = buffer[start..].to_vec();
    // What takes long, on a busy machine anything, is answered before its length is known.
    let chunked =
        |(n, v): &(String, String)| n.eq_ignore_ascii_case("transfer-encoding") && v.contains("chunked");
    if headers.iter().any(chunked) {
        loop {
            let (decoded, complete) = unchunked(&body);
            let mut chunk = vec![0; 65536];
            match if complete { Ok(0) } else { tcp.read(&mut chunk).await } {
                Ok(0) | Err(_) => return Answer { status, headers, body: decoded, complete },
                Ok(n) => body.extend_from_slice(&chunk[..n]),
            }
        }
    }
    let length: usize = headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, v)| v.parse().ok())
        .unwrap_or(0);
    let expected = if head || matches!(status, 204 | 304) { 0 } else { length };
    while body.len() < expected {
        let mut chunk = vec![0; 65536];
        match tcp.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(n) => body.extend_from_slice(&chunk[..n]),
        }
    }
    let complete = body.len() == expected;
    Answer { status, headers, body, complete }
}

/// The bytes of the chunks that are there, and whether they are all.
pub fn unchunked(mut wire: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = find(wire, b"\r\n") {
        let line = String::from_utf8_lossy(&wire[..end]);
        let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap();
        let from = end + 2;
        if size == 0 {
            return (body, wire.len() >= from + 2);
        }
        if wire.len() < from + size + 2 {
            break;
        }
        body.extend_from_slice(&wire[from..from + size]);
        wire = &wire[from + size + 2..];
    }
    (body, false)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
