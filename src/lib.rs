//! placeholder
pub mod driver;
pub mod endpoint;
pub mod random;
pub mod slab;
pub mod time;
