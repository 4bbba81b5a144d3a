//! `buckets`: rules by bucket name. Every field is inherited: exact name, then `prefix*` from the longest to the
//! shortest, then `*`, then the defaults.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::super::reader::{Map, Value};
use super::super::{
    Anonymous, Backend, BucketRule, BucketRules, EtagPolicy, Keys, ListingMode, SseMode, Unencrypted,
};
use super::{Named, keys};
use crate::s3::name::BucketName;

/// What one entry says; `None` is inherited.
#[derive(Clone, Default)]
struct Layer {
    backend: Option<String>,
    sse: Option<SseMode>,
    key: Option<String>,
    etag: Option<EtagPolicy>,
    pass: Option<bool>,
    pass_before: Option<OffsetDateTime>,
    listing: Option<ListingMode>,
    anonymous: Option<Anonymous>,
    binding: Option<String>,
    shared_binding: Option<bool>,
    bucket_key: Option<bool>,
}

/// Whose rule an entry is.
enum Pattern<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Fallback,
}

impl<'a> Pattern<'a> {
    fn of(name: &'a str) -> Self {
        match name.strip_suffix('*') {
            Some("") => Pattern::Fallback,
            Some(prefix) => Pattern::Prefix(prefix),
            None => Pattern::Exact(name),
        }
    }

    /// Whether this entry's fields reach an entry of that name, and how specific it is: exact names reach only
    /// themselves.
    fn rank_for(&self, name: &str) -> Option<usize> {
        match self {
            Pattern::Exact(exact) => (*exact == name).then_some(usize::MAX),
            Pattern::Prefix(prefix) => name.starts_with(prefix).then_some(prefix.len()),
            Pattern::Fallback => Some(0),
        }
    }
}

pub(super) fn rules(top: &Map<'_>, backends: &Named<Backend>, keys: Option<&Keys>) -> Option<BucketRules> {
    let value = top.get("buckets");
    let map = match &value {
        Some(value) => Some(value.map()?),
        None => None,
    };
    let entries = map.as_ref().map(Map::entries).unwrap_or_default();
    let place = value.as_ref().unwrap_or(top.here());
    let context = Context { backends, keys };
    let layers: Vec<(&str, Value<'_>, Layer)> = entries
        .into_iter()
        .map(|(name, value)| {
            let layer = layer(&value, &context).unwrap_or_default();
            (name, value, layer)
        })
        .collect();

    let mut exact = BTreeMap::new();
    let mut prefixes = Vec::new();
    let mut fallback = None;
    for (name, value, own) in &layers {
        let merged = merge(name, &layers);
        check(value, own, &merged);
        let rule = resolve(&merged, value, &context);
        match Pattern::of(name) {
            Pattern::Fallback => fallback = rule,
            Pattern::Prefix(prefix) => {
                if prefix.contains('*') {
                    value
                        .fault("a `*` may only stand at the end", "Write an exact name, `prefix*` or \"*\".");
                }
                prefixes.extend(rule.map(|rule| (prefix.to_owned(), rule)));
            }
            Pattern::Exact(_) => {
                if BucketName::parse(name.as_bytes()).is_err() {
                    value.fault(
                        "this is neither a bucket's name nor a pattern",
                        "Bucket names have 3 to 63 small letters, digits, dots and hyphens; a pattern ends in `*`.",
                    );
                }
                exact.extend(rule.map(|rule| {
                    let sse_named = own.sse.is_some() || own.key.is_some();
                    ((*name).to_owned(), BucketRule { sse_named, ..rule })
                }));
            }
        }
    }
    if !layers.iter().any(|(name, ..)| *name == "*") {
        fallback = resolve(&Layer::default(), place, &context);
    }
    check_bindings(&layers, &exact, &prefixes, fallback.as_ref());
    check_system_areas(&layers, &exact, backends);
    Some(BucketRules::new(exact, prefixes, fallback?))
}

struct Context<'a> {
    backends: &'a Named<Backend>,
    keys: Option<&'a Keys>,
}

