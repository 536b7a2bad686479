//! One authenticated backend: its claims, its lanes, its flows, and what its messages do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::debug;
use uuid::Uuid;

use crate::claims::Claims;
use crate::control::{self, Notice, Request};
use crate::flow::{End, Flow};
use crate::frame::{self, Frame};
use crate::lanes::{LaneFull, Lanes};

/// A session's number in logs and pools; counted from the relay's start.
pub type SessionId = u64;

/// Shared by the backend's connection and by every user connection it serves.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub claims: Claims,
    pub lanes: Lanes,
    flows: Mutex<Flows>,
    /// Present while a challenge waits for its answer.
    answer: Mutex<Option<oneshot::Sender<String>>>,
}

#[derive(Debug, Default)]
struct Flows {
    by_id: HashMap<Uuid, Slot>,
    ended: bool,
}

/// What a client id stands for.
#[derive(Debug)]
enum Slot {
    Live(Arc<Flow>),
    /// Outbound: the relay is dialing.
    Dialing,
    /// Outbound and connected: counts against the limit.
    LiveOutbound(Arc<Flow>),
}

/// Why a flow could not be entered.
#[derive(Debug, PartialEq, Eq)]
pub enum Unregistered {
    SessionEnded,
    IdInUse,
    /// Too many outbound connections.
    Limit,
}

/// A request that needs more than this session's tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Dial {
    pub client: Uuid,
    pub target: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub fn new(id: SessionId, claims: Claims, lanes: Lanes) -> Self {
        Self {
            id,
            claims,
            lanes,
            flows: Mutex::default(),
            answer: Mutex::default(),
        }
    }

    /// Enters a user's flow, before its `connect` is queued: an answer may come at once.
    pub fn register(&self, flow: &Arc<Flow>) -> Result<(), Unregistered> {
        let mut flows = lock(&self.flows);
        if flows.ended {
            return Err(Unregistered::SessionEnded);
        }
        if flows.by_id.contains_key(&flow.id) {
            return Err(Unregistered::IdInUse);
        }
        flows.by_id.insert(flow.id, Slot::Live(Arc::clone(flow)));
        Ok(())
    }

    /// Keeps a place for an outbound connection while it is dialed.
    pub fn reserve(&self, client: Uuid, limit: Option<usize>) -> Result<(), Unregistered> {
        let mut flows = lock(&self.flows);
        if flows.ended {
            return Err(Unregistered::SessionEnded);
        }
        let outbound = flows
            .by_id
            .values()
            .filter(|slot| !matches!(slot, Slot::Live(_)))
            .count();
        if limit.is_some_and(|limit| outbound >= limit) {
            return Err(Unregistered::Limit);
        }
        if flows.by_id.contains_key(&client) {
            return Err(Unregistered::IdInUse);
        }
        flows.by_id.insert(client, Slot::Dialing);
        Ok(())
    }

    /// Turns a reserved place into a flow.
    pub fn fulfil(&self, flow: &Arc<Flow>) -> Result<(), Unregistered> {
        let mut flows = lock(&self.flows);
        if flows.ended {
            return Err(Unregistered::SessionEnded);
        }
        flows
            .by_id
            .insert(flow.id, Slot::LiveOutbound(Arc::clone(flow)));
        Ok(())
    }

    /// Gives a reserved place back.
    pub fn abandon(&self, client: Uuid) {
        let mut flows = lock(&self.flows);
        if matches!(flows.by_id.get(&client), Some(Slot::Dialing)) {
            flows.by_id.remove(&client);
        }
    }

    /// Takes `flow` out of the table.
    pub fn release(&self, flow: &Arc<Flow>) {
        let mut flows = lock(&self.flows);
        // The id may already belong to a newer flow.
        let mine = flows
            .live(flow.id)
            .is_some_and(|live| Arc::ptr_eq(&live, flow));
        if mine {
            flows.by_id.remove(&flow.id);
        }
    }

    /// Tells the backend that `flow` is over, if it does not know yet, behind all data of the
    /// flow. A `disconnect` that finds no room is lost for good; the backend has `ping_client` for
    /// that.
    pub async fn report_end(&self, flow: &Flow, end: End) {
        let told = !end.is_news_to_backend()
            || self
                .lanes
                .notify_soon(flow.id, &Notice::Disconnect)
                .await
                .is_ok();
        debug!(session = self.id, client = %flow.id, ?end, told, "flow ended");
    }

    /// Ends every flow and refuses new ones.
    pub fn end_flows(&self) {
        let slots = {
            let mut flows = lock(&self.flows);
            flows.ended = true;
            std::mem::take(&mut flows.by_id)
        };
        for slot in slots.into_values() {
            if let Slot::Live(flow) | Slot::LiveOutbound(flow) = slot {
                flow.finish(End::SessionEnded);
            }
        }
    }

    /// Acts on one binary message. What the protocol ignores is ignored with a log line.
    pub fn receive(&self, message: Bytes) -> Option<Dial> {
        match frame::decode(message) {
            Ok(Frame::Data { client, payload }) => {
                if let Some(flow) = lock(&self.flows).live(client) {
                    flow.deliver(payload);
                }
                None
            }
            Ok(Frame::Control(json)) => match control::decode(&json) {
                Ok((client, request)) => self.obey(client, request),
                Err(error) => {
                    debug!(session = self.id, %error, "control message dropped");
                    None
                }
            },
            Err(junk) => {
                debug!(session = self.id, %junk, "message ignored");
                None
            }
        }
    }

    fn obey(&self, client: Uuid, request: Request) -> Option<Dial> {
        match request {
            Request::OutboundConnect { target } => return Some(Dial { client, target }),
            Request::Disconnect { reason } => self.disconnect(client, &reason),
            Request::PingClient => {
                // No answer at all is the answer for a flow that is gone.
                if lock(&self.flows).live(client).is_some() {
                    let _: Result<(), LaneFull> = self.lanes.notify(client, &Notice::PongClient);
                }
            }
            Request::PauseStream { .. } => {
                if let Some(flow) = lock(&self.flows).live(client) {
                    flow.pause();
                }
            }
            Request::ResumeStream { credits } => {
                if let Some(flow) = lock(&self.flows).live(client) {
                    flow.resume(credits);
                }
            }
            Request::Unknown { event } => debug!(session = self.id, event, "event ignored"),
        }
        None
    }

    /// Out of the table at once: what the backend sends after its `disconnect` is dropped. While
    /// an outbound connection is dialed, `disconnect` is ignored.
    fn disconnect(&self, client: Uuid, reason: &str) {
        let mut flows = lock(&self.flows);
        let Some(flow) = flows.live(client) else {
            return;
        };
        flows.by_id.remove(&client);
        debug!(session = self.id, %client, reason, "backend disconnects flow");
        flow.finish(End::ByBackend);
    }

    /// Expects the next text message to answer a challenge. Must be called before the challenge is
    /// queued, or a quick answer would be taken for an unasked one.
    pub fn expect_answer(&self) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        *lock(&self.answer) = Some(sender);
        receiver
    }

    /// Hands over a text message. Only one is read per challenge; unasked ones are ignored.
    pub fn answer(&self, token: String) {
        let unasked = match lock(&self.answer).take() {
            Some(waiting) => waiting.send(token).is_err(),
            None => true,
        };
        if unasked {
            debug!(
                session = self.id,
                "text message ignored: no challenge is pending"
            );
        }
    }
}

