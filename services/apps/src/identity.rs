//! Names and labels of an app's things at the engine. Pure.

use crate::spec::Spec;
use piccolo_bus_schema::ids::{AppName, Generation};
use sha2::{Digest, Sha256};

/// Containers and networks without it are not ours and never touched.
pub(crate) const APP_LABEL: &str = "io.piccolo.app";
/// What the container was made from: a container with another print is made anew.
pub(crate) const PRINT_LABEL: &str = "io.piccolo.print";

/// The app's own network.
pub(crate) fn network(app: &AppName) -> String {
    format!("piccolo-{app}")
}

/// The network's bridge: `pic` and ten characters, so that the egress table knows it.
pub(crate) fn bridge(app: &AppName) -> String {
    let digest = Sha256::digest(app.as_str());
    let mut name = String::from("pic");
    for byte in &digest[..5] {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

/// A container's name; each print has its own, so old and new can stand side by side.
pub(crate) fn container(app: &AppName, print: &str) -> String {
    format!("piccolo-{app}-{}", &print[..12.min(print.len())])
}

/// Everything a container is made from: spec, image, ports, and the generations of its volumes.
pub(crate) fn print(
    spec: &Spec,
    image_id: &str,
    volumes: &[Generation],
    host_ports: &[u16],
) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{spec:?}\0{image_id}\0"));
    for generation in volumes {
        digest.update(generation.0.to_be_bytes());
    }
    for port in host_ports {
        digest.update(port.to_be_bytes());
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_an_interface_name_of_ours() {
        let name = bridge(&"a-very-long-app-name-of-an-owner".parse().expect("a name"));
        assert_eq!(name.len(), 13);
        assert!(name.starts_with("pic") && name[3..].bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
