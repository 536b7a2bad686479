//! The edge as visitors see it: real sockets on port 0, real HTTP and TLS, peers of the bus faked.

mod home;
mod wire;

mod bytes_untouched;
mod http_rules;
mod lan;
mod lock_and_roles;
mod relay;
mod restart;
