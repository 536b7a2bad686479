//! What a child does.

use rustix::process::{getpgrp, getpid};
use sd_notify::NotifyState;
use std::{
    io::{Read, Seek, Write},
    os::fd::AsFd,
    os::unix::process::CommandExt,
    process::{Command, Stdio, exit},
    time::Duration,
};

/// Behaves as `BEHAVIOUR` says, and never returns.
pub(crate) fn run() -> ! {
    say_what_was_given();
    match std::env::var("BEHAVIOUR").as_deref() {
        Ok("ready") => {}
        Ok("ready late") => {
            std::thread::sleep(Duration::from_millis(400));
            eprintln!("late, but ready");
        }
        Ok("never ready") => until_the_lease_ends(|| {}),
        Ok("crash") => {
            eprintln!("the last straw");
            exit(3);
        }
        Ok("misconfigured") => exit(78),
        Ok("ignore TERM and fork") => fork(),
        Ok("leave a daemon") => {
            let daemon = shell(0);
            eprintln!("daemon {daemon}");
        }
        Ok("fork and exit") => {
            fork();
            exit(1);
        }
        Ok("deposit") => deposit(),
        Ok("deposit and withdraw") => {
            deposit();
            notify(&[NotifyState::FdStoreRemove, NotifyState::FdName("key")]);
        }
        Ok("ready and hang") => {
            notify(&[NotifyState::Ready]);
            until_the_lease_ends(|| {});
        }
        Ok("flood") => {
            notify(&[NotifyState::ExtendTimeoutUsec(60_000_000)]);
            let line = "x".repeat(1000);
            for _ in 0..20_000 {
                eprintln!("{line}");
            }
            eprintln!("flooded");
        }
        Ok("linger") => {
            notify(&[NotifyState::Ready]);
            loop {
                notify(&[NotifyState::Watchdog]);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        other => panic!("no such behaviour: {other:?}"),
    }
    notify(&[NotifyState::Ready]);
    until_the_lease_ends(|| notify(&[NotifyState::Watchdog]));
}

/// The lease is read on a thread of its own; this one keeps house until it has ended.
fn until_the_lease_ends(mut tick: impl FnMut()) -> ! {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        exit(0);
    });
    loop {
        tick();
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn notify(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

fn say_what_was_given() {
    for (key, value) in std::env::vars() {
        eprintln!("{key}={value}");
    }
    let umask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(umask);
    eprintln!("umask 0{:03o}", umask.as_raw_mode());
    eprintln!("group leader {}", getpgrp() == getpid());
    eprintln!(
        "directory {}",
        std::env::current_dir().expect("one").display()
    );
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = Vec::new();
    for (number, name) in names.split(':').filter(|name| !name.is_empty()).enumerate() {
        let number = number + 3;
        if name == "key" {
            // The link leads to the same memory file, of which there is only one offset.
            let path = format!("/proc/self/fd/{number}");
            let text = std::fs::read_to_string(path).expect("readable");
            given.push(format!("key holding {text}"));
        } else {
            eprintln!("{name} port {}", port_of(number));
            given.push(name.to_owned());
        }
    }
    if given.is_empty() {
        given.push("none".to_owned());
    }
    eprintln!("given: {}", given.join(", "));
}

/// The local port of an inherited socket, by the kernel's tables.
fn port_of(number: usize) -> u16 {
    let link = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("open");
    let link = link.to_string_lossy().into_owned();
    let inode = link.trim_start_matches("socket:[").trim_end_matches(']');
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let text: String = tables
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    let line = text
        .lines()
        .find(|line| line.split_ascii_whitespace().nth(9) == Some(inode))
        .expect("a listening socket");
    let local = line.split_ascii_whitespace().nth(1).expect("an address");
    let (_, port) = local.rsplit_once(':').expect("with a port");
    u16::from_str_radix(port, 16).expect("hexadecimal")
}

fn deposit() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"first life").expect("written");
    file.rewind().expect("rewound");
    if std::env::var("LISTEN_FDS").is_err() {
        let state = [NotifyState::FdStore, NotifyState::FdName("key")];
        sd_notify::notify_with_fds(&state, &[file.as_fd()]).expect("deposited");
    }
}

/// A child of the child in the same group, which ignores TERM.
fn fork() {
    let forked = shell(getpgrp().as_raw_nonzero().get());
    eprintln!("forked {forked}");
}

/// Starts a shell that ends only when it is killed, in a group or, with 0, in its own.
fn shell(group: i32) -> u32 {
    #[expect(clippy::zombie_processes, reason = "left behind on purpose")]
    let child = Command::new("/bin/sh")
        .args(["-c", "trap '' TERM; while :; do sleep 1; done"])
        .stdin(Stdio::null())
        .process_group(group)
        .spawn()
        .expect("a shell");
    child.id()
}
