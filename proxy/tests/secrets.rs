//! What a proxy at its most talkative logs, answers and prints holds no secret. The one test of its process, since
//! it takes the process's log.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kms_client::local::LocalKeys;
use kms_client::{DataKey, KeyError, KeyInfo, KeyName, KeyService, PlainKey, ServiceStatus};
use md5::Digest as _;
use s3cloak::config::Log;
use support::{BUCKET, Call, Client, Options, Stack};

const BODY: &str = "MARKED-PLAINTEXT-OF-AN-OBJECT";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A local service that remembers every data key it gave out.
struct Spy {
    keys: LocalKeys,
    given: Mutex<Vec<[u8; 32]>>,
}

impl Spy {
    fn note(&self, key: &PlainKey) {
        self.given.lock().unwrap().push(*key.expose());
    }
}

#[async_trait]
impl KeyService for Spy {
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, KeyError> {
        let key = self.keys.generate(name, context).await?;
        self.note(&key.plaintext);
        Ok(key)
    }
    async fn decrypt(&self, name: &KeyName, sealed: &[u8], context: &[u8]) -> Result<PlainKey, KeyError> {
        let key = self.keys.decrypt(name, sealed, context).await?;
        self.note(&key);
        Ok(key)
    }
    async fn create(&self, name: &KeyName) -> Result<(), KeyError> {
        self.keys.create(name).await
    }
    async fn describe(&self, name: &KeyName) -> Result<KeyInfo, KeyError> {
        self.keys.describe(name).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        self.keys.list(prefix).await
    }
    async fn delete(&self, name: &KeyName) -> Result<(), KeyError> {
        self.keys.delete(name).await
    }
    async fn status(&self) -> ServiceStatus {
        self.keys.status().await
    }
    async fn health(&self, name: &KeyName) -> Result<(), KeyError> {
        self.keys.health(name).await
    }
}

/// The signature that a request carries, in its headers or in its query.
fn signature_in(wire: &[u8]) -> String {
    let text = String::from_utf8_lossy(wire);
    let (_, rest) = text.split_once("Signature=").unwrap();
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// What `s3cloak inspect` prints of an object.
async fn inspected(config: &std::path::Path, key: &str) -> String {
    let arguments =
        ["s3cloak", "inspect", "--config", config.to_str().unwrap(), &format!("s3://{BUCKET}/{key}")]
            .map(String::from);
    let run = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        s3cloak::commands::run(arguments, &mut out);
        String::from_utf8(out).unwrap()
    });
    run.await.unwrap()
}

/// Every spelling in which bytes might be shown.
fn spellings(bytes: &[u8]) -> [String; 4] {
    [hex::encode(bytes), STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes), format!("{bytes:?}")]
}

