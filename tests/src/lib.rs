//! The harness: a whole world of real parts around a device, for tests and for the demo.
//!
//! ```text
//!   World ── Engine (dockerd)   CertificateAuthority (Pebble)   Relay (nexus-relay)
//!     └──── Device (piccolod and its children) ◄── Api (a browser's part)   Visitor (through the relay)
//! ```
//!
//! Every test has a directory, and every whole-system test a network namespace, of its own. Nothing
//! here sleeps for a guess: [`wait`] waits on conditions.

#![forbid(unsafe_code)]

pub mod api;
pub mod authority;
pub mod child;
pub mod device;
pub mod engine;
pub mod http_client;
pub mod image;
pub mod namespace;
pub mod relay;
pub mod wait;
pub mod weight;
pub mod world;

pub use api::Api;
pub use device::Device;
pub use world::World;

/// What a test or the demo can fail with; the text is all that matters.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs a whole-system story in a network namespace of its own.
///
/// # Panics
/// When the story fails: that is how a test says so.
pub fn story<F: Future<Output = Result<()>>>(tell: impl FnOnce() -> F) {
    namespace::enter().expect("a network namespace (the whole-system tests need root)");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    if let Err(error) = runtime.block_on(tell()) {
        panic!("{error}");
    }
}
