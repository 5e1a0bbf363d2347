//! placeholder
pub mod config;
pub mod driver;
mod error;
pub use error::{Error, ErrorKind, Phase, RequestSent, TlsFailure};
pub mod endpoint;
pub mod random;
pub mod slab;
pub mod time;
