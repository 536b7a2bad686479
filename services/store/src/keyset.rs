//! The keyset: one random data key, wrapped under the owner's password and under the recovery key.
//!
//! ```text
//!   password ─Argon2id─► key-encryption key ─┐
//!                                            ├─ AES-256-GCM wraps ─► data key ─HKDF─► purpose keys
//!   24 words (BIP-39) ─HKDF──────────────────┘
//! ```
//!
//! The file is JSON with a version in its first field; a wrap is bound to its place by associated
//! data, so the two can't be exchanged.

use crate::seal::{BrokenSeal, Key, rand_bytes};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, engine::general_purpose::STANDARD};
use bip39::Mnemonic;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use zeroize::Zeroizing;

const VERSION: u16 = 1;
const PASSWORD_CONTEXT: &[u8] = b"piccolo keyset 1 password";
const RECOVERY_CONTEXT: &[u8] = b"piccolo keyset 1 recovery";

/// Never less than this, whatever the machine (KiB).
const LEAST_MEMORY: u32 = 64 * 1024;
/// What one hash should take: long for a guesser, short for an owner (seconds).
const TARGET: f64 = 0.5;

/// Argon2id parameters (RFC 9106 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretching {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Stretching {
    /// Measures this machine: 64 MiB, and as many passes as fit into half a second.
    pub fn measured() -> Self {
        let once = Self {
            memory_kib: LEAST_MEMORY,
            passes: 1,
            lanes: 1,
        };
        let start = Instant::now();
        // A measurement; the key is thrown away.
        let _ = once.stretch(b"measure", &[0; 16]);
        let seconds = start.elapsed().as_secs_f64().max(0.001);
        let passes = (1..=16_u32)
            .rev()
            .find(|passes| seconds * f64::from(*passes) <= TARGET);
        Self {
            passes: passes.unwrap_or(1).max(2),
            ..once
        }
    }

    fn stretch(&self, password: &[u8], salt: &[u8]) -> Result<Key, KeysetError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|error| KeysetError::Format(error.to_string()))?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, salt, key.as_mut_slice())
            .map_err(|error| KeysetError::Format(error.to_string()))?;
        Ok(Key::from_bytes(*key))
    }
}

/// The keyset can't be used, or does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysetError {
    #[error("the keyset is of version {0}, newer than this program")]
    Newer(u16),
    #[error("the keyset can't be read: {0}")]
    Format(String),
    #[error("the secret does not open the keyset")]
    Wrong,
}

impl From<BrokenSeal> for KeysetError {
    fn from(_: BrokenSeal) -> Self {
        Self::Wrong
    }
}

/// What `keyset.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyset {
    version: u16,
    stretching: Stretching,
    /// Base64, 16 bytes.
    salt: String,
    /// Base64: the data key sealed under the password's key.
    by_password: String,
    /// Base64: the data key sealed under the recovery key.
    by_recovery: String,
}

/// The recovery words; wiped when dropped.
pub(crate) struct Words(Zeroizing<String>);

impl Words {
    /// 24 new words.
    pub(crate) fn generate() -> Self {
        let entropy = Zeroizing::new(rand_bytes::<32>());
        // 32 bytes are a legal amount of entropy.
        let words = Mnemonic::from_entropy(entropy.as_slice()).map(|words| words.to_string());
        Self(Zeroizing::new(words.unwrap_or_default()))
    }

