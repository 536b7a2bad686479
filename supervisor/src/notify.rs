//! What children say: the sd_notify(3) protocol, with the kernel's word for who says it.

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::set_socket_passcred,
    },
    process::Pid,
};
use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};
use tokio::{io::Interest, net::UnixDatagram};

/// Longest datagram: a handful of assignments.
const DATAGRAM_LIMIT: usize = 4096;
/// Descriptors taken from one datagram; the kernel closes what is beyond.
const DESCRIPTORS_LIMIT: usize = 4;
/// Longest STATUS kept, in characters: one line of a table.
const STATUS_LIMIT: usize = 240;
/// Longest FDNAME (sd_pid_notify_with_fds(3)).
const NAME_LIMIT: usize = 255;

/// One thing said.
#[derive(Debug)]
pub(crate) enum Notice {
    Ready,
    Alive,
    Extend(Duration),
    Status(String),
    /// Keep this descriptor for the next start.
    Deposit {
        name: String,
        descriptor: OwnedFd,
    },
    Withdraw {
        name: String,
    },
}

/// A datagram and its sender.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) sender: Option<Pid>,
    pub(crate) notices: Vec<Notice>,
}

/// The socket on which one process notifies.
#[derive(Debug)]
pub(crate) struct NotifySocket(UnixDatagram);

impl NotifySocket {
    /// Binds a socket that learns its senders' credentials. What was there before is replaced.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        set_socket_passcred(&socket, true)?;
        Ok(Self(socket))
    }

    /// The next datagram. Cancel safe.
    pub(crate) async fn receive(&self) -> io::Result<Datagram> {
        self.0
            .async_io(Interest::READABLE, || receive(&self.0))
            .await
    }

    /// A datagram that is there already.
    pub(crate) fn try_receive(&self) -> Option<Datagram> {
        receive(&self.0).ok()
    }
}

fn receive(socket: &UnixDatagram) -> io::Result<Datagram> {
    let mut bytes = [0; DATAGRAM_LIMIT];
    let mut space = [MaybeUninit::uninit();
        rustix::cmsg_space!(ScmRights(DESCRIPTORS_LIMIT), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = loop {
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut buffers, &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut sender = None;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.pid),
            RecvAncillaryMessage::ScmRights(rights) => descriptors.extend(rights),
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(&bytes[..received.bytes]);
    Ok(Datagram {
        sender,
        notices: parse(&text, descriptors),
    })
}

/// Reads the assignments of a datagram. Unknown ones are ignored, as sd_notify(3) wants it.
fn parse(text: &str, descriptors: Vec<OwnedFd>) -> Vec<Notice> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let is_set = |key: &str| value(key) == Some("1");
    let mut notices = Vec::new();
    if let Some(status) = value("STATUS") {
        notices.push(Notice::Status(one_line(status, STATUS_LIMIT)));
    }
    // A limit must be stretched before the same datagram can break it.
    if let Some(microseconds) = value("EXTEND_TIMEOUT_USEC").and_then(|text| text.parse().ok()) {
        notices.push(Notice::Extend(Duration::from_micros(microseconds)));
    }
    let name = value("FDNAME").unwrap_or("stored");
    if is_valid_name(name) {
        let name = name.to_owned();
        if is_set("FDSTOREREMOVE") {
            notices.push(Notice::Withdraw { name });
        } else if is_set("FDSTORE") {
            // A name holds one descriptor, so only the first of a datagram has a place.
            let first = descriptors.into_iter().next();
            notices.extend(first.map(|descriptor| Notice::Deposit { name, descriptor }));
        }
    }
    if is_set("READY") {
        notices.push(Notice::Ready);
    }
    if is_set("WATCHDOG") {
        notices.push(Notice::Alive);
    }
    notices
}

/// The rule of systemd: printable ASCII without the separator of LISTEN_FDNAMES.
fn is_valid_name(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len())
        && name
            .bytes()
            .all(|byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b':')
}

/// At most so many characters, none of which moves the cursor of a terminal.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    text.chars()
        .take(limit)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor() -> OwnedFd {
        OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"))
    }

    #[test]
    fn readiness_status_and_watchdog_are_understood_in_one_datagram() {
        let notices = parse("READY=1\nSTATUS=serving\nWATCHDOG=1\nMAINPID=1", vec![]);
        assert!(matches!(
            &notices[..],
            [Notice::Status(text), Notice::Ready, Notice::Alive] if text == "serving"
        ));
    }

    #[test]
    fn a_descriptor_is_deposited_only_when_asked_and_under_a_valid_name() {
        assert!(parse("READY=0", vec![descriptor()]).is_empty());
        assert!(parse("FDSTORE=1\nFDNAME=a:b", vec![descriptor()]).is_empty());
        assert!(parse("FDSTORE=1\nFDNAME=key", vec![]).is_empty());
        let notices = parse("FDSTORE=1\nFDNAME=key", vec![descriptor()]);
        assert!(matches!(&notices[..], [Notice::Deposit { name, .. }] if name == "key"));
        let notices = parse("FDSTOREREMOVE=1\nFDNAME=key", vec![]);
        assert!(matches!(&notices[..], [Notice::Withdraw { name }] if name == "key"));
    }

    #[test]
    fn a_status_cannot_paint_on_the_operators_terminal() {
        let notices = parse("STATUS=a\u{1b}[2Jb", vec![]);
        assert!(matches!(&notices[..], [Notice::Status(text)] if text == "a [2Jb"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            parse(&text, vec![]);
        }
    }
}
