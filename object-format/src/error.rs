//! The errors of the format: few and coarse, so that none tells an attacker which check failed.
//! No error carries a key, a plaintext byte or a position inside authenticated data.

/// A header value that is no envelope. Nothing secret was looked at: these speak of the public shape only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`MAX_ENVELOPE`](crate::MAX_ENVELOPE); it was not parsed.
    #[error("the envelope is longer than 2048 characters")]
    TooLong,
    /// Not base64url without padding, or not in its one canonical spelling.
    #[error("the envelope is not canonical base64url")]
    NotBase64,
    /// Of a format version that this release does not read.
    #[error("the envelope has format version {0}, and this release reads 1")]
    UnsupportedVersion(u8),
    /// A field is missing, doubled, out of order, of a wrong length, or makes no sense beside another.
    #[error("the envelope is malformed")]
    Malformed,
}

/// Why an object could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A wrong key or name, or bytes that were not sealed in this place: one error for all of these.
    #[error("not authentic")]
    NotAuthentic,
    /// The ciphertext ended before its (authenticated) end. Everything released so far was authentic.
    #[error("the ciphertext ended early")]
    Truncated,
}

/// Why something could not be sealed: the caller's fault in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More plaintext was pushed than was declared.
    #[error("the body is longer than the declared {declared} bytes")]
    TooLong {
        /// The plaintext size that the attempt was made for.
        declared: u64,
    },
    /// The body ended before the declared size.
    #[error("the body ended after {pushed} of the declared {declared} bytes")]
    TooShort {
        /// The plaintext size that the attempt was made for.
        declared: u64,
        /// What came.
        pushed: u64,
    },
    /// A plaintext size over [`MAX_PLAIN`](crate::length::MAX_PLAIN).
    #[error("no object can be larger than 53687091200000 bytes")]
    TooLarge,
    /// A header field that no envelope can carry; the text names it.
    #[error("cannot write the envelope: {0}")]
    Header(&'static str),
    /// The envelope without client context is over 640 characters, because of its names or its sealed key.
    #[error(
        "the envelope would take {length} characters of metadata, more than 640: use a shorter key name or key id"
    )]
    EnvelopeTooLong {
        /// Its length without the client context, in characters.
        length: usize,
    },
    /// A part or a list of parts that the format cannot hold; the text says why.
    #[error("cannot seal these parts: {0}")]
    Parts(&'static str),
    /// An ETag or checksum that the format cannot hold; the text says why.
    #[error("cannot seal these facts: {0}")]
    Facts(&'static str),
}
