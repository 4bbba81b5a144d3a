//! What a data key is bound to at the key service: canonical JSON, keys sorted, no spaces, string values. Part of the
//! stored format, since opening needs the very same bytes; never change it for an existing format tag.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// Names this set of fields and their meaning.
const FORMAT: &str = "s3cloak/1";

/// What a data key serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope<'a> {
    /// A bucket: one key for many objects.
    Bucket {
        /// The bucket's binding name.
        binding: &'a str,
    },
    /// One object alone.
    Object {
        /// The bucket's binding name.
        binding: &'a str,
        /// The object's key, any bytes.
        key: &'a [u8],
        /// The client's encryption context as it came (base64 of JSON), if any.
        context: Option<&'a [u8]>,
    },
}

impl Scope<'_> {
    /// The binding name.
    pub fn binding(&self) -> &str {
        match self {
            Self::Bucket { binding } | Self::Object { binding, .. } => binding,
        }
    }

    /// The bytes that the key service authenticates.
    pub(super) fn to_context(self) -> Bytes {
        let mut fields =
            BTreeMap::from([("bucket", self.binding().to_owned()), ("format", FORMAT.to_owned())]);
        if let Self::Object { key, context, .. } = self {
            fields.insert("object", URL_SAFE_NO_PAD.encode(key));
            if let Some(context) = context {
                fields.insert("context", URL_SAFE_NO_PAD.encode(context));
            }
        }
        encode(&fields)
    }
}

/// The context of a key that only proves that an external key works.
pub(super) fn probe() -> Bytes {
    encode(&BTreeMap::from([("format", FORMAT.to_owned()), ("purpose", "check".to_owned())]))
}

fn encode(fields: &BTreeMap<&str, String>) -> Bytes {
    serde_json::to_vec(fields).expect("a map of strings always serialises").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(scope: Scope<'_>) -> String {
        String::from_utf8(scope.to_context().to_vec()).unwrap()
    }

    #[test]
    fn bytes_are_fixed() {
        assert_eq!(text(Scope::Bucket { binding: "photos" }), r#"{"bucket":"photos","format":"s3cloak/1"}"#);
        assert_eq!(
            text(Scope::Object { binding: "photos", key: b"a/\xff?>", context: None }),
            r#"{"bucket":"photos","format":"s3cloak/1","object":"YS__Pz4"}"#
        );
        assert_eq!(
            text(Scope::Object { binding: "photos", key: b"", context: Some(b"e30=") }),
            r#"{"bucket":"photos","context":"ZTMwPQ","format":"s3cloak/1","object":""}"#
        );
    }

    #[test]
    fn no_two_scopes_share_a_context() {
        let scopes = [
            Scope::Bucket { binding: "a" },
            Scope::Bucket { binding: "b" },
            Scope::Object { binding: "a", key: b"", context: None },
            Scope::Object { binding: "a", key: b"k", context: None },
            Scope::Object { binding: "a", key: b"k", context: Some(b"") },
            Scope::Object { binding: "a", key: b"k", context: Some(b"c") },
            Scope::Object { binding: "a", key: b"a//b", context: None },
            Scope::Object { binding: "a", key: b"a/b", context: None },
            Scope::Object { binding: "a\",\"object\":\"", key: b"", context: None },
        ];
        let all: std::collections::BTreeSet<_> = scopes.iter().map(|s| s.to_context()).collect();
        assert_eq!(all.len(), scopes.len());
    }
}