fn layer(value: &Value<'_>, context: &Context<'_>) -> Option<Layer> {
    let map = value.map()?;
    let layer = Layer {
        backend: map.get("backend").and_then(|value| {
            value.parse(|text| {
                if context.backends.is_empty() || context.backends.contains_key(text) {
                    return Ok(text.to_owned());
                }
                let known: Vec<&str> = context.backends.keys().map(String::as_str).collect();
                Err((format!("there is no backend {text:?}"), format!("Known: {}.", known.join(", "))))
            })
        }),
        sse: map
            .get("sse")
            .and_then(|value| value.word(&[("AES256", SseMode::SseS3), ("aws:kms", SseMode::SseKms)])),
        key: map.get("key").and_then(|value| {
            value.parse(|text| {
                let Some(all) = context.keys else { return Ok(text.to_owned()) };
                if let Some(key) = all.aliases.get(text) {
                    return Ok(key.clone());
                }
                let services: Vec<String> = all.services.keys().cloned().collect();
                keys::reference(text, &services)
            })
        }),
        etag: map
            .get("etag")
            .and_then(|value| value.word(&[("md5", EtagPolicy::Md5), ("opaque", EtagPolicy::Opaque)])),
        pass: map
            .get("unencrypted_objects")
            .and_then(|value| value.word(&[("reject", false), ("pass", true)])),
        pass_before: map.get("pass_before").and_then(|value| value.date()),
        listing: map.get("listing").and_then(|value| {
            value.word(&[("lookup", ListingMode::Lookup), ("arithmetic", ListingMode::Arithmetic)])
        }),
        anonymous: map
            .get("anonymous")
            .and_then(|value| value.word(&[("deny", Anonymous::Deny), ("backend", Anonymous::Backend)])),
        binding: map
            .get("binding")
            .and_then(|value| super::backends::bucket_name(&value).map(|name| name.as_str().to_owned())),
        shared_binding: map.get("shared_binding").and_then(|value| value.bool()),
        bucket_key: map.get("bucket_key").and_then(|value| value.bool()),
    };
    map.close();
    Some(layer)
}

