//! Why an order did not end with a certificate.

use piccolo_bus_schema::Fault;

/// Each text may be shown to the owner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// A part of this device; tried again soon and not counted as a failed attempt.
    #[error("{0}")]
    Device(#[from] Fault),
    #[error("the certificate authority can't be asked: {0}")]
    Unreachable(String),
    #[error("the certificate authority refused: {0}")]
    Refused(String),
    #[error("the certificate authority could not check the name: {0}")]
    Challenge(String),
    #[error("the certificate authority did not finish in time")]
    TooLate,
    #[error("the certificate authority offers no HTTP-01 challenge for this name")]
    NoChallenge,
    #[error("a key could not be made: {0}")]
    Key(String),
    #[error("the issued certificate can't be used: {0}")]
    Unusable(String),
}

impl From<acme::Error> for OrderError {
    fn from(error: acme::Error) -> Self {
        match error {
            acme::Error::Api(problem) => {
                Self::Refused(problem.detail.or(problem.r#type).unwrap_or_default())
            }
            acme::Error::Timeout(_) => Self::TooLate,
            other => Self::Unreachable(causes(&other)),
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}
