//! Requests with their body in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Method, header};

use super::server::{Peer, Server};
use super::*;
use crate::error::Blame;

async fn code(backend: &Backend, out: Outgoing) -> Code {
    backend.call(&Caller::Own, out, Bytes::new()).await.unwrap_err().code().clone()
}

fn hurried(server: &Server) -> Backend {
    let mut config = config(server.address);
    config.timeouts.response = Duration::from_millis(50);
    config.timeouts.connect = Duration::from_millis(50);
    config.timeouts.idle = Duration::from_millis(50);
    Backend::new("test", config).unwrap()
}

#[tokio::test]
async fn what_is_sent_is_canonical_and_what_comes_is_untouched() {
    let server = Server::always(200, "X-Odd: a  b\r\nETag: \"e\"\r\nServer: s\r\n", "hello").await;
    let backend = backend(server.address);
    let out = get().param("versionId", "a/b").header(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    let response = backend.call(&Caller::Own, out, Bytes::new()).await.unwrap();
    assert_eq!(response.headers["x-odd"], "a  b");
    assert_eq!(response.headers["server"], "s");
    assert_eq!(response.content_length(), Some(5));
    assert_eq!(response.body.collect(5).await.unwrap(), "hello");
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "GET /bkt/dir/../a%20b%2B?versionId=a%2Fb HTTP/1.1");
    assert_eq!(seen.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(seen.head.to_ascii_lowercase().matches("\r\nhost:").count(), 1);
    let authorization = seen.header("authorization").unwrap();
    assert!(
        authorization.contains("Credential=OWNKEY/") && authorization.contains(";range;"),
        "{authorization}"
    );
}

#[tokio::test]
async fn a_body_goes_with_its_hash_and_length() {
    let server = Server::always(200, "", "").await;
    let body = Bytes::from_static(b"sealed bytes");
    backend(server.address).call(&Caller::Own, put(), body.clone()).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!((seen.body.as_slice(), seen.complete), (&body[..], true));
    let hash = hex::encode(crate::auth::canonical::sha256(&body));
    assert_eq!(seen.header("x-amz-content-sha256"), Some(hash.as_str()));
    assert_eq!(seen.header("transfer-encoding"), None);
}

#[tokio::test]
async fn an_upload_of_nothing_tells_its_length_and_a_read_does_not() {
    let server = Server::always(200, "", "").await;
    let backend = backend(server.address);
    backend.call(&Caller::Own, put(), Bytes::new()).await.unwrap();
    backend.call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].header("content-length"), Some("0"));
    assert_eq!(seen[1].header("content-length"), None);
}

#[tokio::test]
async fn answers_and_their_absence_are_counted() {
    let server = Server::always(404, "", "").await;
    let metrics = crate::metrics::Metrics::new();
    let there = backend(server.address);
    let nobody = backend("127.0.0.1:1".parse().unwrap());
    for backend in [&there, &nobody] {
        let _ = backend.0.latency.set(metrics.backend_latency());
        let _ = backend.call(&Caller::Own, get(), Bytes::new()).await;
    }
    let shown = metrics.render(&[]);
    for outcome in ["refused", "failed"] {
        let line = format!("s3cloak_backend_seconds_count{{backend=\"test\",outcome=\"{outcome}\"}} 1");
        assert!(shown.contains(&line), "{line} in\n{shown}");
    }
}

#[tokio::test]
async fn answers_in_any_split_and_after_an_interim_one() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\nContent-Range: bytes 0-3/9\r\n\
                    Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";
        for byte in text.chars() {
            peer.say(&byte.to_string()).await;
            tokio::task::yield_now().await;
        }
        peer.hang().await;
    })
    .await;
    let mut response = backend(server.address).call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    assert_eq!(response.status.as_u16(), 206);
    let mut body = Vec::new();
    while let Some(bytes) = response.body.chunk().await.unwrap() {
        body.extend_from_slice(&bytes);
    }
    assert_eq!(body, b"abcd");
}

