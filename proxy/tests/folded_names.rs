//! Storage that takes some keys for others, as file systems do: through the real proxy in process nothing is stored under
//! such a key, nothing is found there, and the object that the storage would have touched stays as it is.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine;
use support::{BUCKET, Call, Options, Stack, md5_hex};

const ODD: [&str; 6] = ["q//b", "/q/b", "q/./b", "./q/b", "q/x/../b", "q/b/."];

async fn folding() -> Stack {
    let store = Some(
        (|config: &mut s3cloak::demo::store::StoreConfig| {
            config.quirks.fold_names = true;
        }) as fn(&mut _),
    );
    let stack = Stack::with(Options { store, ..Options::default() }).await;
    stack.put("q/b", b"the one that is there").await;
    stack
}

/// The object is whole, listed once, and nobody was alarmed.
async fn assert_untouched(stack: &Stack, why: &str) {
    let got = stack.get("q/b").await;
    assert_eq!((got.status, &*got.body), (200, &b"the one that is there"[..]), "{why}: {}", got.text());
    assert_eq!(stack.store.keys(BUCKET), ["q/b"], "{why}");
    let listed = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await;
    assert!(listed.text().contains(&md5_hex(b"the one that is there")), "{why}: {}", listed.text());
    let metrics = stack.services.metrics.render(&[]);
    assert!(metrics.contains("\ns3cloak_tampered_total 0\n"), "{why}: {metrics}");
}

#[tokio::test]
async fn nothing_is_stored_under_a_key_that_is_another_one_there() {
    let stack = folding().await;
    for key in ODD {
        let path = format!("/{BUCKET}/{key}");
        let copied = Call::new("PUT", path.as_str()).header("x-amz-copy-source", format!("/{BUCKET}/q/b"));
        let posted = Call::new("POST", format!("{path}?uploads"));
        for call in [Call::new("PUT", path.as_str()).body(b"other bytes".as_slice()), copied, posted] {
            let refused = stack.proxy.send(call).await;
            assert_eq!((refused.status, &*refused.code()), (400, "InvalidRequest"), "{key}");
            assert!(refused.element("Message").contains("takes this key for another one"), "{key}");
            assert_eq!(refused.element("Key"), key);
        }
        assert_untouched(&stack, key).await;
    }
    let sent: Vec<_> = stack.store.journal().take();
    assert!(
        !sent.iter().any(|seen| ODD.iter().any(|key| seen.target.starts_with(&format!("/{BUCKET}/{key}"))))
    );
}

#[tokio::test]
async fn nothing_is_found_under_a_key_that_is_another_one_there() {
    let stack = folding().await;
    for key in ODD {
        let path = format!("/{BUCKET}/{key}");
        for (method, query) in
            [("GET", ""), ("GET", "?attributes"), ("GET", "?tagging"), ("GET", "?acl"), ("DELETE", "")]
        {
            let call =
                Call::new(method, format!("{path}{query}")).header("x-amz-object-attributes", "ObjectSize");
            let answer = stack.proxy.send(call).await;
            assert_eq!((answer.status, &*answer.code()), (404, "NoSuchKey"), "{method} {key}{query}");
        }
        assert_eq!(stack.head(key).await.status, 404);
        let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
        let tagged = Call::new("PUT", format!("{path}?tagging")).body(tags);
        assert_eq!(stack.proxy.send(tagged).await.code(), "NoSuchKey", "{key}");
        let part = Call::new("PUT", format!("{path}?partNumber=1&uploadId=x")).body(b"part".as_slice());
        assert_eq!(stack.proxy.send(part).await.code(), "NoSuchUpload", "{key}");
        let copy = Call::new("PUT", format!("/{BUCKET}/copy"))
            .header("x-amz-copy-source", format!("/{BUCKET}/{key}"));
        assert_eq!(stack.proxy.send(copy).await.code(), "NoSuchKey", "{key}");
        let list = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        let sum = hex::decode(md5_hex(list.as_bytes())).unwrap();
        let many = Call::new("POST", format!("/{BUCKET}?delete"))
            .header("content-md5", base64::engine::general_purpose::STANDARD.encode(sum))
            .body(list.as_bytes());
        let answer = stack.proxy.send(many).await;
        assert_eq!((answer.status, &*answer.code()), (200, "NoSuchKey"), "{key}");
        assert_untouched(&stack, key).await;
    }
    let nowhere = stack.proxy.send(Call::new("GET", "/no-such-bucket/a//b")).await;
    assert_eq!(nowhere.code(), "NoSuchBucket");
}

#[tokio::test]
async fn storage_that_keeps_them_apart_keeps_them_all() {
    let stack = Stack::start().await;
    stack.put("q/b", b"plain").await;
    for key in ODD {
        stack.put(key, key.as_bytes()).await;
    }
    for key in ODD {
        assert_eq!(stack.get(key).await.body, key.as_bytes(), "{key}");
    }
    assert_eq!(stack.get("q/b").await.body, b"plain");
    assert_eq!(stack.store.keys(BUCKET).len(), ODD.len() + 1);
}
