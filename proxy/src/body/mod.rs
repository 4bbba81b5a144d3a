//! BODIES: the pure format joined to streams. `incoming` verifies what clients send, `upload` seals it towards the
//! backend, `download` opens what the backend sends. No decision of policy is made here.

mod budget;
mod digest;
mod download;
mod incoming;
mod sealing;
mod upload;

pub use budget::{BufferBudget, BufferRoom};
pub use digest::content_md5;
pub use download::{Download, Window, open, relay};
pub use incoming::{BodyFacts, Incoming, Learn, collect, declared_length, required_length};
pub use sealing::{ObjectSealing, PartSealing, carry_envelope};
pub use upload::{BodySealer, Sealing, Stored, store};
