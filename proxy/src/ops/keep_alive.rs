//! Answers of operations that may take long: with their real status if they are done soon, else 200, white space while the
//! client waits, and the result or the error as the body, as S3 does
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::timeout;

use crate::error::Result;
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::s3::S3Request;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::xml::{ErrorContext, error_body};

/// From which on a client is kept waiting with white space, and how often it gets some.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every document begins with. Nothing may stand before it, so it goes out first.
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Answers with what `work` gives: an XML document, or an error. `early` are the headers of an answer that begins before
/// it is known. A client that goes away does not stop `work`.
pub async fn answer(
    request: &S3Request,
    exchange: &mut dyn Exchange,
    early: HeaderMap,
    work: impl Future<Output = Result<Reply>> + Send,
) -> Result<Outcome> {
    let mut work = pin!(work);
    if !exchange.takes_unsized() {
        return work.await.map(Outcome::Reply);
    }
    if let Ok(done) = timeout(PATIENCE, &mut work).await {
        return done.map(Outcome::Reply);
    }
    let mut head = Head { status: StatusCode::OK, headers: early };
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let mut sent = exchange.start_unsized(head).await;
    if sent.is_ok() {
        sent = exchange.write_body(Bytes::from_static(DECLARATION.as_bytes())).await;
    }
    let done = loop {
        if sent.is_ok() {
            sent = exchange.write_body(Bytes::from_static(b" ")).await;
        }
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            break done;
        }
    };
    let document = match done {
        Ok(reply) => reply.body,
        Err(error) => {
            // The status is gone, and with it the line that every failed request gets.
            tracing::warn!(
                request_id = request.request_id.as_str(),
                operation = request.operation.name(),
                %error,
                "request failed after its answer began"
            );
            Bytes::from(error_document(request, &error))
        }
    };
    sent?;
    exchange.write_body(without_declaration(document)).await?;
    exchange.finish().await?;
    Ok(Outcome::Streamed)
}

fn error_document(request: &S3Request, error: &crate::error::Error) -> String {
    let key = request.key.as_ref().map(ObjectKey::to_lossy);
    error_body(
        error,
        &ErrorContext {
            resource: &request.raw_path,
            bucket: request.bucket.as_ref().map(BucketName::as_str),
            key: key.as_deref(),
            request_id: request.request_id.as_str(),
            host_id: request.request_id.as_str(),
        },
    )
}

fn without_declaration(mut document: Bytes) -> Bytes {
    if document.starts_with(DECLARATION.as_bytes()) {
        drop(document.split_to(DECLARATION.len()));
    }
    document
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use http::Method;

    use super::*;
    use crate::error::{Code, Error};
    use crate::s3::{RequestHead, RequestId};

    /// What a client gets.
    #[derive(Default)]
    struct Client {
        old: bool,
        /// Takes so many writes.
        patience: usize,
        head: Option<Head>,
        body: Vec<u8>,
        finished: bool,
    }

    #[async_trait]
    impl Exchange for Client {
        async fn read_body(&mut self) -> Result<Option<Bytes>> {
            Ok(None)
        }
        async fn send_continue(&mut self) -> Result<()> {
            Ok(())
        }
        async fn start(&mut self, _: Head, _: u64) -> Result<()> {
            Err(Error::internal("nobody knows the length"))
        }
        fn takes_unsized(&self) -> bool {
            !self.old
        }
        async fn start_unsized(&mut self, head: Head) -> Result<()> {
            self.head = Some(head);
            Ok(())
        }
        async fn write_body(&mut self, bytes: Bytes) -> Result<()> {
            self.patience =
                self.patience.checked_sub(1).ok_or_else(|| Error::client(Code::RequestTimeout, "gone"))?;
            self.body.extend_from_slice(&bytes);
            Ok(())
        }
        async fn finish(&mut self) -> Result<()> {
            self.finished = true;
            Ok(())
        }
    }

    fn client() -> Client {
        Client { patience: 100, ..Client::default() }
    }

    fn request() -> S3Request {
        S3Request::parse(RequestHead {
            method: Method::POST,
            target: "/bkt/a%20b?uploadId=u",
            headers: [(http::header::HOST, HeaderValue::from_static("s3"))].into_iter().collect(),
            secure: false,
            domains: &[],
            region: None,
            minio_api: false,
            request_id: RequestId::from_random([0; 8]),
        })
        .unwrap()
    }

    async fn after(seconds: u64, result: Result<&'static str>) -> Result<Reply> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        result.map(|document| Reply::xml(Head::new(StatusCode::OK), format!("{DECLARATION}{document}")))
    }

    async fn run(client: &mut Client, work: impl Future<Output = Result<Reply>> + Send) -> Result<Outcome> {
        let early = [(http::header::ETAG, HeaderValue::from_static("e"))].into_iter().collect();
        answer(&request(), client, early, work).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_soon_has_its_own_status() {
        let mut soon = client();
        let done = run(&mut soon, after(4, Ok("<A/>"))).await.unwrap();
        assert!(matches!(done, Outcome::Reply(reply) if reply.body.ends_with(b"<A/>")));
        let failed = run(&mut soon, after(4, Err(Error::client(Code::InvalidPart, "no")))).await;
        assert_eq!(failed.unwrap_err().code(), &Code::InvalidPart);
        assert!(soon.head.is_none() && soon.body.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_filled_with_white_space() {
        let mut slow = client();
        let done = run(&mut slow, after(17, Ok("<A/>"))).await.unwrap();
        assert!(matches!(done, Outcome::Streamed) && slow.finished);
        let head = slow.head.unwrap();
        assert_eq!((head.status, head.headers["etag"].as_bytes()), (StatusCode::OK, &b"e"[..]));
        assert_eq!(head.headers[CONTENT_TYPE], "application/xml");
        // At 5, 10 and 15 seconds. The declaration stands first, or no parser would take the document.
        assert_eq!(String::from_utf8(slow.body).unwrap(), format!("{DECLARATION}   <A/>"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_error_is_the_body() {
        let mut slow = client();
        let error = Error::client(Code::InvalidPart, "no").because("secret cause");
        run(&mut slow, after(6, Err(error))).await.unwrap();
        let body = String::from_utf8(slow.body).unwrap();
        assert!(body.starts_with(&format!("{DECLARATION} <Error><Code>InvalidPart</Code>")), "{body}");
        assert!(body.contains("<Key>a b</Key><BucketName>bkt</BucketName>"), "{body}");
        assert!(body.matches("<?xml").count() == 1 && !body.contains("secret") && slow.finished, "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_http_1_0_waits() {
        let mut old = Client { old: true, ..client() };
        let done = run(&mut old, after(17, Ok("<A/>"))).await.unwrap();
        assert!(matches!(done, Outcome::Reply(_)) && old.head.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_goes_on_without_its_client() {
        for patience in 0..3 {
            let mut gone = Client { patience, ..client() };
            let mut done = false;
            let result = run(&mut gone, async {
                let reply = after(40, Ok("<A/>")).await;
                done = true;
                reply
            })
            .await;
            assert_eq!(result.unwrap_err().code(), &Code::RequestTimeout);
            assert!(done && !gone.finished);
        }
    }
}
