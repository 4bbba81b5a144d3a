//! Which key and mode a write is sealed under: request headers first, then the bucket's rule
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html>).

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue};
use object_format::{BucketKeyFlag, EnvelopeHeader, Mode};

use super::customer::{self, CustomerKeyHeaders};
use crate::config::{BucketRule, SseMode};
use crate::error::{Code, Error, Result};
use crate::s3::xml::EncryptionRule;

/// `x-amz-server-side-encryption`
pub const SSE: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
/// Key id of `aws:kms`.
pub const SSE_KEY_ID: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
/// Client's context of `aws:kms`, base64 of a JSON object of strings.
pub const SSE_CONTEXT: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-context");
/// `true` or `false`.
pub const SSE_BUCKET_KEY: HeaderName =
    HeaderName::from_static("x-amz-server-side-encryption-bucket-key-enabled");
/// Longest client context, in bytes as sent: it has to fit into the envelope.
const CONTEXT_LIMIT: usize = 1024;

/// Encryption of one write.
pub enum WriteSse {
    /// Under a key of the deployment.
    Deployment(DeploymentSse),
    /// Under a key that came with the request.
    Customer(CustomerKeyHeaders),
}

impl WriteSse {
    /// Length of the client's context, which the envelope carries.
    pub fn context_len(&self) -> usize {
        match self {
            Self::Deployment(sse) => sse.context.as_ref().map_or(0, String::len),
            Self::Customer(_) => 0,
        }
    }
}

/// Encryption of one write under a key that the deployment has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeploymentSse {
    /// Mode shown to clients; never SSE-C.
    pub mode: Mode,
    /// Key id as the client (or the rule) spells it; `None` is the deployment's default key.
    pub key_id: Option<String>,
    /// The bucket's own key, which everybody who writes there may name.
    pub bucket_key_id: Option<String>,
    /// Whether the client itself named the key, so that its rights on key names apply.
    pub key_named_by_client: bool,
    /// Client's context as sent (base64).
    pub context: Option<String>,
    /// One key-service call for this object instead of the bucket's key.
    pub per_object: bool,
    /// Whether answers show `bucket-key-enabled: true`.
    pub shows_bucket_key: bool,
}

/// What a bucket's writes get that ask for nothing, and what they may not ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BucketDefault {
    mode: SseMode,
    key_id: Option<String>,
    /// As the rule says; shown to clients where it is true.
    bucket_key: Option<bool>,
    /// As configured, where nobody says.
    configured_bucket_key: bool,
    blocks_customer_keys: bool,
}

impl BucketDefault {
    /// A rule that was put for the bucket goes before the configured one, as a whole: neither lends the other a key.
    pub fn of(rule: &BucketRule, stored: Option<&EncryptionRule>) -> Self {
        let default = stored.and_then(|stored| stored.default.clone());
        let (mode, key_id, bucket_key) = match default {
            Some(default) => (default.mode, default.key_id, stored.and_then(|stored| stored.bucket_key)),
            None => (rule.sse, rule.key.clone(), None),
        };
        Self {
            mode,
            key_id: key_id.filter(|_| mode == SseMode::SseKms),
            bucket_key: bucket_key.filter(|_| mode == SseMode::SseKms),
            configured_bucket_key: rule.bucket_key,
            blocks_customer_keys: stored.and_then(|stored| stored.blocks_customer_keys).unwrap_or(false),
        }
    }

    /// The encryption of a write that asks for nothing.
    pub fn for_nothing_asked(&self) -> DeploymentSse {
        self.unless_asked(None)
    }

    /// The same but for a bucket key that is asked for or refused.
    fn unless_asked(&self, bucket_key: Option<bool>) -> DeploymentSse {
        let bucket_key = bucket_key.or(self.bucket_key);
        DeploymentSse {
            mode: match self.mode {
                SseMode::SseS3 => Mode::SseS3,
                SseMode::SseKms => Mode::SseKms,
            },
            key_id: self.key_id.clone(),
            bucket_key_id: self.key_id.clone(),
            key_named_by_client: false,
            context: None,
            per_object: !bucket_key.unwrap_or(self.configured_bucket_key),
            shows_bucket_key: self.mode == SseMode::SseKms && bucket_key == Some(true),
        }
    }

