//! Whether an external key can be used: its service makes a data key and opens it again. Nothing in memory answers, and
//! nothing of it is kept.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use kms_client::{KeyError, KeyName, KeyService};

use super::context;

/// What came of making a data key, and of opening it again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trial {
    /// Why none was made.
    pub encryption: Result<(), KeyError>,
    /// Why it does not open. Where none was made there is nothing to open.
    pub decryption: Option<Result<(), KeyError>>,
}

impl Trial {
    /// Both work.
    pub fn is_good(&self) -> bool {
        self.encryption.is_ok() && matches!(self.decryption, Some(Ok(())))
    }

    pub(super) async fn of(service: &dyn KeyService, name: &KeyName) -> Self {
        let context = context::probe();
        let made = match service.generate(name, &context).await {
            Ok(made) => made,
            Err(error) => return Self { encryption: Err(error), decryption: None },
        };
        let opened = service.decrypt(name, &made.sealed, &context).await.and_then(|opened| {
            verify_slices_are_equal(opened.expose(), made.plaintext.expose()).map_err(|_| {
                let message = "what the service opens is not the data key that it made".to_owned();
                KeyError::Protocol { status: None, message }
            })
        });
        Self { encryption: Ok(()), decryption: Some(opened) }
    }
}
