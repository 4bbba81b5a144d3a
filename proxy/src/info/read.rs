//! Reads object info: a GET of the object's last bytes, whose answer carries headers, envelope and trailer alike.
//! Whatever the backend says is checked before it is believed.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use object_format::length::{plain_len, sealed_len, total_len};
use object_format::{
    Envelope, FooterRead, ObjectName, ObjectSecrets, TrailerRead, has_magic, open_footer, open_trailer,
};

use super::open::{Opens, etag_policy, open_envelope, without_key};
use super::tail::{
    End, Tail, backend_etag, content_length, last_modified, pinned_tail, ranged_tail, tail_of, unexpected,
};
use super::{EMPTY_MD5, Info, Nature, SealedEnd, shown_etag};
use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::config::{BucketRule, Unencrypted};
use crate::error::{Code, Error, Result};
use crate::plan::customer::CustomerKeyHeaders;
use crate::s3::etag;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::query::Query;
use crate::services::Services;

/// Headers of a client that go along with reads.
const CARRIED: [HeaderName; 3] = [
    ORIGIN,
    HeaderName::from_static("x-amz-expected-bucket-owner"),
    HeaderName::from_static("x-amz-request-payer"),
];

/// So often an object is looked at before it is called tampered with: each replacement of it can spoil one look.
const LOOKS: usize = 3;

/// Looks at an object that may be being replaced, which storage can show as two mixed. Tampering stays what it is, however
/// often it is looked at.
#[derive(Default)]
pub(crate) struct Looks(usize);

impl Looks {
    /// Whether to look once more after one that ended so.
    pub(crate) fn another_after(&mut self, error: &Error) -> bool {
        self.another(error.may_be_of_two())
    }

    /// Whether to look once more, after a look at what may have been two objects.
    pub(super) fn another(&mut self, of_two: bool) -> bool {
        self.0 += 1;
        self.0 < LOOKS && of_two
    }
}

/// One stored object, as one caller reaches it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Where it is stored.
    pub backend: &'a Backend,
    /// Under whose keys.
    pub caller: &'a Caller,
    /// The bucket's rule.
    pub rule: &'a BucketRule,
    /// Its bucket.
    pub bucket: &'a BucketName,
    /// Its key.
    pub key: &'a ObjectKey,
    /// A version, or the latest.
    pub version: Option<&'a str>,
    /// Headers of the client, some of which every read on its behalf carries.
    pub carried: Option<&'a HeaderMap>,
    /// What its envelope may be opened with.
    pub opens: Opens<'a>,
}

impl<'a> Target<'a> {
    /// What the object is bound to.
    pub fn binding(&self) -> &'a str {
        self.rule.binding.as_deref().unwrap_or(self.bucket.as_str())
    }

    /// The object's name as the format binds it.
    pub fn object_name(&self) -> ObjectName<'a> {
        ObjectName { binding: self.binding(), key: self.key.as_bytes() }
    }

    /// Another version of it; `None` is the latest.
    #[must_use]
    pub fn at(mut self, version: Option<&'a str>) -> Self {
        self.version = version;
        self
    }

    /// The same on behalf of a client's request: the backend has its CORS rules, and decides whose bucket it has to be
    /// and who pays.
    #[must_use]
    pub fn carrying(mut self, headers: &'a HeaderMap) -> Self {
        self.carried = Some(headers);
        self
    }

    /// The same for a client that reads it, with the customer's key that it sent, if any.
    #[must_use]
    pub fn opening_with(mut self, customer: Option<&'a CustomerKeyHeaders>) -> Self {
        self.opens = Opens::Client(customer);
        self
    }

    /// What an answer shows of the customer's key that opened the object.
    pub fn show_customer_key(&self, out: &mut HeaderMap) {
        if let Opens::Client(Some(customer)) = self.opens {
            customer.response_headers(out);
        }
    }

    /// A backend request for this object.
    pub fn outgoing(&self, method: Method) -> Outgoing {
        let mut query = Query::default();
        if let Some(version) = self.version {
            query.push("versionId", version);
        }
        let carried = |name: &HeaderName| Some((name.clone(), self.carried?.get(name)?.clone()));
        Outgoing {
            method,
            bucket: Some(self.bucket.clone()),
            key: Some(self.key.clone()),
            query,
            headers: CARRIED.iter().filter_map(carried).collect(),
        }
    }

    /// Names for rebuilt errors.
    pub fn names(&self) -> Names<'a> {
        Names { bucket: Some(self.bucket), key: Some(self.key) }
    }
}

/// How much of the object's end is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// The footer: HEAD and listings. It tells all but the parts of a multipart object.
    Footer,
    /// The last 64 KiB, which have the parts too but for those of more than 581, and small objects whole.
    Tail,
}

