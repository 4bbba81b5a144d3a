//! The store over real HTTP, through a small client that signs as SDKs do.

mod client;
mod faults;
mod multipart;
mod objects;
mod places;
mod writes;
