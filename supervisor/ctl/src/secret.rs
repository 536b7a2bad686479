//! Passwords and secrets: from a prompt that shows nothing, or from a file. Never from argv.

use crate::Failure;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// More is no password.
const LIMIT: u64 = 4096;
const CONTROL_C: u8 = 3;
const CONTROL_D: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];

/// Wiped when dropped, never shown.
pub(crate) struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// For the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// From a file, or else by asking.
    pub(crate) fn obtain(file: Option<&Path>, prompt: &str, option: &str) -> Result<Self, Failure> {
        match file {
            Some(path) => Self::read(path),
            None => Self::ask(prompt, option),
        }
    }

    /// The same, but asked for twice.
    pub(crate) fn choose(file: Option<&Path>, prompt: &str, option: &str) -> Result<Self, Failure> {
        let first = Self::obtain(file, prompt, option)?;
        if file.is_none() && Self::ask("Again", option)?.0 != first.0 {
            return Err(Failure::Usage(
                "The two differ; nothing was done.".to_owned(),
            ));
        }
        Ok(first)
    }

    /// The file's text without its last line end.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::File {
            path: path.to_owned(),
            source,
        };
        let mut text = Zeroizing::new(String::with_capacity(LIMIT as usize));
        if path == Path::new("-") {
            io::stdin().take(LIMIT).read_to_string(&mut text)
        } else {
            File::open(path)
                .map_err(failed)?
                .take(LIMIT)
                .read_to_string(&mut text)
        }
        .map_err(failed)?;
        let length = text.trim_end_matches(['\n', '\r']).len();
        text.truncate(length);
        if text.is_empty() {
            let why = format!("{} is empty.", path.display());
            return Err(Failure::Usage(why));
        }
        Ok(Self(text))
    }

    fn ask(prompt: &str, option: &str) -> Result<Self, Failure> {
        let terminal = File::options().read(true).write(true).open("/dev/tty");
        let Ok(mut terminal) = terminal else {
            let why = format!("There is no terminal to ask at; give {option}.");
            return Err(Failure::Usage(why));
        };
        let failed = |source| Failure::File {
            path: PathBuf::from("/dev/tty"),
            source,
        };
        write!(terminal, "{prompt}: ").map_err(failed)?;
        let quiet = Quiet::new(&terminal).map_err(failed)?;
        let line = read_line(&mut &terminal).map_err(failed)?;
        drop(quiet);
        writeln!(terminal).map_err(failed)?;
        line.filter(|line| !line.is_empty())
            .map(Self)
            .ok_or_else(|| Failure::Usage("Nothing was typed; nothing was done.".to_owned()))
    }
}

/// Reads up to Enter; `None` when the user gave up. The terminal edits nothing, so this does.
fn read_line(terminal: &mut impl Read) -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LIMIT as usize));
    let mut byte = [0];
    while line.len() < LIMIT as usize {
        if terminal.read(&mut byte)? == 0 {
            return Ok(None);
        }
        match byte[0] {
            b'\r' | b'\n' => break,
            CONTROL_C | CONTROL_D => return Ok(None),
            erased if BACKSPACE.contains(&erased) => {
                // A character may be several bytes.
                while line
                    .pop()
                    .is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
                {}
            }
            byte => line.push(byte),
        }
    }
    match std::str::from_utf8(&line) {
        Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// A terminal that echoes nothing and raises no signals, until dropped: an interrupt must not
/// leave it silent.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // There is nothing else to try.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Option<String> {
        let line = read_line(&mut io::Cursor::new(bytes)).expect("it is UTF-8");
        line.map(|line| line.to_string())
    }

    #[test]
    fn backspace_takes_back_a_whole_character_and_control_c_everything() {
        assert_eq!(typed("aä\u{7f}b\n".as_bytes()).as_deref(), Some("ab"));
        assert_eq!(typed(b"ab\x03"), None);
        assert_eq!(typed(b""), None);
    }

    #[test]
    fn a_file_gives_its_text_without_the_line_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "correct horse \n").expect("written");
        let secret = Secret::read(file.path()).expect("a secret");
        assert_eq!(secret.expose(), "correct horse ");
        assert!(!format!("{secret:?}").contains("horse"));
        std::fs::write(file.path(), "\n").expect("written");
        assert_eq!(Secret::read(file.path()).expect_err("empty").exit_code(), 2);
    }
}