#[tokio::test]
async fn secrets_stay_out_of_logs_errors_and_debug() {
    let log = Captured::default();
    let writer = log.clone();
    let verbose = Log { filter: "trace".to_owned(), json: false, audit: None };
    let subscriber = s3cloak::logging::subscriber(&verbose, move || writer.clone(), false).unwrap();
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let keys = LocalKeys::open(folder.path().join("keys")).unwrap();
    keys.create(&KeyName::new("test-key").unwrap()).await.unwrap();
    let spy = Arc::new(Spy { keys, given: Mutex::default() });
    let audit = folder.path().join("audit.log");
    let more = format!("log: {{ audit: {} }}\ncompat: {{ minio_api: true }}", audit.display());
    let stack = Stack::with(Options {
        keys: Some(spy.clone()),
        listen: "tls_terminated_in_front: true",
        more: Box::leak(more.into_boxed_str()),
        ..Options::default()
    })
    .await;

    // What goes well, and what is refused for every reason that touches a secret.
    let customer_key = [0xC5u8; 32];
    let customer_md5: [u8; 16] = md5::Md5::digest(customer_key).into();
    let with_key = |method, key: &str, md5: &[u8]| {
        Call::new(method, format!("/{BUCKET}/{key}"))
            .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
            .header("x-amz-server-side-encryption-customer-key", STANDARD.encode(customer_key))
            .header("x-amz-server-side-encryption-customer-key-md5", STANDARD.encode(md5))
    };
    let presigned = "5ec2e7".repeat(11)[..64].to_owned();
    let chunk_signature = "5ec2e8".repeat(11)[..64].to_owned();
    stack.put("fine", BODY.as_bytes()).await;
    assert_eq!(stack.get("fine").await.text(), BODY);
    assert_eq!(stack.get_range("fine", "bytes=2-5").await.text(), "RKED");
    let target = || format!("/{BUCKET}/fine");
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Date=20200101T000000Z&\
                 X-Amz-SignedHeaders=host&X-Amz-Credential=client%2F20200101%2Fus-east-1%2Fs3%2Faws4_request";
    let calls = [
        (403, Call::new("GET", format!("{}?{query}&X-Amz-Signature={presigned}", target()))),
        (
            400,
            Call::new("PUT", target())
                .body(BODY.as_bytes())
                .header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ),
        (200, with_key("PUT", "customer", &customer_md5).body(BODY.as_bytes())),
        (200, with_key("HEAD", "customer", &customer_md5)),
        (200, with_key("GET", "customer", &customer_md5)),
        (400, with_key("PUT", "customer", &[0; 16]).body(BODY.as_bytes())),
        (400, with_key("GET", "fine", &customer_md5)),
        (404, with_key("GET", "nothing", &customer_md5)),
        (400, with_key("PUT", "customer", &customer_md5).header("x-amz-server-side-encryption", "AES256")),
        (
            400,
            with_key("GET", "customer", &customer_md5)
                .header("range", "bytes=1-2")
                .header("x-amz-server-side-encryption", "AES256"),
        ),
        (412, with_key("GET", "customer", &customer_md5).header("if-match", "\"other\"")),
        (501, with_key("GET", "customer?unheard-of", &customer_md5)),
        (400, Call::new("GET", format!("/{BUCKET}/customer"))),
        (400, Call::new("PUT", target()).body(BODY.as_bytes()).header("x-amz-meta-s3cloak", "forged")),
        (
            403,
            Call::new("PUT", target())
                .header("x-amz-decoded-content-length", BODY.len().to_string())
                .payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
                .body(format!("{:x};chunk-signature={chunk_signature}\r\n{BODY}\r\n", BODY.len())),
        ),
        (200, with_key("GET", "customer?attributes", &customer_md5).header("x-amz-object-attributes", "ETag")),
        (
            200,
            Call::new("PUT", format!("/{BUCKET}?encryption")).body(
                "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms\
                 </SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
            ),
        ),
        (200, Call::new("PUT", format!("/{BUCKET}/by-rule")).body(BODY.as_bytes())),
        (200, Call::new("GET", format!("/{BUCKET}?encryption"))),
        (200, Call::new("GET", format!("/{BUCKET}?list-type=2"))),
        (200, Call::new("GET", "/minio/kms/v1/key/status")),
        (200, Call::new("GET", "/minio/kms/v1/key/list?pattern=*")),
        (501, Call::new("GET", format!("{}?unheard-of", target()))),
        (404, Call::new("GET", format!("/{BUCKET}/nothing"))),
    ];
    let mut shown = String::new();
    let mut statuses = Vec::new();
    // Each request's own signature, which lets nobody but its sender in.
    let mut signatures = Vec::new();
    for (status, call) in calls {
        let what = format!("{} {}", call.method, call.target);
        let answer = match call.target.contains("X-Amz-Signature") {
            // Sent as it is: the query is the signature.
            true => {
                let head = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", call.target, stack.proxy.address);
                stack.proxy.raw(head.as_bytes(), false).await
            }
            false => {
                let wire = stack.proxy.wire(&call);
                signatures.push(signature_in(&wire));
                stack.proxy.raw(&wire, call.method == "HEAD").await
            }
        };
        // What a client stored or sent it may see: the bytes, and the MD5 that S3 echoes.
        shown += &answer.text().replace(BODY, "");
        let echoed = |name: &str| name.eq_ignore_ascii_case("x-amz-server-side-encryption-customer-key-md5");
        let headers: Vec<_> =
            answer.headers.iter().filter(|(name, _)| status != 200 || !echoed(name)).collect();
        shown += &format!("{headers:?}\n");
        statuses.push((what, status, answer.status));
    }
    assert!(statuses.iter().all(|(_, wanted, got)| wanted == got), "{statuses:?}");
    let url = stack.proxy.presigned(&with_key("GET", "customer", &customer_md5));
    signatures.push(signature_in(&url));
    assert_eq!(stack.proxy.raw(&url, false).await.text(), BODY);
    // An upload in parts, under the customer's key.
    let begun = stack.proxy.send(with_key("POST", "parts?uploads", &customer_md5)).await;
    let id = begun.element("UploadId");
    let part = with_key("PUT", &format!("parts?partNumber=1&uploadId={id}"), &customer_md5);
    let part = stack.proxy.send(part.body(BODY.as_bytes())).await;
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag").unwrap()
    );
    let listed = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/parts?uploadId={id}"))).await;
    let complete = with_key("POST", &format!("parts?uploadId={id}"), &[0; 16]).body(list.clone());
    let refused = stack.proxy.send(complete).await;
    let done = stack.proxy.send(Call::new("POST", format!("/{BUCKET}/parts?uploadId={id}")).body(list)).await;
    assert_eq!((part.status, listed.status, refused.status, done.status), (200, 200, 400, 200));
    for answer in [listed, refused, done] {
        shown += &format!("{} {:?}", answer.text(), answer.headers);
    }
    let stranger = Client { secret_key: "client-secreT".to_owned(), ..stack.proxy.clone() };
    let answer = stranger.send(Call::new("GET", target())).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "SignatureDoesNotMatch"));
    shown += &answer.text();
    shown += &format!("{:?} {:?}", stack.services.config, stack.services.credentials);

    let metrics = stack.services.metrics.render(&[]);
    assert!(metrics.contains("PutObject"), "{metrics}");
    shown += &metrics;
    shown += &std::fs::read_to_string(&audit).unwrap();
    assert!(shown.contains("\"decision\":\"allowed\""), "the audit log was kept");
    // What `inspect` prints, with all keys at hand.
    std::fs::create_dir_all(stack.key_folder()).unwrap();
    for file in std::fs::read_dir(folder.path().join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), stack.key_folder().join(file.file_name())).unwrap();
    }
    let config = stack.config_file();
    for key in ["fine", "by-rule", "customer", "parts"] {
        let printed = inspected(&config, key).await;
        assert!(printed.contains("envelope"), "{printed}");
        shown += &printed;
    }
    // What the backend holds, and what it was asked.
    let object = stack.store.stored(BUCKET, "customer").unwrap();
    shown += &format!("{:?}", object.headers);
    for call in stack.store.journal().take() {
        shown += &format!("{call:?}\n");
    }
    for secret in [&customer_key[..], &customer_md5] {
        assert!(!object.body.windows(16).any(|run| run == &secret[..16]), "in the stored bytes");
    }

    // Tampered with on the backend.
    stack.store.tamper(BUCKET, "fine", |object| object.body[3] ^= 1).unwrap();
    shown += &stack.get("fine").await.text().replace(BODY, "");

    let text = shown + &String::from_utf8_lossy(&log.0.lock().unwrap());
    assert!(text.contains("request refused"), "the log was captured");
    let given = spy.given.lock().unwrap().clone();
    assert!(!given.is_empty());
    let external = std::fs::read_dir(folder.path().join("keys"))
        .unwrap()
        .map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let mut secrets: Vec<String> =
        ["client-secret", "backend-secret", "MARKED-PLAIN", presigned.as_str(), chunk_signature.as_str()]
            .map(String::from)
            .into();
    assert!(signatures.len() > 15 && signatures.iter().all(|signature| signature.len() == 64));
    secrets.extend(signatures);
    secrets.extend(spellings(BODY.as_bytes()));
    secrets.extend(spellings(&customer_key));
    secrets.extend(spellings(&customer_md5));
    secrets.extend(given.iter().flat_map(|key| spellings(key)));
    secrets.extend(external.flat_map(|key| spellings(&key)));
    for secret in secrets {
        let around = text.find(&secret).map(|at| {
            let from = text[..at].rfind('\n').unwrap_or(0);
            text[from..].chars().take(600).collect::<String>()
        });
        assert!(around.is_none(), "{secret} is shown in: {around:?}");
    }
}
