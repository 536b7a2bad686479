//! Why the edge can't start, and how its faults look on the bus.

use crate::{challenge::NotPublished, lan_certificate::LanCertificateError};
use piccolo_bus_schema::Fault;
use piccolo_runtime::Exit;
use std::{io, path::PathBuf, time::Duration};

/// The edge can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("LAN certificate")]
    LanCertificate(#[from] LanCertificateError),
    #[error("can't listen on {path}")]
    Streams {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't adopt the listener {name}")]
    Adopt {
        name: String,
        #[source]
        source: io::Error,
    },
}

impl From<StartError> for Exit {
    fn from(error: StartError) -> Self {
        Self::failed(error)
    }
}

/// The one mapping to a bus fault.
impl From<NotPublished> for Fault {
    fn from(error: NotPublished) -> Self {
        match error {
            NotPublished::Token => Self::invalid("token", error.to_string()),
            NotPublished::KeyAuthorization => Self::invalid("key_authorization", error.to_string()),
            NotPublished::Full => Self::busy(Duration::from_secs(60)),
        }
    }
}
