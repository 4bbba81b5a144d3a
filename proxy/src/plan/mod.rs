//! WHAT WE WILL DO: pure decisions over a verified request, the bucket's rule and what is known of the object.
//! No I/O, so every rule here is testable as a table.

pub mod answer;
pub mod attributes;
pub mod checksum;
pub mod copy;
pub mod customer;
pub mod multipart;
pub mod read;
pub mod sse;
pub mod uploads;
pub mod write;
