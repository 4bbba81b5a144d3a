//! The test server against what a running KES answered, byte by byte: every recorded body, and every vector over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::server;
use kms_client::kes::ApiKey;
use kms_client::testserver::{Cipher, Options, Policy, TestKes};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ED25519};
use reqwest::{Certificate, Client, Identity, Method, StatusCode, redirect};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use zeroize::Zeroizing;

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap()
}

fn seed(byte: u8) -> ApiKey {
    ApiKey::from_seed(Zeroizing::new([byte; 32]))
}

fn pair(byte: u8) -> KeyPair {
    let mut pkcs8 =
        vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    pkcs8.extend([byte; 32]);
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ED25519).unwrap()
}

/// A raw client with a self-signed certificate of a seed, and further certificates in the chain.
fn client(kes: &TestKes, byte: u8, is_ca: IsCa, more: &str) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pair = pair(byte);
    let mut params = CertificateParams::default();
    params.is_ca = is_ca;
    let pem = format!("{}{more}{}", params.self_signed(&pair).unwrap().pem(), pair.serialize_pem());
    Client::builder()
        .identity(Identity::from_pem(pem.as_bytes()).unwrap())
        .tls_certs_only(Certificate::from_pem_bundle(kes.ca_pem().as_bytes()).unwrap())
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

async fn prepared(http2: bool) -> TestKes {
    let kes =
        TestKes::start_with(Options { http2, api_key: Some(seed(1)), ..Options::default() }).await.unwrap();
    kes.set_policy(seed(2).identity(), Policy::proxy("app-"));
    for key in vectors()["keys"].as_array().unwrap() {
        let bytes = hex::decode(key["key_hex"].as_str().unwrap()).unwrap().try_into().unwrap();
        let cipher = Cipher::parse(key["import_cipher"].as_str().unwrap()).unwrap();
        assert!(kes.import_key(key["name"].as_str().unwrap(), bytes, cipher));
    }
    kes
}

#[tokio::test]
async fn recorded_bodies_are_answered_to_the_byte() {
    for http2 in [true, false] {
        let kes = prepared(http2).await;
        let second = CertificateParams::default().self_signed(&pair(3)).unwrap().pem();
        let ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let vectors = vectors();
        let cases = vectors["bodies"].as_array().unwrap();
        assert_eq!(cases.len(), 21);
        for case in cases {
            let who = match case["as"].as_str().unwrap() {
                "admin" => client(&kes, 1, IsCa::NoCa, ""),
                "app" => client(&kes, 2, IsCa::NoCa, ""),
                "nobody" => client(&kes, 3, IsCa::NoCa, ""),
                "app-ca" => client(&kes, 2, ca, ""),
                "app-two" => client(&kes, 2, IsCa::NoCa, &second),
                other => panic!("unknown identity {other}"),
            };
            let method = case["method"].as_str().unwrap().parse::<Method>().unwrap();
            let url = format!("{}{}", kes.endpoint(), case["path"].as_str().unwrap());
            let mut request = who.request(method, url);
            if !case["request_json"].is_null() {
                request = request.json(&case["request_json"]);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), case["status"].as_u64().unwrap() as u16, "{case}");
            let content_type = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(content_type.as_deref(), case["content_type"].as_str(), "{case}");
            assert_eq!(answer.text().await.unwrap(), case["body"].as_str().unwrap(), "{case}");
        }
    }
}

