//! Finds the host an HTTP/1.x request head asks for (RFC 9112 section 3.2).

/// What the first bytes of a connection are, seen as HTTP.
#[derive(Debug, PartialEq, Eq)]
pub enum Sighting {
    Incomplete,
    NotHttp,
    /// A whole request head, with the host it names, without port.
    Head {
        host: Option<String>,
    },
}

/// A head of the largest captured size can hold no more header lines than this.
const MAX_HEADERS: usize = 16_384;

/// Examines a growing capture; remembers how far it has searched for the end of the head, so that
/// a head sent byte by byte costs one pass and not one per byte.
#[derive(Debug, Default)]
pub struct Examiner {
    searched: usize,
}

impl Examiner {
    /// Examines `captured`, the connection's bytes so far: each call must see the bytes of the
    /// previous one and perhaps more behind them.
    pub fn examine(&mut self, captured: &[u8]) -> Sighting {
        if !could_be_request(captured) {
            return Sighting::NotHttp;
        }
        if !self.head_ends(captured) {
            return Sighting::Incomplete;
        }
        parse(captured)
    }

    /// An empty line: `\n\n` or `\n\r\n`.
    fn head_ends(&mut self, captured: &[u8]) -> bool {
        // Three bytes of overlap: the terminator may straddle two reads.
        let from = self.searched.saturating_sub(3);
        self.searched = captured.len();
        let fresh = &captured[from..];
        fresh.windows(2).any(|pair| pair == b"\n\n")
            || fresh.windows(3).any(|triple| triple == b"\n\r\n")
    }
}

/// A request line starts with a method and one space; no known method is longer than 20 bytes.
/// Most other protocols fail here at once instead of waiting for a time-out.
fn could_be_request(captured: &[u8]) -> bool {
    const LONGEST_METHOD: usize = 20;
    let start = &captured[..captured.len().min(LONGEST_METHOD + 1)];
    match start.iter().position(|byte| *byte == b' ') {
        Some(0) => false,
        Some(end) => start[..end].iter().all(|byte| is_method_byte(*byte)),
        None => start.len() <= LONGEST_METHOD && start.iter().all(|byte| is_method_byte(*byte)),
    }
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_'
}

fn parse(captured: &[u8]) -> Sighting {
    let mut capacity = 64;
    loop {
        let mut headers = vec![httparse::EMPTY_HEADER; capacity];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(captured) {
            Ok(httparse::Status::Complete(_)) => {
                return Sighting::Head {
                    host: requested_host(&request),
                };
            }
            Ok(httparse::Status::Partial) => return Sighting::Incomplete,
            Err(httparse::Error::TooManyHeaders) if capacity < MAX_HEADERS => capacity *= 4,
            Err(_) => return Sighting::NotHttp,
        }
    }
}

/// The authority of an absolute or CONNECT target, else the first Host header.
fn requested_host(request: &httparse::Request<'_, '_>) -> Option<String> {
    let target = request.path.unwrap_or_default();
    let authority = if request.method == Some("CONNECT") {
        Some(target)
    } else {
        target
            .split_once("://")
            .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default())
            .filter(|_| !target.starts_with('/'))
    };
    let authority = authority
        .filter(|authority| !authority.is_empty())
        .or_else(|| {
            let host = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("host"))?;
            std::str::from_utf8(host.value).ok()
        })?;
    let host = without_port(authority.trim());
    (!host.is_empty()).then(|| host.to_owned())
}

/// Strips user information, the port and the brackets of an IPv6 literal.
fn without_port(authority: &str) -> &str {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if let Some(literal) = host.strip_prefix('[') {
        return literal.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn examine(bytes: &[u8]) -> Sighting {
        Examiner::default().examine(bytes)
    }

    fn head(host: &str) -> Sighting {
        Sighting::Head {
            host: Some(host.to_owned()),
        }
    }

    #[test]
    fn the_host_is_found_without_its_port() {
        assert_eq!(
            examine(b"GET / HTTP/1.1\r\nhOST:  App.Test.:8080 \r\n\r\n"),
            head("App.Test.")
        );
        assert_eq!(examine(b"GET / HTTP/1.1\nHost: a.b\n\n"), head("a.b"));
        assert_eq!(
            examine(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
            head("::1")
        );
    }

    #[test]
    fn an_absolute_target_beats_the_header() {
        assert_eq!(
            examine(b"GET http://u@a.b:1/x HTTP/1.1\r\nHost: c.d\r\n\r\n"),
            head("a.b")
        );
        assert_eq!(examine(b"CONNECT a.b:443 HTTP/1.1\r\n\r\n"), head("a.b"));
        assert_eq!(
            examine(b"GET /?u=http://x.y/ HTTP/1.1\r\nHost: c.d\r\n\r\n"),
            head("c.d")
        );
    }

    #[test]
    fn a_request_without_host_is_a_head_all_the_same() {
        assert_eq!(
            examine(b"GET / HTTP/1.0\r\n\r\n"),
            Sighting::Head { host: None }
        );
    }

    #[test]
    fn other_protocols_are_refused_early() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
            b"\x16\x03\x01",
            b"EHLO\r\n",
            b" GET",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(examine(bytes), Sighting::NotHttp, "{bytes:?}");
        }
    }

    #[test]
    fn a_head_of_a_thousand_lines_is_read() {
        let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
        bytes.extend(b"a: b\r\n".repeat(1000));
        bytes.extend(b"Host: late.test\r\n\r\n");
        assert_eq!(examine(&bytes), head("late.test"));
    }

    proptest! {
        #[test]
        fn a_head_cut_anywhere_is_found_once_whole(cuts in prop::collection::vec(1usize..20, 0..20)) {
            let whole = b"POST /path HTTP/1.1\r\nHost: app.test\r\nX: y\r\n\r\n";
            let mut examiner = Examiner::default();
            let mut end = 0;
            for cut in cuts {
                end += cut;
                if end >= whole.len() { break; }
                prop_assert_eq!(examiner.examine(&whole[..end]), Sighting::Incomplete);
            }
            prop_assert_eq!(examiner.examine(whole), head("app.test"));
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            examine(&bytes);
            examine(&[b"GET ", &bytes[..], b"\n\n"].concat());
        }
    }
}
