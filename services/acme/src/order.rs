//! One order, step by step: each state is persisted before the outside effect that follows it.
//!
//! ```text
//!   New ─ place ─► Placed ─ publish ─► ChallengePublished ─ set ready ─► Validating
//!       ─ finalize ─► Finalizing ─ fetch, check ─► stored with its key (Idle)
//! ```
//!
//! Resuming asks the server where the order stands and goes on from there. The key is made here and
//! kept only with its certificate, so an order lost after `Finalizing` starts anew.

use crate::{directory::Directory, error::OrderError, issued, records};
use acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    control::{CertificateRecord, OrderState},
    ids::Hostname,
    route::{PublishChallenge, RemoveChallenge},
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(5);
/// The library asks again three times when its nonce was refused; a busy authority refuses more.
const NONCE_TRIES: usize = 5;
/// How long an authority may take to validate, and to issue.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(60));

/// What one order works with.
pub(crate) struct Work {
    pub(crate) bus: Bus,
    pub(crate) directory: Arc<Directory>,
    pub(crate) email: Option<String>,
    pub(crate) record: CertificateRecord,
}

/// A challenge that is being served, to be taken down at the end.
struct Served {
    host: Hostname,
    token: String,
}

impl Work {
    /// Runs the order to its end; the record as stored.
    pub(crate) async fn run(mut self) -> Result<CertificateRecord, OrderError> {
        let account = self.directory.account(self.email.as_deref()).await?;
        let mut order = match self.resume(&account).await {
            Some(order) => order,
            None => self.place(&account).await?,
        };
        let served = self.prove(&mut order).await;
        let issued = match &served {
            Ok(_) => self.finish(&mut order).await,
            Err(_) => Ok(()),
        };
        if let Ok(Some(Served { host, token })) = &served {
            let remove = RemoveChallenge {
                host: host.clone(),
                token: token.clone(),
            };
            // It expires by itself within the hour.
            let _ = self.bus.call(remove, PATIENCE).await;
        }
        served?;
        issued?;
        Ok(self.record)
    }

    async fn persist(&mut self, state: OrderState) -> Result<(), OrderError> {
        tracing::info!(host = %self.record.host, ?state, "order");
        self.record.order = state;
        records::put(&self.bus, self.record.clone()).await?;
        Ok(())
    }

    /// The order of an earlier life, if the server still knows it and it can be gone on with.
    async fn resume(&self, account: &Account) -> Option<Order> {
        let url = match &self.record.order {
            OrderState::Placed { order_url }
            | OrderState::ChallengePublished { order_url, .. }
            | OrderState::Validating { order_url } => order_url.clone(),
            OrderState::Idle
            | OrderState::New
            | OrderState::Finalizing { .. }
            | OrderState::Issued { .. } => return None,
        };
        let mut order = account.order(url).await.ok()?;
        match order.state().status {
            OrderStatus::Pending | OrderStatus::Ready => Some(order),
            OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid => None,
        }
    }

    async fn place(&mut self, account: &Account) -> Result<Order, OrderError> {
        self.persist(OrderState::New).await?;
        let identifiers = [Identifier::Dns(self.record.host.to_string())];
        let mut tries = 0;
        let order = loop {
            tries += 1;
            match account.new_order(&NewOrder::new(&identifiers)).await {
                Err(error) if is_bad_nonce(&error) && tries < NONCE_TRIES => {}
                outcome => break outcome?,
            }
        };
        self.persist(OrderState::Placed {
            order_url: order.url().to_owned(),
        })
        .await?;
        Ok(order)
    }

    /// Proves control of the name by HTTP-01 (RFC 8555 section 8.3).
    async fn prove(&mut self, order: &mut Order) -> Result<Option<Served>, OrderError> {
        if order.state().status == OrderStatus::Ready {
            return Ok(None);
        }
        let order_url = order.url().to_owned();
        let mut served = None;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let mut challenge = authorization
                .challenge(ChallengeType::Http01)
                .ok_or(OrderError::NoChallenge)?;
            let token = challenge.token.clone();
            let key_authorization = challenge.key_authorization().as_str().to_owned();
            let host = self.record.host.clone();
            served = Some(Served {
                host: host.clone(),
                token: token.clone(),
            });
            self.persist(OrderState::ChallengePublished {
                order_url: order_url.clone(),
                token: token.clone(),
            })
            .await?;
            let publish = PublishChallenge {
                host,
                token,
                key_authorization,
            };
            self.bus.call(publish, PATIENCE).await?;
            self.persist(OrderState::Validating {
                order_url: order_url.clone(),
            })
            .await?;
            let mut tries = 0;
            loop {
                tries += 1;
                match challenge.set_ready().await {
                    Err(error) if is_bad_nonce(&error) && tries < NONCE_TRIES => {}
                    outcome => break outcome?,
                }
            }
        }
        match order.poll_ready(&POLL).await? {
            OrderStatus::Ready | OrderStatus::Valid => Ok(served),
            OrderStatus::Pending | OrderStatus::Processing => Err(OrderError::TooLate),
            OrderStatus::Invalid => Err(OrderError::Challenge(refusal(order).await)),
        }
    }

    async fn finish(&mut self, order: &mut Order) -> Result<(), OrderError> {
        let key_error = |error: rcgen::Error| OrderError::Key(error.to_string());
        let key = KeyPair::generate().map_err(key_error)?;
        let mut params =
            CertificateParams::new([self.record.host.to_string()]).map_err(key_error)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(key_error)?;
        let order_url = order.url().to_owned();
        self.persist(OrderState::Finalizing { order_url }).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match order.finalize_csr(request.der()).await {
                Err(error) if is_bad_nonce(&error) && tries < NONCE_TRIES => {}
                outcome => break outcome?,
            }
        }
        let chain_pem = order.poll_certificate(&POLL).await?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let facts = issued::check(&chain_pem, &key_pem)?;
        let record = CertificateRecord {
            host: self.record.host.clone(),
            chain_pem: Some(chain_pem),
            issuer: Some(facts.issuer),
            issued_at: Some(facts.issued_at),
            expires_at: Some(facts.expires_at),
            generation: self.record.generation + 1,
            order: OrderState::Idle,
            attempts: 0,
            next_attempt: None,
            last_error: None,
        };
        let key_pem = Zeroizing::new(key_pem.as_bytes().to_vec());
        records::put_issued(&self.bus, record.clone(), key_pem).await?;
        tracing::info!(host = %record.host, generation = record.generation, "certificate stored");
        self.record = record;
        Ok(())
    }
}

fn is_bad_nonce(error: &acme::Error) -> bool {
    matches!(error, acme::Error::Api(problem)
        if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce"))
}

/// The server's own words about a failed challenge.
async fn refusal(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        for challenge in &authorization.challenges {
            if let Some(detail) = challenge
                .error
                .as_ref()
                .and_then(|error| error.detail.clone())
            {
                return detail;
            }
        }
    }
    "it gave no reason".to_owned()
}
