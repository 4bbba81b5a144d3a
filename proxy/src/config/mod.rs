//! The validated configuration: what the rest of the program reads. Parsing, defaults' reasons and fault reports
//! live beside it; nothing here knows YAML.

pub mod defaults;
mod expand;
mod fault;
mod files;
mod load;
mod reader;
mod sections;
#[cfg(test)]
mod tests;
mod tree;
mod units;

pub use expand::Surroundings;
pub use fault::{Fault, Faults};
pub use load::{load, parse};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::s3::name::BucketName;

/// Everything that `config.yaml` says, checked.
#[derive(Debug)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listen: Vec<Listener>,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
    /// Storage behind us, by name; at least one.
    pub backends: BTreeMap<String, Backend>,
    /// Key services and policy of bucket keys.
    pub keys: Keys,
    /// Who may do what.
    pub credentials: Vec<Credential>,
    /// Rules by bucket name.
    pub buckets: BucketRules,
    /// Memory.
    pub limits: Limits,
    /// Switches for other dialects.
    pub compat: Compat,
    /// Log format and filter.
    pub log: Log,
}

/// One address that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Certificate chain and key; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// A balancer in front ends TLS, so requests here count as secure.
    pub tls_terminated_in_front: bool,
    /// Host suffixes served in virtual-host style, lower case, without a leading dot.
    pub domains: Vec<String>,
    /// Only this region in credential scopes, if set.
    pub region: Option<String>,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1 key.
    pub private_key: PathBuf,
}

/// A secret from the configuration: masked in Debug, wiped on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The secret itself, for signing only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("******")
    }
}

/// Access key and secret for a backend.
#[derive(Clone, Debug)]
pub struct StaticKeys {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: Secret,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
}

/// How bucket names reach the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Addressing {
    /// `http://host/bucket/key`
    Path,
    /// `http://bucket.host/key`
    VirtualHost,
}

/// One S3 backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `http://host:port` or `https://host`; no path.
    pub endpoint: http::Uri,
    /// Region in our signatures.
    pub region: String,
    /// Our credentials there.
    pub keys: StaticKeys,
    /// Path or virtual-host style.
    pub addressing: Addressing,
    /// Own CA, PEM.
    pub ca: Option<PathBuf>,
    /// Where our own state lives.
    pub system: SystemArea,
    /// Configured profile answers; what is `None` is probed at start.
    pub profile: ProfileOverrides,
    /// Size limits of that storage.
    pub limits: BackendLimits,
    /// Deadlines.
    pub timeouts: BackendTimeouts,
}

/// The bucket (or prefix of one) that holds our own state.
#[derive(Clone, Debug)]
pub struct SystemArea {
    /// Bucket name.
    pub bucket: BucketName,
    /// Prefix in it for one-bucket accounts; empty otherwise.
    pub prefix: String,
    /// Youngest orphan that may be collected.
    pub gc_min_age: Duration,
}

