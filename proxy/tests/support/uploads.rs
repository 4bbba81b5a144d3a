//! Multipart uploads as clients make them, request by request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::{Answer, BUCKET, Call, Client, Stack, md5_hex};

/// Where the proxy keeps the state of uploads.
pub const SYSTEM: &str = "s3cloak-system";

/// S3's smallest part but the last.
pub const MIN: usize = 5 << 20;

/// Part numbers and ETags, quoted.
pub type Tags = Vec<(u32, String)>;
/// Headers of a request.
pub type Headers = Vec<(&'static str, String)>;

pub fn customer(key: [u8; 32]) -> Headers {
    vec![
        ("x-amz-server-side-encryption-customer-algorithm", "AES256".to_owned()),
        ("x-amz-server-side-encryption-customer-key", STANDARD.encode(key)),
        ("x-amz-server-side-encryption-customer-key-MD5", STANDARD.encode(Md5::digest(key))),
    ]
}

pub fn with(call: Call, headers: &Headers) -> Call {
    headers.iter().fold(call, |call, (name, value)| call.header(name, value.clone()))
}

pub fn between(text: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let start = text.find(&open).unwrap_or_else(|| panic!("no {element} in {text}")) + open.len();
    text[start..start + text[start..].find(&close).unwrap()].replace("&quot;", "\"")
}

pub async fn initiate(proxy: &Client, key: &str, headers: &Headers) -> Answer {
    proxy.send(with(Call::new("POST", format!("/{BUCKET}/{key}?uploads")), headers)).await
}

/// The id of a new upload.
pub async fn create(proxy: &Client, key: &str, headers: &Headers) -> String {
    let answer = initiate(proxy, key, headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    between(&answer.text(), "UploadId")
}

pub async fn part(
    proxy: &Client,
    key: &str,
    id: &str,
    number: u32,
    body: &[u8],
    headers: &Headers,
) -> Answer {
    let target = format!("/{BUCKET}/{key}?partNumber={number}&uploadId={id}");
    proxy.send(with(Call::new("PUT", target).body(body), headers)).await
}

/// Uploads a part and gives its ETag, quoted.
pub async fn stored(proxy: &Client, key: &str, id: &str, number: u32, body: &[u8]) -> String {
    let answer = part(proxy, key, id, number, body, &vec![]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("etag").unwrap().to_owned()
}

pub fn list(parts: &[(u32, String)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(n, etag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

pub async fn complete(proxy: &Client, key: &str, id: &str, parts: &[(u32, String)]) -> Answer {
    proxy.send(Call::new("POST", format!("/{BUCKET}/{key}?uploadId={id}")).body(list(parts))).await
}

pub async fn abort(proxy: &Client, key: &str, id: &str) -> Answer {
    proxy.send(Call::new("DELETE", format!("/{BUCKET}/{key}?uploadId={id}"))).await
}

/// What S3 shows of an object of these parts.
pub fn s3_etag(parts: &[&[u8]]) -> String {
    let md5s: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    format!("\"{}-{}\"", md5_hex(&md5s), parts.len())
}

pub fn kept(stack: &Stack) -> Vec<String> {
    stack.store.keys(SYSTEM).into_iter().filter(|key| key.starts_with("mpu/")).collect()
}

/// Whether the store itself has the upload.
pub async fn is_under_way(stack: &Stack, key: &str, id: &str) -> bool {
    let call = Call::new("GET", format!("/{BUCKET}/{key}?uploadId={id}"));
    stack.backend.send(call).await.status == 200
}

/// The same headers for the source of a copy.
pub fn of_source(headers: &Headers) -> Headers {
    let name = |name: &'static str| match name {
        "x-amz-server-side-encryption-customer-algorithm" => {
            "x-amz-copy-source-server-side-encryption-customer-algorithm"
        }
        "x-amz-server-side-encryption-customer-key" => {
            "x-amz-copy-source-server-side-encryption-customer-key"
        }
        _ => "x-amz-copy-source-server-side-encryption-customer-key-MD5",
    };
    headers.iter().map(|(given, value)| (name(given), value.clone())).collect()
}

/// Copies a part from `source`, as `x-amz-copy-source` names it.
pub async fn part_copy(
    proxy: &Client,
    key: &str,
    id: &str,
    number: u32,
    source: &str,
    headers: &Headers,
) -> Answer {
    let target = format!("/{BUCKET}/{key}?partNumber={number}&uploadId={id}");
    let call = Call::new("PUT", target).header("x-amz-copy-source", source);
    proxy.send(with(call, headers)).await
}
