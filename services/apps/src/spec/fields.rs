//! A mapping of the spec being read: typed fields, and every problem with its path. Pure.

use super::{nearest::nearest, size};
use piccolo_bus_schema::app::Problem;
use serde_yaml_ng::{Mapping, Value};
use std::cell::RefCell;

/// Problems of the whole text, in the order they are met.
#[derive(Default)]
pub(super) struct Problems {
    list: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(super) fn add(&self, path: impl Into<String>, message: impl Into<String>) {
        self.list.borrow_mut().push(Problem {
            path: path.into(),
            message: message.into(),
        });
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.list.into_inner()
    }
}

/// One mapping.
pub(super) struct Fields<'a> {
    mapping: Option<&'a Mapping>,
    path: String,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    /// Takes a value that must be a mapping (or nothing) with known keys; `x-*` is free.
    pub(super) fn of(
        value: Option<&'a Value>,
        path: impl Into<String>,
        known: &[&str],
        problems: &'a Problems,
    ) -> Self {
        let path = path.into();
        let mapping = match value {
            None | Some(Value::Null) => None,
            Some(Value::Mapping(mapping)) => Some(mapping),
            Some(_) => {
                problems.add(&path, "must be a mapping");
                None
            }
        };
        let fields = Self {
            mapping,
            path,
            problems,
        };
        fields.check_keys(known);
        fields
    }

    fn check_keys(&self, known: &[&str]) {
        for key in self.mapping.into_iter().flat_map(Mapping::keys) {
            let Value::String(key) = key else {
                self.problems.add(&self.path, "keys must be text");
                continue;
            };
            if known.contains(&key.as_str()) || key.starts_with("x-") {
                continue;
            }
            let message = match nearest(key, known) {
                Some(meant) => format!("is not a known field; did you mean `{meant}`?"),
                None => format!("is not a known field; known are {}", known.join(", ")),
            };
            self.problems.add(self.at(key), message);
        }
    }

    /// The path of a field.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.mapping?.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.problems.add(self.at(key), message);
    }

    /// A field this version has no effect for yet: refused, unless it says what is so anyway.
    pub(super) fn unsupported(&self, key: &str) {
        if self.get(key).is_some() {
            self.problem(key, "is not supported yet");
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.problem(key, "must be text");
                None
            }
        }
    }

    pub(super) fn required_text(&self, key: &str) -> Option<&'a str> {
        if self.get(key).is_none() {
            self.problem(key, "is required");
        }
        self.text(key)
    }

    /// Text that is parsed; the problem is the rule's own words.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.text(key)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(key, message);
                None
            }
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.problem(key, "must be true or false");
                None
            }
        }
    }

    /// `allow` or `deny`.
    pub(super) fn permission(&self, key: &str) -> Option<bool> {
        match self.text(key)? {
            "allow" => Some(true),
            "deny" => Some(false),
            _ => {
                self.problem(key, "must be allow or deny");
                None
            }
        }
    }

    pub(super) fn number(&self, key: &str, least: u64, most: u64) -> Option<u64> {
        let value = self.get(key)?;
        match value
            .as_u64()
            .filter(|number| (least..=most).contains(number))
        {
            Some(number) => Some(number),
            None => {
                self.problem(
                    key,
                    format!("must be a whole number from {least} to {most}"),
                );
                None
            }
        }
    }

    pub(super) fn port(&self, key: &str) -> Option<u16> {
        self.number(key, 1, 65_535)
            .and_then(|port| u16::try_from(port).ok())
    }

    pub(super) fn size(&self, key: &str) -> Option<u64> {
        self.parsed(key, |text| {
            size::parse(text).ok_or_else(|| "must be a size such as 64MB or 1.5GiB".to_owned())
        })
    }

    pub(super) fn list(&self, key: &str) -> &'a [Value] {
        match self.get(key) {
            None => &[],
            Some(Value::Sequence(list)) => list,
            Some(_) => {
                self.problem(key, "must be a list");
                &[]
            }
        }
    }

    /// A mapping of free names to values.
    pub(super) fn entries(&self, key: &str) -> Vec<(&'a str, &'a Value)> {
        match self.get(key) {
            None => Vec::new(),
            Some(Value::Mapping(mapping)) => mapping
                .iter()
                .filter_map(|(name, value)| match name {
                    Value::String(name) => Some((name.as_str(), value)),
                    _ => {
                        self.problem(key, "keys must be text");
                        None
                    }
                })
                .collect(),
            Some(_) => {
                self.problem(key, "must be a mapping");
                Vec::new()
            }
        }
    }
}
