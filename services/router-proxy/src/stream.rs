//! The connection side: listeners, the first bytes of a stranger, TLS, and bytes carried untouched.

pub(crate) mod accept;
pub(crate) mod lan;
pub(crate) mod passthrough;
pub(crate) mod peek;
pub(crate) mod public;
pub(crate) mod remote;
mod rewound;
pub(crate) mod tls;

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to a visitor.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}
