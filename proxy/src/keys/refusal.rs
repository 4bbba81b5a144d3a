//! Why a data key was not handed out, and the ONE map from that to what an S3 client is told. No I/O.

use http::HeaderValue;
use http::header::RETRY_AFTER;
use kms_client::KeyError;

use super::ResolvedKey;
use super::gate;
use crate::error::{Code, Error};

/// Why there is no data key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// The key service's answer, or its silence.
    Key(KeyError),
    /// Too many sealed keys of that bucket did not open lately.
    Limited,
}

impl Refusal {
    /// Worth asking again at once; what is not has its own memory.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, Self::Key(KeyError::NotFound | KeyError::NotAuthentic) | Self::Limited)
    }
}

/// Who wanted the data key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// An object that is stored under it already.
    Read,
    /// A new object. The flag: the key has worked before or is the deployment's default.
    Write {
        /// So its failure is the deployment's fault and not the client's.
        ours: bool,
    },
}

/// What the client is told. An existing object is never called broken because its key is away.
pub(super) fn refuse(key: &ResolvedKey, refusal: &Refusal, wanted: Wanted) -> Error {
    let name = &key.name;
    let error = match (refusal, wanted) {
        (Refusal::Limited, _) => {
            return Error::keys(
                Code::SlowDown,
                "Too many objects of this bucket do not open. Try again later.",
            )
            .header(RETRY_AFTER, HeaderValue::from(gate::RETRY.as_secs()))
            .because(
                "sealed keys of this bucket that do not open: forged envelopes, or a key that was replaced",
            );
        }
        (Refusal::Key(KeyError::NotAuthentic), Wanted::Read) => {
            return Error::tampered(format!(
                "the sealed data key does not open under key {key} and this bucket's binding: the envelope was changed or \
                 comes from elsewhere, or the key was replaced by another of its name"
            ));
        }
        (Refusal::Key(KeyError::NotFound), Wanted::Write { ours: false }) => {
            return Error::client(
                Code::KmsNotFound,
                format!(
                    "Invalid keyId '{name}': there is no such key. Name an existing one, or have it created."
                ),
            );
        }
        (Refusal::Key(KeyError::Denied), Wanted::Write { ours: false }) => {
            return Error::client(
                Code::AccessDenied,
                format!("The key service does not let this proxy use key '{name}'. Name another one."),
            );
        }
        (Refusal::Key(error), _) => error,
    };
    let message = match error {
        KeyError::Unavailable { .. } => {
            "The key service cannot be reached, so objects cannot be opened or sealed. Try again."
        }
        _ => {
            "The encryption key cannot be used at the moment. Try again, and tell the operator if this lasts."
        }
    };
    let told = Error::keys(Code::ServiceUnavailable, message)
        .header(RETRY_AFTER, HeaderValue::from_static("5"))
        .because(format!("key {key}: {error}"));
    // One such object must not keep a whole listing from being shown.
    if matches!(error, KeyError::NotFound | KeyError::Denied) { told.lasting() } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Blame;

    fn told(error: KeyError, wanted: Wanted) -> (u16, String, Blame, bool) {
        let key = ResolvedKey { service: "main".to_owned(), name: "k".parse().unwrap() };
        let error = refuse(&key, &Refusal::Key(error), wanted);
        let retry = error.headers().iter().any(|(name, _)| name == RETRY_AFTER);
        (error.code().status().as_u16(), error.code().name().to_owned(), error.blame(), retry)
    }

    #[test]
    fn a_read_never_blames_the_object_for_its_key() {
        let away = KeyError::Unavailable { reason: "x".to_owned() };
        let odd = KeyError::Protocol { status: None, message: "x".to_owned() };
        for error in [KeyError::NotFound, KeyError::Denied, away, odd] {
            let (status, code, blame, retry) = told(error, Wanted::Read);
            assert_eq!((status, code.as_str(), blame, retry), (503, "ServiceUnavailable", Blame::Keys, true));
        }
        assert_eq!(told(KeyError::NotAuthentic, Wanted::Read).2, Blame::Tampered);
    }

    #[test]
    fn a_write_blames_the_client_for_a_key_that_never_worked() {
        let (status, code, blame, _) = told(KeyError::NotFound, Wanted::Write { ours: false });
        assert_eq!((status, code.as_str(), blame), (400, "KMS.NotFoundException", Blame::Client));
        assert_eq!(told(KeyError::Denied, Wanted::Write { ours: false }).0, 403);
        for error in [KeyError::NotFound, KeyError::Denied] {
            let (status, _, blame, retry) = told(error, Wanted::Write { ours: true });
            assert_eq!((status, blame, retry), (503, Blame::Keys, true));
        }
        let away = KeyError::Unavailable { reason: "x".to_owned() };
        assert_eq!(told(away, Wanted::Write { ours: false }).0, 503);
    }

    #[test]
    fn a_key_that_is_gone_lasts_and_one_out_of_reach_does_not() {
        let key = ResolvedKey { service: "main".to_owned(), name: "k".parse().unwrap() };
        let lasts = |error| refuse(&key, &Refusal::Key(error), Wanted::Read).is_lasting();
        assert!(lasts(KeyError::NotFound) && lasts(KeyError::Denied) && lasts(KeyError::NotAuthentic));
        assert!(!lasts(KeyError::Unavailable { reason: String::new() }));
        assert!(!refuse(&key, &Refusal::Limited, Wanted::Read).is_lasting());
    }

    #[test]
    fn only_lasting_answers_are_not_shared() {
        assert!(
            !Refusal::Key(KeyError::NotFound).may_pass() && !Refusal::Key(KeyError::NotAuthentic).may_pass()
        );
        assert!(Refusal::Key(KeyError::Denied).may_pass());
        assert!(Refusal::Key(KeyError::Unavailable { reason: String::new() }).may_pass());
    }
}
