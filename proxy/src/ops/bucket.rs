//! CreateBucket, DeleteBucket, ListBuckets: routed by name, our own area kept out of sight
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};

use super::Route;
use super::pass::forwarded;
use crate::auth::{Identity, Verified};
use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::body;
use crate::config::Config;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::plan::answer;
use crate::s3::S3Request;
use crate::s3::name::BucketName;
use crate::s3::query::Query;
use crate::s3::xml::{self, BucketPage, ListedBucket};
use crate::services::Services;
use crate::uploads::BucketRecords;

/// Largest CreateBucketConfiguration.
const MAX_CONFIGURATION: usize = 64 << 10;
/// Largest page of buckets from a backend: 10 000 of them.
const MAX_PAGE: usize = 8 << 20;
/// Pages of one backend, each of up to 10 000 buckets.
const MAX_PAGES: usize = 100;

/// Answers CreateBucket.
pub async fn create_bucket(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let bucket = request.bucket()?;
    request.identity().authorize_request(request)?;
    refuse_reserved(services, bucket)?;
    let route = Route::of(services, request)?;
    let body = body::collect(request, exchange, MAX_CONFIGURATION).await?;
    xml::location_constraint(&body)?;
    drop_old_rule(services, &route).await?;
    let mut out = Outgoing::bucket(Method::PUT, bucket);
    out.headers = forwarded(&request.headers, &body);
    let response = route.backend.call(&route.caller, out, body).await?;
    if !response.is_success() {
        return Err(error_from(response, &Names { bucket: Some(bucket), key: None }).await);
    }
    let mut headers = answer::from_backend(&response.headers);
    let location = HeaderValue::try_from(format!("/{bucket}"));
    headers.insert(LOCATION, location.map_err(|_| Error::internal("a bucket name is not a header value"))?);
    Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::OK, headers })))
}

/// A new bucket starts without a rule. One of its name may have been deleted behind our back, or when we could not reach
/// our own area.
async fn drop_old_rule(services: &Services, route: &Route<'_>) -> Result<()> {
    let out = Outgoing::bucket(Method::HEAD, route.bucket);
    let there = route.backend.call(&route.caller, out, Bytes::new()).await?;
    if there.status != StatusCode::NOT_FOUND {
        return Ok(());
    }
    services.rules.remove(route.backend, route.bucket).await
}

/// Names that clients cannot have: those of our own areas, on any backend, and those of directory buckets.
fn refuse_reserved(services: &Services, bucket: &BucketName) -> Result<()> {
    if bucket.as_str().ends_with("--x-s3") {
        return Err(Error::client(
            Code::InvalidBucketName,
            "Names that end in --x-s3 are those of directory buckets, which are not supported.",
        )
        .field("BucketName", bucket.as_str()));
    }
    if services.backends.iter().any(|backend| backend.is_hidden(bucket, None)) {
        let code = Code::Backend { name: "BucketAlreadyExists".to_owned(), status: StatusCode::CONFLICT };
        return Err(Error::client(
            code,
            "The requested bucket name is not available. Select a different name and try again.",
        )
        .field("BucketName", bucket.as_str()));
    }
    Ok(())
}

/// Answers DeleteBucket.
pub async fn delete_bucket(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    // Named now: what is written below the bucket's name later is a new bucket's.
    let uploads = BucketRecords::of(route.backend, route.bucket).await;
    let mut out = Outgoing::bucket(Method::DELETE, route.bucket);
    out.headers = forwarded(&request.headers, &[]);
    let response = route.backend.call(&route.caller, out, Bytes::new()).await?;
    if !response.is_success() {
        return Err(error_from(response, &Names { bucket: Some(route.bucket), key: None }).await);
    }
    // The bucket is gone whatever comes of this; a new one of its name drops the rule before it is made.
    if let Err(error) = services.rules.remove(route.backend, route.bucket).await {
        tracing::warn!(bucket = %route.bucket, %error, "the encryption rule of a deleted bucket is left behind");
    }
    let removed = match uploads {
        Ok(uploads) => uploads.remove(&services.uploads, route.backend).await,
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::warn!(bucket = %route.bucket, %error, "records of a deleted bucket's uploads are left to the sweep");
    }
    let headers = answer::from_backend(&response.headers);
    Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::NO_CONTENT, headers })))
}

/// Answers ListBuckets with the buckets of every backend that are routed to it. One that does not answer fails the
/// request: buckets that seem gone make clients do harm.
pub async fn list_buckets(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let identity = request.identity();
    identity.authorize_request(request)?;
    let paging = Paging::of(&request.query)?;
    let mut owner = None;
    let mut merged = BTreeMap::new();
    for backend in services.backends.iter() {
        if !services.config.buckets.iter().any(|rule| rule.backend == backend.name()) {
            continue;
        }
        let caller = backend.caller(identity.access_key());
        let found = all_of(backend, &caller, request.query.get("bucket-region")).await?;
        owner = owner.or(found.owner);
        for bucket in found.buckets {
            if is_shown(&services.config, backend, identity, &bucket.name) {
                merged.insert(bucket.name.clone(), bucket);
            }
        }
    }
    let mut page = paging.cut(merged);
    page.owner = owner;
    let body = xml::render_buckets(&page);
    Ok(Outcome::Reply(Reply::xml(Head::new(StatusCode::OK), body)))
}

