//! One file per top-level section of `config.yaml`; here, the order in which they are read, and the small ones.

mod backends;
mod buckets;
mod credentials;
mod keys;
mod listen;

use std::collections::BTreeMap;

use super::reader::{Map, Value};
use super::{Compat, Config, Limits, Log, defaults};

/// The whole file. Sections that others refer to are read first.
pub(super) fn config(root: &Value<'_>) -> Option<Config> {
    let top = root.map()?;
    let admin = top.get("admin").and_then(|value| listen::admin(&value));
    let listen = listen::listeners(&top, admin);
    let backends = backends::backends(&top);
    let keys = keys::keys(&top);
    let buckets = buckets::rules(&top, &backends, keys.as_ref());
    let credentials = credentials::credentials(&top, &backends, keys.as_ref(), buckets.as_ref());
    let limits = limits(&top);
    let compat = compat(&top);
    let log = log(&top);
    top.close();
    Some(Config {
        listen: listen?,
        admin,
        backends: backends
            .into_iter()
            .map(|(name, backend)| Some((name, backend?)))
            .collect::<Option<_>>()?,
        keys: keys?,
        credentials: credentials?,
        buckets: buckets?,
        limits,
        compat,
        log,
    })
}

/// What other sections may refer to: every name that stands there, even where its own settings are faulty.
type Named<T> = BTreeMap<String, Option<T>>;

fn limits(top: &Map<'_>) -> Limits {
    let mut limits = Limits { buffer: defaults::BUFFER, buffers: defaults::BUFFERS, drain: defaults::DRAIN };
    let Some(map) = top.get("limits").and_then(|value| value.map()) else { return limits };
    if let Some(size) = map.get("buffer").and_then(|value| value.size()) {
        limits.buffer = size;
    }
    if let Some(size) = map.get("buffers").and_then(|value| value.size()) {
        limits.buffers = size;
    }
    if let Some(drain) = map.get("drain").and_then(|value| value.duration()) {
        limits.drain = drain;
    }
    if limits.buffer > limits.buffers {
        map.here().fault(
            format!(
                "one `buffer` ({} bytes) is more than all `buffers` ({} bytes)",
                limits.buffer, limits.buffers
            ),
            "Raise `buffers` or lower `buffer`.",
        );
    }
    map.close();
    limits
}

fn compat(top: &Map<'_>) -> Compat {
    let mut compat = Compat {
        ssec_wrong_key_status: defaults::SSEC_WRONG_KEY_STATUS,
        strict_conditions: false,
        sigv2: false,
        minio_api: false,
    };
    let Some(map) = top.get("compat").and_then(|value| value.map()) else { return compat };
    if let Some(status) =
        map.get("ssec_wrong_key_status").and_then(|value| value.word(&[("403", 403), ("400", 400)]))
    {
        compat.ssec_wrong_key_status = status;
    }
    for (name, switch) in [
        ("strict_conditions", &mut compat.strict_conditions),
        ("sigv2", &mut compat.sigv2),
        ("minio_api", &mut compat.minio_api),
    ] {
        let Some(value) = map.get(name) else { continue };
        *switch = value.bool().unwrap_or(false);
    }
    map.close();
    compat
}

fn log(top: &Map<'_>) -> Log {
    let mut log = Log { filter: defaults::LOG_FILTER.to_owned(), json: false, audit: None };
    let Some(map) = top.get("log").and_then(|value| value.map()) else { return log };
    if let Some(filter) = map.get("filter").and_then(|value| {
        value.parse(|text| match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err((
                format!("not a log filter: {error}"),
                "Write a level (error, warn, info, debug, trace), or levels by module: info,s3cloak::keys=debug.".into(),
            )),
        })
    }) {
        log.filter = filter;
    }
    if let Some(json) = map.get("format").and_then(|value| value.word(&[("text", false), ("json", true)])) {
        log.json = json;
    }
    log.audit = map.get("audit").and_then(|value| value.path());
    map.close();
    log
}
