//! Many flows over one session, without sockets: messages in, messages and orders out.

use crate::{
    credit::{Pressure, WINDOW},
    flow::{Chunk, Due, Flow},
    frame::{self, Frame},
    message::{FromRelay, Reason, ToRelay, Transport, Visitor},
    proxy_header,
    schedule::Turns,
    settled::Settled,
    timing::Timing,
    traffic::Traffic,
};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};
use uuid::Uuid;

/// Flows at once. Each costs a descriptor and up to a mebibyte of buffers.
const MAX_FLOWS: usize = 4096;
/// Bytes of all flows that wait for the local side; above it the flow that adds more goes.
const MAX_BUFFERED: usize = 128 * 1024 * 1024;
/// Control messages waiting to be sent. Each answers a message of the relay's, so only a relay
/// that sends and does not read gets here.
const MAX_CONTROL: usize = 65_536;

/// What the shell must do for a flow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Connect it to router-proxy and write the header first.
    Open { id: Uuid, header: Vec<u8> },
    /// Pass bytes to the local side.
    Deliver { id: Uuid, bytes: Bytes },
    /// Nothing more will come: write what is there, then close.
    Finish { id: Uuid },
    /// Close at once.
    Abort { id: Uuid },
}

/// A message to be written, in the order it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A token.
    Text(String),
    Ping(Bytes),
    Binary(Bytes),
    /// The last one.
    Close,
}

/// All flows of a session.
#[derive(Debug)]
pub(crate) struct Mux {
    timing: Timing,
    traffic: Arc<Traffic>,
    flows: HashMap<Uuid, Flow>,
    settled: Settled,
    control: VecDeque<Outgoing>,
    turns: Turns,
    buffered: usize,
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.traffic.streams_closed(self.flows.len());
    }
}

impl Mux {
    /// No flows yet.
    pub(crate) fn new(timing: Timing, traffic: Arc<Traffic>, now: Instant) -> Self {
        Self {
            timing,
            traffic,
            flows: HashMap::new(),
            settled: Settled::new(now),
            control: VecDeque::new(),
            turns: Turns::default(),
            buffered: 0,
        }
    }

    /// How many flows are open or draining.
    pub(crate) fn open_flows(&self) -> usize {
        self.flows.len()
    }

    /// Does the relay send without ever reading?
    pub(crate) fn is_choked(&self) -> bool {
        self.control.len() > MAX_CONTROL
    }

    /// Queues a message of the session itself, before all data.
    pub(crate) fn say(&mut self, message: Outgoing) {
        self.control.push_back(message);
    }

    /// A binary message from the relay.
    pub(crate) fn receive(&mut self, message: Bytes, now: Instant) -> Option<Order> {
        match Frame::decode(message)? {
            Frame::Data { id, payload } => self.receive_data(id, payload, now),
            Frame::Control(FromRelay::Connect(visitor)) => self.connect(&visitor, now),
            Frame::Control(FromRelay::Disconnect { id }) => {
                self.forget(id).then_some(Order::Finish { id })
            }
            Frame::Control(FromRelay::PongClient { id }) => {
                self.flows.get_mut(&id)?.pong(now);
                None
            }
            Frame::Control(FromRelay::ResumeStream { id, credits }) => {
                if self.flows.get_mut(&id)?.grant(credits, now) {
                    self.turns.enter(id);
                }
                self.end_if_drained(id)
            }
        }
    }

    fn connect(&mut self, visitor: &Visitor, now: Instant) -> Option<Order> {
        let id = visitor.id;
        if self.flows.contains_key(&id) {
            // Of the two ways to survive a duplicate, the live flow wins.
            tracing::debug!(%id, "duplicate connect ignored");
            return None;
        }
        if visitor.transport == Transport::Udp || self.flows.len() >= MAX_FLOWS {
            self.refuse(id, Reason::LocalError);
            return None;
        }
        let header = proxy_header::encode(&visitor.client, visitor.port, &visitor.hostname);
        let Some(header) = header else {
            self.refuse(id, Reason::LocalError);
            return None;
        };
        self.flows.insert(id, Flow::new(visitor.credits, now));
        self.traffic.stream_opened();
        self.tell(ToRelay::ResumeStream {
            id,
            credits: WINDOW,
        });
        Some(Order::Open { id, header })
    }