#[tokio::test]
async fn strangers_and_identities_with_their_own_keys_go_out_as_themselves() {
    let server = Server::always(200, "", "").await;
    let callers = HashMap::from([("CLIENT".to_owned(), Signer::new(keys("THEIRS")))]);
    let backend = Backend::with_callers("test", config(server.address), callers).unwrap();
    for who in [Caller::Anonymous, backend.caller("CLIENT"), backend.caller("OTHER")] {
        backend.call(&who, get(), Bytes::new()).await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert!(seen[1].header("authorization").unwrap().contains("Credential=THEIRS/"));
    assert!(seen[2].header("authorization").unwrap().contains("Credential=OWNKEY/"));
}

#[tokio::test]
async fn a_stale_connection_of_the_pool_is_replaced_once() {
    // Each connection answers one request and dies on its second without a byte; so nobody knows its age before.
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.answer(200, "", "").await;
        if peer.request().await.is_some() {
            peer.reset();
        }
    })
    .await;
    let backend = backend(server.address);
    let body = Bytes::from_static(b"the same bytes");
    for _ in 0..2 {
        assert!(backend.call(&Caller::Own, put(), body.clone()).await.unwrap().is_success());
    }
    let seen = server.seen();
    assert_eq!((seen.len(), server.connections()), (3, 2));
    assert!(seen.iter().all(|request| request.body == body));
}

