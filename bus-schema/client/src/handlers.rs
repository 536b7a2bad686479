//! What a service answers: one handler per command.

use crate::clock;
use futures_util::{FutureExt, future::BoxFuture};
use piccolo_bus_schema::{
    Command, Fault, ServiceName, codec,
    envelope::{Outcome, Request, Trace, VERSION},
};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

/// What a handler knows of the request besides its command.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Who asks.
    pub sender: ServiceName,
    /// The same for each repetition of one intent.
    pub idempotency_key: [u8; 16],
    pub trace: Trace,
    deadline: u64,
}

impl CallContext {
    /// What is left of the caller's patience.
    pub fn remaining(&self) -> Duration {
        clock::remaining(self.deadline).unwrap_or(Duration::ZERO)
    }
}

type Handler = Arc<dyn Fn(Vec<u8>, CallContext) -> BoxFuture<'static, Outcome> + Send + Sync>;

struct Entry {
    handler: Handler,
    callers: &'static [ServiceName],
}

/// The table from command to handler.
#[derive(Default)]
pub struct Handlers {
    table: HashMap<&'static str, Entry>,
}

impl Handlers {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handler of a command.
    ///
    /// # Panics
    /// When the command has a handler already: a defect of the program.
    #[must_use]
    pub fn on<C, F, Fut>(mut self, handler: F) -> Self
    where
        C: Command,
        F: Fn(C, CallContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C::Reply, Fault>> + Send + 'static,
    {
        let erased: Handler = Arc::new(move |body, context| match codec::decode::<C>(&body) {
            Ok(command) => handler(command, context)
                .map(|result| outcome::<C>(result))
                .boxed(),
            Err(error) => {
                tracing::warn!(command = C::NAME, sender = %context.sender, %error, "malformed command");
                let why = "the command can't be read; the services are of different versions";
                std::future::ready(Outcome::Failed(Fault::invalid(C::NAME, why))).boxed()
            }
        });
        let entry = Entry {
            handler: erased,
            callers: C::CALLERS,
        };
        assert!(
            self.table.insert(C::NAME, entry).is_none(),
            "two handlers for {}",
            C::NAME
        );
        self
    }

    /// Checks version, deadline and permission, then acts.
    pub(crate) async fn dispatch(&self, request: Request) -> Outcome {
        if request.version > VERSION {
            let why = format!(
                "bus version {} is newer than {VERSION}; update this device's services together",
                request.version
            );
            return Outcome::Failed(Fault::invalid("version", why));
        }
        let Some(entry) = self.table.get(request.command.as_str()) else {
            return Outcome::Failed(Fault::not_found(format!("command {}", request.command)));
        };
        if !entry.callers.is_empty() && !entry.callers.contains(&request.sender) {
            tracing::warn!(command = request.command, sender = %request.sender, "refused by the permission table");
            let why = format!("{} may not send {}", request.sender, request.command);
            return Outcome::Failed(Fault::Forbidden { why });
        }
        let Some(left) = clock::remaining(request.deadline) else {
            return Outcome::Failed(Fault::DeadlineExceeded);
        };
        let context = CallContext {
            sender: request.sender,
            idempotency_key: request.idempotency_key,
            trace: request.trace,
            deadline: request.deadline,
        };
        tracing::trace!(command = request.command, sender = %request.sender, ?left, "dispatch");
        (entry.handler)(request.body, context).await
    }
}

fn outcome<C: Command>(result: Result<C::Reply, Fault>) -> Outcome {
    match result {
        Ok(reply) => match codec::encode(&reply) {
            Ok(body) => Outcome::Done(body),
            Err(error) => {
                tracing::error!(command = C::NAME, %error, "reply can't be sent");
                Outcome::Failed(Fault::Internal {
                    log_id: C::NAME.to_owned(),
                })
            }
        },
        Err(fault) => Outcome::Failed(fault),
    }
}
