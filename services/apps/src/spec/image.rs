//! Image references (https://github.com/distribution/reference, grammar). Pure.

/// What is wrong with a reference, in words; `None` when it is well formed.
pub(crate) fn problem(reference: &str) -> Option<&'static str> {
    if reference.is_empty() || reference.len() > 512 {
        return Some("an image reference has 1 to 512 characters");
    }
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some("a digest is `sha256:` and 64 hexadecimal digits");
    }
    let (path, tag) = split_tag(name);
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("a tag has letters, digits, `_`, `.` and `-`, at most 128");
    }
    let mut components = path.split('/').peekable();
    if let Some(first) = components.peek().copied()
        && path.contains('/')
        && is_registry(first)
    {
        components.next();
    }
    if components.clone().count() == 0 || !components.all(is_component) {
        return Some(
            "a name is lower case, its parts separated by `/`, e.g. docker.io/library/nginx:1.27",
        );
    }
    None
}

/// Repository and tag or digest, as the engine's pull wants them.
pub(crate) fn repository_and_tag(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (split_tag(name).0, digest);
    }
    let (path, tag) = split_tag(reference);
    (path, tag.unwrap_or("latest"))
}

/// Made on this machine and in no registry: never pulled.
pub(crate) fn is_local(reference: &str) -> bool {
    reference.starts_with("localhost/")
}

/// A colon after the last slash begins the tag; before it, a registry's port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    match name[slash..].find(':') {
        Some(at) => (&name[..slash + at], Some(&name[slash + at + 1..])),
        None => (name, None),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    (text == "localhost" || text.contains('.') || port.is_some())
        && !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_component(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        && text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
        && text
            .bytes()
            .last()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_of_the_wild_are_valid() {
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        for good in [
            "nginx",
            "nginx:1.27-Alpine",
            "localhost/guestbook:1",
            "registry.example:5000/team/app:V2",
            "docker.io/library/nginx",
            &digest,
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in [
            "",
            "Nginx",
            "nginx:",
            "a b",
            "nginx@sha256:abc",
            "/x",
            "x/",
            "-x",
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
        assert_eq!(
            repository_and_tag("r.example:5000/a:2"),
            ("r.example:5000/a", "2")
        );
        assert_eq!(repository_and_tag("nginx"), ("nginx", "latest"));
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(text in "\\PC{0,60}") {
            let _ = (problem(&text), repository_and_tag(&text).0.len());
        }
    }
}
