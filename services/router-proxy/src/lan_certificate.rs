//! The device-made certificate: encryption on the LAN before there is a real certificate. Its
//! fingerprint is how the owner knows it. Strangers never see it.

use crate::certificate::{self, Shown, Unusable};
use piccolo_runtime::clock;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// The name every device announces.
pub const NAME: &str = "piccolo.local";
const LIFETIME: Duration = Duration::days(3650);
/// A board without a clock starts in 1970; a certificate must not end then.
const EARLIEST: i64 = 1_767_225_600;

/// The certificate can be neither read nor made.
#[derive(Debug, thiserror::Error)]
pub enum LanCertificateError {
    #[error("can't write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("the certificate just made is unusable")]
    Unusable(#[source] Unusable),
}

/// Reads the certificate of the boot directory, or makes it there. A damaged one is replaced: it
/// protects nothing but the LAN, and visitors see a new fingerprint.
pub fn load_or_make(boot: &Path) -> Result<Shown, LanCertificateError> {
    let (chain_path, key_path) = (boot.join("lan.crt"), boot.join("lan.key"));
    let read = |path| fs::read_to_string(path).map(Zeroizing::new);
    if let (Ok(chain), Ok(key)) = (read(&chain_path), read(&key_path)) {
        match certificate::pair(&chain, key.as_bytes()) {
            Ok(shown) => return Ok(shown),
            Err(error) => {
                tracing::warn!(%error, path = %chain_path.display(), "LAN certificate is damaged, making a new one");
            }
        }
    }
    let (chain, key) = make().map_err(LanCertificateError::Make)?;
    let write = |path: &Path, text: &str| {
        replace(path, text.as_bytes()).map_err(|source| LanCertificateError::Write {
            path: path.to_owned(),
            source,
        })
    };
    let directory = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(boot);
    directory.map_err(|source| LanCertificateError::Write {
        path: boot.to_owned(),
        source,
    })?;
    write(&key_path, &key)?;
    write(&chain_path, &chain)?;
    certificate::pair(&chain, key.as_bytes()).map_err(LanCertificateError::Unusable)
}

fn make() -> Result<(String, Zeroizing<String>), rcgen::Error> {
    let mut params = CertificateParams::new(vec![NAME.to_owned(), "localhost".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    let now = i64::try_from(clock::now().0)
        .unwrap_or(EARLIEST)
        .max(EARLIEST);
    let start = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // A day's tolerance for visitors whose clock is behind.
    params.not_before = start - Duration::days(1);
    params.not_after = start + LIFETIME;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

/// Temp in the same directory, fsync, rename, fsync of the directory.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let boot = directory.path().join("boot");
        let made = load_or_make(&boot).expect("made");
        let kept = load_or_make(&boot).expect("kept");
        assert_eq!(made.fingerprint, kept.fingerprint);
        let mode = fs::metadata(boot.join("lan.key"))
            .expect("a key")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let years = (made.not_after - i64::try_from(clock::now().0).expect("seconds")) / 31_536_000;
        assert!((9..=11).contains(&years), "{years}");
    }

    #[test]
    fn a_damaged_one_is_made_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = load_or_make(directory.path()).expect("made");
        fs::write(directory.path().join("lan.key"), "damage").expect("damage");
        let anew = load_or_make(directory.path()).expect("made anew");
        assert_ne!(made.fingerprint, anew.fingerprint);
    }
}
