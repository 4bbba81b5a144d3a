//! A server that does what a script says, connection by connection, over raw TCP: real servers do not cut, stall and
//! lie on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it stood on the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// The body had all the bytes of Content-Length.
    pub(super) complete: bool,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    fn content_length(&self) -> usize {
        self.header("content-length").map_or(0, |n| n.parse().unwrap())
    }
}

/// One connection, with its number from 0.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) number: usize,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Peer {
    /// Reads a head; `None` when the client closed before one.
    pub(super) async fn head(&mut self) -> Option<Seen> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        Some(Seen { head: String::from_utf8(head).unwrap(), ..Seen::default() })
    }

    /// Reads the body of a head as far as it comes.
    pub(super) async fn body(&mut self, seen: &mut Seen) {
        let mut buffer = vec![0; 65536];
        let length = seen.content_length();
        while seen.body.len() < length {
            let want = buffer.len().min(length - seen.body.len());
            match self.stream.read(&mut buffer[..want]).await {
                Ok(0) | Err(_) => break,
                Ok(n) => seen.body.extend_from_slice(&buffer[..n]),
            }
        }
        seen.complete = seen.body.len() == length;
    }

    /// Reads a whole request and remembers it.
    pub(super) async fn request(&mut self) -> Option<Seen> {
        let mut seen = self.head().await?;
        self.body(&mut seen).await;
        self.remember(seen.clone());
        Some(seen)
    }

    pub(super) fn remember(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }

    pub(super) async fn say(&mut self, bytes: &str) {
        // The client may be gone, which is its right.
        let _ = self.stream.write_all(bytes.as_bytes()).await;
    }

    /// A whole answer.
    pub(super) async fn answer(&mut self, status: u16, headers: &str, body: &str) {
        self.say(&format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
            .await;
    }

    /// Never closes, never answers.
    pub(super) async fn hang(&mut self) {
        std::future::pending::<()>().await;
    }

    /// Closes with a reset instead of an end.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A running script.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::new(Mutex::new(0));
        let (log, count) = (seen.clone(), accepted.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut count = count.lock().unwrap();
                    *count += 1;
                    *count - 1
                };
                tokio::spawn(script(Peer { stream, number, seen: log.clone() }));
            }
        });
        Self { address, seen, accepted, task }
    }

    /// Answers every request the same.
    pub(super) async fn always(status: u16, headers: &'static str, body: &'static str) -> Self {
        Self::start(move |mut peer| async move {
            while peer.request().await.is_some() {
                peer.answer(status, headers, body).await;
            }
        })
        .await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.accepted.lock().unwrap()
    }

    /// Waits until so many requests were remembered; the test's own deadline is the harness's.
    pub(super) async fn until_seen(&self, count: usize) -> Vec<Seen> {
        loop {
            let seen = self.seen();
            if seen.len() >= count {
                return seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
