//! Checks the frame headers of a byte stream, chunk by chunk, without keeping the bodies.

use super::zmtp::Violation;
use piccolo_bus_schema::envelope::PAYLOAD_LIMIT;

/// A payload and what surrounds it.
const FRAME_LIMIT: u64 = 2 * PAYLOAD_LIMIT as u64;
/// Topic and body, or body alone; room for one more.
const FRAMES_LIMIT: u32 = 3;
/// Counted, never given back: there are fifteen topics, and reconnecting starts anew.
const SUBSCRIPTION_LIMIT: u32 = 256;
/// Longest topic prefix of a subscription, with its leading byte.
const SUBSCRIPTION_LENGTH: u64 = 129;

const MORE: u8 = 0x01;
const LONG: u8 = 0x02;

/// What the other side may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Whole messages.
    Messages,
    /// Subscriptions only: single frames that begin with 0 or 1.
    Subscriptions,
}

/// Where in a frame the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Flags,
    /// Bytes of the length still to come, and its value so far.
    Length {
        flags: u8,
        missing: u8,
        value: u64,
    },
    /// The first byte of a subscription.
    Verb {
        length: u64,
    },
    Body {
        missing: u64,
    },
}

/// The state of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Inspector {
    rule: Rule,
    position: Position,
    frames: u32,
    subscriptions: u32,
}

impl Inspector {
    pub(crate) const fn new(rule: Rule) -> Self {
        Self {
            rule,
            position: Position::Flags,
            frames: 0,
            subscriptions: 0,
        }
    }

    /// Checks a chunk; nothing of it may be passed on before this says yes.
    pub(crate) fn inspect(&mut self, mut chunk: &[u8]) -> Result<(), Violation> {
        while let Some((&byte, rest)) = chunk.split_first() {
            if let Position::Body { missing } = self.position {
                let here = u64::try_from(chunk.len()).unwrap_or(u64::MAX).min(missing);
                // `here` is at most the chunk's length.
                chunk = &chunk[usize::try_from(here).unwrap_or(chunk.len())..];
                self.position = after_body(missing - here);
                continue;
            }
            chunk = rest;
            self.position = self.step(byte)?;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<Position, Violation> {
        match self.position {
            Position::Flags => self.flags(byte),
            Position::Length {
                flags,
                missing,
                value,
            } => {
                let value = (value << 8) | u64::from(byte);
                match missing - 1 {
                    0 => self.frame(flags, value),
                    missing => Ok(Position::Length {
                        flags,
                        missing,
                        value,
                    }),
                }
            }
            Position::Verb { length } => match byte {
                0 | 1 => Ok(after_body(length - 1)),
                _ => Err(Violation::Subscription),
            },
            Position::Body { missing } => Ok(after_body(missing.saturating_sub(1))),
        }
    }

    /// Reserved bits and commands after the handshake end the connection.
    fn flags(&mut self, flags: u8) -> Result<Position, Violation> {
        if flags & !(MORE | LONG) != 0 {
            return Err(Violation::Flags);
        }
        self.frames += 1;
        if self.frames > FRAMES_LIMIT {
            return Err(Violation::TooManyFrames);
        }
        if flags & MORE == 0 {
            self.frames = 0;
        } else if self.rule == Rule::Subscriptions {
            return Err(Violation::Subscription);
        }
        let missing = if flags & LONG == 0 { 1 } else { 8 };
        Ok(Position::Length {
            flags,
            missing,
            value: 0,
        })
    }

    fn frame(&mut self, _flags: u8, length: u64) -> Result<Position, Violation> {
        match self.rule {
            Rule::Messages if length > FRAME_LIMIT => Err(Violation::FrameTooLong),
            Rule::Messages => Ok(after_body(length)),
            Rule::Subscriptions => {
                if !(1..=SUBSCRIPTION_LENGTH).contains(&length) {
                    return Err(Violation::Subscription);
                }
                self.subscriptions += 1;
                if self.subscriptions > SUBSCRIPTION_LIMIT {
                    return Err(Violation::TooManySubscriptions);
                }
                Ok(Position::Verb { length })
            }
        }
    }
}

const fn after_body(missing: u64) -> Position {
    if missing == 0 {
        Position::Flags
    } else {
        Position::Body { missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![flags | LONG];
        frame.extend_from_slice(&u64::try_from(body.len()).expect("a length").to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    #[test]
    fn an_absurd_length_is_refused_at_its_last_byte() {
        let mut inspector = Inspector::new(Rule::Messages);
        let absurd = [LONG, 0, 0, 0x40, 0, 0, 0, 0, 0];
        assert_eq!(inspector.inspect(&absurd[..8]), Ok(()));
        assert_eq!(
            inspector.inspect(&absurd[8..]),
            Err(Violation::FrameTooLong)
        );
    }

    #[test]
    fn commands_and_reserved_bits_are_refused() {
        for flags in 4..=u8::MAX {
            let refused = Inspector::new(Rule::Messages).inspect(&[flags]);
            assert_eq!(refused, Err(Violation::Flags), "{flags:#x}");
        }
    }

    #[test]
    fn an_endless_message_is_refused() {
        let mut inspector = Inspector::new(Rule::Messages);
        let outcome: Result<Vec<()>, Violation> = (0..10)
            .map(|_| inspector.inspect(&frame(MORE, b"x")))
            .collect();
        assert_eq!(outcome, Err(Violation::TooManyFrames));
    }

    #[test]
    fn the_257th_subscription_is_refused() {
        let mut inspector = Inspector::new(Rule::Subscriptions);
        for _ in 0..256 {
            assert_eq!(inspector.inspect(&frame(0, b"\x01lock.changed")), Ok(()));
        }
        let refused = inspector.inspect(&frame(0, b"\x01lock.changed"));
        assert_eq!(refused, Err(Violation::TooManySubscriptions));
    }

    proptest! {
        #[test]
        fn sound_messages_pass_however_they_are_cut(
            messages in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..=3), 1..6,
            ),
            cuts in proptest::collection::vec(1..90_usize, 1..200),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                for (index, body) in message.iter().enumerate() {
                    let more = if index + 1 < message.len() { MORE } else { 0 };
                    stream.extend(frame(more, body));
                }
            }
            let mut inspector = Inspector::new(Rule::Messages);
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, next) = rest.split_at((*cut).min(rest.len()));
                prop_assert_eq!(inspector.inspect(chunk), Ok(()));
                rest = next;
            }
            prop_assert_eq!(inspector.position, Position::Flags);
        }

        #[test]
        fn no_bytes_upset_the_inspector(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Inspector::new(Rule::Messages).inspect(&bytes);
            let _ = Inspector::new(Rule::Subscriptions).inspect(&bytes);
        }
    }
}