    fn receive_data(&mut self, id: Uuid, payload: Bytes, now: Instant) -> Option<Order> {
        let Some(flow) = self.flows.get_mut(&id) else {
            if self.settled.answer_unknown(id, now) {
                self.tell(ToRelay::Disconnect {
                    id,
                    reason: Reason::Unknown,
                });
            }
            return None;
        };
        let length = payload.len();
        self.traffic.received(length);
        self.buffered += length;
        let pressure = if self.buffered > MAX_BUFFERED {
            // Its share is removed with the flow.
            let _ = flow.receive(length, now);
            Pressure::Overflow
        } else {
            flow.receive(length, now)
        };
        match pressure {
            Pressure::Overflow => return self.end(id, Reason::BufferFull),
            Pressure::Pause => self.tell(ToRelay::PauseStream { id }),
            Pressure::None => {}
        }
        if length == 0 {
            // Costs a credit like any other, and there is nothing to write.
            self.consume(id, 0);
            return None;
        }
        Some(Order::Deliver { id, bytes: payload })
    }

    /// The local side took a frame of this many bytes.
    pub(crate) fn consume(&mut self, id: Uuid, length: usize) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        self.buffered = self.buffered.saturating_sub(length);
        if let Some(credits) = flow.consume(length) {
            self.tell(ToRelay::ResumeStream { id, credits });
        }
    }

    /// Bytes from the local side.
    pub(crate) fn send(&mut self, id: Uuid, chunk: Chunk, now: Instant) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.queue(chunk, now);
            self.turns.enter(id);
        }
    }

    /// The local side has no more to say.
    pub(crate) fn end_local(&mut self, id: Uuid, reason: Reason, now: Instant) -> Option<Order> {
        self.flows.get_mut(&id)?.end_local(reason, now);
        self.turns.enter(id);
        self.end_if_drained(id)
    }

    /// router-proxy can't be reached for it.
    pub(crate) fn fail_dial(&mut self, id: Uuid) -> Option<Order> {
        self.end(id, Reason::DialFailed)
    }

    /// Looks at the clock for every flow.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Order> {
        let timing = self.timing;
        let due: Vec<(Uuid, Due)> = self
            .flows
            .iter_mut()
            .map(|(id, flow)| (*id, flow.check(now, &timing)))
            .filter(|(_, due)| *due != Due::Nothing)
            .collect();
        let mut orders = Vec::new();
        for (id, due) in due {
            match due {
                Due::Nothing => {}
                Due::Send => self.turns.enter(id),
                Due::Ask => self.tell(ToRelay::PingClient { id }),
                Due::End(reason) => orders.extend(self.end(id, reason)),
            }
        }
        orders
    }

    /// The next message to write: the session's own and control first, then the flows in turn.
    pub(crate) fn next(&mut self, now: Instant) -> (Option<Outgoing>, Option<Order>) {
        if let Some(message) = self.control.pop_front() {
            return (Some(message), None);
        }
        let flows = &mut self.flows;
        let next = self.turns.next(|id| {
            let payload = flows.get_mut(&id)?.next_payload(now)?;
            Some((id, payload))
        });
        let Some((id, payload)) = next else {
            return (None, None);
        };
        self.traffic.sent(payload.len());
        let message = Outgoing::Binary(frame::data(id, &payload));
        // To a relay that does not count, the last frame sent is the end.
        (Some(message), self.end_if_drained(id))
    }

    fn end_if_drained(&mut self, id: Uuid) -> Option<Order> {
        let reason = self.flows.get(&id)?.drained()?;
        self.end(id, reason)
    }

    fn end(&mut self, id: Uuid, reason: Reason) -> Option<Order> {
        if !self.forget(id) {
            return None;
        }
        self.tell(ToRelay::Disconnect { id, reason });
        Some(match reason {
            // The local side closed first; what the visitor said may still be on its way to it.
            Reason::Normal => Order::Finish { id },
            Reason::BufferFull
            | Reason::DialFailed
            | Reason::Timeout
            | Reason::LocalError
            | Reason::Unknown => Order::Abort { id },
        })
    }

    fn refuse(&mut self, id: Uuid, reason: Reason) {
        self.settled.insert(id);
        self.tell(ToRelay::Disconnect { id, reason });
    }

    /// Takes a flow out; false when there was none.
    fn forget(&mut self, id: Uuid) -> bool {
        let Some(flow) = self.flows.remove(&id) else {
            return false;
        };
        self.buffered = self.buffered.saturating_sub(flow.buffered());
        self.traffic.streams_closed(1);
        self.settled.insert(id);
        true
    }

    fn tell(&mut self, said: ToRelay) {
        self.control
            .push_back(Outgoing::Binary(frame::control(said)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mux(now: Instant) -> Mux {
        Mux::new(Timing::default(), Arc::default(), now)
    }

    fn control(json: &str) -> Bytes {
        Bytes::from(format!("\u{2}{json}"))
    }

    fn connect(id: Uuid) -> Bytes {
        control(&format!(
            r#"{{"event":"connect","client_id":"{id}","conn_port":443,"client_ip":"192.0.2.7:1","transport":"tcp","hostname":"a.example","credits":64}}"#
        ))
    }

    fn written(mux: &mut Mux, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| mux.next(now).0)
            .map(|message| match message {
                Outgoing::Binary(bytes) => String::from_utf8_lossy(&bytes[1..]).into_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_visitor_is_granted_a_window_and_opened_once() {
        let now = Instant::now();
        let id = Uuid::from_u128(7);
        let mut mux = mux(now);
        assert!(matches!(
            mux.receive(connect(id), now),
            Some(Order::Open { .. })
        ));
        assert_eq!(mux.receive(connect(id), now), None);
        assert_eq!(
            written(&mut mux, now),
            [format!(
                r#"{{"event":"resume_stream","client_id":"{id}","credits":64}}"#
            )]
        );
        assert_eq!(mux.traffic.read().streams, 1);
    }

    #[test]
    fn a_udp_flow_is_refused() {
        let now = Instant::now();
        let id = Uuid::from_u128(7);
        let mut mux = mux(now);
        let message = format!(
            r#"{{"event":"connect","client_id":"{id}","conn_port":53,"transport":"udp","hostname":"udp:53","credits":64}}"#
        );
        assert_eq!(mux.receive(control(&message), now), None);
        assert!(written(&mut mux, now)[0].contains("disconnect"));
        assert_eq!(mux.receive(frame::data(id, b"x"), now), None);
        assert_eq!(written(&mut mux, now), [""; 0]);
    }

    #[test]
    fn control_overtakes_data() {
        let now = Instant::now();
        let id = Uuid::from_u128(7);
        let mut mux = mux(now);
        mux.receive(connect(id), now);
        let bytes = Bytes::from_static(b"data");
        mux.send(id, Chunk { bytes, _room: None }, now);
        mux.say(Outgoing::Text("token".into()));
        let written = written(&mut mux, now);
        assert!(written[0].contains("resume_stream"));
        assert_eq!(written[1], r#"Text("token")"#);
        assert!(written[2].ends_with("data"));
    }

    #[test]
    fn what_arrives_after_the_end_is_dropped_in_silence() {
        let now = Instant::now();
        let id = Uuid::from_u128(7);
        let mut mux = mux(now);
        mux.receive(connect(id), now);
        assert_eq!(
            mux.end_local(id, Reason::Normal, now),
            Some(Order::Finish { id })
        );
        written(&mut mux, now);
        assert_eq!(mux.receive(frame::data(id, b"late"), now), None);
        let disconnect = control(&format!(r#"{{"event":"disconnect","client_id":"{id}"}}"#));
        assert_eq!(mux.receive(disconnect, now), None);
        assert_eq!(written(&mut mux, now), [""; 0]);
        assert_eq!(mux.traffic.read().streams, 0);
    }

    proptest! {
        /// Random conversations: no panic, no bytes unaccounted for, every id answered as unknown
        /// at most once.
        #[test]
        fn no_conversation_confuses_it(steps in prop::collection::vec((0_u8..9, 0_u128..4, 0_usize..3000), 0..200)) {
            let now = Instant::now();
            let mut mux = mux(now);
            let mut unknown = 0;
            for (kind, id, size) in steps {
                let id = Uuid::from_u128(id);
                match kind {
                    0 => drop(mux.receive(connect(id), now)),
                    1 => drop(mux.receive(frame::data(id, &vec![0; size]), now)),
                    2 => drop(mux.receive(control(&format!(r#"{{"event":"disconnect","client_id":"{id}"}}"#)), now)),
                    3 => drop(mux.receive(control(&format!(r#"{{"event":"resume_stream","client_id":"{id}","credits":{size}}}"#)), now)),
                    4 => mux.consume(id, size),
                    5 => mux.send(id, Chunk { bytes: vec![0; size].into(), _room: None }, now),
                    6 => drop(mux.end_local(id, Reason::Normal, now)),
                    7 => drop(mux.tick(now + std::time::Duration::from_secs(size as u64))),
                    _ => unknown += written(&mut mux, now).iter().filter(|text| text.contains("unknown")).count(),
                }
            }
            prop_assert!(unknown <= 4);
            let ids: Vec<_> = mux.flows.keys().copied().collect();
            prop_assert_eq!(mux.traffic.read().streams as usize, ids.len());
            for id in ids {
                mux.forget(id);
            }
            prop_assert_eq!(mux.traffic.read().streams, 0);
        }
    }
}