impl Need {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Footer => 512,
            Self::Tail => 65_536,
        }
    }
}

/// What one read found.
pub struct Found {
    /// The info.
    pub info: Arc<Info>,
    /// The backend's headers in that very answer.
    pub headers: HeaderMap,
    /// The opened envelope of that very answer, for sealed objects.
    pub opened: Option<(Envelope, ObjectSecrets)>,
    /// The object's last bytes; all of them where `tail.len()` is `info.sealed_len`.
    pub tail: Bytes,
}

/// Fresh info for listings and conditions, which need no customer's key: under one, an object shows by arithmetic.
pub async fn lookup(services: &Services, target: &Target<'_>, need: Need) -> Result<Arc<Info>> {
    let target = Target { opens: Opens::Facts, ..*target };
    Ok(read(services, &target, need).await?.info)
}

/// Reads info afresh and remembers it.
pub async fn read(services: &Services, target: &Target<'_>, need: Need) -> Result<Found> {
    let mut looks = Looks::default();
    loop {
        match read_once(services, target, need).await {
            Err(error) if looks.another_after(&error) => {}
            found => return found,
        }
    }
}

async fn read_once(services: &Services, target: &Target<'_>, need: Need) -> Result<Found> {
    match tail_of(target, need.bytes()).await? {
        End::Read(tail) => of_tail(services, target, need, tail).await,
        other => head_only(services, target, need, other).await,
    }
}

/// What an object's headers tell: its nature and length, and its key. Not its ETag and checksum, which stand at its end: for
/// whoever only gives it another envelope.
pub async fn look(services: &Services, target: &Target<'_>) -> Result<Found> {
    let mut looks = Looks::default();
    loop {
        match head_only(services, target, Need::Footer, End::Archived).await {
            Err(error) if looks.another_after(&error) => {}
            found => return found,
        }
    }
}

/// Info from an object's last bytes.
async fn of_tail(services: &Services, target: &Target<'_>, need: Need, tail: Tail) -> Result<Found> {
    let Tail { headers, total, bytes } = tail;
    let backend_etag = backend_etag(&headers)?;
    if let Some(info) = without_key(services, target, &headers, total, &backend_etag)? {
        return Ok(Found { info, headers, opened: None, tail: bytes });
    }
    let opened = open_envelope(services, target, &headers).await?;
    let (nature, plain_size, shown) = match &opened {
        None => {
            let (nature, shown) = unsealed(target, total, &bytes, &headers, &backend_etag)?;
            (nature, total, shown)
        }
        Some((envelope, secrets)) => {
            let end = sealed_end(target, need, secrets, &bytes, total, &backend_etag).await?;
            let plain_size = match (&end, secrets.single_size()) {
                (SealedEnd::Trailer(trailer), _) => trailer.plain_size,
                (SealedEnd::Footer(footer), _) => footer.plain_size,
                (SealedEnd::Unseen | SealedEnd::Empty(_), Some(size)) => size,
                (SealedEnd::Unseen | SealedEnd::Empty(_), None) => {
                    return Err(Error::tampered("a multipart object without a body"));
                }
            };
            let fact = end.facts().map(|facts| &facts.etag);
            let shown = shown_etag(etag_policy(target.rule, envelope), fact, plain_size, &backend_etag);
            (Nature::Sealed { commitment: *envelope.commitment(), end }, plain_size, shown)
        }
    };
    let whole = !matches!(&nature, Nature::Sealed { end: SealedEnd::Footer(_), .. });
    let info = Arc::new(Info {
        nature,
        plain_size,
        sealed_len: total,
        etag: shown,
        backend_etag,
        last_modified: last_modified(&headers),
        whole,
    });
    services.info.put(target.bucket, target.key, target.version, info.clone());
    Ok(Found { info, headers, opened, tail: bytes })
}

/// The checked end of a sealed object.
async fn sealed_end(
    target: &Target<'_>,
    need: Need,
    secrets: &ObjectSecrets,
    tail: &Bytes,
    total: u64,
    backend_etag: &str,
) -> Result<SealedEnd> {
    if let Some(size) = secrets.single_size() {
        if total != sealed_len(size) {
            return Err(Error::tampered(format!("{total} stored bytes for {size} bytes of plaintext")));
        }
        if size == 0 {
            return Ok(SealedEnd::empty(secrets));
        }
    }
    let opened = |e| Error::tampered(format!("trailer: {e}"));
    let trailer = match open_trailer(secrets, tail, total).map_err(opened)? {
        TrailerRead::Ready(trailer) => trailer,
        TrailerRead::NeedMore { .. } if need == Need::Footer => {
            return match open_footer(secrets, tail, total).map_err(opened)? {
                FooterRead::Ready(footer) => Ok(SealedEnd::Footer(Arc::new(footer))),
                FooterRead::NeedMore { .. } => Err(Error::tampered("an object shorter than its footer")),
            };
        }
        TrailerRead::NeedMore { tail_bytes } => {
            let more = pinned_tail(target, tail_bytes, total, backend_etag).await?;
            match open_trailer(secrets, &more, total).map_err(opened)? {
                TrailerRead::Ready(trailer) => trailer,
                TrailerRead::NeedMore { .. } => return Err(Error::tampered("a trailer that grows")),
            }
        }
    };
    // The format checks it too; a body is never planned by another kind's arithmetic.
    if trailer.kind != secrets.kind() || total != total_len(trailer.kind, trailer.plain_size) {
        return Err(Error::tampered("a trailer of another object"));
    }
    Ok(SealedEnd::Trailer(Arc::new(trailer)))
}

