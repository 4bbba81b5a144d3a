//! Browser form uploads over real HTTP: what a policy allows is stored, sealed as any object, and nothing else is.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::sse::*;
use support::{Answer, BUCKET, Call, Client, Options, Stack, md5_hex, random, shares_a_run};
use time::OffsetDateTime;
use time::macros::format_description;

type Fields = Vec<(String, String)>;

fn hmac256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// A form, and what a test may want otherwise.
struct Post<'a> {
    client: &'a Client,
    bucket: &'a str,
    fields: Vec<(&'a str, String)>,
    conditions: Option<Value>,
    minutes: i64,
    filename: &'a str,
    file: Vec<u8>,
    /// Parts behind the file.
    after: &'a str,
}

impl<'a> Post<'a> {
    fn new(stack: &'a Stack, key: &str, file: &[u8]) -> Self {
        Self {
            client: &stack.proxy,
            bucket: BUCKET,
            fields: vec![("key", key.to_owned())],
            conditions: None,
            minutes: 5,
            filename: "a file.txt",
            file: file.to_vec(),
            after: "",
        }
    }

    fn field(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Policy and signature; every field is allowed as it is, unless told otherwise.
    fn signed(&self) -> Fields {
        let now = OffsetDateTime::now_utc();
        let date = now.format(format_description!("[year][month][day]")).unwrap();
        let stamp = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap();
        let until = now + time::Duration::minutes(self.minutes);
        let until =
            until.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].000Z")).unwrap();
        let mut fields: Fields =
            self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        fields.push(("x-amz-algorithm".into(), "AWS4-HMAC-SHA256".into()));
        fields.push((
            "x-amz-credential".into(),
            format!("{}/{date}/us-east-1/s3/aws4_request", self.client.access_key),
        ));
        fields.push(("x-amz-date".into(), stamp));
        let mut conditions = match &self.conditions {
            Some(Value::Array(list)) => list.clone(),
            _ => self.fields.iter().map(|(name, value)| json!({ *name: value })).collect(),
        };
        conditions.push(json!({ "bucket": BUCKET }));
        conditions.extend(fields[self.fields.len()..].iter().map(|(name, value)| json!({ name: value })));
        let policy = STANDARD.encode(json!({ "expiration": until, "conditions": conditions }).to_string());
        let key = ["us-east-1", "s3", "aws4_request"]
            .iter()
            .fold(hmac256(format!("AWS4{}", self.client.secret_key).as_bytes(), &date), |key, part| {
                hmac256(&key, part)
            });
        fields.push(("X-Amz-Signature".into(), hex::encode(hmac256(&key, &policy))));
        fields.push(("policy".into(), policy));
        fields
    }

    fn wire(&self, fields: &Fields) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend(
                format!("--BoundarY\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                    .bytes(),
            );
        }
        body.extend(
            format!(
                "--BoundarY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: text/x\r\n\r\n",
                self.filename
            )
            .bytes(),
        );
        body.extend(&self.file);
        body.extend(self.after.bytes());
        body.extend(b"\r\n--BoundarY--\r\n");
        self.framed(&body)
    }

    fn framed(&self, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST /{} HTTP/1.1\r\nhost: {}\r\norigin: http://page\r\ncontent-type: multipart/form-data; boundary=BoundarY\r\n\
             content-length: {}\r\n\r\n",
            self.bucket,
            self.client.address,
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    async fn send(&self) -> Answer {
        self.client.raw(&self.wire(&self.signed()), false).await
    }
}

#[tokio::test]
async fn a_form_is_stored_as_any_object() {
    let stack = secure().await;
    for size in [0, 1, 70_000, 1_500_000, 3_000_001] {
        let body = random(size as u64 + 1, size);
        let post = Post {
            conditions: Some(json!([
                ["starts-with", "$key", "user/"],
                ["eq", "$content-type", "text/plain"],
                { "x-amz-meta-who": "me" },
            ])),
            ..Post::new(&stack, "user/${filename}", &body)
        };
        let post = post
            .field("Content-Type", "text/plain")
            .field("x-amz-meta-who", "me")
            .field("x-ignore-this", "or that");
        let answer = post.send().await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{size}: {}", answer.text());
        let etag = format!("\"{}\"", md5_hex(&body));
        assert_eq!((answer.header("etag"), answer.header(SSE)), (Some(etag.as_str()), Some("AES256")));
        let url = format!("http://{}/{BUCKET}/user/a%20file.txt", stack.proxy.address)
            .replace("http://", "https://");
        assert_eq!(answer.header("location"), Some(url.as_str()));
        let got = stack.get("user/a%20file.txt").await;
        assert!(got.body == body, "{size}: {}", got.status);
        assert_eq!(
            (got.header("content-type"), got.header("x-amz-meta-who")),
            (Some("text/plain"), Some("me"))
        );
        assert_eq!(got.header("etag"), Some(etag.as_str()));
        let stored = stack.store.stored(BUCKET, "user/a file.txt").unwrap();
        assert!(size < 16 || !shares_a_run(&body, &stored.body));
    }
}

