//! The key of one volume, on its way from the store to gocryptfs.

use piccolo_bus_schema::Fault;
use std::fmt;
use zeroize::Zeroizing;

/// gocryptfs' master key length.
const LENGTH: usize = 32;

/// 32 bytes; forgotten when dropped.
pub(crate) struct MasterKey(Zeroizing<[u8; LENGTH]>);

impl MasterKey {
    /// Takes the bytes of a ticket.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes: [u8; LENGTH] = bytes
            .try_into()
            .map_err(|_| Fault::invalid("key", "must be 32 bytes"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// 64 hexadecimal digits and a newline, as `-masterkey=stdin` reads it. Exposes the key.
    pub(crate) fn to_line(&self) -> Zeroizing<Vec<u8>> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut line = Zeroizing::new(Vec::with_capacity(2 * LENGTH + 1));
        for byte in self.0.iter() {
            line.push(DIGITS[usize::from(byte >> 4)]);
            line.push(DIGITS[usize::from(byte & 15)]);
        }
        line.push(b'\n');
        line
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_one_line_of_digits() {
        let mut bytes = [0; 32];
        bytes[0] = 0xa5;
        bytes[31] = 0x0f;
        let key = MasterKey::new(&bytes).expect("32 bytes");
        let line = key.to_line();
        assert_eq!(line.len(), 65);
        assert!(line.starts_with(b"a500") && line.ends_with(b"000f\n"));
        assert_eq!(format!("{key:?}"), "MasterKey(***)");
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert!(MasterKey::new(&[0; 31]).is_err());
        assert!(MasterKey::new(&[0; 33]).is_err());
    }
}
