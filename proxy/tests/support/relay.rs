//! A way between one replica and the store on which a script decides what becomes of each request: it passes, is lost,
//! loses its answer, waits, or is answered on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// What becomes of a request.
#[derive(Clone)]
pub enum Act {
    Pass,
    /// The connection breaks and the store hears of nothing.
    Lose,
    /// The store does what was asked, and the connection breaks instead of an answer.
    LoseAnswer,
    /// It waits until the gate opens, and passes then.
    Wait(Arc<Gate>),
    /// It gets this answer when the gate opens, and the store hears of nothing.
    Answer(Arc<Gate>, u16, &'static str),
}

/// Where a request waits.
#[derive(Default)]
pub struct Gate {
    arrived: Notify,
    open: Notify,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Until a request stands before it.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    pub fn open(&self) {
        self.open.notify_one();
    }

    async fn pass(&self) {
        self.arrived.notify_one();
        self.open.notified().await;
    }
}

type Script = Box<dyn FnMut(&Method, &str) -> Act + Send>;

/// Passes everything, and counts every byte both ways.
pub struct Counter {
    pub address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Counter {
    pub async fn to(store: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(AtomicU64::new(0));
        let all = bytes.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(store).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(counted(near_in, far_out, all.clone()));
                tokio::spawn(counted(far_in, near_out, all.clone()));
            }
        });
        Self { address, bytes }
    }

    /// As many as were passed on. Whoever has an answer finds it counted.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

async fn counted(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        bytes.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Ends a connection without an answer.
fn lost(what: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(what.to_string())
}

/// Everything passes until there is a script.
pub struct Relay {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Relay {
    pub async fn to(store: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_, _| Act::Pass)));
        let shared = script.clone();
        let client: Client<_, Either<Incoming, Full<Bytes>>> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                let (script, client) = (shared.clone(), client.clone());
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let (script, client) = (script.clone(), client.clone());
                    async move {
                        let target = request.uri().path_and_query().unwrap().to_string();
                        let act = script.lock()(request.method(), &target);
                        *request.uri_mut() = format!("http://{store}{target}").parse().unwrap();
                        let pass = async |request: Request<Incoming>| {
                            client.request(request.map(Either::Left)).await.map_err(lost)
                        };
                        match act {
                            Act::Pass => Ok::<_, std::io::Error>(pass(request).await?.map(Either::Left)),
                            Act::Lose => Err(lost("the request")),
                            Act::LoseAnswer => {
                                pass(request).await?.into_body().collect().await.map_err(lost)?;
                                Err(lost("the answer"))
                            }
                            Act::Wait(gate) => {
                                gate.pass().await;
                                Ok(pass(request).await?.map(Either::Left))
                            }
                            Act::Answer(gate, status, body) => {
                                request.into_body().collect().await.map_err(lost)?;
                                gate.pass().await;
                                let mut answer = Response::new(Either::Right(Full::new(body.into())));
                                *answer.status_mut() = StatusCode::from_u16(status).map_err(lost)?;
                                Ok(answer)
                            }
                        }
                    }
                });
                let serve = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { drop(serve.serve_connection(TokioIo::new(tcp), service).await) });
            }
        });
        Self { address, script }
    }

    /// From now on this decides.
    pub fn run(&self, script: impl FnMut(&Method, &str) -> Act + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    /// The next request of this method with `part` in its target gets `act`; everything else passes.
    pub fn once(&self, method: Method, part: &'static str, act: Act) {
        let mut act = Some(act);
        self.run(move |seen, target| {
            if *seen == method && target.contains(part) { act.take().unwrap_or(Act::Pass) } else { Act::Pass }
        });
    }
}
