//! An object of so many parts that its table does not fit into the first look at its end. It is 3.4 GiB large, so the
//! backend makes most of it up.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_client::KeyService;
use kms_client::local::LocalKeys;
use object_format::length::{sealed_len, segment_len};
use s3cloak::config::{Surroundings, parse};
use support::multipart::{ENVELOPE, MIN_PART, Object, Part, Upload};
use support::{BUCKET, Call, Options, Stack, random};

const KEY: &str = "huge";
const PARTS: usize = 700;
const LAST: usize = 1234;
const TAG: &str = "\"0123456789abcdef0123456789abcdef-701\"";

/// An object with holes, which read as zeros.
struct Sparse {
    pieces: Vec<(u64, Vec<u8>)>,
    total: u64,
    envelope: String,
    reads: AtomicUsize,
}

impl Sparse {
    fn of(object: &Object, total: u64) -> Self {
        let mut at = 0;
        let mut pieces = Vec::new();
        for part in &object.parts {
            pieces.push((at, part.sealed.clone()));
            at += segment_len(part.entry.size);
        }
        pieces.push((at, object.trailer.clone()));
        Self { pieces, total, envelope: object.envelope.clone(), reads: AtomicUsize::new(0) }
    }

    fn bytes(&self, start: u64, end: u64) -> Vec<u8> {
        let mut out = vec![0; (end - start) as usize];
        for (at, piece) in &self.pieces {
            let (from, to) = ((*at).max(start), (at + piece.len() as u64).min(end));
            if from < to {
                out[(from - start) as usize..(to - start) as usize]
                    .copy_from_slice(&piece[(from - at) as usize..(to - at) as usize]);
            }
        }
        out
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let range = request.headers()["range"].to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) => (first, last + 1),
            (_, last) => (self.total - last.unwrap(), self.total),
        };
        assert!(end - start < 20 << 20, "{range}");
        Response::builder()
            .status(206)
            .header("content-range", format!("bytes {start}-{}/{}", end - 1, self.total))
            .header("etag", TAG)
            .header("last-modified", "Wed, 25 Nov 2026 08:00:00 GMT")
            .header(ENVELOPE, &self.envelope)
            .body(Full::new(self.bytes(start, end).into()))
            .unwrap()
    }
}

/// In front of the store: answers for the one object, and hands everything else on.
async fn in_front(store: std::net::SocketAddr, sparse: Arc<Sparse>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (sparse, client) = (sparse.clone(), client.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let (sparse, client) = (sparse.clone(), client.clone());
                async move {
                    if request.uri().path() == format!("/{BUCKET}/{KEY}") {
                        return Ok::<_, Infallible>(sparse.answer(&request).map(Either::Left));
                    }
                    let target = request.uri().path_and_query().unwrap().clone();
                    *request.uri_mut() = format!("http://{store}{target}").parse().unwrap();
                    Ok(client.request(request).await.unwrap().map(Either::Right))
                }
            });
            let serve = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { drop(serve.serve_connection(TokioIo::new(tcp), service).await) });
        }
    });
    address
}

#[tokio::test]
async fn more_parts_than_the_first_look_shows() {
    let folder = tempfile::tempdir().unwrap();
    let keys = LocalKeys::open(folder.path().join("keys")).unwrap();
    keys.create(&kms_client::KeyName::new("test-key").unwrap()).await.unwrap();
    let keys: Arc<dyn KeyService> = Arc::new(keys);
    let stack = Stack::with(Options { keys: Some(keys.clone()), ..Options::default() }).await;
    let upload = Upload::new(&stack, KEY).await;
    let parts: Vec<Part> = (0..PARTS)
        .map(|at| match at {
            0 | 349 | 350 => upload.part(at as u16 + 1, random(at as u64 + 1, MIN_PART)),
            _ if at == PARTS - 1 => upload.part(at as u16 + 1, random(at as u64 + 1, LAST)),
            _ => upload.unread(at as u16 + 1, MIN_PART as u64),
        })
        .collect();
    let object = upload.complete(parts);
    let plain = ((PARTS - 1) * MIN_PART + LAST) as u64;
    let sparse = Arc::new(Sparse::of(&object, sealed_len(plain)));
    let backend = in_front(stack.store.address(), sparse.clone()).await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut proxy = stack.proxy.clone();
    proxy.address = listener.local_addr().unwrap();
    let yaml = format!(
        "listen:\n  - address: {}\nbackends:\n  default: {{ endpoint: \"http://{backend}\", region: us-east-1, \
         access_key: backend, secret_key: backend-secret, system: {{ bucket: s3cloak-system }} }}\n\
         keys:\n  services:\n    main: {{ type: local, path: {} }}\n  default_key: test-key\n\
         credentials:\n  - {{ access_key: client, secret_key: client-secret, \
         allow: [{{ buckets: [\"*\"], actions: [read], keys: [\"*\"] }}] }}\n\
         buckets:\n  \"*\": {{ backend: default, etag: md5 }}\n",
        proxy.address,
        folder.path().join("keys").display(),
    );
    let around = Surroundings { variable: &|_| None, folder: std::path::Path::new("."), listens: true };
    let config = parse(&yaml, "test.yaml", &around).unwrap_or_else(|faults| panic!("{faults}\n{yaml}"));
    let _services = support::serve(Arc::new(config), keys, listener).await;
    sparse.reads.store(0, Ordering::Relaxed);

    let call = |method, query: &str| Call::new(method, format!("/{BUCKET}/{KEY}{query}"));
    let reads = || sparse.reads.swap(0, Ordering::Relaxed);
    // The footer tells all that a HEAD shows.
    let head = proxy.send(call("HEAD", "")).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some(plain.to_string().as_str())));
    assert_eq!(head.header("etag"), Some(format!("\"{}\"", object.etag).as_str()));
    assert_eq!(reads(), 1);
    // The end, the rest of its table, the bytes.
    let part = proxy.send(call("GET", "?partNumber=351")).await;
    assert_eq!((part.status, part.header("x-amz-mp-parts-count")), (206, Some("700")));
    assert!(part.complete && part.body == object.parts[350].plain);
    assert_eq!(reads(), 3);
    // From now on it is known.
    let start = 350 * MIN_PART as u64 - 70_000;
    let range = format!("bytes={start}-{}", start + 139_999);
    let over = proxy.send(call("GET", "").header("range", range)).await;
    let truth = [&object.parts[349].plain[MIN_PART - 70_000..], &object.parts[350].plain[..70_000]].concat();
    assert!(over.status == 206 && over.complete && over.body == truth);
    assert_eq!(reads(), 1);
    let last = proxy.send(call("GET", "").header("range", "bytes=-1000")).await;
    assert!(last.complete && last.body == object.parts[PARTS - 1].plain[LAST - 1000..]);
    // Bytes that were never sealed are nobody's.
    let hole = proxy.send(call("GET", "?partNumber=2")).await;
    assert_eq!(hole.status, 500);
    reads();
    let listed = call("GET", "?attributes")
        .header("x-amz-object-attributes", "ObjectParts")
        .header("x-amz-part-number-marker", "698");
    let listed = proxy.send(listed).await.text();
    assert!(listed.contains("<PartNumber>699</PartNumber><Size>5242880</Size>"), "{listed}");
    assert!(listed.contains("<PartNumber>700</PartNumber><Size>1234</Size>"), "{listed}");
    assert!(listed.contains("<PartsCount>700</PartsCount>"), "{listed}");
    assert_eq!(reads(), 2);
}
