//! Conditions of copies and deletes on storage that honours them on some writes and ignores them on others: each way to write is
//! held to what was measured of it, and `compat.strict_conditions` refuses what could only be checked beforehand.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use s3cloak::demo::store::{Seen, StoreConfig};
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, random};

const MIB: usize = 1 << 20;
const OTHER: &str = "\"0123456789abcdef0123456789abcdef\"";
const STRICT: &str = "compat: { strict_conditions: true }";
/// What is larger as ciphertext goes in parts, whether it is copied or uploaded.
const LIMIT: usize = 11 * MIB;

/// The ways to make a copy, by the request that puts the object in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// By CopyObject.
    Copy,
    /// Of ranges of the ciphertext, by CompleteMultipartUpload.
    Ranges,
    /// Opened and sealed anew, by PutObject.
    Pump,
    /// ... in parts, by CompleteMultipartUpload.
    PumpInParts,
}

const WAYS: [Way; 4] = [Way::Copy, Way::Ranges, Way::Pump, Way::PumpInParts];

impl Way {
    /// The source is sealed or not, and fits into one request or not.
    fn source(self) -> (&'static str, usize) {
        match self {
            Way::Copy => ("sealed", 1000),
            Way::Ranges => ("sealed-large", LIMIT + MIB),
            Way::Pump => ("plain", 1000),
            Way::PumpInParts => ("plain-large", LIMIT + MIB),
        }
    }

    /// Whether the storage honours conditions on what this way ends with.
    fn is_honoured(self, on: Honours) -> bool {
        match self {
            Way::Copy => on.copy,
            Way::Pump => on.put,
            Way::Ranges | Way::PumpInParts => on.complete,
        }
    }

    /// The request that puts the object in its place.
    fn last(self, seen: &[Seen]) -> &Seen {
        let is_last = |seen: &&Seen| match self {
            Way::Copy => seen.method == Method::PUT && seen.headers.contains_key("x-amz-copy-source"),
            Way::Pump => seen.method == Method::PUT,
            Way::Ranges | Way::PumpInParts => {
                seen.method == Method::POST && seen.target.contains("uploadId=")
            }
        };
        let mut made = seen.iter().filter(|seen| seen.target.starts_with("/photos/made")).filter(is_last);
        made.next().unwrap_or_else(|| panic!("{self:?}: {seen:?}"))
    }
}

/// What a storage does with conditions on the three writes.
#[derive(Clone, Copy, Debug)]
struct Honours {
    put: bool,
    complete: bool,
    copy: bool,
}

impl Honours {
    fn store(self) -> Option<fn(&mut StoreConfig)> {
        if !self.put {
            return Some(|config| config.quirks.ignore_put_conditions = true);
        }
        if !self.complete {
            return Some(|config| config.quirks.ignore_complete_conditions = true);
        }
        None
    }

    async fn stack(self, more: &'static str) -> Stack {
        let backend = if self.copy {
            "    limits: { put: 11MiB }\n    profile: { whole_self_copies: true }"
        } else {
            "    limits: { put: 11MiB }\n    profile: { whole_self_copies: true, conditional_copies: false }"
        };
        let buckets = Some("  \"*\": { backend: default, etag: md5, unencrypted_objects: pass }");
        let stack =
            Stack::with(Options { store: self.store(), backend, buckets, more, ..Options::default() }).await;
        let profile = stack.services.backends.get("default").unwrap().profile();
        assert_eq!((profile.put_if_match, profile.put_if_none_match), (self.put, self.put), "{self:?}");
        let complete = (profile.complete_if_match, profile.complete_if_none_match);
        assert_eq!(complete, (self.complete, self.complete), "{self:?}");
        assert_eq!((profile.copy_if_match, profile.copy_if_none_match), (self.copy, self.copy), "{self:?}");
        for way in WAYS {
            let (key, size) = way.source();
            let client = if key.starts_with("sealed") { &stack.proxy } else { &stack.backend };
            if size > LIMIT && key.starts_with("sealed") {
                upload(&stack, key, &random(1, size)).await;
                continue;
            }
            let put = client.send(Call::new("PUT", format!("/{BUCKET}/{key}")).body(random(1, size))).await;
            assert_eq!(put.status, 200, "{}", put.text());
        }
        stack
    }
}

