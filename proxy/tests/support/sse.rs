//! Encryption headers as tests of every operation need them: names, keys, the words of refusals, and every set of headers
//! that no write may carry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::{Answer, BUCKET, Call, Options, Stack};

pub const SSE: &str = "x-amz-server-side-encryption";
pub const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
pub const CONTEXT: &str = "x-amz-server-side-encryption-context";
pub const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
pub const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
pub const KEY: &str = "x-amz-server-side-encryption-customer-key";
pub const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-MD5";
pub const SOURCE: &str = "x-amz-copy-source-server-side-encryption-customer-algorithm";

pub const INSECURE: &str = "must be made over a secure connection";
pub const NOT_APPLICABLE: &str = "The encryption parameters are not applicable to this object";
pub const NEEDED: &str = "The correct parameters must be provided to retrieve the object";
pub const NEEDS_KMS: &str = "requires HTTP header x-amz-server-side-encryption : aws:kms";

/// Headers of one call.
pub type Headers = Vec<(&'static str, String)>;

pub fn h(pairs: &[(&'static str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

pub fn md5_of(key: &[u8]) -> String {
    STANDARD.encode(Md5::digest(key))
}

/// The three headers of a customer's key.
pub fn customer(key: [u8; 32]) -> Headers {
    h(&[(ALGORITHM, "AES256"), (KEY, &STANDARD.encode(key)), (KEY_MD5, &md5_of(&key))])
}

pub fn with(mut headers: Headers, more: &[(&'static str, &str)]) -> Headers {
    headers.extend(h(more));
    headers
}

pub fn call(method: &'static str, key: &str, headers: &Headers) -> Call {
    let call = Call::new(method, format!("/{BUCKET}/{key}"));
    headers.iter().fold(call, |call, (name, value)| call.header(name, value.clone()))
}

pub async fn secure() -> Stack {
    Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await
}

/// Status, code and a part of the message; HEAD has no body to look at.
pub fn assert_refused(answer: &Answer, what: &str, status: u16, code: &str, words: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    if !answer.body.is_empty() {
        assert_eq!(answer.code(), code, "{what}: {}", answer.text());
        assert!(answer.text().contains(words), "{what}: {}", answer.text());
    }
}

pub const MINE: [u8; 32] = [7; 32];
pub const OTHER: [u8; 32] = [8; 32];

/// What no write may carry, and how it is refused: status, code, words.
pub fn bad_writes() -> Vec<(Headers, u16, &'static str, &'static str)> {
    let (key, md5) = (STANDARD.encode(MINE), md5_of(&MINE));
    let short = STANDARD.encode([7; 31]);
    let argument = "InvalidArgument";
    vec![
        (h(&[(KEY, &key), (KEY_MD5, &md5)]), 400, argument, "must provide a valid encryption algorithm"),
        (
            h(&[(ALGORITHM, "aes256"), (KEY, &key), (KEY_MD5, &md5)]),
            400,
            "InvalidEncryptionAlgorithmError",
            "AES256",
        ),
        (
            h(&[(ALGORITHM, "AES128"), (KEY, &key), (KEY_MD5, &md5)]),
            400,
            "InvalidEncryptionAlgorithmError",
            "AES256",
        ),
        (
            h(&[(ALGORITHM, "AES256"), (KEY_MD5, &md5)]),
            400,
            argument,
            "must provide an appropriate secret key",
        ),
        (
            h(&[(ALGORITHM, "AES256"), (KEY, ""), (KEY_MD5, &md5)]),
            400,
            argument,
            "must provide an appropriate secret key",
        ),
        (h(&[(ALGORITHM, "AES256"), (KEY, &key)]), 400, argument, "must provide the client calculated MD5"),
        (
            h(&[(ALGORITHM, "AES256"), (KEY, "no base64!"), (KEY_MD5, &md5)]),
            400,
            argument,
            "secret key was invalid",
        ),
        (
            h(&[(ALGORITHM, "AES256"), (KEY, &short), (KEY_MD5, &md5_of(&[7; 31]))]),
            400,
            argument,
            "secret key was invalid",
        ),
        (
            h(&[(ALGORITHM, "AES256"), (KEY, &key), (KEY_MD5, &md5_of(&OTHER))]),
            400,
            argument,
            "MD5 hash of the key did not match",
        ),
        (
            h(&[(ALGORITHM, "AES256"), (KEY, &key), (KEY_MD5, "no base64!")]),
            400,
            argument,
            "MD5 hash of the key did not match",
        ),
        (with(customer(MINE), &[(SSE, "AES256")]), 400, argument, "incompatible with the encryption method"),
        (with(customer(MINE), &[(SSE, "aws:kms")]), 400, argument, "incompatible with the encryption method"),
        (
            with(customer(MINE), &[(KEY_ID, "test-key")]),
            400,
            argument,
            "incompatible with the encryption method",
        ),
        (with(customer(MINE), &[(SOURCE, "AES256")]), 400, "InvalidRequest", NOT_APPLICABLE),
        (h(&[(SOURCE, "AES256")]), 400, "InvalidRequest", NOT_APPLICABLE),
        (h(&[(SSE, "AES256"), (KEY_ID, "test-key")]), 400, argument, NEEDS_KMS),
        (h(&[(SSE, "AES256"), (CONTEXT, "e30=")]), 400, argument, NEEDS_KMS),
        (h(&[(KEY_ID, "test-key")]), 400, argument, NEEDS_KMS),
        (h(&[(CONTEXT, "e30=")]), 400, argument, NEEDS_KMS),
        (h(&[(SSE, "aes:kms"), (KEY_ID, "test-key")]), 400, argument, "method specified is not supported"),
        (h(&[(SSE, "AES192")]), 400, argument, "method specified is not supported"),
        (h(&[(SSE, "")]), 400, argument, "method specified is not supported"),
        (h(&[(SSE, "aws:kms:dsse")]), 400, argument, "aws:kms:dsse"),
        (h(&[(SSE, "aws:fsx")]), 400, argument, "aws:fsx"),
        (h(&[(SSE, "aws:backup")]), 400, argument, "aws:backup"),
        (h(&[(SSE, "aws:kms"), (CONTEXT, "no base64!")]), 400, argument, "base64 of a JSON object"),
        (
            h(&[(SSE, "aws:kms"), (CONTEXT, &STANDARD.encode("[1]"))]),
            400,
            argument,
            "base64 of a JSON object",
        ),
        (
            h(&[(SSE, "aws:kms"), (CONTEXT, &STANDARD.encode("{\"a\":1}"))]),
            400,
            argument,
            "base64 of a JSON object",
        ),
        (h(&[(SSE, "aws:kms"), (BUCKET_KEY, "maybe")]), 400, argument, "true or false"),
        (h(&[(SSE, "aws:kms"), (KEY_ID, "nobody")]), 400, "KMS.NotFoundException", "Invalid keyId"),
        (h(&[(SSE, "aws:kms"), (KEY_ID, "a.b/c")]), 400, "KMS.NotFoundException", "Invalid keyId"),
        (
            h(&[(SSE, "aws:kms"), (KEY_ID, "arn:aws:s3:::bucket")]),
            400,
            "KMS.NotFoundException",
            "Invalid keyId",
        ),
    ]
}