/// What an object without an envelope is, and the ETag it shows.
fn unsealed(
    target: &Target<'_>,
    total: u64,
    tail: &Bytes,
    headers: &HeaderMap,
    backend_etag: &str,
) -> Result<(Nature, String)> {
    if total == 0 && target.key.is_directory_marker() {
        return Ok((Nature::Marker, EMPTY_MD5.to_owned()));
    }
    if has_magic(tail) {
        return Err(Error::tampered("a sealed object whose envelope is gone"));
    }
    let allowed = match target.rule.unencrypted_objects {
        Unencrypted::Reject => false,
        Unencrypted::Pass { before: None } => true,
        Unencrypted::Pass { before: Some(before) } => {
            last_modified(headers).is_some_and(|seen| seen < SystemTime::from(before))
        }
    };
    if !allowed {
        return Err(Error::client(
            Code::AccessDenied,
            "The object is not encrypted, and this bucket serves encrypted objects only. \
             To serve it, set `unencrypted_objects: pass` for the bucket in the proxy's config.yaml.",
        ));
    }
    Ok((Nature::Plain, backend_etag.to_owned()))
}

/// For objects whose last bytes were not had: empty, archived, or a suffix range was refused that should not be.
async fn head_only(services: &Services, target: &Target<'_>, need: Need, why: End) -> Result<Found> {
    let response = target.backend.call(target.caller, target.outgoing(Method::HEAD), Bytes::new()).await?;
    if response.status != StatusCode::OK {
        return Err(error_from(response, &target.names()).await);
    }
    let headers = response.headers;
    let total = content_length(&headers)?;
    if total > 0 && matches!(why, End::Unsatisfiable) {
        // Without its end an object shows another ETag, and one that lost its envelope cannot be told.
        return match ranged_tail(target, &headers, need.bytes()).await? {
            End::Read(tail) => of_tail(services, target, need, tail).await,
            _ => Err(unexpected("no range of an object that has bytes")),
        };
    }
    let backend_etag = backend_etag(&headers)?;
    if let Some(info) = without_key(services, target, &headers, total, &backend_etag)? {
        return Ok(Found { info, headers, opened: None, tail: Bytes::new() });
    }
    let opened = open_envelope(services, target, &headers).await?;
    let (nature, plain_size, shown, whole) = match &opened {
        None if total == 0 => {
            let (nature, shown) = unsealed(target, 0, &Bytes::new(), &headers, &backend_etag)?;
            (nature, 0, shown, true)
        }
        None => {
            let (nature, shown) = unsealed(target, total, &Bytes::new(), &headers, &backend_etag)?;
            (nature, total, shown, false)
        }
        Some((envelope, secrets)) => {
            let plain_size = match secrets.single_size() {
                Some(size) if sealed_len(size) == total => size,
                Some(_) => return Err(Error::tampered("stored length against the envelope")),
                None => plain_len(total)
                    .filter(|_| total > 0)
                    .ok_or_else(|| Error::tampered("a multipart object of no possible length"))?,
            };
            // Of an empty single PUT there is no more to see.
            let whole = secrets.single_size() == Some(0);
            let shown = if whole {
                shown_etag(etag_policy(target.rule, envelope), None, 0, &backend_etag)
            } else {
                etag::opaque(&backend_etag)
            };
            let end = if whole { SealedEnd::empty(secrets) } else { SealedEnd::Unseen };
            (Nature::Sealed { commitment: *envelope.commitment(), end }, plain_size, shown, whole)
        }
    };
    let last_modified = last_modified(&headers);
    let info = Arc::new(Info {
        nature,
        plain_size,
        sealed_len: total,
        etag: shown,
        backend_etag,
        last_modified,
        whole,
    });
    if whole {
        services.info.put(target.bucket, target.key, target.version, info.clone());
    }
    Ok(Found { info, headers, opened, tail: Bytes::new() })
}