/// An object of more bytes than the storage takes at once.
async fn upload(stack: &Stack, key: &str, body: &[u8]) {
    use support::uploads::{complete, create, stored};
    let id = create(&stack.proxy, key, &vec![]).await;
    let mut tags = Vec::new();
    for (number, part) in (1..).zip(body.chunks(6 * MIB)) {
        tags.push((number, stored(&stack.proxy, key, &id, number, part).await));
    }
    assert_eq!(complete(&stack.proxy, key, &id, &tags).await.status, 200);
}

async fn copy(stack: &Stack, way: Way, headers: &[(&str, &str)]) -> Answer {
    let call = Call::new("PUT", format!("/{BUCKET}/made"))
        .header("x-amz-copy-source", format!("{BUCKET}/{}", way.source().0));
    let call = headers.iter().fold(call, |call, (name, value)| call.header(name, *value));
    stack.proxy.send(call).await
}

/// Storage that honours all, and those that ignore conditions on one kind of write.
const STORAGES: [Honours; 4] = [
    Honours { put: true, complete: true, copy: true },
    Honours { put: false, complete: true, copy: true },
    Honours { put: true, complete: false, copy: true },
    Honours { put: true, complete: true, copy: false },
];

#[tokio::test]
async fn a_copy_goes_by_the_trait_of_the_write_that_makes_it() {
    for honours in STORAGES {
        let stack = honours.stack("").await;
        for way in WAYS {
            let what = format!("{way:?} {honours:?}");
            let before = stack.put("made", b"as before").await.header("etag").unwrap().to_owned();
            let backends = md5_hex(&stack.store.stored(BUCKET, "made").unwrap().body);
            for (name, value) in [("if-match", OTHER), ("if-none-match", "*"), ("if-match", ",")] {
                let answer = copy(&stack, way, &[(name, value)]).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (412, "PreconditionFailed"),
                    "{what} {name}"
                );
                assert_eq!(stack.get("made").await.body, b"as before", "{what} {name}");
            }
            stack.store.journal().take();
            let answer = copy(&stack, way, &[("if-match", &before)]).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            let seen = stack.store.journal().take();
            // Where the storage decides, it is told of its own tag; where it would not, we have, and nothing is said.
            let told = way.last(&seen).headers.get("if-match").map(|tag| tag.to_str().unwrap().to_owned());
            assert_eq!(told, way.is_honoured(honours).then(|| format!("\"{backends}\"")), "{what}");
            assert!(stack.get("made").await.body == random(1, way.source().1), "{what}");
        }
    }
}

#[tokio::test]
async fn strict_refuses_copies_that_the_storage_does_not_decide() {
    for honours in STORAGES {
        let stack = honours.stack(STRICT).await;
        for way in WAYS {
            let what = format!("{way:?} {honours:?}");
            // Of no conditions at all there is nothing to refuse.
            let fresh = copy(&stack, way, &[]).await;
            assert_eq!(fresh.status, 200, "{what}: {}", fresh.text());
            let before = stack.put("made", b"as before").await.header("etag").unwrap().to_owned();
            let honoured = way.is_honoured(honours);
            for (name, value, decided) in
                [("if-match", OTHER, 412), ("if-none-match", "*", 412), ("if-match", before.as_str(), 200)]
            {
                let answer = copy(&stack, way, &[(name, value)]).await;
                let status = if honoured { decided } else { 501 };
                assert_eq!(answer.status, status, "{what} {name}: {}", answer.text());
                let made = stack.get("made").await.body;
                match status {
                    200 => assert!(made == random(1, way.source().1), "{what} {name}"),
                    _ => assert_eq!(made, b"as before", "{what} {name}"),
                }
                if status == 501 {
                    assert_eq!(answer.code(), "NotImplemented", "{what} {name}");
                }
            }
        }
    }
}

