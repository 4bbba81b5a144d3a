//! Multipart uploads in memory: a part keeps the pieces in which it came, and the object takes them over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::object::{Pieces, now_rfc3339, receive, shown};
use super::rope::Rope;
use super::store::{Object, Store};
use super::{Query, Refusal, copy, empty, xml_answer};

/// The uploads under way, by id.
#[derive(Debug, Default)]
pub(super) struct Uploads(HashMap<String, Upload>);

#[derive(Debug)]
struct Upload {
    /// Bucket and key.
    place: (String, String),
    /// Of the request that began it.
    headers: HeaderMap,
    parts: BTreeMap<u16, Part>,
}

#[derive(Debug)]
struct Part {
    body: Rope,
    /// With quotes.
    etag: HeaderValue,
}

const UNKNOWN: Refusal = (StatusCode::NOT_FOUND, "NoSuchUpload");

impl Store {
    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uploads {
    fn find(&mut self, bucket: &str, key: &str, id: &str) -> Result<&mut Upload, Refusal> {
        let found = self.0.get_mut(id).filter(|upload| upload.place.0 == bucket && upload.place.1 == key);
        found.ok_or(UNKNOWN)
    }
}

/// Whether a request on a key is one of an upload.
pub(super) fn is_about(query: &Query) -> bool {
    query.get("uploads").is_some() || query.get("uploadId").is_some()
}

pub(super) async fn answer(
    store: &Store,
    bucket: &str,
    key: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Refusal> {
    let method = request.method().clone();
    let Some(id) = query.get("uploadId") else {
        return match method.as_str() {
            "POST" => begin(store, bucket, key, request.headers()),
            _ => Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented")),
        };
    };
    match method.as_str() {
        "PUT" => {
            let number = query.get("partNumber").and_then(|number| number.parse().ok());
            let number = number.ok_or((StatusCode::BAD_REQUEST, "InvalidArgument"))?;
            part(store, bucket, key, id, number, request).await
        }
        "GET" => list(store, bucket, key, id),
        "POST" => complete(store, bucket, key, id, request).await,
        "DELETE" => {
            store.uploads().find(bucket, key, id)?;
            store.uploads().0.remove(id);
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented")),
    }
}

fn begin(store: &Store, bucket: &str, key: &str, headers: &HeaderMap) -> Result<Response<Pieces>, Refusal> {
    store.exists(bucket)?;
    let id = store.etag().to_str().unwrap_or_default().replace('"', "");
    let place = (bucket.to_owned(), key.to_owned());
    let upload = Upload { place, headers: headers.clone(), parts: BTreeMap::new() };
    store.uploads().0.insert(id.clone(), upload);
    let xml =
        format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
    Ok(xml_answer(StatusCode::OK, xml))
}

async fn part(
    store: &Store,
    bucket: &str,
    key: &str,
    id: &str,
    number: u16,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Refusal> {
    store.uploads().find(bucket, key, id)?;
    let (head, body) = request.into_parts();
    let copied = head.headers.contains_key(copy::SOURCE);
    let body = match copied {
        true => copy::part(&*copy::source(store, &head.headers)?, &head.headers)?,
        false => receive(&head.headers, body, false).await?,
    };
    let etag = store.etag();
    let part = Part { body, etag: etag.clone() };
    let old = store.uploads().find(bucket, key, id)?.parts.insert(number, part);
    // Freeing a large body takes its time, and nobody should wait for it.
    drop(old);
    if copied {
        return Ok(copy::answer("CopyPartResult", &etag));
    }
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

fn list(store: &Store, bucket: &str, key: &str, id: &str) -> Result<Response<Pieces>, Refusal> {
    let mut uploads = store.uploads();
    let parts = &uploads.find(bucket, key, id)?.parts;
    let entry = |(number, part): (&u16, &Part)| {
        let etag = part.etag.to_str().unwrap_or_default();
        format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><Size>{}</Size></Part>",
            part.body.size()
        )
    };
    let entries: String = parts.iter().map(entry).collect();
    let xml = format!("<ListPartsResult>{entries}<IsTruncated>false</IsTruncated></ListPartsResult>");
    Ok(xml_answer(StatusCode::OK, xml))
}

async fn complete(
    store: &Store,
    bucket: &str,
    key: &str,
    id: &str,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Refusal> {
    let (head, body) = request.into_parts();
    let document = body.collect().await.map_err(|_| (StatusCode::BAD_REQUEST, "IncompleteBody"))?.to_bytes();
    let document = String::from_utf8_lossy(&document).replace("&quot;", "\"");
    let listed: Vec<(u16, &str)> = document.split("<Part>").skip(1).filter_map(listed).collect();
    store.may_write(bucket, key, &head.headers)?;
    let etag = store.etag();
    let tag = etag.to_str().unwrap_or_default().replace('"', "");
    let etag = HeaderValue::try_from(format!("\"{tag}-{}\"", listed.len())).unwrap_or(etag);
    let object = {
        let mut uploads = store.uploads();
        let upload = uploads.find(bucket, key, id)?;
        let refused = (StatusCode::BAD_REQUEST, "InvalidPart");
        let stands = |(number, tag): &(u16, &str)| {
            upload.parts.get(number).is_some_and(|part| part.etag.as_bytes() == tag.as_bytes())
        };
        if listed.is_empty() || !listed.iter().all(stands) {
            return Err(refused);
        }
        let mut upload = uploads.0.remove(id).ok_or(UNKNOWN)?;
        let mut body = Rope::default();
        for (number, _) in listed {
            body.append(upload.parts.remove(&number).ok_or(refused)?.body);
        }
        let headers = shown(&upload.headers, &etag);
        Object { body, headers, modified: now_rfc3339(), etag: etag.clone() }
    };
    store.insert(bucket, key, object, &head.headers)?;
    let etag = etag.to_str().unwrap_or_default();
    let xml = format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>");
    Ok(xml_answer(StatusCode::OK, xml))
}

/// Number and quoted ETag of one element of the list.
fn listed(part: &str) -> Option<(u16, &str)> {
    let text = |name: &str| {
        let (_, rest) = part.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(text, _)| text.trim())
    };
    Some((text("PartNumber")?.parse().ok()?, text("ETag")?))
}