/// How streamed uploads are framed towards a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UploadFraming {
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER` with a CRC of the ciphertext.
    UnsignedTrailer,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: signed chunks.
    SignedChunks,
    /// A plain body with Content-Length.
    Plain,
}

/// What the operator states about a backend instead of letting it be probed.
#[derive(Clone, Debug, Default)]
pub struct ProfileOverrides {
    /// Upload framing.
    pub framing: Option<UploadFraming>,
    /// `If-Match` / `If-None-Match` on PUT are honoured.
    pub conditional_writes: Option<bool>,
    /// It copies objects, and honours `x-amz-copy-source-if-match` there.
    pub pinned_copies: Option<bool>,
    /// `If-Match` / `If-None-Match` on copies are honoured.
    pub conditional_copies: Option<bool>,
    /// A copy of an object onto itself replaces it as a whole.
    pub whole_self_copies: Option<bool>,
    /// `Range: bytes=-N` works.
    pub suffix_ranges: Option<bool>,
    /// Subresources that it has beyond the core set (`website`, `replication`, ...).
    pub subresources: Option<Vec<String>>,
    /// Accept a backend that stores short bodies.
    pub accept_short_bodies: bool,
}

/// Size limits of a backend, in ciphertext bytes.
#[derive(Clone, Copy, Debug)]
pub struct BackendLimits {
    /// Largest single PUT or part.
    pub put: u64,
    /// Largest sum of user metadata names and values.
    pub metadata: usize,
}

/// Deadlines towards a backend.
#[derive(Clone, Copy, Debug)]
pub struct BackendTimeouts {
    /// TCP and TLS set-up.
    pub connect: Duration,
    /// Silence while waiting for a response head.
    pub response: Duration,
    /// Silence within a body, either way.
    pub idle: Duration,
}

/// Key services and how bucket keys live.
#[derive(Clone, Debug)]
pub struct Keys {
    /// By name; at least one.
    pub services: BTreeMap<String, KeyServiceConfig>,
    /// The one that unqualified key names refer to.
    pub service: String,
    /// Key for buckets and requests that name none.
    pub default_key: String,
    /// Create `default_key` at first start where it is missing.
    pub create_missing: bool,
    /// Client spelling -> key name.
    pub aliases: BTreeMap<String, String>,
    /// Life of bucket keys.
    pub bucket_key: BucketKeyPolicy,
}

/// One key service.
#[derive(Clone, Debug)]
pub enum KeyServiceConfig {
    /// MinIO KES.
    Kes(KesConfig),
    /// A folder of key files.
    Local {
        /// The folder.
        path: PathBuf,
    },
}

/// MinIO KES connection.
#[derive(Clone, Debug)]
pub struct KesConfig {
    /// `https://host:port`, tried with failover.
    pub endpoints: Vec<String>,
    /// API key or client certificate.
    pub identity: KesIdentity,
    /// Own CA, PEM; the system's roots otherwise.
    pub ca: Option<PathBuf>,
    /// Deadline of one call including failover.
    pub timeout: Duration,
}

/// How we identify ourselves to KES.
#[derive(Clone, Debug)]
pub enum KesIdentity {
    /// `kes:v1:...`
    ApiKey(Secret),
    /// Client certificate and key, PEM.
    Certificate(TlsFiles),
}

/// Life of bucket data keys (design section 2).
#[derive(Clone, Copy, Debug)]
pub struct BucketKeyPolicy {
    /// A new key for writing this often.
    pub rotate: Duration,
    /// One unused for this long leaves memory.
    pub idle: Duration,
    /// Each key in use is asked to decrypt this often.
    pub recheck: Duration,
    /// Reads go on this long while the key service is unreachable.
    pub offline_reads: Duration,
    /// Writes go on this long while the key service is unreachable.
    pub offline_writes: Duration,
}

/// One client identity.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: Secret,
    /// Session token that must accompany it, if set.
    pub session_token: Option<Secret>,
    /// Rights; a request needs one grant that covers it.
    pub allow: Vec<Grant>,
    /// Requests of this identity go out under these keys, by backend name.
    pub backend_keys: BTreeMap<String, StaticKeys>,
}

/// What an identity may do.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Exact names, `prefix*` or `*`.
    pub buckets: Vec<String>,
    /// Key prefixes; empty means all.
    pub prefixes: Vec<String>,
    /// Actions.
    pub actions: Vec<Action>,
    /// Encryption keys it may name; empty: the deployment's and the bucket's own.
    pub keys: Vec<KeyPattern>,
}

/// Encryption keys by their service and name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyPattern {
    /// The key service; `None` is every one.
    pub service: Option<String>,
    /// Exact, `prefix*` or `*`.
    pub name: String,
}

/// Coarse rights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// GET, HEAD, listings.
    Read,
    /// PUT, DELETE of objects.
    Write,
    /// Buckets and their configuration, key commands.
    Admin,
}

/// What clients are shown as an ETag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EtagPolicy {
    /// MD5 of the plaintext, as plain S3.
    Md5,
    /// The backend's own, marked as not an MD5.
    Opaque,
}

