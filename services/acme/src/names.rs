//! Which names want a certificate. Pure.

use piccolo_bus_schema::{app::Endpoint, control::RemoteRecord, ids::Hostname};
use std::collections::BTreeSet;

/// The portal's name and that of each listener whose TLS ends here.
pub(crate) fn wanted(remote: Option<&RemoteRecord>, endpoints: &[Endpoint]) -> BTreeSet<Hostname> {
    let Some(remote) = remote.filter(|remote| remote.enabled) else {
        return BTreeSet::new();
    };
    let listeners = endpoints
        .iter()
        .filter(|endpoint| endpoint.terminates_tls())
        .filter_map(|endpoint| Hostname::new(format!("{}.{}", endpoint.listener, remote.tld)).ok());
    std::iter::once(remote.portal_hostname.clone())
        .chain(listeners)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_bus_schema::app::{Flow, Protocol};

    fn endpoint(listener: &str, flow: Flow, protocol: Protocol) -> Endpoint {
        Endpoint {
            app: "demo".parse().expect("a name"),
            listener: listener.parse().expect("a name"),
            guest_port: 80,
            host_port: 15000,
            public_port: 35000,
            flow,
            protocol,
            remote_ports: vec![80, 443],
            middleware: Vec::new(),
            up: true,
        }
    }

    fn remote(enabled: bool) -> RemoteRecord {
        RemoteRecord {
            enabled,
            endpoint: "wss://relay.example/connect".to_owned(),
            tld: "home.example".parse().expect("a name"),
            portal_hostname: "portal.home.example".parse().expect("a name"),
            acme_email: None,
        }
    }

    #[test]
    fn only_what_ends_tls_here_wants_a_certificate() {
        let endpoints = [
            endpoint("web", Flow::Tcp, Protocol::Http),
            endpoint("chat", Flow::Tcp, Protocol::Websocket),
            endpoint("own", Flow::Tls, Protocol::Http),
            endpoint("raw", Flow::Tcp, Protocol::Raw),
        ];
        let names: Vec<String> = wanted(Some(&remote(true)), &endpoints)
            .iter()
            .map(Hostname::to_string)
            .collect();
        assert_eq!(
            names,
            [
                "chat.home.example",
                "portal.home.example",
                "web.home.example"
            ]
        );
    }

    #[test]
    fn without_remote_access_no_name_wants_one() {
        assert!(wanted(Some(&remote(false)), &[]).is_empty());
        assert!(wanted(None, &[]).is_empty());
    }
}