#[tokio::test]
async fn a_request_is_sent_again_once_only_and_never_after_a_fresh_connection() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        if peer.number == 0 {
            peer.answer(200, "", "").await;
            peer.request().await;
        }
        peer.reset();
    })
    .await;
    let backend = backend(server.address);
    backend.call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    assert_eq!(code(&backend, get()).await, Code::BadGateway);
    assert_eq!((server.seen().len(), server.connections()), (3, 2));
    // Nothing is pooled now: the failure of a fresh connection is the answer.
    assert_eq!(code(&backend, get()).await, Code::BadGateway);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn one_connection_serves_all_but_conditional_writes() {
    let answer_all = |mut peer: Peer| async move {
        while peer.request().await.is_some() {
            peer.answer(200, "", "").await;
        }
    };
    let server = Server::start(answer_all).await;
    let backend = backend(server.address);
    for _ in 0..3 {
        backend.call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    }
    assert_eq!(server.connections(), 1, "one connection for all reads");
    let conditional = || put().header(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
    for _ in 0..2 {
        backend.call(&Caller::Own, conditional(), Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
    // Onto itself a copy may be sent again.
    let copy = |source: HeaderValue| {
        put().header(header::IF_MATCH, HeaderValue::from_static("\"e\"")).header(COPY_SOURCE, source)
    };
    let (bucket, key) = (put().bucket.unwrap(), put().key.unwrap());
    let itself = |version| copy_source(&bucket, &key, version).unwrap();
    backend.call(&Caller::Own, copy(itself(None)), Bytes::new()).await.unwrap();
    assert_eq!(server.connections(), 3);
    // An older version of it is another object.
    for other in [HeaderValue::from_static("another/object"), itself(Some("1"))] {
        backend.call(&Caller::Own, copy(other), Bytes::new()).await.unwrap();
    }
    assert_eq!(server.connections(), 5);
}

#[tokio::test]
async fn only_so_many_connections_rest() {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = open.clone();
    let server = Server::start(move |mut peer: Peer| {
        let open = counted.clone();
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            while peer.request().await.is_some() {
                peer.answer(200, "", "").await;
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let backend = backend(server.address);
    let made = pool::MOST_IDLE + 50;
    for _ in 0..made {
        let out = put().header(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        backend.call(&Caller::Own, out, Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(server.connections(), made);
    // The other side hears of an end a little later.
    for _ in 0..1000 {
        if open.load(Ordering::SeqCst) <= pool::MOST_IDLE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(open.load(Ordering::SeqCst), pool::MOST_IDLE);
}

#[tokio::test]
async fn garbage_is_a_bad_gateway() {
    for text in ["SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ""]
    {
        let server = Server::start(move |mut peer| async move {
            peer.request().await;
            peer.say(text).await;
        })
        .await;
        assert_eq!(code(&backend(server.address), get()).await, Code::BadGateway, "{text:?}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.hang().await;
    })
    .await;
    assert_eq!(code(&hurried(&server), get()).await, Code::GatewayTimeout);
}

#[tokio::test]
async fn a_body_that_stalls_or_is_cut_is_an_error_and_no_end() {
    for (cut, want) in [(false, Code::GatewayTimeout), (true, Code::BadGateway)] {
        let server = Server::start(move |mut peer| async move {
            peer.request().await;
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd").await;
            if !cut {
                peer.hang().await;
            }
        })
        .await;
        let mut response = hurried(&server).call(&Caller::Own, get(), Bytes::new()).await.unwrap();
        let mut read = Vec::new();
        let error = loop {
            match response.body.chunk().await {
                Ok(Some(bytes)) => read.extend_from_slice(&bytes),
                Ok(None) => panic!("a clean end"),
                Err(error) => break error,
            }
        };
        assert_eq!((read.as_slice(), error.code()), (&b"abcd"[..], &want));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_collected() {
    let server = Server::always(200, "", "0123456789").await;
    let backend = backend(server.address);
    for (limit, fits) in [(10, true), (9, false)] {
        let response = backend.call(&Caller::Own, get(), Bytes::new()).await.unwrap();
        assert_eq!(response.body.collect(limit).await.is_ok(), fits);
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = backend(address).call(&Caller::Own, get(), Bytes::new()).await.unwrap_err();
    assert_eq!((error.code(), error.blame()), (&Code::ServiceUnavailable, Blame::Backend));
}

#[tokio::test]
async fn redirects_are_neither_followed_nor_relayed() {
    let trap = Server::always(200, "", "gotcha").await;
    let location = format!("Location: http://{}/x\r\n", trap.address);
    for status in [301_u16, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::start(move |mut peer| {
            let location = location.clone();
            async move {
                peer.request().await;
                peer.answer(status, &location, "<Error><Code>TemporaryRedirect</Code></Error>").await;
            }
        })
        .await;
        let error = backend(server.address).call(&Caller::Own, get(), Bytes::new()).await.unwrap_err();
        assert_eq!(error.code(), &Code::BadGateway, "{status}");
        assert!(error.headers().is_empty() && !error.message().contains("http://"));
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(trap.connections(), 0);
    let server = Server::always(304, "ETag: \"e\"\r\n", "").await;
    let response = backend(server.address).call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    assert_eq!(response.status.as_u16(), 304);
}

#[tokio::test]
async fn another_region_is_followed_once_and_remembered() {
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
    let header = "x-amz-bucket-region: eu-west-1\r\n";
    for (status, headers, body) in
        [(301, header, ""), (307, header, ""), (400, "", malformed), (400, header, "")]
    {
        let server = Server::start(move |mut peer| async move {
            while let Some(seen) = peer.request().await {
                match seen.header("authorization").unwrap().contains("/eu-west-1/s3/") {
                    true => peer.answer(200, "", "").await,
                    false => peer.answer(status, headers, body).await,
                }
            }
        })
        .await;
        let backend = backend(server.address);
        let body = Bytes::from_static(b"body");
        for _ in 0..2 {
            assert!(backend.call(&Caller::Own, put(), body.clone()).await.unwrap().is_success(), "{status}");
        }
        assert_eq!(server.seen().len(), 3, "the second request goes there at once");
        assert!(server.seen().iter().all(|seen| seen.body == body));
    }
}

#[tokio::test]
async fn regions_that_lead_in_circles_or_astray_are_refused() {
    let circle = Server::start(|mut peer| async move {
        while let Some(seen) = peer.request().await {
            let here = seen.header("authorization").unwrap().contains("/eu-west-1/s3/");
            let region = if here { "us-east-1" } else { "eu-west-1" };
            peer.answer(307, &format!("x-amz-bucket-region: {region}\r\n"), "").await;
        }
    })
    .await;
    assert_eq!(code(&backend(circle.address), get()).await, Code::BadGateway);
    assert_eq!(circle.seen().len(), 2);
    let astray = Server::always(307, "x-amz-bucket-region: evil.example/\r\n", "").await;
    assert_eq!(code(&backend(astray.address), get()).await, Code::BadGateway);
    assert_eq!(astray.seen().len(), 1);
}

#[tokio::test]
async fn complaints_about_our_own_keys_are_not_the_clients_business() {
    for name in [
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "RequestTimeTooSkewed",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
    ] {
        for status in [400_u16, 403] {
            let server = Server::start(move |mut peer| async move {
                peer.request().await;
                let text = format!("<Error><Code>{name}</Code><StringToSign>sts</StringToSign></Error>");
                peer.answer(status, "", &text).await;
            })
            .await;
            let error = backend(server.address).call(&Caller::Own, get(), Bytes::new()).await.unwrap_err();
            assert_eq!((error.code(), error.blame()), (&Code::ServiceUnavailable, Blame::Backend), "{name}");
            assert!(error.cause().unwrap().contains(name) && !error.message().contains(name));
            assert!(!format!("{error:?}").contains("sts>"));
        }
    }
}

#[tokio::test]
async fn every_other_refusal_is_passed_on() {
    let server =
        Server::always(403, "", "<Error><Code>AccessDenied</Code><Message>m</Message></Error>").await;
    let response = backend(server.address).call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    assert_eq!(response.status.as_u16(), 403);
    assert_eq!(error_from(response, &Names::default()).await.code(), &Code::AccessDenied);

    let server = Server::always(503, "Retry-After: 3\r\n", "<Error><Code>SlowDown</Code></Error>").await;
    let response = backend(server.address).call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    let error = error_from(response, &Names::default()).await;
    assert_eq!((error.code(), error.headers().len()), (&Code::SlowDown, 1));
    assert_eq!(server.seen().len(), 1, "no retry of ours");

    let server = Server::always(404, "", "").await;
    let response =
        backend(server.address).call(&Caller::Own, object(Method::HEAD), Bytes::new()).await.unwrap();
    let error = error_from(response, &Names { bucket: None, key: Some(&key("k")) }).await;
    assert_eq!(error.code(), &Code::NoSuchKey);
}

#[tokio::test]
async fn tls_trusts_the_configured_ca_alone() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let der = certified.cert.der().clone();
    let private = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    let mut config = config(address);
    config.endpoint = format!("https://{address}").parse().unwrap();
    config.ca = Some(ca);
    let backend = Backend::new("tls", config.clone()).unwrap();
    let response = backend.call(&Caller::Own, get(), Bytes::new()).await.unwrap();
    assert_eq!(response.body.collect(10).await.unwrap(), "ok");

    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let ca = folder.path().join("other.pem");
    std::fs::write(&ca, other.cert.pem()).unwrap();
    config.ca = Some(ca);
    let backend = Backend::new("tls", config.clone()).unwrap();
    assert_eq!(code(&backend, get()).await, Code::ServiceUnavailable);

    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for path in [empty, folder.path().join("absent.pem")] {
        config.ca = Some(path);
        assert!(Backend::new("tls", config.clone()).is_err());
    }
    task.abort();
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_is_not_used() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.answer(200, "", "read to its end").await;
    })
    .await;
    let backend = backend(server.address);
    for connections in 1..=3 {
        // A write that is sent twice would be seen twice.
        let response = backend.call(&Caller::Own, put(), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(response.body.collect(100).await.unwrap(), "read to its end");
        assert_eq!((server.seen().len(), server.connections()), (connections, connections));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_ends_its_connection() {
    let server = Server::always(200, "", "more than is read").await;
    let backend = backend(server.address);
    for connections in 1..=2 {
        drop(backend.call(&Caller::Own, get(), Bytes::new()).await.unwrap());
        assert_eq!(server.connections(), connections);
    }
}
