//! Answers of the test server, call by call, as a running KES gave them. Transport and identity are decided before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::cipher::Cipher;
use super::store::{Refused, StoredKey, random};
use super::{Inner, Policy};
use crate::KeyName;

/// Body bytes that KES looks at.
const MAX_BODY: usize = 1_000_000;
/// Names in one list answer.
const MAX_LIST: usize = 1024;

pub(super) type Answer = Response<Vec<u8>>;

/// A request whose body has been read.
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) identity: Result<&'a str, &'static str>,
    /// `None`: the request announced no body at all.
    pub(super) body: Option<&'a [u8]>,
}

const SUBTREES: [(&str, &str); 8] = [
    ("create", "PUT"),
    ("import", "PUT"),
    ("describe", "GET"),
    ("list", "GET"),
    ("delete", "DELETE"),
    ("generate", "PUT"),
    ("encrypt", "PUT"),
    ("decrypt", "PUT"),
];
const FIXED: [&str; 6] =
    ["/version", "/v1/ready", "/v1/status", "/v1/metrics", "/v1/api", "/v1/identity/self/describe"];

/// The verb of a key path, or the last segment of another.
pub(super) fn verb(path: &str) -> &str {
    match path.strip_prefix("/v1/key/") {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => path.trim_start_matches("/v1/").trim_start_matches('/'),
    }
}

pub(super) fn answer(server: &Inner, ask: &Ask<'_>) -> Answer {
    if let Some(clean) = unclean(ask.path) {
        return redirect(&clean);
    }
    if let Some(rest) = ask.path.strip_prefix("/v1/key/")
        && let Some((verb, name)) = rest.split_once('/')
        && let Some((verb, method)) = SUBTREES.iter().chain(&[("hmac", "PUT")]).find(|s| s.0 == verb)
    {
        return allowed(server, ask, method).unwrap_or_else(|| key_call(server, ask, verb, name));
    }
    if FIXED.contains(&ask.path) {
        return allowed(server, ask, "GET").unwrap_or_else(|| fixed(server, ask));
    }
    plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n")
}

/// Method first, then identity; both before anything of the request is looked at.
fn allowed(server: &Inner, ask: &Ask<'_>, expected: &str) -> Option<Answer> {
    let post_for_put = ask.method == Method::POST && expected == "PUT";
    if ask.method.as_str() != expected && !post_for_put {
        let mut answer = error(405, &format!("received method '{}' expected '{expected}'", ask.method));
        if let Ok(value) = HeaderValue::from_str(expected) {
            answer.headers_mut().insert(header::ACCEPT, value);
        }
        return Some(answer);
    }
    if ask.path == "/version" {
        return None;
    }
    let identity = match ask.identity {
        Ok(identity) => identity,
        Err(complaint) => return Some(error(400, complaint)),
    };
    if ask.path == "/v1/identity/self/describe" || identity == server.admin {
        return None;
    }
    let allowed = server.policies.lock().get(identity).is_some_and(|p: &Policy| p.allows(ask.path));
    (!allowed).then(|| error(403, "not authorized: insufficient permissions"))
}

fn key_call(server: &Inner, ask: &Ask<'_>, verb: &str, name: &str) -> Answer {
    let name = percent_decode(name);
    if verb == "list" {
        return list(server, &name);
    }
    if KeyName::new(name.as_str()).is_err() {
        return error(400, &format!("key name '{name}' is empty, too long or contains invalid characters"));
    }
    let by = ask.identity.unwrap_or_default();
    let down = server.faults.is_store_down();
    match verb {
        "create" if down => error(502, "failed to create key"),
        "create" => added(server.store.add(&name, random(), Cipher::Aes256, by)),
        "import" => import(server, ask, &name, by),
        "delete" if down => error(502, "failed to delete key"),
        "delete" => {
            if server.store.remove(&name) {
                empty()
            } else {
                error(404, "key does not exist")
            }
        }
        _ => {
            // KES reads the body before it looks for the key.
            let Some(body) = fields(ask.body, verb) else { return error(400, "invalid request body") };
            if down {
                return error(502, "failed to read key");
            }
            match server.store.get(&name) {
                Some(key) => use_key(verb, &name, &key, &body),
                None => error(404, "key does not exist"),
            }
        }
    }
}

