//! Parts that the backend would not take as parts, since the trailer has to follow them: they are held in the system area,
//! sealed like any other, until the upload is completed.

use http::{Method, StatusCode};

use super::UploadState;
use crate::backend::{Backend, Caller, Names, Outgoing, Response, error_from};
use crate::body::{BodyFacts, Learn, PartSealing, Sealing};
use crate::error::{Error, Result};
use crate::s3::name::ObjectKey;

/// Seals a part that is held. Its name tells its salt, which is drawn only when the body is good.
pub struct HeldSealing<'a> {
    part: PartSealing<'a>,
    prefix: String,
}

impl Sealing for HeldSealing<'_> {
    type Sealer = <PartSealing<'static> as Sealing>::Sealer;

    fn buffer(&self) -> u64 {
        self.part.buffer()
    }

    fn learn(&self) -> Learn {
        self.part.learn()
    }

    fn begin(&self, length: u64, facts: Option<&BodyFacts>, out: &mut Outgoing) -> Result<Self::Sealer> {
        use crate::body::BodySealer;
        let sealer = self.part.begin(length, facts, out)?;
        out.key = Some(ObjectKey::parse(format!("{}{}", self.prefix, hex::encode(sealer.mark())))?);
        Ok(sealer)
    }
}

impl UploadState {
    /// The request that holds a part, and its sealing. It goes out under the backend's own keys.
    pub fn hold<'a>(&self, part: PartSealing<'a>) -> Result<(Outgoing, HeldSealing<'a>)> {
        let out = self.area.object(Method::PUT, &self.held(part.number))?;
        let key =
            out.key.as_ref().ok_or_else(|| Error::internal("an object of the system area without a name"))?;
        let prefix = key.to_lossy();
        Ok((out, HeldSealing { part, prefix }))
    }

    /// The sealed bytes of a held part, as they come. `None`: they are not there.
    pub async fn held_part(
        &self,
        backend: &Backend,
        number: u16,
        salt: &[u8; 16],
    ) -> Result<Option<Response>> {
        let name = format!("{}{}", self.held(number), hex::encode(salt));
        let response =
            backend.call(&Caller::Own, self.area.object(Method::GET, &name)?, bytes::Bytes::new()).await?;
        match response.status {
            StatusCode::OK => Ok(Some(response)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(error_from(response, &Names::default()).await),
        }
    }

    fn held(&self, number: u16) -> String {
        format!("{}/held/{number:05}-", self.folder.as_str())
    }
}
