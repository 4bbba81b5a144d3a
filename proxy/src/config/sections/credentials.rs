//! `credentials`: who may do what.

use std::collections::{BTreeMap, BTreeSet};

use super::super::reader::{Map, Value};
use super::super::{Action, Anonymous, Backend, BucketRules, Credential, Grant, KeyPattern, Keys};
use super::{Named, backends, keys};

const HOW: &str = "Write `credentials:` with an item `- { access_key: …, secret_key: …, allow: [{ buckets: [\"*\"], actions: [read, write] }] }`.";
const ALLOW: &str = "Write `allow: [{ buckets: [\"*\"], actions: [read, write, admin] }]`, or less.";

pub(super) fn credentials(
    top: &Map<'_>,
    known: &Named<Backend>,
    keys: Option<&Keys>,
    rules: Option<&BucketRules>,
) -> Option<Vec<Credential>> {
    // Without a credential only buckets that are open to everybody can be used.
    let open = rules.is_none_or(|rules| rules.iter().any(|rule| rule.anonymous == Anonymous::Backend));
    let Some(value) = top.get("credentials") else {
        if !open {
            top.here().fault("`credentials` is missing: nobody could use the proxy", HOW);
        }
        return Some(Vec::new());
    };
    let items = value.list()?;
    if items.is_empty() && !open {
        value.fault("the list is empty: nobody could use the proxy", HOW);
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for item in items {
        let credential = credential(&item, known, keys);
        if let Some(credential) = &credential
            && !seen.insert(credential.access_key.clone())
        {
            item.fault("this access key stands in another item already", "Keep one of the two.");
        }
        all.push(credential);
    }
    all.into_iter().collect()
}

fn credential(item: &Value<'_>, known: &Named<Backend>, keys: Option<&Keys>) -> Option<Credential> {
    let map = item.map()?;
    let access_key = map.need("access_key", "Write the access key id that the client uses.");
    let access_key = access_key.and_then(|value| {
        value.parse(|text| {
            // It stands in the credential scope (slashes), the header (commas, blanks) and SigV2 (colons).
            let ok = (3..=128).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b',' | b'=' | b':'));
            if ok {
                Ok(text.to_owned())
            } else {
                Err((
                    "this cannot be an access key".to_owned(),
                    "Access keys have 3 to 128 visible ASCII characters, and none of `/ , = :`.".to_owned(),
                ))
            }
        })
    });
    let secret_key =
        map.need("secret_key", "Write `secret_key: \"${NAME}\"` or `secret_key: \"${file:path}\"`.");
    let secret_key = secret_key.and_then(|value| value.secret());
    let session_token = map.get("session_token").map_or(Some(None), |value| value.secret().map(Some));
    let allow = map.need("allow", ALLOW).and_then(|value| {
        let items = value.list()?;
        if items.is_empty() {
            value.fault("the list is empty: this credential may do nothing", ALLOW);
        }
        let grants: Vec<Option<Grant>> = items.iter().map(|item| grant(item, keys)).collect();
        grants.into_iter().collect::<Option<Vec<_>>>()
    });
    let backend_keys = map.get("backend_keys").map_or(Some(BTreeMap::new()), |value| {
        let mut keys = BTreeMap::new();
        for (name, value) in value.map()?.entries() {
            if !known.contains_key(name) {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                value.fault("there is no backend of this name", format!("Known: {}.", names.join(", ")));
            }
            let map = value.map()?;
            let pair = backends::static_keys(&map);
            map.close();
            keys.insert(name.to_owned(), pair?);
        }
        Some(keys)
    });
    map.close();
    Some(Credential {
        access_key: access_key?,
        secret_key: secret_key?,
        session_token: session_token?,
        allow: allow?,
        backend_keys: backend_keys?,
    })
}

fn grant(item: &Value<'_>, known: Option<&Keys>) -> Option<Grant> {
    let map = item.map()?;
    let buckets = map
        .need("buckets", "Write `buckets: [\"*\"]`, or names and `prefix*`.")
        .and_then(|value| patterns(&value));
    let prefixes = map.get("prefixes").map_or(Some(Vec::new()), |value| {
        let items = value.list()?;
        for item in &items {
            if item.written().ends_with('*') {
                item.fault("a key prefix is taken as it stands, star included", "Leave the `*` out.");
            }
        }
        value.texts()
    });
    let actions = map.need("actions", "Write `actions: [read, write, admin]`, or less.").and_then(|value| {
        let items = value.list()?;
        if items.is_empty() {
            value.fault("the list is empty: this grants nothing", "Write `actions: [read]` or more.");
        }
        let words = [("read", Action::Read), ("write", Action::Write), ("admin", Action::Admin)];
        let actions: Vec<Option<Action>> = items.iter().map(|item| item.word(&words)).collect();
        actions.into_iter().collect::<Option<Vec<_>>>()
    });
    let keys = map.get("keys").map_or(Some(Vec::new()), |value| {
        let items = listed(&value)?;
        let all: Vec<Option<KeyPattern>> =
            items.iter().map(|item| item.parse(|text| keys::pattern(text, known))).collect();
        all.into_iter().collect()
    });
    map.close();
    Some(Grant { buckets: buckets?, prefixes: prefixes?, actions: actions?, keys: keys? })
}

/// Exact names, `prefix*` or `*`.
fn patterns(value: &Value<'_>) -> Option<Vec<String>> {
    for item in &listed(value)? {
        let written = item.written();
        if written.strip_suffix('*').unwrap_or(written).contains('*') {
            item.fault("a `*` may only stand at the end", "Write an exact name, `prefix*` or \"*\".");
        }
    }
    value.texts()
}

/// The items of a list that has some.
fn listed<'a>(value: &Value<'a>) -> Option<Vec<Value<'a>>> {
    let items = value.list()?;
    if items.is_empty() {
        value.fault("the list is empty", "Write at least one name, or \"*\" for all.");
    }
    Some(items)
}
