//! The relay from outside: a scripted backend on one side, users on the other, real sockets
//! between. What is expected here is what the protocol's page says of the real server.

mod backend;
mod closing;
mod credits;
mod handshake;
mod messages;
mod outbound;
mod process;
mod reauth;
mod routing;
mod udp;
mod world;
