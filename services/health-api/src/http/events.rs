//! `/api/v1/events`: server-sent events with resume
//! (https://html.spec.whatwg.org/multipage/server-sent-events.html).

use crate::{
    App,
    events::{Entry, Hub, Start},
};
use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use http::HeaderMap;
use piccolo_bus_schema::{Topic, lock::LockState};
use std::{collections::VecDeque, convert::Infallible, time::Duration};
use tokio::sync::broadcast::{self, error::RecvError};

const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: &str = "last-event-id";

/// GET `/api/v1/events`.
pub(crate) async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    let Start { missed, entries } = app.hub.start(last);
    let mut waiting = VecDeque::new();
    match missed {
        Some(missed) => waiting.extend(missed.into_iter().map(Step::Entry)),
        None => waiting.push_back(Step::Reset),
    }
    let reader = Reader {
        app,
        entries,
        waiting,
        ended: false,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat"))
}

enum Step {
    Entry(Entry),
    /// What was missed can't be told: list everything again.
    Reset,
}

struct Reader {
    app: App,
    entries: broadcast::Receiver<Entry>,
    waiting: VecDeque<Step>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        if let Some(step) = self.waiting.pop_front() {
            return Some(self.event(&step));
        }
        match self.entries.recv().await {
            Ok(entry) => {
                // The lock event is the last one: no session lives through it.
                self.ended = entry.name == Topic::LockChanged.as_str()
                    && self.app.picture.lock() != Some(LockState::Unlocked);
                Some(self.event(&Step::Entry(entry)))
            }
            Err(RecvError::Lagged(_)) => Some(self.event(&Step::Reset)),
            Err(RecvError::Closed) => None,
        }
    }

    fn event(&self, step: &Step) -> Event {
        let hub: &Hub = &self.app.hub;
        match step {
            Step::Entry(entry) => Event::default()
                .id(hub.id(entry.sequence))
                .event(entry.name)
                .data(entry.data.as_ref()),
            Step::Reset => Event::default().event("reset").data("{}"),
        }
    }
}
