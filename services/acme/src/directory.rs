//! The ACME directory and our account there.

use crate::{Config, error::OrderError, records};
use acme::{Account, AccountCredentials, NewAccount};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    control::{ReadSecret, SecretName},
};
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(5);

/// Finds or makes the account, once per process.
pub(crate) struct Directory {
    config: Config,
    bus: Bus,
    account: Mutex<Option<Account>>,
}

impl Directory {
    pub(crate) fn new(config: Config, bus: Bus) -> Self {
        Self {
            config,
            bus,
            account: Mutex::new(None),
        }
    }

    /// Our account: the stored one if it is of this directory, otherwise a new one, stored before
    /// it is used.
    pub(crate) async fn account(&self, email: Option<&str>) -> Result<Account, OrderError> {
        let mut account = self.account.lock().await;
        if let Some(account) = account.as_ref() {
            return Ok(account.clone());
        }
        let opened = match self.stored().await? {
            Some(credentials) => self.builder()?.from_credentials(credentials).await?,
            None => self.create(email).await?,
        };
        Ok(account.insert(opened).clone())
    }

    /// The account is asked for anew after a refusal that may be about the account, and after a
    /// lock.
    pub(crate) async fn forget_account(&self) {
        *self.account.lock().await = None;
    }

    /// Makes a new account even though one is stored: a test authority forgets its accounts.
    pub(crate) async fn renew_account(&self, email: Option<&str>) -> Result<(), OrderError> {
        let mut account = self.account.lock().await;
        *account = Some(self.create(email).await?);
        Ok(())
    }

    fn builder(&self) -> Result<acme::AccountBuilder, OrderError> {
        Ok(match &self.config.ca_file {
            Some(path) => Account::builder_with_root(path)?,
            None => Account::builder()?,
        })
    }

    async fn stored(&self) -> Result<Option<AccountCredentials>, OrderError> {
        let read = ReadSecret {
            name: SecretName::AcmeAccount,
        };
        let ticket = match self.bus.call(read, PATIENCE).await {
            Ok(ticket) => ticket,
            Err(Fault::NotFound { .. }) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        let bytes = self.bus.claim_secret(&ticket).await?;
        let Ok(credentials) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
            tracing::warn!("the stored account can't be read; a new one is made");
            return Ok(None);
        };
        if credentials["directory"] != self.config.directory.as_str() {
            tracing::info!("the stored account is of another directory; a new one is made");
            return Ok(None);
        }
        Ok(serde_json::from_value(credentials).ok())
    }

    async fn create(&self, email: Option<&str>) -> Result<Account, OrderError> {
        let contact = email.map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.config.directory.clone();
        let (account, credentials) = self.builder()?.create(&new, directory, None).await?;
        let json =
            serde_json::to_vec(&credentials).map_err(|error| OrderError::Key(error.to_string()))?;
        records::put_account(&self.bus, Zeroizing::new(json)).await?;
        tracing::info!("made an account at the certificate authority");
        Ok(account)
    }
}
