//! What is counted, in one typed set; `/metrics` shows it. Callers name events, never labels.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::error::Blame;
use crate::uploads::Tally;

/// Seconds. From a cached HEAD (under a millisecond) to gigabytes in one request.
const LATENCY_BUCKETS: &[f64] =
    &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// One request, finished.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// AWS's name of the operation, or `Unparsed`.
    pub operation: &'static str,
    /// HTTP status that went out; 0 where the connection ended without one.
    pub status: u16,
    /// Who is to blame, where it failed.
    pub blame: Option<Blame>,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
    /// From the request head to the end of the answer.
    pub elapsed: Duration,
}

/// Why a request was denied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// It is not known who asks.
    Authentication,
    /// Who asks may not.
    Access,
}

impl Denial {
    fn as_str(self) -> &'static str {
        match self {
            Denial::Authentication => "authentication",
            Denial::Access => "access",
        }
    }
}

/// All counters of a process. Made once; every method may be called from any thread.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    failures: IntCounterVec,
    received: IntCounter,
    sent: IntCounter,
    auth_failures: IntCounterVec,
    tampered: IntCounter,
    backend_seconds: HistogramVec,
    sweeps: IntCounterVec,
    swept: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A set of its own, everything zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name, help, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels);
            register(&registry, made.expect("names and labels are valid, by test"))
        };
        let counter = |name, help| {
            let made = IntCounter::new(name, help);
            register(&registry, made.expect("names are valid, by test"))
        };
        let histograms = |name, help, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
            register(
                &registry,
                HistogramVec::new(options, labels).expect("names and labels are valid, by test"),
            )
        };
        let metrics = Self {
            requests: counters(
                "s3cloak_requests_total",
                "Requests by S3 operation and HTTP status; status 0 where the connection ended first.",
                &["operation", "status"],
            ),
            seconds: histograms(
                "s3cloak_request_seconds",
                "Time from a request's head to the end of its answer.",
                &["operation"],
            ),
            failures: counters(
                "s3cloak_failures_total",
                "Failed requests by who has to act: client, backend, keys, tampered, internal.",
                &["blame"],
            ),
            received: counter("s3cloak_received_bytes_total", "Body bytes from clients."),
            sent: counter("s3cloak_sent_bytes_total", "Body bytes to clients."),
            auth_failures: counters(
                "s3cloak_auth_failures_total",
                "Denied requests by why: authentication (signature, clock, credential), or access (rights here or on the \
                 storage, another customer's key).",
                &["why"],
            ),
            tampered: counter(
                "s3cloak_tampered_total",
                "Stored objects, encryption rules of buckets and records of uploads that failed their integrity check. Anything above zero \
                 needs somebody.",
            ),
            backend_seconds: histograms(
                "s3cloak_backend_seconds",
                "Time until a backend's answer (of an upload: from its last byte), by backend and outcome: ok, refused, failed.",
                &["backend", "outcome"],
            ),
            sweeps: counters(
                "s3cloak_sweeps_total",
                "Looks for what ended multipart uploads left behind, by outcome: done, failed.",
                &["outcome"],
            ),
            swept: counters(
                "s3cloak_swept_total",
                "What sweeps collected of ended multipart uploads (uploads, copies that never ended, orphans, objects), and uploads of which nothing could be proved (kept).",
                &["what"],
            ),
            registry,
        };
        // A series that exists from the start makes an alert on its first increase work.
        for blame in [Blame::Client, Blame::Backend, Blame::Keys, Blame::Tampered, Blame::Internal] {
            metrics.failures.with_label_values(&[blame.as_str()]);
        }
        for why in [Denial::Authentication, Denial::Access] {
            metrics.auth_failures.with_label_values(&[why.as_str()]);
        }
        for outcome in ["done", "failed"] {
            metrics.sweeps.with_label_values(&[outcome]);
        }
        metrics.add_swept(&Tally::default());
        metrics
    }

    /// A request ended.
    pub fn request(&self, record: &RequestRecord) {
        self.requests.with_label_values(&[record.operation, &record.status.to_string()]).inc();
        self.seconds.with_label_values(&[record.operation]).observe(record.elapsed.as_secs_f64());
        self.received.inc_by(record.received);
        self.sent.inc_by(record.sent);
        if let Some(blame) = record.blame {
            self.failures.with_label_values(&[blame.as_str()]).inc();
            if blame == Blame::Tampered {
                self.tampered.inc();
            }
        }
    }

    /// A request was denied.
    pub fn denied(&self, why: Denial) {
        self.auth_failures.with_label_values(&[why.as_str()]).inc();
    }

    /// For those who find what was tampered with outside of a request.
    pub fn tamper_alarm(&self) -> TamperAlarm {
        TamperAlarm(self.tampered.clone())
    }

    /// A sweep of a backend ended; early where nothing is known of it.
    pub fn sweep(&self, tally: Option<&Tally>) {
        self.sweeps.with_label_values(&[if tally.is_some() { "done" } else { "failed" }]).inc();
        if let Some(tally) = tally {
            self.add_swept(tally);
        }
    }

    fn add_swept(&self, tally: &Tally) {
        let whats = [
            ("uploads", tally.ended),
            ("copies", tally.abandoned),
            ("orphans", tally.orphaned),
            ("objects", tally.objects),
            ("kept", tally.kept),
        ];
        for (what, count) in whats {
            self.swept.with_label_values(&[what]).inc_by(count);
        }
    }

    /// For backends to report their answers to.
    pub fn backend_latency(&self) -> BackendLatency {
        BackendLatency(self.backend_seconds.clone())
    }

    /// Prometheus' text format; `readings` are values that others keep.
    pub fn render(&self, readings: &[Reading]) -> String {
        let mut out = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut out)
            .expect("writing text to memory cannot fail, and no gathered family is empty");
        let mut text = String::from_utf8(out).expect("the text format is UTF-8");
        for Reading { name, kind, help, value } in readings {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n{name} {value}\n", kind.as_str());
        }
        text
    }
}