#[tokio::test]
async fn the_policy_is_held_against_the_key_that_comes_of_the_name_of_the_file() {
    let stack = Stack::start().await;
    let post = |prefix: &str| Post {
        conditions: Some(json!([["starts-with", "$key", prefix]])),
        filename: "C:\\dir\\foo.txt",
        ..Post::new(&stack, "${filename}", b"data")
    };
    assert_eq!(post("bar").send().await.code(), "AccessDenied");
    assert_eq!(post("foo").send().await.status, 204);
    assert_eq!(stack.store.keys(BUCKET), ["foo.txt"]);
}

#[tokio::test]
async fn tags_of_a_form_are_those_of_a_put() {
    let stack = Stack::start().await;
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>";
    let answer = Post::new(&stack, "k", b"data").field("tagging", tags).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let seen = stack.store.journal().take();
    let put = seen.iter().find(|seen| seen.method == "PUT").unwrap();
    assert_eq!(put.headers.get("x-amz-tagging").unwrap(), "a%20b=1%262&c=");
}

#[tokio::test]
async fn a_form_chooses_its_answer() {
    let stack = Stack::start().await;
    let etag = format!("\"{}\"", md5_hex(b"data"));
    for (value, status) in [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)] {
        let answer = Post::new(&stack, "a&b", b"data").field("success_action_status", value).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 201 {
            assert_eq!((answer.element("Key"), answer.element("Bucket")), ("a&amp;b".into(), BUCKET.into()));
            assert_eq!(answer.element("ETag").replace("&quot;", "\""), etag);
            assert_eq!(answer.element("Location"), answer.header("location").unwrap().replace('&', "&amp;"));
        }
    }
    for (name, url, expected) in [
        (
            "success_action_redirect",
            "https://page/done?x=1",
            Some("https://page/done?x=1&bucket=photos&key=a%26b&etag=%22"),
        ),
        ("redirect", "http://page/done", Some("http://page/done?bucket=photos&key=a%26b&etag=%22")),
        ("success_action_redirect", "no url", None),
        ("success_action_redirect", "javascript:alert(1)", None),
    ] {
        let answer = Post::new(&stack, "a&b", b"data").field(name, url).send().await;
        match expected {
            Some(begin) => {
                assert_eq!(answer.status, 303, "{}", answer.text());
                assert!(
                    answer.header("location").unwrap().starts_with(begin),
                    "{:?}",
                    answer.header("location")
                );
            }
            None => assert_eq!(answer.status, 204, "{url}"),
        }
    }
}

#[tokio::test]
async fn encryption_fields_are_those_of_a_put() {
    let stack = secure().await;
    let fields = |post: Post<'static>, headers: &Headers| {
        headers.iter().fold(post, |post, (name, value)| post.field(name, value.clone()))
    };
    let stack: &'static Stack = Box::leak(Box::new(stack));
    let kms = h(&[(SSE, "aws:kms"), (KEY_ID, "alias/test-key")]);
    let answer = fields(Post::new(stack, "kms", b"data"), &kms).send().await;
    assert_eq!(
        (answer.status, answer.header(SSE), answer.header(KEY_ID)),
        (204, Some("aws:kms"), Some("alias/test-key"))
    );
    let answer = fields(Post::new(stack, "c", b"data"), &customer(MINE)).send().await;
    assert_eq!((answer.status, answer.header(ALGORITHM)), (204, Some("AES256")), "{}", answer.text());
    assert_eq!(stack.proxy.send(call("GET", "c", &customer(MINE))).await.text(), "data");
    assert_eq!(stack.proxy.send(call("GET", "c", &vec![])).await.status, 400);
    for (headers, status, code, words) in &bad_writes() {
        let answer = fields(Post::new(stack, "c", b"forbidden"), headers).send().await;
        assert_refused(&answer, &format!("{headers:?}"), *status, code, words);
    }
    assert_eq!(stack.proxy.send(call("GET", "c", &customer(MINE))).await.text(), "data");
    // Not over plain HTTP.
    let plain: &'static Stack = Box::leak(Box::new(Stack::start().await));
    let answer = fields(Post::new(plain, "c", b"data"), &customer(MINE)).send().await;
    assert_refused(&answer, "insecure", 400, "InvalidRequest", INSECURE);
    assert!(plain.store.keys(BUCKET).is_empty());
}

