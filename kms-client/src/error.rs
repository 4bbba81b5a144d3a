//! What a key service can answer other than success. Made from (status, message), never from a status alone.

use thiserror::Error;

/// Failure of a call to a key service. Holds no key material, sealed keys or contexts, so it may be logged.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum KeyError {
    /// The service says that there is no key of that name. Not proof that it was deleted: KES says so too when its
    /// file store is not mounted.
    #[error("the key does not exist")]
    NotFound,
    /// The sealed key does not open under this key and context.
    #[error("the sealed key is not authentic under this key and context")]
    NotAuthentic,
    /// A key of that name exists already.
    #[error("a key of that name exists already")]
    Exists,
    /// The service refuses this to our identity.
    #[error("the key service refuses this to our identity")]
    Denied,
    /// Not a name that a key can have.
    #[error("{name:?} is not a key name: use 1 to 80 of A-Z a-z 0-9 _ -, no '-' at either end")]
    InvalidName {
        /// What was asked for, cut to 100 characters.
        name: String,
    },
    /// The service could not be reached, timed out, or reports that its key store fails. Worth another try later.
    #[error("the key service is unavailable: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
    },
    /// The service answered something that is not of its protocol: a wrong endpoint, or a fault of ours.
    #[error("unexpected answer from the key service{}: {message}", status.map(|s| format!(" (status {s})")).unwrap_or_default())]
    Protocol {
        /// HTTP status, where there was one.
        status: Option<u16>,
        /// For the log, cut to 200 characters.
        message: String,
    },
}

impl KeyError {
    /// The service can't be asked just now (connection, TLS, timeout, 5xx): keys at hand may serve on for their grace.
    /// Everything else is an answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(crate) fn protocol(status: Option<u16>, message: &str) -> Self {
        Self::Protocol { status, message: message.chars().take(200).collect() }
    }
}
