//! KES's JSON, and what its (status, message) pairs mean. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::{Zeroize, Zeroizing};

use crate::{DataKey, KeyError, KeyInfo, KeyName, PlainKey};

#[derive(Serialize)]
struct SealRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'a str>,
    context: &'a str,
}

/// Text that is wiped after use.
struct SecretText(String);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[derive(Deserialize)]
struct GenerateAnswer {
    plaintext: SecretText,
    ciphertext: String,
}

#[derive(Deserialize)]
struct DecryptAnswer {
    plaintext: SecretText,
}

#[derive(Deserialize)]
struct DescribeAnswer {
    name: String,
    #[serde(default)]
    algorithm: String,
    created_at: Option<String>,
    created_by: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ListAnswer {
    #[serde(default)]
    pub(super) names: Vec<String>,
    #[serde(default)]
    pub(super) continue_at: String,
}

#[derive(Deserialize)]
pub(super) struct StatusAnswer {
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) uptime: u64,
    pub(super) keystore_latency: Option<u64>,
    #[serde(default)]
    pub(super) keystore_unreachable: bool,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    /// Servers before the API of 2023 say `error`.
    #[serde(alias = "error")]
    message: String,
}

/// Body of generate.
pub(super) fn generate_body(context: &[u8]) -> Vec<u8> {
    body(&SealRequest { ciphertext: None, context: &STANDARD.encode(context) })
}

/// Body of decrypt.
pub(super) fn decrypt_body(sealed: &[u8], context: &[u8]) -> Vec<u8> {
    body(&SealRequest { ciphertext: Some(&STANDARD.encode(sealed)), context: &STANDARD.encode(context) })
}

fn body(request: &SealRequest<'_>) -> Vec<u8> {
    serde_json::to_vec(request).expect("a struct of strings always serialises")
}

/// Parses the body of a 200.
pub(super) fn answer<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, KeyError> {
    // serde's own message may quote the value, which may be a key.
    serde_json::from_slice(body).map_err(|e| {
        KeyError::protocol(
            Some(200),
            &format!("not the JSON of KES (line {}, column {})", e.line(), e.column()),
        )
    })
}

fn plain_key(text: &SecretText) -> Result<PlainKey, KeyError> {
    STANDARD
        .decode(&text.0)
        .ok()
        .map(Zeroizing::new)
        .and_then(|bytes| PlainKey::from_slice(&bytes))
        .ok_or_else(|| KeyError::protocol(Some(200), "the plaintext key is not 32 bytes in base64"))
}

pub(super) fn generated(body: &[u8]) -> Result<DataKey, KeyError> {
    let GenerateAnswer { plaintext, ciphertext } = answer(body)?;
    let sealed = STANDARD
        .decode(ciphertext)
        .ok()
        .filter(|sealed| !sealed.is_empty())
        .ok_or_else(|| KeyError::protocol(Some(200), "the sealed key is not base64"))?;
    Ok(DataKey { plaintext: plain_key(&plaintext)?, sealed })
}

pub(super) fn decrypted(body: &[u8]) -> Result<PlainKey, KeyError> {
    plain_key(&answer::<DecryptAnswer>(body)?.plaintext)
}

pub(super) fn described(body: &[u8]) -> Result<KeyInfo, KeyError> {
    let DescribeAnswer { name, algorithm, created_at, created_by } = answer(body)?;
    let created_at =
        created_at.and_then(|at| OffsetDateTime::parse(&at, &Rfc3339).ok()).filter(|at| at.year() > 1); // Go's zero time stands for "unknown"
    Ok(KeyInfo { name, algorithm, created_at, created_by: created_by.filter(|by| !by.is_empty()) })
}

/// What kind of failure an answer is, for whoever decides where to ask next.
#[derive(Debug)]
pub(super) enum Failure {
    /// KES has spoken; other endpoints would say the same.
    Final(KeyError),
    /// KES has spoken of what it alone sees: its store may not be mounted, its policies may be old. Final once every
    /// endpoint has been asked.
    Doubtful(KeyError),
    /// Not KES at that address, or one that is broken in its own way: another endpoint may know better.
    Next(KeyError),
    /// KES is there, its key store is not: another endpoint, or later.
    Store(KeyError),
    /// The endpoint is not there: another one, or later. The flag: nothing can have been carried out.
    Away { error: KeyError, unsent: bool },
}

impl Failure {
    pub(super) fn into_error(self) -> KeyError {
        match self {
            Self::Final(error)
            | Self::Doubtful(error)
            | Self::Next(error)
            | Self::Store(error)
            | Self::Away { error, .. } => error,
        }
    }
}

