//! ListMultipartUploads in front of storage that lists uploads as S3 does, and of storage that does not: clients see the same.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use s3cloak::demo::store::{Fault, StoreConfig};
use support::uploads::{between, create};
use support::{Answer, BUCKET, Call, Options, Stack};

fn bare(store: &mut StoreConfig) {
    store.quirks.bare_upload_lists = true;
}

/// In front of both kinds.
async fn stacks() -> [Stack; 2] {
    let (faithful, bare) =
        (Stack::start().await, Stack::with(Options { store: Some(bare), ..Options::default() }).await);
    for (stack, lists) in [(&faithful, true), (&bare, false)] {
        assert_eq!(stack.services.backends.get("default").unwrap().profile().lists_uploads, lists);
    }
    [faithful, bare]
}

async fn page(stack: &Stack, query: &str) -> Answer {
    stack.proxy.send(Call::new("GET", format!("/{BUCKET}?uploads{query}"))).await
}

/// The texts of all elements of this name.
fn all(document: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let texts = document.split(&open).skip(1);
    texts.map(|rest| rest[..rest.find(&close).unwrap()].to_owned()).collect()
}

/// Keys of the uploads, then the groups.
fn shown(document: &str) -> Vec<String> {
    let groups =
        document.split("<CommonPrefixes>").skip(1).flat_map(|group| all(group, "Prefix").into_iter().take(1));
    all(document, "Key").into_iter().chain(groups).collect()
}

#[tokio::test]
async fn pages_hold_what_was_asked_for() {
    for stack in stacks().await {
        for key in ["d", "b/2", "b/1", "a%20b%2Bc%25", "b/1", "c/x"] {
            create(&stack.proxy, key, &vec![]).await;
        }
        for (query, keys) in [
            ("", &["a b+c%", "b/1", "b/1", "b/2", "c/x", "d"][..]),
            ("&prefix=b/", &["b/1", "b/1", "b/2"]),
            ("&prefix=none", &[]),
            ("&delimiter=/", &["a b+c%", "d", "b/", "c/"]),
            ("&delimiter=/&prefix=b/", &["b/1", "b/1", "b/2"]),
            ("&key-marker=b/1", &["b/2", "c/x", "d"]),
            ("&key-marker=b/2&delimiter=/", &["d", "c/"]),
        ] {
            let answer = page(&stack, query).await;
            assert_eq!(
                (answer.status, shown(&answer.text())),
                (200, keys.iter().map(ToString::to_string).collect()),
                "{query}"
            );
            assert_eq!(between(&answer.text(), "IsTruncated"), "false", "{query}");
        }
        let encoded = page(&stack, "&encoding-type=url&prefix=a%20").await.text();
        assert_eq!(between(&encoded, "Key"), "a%20b%2Bc%25");
        assert_eq!(
            (between(&encoded, "Prefix"), between(&encoded, "EncodingType")),
            ("a%20".into(), "url".into())
        );
        for bad in ["&max-uploads=many", "&encoding-type=xml"] {
            let answer = page(&stack, bad).await;
            assert_eq!((answer.status, answer.code()), (400, "InvalidArgument".to_owned()), "{bad}");
        }
        let none = stack.proxy.send(Call::new("GET", "/nobodys?uploads".to_owned())).await;
        assert_eq!((none.status, none.code()), (404, "NoSuchBucket".to_owned()));
    }
}

