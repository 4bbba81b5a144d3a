//! A request to a backend before it is signed, and the address that it goes to. The path and query written here
//! are the very strings that are signed and sent; nothing else in the program builds a backend URL.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::auth::sign::Unsigned;
use crate::config::Addressing;
use crate::error::{Error, Result};
use crate::s3::name::{BucketName, ObjectKey, encode_path};
use crate::s3::query::Query;

/// What is asked of a backend. Headers are already allowlisted by the caller; framing and signing headers are
/// added later.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// HTTP method.
    pub method: Method,
    /// `None` for calls on the service, such as ListBuckets.
    pub bucket: Option<BucketName>,
    /// `None` for calls on a bucket.
    pub key: Option<ObjectKey>,
    /// Decoded parameters; the signature's own are never among them.
    pub query: Query,
    /// Headers to sign and send.
    pub headers: HeaderMap,
}

impl Outgoing {
    /// A request on an object.
    pub fn object(method: Method, bucket: &BucketName, key: &ObjectKey) -> Self {
        Self { key: Some(key.clone()), ..Self::bucket(method, bucket) }
    }

    /// A request on a bucket.
    pub fn bucket(method: Method, bucket: &BucketName) -> Self {
        Self { bucket: Some(bucket.clone()), ..Self::service(method) }
    }

    /// A request on the whole service.
    pub fn service(method: Method) -> Self {
        Self { method, bucket: None, key: None, query: Query::default(), headers: HeaderMap::new() }
    }

    /// Adds a query parameter with a value.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.query.push(name, value);
        self
    }

    /// Adds a subresource.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.query.push_flag(name);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Resolves it against an endpoint.
    pub(super) fn address(&self, endpoint: &Endpoint, region: &str) -> Result<Unsigned> {
        let authority = endpoint.in_region(region)?;
        let key = self.key.as_ref().map(|key| encode_path(key.as_bytes())).unwrap_or_default();
        let (authority, path) = match &self.bucket {
            None => (authority, "/".to_owned()),
            Some(bucket) if endpoint.addressing == Addressing::VirtualHost && is_host_label(bucket) => {
                let host = format!("{bucket}.{authority}");
                (parse_authority(&host)?, format!("/{key}"))
            }
            Some(bucket) if self.key.is_some() => (authority, format!("/{bucket}/{key}")),
            Some(bucket) => (authority, format!("/{bucket}")),
        };
        let query = self.query.canonical();
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let target =
            PathAndQuery::try_from(target).map_err(|e| Error::internal(format!("backend path: {e}")))?;
        let uri = Uri::builder()
            .scheme(endpoint.scheme.clone())
            .authority(authority)
            .path_and_query(target)
            .build()
            .map_err(|e| Error::internal(format!("backend address: {e}")))?;
        Ok(Unsigned { method: self.method.clone(), uri, headers: self.headers.clone() })
    }
}

/// Where a backend listens and how buckets are named there.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) addressing: Addressing,
    pub(super) region: String,
}

impl Endpoint {
    /// From the configuration, whose URI has no path.
    pub(super) fn new(config: &crate::config::Backend) -> Result<Self> {
        let scheme = config.endpoint.scheme().cloned();
        let authority = config.endpoint.authority().cloned();
        match (scheme, authority) {
            (Some(scheme), Some(authority)) if scheme == Scheme::HTTP || scheme == Scheme::HTTPS => {
                Ok(Self { scheme, authority, addressing: config.addressing, region: config.region.clone() })
            }
            _ => {
                Err(Error::internal("a backend's endpoint must be http://host[:port] or https://host[:port]"))
            }
        }
    }

