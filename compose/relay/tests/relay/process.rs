//! The program itself: arguments, exit codes, the lines that name its ports, SIGTERM.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::world::identity;

fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus-relay"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn finished(arguments: &[&str]) -> Output {
    relay(arguments).output().unwrap()
}

#[test]
fn wrong_usage_exits_64() {
    for arguments in [&[][..], &["-config"], &["-nonsense"], &["extra"]] {
        assert_eq!(finished(arguments).status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_exits_78_and_names_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.yaml");
    let path = file.to_str().unwrap();
    let base = "backendListenAddress: ':0'\nrelayPorts: [0]\nbackendsJWTSecret: s\n";
    for (extra, named) in [
        ("", "hubTlsCertFile: required"),
        (
            "hubPublicHostname: a.test\n",
            "hubPublicHostname: not supported by this relay",
        ),
        (
            "hubTlsCertFile: /nonexistent\nhubTlsKeyFile: /nonexistent\n",
            "/nonexistent",
        ),
        ("idleTimeoutSeconds: [1]\n", "idleTimeoutSeconds"),
    ] {
        std::fs::write(&file, format!("{base}{extra}")).unwrap();
        let output = finished(&["-config", path]);
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(named), "{said}");
    }
    let missing = directory.path().join("missing.yaml");
    assert_eq!(
        finished(&["--config", missing.to_str().unwrap()])
            .status
            .code(),
        Some(78)
    );
}

#[test]
fn it_names_its_ports_warns_of_unknown_keys_and_stops_on_sigterm() {
    let (files, lines, _) = identity();
    let file = files.path().join("relay.yaml");
    std::fs::write(
        &file,
        format!("backendListenAddress: '127.0.0.1:0'\nrelayPorts: [0, 0]\nfuture: 1\n{lines}"),
    )
    .unwrap();
    let mut child = relay(&["-config", file.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut heard = Vec::new();
    while heard
        .iter()
        .filter(|line: &&String| line.contains("listening"))
        .count()
        < 3
    {
        heard.push(said.next().expect("the relay ended"));
    }
    let all = heard.join("\n");
    assert!(all.contains("future: unknown key, ignored"), "{all}");
    assert!(all.contains("listening role=hub addr=127.0.0.1:"), "{all}");
    assert!(all.contains("listening role=relay port="), "{all}");
    let start = Instant::now();
    let killed = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(1));
}
