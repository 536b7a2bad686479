//! The kernel's table of mounts: `/proc/<pid>/mountinfo` (proc_pid_mountinfo(5)). Pure.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// The device number of a mounted file system, the same in every mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) device: Device,
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
    /// File system type, e.g. `fuse.gocryptfs`.
    pub(crate) kind: String,
    /// What is mounted: gocryptfs writes its ciphertext directory here.
    pub(crate) source: PathBuf,
}

/// Reads the table; lines of an unknown shape are left out.
pub(crate) fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(parse_line).collect()
}

/// The mounts on one path, the topmost last.
pub(crate) fn at<'t>(table: &'t [Mount], path: &Path) -> Vec<&'t Mount> {
    table.iter().filter(|mount| mount.path == path).collect()
}

/// `42 27 0:39 / /mnt rw,nosuid shared:1 - fuse.gocryptfs /source rw`.
fn parse_line(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    let mut fields = mount.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let path = unescape(fields.nth(1)?);
    let mut options = fields.next()?.split(',');
    Some(Mount {
        device: Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        },
        path,
        read_only: options.any(|option| option == "ro"),
        kind: kind.to_owned(),
        source: unescape(file_system.next()?),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = |byte: &u8| matches!(byte, b'0'..=b'7').then(|| u32::from(byte - b'0'));
        let code = match (first, tail) {
            (b'\\', [a, b, c, ..]) => octal(a)
                .zip(octal(b))
                .zip(octal(c))
                .and_then(|((a, b), c)| u8::try_from(a * 64 + b * 8 + c).ok()),
            _ => None,
        };
        let (byte, used) = code.map_or((*first, 1), |code| (code, 4));
        bytes.push(byte);
        rest = &rest[used..];
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
        42 27 0:39 / /s/mounts/a rw,nosuid,nodev,relatime shared:9 master:2 - fuse.gocryptfs /s/volumes/a rw,user_id=0\n\
        43 27 0:40 / /s/mounts/with\\040space ro,nosuid - fuse.gocryptfs /s ro\n\
        not a line\n";

    #[test]
    fn device_path_mode_and_kind_are_read() {
        let table = parse(TABLE);
        let mount = at(&table, Path::new("/s/mounts/a"));
        assert_eq!(mount.len(), 1);
        assert_eq!(
            mount[0].device,
            Device {
                major: 0,
                minor: 39
            }
        );
        assert_eq!(mount[0].kind, "fuse.gocryptfs");
        assert_eq!(mount[0].source, Path::new("/s/volumes/a"));
        assert!(!mount[0].read_only);
        assert!(at(&table, Path::new("/s/mounts/with space"))[0].read_only);
        assert_eq!(table.len(), 3);
    }

    proptest! {
        #[test]
        fn no_table_upsets_the_reader(text in "(.|\n|\\\\[0-7]{3}| - |[0-9]+:[0-9]+ ){0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn an_escaped_path_is_read_back(name in "[ -~]{1,30}") {
            let escaped: String = name
                .bytes()
                .map(|byte| match byte {
                    b' ' | b'\\' => format!("\\{byte:03o}"),
                    plain => char::from(plain).to_string(),
                })
                .collect();
            prop_assert_eq!(unescape(&escaped), PathBuf::from(name));
        }
    }
}
