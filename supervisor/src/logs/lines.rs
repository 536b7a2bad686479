//! Bytes of a pipe into lines.

/// Longest line; a longer one is cut into several.
pub(super) const LINE_LIMIT: usize = 8 * 1024;

/// Collects bytes until a line is complete.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
}

impl Splitter {
    /// Takes bytes and gives the lines they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = LINE_LIMIT - self.partial.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(bytes.len().min(room));
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if end.is_some() {
                bytes = &bytes[1..];
                self.give(&mut line);
            } else if self.partial.len() == LINE_LIMIT {
                self.give(&mut line);
            }
        }
    }

    /// Gives what is left at the end.
    pub(super) fn finish(mut self, mut line: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.give(&mut line);
        }
    }

    /// Control characters become spaces: a log must not move the cursor of whoever reads it.
    fn give(&mut self, line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.partial);
        line(&text.replace(|c: char| c.is_control(), " "));
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |line| lines.push(line.to_owned()));
        }
        splitter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn a_line_may_come_in_pieces_and_the_last_needs_no_end() {
        assert_eq!(
            split(&[b"on", b"e\ntw", b"o\n\nend"]),
            ["one", "two", "", "end"]
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'x'; LINE_LIMIT * 2 + 1];
        let lengths: Vec<_> = split(&[&long]).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_LIMIT, LINE_LIMIT, 1]);
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(text in "[a-z\n]{0,300}", at in 0_usize..300) {
            let bytes = text.as_bytes();
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(split(&[head, tail]), split(&[bytes]));
        }
    }
}