impl Flows {
    fn live(&self, client: Uuid) -> Option<Arc<Flow>> {
        match self.by_id.get(&client)? {
            Slot::Live(flow) | Slot::LiveOutbound(flow) => Some(Arc::clone(flow)),
            Slot::Dialing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{self, LaneEnds, Outgoing};
    use std::collections::{BTreeMap, BTreeSet};

    fn session() -> (Session, LaneEnds) {
        let claims = Claims {
            hostnames: BTreeSet::new(),
            tcp_ports: BTreeSet::new(),
            udp_routes: BTreeMap::new(),
            outbound: false,
            outbound_ports: BTreeSet::new(),
            weight: None,
            reauth: None,
        };
        let (lanes, ends) = lanes::lanes();
        (Session::new(1, claims, lanes), ends)
    }

    fn say(session: &Session, client: Uuid, event: &str) -> Option<Dial> {
        let json = format!(r#"{{"event":"{event}","client_id":"{client}"}}"#);
        session.receive(frame::control(&json))
    }

    #[test]
    fn only_a_living_flow_is_answered_with_a_pong() {
        let (session, mut ends) = session();
        let (flow, _queue) = Flow::new(Uuid::from_u128(5));
        say(&session, flow.id, "ping_client");
        assert_eq!(ends.ready().count(), 0);
        session.register(&flow).unwrap();
        say(&session, flow.id, "ping_client");
        let pong = frame::control(&control::encode(flow.id, &Notice::PongClient));
        assert_eq!(ends.ready().collect::<Vec<_>>(), [Outgoing::Binary(pong)]);
    }

    #[test]
    fn data_after_disconnect_reaches_nobody_and_the_id_may_be_used_again() {
        let (session, _ends) = session();
        let (old, mut old_queue) = Flow::new(Uuid::from_u128(5));
        session.register(&old).unwrap();
        say(&session, old.id, "disconnect");
        session.receive(frame::data(old.id, b"late"));
        assert!(old_queue.try_recv().is_err());
        let (new, mut new_queue) = Flow::new(old.id);
        session.register(&new).unwrap();
        session.release(&old);
        session.receive(frame::data(new.id, b"fresh"));
        assert_eq!(new_queue.try_recv().unwrap(), "fresh");
    }

    #[test]
    fn dialing_connections_count_and_ignore_disconnect() {
        let (session, _ends) = session();
        let client = Uuid::from_u128(9);
        session.reserve(client, Some(1)).unwrap();
        assert_eq!(
            session.reserve(Uuid::from_u128(10), Some(1)),
            Err(Unregistered::Limit)
        );
        assert_eq!(session.reserve(client, None), Err(Unregistered::IdInUse));
        say(&session, client, "disconnect");
        assert_eq!(session.reserve(client, None), Err(Unregistered::IdInUse));
        session.abandon(client);
        assert_eq!(session.reserve(client, Some(1)), Ok(()));
    }

    #[tokio::test]
    async fn an_ended_session_ends_its_flows_and_takes_no_more() {
        let (session, _ends) = session();
        let (flow, _queue) = Flow::new(Uuid::from_u128(5));
        session.register(&flow).unwrap();
        session.end_flows();
        assert_eq!(flow.finished().await, End::SessionEnded);
        assert_eq!(session.register(&flow), Err(Unregistered::SessionEnded));
    }

    #[tokio::test]
    async fn only_one_text_answers_a_challenge() {
        let (session, _ends) = session();
        session.answer("unasked".to_owned());
        let answer = session.expect_answer();
        session.answer("first".to_owned());
        session.answer("second".to_owned());
        assert_eq!(answer.await.unwrap(), "first");
    }
}
