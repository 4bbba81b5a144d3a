//! The requests of a multipart upload, as a client makes them, and what S3 would show of its object.

use md5::{Digest as _, Md5};

use super::{Answer, BUCKET, Call, Client, Stack, md5_hex};

pub const SYSTEM: &str = "s3cloak-system";
/// S3's smallest part but the last.
pub const MIN: usize = 5 << 20;

/// Part numbers and ETags, quoted.
pub type Tags = Vec<(u32, String)>;

pub fn between(text: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let start = text.find(&open).unwrap_or_else(|| panic!("no {element} in {text}")) + open.len();
    text[start..start + text[start..].find(&close).unwrap()].replace("&quot;", "\"")
}

pub async fn create(proxy: &Client, key: &str) -> Answer {
    proxy.send(Call::new("POST", format!("/{BUCKET}/{key}?uploads"))).await
}

/// The id of a new upload.
pub async fn begun(proxy: &Client, key: &str) -> String {
    let answer = create(proxy, key).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    between(&answer.text(), "UploadId")
}

pub async fn part(proxy: &Client, key: &str, id: &str, number: u32, body: &[u8]) -> Answer {
    let target = format!("/{BUCKET}/{key}?partNumber={number}&uploadId={id}");
    proxy.send(Call::new("PUT", target).body(body)).await
}

/// Uploads a part and gives its ETag, quoted.
pub async fn stored(proxy: &Client, key: &str, id: &str, number: u32, body: &[u8]) -> String {
    let answer = part(proxy, key, id, number, body).await;
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

/// Quoted, as of the plain parts.
pub fn s3_etag(parts: &[&[u8]]) -> String {
    let md5s: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    format!("\"{}-{}\"", md5_hex(&md5s), parts.len())
}

/// Names of all that is kept of uploads.
pub fn kept(stack: &Stack) -> Vec<String> {
    stack.store.keys(SYSTEM).into_iter().filter(|key| key.starts_with("mpu/")).collect()
}

/// Whether the store itself has the upload.
pub async fn is_under_way(stack: &Stack, key: &str, id: &str) -> bool {
    let call = Call::new("GET", format!("/{BUCKET}/{key}?uploadId={id}"));
    stack.backend.send(call).await.status == 200
}
