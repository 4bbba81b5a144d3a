//! Where plaintext to be sealed comes from: a client's request, or a stored object (`reader.rs`). What is done with it is
//! `upload.rs`'s.

use bytes::Bytes;

use super::incoming::{Incoming, required_length};
use super::learn::{BodyFacts, Learn};
use crate::auth::Verified;
use crate::error::Result;
use crate::exchange::Exchange;
use crate::s3::S3Request;

/// A body of a known length. What comes out of it is not yet good: whoever stores it holds the last bytes back until
/// [`Plaintext::finish`] has said that all of it was.
pub trait Plaintext: Send {
    /// Bytes in all.
    fn length(&self) -> u64;
    /// The next bytes, `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;
    /// Whether the whole body was what it had to be, and what was learned of it. To be called after the end.
    fn finish(self) -> impl Future<Output = Result<BodyFacts>> + Send;
}

/// The body of a client's request.
pub struct ClientBody<'a> {
    length: u64,
    incoming: Incoming,
    exchange: &'a mut dyn Exchange,
}

impl<'a> ClientBody<'a> {
    /// Reads the promises in the headers, then lets the client send. To be called when nothing else can refuse the request.
    pub async fn begin(
        request: &Verified<S3Request>,
        exchange: &'a mut dyn Exchange,
        learn: Learn,
    ) -> Result<Self> {
        let length = required_length(request)?;
        let incoming = Incoming::new(request, length, learn)?;
        exchange.send_continue().await?;
        Ok(Self { length, incoming, exchange })
    }
}

impl Plaintext for ClientBody<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.incoming.next(self.exchange).await
    }

    async fn finish(self) -> Result<BodyFacts> {
        self.incoming.finish().await
    }
}