#[tokio::test]
async fn pages_follow_one_another_by_their_markers() {
    for stack in stacks().await {
        let mut begun = Vec::new();
        for key in ["z", "b/2", "b/1", "a", "b/1", "b/1"] {
            begun.push(create(&stack.proxy, key, &vec![]).await);
        }
        begun.sort();
        for size in 1..=3 {
            let (mut ids, mut marker) = (Vec::new(), String::new());
            loop {
                let text = page(&stack, &format!("&max-uploads={size}{marker}")).await.text();
                let here = all(&text, "UploadId");
                assert!(here.len() <= size, "{text}");
                ids.extend(here);
                if between(&text, "IsTruncated") == "false" {
                    break;
                }
                let (key, id) = (between(&text, "NextKeyMarker"), between(&text, "NextUploadIdMarker"));
                marker = format!("&key-marker={key}&upload-id-marker={id}");
            }
            ids.sort();
            assert_eq!(ids, begun, "by {size}");
        }
        let (mut entries, mut marker) = (Vec::new(), String::new());
        loop {
            let text = page(&stack, &format!("&delimiter=/&max-uploads=1{marker}")).await.text();
            entries.extend(shown(&text));
            if between(&text, "IsTruncated") == "false" {
                break;
            }
            marker = format!("&key-marker={}", between(&text, "NextKeyMarker"));
        }
        assert_eq!(entries, ["a", "b/", "z"]);
    }
}

#[tokio::test]
async fn what_lies_in_the_system_area_is_not_shown() {
    for store in [None, Some(bare as fn(&mut StoreConfig))] {
        let options = Options { system: Some("bucket: photos, prefix: own/"), store, ..Options::default() };
        let stack = Stack::with(options).await;
        let begun = stack.backend.send(Call::new("POST", format!("/{BUCKET}/own/x?uploads"))).await;
        assert_eq!(begun.status, 200);
        create(&stack.proxy, "seen", &vec![]).await;
        assert_eq!(shown(&page(&stack, "").await.text()), ["seen"]);
    }
}

fn listed(uploads: &[(&str, &str)], next: Option<(&str, &str)>) -> Fault {
    let uploads: String = uploads
        .iter()
        .map(|(key, id)| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"))
        .collect();
    let next = next.map_or(String::new(), |(key, id)| {
        format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>")
    });
    let document = format!("<ListMultipartUploadsResult>{uploads}{next}</ListMultipartUploadsResult>");
    Fault::Answer(200, vec![], document.into_bytes())
}

#[tokio::test]
async fn storage_that_refuses_its_own_markers_is_asked_in_another_way() {
    let stack = Stack::with(Options { store: Some(bare), ..Options::default() }).await;
    let faults = stack.store.faults();
    faults.on(Method::GET, "uploads", listed(&[("a", "1"), ("b", "2")], Some(("b", "2"))));
    faults.on(Method::GET, "uploads", Fault::Status(400, "InvalidArgument".to_owned()));
    faults.on(Method::GET, "uploads", listed(&[("b", "2"), ("b", "3"), ("c", "4")], None));
    let text = page(&stack, "").await.text();
    assert_eq!(all(&text, "UploadId"), ["1", "2", "3", "4"]);
    let asked: Vec<String> = stack.store.journal().take().into_iter().map(|seen| seen.target).collect();
    assert_eq!(faults.waiting(), 0);
    assert!(asked[1].contains("key-marker=b") && asked[1].contains("upload-id-marker=2"), "{asked:?}");
    assert!(asked[2].contains("key-marker=a") && !asked[2].contains("upload-id-marker"), "{asked:?}");
}

#[tokio::test]
async fn a_list_that_does_not_end_is_an_error() {
    let stack = Stack::with(Options { store: Some(bare), ..Options::default() }).await;
    for _ in 0..2 {
        stack.store.faults().on(Method::GET, "uploads", listed(&[("a", "1")], Some(("a", "1"))));
    }
    let answer = page(&stack, "").await;
    assert_eq!((answer.status, answer.code()), (502, "BadGateway".to_owned()));
    // Nor is one that breaks off, or is refused, half a list.
    stack.store.faults().on(Method::GET, "uploads", listed(&[("a", "1")], Some(("a", "1"))));
    stack.store.faults().on(Method::GET, "uploads", Fault::Status(403, "AccessDenied".to_owned()));
    let answer = page(&stack, "").await;
    assert_eq!((answer.status, answer.code()), (403, "AccessDenied".to_owned()));
}
