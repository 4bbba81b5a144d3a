//! Whether an external key can be used: its service makes a data key and opens it again. Nothing in memory answers, and
//! nothing of it is kept.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use kms_client::{DataKey, KeyError, KeyName, KeyService};

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
        match service.generate(name, &context).await {
            Ok(made) => Self {
                encryption: Ok(()),
                decryption: Some(open_again(service, name, &made, &context).await),
            },
            Err(error) => Self { encryption: Err(error), decryption: None },
        }
    }
}

/// Has the service open a data key that it has just made: making one may be allowed where opening it is not, and what
/// cannot be opened must seal nothing.
pub(super) async fn open_again(
    service: &dyn KeyService,
    name: &KeyName,
    made: &DataKey,
    context: &[u8],
) -> Result<(), KeyError> {
    let odd = |message: &str| KeyError::Protocol { status: None, message: message.to_owned() };
    match service.decrypt(name, &made.sealed, context).await {
        Ok(opened) => verify_slices_are_equal(opened.expose(), made.plaintext.expose())
            .map_err(|_| odd("what the service opens is not the data key that it made")),
        // Says nothing of older data keys.
        Err(KeyError::NotAuthentic) => Err(odd(
            "the service does not open the data key that it has just made: do its endpoints hold different keys of this \
             name?",
        )),
        Err(error) => Err(error),
    }
}
