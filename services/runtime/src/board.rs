//! The health board: what a service says of itself and its parts.

use crate::clock;
use piccolo_bus_schema::health::{Component, Level};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all tasks of a service; answered to every `health.report`.
#[derive(Clone, Default)]
pub struct Board {
    components: Arc<Mutex<Vec<Component>>>,
}

impl Board {
    /// An empty board.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a component's level and message. `since` moves only when the level does; the order of
    /// first mention is kept, so mention the service itself first.
    pub fn set(&self, name: &str, level: Level, message: impl Into<String>) {
        self.update(name, |component| {
            if component.level != level {
                component.level = level;
                component.since = clock::now();
            }
            component.message = message.into();
        });
    }

    /// `set` at level ok.
    pub fn ok(&self, name: &str, message: impl Into<String>) {
        self.set(name, Level::Ok, message);
    }

    /// Sets the role of a component: `leader` or `follower`.
    pub fn set_role(&self, name: &str, role: &str) {
        self.update(name, |component| component.role = Some(role.to_owned()));
    }

    /// Sets one fact of a component.
    pub fn set_detail(&self, name: &str, key: &str, value: impl Into<String>) {
        let value = value.into();
        self.update(name, |component| {
            match component.details.iter_mut().find(|(known, _)| known == key) {
                Some(detail) => detail.1 = value,
                None => component.details.push((key.to_owned(), value)),
            }
        });
    }

    /// All components.
    pub fn report(&self) -> Vec<Component> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut Component)) {
        let mut components = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let position = components
            .iter()
            .position(|component| component.name == name);
        let position = position.unwrap_or_else(|| {
            components.push(Component {
                name: name.to_owned(),
                level: Level::Ok,
                message: String::new(),
                role: None,
                since: clock::now(),
                details: Vec::new(),
            });
            components.len() - 1
        });
        change(&mut components[position]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_keeps_its_place_and_its_details() {
        let board = Board::new();
        board.ok("store", "serving");
        board.ok("fuse", "present");
        board.set_detail("store", "revision", "1");
        board.set_detail("store", "revision", "2");
        board.set("store", Level::Error, "the database is damaged");
        let report = board.report();
        assert_eq!(report[0].name, "store");
        assert_eq!(report[0].level, Level::Error);
        assert_eq!(
            report[0].details,
            vec![("revision".to_owned(), "2".to_owned())]
        );
        assert_eq!(report[1].name, "fuse");
    }
}