    /// The bucket's own key, which everybody who writes there may name.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

/// Decides the encryption of a write that copies nothing.
pub fn for_write(headers: &HeaderMap, default: &BucketDefault) -> Result<WriteSse> {
    customer::refuse_copy_source(headers)?;
    for_copy(headers, default)
}

/// The same for the destination of a copy, whose source may have a customer's key of its own.
pub fn for_copy(headers: &HeaderMap, default: &BucketDefault) -> Result<WriteSse> {
    let Some(customer) = CustomerKeyHeaders::of(headers)? else {
        return deployments(headers, default).map(WriteSse::Deployment);
    };
    if [SSE, SSE_KEY_ID, SSE_CONTEXT].iter().any(|name| headers.contains_key(name)) {
        return Err(Error::client(
            Code::InvalidArgument,
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        ));
    }
    if default.blocks_customer_keys {
        return Err(Error::client(
            Code::AccessDenied,
            "This bucket does not take objects under customer provided keys (SSE-C): its encryption configuration blocks \
             them.",
        ));
    }
    Ok(WriteSse::Customer(customer))
}

fn deployments(headers: &HeaderMap, default: &BucketDefault) -> Result<DeploymentSse> {
    let key_id = text(headers, &SSE_KEY_ID)?;
    if key_id.is_some_and(|id| id.trim() != id) {
        return Err(Error::client(
            Code::InvalidRequest,
            "The specified KMS KeyID contains unsupported characters",
        ));
    }
    let context = text(headers, &SSE_CONTEXT)?;
    let bucket_key = bucket_key(headers)?;
    let mode = match text(headers, &SSE)? {
        Some("AES256") => Some(Mode::SseS3),
        Some("aws:kms") => Some(Mode::SseKms),
        Some(other @ ("aws:kms:dsse" | "aws:fsx" | "aws:backup")) => {
            return Err(Error::client(
                Code::InvalidArgument,
                format!("The encryption method {other} is not supported. Use AES256 or aws:kms."),
            ));
        }
        Some(_) => {
            return Err(Error::client(
                Code::InvalidArgument,
                "The encryption method specified is not supported",
            ));
        }
        None => None,
    };
    if mode != Some(Mode::SseKms) && (key_id.is_some() || context.is_some()) {
        return Err(Error::client(
            Code::InvalidArgument,
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
        ));
    }
    let context = context.map(checked_context).transpose()?;
    let bucket_key_id = default.key_id.clone();
    // Who does not say gets what the bucket has.
    let bucket_key = bucket_key.or(default.bucket_key);
    Ok(match mode {
        Some(Mode::SseKms) => DeploymentSse {
            mode: Mode::SseKms,
            // Without a key id AWS takes its own managed key and not the bucket's: here the deployment's default.
            key_id: key_id.map(str::to_owned),
            bucket_key_id,
            key_named_by_client: key_id.is_some(),
            per_object: !bucket_key.unwrap_or(default.configured_bucket_key) || context.is_some(),
            // A context takes a data key of its own, and then no answer about the object shows another.
            shows_bucket_key: bucket_key == Some(true) && context.is_none(),
            context,
        },
        Some(mode) => DeploymentSse {
            mode,
            key_id: None,
            bucket_key_id,
            key_named_by_client: false,
            context: None,
            per_object: !default.configured_bucket_key,
            shows_bucket_key: false,
        },
        None => default.unless_asked(bucket_key),
    })
}

/// [`response_headers`] as the envelope of what was sealed tells.
pub fn sealed_headers(sealed: &EnvelopeHeader, out: &mut HeaderMap) {
    let key_id = sealed.key_spelling.as_deref().unwrap_or(&sealed.key_name);
    let shows = sealed.mode == Mode::SseKms && sealed.bucket_key == BucketKeyFlag::SharedShown;
    response_headers(sealed.mode, Some(key_id), shows, out);
}

/// The SSE headers that every answer about a sealed object carries.
pub fn response_headers(mode: Mode, key_id: Option<&str>, shows_bucket_key: bool, out: &mut HeaderMap) {
    match mode {
        Mode::SseS3 => drop(out.insert(SSE, HeaderValue::from_static("AES256"))),
        Mode::SseKms => {
            out.insert(SSE, HeaderValue::from_static("aws:kms"));
            if let Some(value) = key_id.and_then(|id| HeaderValue::from_str(id).ok()) {
                out.insert(SSE_KEY_ID, value);
            }
            if shows_bucket_key {
                out.insert(SSE_BUCKET_KEY, HeaderValue::from_static("true"));
            }
        }
        // The customer's key says it: `CustomerKeyHeaders::response_headers`.
        Mode::SseC => {}
    }
}

/// The customer's key of a read. GET and HEAD take no other encryption headers.
pub fn for_read(headers: &HeaderMap) -> Result<Option<CustomerKeyHeaders>> {
    if [SSE, SSE_KEY_ID, SSE_CONTEXT, SSE_BUCKET_KEY].iter().any(|name| headers.contains_key(name)) {
        return Err(Error::client(
            Code::InvalidArgument,
            "x-amz-server-side-encryption header is not supported for this operation.",
        ));
    }
    customer::refuse_copy_source(headers)?;
    CustomerKeyHeaders::of(headers)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    headers
        .get(name)
        .map(|v| {
            v.to_str().map_err(|_| {
                Error::client(Code::InvalidArgument, format!("The value of {name} is not ASCII text."))
            })
        })
        .transpose()
}

fn bucket_key(headers: &HeaderMap) -> Result<Option<bool>> {
    match text(headers, &SSE_BUCKET_KEY)? {
        None => Ok(None),
        Some(v) if v.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(v) if v.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(Error::client(
            Code::InvalidArgument,
            format!("The value of {SSE_BUCKET_KEY} has to be true or false."),
        )),
    }
}

fn checked_context(value: &str) -> Result<String> {
    let refused = || {
        Error::client(
            Code::InvalidArgument,
            format!(
                "The value of {SSE_CONTEXT} has to be base64 of a JSON object of strings, at most {CONTEXT_LIMIT} bytes."
            ),
        )
    };
    if value.len() > CONTEXT_LIMIT {
        return Err(refused());
    }
    let json = base64::engine::general_purpose::STANDARD.decode(value).map_err(|_| refused())?;
    serde_json::from_slice::<std::collections::BTreeMap<String, String>>(&json).map_err(|_| refused())?;
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Anonymous, EtagPolicy, ListingMode, Unencrypted};