fn use_key(verb: &str, name: &str, key: &StoredKey, body: &Fields) -> Answer {
    let context = &body.context;
    match verb {
        "describe" => ok(&json!({
            "name": name, "algorithm": key.cipher.name(), "created_at": key.created_at, "created_by": key.created_by,
        })),
        "generate" => {
            let plain: [u8; 32] = random();
            let sealed = key.cipher.seal(&key.key, &plain, context, &random(), &random());
            ok(&json!({ "plaintext": STANDARD.encode(plain), "ciphertext": STANDARD.encode(sealed) }))
        }
        "encrypt" => {
            let sealed = key.cipher.seal(&key.key, &body.plaintext, context, &random(), &random());
            ok(&json!({ "ciphertext": STANDARD.encode(sealed) }))
        }
        "decrypt" => match key.cipher.open(&key.key, &body.ciphertext, context) {
            Some(plain) => ok(&json!({ "plaintext": STANDARD.encode(plain) })),
            None => error(400, "decryption failed: ciphertext is not authentic"),
        },
        _ => {
            let hmac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key.hmac);
            ok(&json!({ "hmac": STANDARD.encode(aws_lc_rs::hmac::sign(&hmac_key, &body.message)) }))
        }
    }
}

fn import(server: &Inner, ask: &Ask<'_>, name: &str, by: &str) -> Answer {
    let bad = || error(400, "invalid import key request body");
    let Some(Value::Object(object)) = ask.body.and_then(first_value) else { return bad() };
    let (key, cipher) = (bytes(&object, "key"), field(&object, "cipher").and_then(Value::as_str));
    let (Some(key), Some(cipher)) = (key, cipher) else { return bad() };
    let Some(parsed) = Cipher::parse(cipher) else {
        return error(406, &format!("algorithm '{cipher}' is not supported"));
    };
    let Ok(key) = key.try_into() else {
        return error(406, &format!("invalid key size for '{cipher}'"));
    };
    if server.faults.is_store_down() {
        return error(502, "failed to create key");
    }
    added(server.store.add(name, key, parsed, by))
}

fn added(result: Result<(), Refused>) -> Answer {
    match result {
        Ok(()) => empty(),
        Err(Refused::Exists) => error(400, "key already exists"),
        Err(Refused::Io) => error(502, "failed to create key"),
    }
}

fn list(server: &Inner, pattern: &str) -> Answer {
    if server.faults.is_store_down() {
        return error(502, "failed to list keys");
    }
    // The star of `prefix*` is taken literally, so it finds nothing.
    let prefix = if pattern == "*" { "" } else { pattern };
    if !prefix.is_empty() && KeyName::new(prefix.replace('*', "x")).is_err() {
        return error(400, &format!("listing pattern '{pattern}' is empty, too long or is invalid"));
    }
    let mut names: Vec<String> = server.store.names();
    names.retain(|name| name.starts_with(prefix));
    let rest = names.split_off(names.len().min(MAX_LIST));
    match rest.first() {
        Some(next) => ok(&json!({ "names": names, "continue_at": next })),
        None => ok(&json!({ "names": names })),
    }
}

