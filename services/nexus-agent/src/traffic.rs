//! Live numbers of the tunnel, written by sessions and read by whoever asks.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters over all sessions of one connected period.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    streams: AtomicU32,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Microseconds; zero: not measured yet.
    round_trip: AtomicU64,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) streams: u32,
    /// From visitors.
    pub(crate) bytes_in: u64,
    /// To visitors.
    pub(crate) bytes_out: u64,
    pub(crate) round_trip_us: Option<u64>,
}

impl Traffic {
    /// A new connected period. Open streams are counted by their own coming and going.
    pub(crate) fn restart(&self) {
        self.bytes_in.store(0, Relaxed);
        self.bytes_out.store(0, Relaxed);
        self.round_trip.store(0, Relaxed);
    }

    /// The numbers now.
    pub(crate) fn read(&self) -> Reading {
        let round_trip = self.round_trip.load(Relaxed);
        Reading {
            streams: self.streams.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            round_trip_us: (round_trip > 0).then_some(round_trip),
        }
    }

    pub(crate) fn stream_opened(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    pub(crate) fn streams_closed(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.streams.fetch_sub(count, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn ponged(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(micros.max(1), Relaxed);
    }
}
