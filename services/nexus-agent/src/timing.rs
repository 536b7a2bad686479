//! How long things take: every interval and bound of the tunnel in one place.

use std::time::Duration;

/// The intervals of a session. Tests shorten them; the device uses the default.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Name resolution, TCP, TLS and upgrade together.
    pub dial: Duration,
    /// From the first token to the relay's challenge. The relay itself gives up after 10 s.
    pub challenge: Duration,
    /// Silence that counts as consent: a relay never acknowledges (protocol, 2.1).
    pub consent: Duration,
    /// How often timers are looked at.
    pub tick: Duration,
    /// Our own pings.
    pub ping: Duration,
    /// Without any message for this long the session is dead; below 15 s with dial and tick.
    pub dead: Duration,
    /// One message into the socket.
    pub write: Duration,
    /// The relay discards an answer that arrives together with its question (protocol, 2.5).
    pub reauth_delay: Duration,
    /// A polite WebSocket close.
    pub close: Duration,
    /// How long a session with old names serves what it has.
    pub drain_session: Duration,
    /// How long such a session must be quiet to be closed, while it is young.
    pub quiet: Duration,
    /// Patience with a router-proxy that is being restarted.
    pub dial_local: Duration,
    /// What is left for the local side is written within this time after the visitor has gone.
    pub finish_local: Duration,
    /// A flow without data for this long is asked after.
    pub idle: Duration,
    /// The answer to that question.
    pub pong: Duration,
    /// Out of credit for this long: one credit is taken on trust, once a stall.
    pub probe: Duration,
    /// A drain without an answer for this long gets more empty frames.
    pub drain_stall: Duration,
    /// A drain without progress for this long is given up.
    pub drain: Duration,
    /// A session that lived this long was a good one: the next attempt is immediate.
    pub stable: Duration,
    /// First wait before anything ever worked.
    pub first_backoff: Duration,
    /// First wait afterwards.
    pub backoff: Duration,
    /// Longest wait.
    pub backoff_limit: Duration,
    /// Shortest wait after a refusal: fresh tokens of the same secret will hardly do better.
    pub refusal_backoff: Duration,
    /// How often a clock that is not set is looked at again.
    pub clock: Duration,
    /// Changes of names are collected for this long.
    pub debounce: Duration,
    /// The truth is read again this often even if no event asks for it.
    pub reread: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(15),
            challenge: Duration::from_secs(15),
            consent: Duration::from_secs(2),
            tick: Duration::from_millis(250),
            ping: Duration::from_secs(5),
            dead: Duration::from_secs(12),
            write: Duration::from_secs(10),
            reauth_delay: Duration::from_millis(25),
            close: Duration::from_secs(1),
            drain_session: Duration::from_secs(300),
            quiet: Duration::from_secs(2),
            dial_local: Duration::from_secs(3),
            finish_local: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            pong: Duration::from_secs(5),
            probe: Duration::from_secs(10),
            drain_stall: Duration::from_secs(2),
            drain: Duration::from_secs(30),
            stable: Duration::from_secs(30),
            first_backoff: Duration::from_secs(1),
            backoff: Duration::from_secs(5),
            backoff_limit: Duration::from_secs(60),
            refusal_backoff: Duration::from_secs(15),
            clock: Duration::from_secs(1),
            debounce: Duration::from_millis(200),
            reread: Duration::from_secs(30),
        }
    }
}