#[tokio::test]
async fn every_vector_opens_over_the_wire() {
    let kes = prepared(true).await;
    let admin = client(&kes, 1, IsCa::NoCa, "");
    let vectors = vectors();
    let mut count = 0;
    for set in ["encrypt", "generate", "legacy_decrypt", "decrypt_errors"] {
        for v in vectors[set].as_array().unwrap() {
            let mut body = json!({ "ciphertext": v["ciphertext_b64"] });
            if !v["context_b64"].is_null() {
                body["context"] = v["context_b64"].clone();
            }
            let url = format!("{}/v1/key/decrypt/{}", kes.endpoint(), v["key_name"].as_str().unwrap());
            let answer = admin.post(url).json(&body).send().await.unwrap();
            let status = answer.status().as_u16();
            let answer: Value = answer.json().await.unwrap();
            if set == "decrypt_errors" {
                assert_eq!(u64::from(status), v["status"].as_u64().unwrap(), "{v}");
                assert_eq!(answer["message"], v["message"], "{v}");
            } else {
                assert_eq!(answer["plaintext"], v["plaintext_b64"], "{v}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 106);
}

async fn status_of(request: reqwest::RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn bodies_are_read_as_go_reads_them() {
    let kes = prepared(true).await;
    let admin = client(&kes, 1, IsCa::NoCa, "");
    let post = |verb: &str| admin.post(format!("{}/v1/key/{verb}/vec-aes-1", kes.endpoint()));
    for body in
        ["{}", "null", r#"{"context":null}"#, r#"{"context":""}"#, r#"{"CONTEXT":"AA==","x":1} trailing"#]
    {
        assert_eq!(status_of(post("generate").body(body)).await.0, 200, "{body}");
    }
    assert_eq!(status_of(post("generate")).await.0, 200, "no body");
    for body in [r#"{"context":"_-8="}"#, r#"{"context":"AA"}"#, "[]", "{", "x", r#"{"context":{}}"#] {
        let (status, text) = status_of(post("generate").body(body)).await;
        assert_eq!(
            (status.as_u16(), text.as_str()),
            (400, "{\"message\":\"invalid request body\"\n}"),
            "{body}"
        );
    }
    let (status, text) = status_of(post("decrypt").body("{}")).await;
    assert!(status == 400 && text.contains("not authentic"));
    assert_eq!(status_of(post("encrypt").body("{}")).await.0, 200);
    assert_eq!(status_of(post("encrypt")).await.0, 400);
    let numbers = status_of(post("encrypt").body(r#"{"plaintext":[1,2,3]}"#)).await;
    assert_eq!(numbers.0, 200);

    // Bytes count up to the end of the value only.
    let small = format!("{{}}{}", " ".repeat(1_000_001));
    assert_eq!(status_of(post("generate").body(small)).await.0, 200);
    let large = format!("{{\"context\":\"{}\"}}", STANDARD.encode(vec![0; 800_000]));
    assert_eq!(status_of(post("generate").body(large)).await.0, 400);
}

#[tokio::test]
async fn odd_paths_and_methods() {
    for http2 in [true, false] {
        let kes = prepared(http2).await;
        let admin = client(&kes, 1, IsCa::NoCa, "");
        let stranger = client(&kes, 3, IsCa::NoCa, "");
        let url = |path: &str| format!("{}{path}", kes.endpoint());
        for (path, to) in [
            ("/v1/key/list", "/v1/key/list/"),
            ("/v1//status", "/v1/status"),
            ("/v1/key/describe//vec-aes-1", "/v1/key/describe/vec-aes-1"),
        ] {
            let answer = admin.get(url(path)).send().await.unwrap();
            assert_eq!(answer.status(), 307, "{path}");
            assert_eq!(answer.headers()["location"], to);
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        }
        let head = stranger.head(url("/v1/status")).send().await.unwrap();
        assert_eq!(head.status(), 405, "the method is judged before who asks");
        assert_eq!(head.headers()["accept"], "GET");
        assert_eq!(status_of(stranger.get(url("/version"))).await.0, 200);
        assert_eq!(status_of(stranger.get(url("/v1/status"))).await.0, 403);
        assert_eq!(status_of(admin.get(url("/v1/key/bulk/decrypt/x"))).await.0, 404);
        assert_eq!(status_of(admin.put(url("/v1/key/generate/vec-aes-1"))).await.0, 200);
        let dot = status_of(admin.post(url("/v1/key/generate/a%2Eb"))).await;
        assert!(dot.1.contains("key name 'a.b'"), "{}", dot.1);
        // Refused before it is looked at.
        assert_eq!(status_of(stranger.post(url("/v1/key/generate/a.b"))).await.0, 403);
        kes.faults().store_down(true);
        assert_eq!(status_of(admin.get(url("/v1/ready"))).await.0, 504);
    }
}

#[tokio::test]
async fn lists_have_their_quirks() {
    let kes = server(true).await;
    let key = ApiKey::parse(kes.api_key()).unwrap();
    kes.set_policy(seed(2).identity(), Policy::proxy("n"));
    drop(key);
    for n in 0..1030 {
        kes.create_key(&format!("n{n:04}"));
    }
    let app = client(&kes, 2, IsCa::NoCa, "");
    let list = async |pattern: &str| -> Value {
        app.get(format!("{}/v1/key/list/{pattern}", kes.endpoint()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let all = list("").await;
    assert_eq!(all["names"].as_array().unwrap().len(), 1024);
    assert_eq!(all["continue_at"], "n1024");
    assert_eq!(list("*").await, all);
    assert_eq!(list("n1024").await, json!({ "names": ["n1024"] }), "there is no way to page");
    assert_eq!(list("n10*").await, json!({ "names": [] }));
}

#[tokio::test]
async fn a_stranger_without_certificate_does_not_get_in() {
    let kes = server(true).await;
    let nobody = Client::builder()
        .tls_certs_only(Certificate::from_pem_bundle(kes.ca_pem().as_bytes()).unwrap())
        .no_proxy()
        .build()
        .unwrap();
    assert!(nobody.get(format!("{}/version", kes.endpoint())).send().await.is_err());
    assert_eq!(kes.faults().total(), 0);
}
