//! What can go wrong at the engine, by operation.

use piccolo_bus_schema::Fault;

/// An engine operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("the container engine does not answer: {0}")]
    Away(String),
    #[error("image {image} can't be pulled: {why}")]
    Pull { image: String, why: String },
    #[error("image {0} is not on this device, and localhost/ is no registry")]
    NoImage(String),
    #[error("the container can't be {what}: {why}")]
    Container { what: &'static str, why: String },
    #[error("the app's network can't be made: {0}")]
    Network(String),
    #[error("the app ended at once{0}")]
    Ended(String),
    #[error("the app did not answer on port {port} within {seconds} s")]
    Silent { port: u16, seconds: u64 },
}

/// What an owner does when there is no engine.
pub(crate) const ENGINE_STEP: &str = "Install and start a container engine: the package docker.io.";

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Away(_) => {
                Self::unavailable_until("the container engine", error.to_string(), ENGINE_STEP)
            }
            EngineError::Pull { .. } => Self::unavailable_until(
                "the image",
                error.to_string(),
                "Check the name of the image and the connection to the internet.",
            ),
            EngineError::NoImage(_) => Self::unavailable_until(
                "the image",
                error.to_string(),
                "Build or load the image on this device, or name one of a registry.",
            ),
            EngineError::Container { .. }
            | EngineError::Network(_)
            | EngineError::Ended(_)
            | EngineError::Silent { .. } => Self::unavailable("the app", error.to_string()),
        }
    }
}
