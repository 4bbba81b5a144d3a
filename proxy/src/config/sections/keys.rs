//! `keys`: key services, the default key, aliases, and how bucket keys live.

use std::collections::BTreeMap;

use kms_client::KeyName;

use super::super::reader::{Map, Value};
use super::super::{
    BucketKeyPolicy, KesConfig, KesIdentity, KeyPattern, KeyServiceConfig, Keys, defaults, files,
};

const SERVICES: &str = "Write `services: { main: { type: kes, endpoints: […], api_key: … } }`, or `{ type: local, path: keys }` to try things out.";
const NAME: &str = "Key names have 1 to 80 letters, digits, `-` and `_`, and no `-` at either end.";

pub(super) fn keys(top: &Map<'_>) -> Option<Keys> {
    let map = top.need("keys", SERVICES)?.map()?;
    let services = map.need("services", SERVICES).and_then(|value| services(&value));
    let names: Vec<String> = services.iter().flat_map(|all| all.keys().cloned()).collect();
    let service = match map.get("service") {
        Some(value) => value.parse(|text| {
            if names.is_empty() || names.iter().any(|name| name == text) {
                Ok(text.to_owned())
            } else {
                Err((format!("there is no key service {text:?}"), format!("Known: {}.", names.join(", "))))
            }
        }),
        None if names.len() > 1 => {
            map.here().fault(
                "there are several key services and none is said to be the default",
                format!("Write `service:` with one of {}.", names.join(", ")),
            );
            None
        }
        None => names.first().cloned(),
    };
    let default_key = match map.get("default_key") {
        Some(value) => value.parse(key_name),
        None => Some(defaults::DEFAULT_KEY.to_owned()),
    };
    let create_missing = map.get("create_missing").and_then(|value| value.bool()).unwrap_or(false);
    let aliases = map.get("aliases").map_or(Some(BTreeMap::new()), |value| aliases(&value, &names));
    let bucket_key = bucket_key(map.get("bucket_key"));
    map.close();
    Some(Keys {
        services: services?
            .into_iter()
            .map(|(name, service)| Some((name, service?)))
            .collect::<Option<_>>()?,
        service: service?,
        default_key: default_key?,
        create_missing,
        aliases: aliases?,
        bucket_key,
    })
}

fn key_name(text: &str) -> Result<String, (String, String)> {
    KeyName::new(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|_| (format!("{text:?} is not a name that a key can have"), NAME.to_owned()))
}

/// `key` or `service/key`, with a service that exists.
pub(super) fn reference(text: &str, services: &[String]) -> Result<String, (String, String)> {
    let key = match text.split_once('/') {
        Some((service, key)) => {
            if !services.iter().any(|name| name == service) {
                return Err(no_service(service, "key", services));
            }
            key
        }
        None => text,
    };
    key_name(key)?;
    Ok(text.to_owned())
}

/// The keys that a right names: `key`, `prefix*`, the same after `service/`, or `*` for every key of every service.
/// Without `known` the keys have faults of their own.
pub(super) fn pattern(text: &str, known: Option<&Keys>) -> Result<KeyPattern, (String, String)> {
    if text == "*" {
        return Ok(KeyPattern { service: None, name: text.to_owned() });
    }
    let (service, name) = match text.split_once('/') {
        Some((service, name)) => (Some(service), name),
        None => (None, text),
    };
    if let (Some(service), Some(known)) = (service, known)
        && !known.services.contains_key(service)
    {
        let services: Vec<String> = known.services.keys().cloned().collect();
        return Err(no_service(service, "prefix*", &services));
    }
    let fits = match name.strip_suffix('*') {
        // Some name has to begin so.
        Some(prefix) => KeyName::new(format!("{prefix}x")).is_ok(),
        None => KeyName::new(name).is_ok(),
    };
    if !fits {
        let remedy = format!("Write a name, `prefix*`, the same after `service/`, or \"*\". {NAME}");
        return Err((format!("{text:?} matches no name that a key can have"), remedy));
    }
    let service = service.map(str::to_owned).or_else(|| known.map(|keys| keys.service.clone()));
    Ok(KeyPattern { service, name: name.to_owned() })
}

fn no_service(service: &str, key: &str, services: &[String]) -> (String, String) {
    (
        format!("there is no key service {service:?}"),
        format!("Write `{key}`, or `service/{key}` with one of {}.", services.join(", ")),
    )
}

fn services(value: &Value<'_>) -> Option<BTreeMap<String, Option<KeyServiceConfig>>> {
    let entries = value.map()?.entries();
    if entries.is_empty() {
        value.fault("there is no key service", SERVICES);
    }
    let mut services = BTreeMap::new();
    for (name, value) in entries {
        // The name stands in every envelope, and before a slash in `service/key`.
        if KeyName::new(name).is_err() {
            value.fault("this cannot be the name of a key service", NAME);
        }
        services.insert(name.to_owned(), service(&value));
    }
    Some(services)
}

