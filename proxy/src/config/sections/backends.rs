//! `backends`: the storage behind us.

use std::path::PathBuf;

use super::super::reader::{Map, Value};
use super::super::{
    Addressing, Backend, BackendLimits, BackendTimeouts, ProfileOverrides, StaticKeys, SystemArea,
    UploadFraming, defaults, files,
};
use super::Named;
use crate::s3::name::BucketName;

const ENDPOINT: &str =
    "Write scheme, host and port and nothing more: http://127.0.0.1:8333 or https://s3.example.com.";

pub(super) fn backends(top: &Map<'_>) -> Named<Backend> {
    let Some(value) = top.need(
        "backends",
        "Write `backends:` with an entry `default: { endpoint: …, access_key: …, secret_key: … }`.",
    ) else {
        return Named::new();
    };
    let Some(map) = value.map() else { return Named::new() };
    let entries = map.entries();
    if entries.is_empty() {
        value.fault(
            "there is no backend",
            "Write an entry `default: { endpoint: …, access_key: …, secret_key: … }`.",
        );
    }
    let mut areas: Vec<(String, BucketName, String)> = Vec::new();
    let mut named = Named::new();
    for (name, value) in entries {
        let backend = backend(&value);
        if let Some(backend) = &backend {
            // Two names for one system area would each take the other's state for their own.
            let area = (
                backend.endpoint.to_string().to_ascii_lowercase(),
                backend.system.bucket.clone(),
                backend.system.prefix.clone(),
            );
            if areas.contains(&area) {
                value.fault(
                    "another backend has this endpoint and this system area",
                    "Give it its own `system: { bucket: … }`, or use one backend and `backend_keys` in `credentials`.",
                );
            }
            areas.push(area);
        }
        named.insert(name.to_owned(), backend);
    }
    named
}

fn backend(value: &Value<'_>) -> Option<Backend> {
    let map = value.map()?;
    let endpoint = map.need("endpoint", ENDPOINT).and_then(|value| endpoint(&value));
    let region = optional(map.get("region"), Value::text);
    let keys = static_keys(&map);
    let addressing = map
        .get("addressing")
        .and_then(|value| {
            value.word(&[("path", Addressing::Path), ("virtual-host", Addressing::VirtualHost)])
        })
        .unwrap_or(Addressing::Path);
    let ca: Option<Option<PathBuf>> = optional(map.get("ca"), files::certificates);
    let system = system(map.get("system"));
    let profile = map.get("profile").map_or(Some(ProfileOverrides::default()), |value| profile(&value));
    let limits = limits(map.get("limits"));
    let timeouts = timeouts(map.get("timeouts"));
    map.close();
    Some(Backend {
        endpoint: endpoint?,
        region: region?.unwrap_or_else(|| defaults::REGION.to_owned()),
        keys: keys?,
        addressing,
        ca: ca?,
        system: system?,
        profile: profile?,
        limits,
        timeouts,
    })
}

/// `None` for a fault, `Some(None)` where nothing is written.
fn optional<'a, T>(value: Option<Value<'a>>, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(&value).map(Some),
    }
}

/// `access_key`, `secret_key` and `session_token` beside other fields.
pub(super) fn static_keys(map: &Map<'_>) -> Option<StaticKeys> {
    let access_key = map.need("access_key", "Write the access key id that the backend gave out.");
    let secret_key =
        map.need("secret_key", "Write `secret_key: \"${NAME}\"` or `secret_key: \"${file:path}\"`.");
    let session_token = optional(map.get("session_token"), Value::secret);
    let access_key = access_key.and_then(|value| value.text());
    let secret_key = secret_key.and_then(|value| value.secret());
    Some(StaticKeys { access_key: access_key?, secret_key: secret_key?, session_token: session_token? })
}

fn endpoint(value: &Value<'_>) -> Option<http::Uri> {
    value.parse(|text| {
        let refuse = || (format!("{text:?} is not an endpoint"), ENDPOINT.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| refuse())?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none();
        if plain { Ok(uri) } else { Err(refuse()) }
    })
}

