//! The policy that a form carries: what its fields may say and how long its file may be
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>). Pure; its signature is checked in
//! `verify.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Code, Error, Result};
use crate::s3::form::Form;

/// Fields that no policy can speak of, or need not.
const EXEMPT: [&str; 5] = ["policy", "x-amz-signature", "awsaccesskeyid", "signature", "file"];
const IGNORED: &str = "x-ignore-";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    expiration: String,
    conditions: Vec<Value>,
}

/// A parsed policy.
pub(super) struct Policy {
    expiration: OffsetDateTime,
    conditions: Vec<Condition>,
}

enum Condition {
    Equals(String, String),
    StartsWith(String, String),
    Length(u64, u64),
}

impl Policy {
    /// From the base64 of a form's `policy` field.
    pub(super) fn parse(encoded: &str) -> Result<Self> {
        let json = STANDARD.decode(encoded).map_err(|_| invalid("it is not base64"))?;
        let document: Document = serde_json::from_slice(&json)
            .map_err(|_| invalid("it is not a JSON object of `expiration` and `conditions` alone"))?;
        // RFC 3339 leaves it open what stands between date and time.
        let expiration = document
            .expiration
            .get(10..11)
            .filter(|between| *between == "T")
            .and_then(|_| OffsetDateTime::parse(&document.expiration, &Rfc3339).ok());
        let expiration =
            expiration.ok_or_else(|| invalid("its `expiration` is not like 2007-12-01T12:00:00.000Z"))?;
        let mut conditions = Vec::new();
        for condition in document.conditions {
            match condition {
                Value::Object(pairs) if !pairs.is_empty() => conditions.extend(equalities(&pairs)?),
                Value::Array(list) => conditions.push(operation(&list)?),
                _ => return Err(invalid("a condition is neither an object nor a list")),
            }
        }
        Ok(Self { expiration, conditions })
    }

    /// Whether it allows this form, into this bucket, now.
    pub(super) fn check(&self, form: &Form, bucket: &str, now: OffsetDateTime) -> Result<()> {
        if now >= self.expiration {
            return Err(denied("Policy expired."));
        }
        let value = |name: &str| if name == "bucket" { Some(bucket) } else { form.get(name) };
        for condition in &self.conditions {
            let (holds, shown) = match condition {
                Condition::Equals(name, wanted) => {
                    (value(name) == Some(wanted.as_str()), format!("[\"eq\", \"${name}\", \"{wanted}\"]"))
                }
                // With an empty prefix it allows any value, and none.
                Condition::StartsWith(name, prefix) => (
                    starts(name, value(name).unwrap_or_default(), prefix),
                    format!("[\"starts-with\", \"${name}\", \"{prefix}\"]"),
                ),
                Condition::Length(..) => continue,
            };
            if !holds {
                return Err(denied(&format!("Policy Condition failed: {shown}")));
            }
        }
        let extra = form
            .iter()
            .map(|(name, _)| name)
            .chain(["bucket"])
            .find(|name| !EXEMPT.contains(name) && !name.starts_with(IGNORED) && !self.speaks_of(name));
        extra.map_or(Ok(()), |name| Err(denied(&format!("Extra input fields: {name}"))))
    }

    /// Shortest and longest file that it allows.
    pub(super) fn lengths(&self) -> (u64, u64) {
        self.conditions.iter().fold((0, u64::MAX), |(least, most), condition| match condition {
            Condition::Length(min, max) => (least.max(*min), most.min(*max)),
            _ => (least, most),
        })
    }

    fn speaks_of(&self, wanted: &str) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Equals(name, _) | Condition::StartsWith(name, _) => name == wanted,
            Condition::Length(..) => false,
        })
    }
}

/// `{"acl": "public-read"}`
fn equalities(pairs: &Map<String, Value>) -> Result<Vec<Condition>> {
    let one = |(name, value): (&String, &Value)| {
        Ok(Condition::Equals(
            name.to_ascii_lowercase(),
            text(value).ok_or_else(|| invalid("a value is no text"))?,
        ))
    };
    pairs.iter().map(one).collect()
}