/// The source is pinned to what was looked at, or read under its tag: there is nothing to refuse, whatever the storage does.
#[tokio::test]
async fn conditions_on_the_source_hold_whatever_the_storage_does() {
    const PINNED: &str = "    profile: { whole_self_copies: true }";
    const UNPINNED: &str = "    profile: { pinned_copies: false }";
    for (backend, moves) in [(PINNED, false), (UNPINNED, true)] {
        let store: Option<fn(&mut StoreConfig)> = Some(|config| config.quirks.ignore_write_conditions = true);
        let stack = Stack::with(Options { store, backend, more: STRICT, ..Options::default() }).await;
        let body = random(2, 70_000);
        let etag = stack.put("source", &body).await.header("etag").unwrap().to_owned();
        stack.put("made", b"as before").await;
        let call = |name: &str, value: &str| {
            Call::new("PUT", format!("/{BUCKET}/made"))
                .header("x-amz-copy-source", format!("{BUCKET}/source"))
                .header(name, value)
        };
        const LONG_AGO: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
        const SOME_DAY: &str = "Sun, 01 Jan 2090 00:00:00 GMT";
        for (name, value) in [
            ("x-amz-copy-source-if-match", OTHER),
            ("x-amz-copy-source-if-match", ","),
            ("x-amz-copy-source-if-none-match", &etag),
            ("x-amz-copy-source-if-none-match", "*"),
            ("x-amz-copy-source-if-unmodified-since", LONG_AGO),
            ("x-amz-copy-source-if-modified-since", SOME_DAY),
        ] {
            let answer = stack.proxy.send(call(name, value)).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (412, "PreconditionFailed"),
                "{name}: {value}"
            );
            assert_eq!(stack.get("made").await.body, b"as before", "{name}: {value}");
        }
        for (name, value) in [
            ("x-amz-copy-source-if-match", etag.as_str()),
            ("x-amz-copy-source-if-match", "*"),
            ("x-amz-copy-source-if-none-match", OTHER),
            ("x-amz-copy-source-if-unmodified-since", SOME_DAY),
            ("x-amz-copy-source-if-modified-since", LONG_AGO),
        ] {
            stack.put("made", b"as before").await;
            stack.store.journal().take();
            let answer = stack.proxy.send(call(name, value)).await;
            assert_eq!(answer.status, 200, "{name}: {value}: {}", answer.text());
            let seen = stack.store.journal().take();
            let made = seen.iter().find(|seen| seen.method == Method::PUT).unwrap();
            // The copy names the tag that was looked at; where that would be ignored, the bytes are read under it.
            assert_eq!(made.headers.contains_key("x-amz-copy-source-if-match"), !moves, "{name}: {value}");
            assert!(stack.get("made").await.body == body, "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn an_asterisk_in_quotes_never_overwrites() {
    let stack = Stack::start().await;
    stack.put("made", b"as before").await;
    stack.put("source", b"data").await;
    let calls = [
        Call::new("PUT", format!("/{BUCKET}/made")).body(&b"data"[..]),
        Call::new("PUT", format!("/{BUCKET}/made")).header("x-amz-copy-source", format!("{BUCKET}/source")),
    ];
    for call in calls {
        let answer = stack.proxy.send(call.header("if-none-match", "\"*\"")).await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"), "{}", answer.text());
        assert_eq!(stack.get("made").await.body, b"as before");
    }
}

async fn delete_many(stack: &Stack, entries: &str) -> Answer {
    let call = Call::new("POST", format!("/{BUCKET}?delete")).body(format!("<Delete>{entries}</Delete>"));
    stack.proxy.send(call).await
}

/// What an entry of DeleteObjects may ask for, whether it holds, and which conditions of it the storage may decide.
fn entries(etag: &str, time: &str) -> Vec<(String, bool)> {
    vec![
        (format!("<ETag>&quot;{etag}&quot;</ETag>"), true),
        (format!("<ETag>{etag}</ETag>"), true),
        ("<ETag>*</ETag>".to_owned(), true),
        ("<ETag>0123456789abcdef0123456789abcdef</ETag>".to_owned(), false),
        ("<ETag></ETag>".to_owned(), false),
        ("<Size>4</Size>".to_owned(), true),
        ("<Size>532</Size>".to_owned(), false),
        (format!("<LastModifiedTime>{time}</LastModifiedTime>"), true),
        ("<LastModifiedTime>2015-10-21T07:28:00Z</LastModifiedTime>".to_owned(), false),
        (format!("<ETag>{etag}</ETag><Size>4</Size>"), true),
        (format!("<ETag>{etag}</ETag><Size>5</Size>"), false),
    ]
}

#[tokio::test]
async fn entries_of_a_delete_are_decided_or_refused() {
    let ignores: Option<fn(&mut StoreConfig)> = Some(|config| config.quirks.ignore_entry_etags = true);
    for (store, more) in [(None, ""), (None, STRICT), (ignores, ""), (ignores, STRICT)] {
        let refused = store.is_some() && !more.is_empty();
        let stack = Stack::with(Options { store, more, ..Options::default() }).await;
        stack.put("k", b"data").await;
        let asked = entries(&md5_hex(b"data"), "TIME").len();
        for at in 0..asked {
            stack.put("k", b"data").await;
            stack.put("free", b"data").await;
            let time = stack.head("k").await.header("last-modified").unwrap().to_owned();
            let (entry, holds) = entries(&md5_hex(b"data"), &time).swap_remove(at);
            let what = format!("{entry}, ignored: {}, {more}", store.is_some());
            stack.store.journal().take();
            let objects = format!("<Object><Key>k</Key>{entry}</Object><Object><Key>free</Key></Object>");
            let answer = delete_many(&stack, &objects).await;
            if refused {
                assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"), "{what}");
                assert_eq!(stack.store.keys(BUCKET), ["free", "k"], "{what}");
                continue;
            }
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert!(answer.text().contains("<Deleted><Key>free</Key>"), "{what}: {}", answer.text());
            let failed = answer.text().contains("<Error><Key>k</Key><Code>PreconditionFailed</Code>");
            assert_eq!(
                (failed, stack.get("k").await.status),
                (!holds, if holds { 404 } else { 200 }),
                "{what}"
            );
        }
        // Without conditions there is nothing to refuse.
        stack.put("k", b"data").await;
        let answer = delete_many(&stack, "<Object><Key>k</Key></Object>").await;
        assert!(answer.text().contains("<Deleted><Key>k</Key>"), "{}", answer.text());
    }
}

/// A size or time says nothing of the object that comes between the look and the delete: its tag does.
#[tokio::test]
async fn a_delete_by_size_or_time_is_pinned_to_what_was_looked_at() {
    let stack = Stack::start().await;
    for name in ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"] {
        stack.put("k", b"data").await;
        let head = stack.head("k").await;
        let value = if name.ends_with("size") { "4" } else { head.header("last-modified").unwrap() };
        let stored = md5_hex(&stack.store.stored(BUCKET, "k").unwrap().body);
        stack.store.journal().take();
        let call = Call::new("DELETE", format!("/{BUCKET}/k")).header(name, value);
        assert_eq!(stack.proxy.send(call).await.status, 204, "{name}");
        let seen = stack.store.journal().take();
        let deleted = seen.iter().find(|seen| seen.method == Method::DELETE).unwrap();
        assert_eq!(deleted.headers["if-match"], format!("\"{stored}\""), "{name}");
    }
}