fn system(value: Option<Value<'_>>) -> Option<SystemArea> {
    let default = || SystemArea {
        bucket: BucketName::parse(defaults::SYSTEM_BUCKET.as_bytes())
            .expect("the default is a valid name, by test"),
        prefix: String::new(),
        gc_min_age: defaults::GC_MIN_AGE,
    };
    let Some(value) = value else { return Some(default()) };
    let map = value.map()?;
    let bucket = optional(map.get("bucket"), bucket_name);
    let prefix = optional(map.get("prefix"), |value| {
        value.parse(|text| {
            let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
            let ok = text.ends_with('/')
                && !text.starts_with('/')
                && !text.contains("//")
                && text.len() <= 200
                && text.bytes().all(safe)
                && text.split('/').all(|part| part != "." && part != "..");
            if ok {
                Ok(text.to_owned())
            } else {
                Err((
                    format!("{text:?} is not a prefix for the system area"),
                    "Write letters, digits, `-`, `_` and `.`, ending in a slash: s3cloak-system/.".into(),
                ))
            }
        })
    });
    let gc_min_age = map.get("gc_min_age").and_then(|value| {
        let age = value.positive_duration()?;
        if age < defaults::LEAST_GC_MIN_AGE {
            value.fault(
                "work under way could be taken for what was left behind",
                "Write at least 1h; `s3cloak gc --min-age` collects sooner, once.",
            );
            return None;
        }
        Some(age)
    });
    map.close();
    let mut area = default();
    if let Some(bucket) = bucket? {
        area.bucket = bucket;
    }
    area.prefix = prefix?.unwrap_or_default();
    area.gc_min_age = gc_min_age.unwrap_or(area.gc_min_age);
    Some(area)
}

/// A bucket's name as a value.
pub(super) fn bucket_name(value: &Value<'_>) -> Option<BucketName> {
    value.parse(|text| {
        BucketName::parse(text.as_bytes()).map_err(|_| {
            (
                format!("{text:?} is not a bucket name"),
                "Bucket names have 3 to 63 small letters, digits, dots and hyphens.".into(),
            )
        })
    })
}

fn profile(value: &Value<'_>) -> Option<ProfileOverrides> {
    let map = value.map()?;
    let profile = ProfileOverrides {
        framing: map.get("framing").and_then(|value| {
            value.word(&[
                ("unsigned-trailer", UploadFraming::UnsignedTrailer),
                ("signed-chunks", UploadFraming::SignedChunks),
                ("plain", UploadFraming::Plain),
            ])
        }),
        conditional_writes: map.get("conditional_writes").and_then(|value| value.bool()),
        pinned_copies: map.get("pinned_copies").and_then(|value| value.bool()),
        conditional_copies: map.get("conditional_copies").and_then(|value| value.bool()),
        whole_self_copies: map.get("whole_self_copies").and_then(|value| value.bool()),
        suffix_ranges: map.get("suffix_ranges").and_then(|value| value.bool()),
        subresources: map.get("subresources").and_then(|value| value.texts()),
        accept_short_bodies: map
            .get("commits_short_bodies")
            .and_then(|value| value.word(&[("refuse", false), ("accept", true)]))
            .unwrap_or(false),
    };
    map.close();
    Some(profile)
}

fn limits(value: Option<Value<'_>>) -> BackendLimits {
    let map = value.and_then(|value| value.map());
    let size = |name, default| map.as_ref().and_then(|map| map.get(name)?.size()).unwrap_or(default);
    let limits = BackendLimits {
        put: size("put", defaults::BACKEND_PUT),
        metadata: usize::try_from(size("metadata", defaults::BACKEND_METADATA)).unwrap_or(usize::MAX),
    };
    if let Some(map) = map {
        if let (true, Some(value)) = (limits.metadata < MIN_METADATA, map.get("metadata")) {
            value.fault(
                format!("{} bytes of user metadata do not hold an envelope", limits.metadata),
                format!("Write at least {MIN_METADATA}B."),
            );
        }
        if let (true, Some(value)) = (limits.put < MIN_PUT, map.get("put")) {
            value.fault(
                "this is less than the 5 MiB of S3's smallest part and what encryption adds",
                "Write at least 6MiB.",
            );
        }
        map.close();
    }
    limits
}

/// An envelope without a client context, and its name.
const MIN_METADATA: usize = 1024;
/// A part of 5 MiB and what encryption adds to it.
const MIN_PUT: u64 = 6 << 20;

fn timeouts(value: Option<Value<'_>>) -> BackendTimeouts {
    let map = value.and_then(|value| value.map());
    let time =
        |name, default| map.as_ref().and_then(|map| map.get(name)?.positive_duration()).unwrap_or(default);
    let timeouts = BackendTimeouts {
        connect: time("connect", defaults::CONNECT_TIMEOUT),
        response: time("response", defaults::RESPONSE_TIMEOUT),
        idle: time("idle", defaults::IDLE_TIMEOUT),
    };
    if let Some(map) = map {
        map.close();
    }
    timeouts
}
