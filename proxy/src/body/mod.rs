//! BODIES: the pure format joined to streams. `incoming` verifies what clients send, `reader` opens what the backend sends,
//! `upload` seals either towards the backend, `download` hands on to clients. No decision of policy is made here.

mod budget;
mod digest;
mod download;
mod incoming;
mod learn;
mod plaintext;
mod reader;
mod sealing;
mod upload;

pub use budget::{BufferBudget, BufferRoom};
pub use download::deliver;
pub use incoming::{Incoming, collect, declared_length, required_length};
pub use learn::{BodyFacts, Learn};
pub use plaintext::{ClientBody, Plaintext};
pub use reader::{Cut, Opening, Reader, StoredBody, Window};
pub use sealing::{ObjectSealing, PartSealing, carry_envelope, sealed_facts};
pub use upload::{BodySealer, Sealing, Stored, store};
