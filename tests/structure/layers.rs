//! Arrows between crates: a service depends on the words, the bus and the runtime, never on another
//! service.

use std::{collections::BTreeMap, process::Command};

/// What each of our crates may depend on among our crates.
const ALLOWED: &[(&str, &[&str])] = &[
    ("piccolo-bus-schema", &[]),
    ("piccolo-bus-client", &["piccolo-bus-schema"]),
    (
        "piccolo-runtime",
        &["piccolo-bus-client", "piccolo-bus-schema"],
    ),
    ("piccolod", &["piccolo-bus-schema"]),
    ("piccoloctl", &["piccolo-bus-schema"]),
    ("nexus-relay", &[]),
    ("piccolo-tests", &["piccolo-bus-schema"]),
];

const SERVICE: &[&str] = &[
    "piccolo-bus-client",
    "piccolo-bus-schema",
    "piccolo-runtime",
];

const SERVICES: [&str; 7] = [
    "piccolo-store",
    "piccolo-apps",
    "piccolo-router-proxy",
    "piccolo-nexus-agent",
    "piccolo-acme",
    "piccolo-health-api",
    "piccolo-host",
];

fn packages() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(piccolo_tests::image::checkout())
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let dependencies = dependencies
                .iter()
                .map(|dependency| text(&dependency["name"]));
            (text(&package["name"]), dependencies.collect())
        })
        .collect()
}

#[test]
fn no_service_depends_on_another_service() {
    let packages = packages();
    for (name, dependencies) in &packages {
        let allowed = if SERVICES.contains(&name.as_str()) {
            SERVICE
        } else {
            let known = ALLOWED.iter().find(|(crate_name, _)| crate_name == name);
            known
                .unwrap_or_else(|| panic!("{name} has no place in the plan"))
                .1
        };
        let ours = dependencies
            .iter()
            .filter(|dependency| packages.contains_key(*dependency));
        for dependency in ours {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not use {dependency}"
            );
        }
    }
}

#[test]
fn every_service_has_the_same_rooms() {
    let services = piccolo_tests::image::checkout().join("services");
    for service in SERVICES {
        let directory = services.join(service.trim_start_matches("piccolo-"));
        for room in ["README.md", "src/main.rs", "src/lib.rs", "src/config.rs"] {
            assert!(
                directory.join(room).is_file(),
                "{} lacks {room}",
                directory.display()
            );
        }
    }
}
