//! Who is at the other end of a connection.

use std::net::IpAddr;

/// The way a visitor came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Lan,
    /// Through the relay.
    Remote,
}

/// A visitor and the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Its true address; IPv4 also where the socket is dual stack.
    pub address: IpAddr,
    pub via: Via,
    /// Is its connection encrypted up to here?
    pub tls: bool,
    /// The port it reached: ours on the LAN, the relay's from outside.
    pub port: u16,
}

impl Visitor {
    /// Someone on the local network.
    pub const fn lan(address: IpAddr, port: u16, tls: bool) -> Self {
        Self {
            address: address.to_canonical(),
            via: Via::Lan,
            tls,
            port,
        }
    }

    /// Someone behind the relay.
    pub const fn remote(address: IpAddr, port: u16, tls: bool) -> Self {
        Self {
            address: address.to_canonical(),
            via: Via::Remote,
            tls,
            port,
        }
    }
}