#[tokio::test]
async fn what_a_policy_does_not_allow_is_not_stored() {
    let stack = Stack::start().await;
    let with = |conditions: Value| Post {
        conditions: Some(conditions),
        ..Post::new(&stack, "user/k", b"0123456789")
    };
    let stranger = Client { access_key: "nobody".into(), ..stack.proxy.clone() };
    let guesser = Client { secret_key: "guessed".into(), ..stack.proxy.clone() };
    let key = || json!(["starts-with", "$key", "user/"]);
    for (what, post, status, code) in [
        ("another key", with(json!([["starts-with", "$key", "other/"]])), 403, "AccessDenied"),
        ("an extra field", with(json!([key()])).field("acl", "public-read"), 403, "AccessDenied"),
        ("a missing field", with(json!([key(), {"acl": "private"}])), 403, "AccessDenied"),
        ("too long", with(json!([key(), ["content-length-range", 0, 9]])), 400, "EntityTooLarge"),
        ("too short", with(json!([key(), ["content-length-range", 11, 99]])), 400, "EntityTooSmall"),
        ("expired", Post { minutes: -1, ..with(json!([key()])) }, 403, "AccessDenied"),
        ("another bucket", Post { bucket: "other", ..with(json!([key()])) }, 403, "AccessDenied"),
        ("no policy", with(json!([["content-length-range", 0]])), 400, "InvalidPolicyDocument"),
        ("a stranger", Post { client: &stranger, ..with(json!([key()])) }, 403, "InvalidAccessKeyId"),
        ("a guess", Post { client: &guesser, ..with(json!([key()])) }, 403, "SignatureDoesNotMatch"),
        (
            "a forged envelope",
            with(json!([key(), ["starts-with", "$x-amz-meta-s3cloak", ""]])).field("x-amz-meta-s3cloak", "x"),
            400,
            "InvalidArgument",
        ),
        (
            "tags that are none",
            with(json!([key(), ["starts-with", "$tagging", ""]]))
                .field("tagging", "<Tagging><TagSet><x/></TagSet></Tagging>"),
            400,
            "MalformedXML",
        ),
    ] {
        let answer = post.send().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {}", answer.text());
    }
    // Of a long file the same, before the storage hears of it.
    let long =
        Post { file: random(1, 2_000_000), ..with(json!([key(), ["content-length-range", 0, 1_000_000]])) };
    assert_eq!(long.send().await.code(), "EntityTooLarge");
    let good = Post::new(&stack, "user/k", b"data");
    for (name, value) in [
        ("policy", ""),
        ("policy", "e30="),
        ("X-Amz-Signature", "00"),
        ("x-amz-credential", "client/20200101/us-east-1/s3/aws4_request"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
        ("key", "user/other"),
    ] {
        let mut fields = good.signed();
        fields.iter_mut().find(|field| field.0 == name).unwrap().1 = value.to_owned();
        let answer = stack.proxy.raw(&good.wire(&fields), false).await;
        assert!((400..500).contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        fields.retain(|field| field.0 != name);
        let answer = stack.proxy.raw(&good.wire(&fields), false).await;
        assert!((400..500).contains(&answer.status), "without {name}: {} {}", answer.status, answer.text());
    }
    // No credentials at all.
    let bare = vec![("key".to_owned(), "user/k".to_owned())];
    let answer = stack.proxy.raw(&good.wire(&bare), false).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"));
    assert!(stack.store.keys(BUCKET).is_empty());
    assert!(stack.store.journal().take().iter().all(|seen| seen.method != "PUT"));
}

#[tokio::test]
async fn rights_are_those_of_who_signed() {
    let stack = Stack::with(Options {
        allow: Some("buckets: [photos], prefixes: [\"mine/\"], actions: [write]"),
        ..Options::default()
    })
    .await;
    assert_eq!(Post::new(&stack, "theirs/k", b"x").send().await.code(), "AccessDenied");
    assert_eq!(Post::new(&stack, "mine/k", b"x").send().await.status, 204);
    assert_eq!(stack.store.keys(BUCKET), ["mine/k"]);
}

#[tokio::test]
async fn fields_behind_the_file_are_left_out_or_refused() {
    let stack = Stack::start().await;
    let after = "\r\n--BoundarY\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload";
    let small = Post { after, ..Post::new(&stack, "small", b"data") };
    assert_eq!(small.send().await.status, 204);
    assert_eq!(stack.get("small").await.text(), "data");
    // The length of a longer file would not be known before its end.
    let large = Post { after, ..Post::new(&stack, "large", &random(1, 2_000_000)) };
    let answer = large.send().await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidArgument"), "{}", answer.text());
    assert_eq!(stack.store.keys(BUCKET), ["small"]);
}

#[tokio::test]
async fn what_is_no_whole_form_is_not_stored() {
    let stack = Stack::start().await;
    let good = Post::new(&stack, "k", b"data");
    let wire = good.wire(&good.signed());
    let text = String::from_utf8(wire).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let file = body.find("--BoundarY\r\nContent-Disposition: form-data; name=\"file\"").unwrap();
    let large = Post::new(&stack, "k", &random(1, 2_000_000));
    let large = large.wire(&large.signed());
    let start = large.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    for (what, body) in [
        ("no file", format!("{}--BoundarY--\r\n", &body[..file]).into_bytes()),
        ("no end", body.as_bytes()[..body.len() - 4].to_vec()),
        ("another end", body.replace("BoundarY--", "Boundary--").into_bytes()),
        ("nothing", Vec::new()),
        ("another beginning", format!("x{body}").into_bytes()),
        ("a long file cut off", large[start..large.len() - 10].to_vec()),
        ("a long file with more behind it", [&large[start..], b"more"].concat()),
    ] {
        let answer = stack.proxy.raw(&good.framed(&body), false).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    }
    let much = Post::new(&stack, "k", b"data").field("x-ignore-much", "x".repeat(30_000)).send().await;
    assert_eq!((much.status, much.code().as_str()), (400, "MaxPostPreDataLengthExceeded"));
    assert!(stack.store.keys(BUCKET).is_empty());
    // A connection that ends within the file.
    let mut wire = good.framed(&large[start..]);
    wire.truncate(wire.len() - 100_000);
    let mut tcp = tokio::net::TcpStream::connect(stack.proxy.address).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    tcp.write_all(&wire).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = tcp.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
    assert!(stack.store.keys(BUCKET).is_empty());
}

#[tokio::test]
async fn signature_version_2_is_taken_where_it_is_switched_on() {
    for on in [true, false] {
        let more = if on { "compat: { sigv2: true }" } else { "" };
        let stack = Stack::with(Options { more, ..Options::default() }).await;
        let post = Post::new(&stack, "k", b"data");
        let policy = json!({
            "expiration": "2099-01-01T00:00:00Z", "conditions": [{ "bucket": BUCKET }, ["starts-with", "$key", ""]],
        });
        let policy = STANDARD.encode(policy.to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, stack.proxy.secret_key.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, policy.as_bytes()));
        let fields = |signature: &str| -> Fields {
            [("key", "k"), ("AWSAccessKeyId", "client"), ("policy", &policy), ("signature", signature)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        };
        let bad = stack.proxy.raw(&post.wire(&fields("AAAAAAAAAAAAAAAAAAAAAAAAAAA=")), false).await;
        assert_eq!(bad.code(), if on { "SignatureDoesNotMatch" } else { "InvalidRequest" });
        let answer = stack.proxy.raw(&post.wire(&fields(&signature)), false).await;
        assert_eq!(answer.status, if on { 204 } else { 400 }, "{}", answer.text());
        assert_eq!(stack.store.keys(BUCKET).len(), usize::from(on));
    }
}

#[tokio::test]
async fn the_audit_log_knows_who_sent_a_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let more: &'static str = Box::leak(format!("log: {{ audit: {} }}", file.display()).into_boxed_str());
    let stack = Stack::with(Options { more, ..Options::default() }).await;
    let guesser = Client { secret_key: "guessed".into(), ..stack.proxy.clone() };
    assert_eq!(Post::new(&stack, "k", b"x").send().await.status, 204);
    assert_eq!(Post { client: &guesser, ..Post::new(&stack, "k", b"x") }.send().await.status, 403);
    assert_eq!(stack.proxy.send(Call::new("HEAD", format!("/{BUCKET}/k"))).await.status, 200);
    let mut lines = Vec::new();
    while lines.len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let text = std::fs::read_to_string(&file).unwrap();
        lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    }
    let shown = |line: &Value| {
        ["operation", "who", "object", "decision"]
            .map(|name| line[name].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(shown(&lines[0]), ["PostObject", "client", "k", "allowed"]);
    assert_eq!(lines[0]["keys"], json!(["main/test-key"]));
    assert_eq!(shown(&lines[1])[3], "denied", "{}", lines[1]);
    assert!(
        stack.services.metrics.render(&[]).contains("s3cloak_auth_failures_total{why=\"authentication\"} 1")
    );
}

#[tokio::test]
async fn a_form_stores_nothing_under_a_key_that_the_storage_takes_for_another() {
    let store = Some(
        (|config: &mut s3cloak::demo::store::StoreConfig| {
            config.quirks.fold_names = true;
        }) as fn(&mut _),
    );
    let stack = Stack::with(Options { store, ..Options::default() }).await;
    stack.put("user/a", b"there").await;
    assert_eq!(Post::new(&stack, "user//a", b"other").send().await.code(), "InvalidRequest");
    assert_eq!(stack.get("user/a").await.body, b"there");
    assert_eq!(Post::new(&stack, "user/a", b"other").send().await.status, 204);
}