/// Counts what failed its integrity check.
#[derive(Clone, Debug)]
pub struct TamperAlarm(IntCounter);

impl TamperAlarm {
    /// Something did.
    pub fn raise(&self) {
        self.0.inc();
    }
}

/// How long backends take to answer.
#[derive(Clone)]
pub struct BackendLatency(HistogramVec);

impl BackendLatency {
    /// A backend answered with `status`, or did not (`None`).
    pub fn observe(&self, backend: &str, status: Option<http::StatusCode>, elapsed: Duration) {
        let outcome = match status {
            None => "failed",
            Some(status) if status.is_server_error() => "failed",
            Some(status) if status.is_client_error() => "refused",
            Some(_) => "ok",
        };
        self.0.with_label_values(&[backend, outcome]).observe(elapsed.as_secs_f64());
    }
}

/// A value that is read when asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Full name.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// One line.
    pub help: &'static str,
    /// The value.
    pub value: u64,
}

/// How a reading moves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// The one place where a metric joins the registry.
fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry
        .register(Box::new(collector.clone()))
        .expect("every name stands once in the table above, by test");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_show_in_the_text() {
        let metrics = Metrics::new();
        metrics.request(&RequestRecord {
            operation: "PutObject",
            status: 200,
            blame: None,
            received: 10,
            sent: 3,
            elapsed: Duration::from_millis(1),
        });
        metrics.request(&RequestRecord {
            operation: "GetObject",
            status: 500,
            blame: Some(Blame::Tampered),
            received: 0,
            sent: 7,
            elapsed: Duration::from_millis(1),
        });
        metrics.denied(Denial::Access);
        metrics.tamper_alarm().raise();
        metrics.sweep(Some(&Tally { ended: 2, objects: 9, ..Tally::default() }));
        metrics.sweep(None);
        let backends = metrics.backend_latency();
        backends.observe("default", Some(http::StatusCode::NOT_FOUND), Duration::from_millis(2));
        backends.observe("default", None, Duration::from_millis(2));
        let text = metrics.render(&[Reading {
            name: "s3cloak_requests_in_flight",
            kind: Kind::Gauge,
            help: "Requests being served.",
            value: 4,
        }]);
        for line in [
            "s3cloak_requests_total{operation=\"PutObject\",status=\"200\"} 1",
            "s3cloak_requests_total{operation=\"GetObject\",status=\"500\"} 1",
            "s3cloak_request_seconds_count{operation=\"PutObject\"} 1",
            "s3cloak_failures_total{blame=\"tampered\"} 1",
            "s3cloak_failures_total{blame=\"client\"} 0",
            "s3cloak_received_bytes_total 10",
            "s3cloak_sent_bytes_total 10",
            "s3cloak_auth_failures_total{why=\"access\"} 1",
            "s3cloak_auth_failures_total{why=\"authentication\"} 0",
            "s3cloak_tampered_total 2",
            "s3cloak_sweeps_total{outcome=\"done\"} 1",
            "s3cloak_sweeps_total{outcome=\"failed\"} 1",
            "s3cloak_swept_total{what=\"uploads\"} 2",
            "s3cloak_swept_total{what=\"copies\"} 0",
            "s3cloak_swept_total{what=\"orphans\"} 0",
            "s3cloak_swept_total{what=\"objects\"} 9",
            "s3cloak_backend_seconds_count{backend=\"default\",outcome=\"refused\"} 1",
            "s3cloak_backend_seconds_count{backend=\"default\",outcome=\"failed\"} 1",
            "# TYPE s3cloak_requests_in_flight gauge",
            "s3cloak_requests_in_flight 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_fresh_set_can_be_shown() {
        assert!(Metrics::new().render(&[]).contains("s3cloak_tampered_total 0"));
    }
}