/// Routed to that backend, ours to show, and the identity's to see.
fn is_shown(config: &Config, backend: &Backend, identity: &Identity, name: &str) -> bool {
    BucketName::parse(name.as_bytes()).is_ok_and(|bucket| {
        config.buckets.rule(&bucket).backend == backend.name()
            && !backend.is_hidden(&bucket, None)
            && identity.may_see(&bucket)
    })
}

/// Every bucket of one backend that a caller is shown.
pub(crate) async fn all_of(backend: &Backend, caller: &Caller, region: Option<&[u8]>) -> Result<BucketPage> {
    let mut whole = BucketPage::default();
    for _ in 0..MAX_PAGES {
        let mut out = Outgoing::service(Method::GET);
        if let Some(region) = region {
            out.query.push("bucket-region", region);
        }
        if let Some(token) = &whole.continuation_token {
            out.query.push("continuation-token", token.as_str());
        }
        let response = backend.call(caller, out, Bytes::new()).await?;
        if response.status != StatusCode::OK {
            return Err(error_from(response, &Names::default()).await);
        }
        let page = xml::parse_buckets(&response.body.collect(MAX_PAGE).await?)?;
        whole.owner = whole.owner.or(page.owner);
        whole.buckets.extend(page.buckets);
        whole.continuation_token = page.continuation_token;
        if whole.continuation_token.is_none() {
            return Ok(whole);
        }
    }
    Err(Error::backend(Code::BadGateway, "The storage behind the proxy lists buckets without end.")
        .because(format!("backend {}: over {MAX_PAGES} pages", backend.name())))
}

/// `max-buckets`, `continuation-token`, `prefix`: applied here, on the merged list, since older backends ignore them.
#[derive(Debug, Default)]
struct Paging {
    max: Option<usize>,
    after: Option<String>,
    prefix: Option<String>,
}

impl Paging {
    fn of(query: &Query) -> Result<Self> {
        let invalid = |name: &'static str, message: &'static str| {
            Error::client(Code::InvalidArgument, message).field("ArgumentName", name)
        };
        let max = match query.get_str("max-buckets").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(text.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(|| {
                invalid("max-buckets", "Argument max-buckets must be an integer between 1 and 10000")
            })?),
        };
        let after = match query.get("continuation-token").filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
                Some(name.ok_or_else(|| {
                    invalid("continuation-token", "The continuation token provided is incorrect")
                })?)
            }
        };
        Ok(Self { max, after, prefix: query.get_str("prefix").map(str::to_owned) })
    }

    /// The asked page of all buckets, which are in the order of their names.
    fn cut(self, all: BTreeMap<String, ListedBucket>) -> BucketPage {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let mut rest = all
            .into_values()
            .filter(|b| b.name.starts_with(prefix))
            .filter(|b| self.after.as_ref().is_none_or(|after| b.name > *after));
        let buckets: Vec<ListedBucket> = rest.by_ref().take(self.max.unwrap_or(usize::MAX)).collect();
        let more = rest.next().is_some();
        let continuation_token =
            buckets.last().filter(|_| more).map(|bucket| URL_SAFE_NO_PAD.encode(&bucket.name));
        BucketPage { owner: None, buckets, continuation_token, prefix: self.prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str]) -> BTreeMap<String, ListedBucket> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), ListedBucket { name: (*name).to_owned(), rest: Vec::new() }))
            .collect()
    }

    fn names(page: &BucketPage) -> Vec<&str> {
        page.buckets.iter().map(|bucket| bucket.name.as_str()).collect()
    }

    fn page(query: &str, of: &[&str]) -> BucketPage {
        Paging::of(&Query::parse(query)).unwrap().cut(all(of))
    }

    #[test]
    fn pages_follow_each_other() {
        let of = ["aaa", "bbb", "bcc", "ddd"];
        let whole = page("", &of);
        assert_eq!(names(&whole), of);
        assert_eq!((whole.continuation_token, whole.prefix), (None, None));
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let next = page(&format!("max-buckets=1&continuation-token={token}"), &of);
            seen.extend(names(&next).into_iter().map(str::to_owned));
            match next.continuation_token {
                Some(more) => token = more,
                None => break,
            }
        }
        assert_eq!(seen, of);
    }

    #[test]
    fn prefixes_select() {
        let some = page("prefix=b&max-buckets=2", &["aaa", "bbb", "bcc", "ddd"]);
        assert_eq!(names(&some), ["bbb", "bcc"]);
        assert_eq!(some.continuation_token, None);
        assert_eq!(some.prefix.as_deref(), Some("b"));
    }

    #[test]
    fn paging_outside_s3s_limits_is_refused() {
        for bad in [
            "max-buckets=0",
            "max-buckets=10001",
            "max-buckets=-1",
            "max-buckets=x",
            "continuation-token=%21",
        ] {
            let error = Paging::of(&Query::parse(bad)).unwrap_err();
            assert_eq!(error.code(), &Code::InvalidArgument, "{bad}");
        }
    }
}
