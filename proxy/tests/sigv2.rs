//! Signature Version 2 over real HTTP, where it is switched on: what is stored is sealed as any object, and a body that
//! no signature covers is still held to its digests.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use support::{Answer, BUCKET, Options, Stack, random, shares_a_run};
use time::OffsetDateTime;

const ON: Options = Options {
    buckets: None,
    listen: "",
    more: "compat: { sigv2: true }",
    config: None,
    store: None,
    backend: "",
    system: None,
    allow: None,
    keys: None,
    bucket_key: None,
};

fn signature(stack: &Stack, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, stack.proxy.secret_key.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// One request and its headers. Those that Version 2 signs are given once more, in its own order and form.
struct Sent<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    /// Content-MD5 and content type, each with its newline.
    positional: &'a str,
    amz: &'a str,
    body: &'a [u8],
}

impl Default for Sent<'_> {
    fn default() -> Self {
        Self { method: "GET", path: "/photos/k", headers: &[], positional: "\n\n", amz: "", body: b"" }
    }
}

impl Sent<'_> {
    fn text(&self, when: &str) -> String {
        format!("{}\n{}{when}\n{}{}", self.method, self.positional, self.amz, self.path)
    }

    async fn wire(&self, stack: &Stack, target: &str, more: &str) -> Answer {
        let mut out = format!("{} {target} HTTP/1.1\r\nhost: {}\r\n{more}", self.method, stack.proxy.address);
        for (name, value) in self.headers {
            out += &format!("{name}: {value}\r\n");
        }
        out += &format!("content-length: {}\r\n\r\n", self.body.len());
        stack.proxy.raw(&[out.as_bytes(), self.body].concat(), self.method == "HEAD").await
    }

    /// With the signature in the query, good for so many seconds.
    async fn presigned(&self, stack: &Stack, life: i64) -> Answer {
        let until = (OffsetDateTime::now_utc().unix_timestamp() + life).to_string();
        let signature = signature(stack, &self.text(&until));
        let encoded = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
        let target = format!("{}?AWSAccessKeyId=client&Signature={encoded}&Expires={until}", self.path);
        self.wire(stack, &target, "").await
    }

    /// With the signature in the header.
    async fn send(&self, stack: &Stack) -> Answer {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let signature = signature(stack, &self.text(&date));
        self.wire(stack, self.path, &format!("date: {date}\r\nauthorization: AWS client:{signature}\r\n"))
            .await
    }
}

#[tokio::test]
async fn objects_are_written_and_read_under_either_form() {
    let stack = Stack::with(ON).await;
    let data = random(3, 200_000);
    let put = Sent {
        method: "PUT",
        headers: &[("content-type", "text/x"), ("x-amz-meta-a", "b")],
        positional: "\ntext/x\n",
        amz: "x-amz-meta-a:b\n",
        body: &data,
        ..Sent::default()
    };
    for presigned in [true, false] {
        let answer = if presigned { put.presigned(&stack, 3600).await } else { put.send(&stack).await };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stored = stack.store.stored(BUCKET, "k").unwrap();
        assert!(!shares_a_run(&data, &stored.body), "stored in the clear");
        for answer in [Sent::default().presigned(&stack, 3600).await, Sent::default().send(&stack).await] {
            assert_eq!((answer.status, answer.body == data), (200, true), "{}", answer.text());
            assert_eq!(
                (answer.header("content-type"), answer.header("x-amz-meta-a")),
                (Some("text/x"), Some("b"))
            );
        }
        let delete = Sent { method: "DELETE", ..Sent::default() };
        let answer = if presigned { delete.presigned(&stack, 3600).await } else { delete.send(&stack).await };
        assert_eq!((answer.status, stack.store.keys(BUCKET).len()), (204, 0));
    }
}

#[tokio::test]
async fn a_body_that_no_signature_covers_is_held_to_its_digests() {
    let stack = Stack::with(ON).await;
    let sha = "x-amz-content-sha256";
    let crc = "x-amz-checksum-crc32";
    for (name, value, positional, amz, code) in [
        (
            "content-md5",
            "1B2M2Y8AsgTpgAmY7PhCfg==",
            "1B2M2Y8AsgTpgAmY7PhCfg==\n\n",
            String::new(),
            "BadDigest",
        ),
        (crc, "AAAAAA==", "\n\n", format!("{crc}:AAAAAA==\n"), "BadDigest"),
        (sha, &"0".repeat(64), "\n\n", format!("{sha}:{}\n", "0".repeat(64)), "XAmzContentSHA256Mismatch"),
    ] {
        let put = Sent {
            method: "PUT",
            headers: &[(name, value)],
            positional,
            amz: &amz,
            body: b"data",
            ..Sent::default()
        };
        for answer in [put.presigned(&stack, 3600).await, put.send(&stack).await] {
            assert_eq!((answer.status, answer.code().as_str()), (400, code), "{name}: {}", answer.text());
        }
        assert!(stack.store.keys(BUCKET).is_empty(), "{name}");
        // Sent, and not signed.
        let unsigned = Sent { positional: "\n\n", amz: "", ..put };
        for answer in [unsigned.presigned(&stack, 3600).await, unsigned.send(&stack).await] {
            assert_eq!((answer.status, answer.code().as_str()), (403, "SignatureDoesNotMatch"), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_over_or_not_switched_on_is_refused() {
    let stack = Stack::with(ON).await;
    let answer = Sent::default().presigned(&stack, -60).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"));
    assert_eq!(answer.element("Message"), "Request has expired");
    let stack = Stack::start().await;
    for answer in [Sent::default().presigned(&stack, 3600).await, Sent::default().send(&stack).await] {
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidRequest"));
        assert!(answer.element("Message").contains("compat.sigv2"), "{}", answer.text());
    }
}
