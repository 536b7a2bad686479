//! host on a real machine: gocryptfs, nftables, packets. Needs root.

mod egress;
mod volumes;
mod world;
