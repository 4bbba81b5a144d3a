//! Opening connections to one backend: TCP, TLS with its own CA or the system's roots, and the deadline on both.
//! What is said over them is `mod.rs`'s and `upload.rs`'s.

use std::fs;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::error::{Error, Result};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections; calls and uploads share one.
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    deadline: Duration,
}

impl Connector {
    /// Reads certificates now, so that a wrong path stops the start and not the first request.
    pub(super) fn new(config: &crate::config::Backend) -> Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(config.timeouts.connect));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let roots = match (&config.ca, config.endpoint.scheme() == Some(&Scheme::HTTPS)) {
            (_, false) => RootCertStore::empty(),
            (Some(path), true) => roots_from(path)?,
            (None, true) => native_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(format!("TLS set-up: {e}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { inner, deadline: config.timeouts.connect })
    }

    /// One connection, TLS done.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<Stream, BoxError> {
        let connecting = self.inner.clone().call(uri.clone());
        // Covers the TLS handshake too, which the TCP connector's own limit does not.
        let io = tokio::time::timeout(self.deadline, connecting).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "no connection within timeouts.connect")
        })??;
        Ok(Stream { io, deaf: None })
    }

    /// The same for an upload: where the other side stops taking bytes, its answer is still read.
    pub(super) async fn dial(&self, uri: &Uri) -> Result<Stream, BoxError> {
        let mut stream = self.connect(uri).await?;
        stream.deaf = Some(Deaf::default());
        Ok(stream)
    }
}

fn roots_from(path: &std::path::Path) -> Result<RootCertStore> {
    let fault = |e: &dyn std::fmt::Display| Error::internal(format!("backend CA {}: {e}", path.display()));
    let pem = fs::read(path).map_err(|e| fault(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|e| fault(&e))?).map_err(|e| fault(&e))?;
    }
    if roots.is_empty() {
        return Err(fault(&"no certificate in the file"));
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(Error::internal(
            "no CA certificates on this system: install them or set `ca` on the backend",
        ));
    }
    Ok(roots)
}

/// Whether the other side has stopped taking bytes. A server that refuses an upload early answers and closes, and the
/// reset that meets our next bytes would hide that answer; so from then on bytes are dropped and only its word counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Deaf(Arc<AtomicBool>);

impl Deaf {
    /// Bytes were dropped, so no success can be true.
    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The outcome of a write, or `done` in place of a failure that says that the other side has closed.
    fn hear<T>(&self, outcome: Poll<io::Result<T>>, done: T) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match outcome {
            Poll::Ready(Err(e)) if matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) => {
                self.0.store(true, Ordering::Relaxed);
                Poll::Ready(Ok(done))
            }
            other => other,
        }
    }
}

/// A connection to a backend, plain or TLS.
pub(super) struct Stream {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    deaf: Option<Deaf>,
}

impl Stream {
    /// Of an upload's connection: whether the other side has stopped taking bytes.
    pub(super) fn deaf(&self) -> Deaf {
        self.deaf.clone().unwrap_or_default()
    }

    fn write<T>(
        &mut self,
        done: T,
        write: impl FnOnce(Pin<&mut MaybeHttpsStream<TokioIo<TcpStream>>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &self.deaf {
            Some(deaf) if deaf.is() => Poll::Ready(Ok(done)),
            Some(deaf) => deaf.hear(write(Pin::new(&mut self.io)), done),
            None => write(Pin::new(&mut self.io)),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(buf.len(), |io| io.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write((), |io| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write((), |io| io.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(bufs.iter().map(|buf| buf.len()).sum(), |io| io.poll_write_vectored(cx, bufs))
    }
}