    /// The host for another region, derived from our own configuration and never from what a backend answers:
    /// a label that is the configured region is exchanged, `s3.` without one gets it, other hosts stay.
    fn in_region(&self, region: &str) -> Result<Authority> {
        if region == self.region {
            return Ok(self.authority.clone());
        }
        let host = self.authority.as_str();
        let moved = if host.split(['.', ':']).any(|label| label == self.region) {
            host.split('.').map(|l| if l == self.region { region } else { l }).collect::<Vec<_>>().join(".")
        } else {
            match host.strip_prefix("s3.") {
                Some(rest) if rest.starts_with("amazonaws.") => format!("s3.{region}.{rest}"),
                _ => host.to_owned(),
            }
        };
        parse_authority(&moved)
    }
}

fn parse_authority(host: &str) -> Result<Authority> {
    host.parse().map_err(|e| Error::internal(format!("backend host: {e}")))
}

/// Names with dots (certificates do not cover them), capitals or underscores go path style, as in the SDKs.
fn is_host_label(bucket: &BucketName) -> bool {
    let name = bucket.as_str();
    name.len() <= 63 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(uri: &str, addressing: Addressing) -> Endpoint {
        let uri: Uri = uri.parse().unwrap();
        Endpoint {
            scheme: uri.scheme().cloned().unwrap(),
            authority: uri.authority().cloned().unwrap(),
            addressing,
            region: "us-east-1".into(),
        }
    }

    fn url(endpoint: &Endpoint, region: &str, bucket: &str, key: &[u8]) -> String {
        let bucket = BucketName::parse(bucket.as_bytes()).unwrap();
        let key = ObjectKey::parse(key).unwrap();
        Outgoing::object(Method::GET, &bucket, &key).address(endpoint, region).unwrap().uri.to_string()
    }

    #[test]
    fn odd_keys_reach_the_wire_encoded_and_unnormalised() {
        let path = endpoint("http://127.0.0.1:9", Addressing::Path);
        for (key, wire) in [
            (&b"a/../b"[..], "a/../b"),
            (b"/x", "/x"),
            (b"a//b", "a//b"),
            (b"a%2Fb", "a%252Fb"),
            (b"a b+(c)'*", "a%20b%2B%28c%29%27%2A"),
            (b"\xff", "%FF"),
            (b"dir/", "dir/"),
            (b".", "."),
        ] {
            assert_eq!(url(&path, "us-east-1", "bkt", key), format!("http://127.0.0.1:9/bkt/{wire}"));
        }
    }

    #[test]
    fn virtual_hosts_only_where_a_certificate_can_cover_them() {
        let vhost = endpoint("https://s3.example.com", Addressing::VirtualHost);
        assert_eq!(url(&vhost, "us-east-1", "bkt", b"/k"), "https://bkt.s3.example.com//k");
        assert_eq!(url(&vhost, "us-east-1", "a.bkt", b"k"), "https://s3.example.com/a.bkt/k");
        assert_eq!(url(&vhost, "us-east-1", "Old_Name", b"k"), "https://s3.example.com/Old_Name/k");
    }

    #[test]
    fn regions_move_only_hosts_that_name_one() {
        let named = endpoint("https://s3.us-east-1.amazonaws.com", Addressing::Path);
        assert_eq!(url(&named, "eu-west-1", "bkt", b"k"), "https://s3.eu-west-1.amazonaws.com/bkt/k");
        let global = endpoint("https://s3.amazonaws.com", Addressing::Path);
        assert_eq!(url(&global, "eu-west-1", "bkt", b"k"), "https://s3.eu-west-1.amazonaws.com/bkt/k");
        let own = endpoint("http://storage.local:9000", Addressing::Path);
        assert_eq!(url(&own, "eu-west-1", "bkt", b"k"), "http://storage.local:9000/bkt/k");
    }

    #[test]
    fn queries_are_canonical_on_the_wire() {
        let path = endpoint("http://h", Addressing::Path);
        let bucket = BucketName::parse(b"bkt").unwrap();
        let out = Outgoing::bucket(Method::GET, &bucket).param("prefix", b"a/\xff +".to_vec()).flag("acl");
        let uri = out.address(&path, "us-east-1").unwrap().uri;
        assert_eq!(uri.to_string(), "http://h/bkt?acl=&prefix=a%2F%FF%20%2B");
    }
}
