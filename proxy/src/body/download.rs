//! A stored object's plaintext on its way to a client. The head goes out only with the first opened bytes in hand, so an
//! object that fails there is an S3 error and not a broken transfer.

use super::reader::Reader;
use crate::error::Result;
use crate::exchange::{Exchange, Head, Outcome};

/// Answers with `head` and what `reader` reads.
pub async fn deliver(exchange: &mut dyn Exchange, head: Head, mut reader: Reader) -> Result<Outcome> {
    let mut piece = reader.next().await?;
    exchange.start(head, reader.length()).await?;
    while let Some(bytes) = piece {
        exchange.write_body(bytes).await?;
        piece = reader.next().await?;
    }
    exchange.finish().await?;
    Ok(Outcome::Streamed)
}