/// Default encryption of a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SseMode {
    /// `AES256`: the deployment's default key.
    SseS3,
    /// `aws:kms`: the rule's key, else the default key.
    SseKms,
}

/// What happens with plaintext objects found on the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unencrypted {
    /// Refuse to serve them.
    Reject,
    /// Serve them; only those last modified before the date, if one is given.
    Pass {
        /// Cut-off.
        before: Option<OffsetDateTime>,
    },
}

/// How listings learn ETags and whether sizes invert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListingMode {
    /// Look objects up where needed (footers, envelopes), cached.
    Lookup,
    /// Arithmetic only: every object of the bucket is encrypted.
    Arithmetic,
}

/// Requests without credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Anonymous {
    /// 403.
    Deny,
    /// Sent to the backend unsigned, whose policy decides.
    Backend,
}

/// Everything that is configured for a bucket, inherited fields filled in.
#[derive(Clone, Debug)]
pub struct BucketRule {
    /// Name in `backends`.
    pub backend: String,
    /// Default encryption.
    pub sse: SseMode,
    /// Whether `sse` or `key` was written for this bucket by name (GetBucketEncryption shows it then).
    pub sse_named: bool,
    /// `key` or `service/key` for SSE-KMS; the default key otherwise.
    pub key: Option<String>,
    /// Shown ETag.
    pub etag: EtagPolicy,
    /// Plaintext objects.
    pub unencrypted_objects: Unencrypted,
    /// Listings.
    pub listing: ListingMode,
    /// Requests without credentials.
    pub anonymous: Anonymous,
    /// Name that objects are bound to; the bucket's own otherwise.
    pub binding: Option<String>,
    /// Two buckets may share that binding.
    pub shared_binding: bool,
    /// `false`: one key-service call an object.
    pub bucket_key: bool,
}

/// Bucket rules: exact name, else the longest `prefix*`, else `*`.
#[derive(Clone, Debug)]
pub struct BucketRules {
    exact: BTreeMap<String, BucketRule>,
    prefixes: Vec<(String, BucketRule)>,
    fallback: BucketRule,
}

impl BucketRules {
    /// `prefixes` without their star, in any order.
    pub fn new(
        exact: BTreeMap<String, BucketRule>,
        mut prefixes: Vec<(String, BucketRule)>,
        fallback: BucketRule,
    ) -> Self {
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { exact, prefixes, fallback }
    }

    /// The rule for a bucket.
    pub fn rule(&self, bucket: &BucketName) -> &BucketRule {
        let name = bucket.as_str();
        self.exact
            .get(name)
            .or_else(|| {
                self.prefixes.iter().find(|(p, _)| name.starts_with(p.as_str())).map(|(_, rule)| rule)
            })
            .unwrap_or(&self.fallback)
    }

    /// Every rule, for checks and start-up.
    pub fn iter(&self) -> impl Iterator<Item = &BucketRule> {
        self.exact.values().chain(self.prefixes.iter().map(|(_, rule)| rule)).chain([&self.fallback])
    }
}

/// Memory limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Uploads up to this many plaintext bytes are verified whole before the backend request.
    pub buffer: u64,
    /// Sum of all such buffers.
    pub buffers: u64,
    /// In-flight requests are given this long on shutdown.
    pub drain: Duration,
}

/// Dialects.
#[derive(Clone, Copy, Debug)]
pub struct Compat {
    /// 403 (AWS) or 400 (Ceph) for a wrong SSE-C key on reads.
    pub ssec_wrong_key_status: u16,
    /// Refuse conditions that the backend ignores.
    pub strict_conditions: bool,
    /// Take what is signed with SigV2: forms, headers and URLs.
    pub sigv2: bool,
    /// MinIO's health paths and key calls.
    pub minio_api: bool,
}

/// Log output.
#[derive(Clone, Debug)]
pub struct Log {
    /// `tracing` filter.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// File of the audit log, if one is kept.
    pub audit: Option<PathBuf>,
}
