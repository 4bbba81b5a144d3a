//! Every value that a configuration may leave out, with the reason for it.

use std::time::Duration;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// AWS's first region; most other storage takes any name, and those that do not say which one they want.
pub const REGION: &str = "us-east-1";

/// A peer in the same data centre accepts in milliseconds; this allows for three lost SYN packets (1 + 2 s) and TLS.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5 * SECOND);

/// Storage may hash gigabytes before it answers an upload or a server-side copy. SDKs give up after 60 s of silence,
/// so a longer wait serves only clients that are patient by choice.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2 * MINUTE);

/// Silence within a body: a disk that spins up takes ten seconds, a peer that is gone takes for ever.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * SECOND);

/// AWS's limit for one PUT or part; the common denominator of S3 storage.
pub const BACKEND_PUT: u64 = 5 << 30;

/// AWS's limit for the sum of user metadata (2 KB). Some storage takes much more, none takes less.
pub const BACKEND_METADATA: u64 = 2048;

/// Long enough for the slowest real upload, and what most lifecycle rules use for aborted ones.
pub const GC_MIN_AGE: Duration = Duration::from_secs(7 * DAY);

/// The shortest that may be set: a running copy says every five minutes that it is one, each time within the storage's
/// deadlines, and clocks are some minutes apart.
pub const LEAST_GC_MIN_AGE: Duration = Duration::from_secs(HOUR);

/// The system area's bucket: says whose it is in every listing of the storage.
pub const SYSTEM_BUCKET: &str = "s3cloak-system";

/// The external key for everything that names no other.
pub const DEFAULT_KEY: &str = "s3cloak-default";

/// Deadline of one call to a key service, failover included: shorter than any client's patience, longer than a
/// failover to a second endpoint.
pub const KEY_SERVICE_TIMEOUT: Duration = Duration::from_secs(10 * SECOND);

/// A new bucket key a day bounds what one leaked key opens, for one call a day and bucket.
pub const ROTATE: Duration = Duration::from_secs(DAY);

/// An unused key need not lie in memory; fetching it again is one call.
pub const IDLE: Duration = Duration::from_secs(HOUR);

/// How long a revoked external key goes on working here.
pub const RECHECK: Duration = Duration::from_secs(MINUTE);

/// Readers outlive a night's outage of the key service.
pub const OFFLINE_READS: Duration = Duration::from_secs(DAY);

/// New data under a key that cannot be checked any more is a greater risk than a refused write.
pub const OFFLINE_WRITES: Duration = Duration::from_secs(HOUR);

/// Small uploads are verified whole before the backend hears of them; beyond this, waiting costs more than the
/// backend request that it would save.
pub const BUFFER: u64 = 1 << 20;

/// 48 such uploads at a time; further ones stream. Keeps the process under 128 MiB with a hundred clients.
pub const BUFFERS: u64 = 48 << 20;

/// Kubernetes kills after 30 s; the rest is for closing down.
pub const DRAIN: Duration = Duration::from_secs(25 * SECOND);

/// What AWS answers to a wrong SSE-C key on a read; Ceph answers 400.
pub const SSEC_WRONG_KEY_STATUS: u16 = 403;

/// One line a request and everything that needs somebody.
pub const LOG_FILTER: &str = "info";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_the_checks_that_values_do() {
        assert!(kms_client::KeyName::new(DEFAULT_KEY).is_ok());
        assert!(crate::s3::name::BucketName::parse(SYSTEM_BUCKET.as_bytes()).is_ok());
        const { assert!(BUFFER <= BUFFERS) };
        assert!(LEAST_GC_MIN_AGE <= GC_MIN_AGE);
        assert!(RECHECK < IDLE && IDLE < ROTATE && OFFLINE_WRITES <= OFFLINE_READS);
    }
}