/// All fields that reach an entry, the most specific first.
fn merge(name: &str, layers: &[(&str, Value<'_>, Layer)]) -> Layer {
    let mut reaching: Vec<(usize, &Layer)> = layers
        .iter()
        .filter_map(|(pattern, _, layer)| Some((Pattern::of(pattern).rank_for(name)?, layer)))
        .collect();
    reaching.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    reaching.into_iter().fold(Layer::default(), |above, (_, below)| Layer {
        backend: above.backend.or_else(|| below.backend.clone()),
        sse: above.sse.or(below.sse),
        key: above.key.or_else(|| below.key.clone()),
        etag: above.etag.or(below.etag),
        pass: above.pass.or(below.pass),
        pass_before: above.pass_before.or(below.pass_before),
        listing: above.listing.or(below.listing),
        anonymous: above.anonymous.or(below.anonymous),
        binding: above.binding.or_else(|| below.binding.clone()),
        shared_binding: above.shared_binding.or(below.shared_binding),
        bucket_key: above.bucket_key.or(below.bucket_key),
    })
}

/// Fields that contradict each other, told where one of them is written.
fn check(value: &Value<'_>, own: &Layer, merged: &Layer) {
    if own.key.is_some() && merged.sse.unwrap_or(SseMode::SseS3) != SseMode::SseKms {
        value.fault(
            "`key` is named, but `sse: AES256` always takes the default key",
            "Write `sse: \"aws:kms\"` beside it, or remove `key`.",
        );
    }
    if own.pass_before.is_some() && merged.pass != Some(true) {
        value.fault(
            "`pass_before` is written, but plaintext objects are rejected here",
            "Write `unencrypted_objects: pass` beside it, or remove `pass_before`.",
        );
    }
}

fn resolve(merged: &Layer, value: &Value<'_>, context: &Context<'_>) -> Option<BucketRule> {
    let mut names = context.backends.keys();
    let backend = match (&merged.backend, names.next(), names.next()) {
        (Some(name), ..) => name.clone(),
        (None, Some(only), None) => only.clone(),
        (None, None, _) => return None, // told by `backends` itself
        (None, Some(_), Some(_)) if context.backends.contains_key("default") => "default".to_owned(),
        (None, Some(_), Some(_)) => {
            let known: Vec<&str> = context.backends.keys().map(String::as_str).collect();
            value.fault(
                "there are several backends and it is not said which one serves these buckets",
                format!("Write `backend:` here or below \"*\", with one of {}.", known.join(", ")),
            );
            return None;
        }
    };
    let unencrypted_objects = match merged.pass {
        Some(true) => Unencrypted::Pass { before: merged.pass_before },
        _ => Unencrypted::Reject,
    };
    let sse = merged.sse.unwrap_or(SseMode::SseS3);
    Some(BucketRule {
        backend,
        sse,
        sse_named: false,
        key: merged.key.clone().filter(|_| sse == SseMode::SseKms),
        etag: merged.etag.unwrap_or(EtagPolicy::Md5),
        unencrypted_objects,
        listing: merged.listing.unwrap_or(ListingMode::Lookup),
        anonymous: merged.anonymous.unwrap_or(Anonymous::Deny),
        binding: merged.binding.clone(),
        shared_binding: merged.shared_binding.unwrap_or(false),
        bucket_key: merged.bucket_key.unwrap_or(true),
    })
}

/// Objects are bound to a name, so that the backend cannot pass one bucket's object off as another's. Two buckets
/// that share the name give that up between them, which both have to say.
fn check_bindings(
    layers: &[(&str, Value<'_>, Layer)],
    exact: &BTreeMap<String, BucketRule>,
    prefixes: &[(String, BucketRule)],
    fallback: Option<&BucketRule>,
) {
    const HOW: &str = "Write `shared_binding: true` at every bucket that shares it, or give each its own.";
    for (name, value, own) in layers {
        let rule = match Pattern::of(name) {
            Pattern::Exact(_) => exact.get(*name),
            Pattern::Prefix(prefix) => {
                prefixes.iter().find(|(other, _)| other == prefix).map(|(_, rule)| rule)
            }
            Pattern::Fallback => fallback,
        };
        let Some(rule) = rule.filter(|rule| !rule.shared_binding) else { continue };
        match Pattern::of(name) {
            Pattern::Exact(_) => {
                let binding = rule.binding.as_deref().unwrap_or(name);
                let sharer = exact.iter().find(|(other, rule)| {
                    other.as_str() != *name && rule.binding.as_deref().unwrap_or(other) == binding
                });
                if let Some((other, _)) = sharer {
                    value.fault(format!("the bucket {other} is bound to {binding:?} as well"), HOW);
                }
            }
            _ if own.binding.is_some() => {
                value.fault("every bucket that this pattern covers would share one binding", HOW);
            }
            _ => {}
        }
    }
}

/// A bucket that holds our own state is no client's.
fn check_system_areas(
    layers: &[(&str, Value<'_>, Layer)],
    exact: &BTreeMap<String, BucketRule>,
    backends: &Named<Backend>,
) {
    for (name, value, _) in layers {
        let Some(rule) = exact.get(*name) else { continue };
        let Some(Some(backend)) = backends.get(&rule.backend) else { continue };
        if backend.system.bucket.as_str() == *name && backend.system.prefix.is_empty() {
            value.fault(
                format!("this is the system bucket of the backend {}", rule.backend),
                "Remove the rule, or name another `system: { bucket: … }` in the backend; where an account has one bucket alone, set `system: { prefix: … }`.",
            );
        }
    }
}
