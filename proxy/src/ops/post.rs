//! PostObject: a form as browsers send it. Its policy and signature are checked before its file is read, which then goes the
//! way of every PutObject (<https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>).

mod file;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, ETAG, HOST, LOCATION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::{folded, put, tags};
use crate::audit;
use crate::auth::{self, Verified};
use crate::body;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::plan::customer;
use crate::s3::S3Request;
use crate::s3::form::{Boundary, Form, malformed};
use crate::s3::headers::SYSTEM_METADATA;
use crate::s3::name::{ObjectKey, encode_component, encode_path};
use crate::s3::xml::{Writer, parse_sent_tags};
use crate::services::Services;
use file::FormFile;

const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
/// `x-amz-*` that speak of the request itself, which a form is not.
const OF_THE_REQUEST: [&str; 9] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-trailer",
];

/// Answers PostObject.
pub async fn post_object(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let bucket = request.bucket()?;
    let boundary = Boundary::of(&request.headers)?;
    let total = body::required_length(request)?;
    exchange.send_continue().await?;
    let (form, mut read, before) = begin(exchange, &boundary).await?;
    let sender = auth::verify_form(request, &form, &services.credentials, time::OffsetDateTime::now_utc())?;
    let key = form.get("key").filter(|key| !key.is_empty()).ok_or_else(|| auth::missing_field("key"))?;
    audit::note_form(sender.identity().access_key(), key);
    let key = ObjectKey::parse(key)?;
    let mut headers = headers_of(&form, &request.headers)?;

    let left = total.checked_sub(before as u64).ok_or_else(|| malformed("it ends before its file"))?;
    read.advance_to(before);
    let room = if left <= services.config.limits.buffer { services.budget.try_take(left) } else { None };
    let mut file = match room {
        Some(room) => FormFile::whole(exchange, read.rest, left, &boundary, room).await?,
        None => FormFile::streamed(exchange, read.rest, left, &boundary)?,
    };
    let length = file.length();
    let (least, most) = sender.lengths();
    if length > most {
        return Err(Error::client(
            Code::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        )
        .field("ProposedSize", length.to_string())
        .field("MaxSizeAllowed", most.to_string()));
    }
    if length < least {
        return Err(Error::client(
            Code::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size",
        )
        .field("ProposedSize", length.to_string())
        .field("MinSizeAllowed", least.to_string()));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let put = sender.request(request.of_form(key, headers)?);
    customer::refuse_insecure(&put.headers, put.secure)?;
    Box::pin(folded::refuse(services, &put)).await?;
    match Box::pin(put::put_object(services, &put, &mut file)).await? {
        Outcome::Reply(reply) => answer(&form, &put, bucket.as_str(), reply.head.headers),
        Outcome::Streamed => Err(Error::internal("an answer to PutObject that was streamed")),
    }
}

/// Bytes that were read with the fields.
struct Read {
    rest: Bytes,
}

impl Read {
    fn advance_to(&mut self, at: usize) {
        drop(self.rest.split_to(at));
    }
}

/// Reads up to the file: the fields, what was read, and how much of it stands before the file.
async fn begin(exchange: &mut dyn Exchange, boundary: &Boundary) -> Result<(Form, Read, usize)> {
    let mut read = BytesMut::new();
    loop {
        if let Some((form, before)) = Form::parse(&read, boundary)? {
            return Ok((form, Read { rest: read.freeze() }, before));
        }
        let piece = exchange.read_body().await?.ok_or_else(|| malformed("it ends before its file"))?;
        read.extend_from_slice(&piece);
    }
}

/// The headers that the fields stand for; of the request's own only what browsers need.
fn headers_of(form: &Form, request: &HeaderMap) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for name in [HOST, ORIGIN] {
        if let Some(value) = request.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    for (name, value) in form.iter() {
        if name == "tagging" {
            headers.extend(tags::header_of(&parse_sent_tags(value.as_bytes())?)?.map(|tags| (TAGGING, tags)));
            continue;
        }
        let name = if name == "acl" { "x-amz-acl" } else { name };
        let taken = SYSTEM_METADATA.iter().any(|known| known == name)
            || (name.starts_with("x-amz-") && !OF_THE_REQUEST.contains(&name));
        if !taken {
            continue;
        }
        let bad = || {
            Error::client(Code::InvalidArgument, "The value of a form field cannot be that of a header.")
                .field("ArgumentName", name)
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
    }
    Ok(headers)
}

/// What the form asks to be told: 204, 200, 201 with a document, or a redirect.
fn answer(form: &Form, put: &S3Request, bucket: &str, mut headers: HeaderMap) -> Result<Outcome> {
    let key = put.key()?;
    let etag = headers.get(ETAG).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let redirect = form
        .get("success_action_redirect")
        .or(form.get("redirect"))
        .and_then(|url| redirect(url, bucket, key, &etag));
    if let Some(url) = redirect {
        headers.insert(LOCATION, url);
        return Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::SEE_OTHER, headers })));
    }
    let host = put.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if put.secure { "https" } else { "http" };
    let path = if put.raw_path.trim_matches('/').is_empty() {
        // The bucket stands in the host.
        format!("/{}", encode_path(key.as_bytes()))
    } else {
        format!("/{bucket}/{}", encode_path(key.as_bytes()))
    };
    let location = format!("{scheme}://{host}{path}");
    if let Ok(value) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, value);
    }
    let head = |status| Head { status, headers };
    Ok(Outcome::Reply(match form.get("success_action_status") {
        Some("201") => {
            let mut document = Writer::bare("PostResponse");
            document.text("Location", &location);
            document.text("Bucket", bucket);
            document.text("Key", &key.to_lossy());
            document.text("ETag", &etag);
            Reply::xml(head(StatusCode::CREATED), document.finish())
        }
        Some("200") => Reply::empty(head(StatusCode::OK)),
        _ => Reply::empty(head(StatusCode::NO_CONTENT)),
    }))
}

/// The redirect that a form asks for, if it is one: the client's own URL with what was stored behind it.
fn redirect(url: &str, bucket: &str, key: &ObjectKey, etag: &str) -> Option<HeaderValue> {
    let uri: Uri = url.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return None;
    }
    let and = if uri.query().is_some() { '&' } else { '?' };
    let url = format!(
        "{url}{and}bucket={}&key={}&etag={}",
        encode_component(bucket.as_bytes()),
        encode_component(key.as_bytes()),
        encode_component(etag.as_bytes())
    );
    HeaderValue::from_str(&url).ok()
}
