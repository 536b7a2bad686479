//! The handshake of ZMTP 3.0 with the NULL mechanism (https://rfc.zeromq.org/spec/23/).

/// Length of a greeting.
pub(crate) const GREETING: usize = 64;
/// Longest READY command that is read: a socket type and an identity.
pub(crate) const READY_LIMIT: usize = 255;

const COMMAND: u8 = 0x04;

/// The four socket types the bus uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketKind {
    Dealer,
    Router,
    Pub,
    Sub,
}

impl SocketKind {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Dealer => b"DEALER",
            Self::Router => b"ROUTER",
            Self::Pub => b"PUB",
            Self::Sub => b"SUB",
        }
    }

    /// The type that talks to this one.
    pub(crate) const fn peer(self) -> Self {
        match self {
            Self::Dealer => Self::Router,
            Self::Router => Self::Dealer,
            Self::Pub => Self::Sub,
            Self::Sub => Self::Pub,
        }
    }
}

/// A rule the other side broke; its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the greeting is not ZMTP 3 with the NULL mechanism")]
    Greeting,
    #[error("the handshake is not a READY command of the expected socket type")]
    Ready,
    #[error("a frame has reserved flags or is a command")]
    Flags,
    #[error("a frame is too long")]
    FrameTooLong,
    #[error("a message has too many frames")]
    TooManyFrames,
    #[error("too many subscriptions")]
    TooManySubscriptions,
    #[error("a subscription is malformed")]
    Subscription,
    #[error("the peer does not read what is sent to it")]
    Backlog,
}

/// The greeting we send.
pub(crate) const fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    let mechanism = b"NULL";
    let mut index = 0;
    while index < mechanism.len() {
        greeting[12 + index] = mechanism[index];
        index += 1;
    }
    greeting
}

/// Checks a greeting: signature, major version, mechanism.
pub(crate) fn check_greeting(greeting: &[u8; GREETING]) -> Result<(), Violation> {
    let mechanism = &greeting[12..32];
    let null = mechanism.starts_with(b"NULL\0") && mechanism[4..].iter().all(|byte| *byte == 0);
    if greeting[0] == 0xff && greeting[9] == 0x7f && greeting[10] >= 3 && null {
        Ok(())
    } else {
        Err(Violation::Greeting)
    }
}

/// The READY command of a socket type; the identity is what a ROUTER knows its peer by.
pub(crate) fn ready(kind: SocketKind, identity: Option<&str>) -> Vec<u8> {
    let mut body = vec![5];
    body.extend_from_slice(b"READY");
    property(&mut body, b"Socket-Type", kind.name());
    if let Some(identity) = identity {
        property(&mut body, b"Identity", identity.as_bytes());
    }
    // Never over 255 bytes: names and serial numbers of ours.
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut frame = vec![COMMAND, length];
    frame.extend_from_slice(&body);
    frame
}

fn property(body: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    body.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    body.extend_from_slice(name);
    body.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(value);
}

/// Checks the two header bytes of a READY command; the length of its body.
pub(crate) const fn ready_length(header: [u8; 2]) -> Result<usize, Violation> {
    // A long command frame (0x06) is legal and pointless: nothing we need is over 255 bytes.
    if header[0] == COMMAND {
        Ok(header[1] as usize)
    } else {
        Err(Violation::Ready)
    }
}

/// Checks the body of a READY command against the socket type it must come from.
pub(crate) fn check_ready(body: &[u8], expected: SocketKind) -> Result<(), Violation> {
    let mut rest = body.strip_prefix(b"\x05READY").ok_or(Violation::Ready)?;
    let mut kind = None;
    while !rest.is_empty() {
        let (name, value, next) = read_property(rest).ok_or(Violation::Ready)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            kind = Some(value);
        }
        rest = next;
    }
    if kind == Some(expected.name()) {
        Ok(())
    } else {
        Err(Violation::Ready)
    }
}

type Property<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn read_property(bytes: &[u8]) -> Option<Property<'_>> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_own_handshake_passes_our_own_checks() {
        assert_eq!(check_greeting(&greeting()), Ok(()));
        let frame = ready(SocketKind::Dealer, Some("apps.17"));
        assert_eq!(ready_length([frame[0], frame[1]]), Ok(frame.len() - 2));
        assert_eq!(check_ready(&frame[2..], SocketKind::Dealer), Ok(()));
        assert_eq!(
            check_ready(&frame[2..], SocketKind::Sub),
            Err(Violation::Ready)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_handshake(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = check_ready(&bytes, SocketKind::Dealer);
        }
    }
}