#[derive(Clone, Copy)]
enum Kind {
    Kes,
    Local,
}

fn service(value: &Value<'_>) -> Option<KeyServiceConfig> {
    let map = value.map()?;
    let kind = map.need("type", "Write `type: kes` or `type: local`.")?;
    match kind.word(&[("kes", Kind::Kes), ("local", Kind::Local)])? {
        Kind::Kes => kes(map),
        Kind::Local => {
            let path =
                map.need("path", "Name the folder that holds the keys.").and_then(|value| value.path());
            map.close();
            Some(KeyServiceConfig::Local { path: path? })
        }
    }
}

fn kes(map: Map<'_>) -> Option<KeyServiceConfig> {
    let endpoints =
        map.need("endpoints", "Write `endpoints: [https://kes.example.com:7373]`.").and_then(|value| {
            let items = value.list()?;
            if items.is_empty() {
                value
                    .fault("the list is empty", "Write at least one endpoint: https://kes.example.com:7373.");
            }
            let endpoints: Vec<Option<String>> = items.iter().map(kes_endpoint).collect();
            endpoints.into_iter().collect::<Option<Vec<_>>>()
        });
    let identity = kes_identity(&map);
    let ca = map.get("ca").map_or(Some(None), |value| files::certificates(&value).map(Some));
    let timeout = map.get("timeout").and_then(|value| value.positive_duration());
    map.close();
    Some(KeyServiceConfig::Kes(KesConfig {
        endpoints: endpoints?,
        identity: identity?,
        ca: ca?,
        timeout: timeout.unwrap_or(defaults::KEY_SERVICE_TIMEOUT),
    }))
}

fn kes_endpoint(value: &Value<'_>) -> Option<String> {
    value.parse(|text| {
        let plain = text.parse::<http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("https")
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && matches!(uri.path(), "" | "/")
                && uri.query().is_none()
        });
        if plain {
            Ok(text.trim_end_matches('/').to_owned())
        } else {
            Err((
                format!("{text:?} is not an endpoint of KES"),
                "Write https://host:port and nothing more; KES speaks TLS only.".into(),
            ))
        }
    })
}

fn kes_identity(map: &Map<'_>) -> Option<KesIdentity> {
    const HOW: &str = "Write `api_key: \"${NAME}\"` (kes:v1:…), or `certificate` and `private_key`.";
    let api_key = map.get("api_key");
    let certificate = map.get("certificate");
    let private_key = map.get("private_key");
    match (api_key, certificate.is_some() || private_key.is_some()) {
        (Some(value), true) => {
            value.fault("two identities are given: an API key and a certificate", "Keep one of the two.");
            None
        }
        (None, false) => {
            map.here().fault("KES is not told who we are", HOW);
            None
        }
        (None, true) => files::pair(map).map(KesIdentity::Certificate),
        (Some(value), false) => {
            let secret = value.secret()?;
            if !secret.expose().starts_with("kes:v1:") {
                value.fault(
                    "this is not an API key of KES",
                    "API keys begin with `kes:v1:`; make one with `kes identity new`.",
                );
                return None;
            }
            Some(KesIdentity::ApiKey(secret))
        }
    }
}

fn aliases(value: &Value<'_>, services: &[String]) -> Option<BTreeMap<String, String>> {
    let mut aliases = BTreeMap::new();
    let mut whole = true;
    for (spelling, value) in value.map()?.entries() {
        let ok = (1..=200).contains(&spelling.len()) && spelling.bytes().all(|b| b.is_ascii_graphic());
        if !ok {
            value.fault(
                "this cannot be what a client writes as a key id",
                "Aliases have 1 to 200 visible ASCII characters.",
            );
        }
        match value.parse(|text| reference(text, services)) {
            Some(key) => {
                aliases.insert(spelling.to_owned(), key);
            }
            None => whole = false,
        }
    }
    whole.then_some(aliases)
}

fn bucket_key(value: Option<Value<'_>>) -> BucketKeyPolicy {
    let map = value.and_then(|value| value.map());
    let get = |name| map.as_ref().and_then(|map: &Map<'_>| map.get(name));
    let positive = |name, default| get(name).and_then(|value| value.positive_duration()).unwrap_or(default);
    let any = |name, default| get(name).and_then(|value| value.duration()).unwrap_or(default);
    let policy = BucketKeyPolicy {
        rotate: positive("rotate", defaults::ROTATE),
        idle: positive("idle", defaults::IDLE),
        recheck: positive("recheck", defaults::RECHECK),
        offline_reads: any("offline_reads", defaults::OFFLINE_READS),
        offline_writes: any("offline_writes", defaults::OFFLINE_WRITES),
    };
    if let Some(map) = map {
        map.close();
    }
    policy
}
