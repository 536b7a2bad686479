//! Sealing: AES-256-GCM (NIST SP 800-38D) with the context bound as associated data.

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const NONCE: usize = 12;

/// A 256-bit key; wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The sealed bytes were altered, moved, or belong to another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seal is broken")]
pub(crate) struct BrokenSeal;

impl Key {
    /// A new random key.
    pub(crate) fn generate() -> Self {
        Self(rand_bytes())
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, to be handed to nobody but a descriptor.
    pub(crate) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose (HKDF-SHA-256, RFC 5869).
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        let mut key = [0; 32];
        // 32 bytes are far below HKDF's limit of 255 blocks.
        let derived = Hkdf::<Sha256>::new(None, &self.0).expand(purpose.as_bytes(), &mut key);
        debug_assert!(derived.is_ok());
        Self(key)
    }

    /// nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes).
    pub(crate) fn seal(&self, plain: &[u8], context: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand_bytes();
        let payload = Payload {
            msg: plain,
            aad: context,
        };
        let mut sealed = nonce.to_vec();
        let cipher = Aes256Gcm::new(&self.0.into());
        // Fails only above 64 GiB.
        sealed.extend(
            cipher
                .encrypt(&Nonce::from(nonce), payload)
                .unwrap_or_default(),
        );
        sealed
    }

    /// The plain bytes, if key and context are the ones they were sealed with.
    pub(crate) fn open(
        &self,
        sealed: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, BrokenSeal> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>().ok_or(BrokenSeal)?;
        let payload = Payload {
            msg: ciphertext,
            aad: context,
        };
        Aes256Gcm::new(&self.0.into())
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| BrokenSeal)
    }
}

/// The kernel's randomness; without it nothing may go on.
pub(crate) fn rand_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random number generator");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens_only_with_its_own_key_and_context(
            plain in proptest::collection::vec(any::<u8>(), 0..500),
            context in proptest::collection::vec(any::<u8>(), 0..50),
            flip in any::<prop::sample::Index>(),
        ) {
            let key = Key::generate();
            let mut sealed = key.seal(&plain, &context);
            prop_assert_eq!(key.open(&sealed, &context).map(|plain| plain.to_vec()), Ok(plain));
            prop_assert!(Key::generate().open(&sealed, &context).is_err());
            prop_assert!(key.open(&sealed, &[context.as_slice(), b"x"].concat()).is_err());
            let at = flip.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert!(key.open(&sealed, &context).is_err());
        }
    }
}
