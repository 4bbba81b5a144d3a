//! The client's aws-chunked bodies: an incremental decoder that verifies while it emits.
//! Framing towards a backend is made in `backend/`.
