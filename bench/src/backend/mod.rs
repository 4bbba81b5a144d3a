//! The in-memory backend: plain S3 answers with as little work as can be, so that what stands before it is measured.
//! It believes every signature, and keeps nothing when it ends.

mod chunked;
mod copy;
mod list;
mod object;
mod rope;
mod store;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use self::object::{Pieces, get, put};
use self::store::Store;
use crate::Failure;

/// Serves until the process is killed.
pub(crate) fn run(listen: SocketAddr) -> Result<(), Failure> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        serve(listener).await;
        Ok(())
    })
}

async fn serve(listener: TcpListener) {
    let store = Arc::new(Store::default());
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let store = store.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let store = store.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(&store, request).await) }
            });
            // A client that goes away is no fault of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Why a request is refused: status and S3 error code.
type Refusal = (StatusCode, &'static str);

async fn answer(store: &Store, request: Request<Incoming>) -> Response<Pieces> {
    let head = request.method() == Method::HEAD;
    match route(store, request).await {
        Ok(response) => response,
        Err((status, code)) => {
            let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
            xml_answer(status, if head { String::new() } else { xml })
        }
    }
}

async fn route(store: &Store, request: Request<Incoming>) -> Result<Response<Pieces>, Refusal> {
    let uri = request.uri().clone();
    let decoded = percent_decode_str(uri.path()).decode_utf8_lossy();
    let (bucket, key) =
        decoded.trim_start_matches('/').split_once('/').unwrap_or((decoded.trim_start_matches('/'), ""));
    let query = Query::parse(uri.query().unwrap_or(""));
    let method = request.method().clone();
    match (method.as_str(), bucket, key) {
        ("GET", "", _) => Ok(xml_answer(StatusCode::OK, list::buckets(store))),
        ("PUT", bucket, "") if !query.has_subresource() => {
            store.create(bucket);
            Ok(empty(StatusCode::OK))
        }
        ("HEAD", bucket, "") => store.exists(bucket).map(|()| empty(StatusCode::OK)),
        ("DELETE", bucket, "") if !query.has_subresource() => {
            store.delete_bucket(bucket).map(|()| empty(StatusCode::NO_CONTENT))
        }
        ("GET", bucket, "") => {
            store.exists(bucket)?;
            match query.subresource() {
                None => Ok(xml_answer(StatusCode::OK, list::objects(store, bucket, &query)?)),
                Some("versioning") => Ok(xml_answer(StatusCode::OK, "<VersioningConfiguration/>".to_owned())),
                Some("location") => Ok(xml_answer(StatusCode::OK, "<LocationConstraint/>".to_owned())),
                Some(_) => Err((StatusCode::NOT_FOUND, "NoSuchConfiguration")),
            }
        }
        (_, bucket, key) if !key.is_empty() && uploads::is_about(&query) => {
            uploads::answer(store, bucket, key, &query, request).await
        }
        (_, _, key) if !key.is_empty() && query.has_subresource() => {
            Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented"))
        }
        ("GET" | "HEAD", bucket, key) => get(store.find(bucket, key)?, &request),
        ("PUT", bucket, key) => {
            if request.headers().contains_key(copy::SOURCE) {
                return copy::copy(store, bucket, key, request.headers());
            }
            put(store, bucket, key, request).await
        }
        ("DELETE", bucket, key) => {
            let wanted = request.headers().get(header::IF_MATCH);
            store.delete(bucket, key, wanted).map(|()| empty(StatusCode::NO_CONTENT))
        }
        _ => Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented")),
    }
}

fn empty(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces::default());
    *response.status_mut() = status;
    response
}

fn xml_answer(status: StatusCode, xml: String) -> Response<Pieces> {
    let mut response = Response::new(Pieces::one(Bytes::from(xml)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// A decoded query string.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Self(query.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is neither a listing's nor a signature's names another operation.
    fn subresource(&self) -> Option<&str> {
        const PLAIN: [&str; 9] = [
            "list-type",
            "prefix",
            "delimiter",
            "marker",
            "start-after",
            "continuation-token",
            "max-keys",
            "encoding-type",
            "fetch-owner",
        ];
        let other = |name: &str| !PLAIN.contains(&name) && !name.starts_with("X-Amz-") && name != "x-id";
        self.0
            .iter()
            .map(|(name, _)| name.as_str())
            .find(|name| other(name) && !name.starts_with("response-"))
    }

    fn has_subresource(&self) -> bool {
        self.subresource().is_some()
    }
}

#[cfg(test)]
mod tests;