    fn rule(sse: SseMode, key: Option<&str>) -> BucketRule {
        BucketRule {
            backend: "default".to_owned(),
            sse,
            sse_named: true,
            key: key.map(str::to_owned),
            etag: EtagPolicy::Md5,
            unencrypted_objects: Unencrypted::Reject,
            listing: ListingMode::Lookup,
            anonymous: Anonymous::Deny,
            binding: None,
            shared_binding: false,
            bucket_key: true,
        }
    }

    fn decide(pairs: &[(&'static str, &str)], rule: &BucketRule) -> Result<DeploymentSse> {
        let headers = pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()))
            .collect::<HeaderMap>();
        match for_write(&headers, &BucketDefault::of(rule, None))? {
            WriteSse::Deployment(sse) => Ok(sse),
            WriteSse::Customer(_) => panic!("no customer key was sent"),
        }
    }

    const SSE_NAME: &str = "x-amz-server-side-encryption";
    const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
    const CONTEXT: &str = "x-amz-server-side-encryption-context";

    #[test]
    fn the_request_beats_the_rule() {
        let kms = rule(SseMode::SseKms, Some("photos"));
        assert_eq!(decide(&[], &kms).unwrap().key_id.as_deref(), Some("photos"));
        let s3 = decide(&[(SSE_NAME, "AES256")], &kms).unwrap();
        assert_eq!((s3.mode, s3.key_id), (Mode::SseS3, None));
        let named = decide(&[(SSE_NAME, "aws:kms"), (KEY, "other")], &kms).unwrap();
        assert_eq!((named.key_id.as_deref(), named.key_named_by_client), (Some("other"), true));
        assert_eq!(decide(&[(SSE_NAME, "aws:kms")], &kms).unwrap().key_id, None);
        assert_eq!(decide(&[], &rule(SseMode::SseS3, None)).unwrap().mode, Mode::SseS3);
    }

    #[test]
    fn conflicts_and_unknown_methods_are_refused() {
        let r = rule(SseMode::SseS3, None);
        for bad in [
            &[(SSE_NAME, "AES192")][..],
            &[(SSE_NAME, "aes256")],
            &[(SSE_NAME, "aws:kms:dsse")],
            &[(SSE_NAME, "AES256"), (KEY, "k")],
            &[(KEY, "k")],
            &[(CONTEXT, "e30=")],
            &[(SSE_NAME, "aws:kms"), (CONTEXT, "not base64!")],
            &[(SSE_NAME, "aws:kms"), (CONTEXT, "WzFd")],
            &[("x-amz-server-side-encryption-bucket-key-enabled", "maybe")],
        ] {
            assert_eq!(decide(bad, &r).unwrap_err().code(), &Code::InvalidArgument, "{bad:?}");
        }
    }

    /// Headers of the key of 32 zero bytes.
    fn customer(more: &[(&'static str, &str)]) -> HeaderMap {
        [
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("x-amz-server-side-encryption-customer-key-md5", "cLyPS3KoaSFGi/joRB3OUQ=="),
        ]
        .iter()
        .chain(more)
        .map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()))
        .collect()
    }

    #[test]
    fn a_customers_key_goes_with_nothing_else() {
        let kms = BucketDefault::of(&rule(SseMode::SseKms, Some("photos")), None);
        assert!(matches!(for_write(&customer(&[]), &kms), Ok(WriteSse::Customer(_))));
        assert!(for_read(&customer(&[])).unwrap().is_some());
        for more in [[(SSE_NAME, "AES256")], [(SSE_NAME, "aws:kms")], [(KEY, "k")], [(CONTEXT, "e30=")]] {
            for refused in [for_write(&customer(&more), &kms).err(), for_read(&customer(&more)).err()] {
                assert_eq!(refused.unwrap().code(), &Code::InvalidArgument, "{more:?}");
            }
        }
        let source = [("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256")];
        for refused in [for_write(&customer(&source), &kms).err(), for_read(&customer(&source)).err()] {
            assert_eq!(refused.unwrap().code(), &Code::InvalidRequest);
        }
    }

    #[test]
    fn a_context_makes_a_key_of_its_own() {
        let r = rule(SseMode::SseS3, None);
        let sse = decide(&[(SSE_NAME, "aws:kms"), (CONTEXT, "eyJhIjoiYiJ9")], &r).unwrap();
        assert!(sse.per_object);
        assert_eq!(sse.context.as_deref(), Some("eyJhIjoiYiJ9"));
    }
}