fn fixed(server: &Inner, ask: &Ask<'_>) -> Answer {
    let down = server.faults.is_store_down();
    match ask.path {
        "/version" => ok(&json!({ "version": "kes-testd", "commit": "<unknown>" })),
        "/v1/ready" if down => error(504, "key store is not reachable"),
        "/v1/ready" => empty(),
        "/v1/status" => {
            let mut status = json!({
                "version": "kes-testd", "os": std::env::consts::OS, "arch": std::env::consts::ARCH,
                "uptime": server.started.elapsed().as_secs(), "num_cpu": 1, "num_cpu_used": 1,
                "mem_heap_used": 0, "mem_stack_used": 0,
            });
            if down {
                status["keystore_unreachable"] = true.into();
            } else {
                status["keystore_latency"] = 1.into();
            }
            ok(&status)
        }
        "/v1/metrics" => {
            let total = server.faults.total();
            plain(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                &format!("kes_http_request_success{{code=\"200\"}} {total}\n"),
            )
        }
        "/v1/api" => {
            let key = SUBTREES.map(|(verb, method)| {
                json!({ "method": method, "path": format!("/v1/key/{verb}/"), "max_body": 1_000_000, "timeout": 15 })
            });
            ok(&Value::Array(key.to_vec()))
        }
        _ if ask.identity == Ok(server.admin.as_str()) => {
            ok(&json!({ "identity": server.admin, "admin": true, "created_at": "0001-01-01T00:00:00Z" }))
        }
        // So in every release, whatever the policy says.
        _ => error(404, "identity does not exist"),
    }
}

#[derive(Default)]
struct Fields {
    context: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    message: Vec<u8>,
}

fn fields(body: Option<&[u8]>, verb: &str) -> Option<Fields> {
    let value = match (body, verb) {
        (_, "describe") | (None, "generate") => return Some(Fields::default()),
        (body, _) => first_value(body?)?,
    };
    let object = match value {
        Value::Object(object) => object,
        Value::Null => Map::new(),
        _ => return None,
    };
    Some(Fields {
        context: bytes(&object, "context")?,
        plaintext: bytes(&object, "plaintext")?,
        ciphertext: bytes(&object, "ciphertext")?,
        message: bytes(&object, "message")?,
    })
}

/// The first JSON value within the limit; what follows it is not looked at.
fn first_value(body: &[u8]) -> Option<Value> {
    let body = &body[..body.len().min(MAX_BODY)];
    serde_json::Deserializer::from_slice(body).into_iter().next()?.ok()
}

/// Field names are matched without case, as Go does.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Bytes as padded standard base64 or as an array of numbers; absent and null are empty; `None` is an error.
fn bytes(object: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    match field(object, name) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(text)) => STANDARD.decode(text).ok(),
        Some(Value::Array(numbers)) => {
            numbers.iter().map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok())).collect()
        }
        Some(_) => None,
    }
}

/// Where Go's router sends a path that it would spell otherwise.
fn unclean(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for segment in &segments {
        match *segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    let slash = segments.last().is_some_and(|last| matches!(*last, "" | "." | ".."));
    let subtree = clean
        .strip_prefix("/v1/key/")
        .is_some_and(|verb| verb == "hmac" || SUBTREES.iter().any(|s| s.0 == verb));
    if (slash || subtree) && clean != "/" {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%').and_then(|h| hex::decode(h).ok());
        match hex {
            Some(decoded) => {
                out.extend(decoded);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn ok(value: &Value) -> Answer {
    plain(StatusCode::OK, "application/json", &format!("{value}\n"))
}

fn empty() -> Answer {
    Response::new(Vec::new())
}

/// `{"message":"…"` newline `}`, to the byte.
pub(super) fn error(status: u16, message: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    plain(status, "application/json", &format!("{{\"message\":{}\n}}", Value::from(message)))
}

fn redirect(to: &str) -> Answer {
    let text = format!("<a href=\"{to}\">Temporary Redirect</a>.\n\n");
    let mut answer = plain(StatusCode::TEMPORARY_REDIRECT, "text/html; charset=utf-8", &text);
    if let Ok(value) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(header::LOCATION, value);
    }
    answer
}

pub(super) fn plain(status: StatusCode, content_type: &'static str, body: &str) -> Answer {
    let mut answer = Response::new(body.as_bytes().to_vec());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
