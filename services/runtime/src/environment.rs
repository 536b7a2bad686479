//! The settings piccolod resolved for this process: `PICCOLO_<SECTION>_<KEY>` variables.

use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf, str::FromStr};

/// A setting is missing or breaks its rule. Ends the process with exit code 78.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    #[error("{key} is not set; start this service through piccolod")]
    Missing { key: String },
    #[error("{key}={value:?} {rule}")]
    Rule {
        key: String,
        value: String,
        rule: String,
    },
}

/// All `PICCOLO_*` variables of this process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process's environment.
    pub fn of_process() -> Self {
        Self::of(std::env::vars())
    }

    /// Keeps the `PICCOLO_*` variables of a list.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables
            .into_iter()
            .filter(|(key, _)| key.starts_with("PICCOLO_"))
            .collect();
        Self { variables }
    }

    /// The text of a setting, without its prefix: `text("STATE_DIR")`. Empty counts as unset.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.variables
            .get(&format!("PICCOLO_{key}"))
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The text of a setting that must be there.
    pub fn required(&self, key: &str) -> Result<&str, InvalidSetting> {
        self.text(key).ok_or_else(|| InvalidSetting::Missing {
            key: format!("PICCOLO_{key}"),
        })
    }

    /// A setting that is parsed.
    pub fn parse<T: FromStr>(&self, key: &str, rule: &str) -> Result<Option<T>, InvalidSetting> {
        self.text(key)
            .map(|value| value.parse().map_err(|_| self.rule(key, value, rule)))
            .transpose()
    }

    /// An inclusive range of ports such as `15000-25000`.
    pub fn port_range(&self, key: &str) -> Result<RangeInclusive<u16>, InvalidSetting> {
        let value = self.required(key)?;
        let range = value.split_once('-').and_then(|(first, last)| {
            let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
            (!range.is_empty() && *range.start() > 0).then_some(range)
        });
        range.ok_or_else(|| self.rule(key, value, "must be FIRST-LAST, two ports"))
    }

    /// A comma-separated list; empty when unset.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.text(key).unwrap_or_default().split(',');
        items
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Where everything durable lives.
    pub fn state_dir(&self) -> Result<PathBuf, InvalidSetting> {
        self.required("STATE_DIR").map(PathBuf::from)
    }

    /// Where sockets live.
    pub fn runtime_dir(&self) -> Result<PathBuf, InvalidSetting> {
        self.required("RUNTIME_DIR").map(PathBuf::from)
    }

    fn rule(&self, key: &str, value: &str, rule: &str) -> InvalidSetting {
        InvalidSetting::Rule {
            key: format!("PICCOLO_{key}"),
            value: value.to_owned(),
            rule: rule.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(key: &str, value: &str) -> Environment {
        Environment::of([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_port_range_needs_two_ports_in_order() {
        let good = environment("PICCOLO_PORTS_PUBLIC", "35000-45000");
        assert_eq!(good.port_range("PORTS_PUBLIC"), Ok(35000..=45000));
        for bad in ["35000", "45000-35000", "0-10", "a-b", "1-70000"] {
            let environment = environment("PICCOLO_PORTS_PUBLIC", bad);
            assert!(environment.port_range("PORTS_PUBLIC").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_setting_names_its_variable() {
        let error = Environment::default()
            .state_dir()
            .expect_err("nothing is set");
        assert!(error.to_string().contains("PICCOLO_STATE_DIR"));
    }
}