/// `["eq" | "starts-with", "$key", "value"]`, `["content-length-range", 1, 100]`
fn operation(list: &[Value]) -> Result<Condition> {
    let bad = || {
        invalid(
            "a condition is not [\"eq\", \"$field\", \"value\"], [\"starts-with\", \"$field\", \"value\"] or [\"content-length-range\", from, to]",
        )
    };
    let [kind, first, second] = list else { return Err(bad()) };
    let kind = kind.as_str().ok_or_else(bad)?.to_ascii_lowercase();
    if kind == "content-length-range" {
        let number = |value: &Value| text(value).and_then(|text| text.parse().ok()).ok_or_else(bad);
        return Ok(Condition::Length(number(first)?, number(second)?));
    }
    let name = first.as_str().and_then(|name| name.strip_prefix('$')).ok_or_else(bad)?.to_ascii_lowercase();
    let value = text(second).ok_or_else(bad)?;
    match kind.as_str() {
        "eq" => Ok(Condition::Equals(name, value)),
        "starts-with" => Ok(Condition::StartsWith(name, value)),
        _ => Err(bad()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Of a list of content types each one has to begin so.
fn starts(name: &str, value: &str, prefix: &str) -> bool {
    if name == "content-type" {
        return value.split(',').all(|one| one.trim().starts_with(prefix));
    }
    value.starts_with(prefix)
}

fn invalid(why: &str) -> Error {
    Error::client(Code::InvalidPolicyDocument, format!("Invalid Policy: {why}."))
}

fn denied(why: &str) -> Error {
    Error::client(Code::AccessDenied, format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;
    use crate::s3::form::Boundary;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 12:00 UTC);

    fn form(fields: &[(&str, &str)]) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "multipart/form-data; boundary=B".parse().unwrap());
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let all: String = fields.iter().map(|(name, value)| part(name, value)).collect();
        let all = all + &part("file", "");
        Form::parse(all.as_bytes(), &Boundary::of(&headers).unwrap()).unwrap().unwrap().0
    }

    fn policy(conditions: Value) -> Result<Policy> {
        let document = json!({ "expiration": "2026-01-01T13:00:00.000Z", "conditions": conditions });
        Policy::parse(&STANDARD.encode(document.to_string()))
    }

    fn decide(conditions: Value, fields: &[(&str, &str)]) -> std::result::Result<(), String> {
        let policy = policy(conditions).map_err(|e| e.message().to_owned())?;
        policy.check(&form(fields), "pictures", NOW).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let all = json!([{"BUCKET": "pictures"}, ["Starts-With", "$Key", "user/"], {"acl": "private"}, ["eq", "$n", 7]]);
        let good = [
            ("key", "user/a"),
            ("ACL", "private"),
            ("n", "7"),
            ("x-ignore-me", "x"),
            ("policy", "p"),
            ("x-amz-signature", "s"),
        ];
        assert_eq!(decide(all.clone(), &good), Ok(()));
        for (at, field) in
            [(0, ("key", "other/a")), (1, ("acl", "public-read")), (2, ("n", "8")), (3, ("more", "x"))]
        {
            let mut bad = good;
            bad[at] = field;
            let why = decide(all.clone(), &bad).unwrap_err();
            assert!(
                why.contains(if at == 3 { "Extra input fields: more" } else { "Policy Condition failed" }),
                "{why}"
            );
        }
        assert!(decide(all, &good[1..]).unwrap_err().contains("$key"), "a field that is missing");
        assert!(decide(json!([["eq", "$key", "k"]]), &[("key", "k")]).unwrap_err().contains("bucket"));
        assert!(decide(json!([{"bucket": "other"}]), &[]).is_err());
        let any = json!([{"bucket": "pictures"}, ["starts-with", "$acl", ""]]);
        assert_eq!((decide(any.clone(), &[]), decide(any, &[("acl", "private")])), (Ok(()), Ok(())));
        let types = json!([{"bucket": "pictures"}, ["starts-with", "$Content-Type", "image/"]]);
        assert_eq!(decide(types.clone(), &[("content-type", "image/png, image/gif")]), Ok(()));
        assert!(decide(types, &[("content-type", "image/png,text/html")]).is_err());
    }

    #[test]
    fn an_old_policy_is_over() {
        let policy = policy(json!([{"bucket": "pictures"}])).unwrap();
        assert!(policy.check(&form(&[]), "pictures", NOW).is_ok());
        let late = policy.check(&form(&[]), "pictures", NOW + time::Duration::hours(1)).unwrap_err();
        assert_eq!(
            (late.code(), late.message()),
            (&Code::AccessDenied, "Invalid according to Policy: Policy expired.")
        );
    }

    #[test]
    fn ranges_of_lengths_meet() {
        let lengths = |conditions| policy(conditions).unwrap().lengths();
        assert_eq!(lengths(json!([])), (0, u64::MAX));
        assert_eq!(
            lengths(json!([["content-length-range", 1, "100"], ["content-length-range", 5, 200]])),
            (5, 100)
        );
    }

    #[test]
    fn other_documents_are_refused() {
        for bad in [
            json!([{}]),
            json!([["eq", "$key"]]),
            json!([["eq", "key", "x"]]),
            json!([["ends-with", "$key", "x"]]),
            json!([["content-length-range", 1]]),
            json!([["content-length-range", -1, 5]]),
            json!([{"acl": ["a"]}]),
            json!(["eq"]),
            json!({}),
        ] {
            assert_eq!(policy(bad.clone()).err().unwrap().code(), &Code::InvalidPolicyDocument, "{bad}");
        }
        for bad in [
            "no base64!".to_owned(),
            STANDARD.encode("{}"),
            STANDARD.encode(r#"{"expiration":"tomorrow","conditions":[]}"#),
            STANDARD.encode(r#"{"expiration":"2026-01-01 13:00:00Z","conditions":[]}"#),
            STANDARD.encode(r#"{"EXPIRATION":"2026-01-01T13:00:00Z","conditions":[]}"#),
            STANDARD.encode(r#"{"expiration":"2026-01-01T13:00:00Z"}"#),
            STANDARD.encode(r#"{"expiration":"2026-01-01T13:00:00Z","conditions":[],"more":1}"#),
        ] {
            assert!(Policy::parse(&bad).is_err(), "{bad}");
        }
    }
}
