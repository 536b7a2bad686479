//! Which session owns a name: exact names and route keys first, then wildcards of one label.

use std::collections::HashMap;

use crate::hostname::{self, Pattern};
use crate::pool::Pool;

/// Route keys of port claims.
pub fn tcp_key(port: u16) -> String {
    format!("tcp:{port}")
}

pub fn udp_key(port: u16) -> String {
    format!("udp:{port}")
}

/// All routes of this relay. `T` is a handle of a session.
#[derive(Debug)]
pub struct RouteTable<T> {
    exact: HashMap<String, Pool<T>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Pool<T>>,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }
}

impl<T: Clone> RouteTable<T> {
    /// Enters member `id` under every key: normalized names, wildcards and route keys.
    pub fn add<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a str>,
        id: u64,
        weight: u64,
        value: &T,
    ) {
        for key in keys {
            let pool = match hostname::pattern(key) {
                Pattern::Exact(name) => self.exact.entry(name).or_default(),
                Pattern::Wildcard { suffix } => self.wildcard.entry(suffix).or_default(),
                Pattern::Unmatchable => continue,
            };
            pool.add(id, weight, value.clone());
        }
    }

    /// Takes member `id` out of every pool it was entered in under `keys`.
    pub fn remove<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>, id: u64) {
        for key in keys {
            match hostname::pattern(key) {
                Pattern::Exact(name) => leave(&mut self.exact, &name, id),
                Pattern::Wildcard { suffix } => leave(&mut self.wildcard, &suffix, id),
                Pattern::Unmatchable => {}
            }
        }
    }

    /// The member that serves the next connection to `name` (normalized) or to a route key.
    pub fn pick(&mut self, name: &str) -> Option<T> {
        if let Some(pool) = self.exact.get_mut(name) {
            return pool.pick();
        }
        let (_, suffix) = name.split_once('.')?;
        self.wildcard.get_mut(suffix)?.pick()
    }

    /// Everyone under exactly this key.
    pub fn members(&self, key: &str) -> impl Iterator<Item = &T> {
        self.exact.get(key).into_iter().flat_map(Pool::members)
    }
}

fn leave<T: Clone>(pools: &mut HashMap<String, Pool<T>>, key: &str, id: u64) {
    if let Some(pool) = pools.get_mut(key) {
        pool.remove(id);
        if pool.is_empty() {
            pools.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_beats_wildcard_and_a_wildcard_covers_one_label() {
        let mut table = RouteTable::default();
        table.add(["*.example.com"], 1, 1, &"wild");
        table.add(["app.example.com", "tcp:25"], 2, 1, &"exact");
        assert_eq!(table.pick("app.example.com"), Some("exact"));
        assert_eq!(table.pick("other.example.com"), Some("wild"));
        assert_eq!(table.pick("a.b.example.com"), None);
        assert_eq!(table.pick("example.com"), None);
        assert_eq!(table.pick("tcp:25"), Some("exact"));
        table.remove(["app.example.com", "tcp:25"], 2);
        assert_eq!(table.pick("app.example.com"), Some("wild"));
        assert_eq!(table.pick("tcp:25"), None);
    }

    #[test]
    fn a_claim_on_a_whole_registry_matches_nothing() {
        let mut table = RouteTable::default();
        table.add(["*.com"], 1, 1, &());
        assert_eq!(table.pick("example.com"), None);
        assert_eq!(table.pick("*.com"), None);
    }

    #[test]
    fn a_new_session_never_displaces_an_old_one() {
        let mut table = RouteTable::default();
        table.add(["app.test"], 1, 1, &1);
        table.add(["app.test"], 2, 1, &2);
        let mut seen = [table.pick("app.test"), table.pick("app.test")];
        seen.sort_unstable();
        assert_eq!(seen, [Some(1), Some(2)]);
        assert_eq!(table.members("app.test").count(), 2);
    }
}