/// Judges an answer that is not a 200.
pub(super) fn failure(status: u16, body: &[u8], name: Option<&KeyName>) -> Failure {
    let message = serde_json::from_slice::<ErrorAnswer>(body).ok().map(|e| e.message);
    match (status, message.as_deref()) {
        (404, Some("key does not exist")) => Failure::Doubtful(KeyError::NotFound),
        (400, Some("decryption failed: ciphertext is not authentic")) => {
            Failure::Final(KeyError::NotAuthentic)
        }
        (400, Some("key already exists" | "key does already exist")) => Failure::Final(KeyError::Exists),
        (400, Some(m)) if m.starts_with("key name '") => Failure::Final(KeyError::InvalidName {
            name: name.map(|n| n.as_str().to_owned()).unwrap_or_default(),
        }),
        (403, Some("not authorized: insufficient permissions" | "prohibited by policy")) => {
            Failure::Doubtful(KeyError::Denied)
        }
        (501, _) => {
            Failure::Next(KeyError::protocol(Some(501), message.as_deref().unwrap_or("not implemented")))
        }
        (503 | 504, message) => {
            Failure::Away { error: KeyError::unavailable(reason(status, message)), unsent: false }
        }
        // 502 is about one key's value as often as about the store as a whole.
        (500..=599 | 408 | 429, message) => Failure::Store(KeyError::unavailable(reason(status, message))),
        (_, Some(message)) => Failure::Final(KeyError::protocol(Some(status), message)),
        (300..=399, None) => {
            Failure::Next(KeyError::protocol(Some(status), "a redirect: is this the address of KES itself?"))
        }
        (_, None) => {
            Failure::Next(KeyError::protocol(Some(status), "not an answer of KES: is this its address?"))
        }
    }
}

fn reason(status: u16, message: Option<&str>) -> String {
    let message: String = message.unwrap_or("no message").chars().take(200).collect();
    format!("status {status}, {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(message: &str) -> Vec<u8> {
        format!("{{\"message\":\"{message}\"\n}}").into_bytes()
    }

    #[test]
    fn errors_are_typed_by_status_and_message() {
        let at = |status, body: &[u8]| failure(status, body, None).into_error();
        assert_eq!(at(404, &json("key does not exist")), KeyError::NotFound);
        assert_eq!(at(400, &json("key already exists")), KeyError::Exists);
        assert_eq!(at(400, b"{\"error\":\"key does already exist\"}"), KeyError::Exists);
        assert_eq!(at(403, &json("not authorized: insufficient permissions")), KeyError::Denied);
        assert_eq!(at(400, &json("decryption failed: ciphertext is not authentic")), KeyError::NotAuthentic);
        assert!(matches!(
            at(400, &json("key name 'a.b' is empty, too long or …")),
            KeyError::InvalidName { .. }
        ));
        // The same status or the same text alone proves nothing.
        for (status, body) in [
            (404, b"404 page not found\n".to_vec()),
            (404, json("identity does not exist")),
            (400, json("key does not exist")),
            (400, json("invalid request body")),
            (400, json("tls: client certificate is required")),
            (403, b"<html>forbidden</html>".to_vec()),
            (403, json("go away")),
            (401, Vec::new()),
            (307, b"<a href=\"/v1/key/list/\">".to_vec()),
            (405, json("received method 'GET' expected 'PUT'")),
            (406, json("algorithm 'AES128' is not supported")),
            (501, json("not implemented")),
        ] {
            assert!(matches!(at(status, &body), KeyError::Protocol { .. }), "{status} {body:?}");
        }
        for (status, body) in [
            (500, b"oops".to_vec()),
            (502, json("failed to read key")),
            (503, Vec::new()),
            (504, json("key store is not reachable")),
            (429, Vec::new()),
        ] {
            assert!(at(status, &body).is_unreachable(), "{status}");
        }
    }

    #[test]
    fn only_a_missing_endpoint_counts_against_it() {
        assert!(matches!(failure(502, &json("failed to read key"), None), Failure::Store(_)));
        assert!(matches!(failure(504, &json("key store is not reachable"), None), Failure::Away { .. }));
        assert!(matches!(failure(404, b"404 page not found\n", None), Failure::Next(_)));
        assert!(matches!(failure(405, &json("x"), None), Failure::Final(_)));
    }

    #[test]
    fn answers_are_checked_and_never_quoted() {
        assert!(
            generated(br#"{"plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","ciphertext":"AQ=="}"#)
                .is_ok()
        );
        for bad in [
            &br#"{"plaintext":"c2VjcmV0","ciphertext":"AQ=="}"#[..],
            br#"{"plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","ciphertext":""}"#,
            br#"{"plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","ciphertext":"%"}"#,
            br#"{"plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
            br#"{"plaintext":"secret-key-material"#,
            br#"{"plaintext":["secret-key-material"],"ciphertext":"AQ=="}"#,
            b"",
            b"<html>",
            b"[]",
        ] {
            let error = generated(bad).err().unwrap();
            assert!(matches!(error, KeyError::Protocol { .. }));
            assert!(!error.to_string().contains("secret") && !error.to_string().contains("c2Vj"), "{error}");
        }
        let old =
            described(br#"{"name":"k","algorithm":"AES256","created_at":"0001-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((old.created_at, old.created_by), (None, None));
    }
}