    /// Reads words as an owner types them: any case, any spacing. The checksum must hold.
    pub(crate) fn parse(text: &str) -> Result<Self, KeysetError> {
        let tidy = text
            .split_whitespace()
            .map(str::to_lowercase)
            .collect::<Vec<_>>()
            .join(" ");
        let tidy = Zeroizing::new(tidy);
        match Mnemonic::parse_normalized(&tidy) {
            Ok(words) if words.word_count() == 24 => Ok(Self(tidy)),
            Ok(_) | Err(_) => Err(KeysetError::Wrong),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Result<Key, KeysetError> {
        let words = Mnemonic::parse_normalized(&self.0).map_err(|_| KeysetError::Wrong)?;
        let entropy = Zeroizing::new(words.to_entropy());
        let entropy: [u8; 32] = entropy
            .as_slice()
            .try_into()
            .map_err(|_| KeysetError::Wrong)?;
        Ok(Key::from_bytes(entropy).derive("piccolo recovery key 1"))
    }
}

impl Keyset {
    /// A new keyset around a new data key.
    pub(crate) fn create(
        password: &[u8],
        words: &Words,
        stretching: Stretching,
    ) -> Result<(Self, Key), KeysetError> {
        let data_key = Key::generate();
        let keyset = Self {
            version: VERSION,
            stretching,
            salt: String::new(),
            by_password: String::new(),
            by_recovery: String::new(),
        };
        let keyset = keyset
            .with_password(&data_key, password)?
            .with_recovery(&data_key, words)?;
        Ok((keyset, data_key))
    }

    /// The same data key under another password and a new salt.
    pub(crate) fn with_password(
        mut self,
        data_key: &Key,
        password: &[u8],
    ) -> Result<Self, KeysetError> {
        let salt: [u8; 16] = rand_bytes();
        let key = self.stretching.stretch(password, &salt)?;
        self.salt = STANDARD.encode(salt);
        self.by_password = STANDARD.encode(key.seal(data_key.expose(), PASSWORD_CONTEXT));
        Ok(self)
    }

    /// The same data key under other words; the old ones stop working.
    pub(crate) fn with_recovery(
        mut self,
        data_key: &Key,
        words: &Words,
    ) -> Result<Self, KeysetError> {
        let sealed = words.key()?.seal(data_key.expose(), RECOVERY_CONTEXT);
        self.by_recovery = STANDARD.encode(sealed);
        Ok(self)
    }

    /// The data key, if the password is right. Costs one hash.
    pub(crate) fn open(&self, password: &[u8]) -> Result<Key, KeysetError> {
        let key = self.stretching.stretch(password, &decode(&self.salt)?)?;
        unwrap(&key, &self.by_password, PASSWORD_CONTEXT)
    }

    /// The data key, if the words are right.
    pub(crate) fn open_with_words(&self, words: &Words) -> Result<Key, KeysetError> {
        unwrap(&words.key()?, &self.by_recovery, RECOVERY_CONTEXT)
    }

    /// Reads the file; the version is looked at before anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeysetError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u16,
        }
        let format = |error: serde_json::Error| KeysetError::Format(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(format)?;
        if version > VERSION {
            return Err(KeysetError::Newer(version));
        }
        serde_json::from_slice(bytes).map_err(format)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

fn decode(text: &str) -> Result<Vec<u8>, KeysetError> {
    STANDARD
        .decode(text)
        .map_err(|error| KeysetError::Format(error.to_string()))
}

fn unwrap(key: &Key, sealed: &str, context: &[u8]) -> Result<Key, KeysetError> {
    let plain = key.open(&decode(sealed)?, context)?;
    let bytes = plain
        .as_slice()
        .try_into()
        .map_err(|_| KeysetError::Wrong)?;
    Ok(Key::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHEAP: Stretching = Stretching {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn password_and_words_open_the_same_key_and_nothing_else_does() {
        let words = Words::generate();
        assert_eq!(words.expose().split(' ').count(), 24);
        let (keyset, key) = Keyset::create(b"a good password", &words, CHEAP).expect("a keyset");
        let read = Keyset::parse(&keyset.to_bytes()).expect("a keyset");
        assert_eq!(
            read.open(b"a good password").expect("the key").expose(),
            key.expose()
        );
        let typed =
            Words::parse(&words.expose().to_uppercase().replace(' ', "\n ")).expect("words");
        assert_eq!(
            read.open_with_words(&typed).expect("the key").expose(),
            key.expose()
        );
        assert_eq!(
            read.open(b"another password").map(|_| ()),
            Err(KeysetError::Wrong)
        );
        assert_eq!(
            read.open_with_words(&Words::generate()).map(|_| ()),
            Err(KeysetError::Wrong)
        );
    }

    #[test]
    fn a_changed_word_breaks_the_checksum() {
        let words = Words::generate();
        let mut list: Vec<&str> = words.expose().split(' ').collect();
        list.swap(0, 1);
        // Two equal words in front are possible and change nothing.
        if list[0] != list[1] {
            let swapped = Words::parse(&list.join(" "));
            let (keyset, _) = Keyset::create(b"x", &words, CHEAP).expect("a keyset");
            assert!(
                swapped
                    .and_then(|swapped| keyset.open_with_words(&swapped))
                    .is_err()
            );
        }
        assert!(Words::parse("zoo zoo zoo").is_err());
    }

    #[test]
    fn a_newer_keyset_is_refused_by_its_version() {
        let error = Keyset::parse(br#"{"version":2,"unknown":true}"#);
        assert_eq!(error, Err(KeysetError::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Keyset::parse(&bytes);
        }
    }
}
