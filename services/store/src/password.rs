//! What a password must be. Pure.

/// Characters, not bytes: an owner counts letters.
const SHORTEST: usize = 12;
/// Bytes; more only costs time.
const LONGEST: usize = 1024;

/// The rule a password breaks, in words; `None` when it is good enough.
pub(crate) fn weakness(password: &str) -> Option<&'static str> {
    if password.chars().count() < SHORTEST {
        return Some("must have at least 12 characters; four words are easy to remember");
    }
    if password.len() > LONGEST {
        return Some("must have at most 1024 bytes");
    }
    let mut characters = password.chars();
    let first = characters.next();
    if characters.clone().all(|character| Some(character) == first) {
        return Some("must not be one character repeated");
    }
    let codes: Vec<u32> = password.chars().map(u32::from).collect();
    if codes
        .windows(2)
        .all(|pair| pair[1] == pair[0].wrapping_add(1))
        || codes
            .windows(2)
            .all(|pair| pair[0] == pair[1].wrapping_add(1))
    {
        return Some("must not be a sequence such as abcdefghijkl");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_told_why() {
        for weak in [
            "",
            "short",
            "aaaaaaaaaaaaaaaa",
            "abcdefghijklm",
            "9876543210/.-",
        ] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        for good in [
            "correct horse battery",
            "ñandúñandúñandú",
            "an owner's long password",
        ] {
            assert_eq!(weakness(good), None, "{good}");
        }
        assert!(weakness(&"long".repeat(400)).is_some());
    }
}
