//! piccolod as a whole, with real children that misbehave.
//!
//! The test executable is also the children: `piccolo-<service>` is a script that becomes this
//! executable, running [`child`] with a behaviour. The supervisor runs as a process of its own,
//! [`supervisor`], with limits short enough to wait for; some tests take the real executable.

#[path = "supervision/behaviour.rs"]
mod behaviour;
#[path = "supervision/house.rs"]
mod house;

use house::House;
use piccolo_bus_schema::supervisor::{Request, Response, UnitState};
use std::time::Duration;

/// Not a test: a child. Ignored, and started by its full name.
#[test]
#[ignore = "a child process of the tests"]
fn child() {
    behaviour::run();
}

/// Not a test: the supervisor with short limits.
#[test]
#[ignore = "a supervisor process of the tests"]
fn supervisor() {
    house::supervise();
}

#[test]
fn a_unit_starts_after_the_ones_it_needs_are_ready_even_when_they_are_late() {
    let house = House::new()
        .unit("host", "ready late")
        .unit("store", "ready")
        .start();
    let store = house.wait_for("store", UnitState::Ready);
    assert_eq!(store.restarts, 0);
    assert_eq!(house.unit_now("host").state, UnitState::Ready);
    let lines = house.log("host").join("\n");
    assert!(lines.contains("late, but ready"), "{lines}");
}

#[test]
fn a_killed_service_is_back_in_less_than_a_second_and_says_how_it_ended() {
    let house = House::new().unit("store", "ready").start();
    let before = house.wait_for("store", UnitState::Ready);
    house.kill(before.pid);
    let began = std::time::Instant::now();
    let after = house.wait_until("store", |unit| {
        unit.state == UnitState::Ready && unit.pid != before.pid
    });
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(after.restarts, 1);
    assert_eq!(after.last_exit.as_deref(), Some("signal 9"));
    assert!(after.memory.is_some_and(|bytes| bytes > 0));
}

#[test]
fn a_service_that_never_says_ready_fails_and_others_do_not_wait_for_it_for_ever() {
    let house = House::new()
        .unit("host", "never ready")
        .unit("store", "ready")
        .start();
    house.wait_for("store", UnitState::Ready);
    let host = house.wait_until("host", |unit| unit.last_exit.is_some());
    assert!(host.restarts > 0 || host.state != UnitState::Ready);
    house.wait_for("host", UnitState::Degraded);
}

#[test]
fn a_crash_loop_is_degraded_and_shows_the_last_log_lines() {
    let house = House::new().unit("store", "crash").start();
    let store = house.wait_until("store", |unit| {
        unit.state == UnitState::Degraded && unit.pid.is_none()
    });
    let lines = store.last_lines.join("\n");
    assert!(lines.contains("the last straw"), "{lines}");
    assert_eq!(store.last_exit.as_deref(), Some("exit code 3"));
}

#[test]
fn exit_78_is_not_restarted_until_the_binary_changes() {
    let house = House::new().unit("store", "misconfigured").start();
    house.wait_for("store", UnitState::Misconfigured);
    house.replace("store", "ready");
    assert_eq!(house.wait_for("store", UnitState::Ready).restarts, 1);
}

#[test]
fn a_stop_reaches_the_whole_group_even_when_term_is_ignored() {
    let house = House::new().unit("store", "ignore TERM and fork").start();
    house.wait_for("store", UnitState::Ready);
    let forked = house.number_in_log("store", "forked ");
    let store = house.unit_now("store");
    assert_eq!(
        house.ask(&Request::Stop {
            unit: "store".into()
        }),
        Response::Done
    );
    let stopped = house.wait_for("store", UnitState::Stopped);
    assert_eq!(stopped.last_exit.as_deref(), Some("signal 9"));
    house.wait_gone(store.pid);
    house.wait_gone(Some(forked));
}

#[test]
fn what_a_service_forked_away_is_ended_with_it_and_reaped() {
    let house = House::new().unit("store", "fork and exit").start();
    let forked = house.number_in_log("store", "forked ");
    house.wait_until("store", |unit| unit.last_exit.is_some());
    house.wait_gone(Some(forked));
}

#[test]
fn a_daemon_in_a_group_of_its_own_survives_its_unit_and_is_reaped_when_it_ends() {
    let house = House::new().unit("store", "leave a daemon").start();
    let store = house.wait_for("store", UnitState::Ready);
    let daemon = house.number_in_log("store", "daemon ");
    house.kill(store.pid);
    house.wait_until("store", |unit| {
        unit.state == UnitState::Ready && unit.pid != store.pid
    });
    let stat = std::fs::read_to_string(format!("/proc/{daemon}/stat")).expect("it lives");
    assert!(
        stat.contains(&format!(") S {} ", house.status().pid)),
        "adopted: {stat}"
    );
    house.kill(Some(daemon));
    house.wait_gone(Some(daemon));
    let second = house.number_in_log("store", "daemon ");
    house.kill(Some(second));
}

#[test]
fn a_deposited_descriptor_comes_back_after_sigkill_and_only_to_its_unit() {
    let house = House::new()
        .unit("store", "deposit")
        .unit("host", "ready")
        .start();
    let before = house.wait_for("store", UnitState::Ready);
    house.wait_in_log("store", "given: none");
    house.kill(before.pid);
    house.wait_in_log("store", "given: key holding first life");
    house.wait_in_log("host", "given: none");
    let again = house.wait_until("store", |unit| {
        unit.state == UnitState::Ready && unit.pid != before.pid
    });
    house.kill(again.pid);
    house.wait_in_log("host", "given: none");
    let lines = house.log("host").join("\n");
    assert!(!lines.contains("first life"), "{lines}");
}

#[test]
fn a_withdrawn_descriptor_does_not_come_back() {
    let house = House::new().unit("store", "deposit and withdraw").start();
    let before = house.wait_for("store", UnitState::Ready);
    house.kill(before.pid);
    house.wait_until("store", |unit| {
        unit.state == UnitState::Ready && unit.pid != before.pid
    });
    let lines = house.log("store");
    let given: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("given: "))
        .collect();
    assert!(given.iter().all(|line| line.contains("none")), "{given:?}");
}

#[test]
fn a_notification_from_another_process_is_refused() {
    let house = House::new().unit("store", "never ready").start();
    house.wait_for("store", UnitState::Starting);
    let socket = house.runtime_dir().join("notify").join("store.sock");
    let stranger = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    house.wait_until("store", |_| stranger.send_to(b"READY=1", &socket).is_ok());
    house.wait_in_log("piccolod", "notification of another process is refused");
    assert_ne!(house.unit_now("store").state, UnitState::Ready);
}

#[test]
fn a_service_that_stops_feeding_its_watchdog_is_killed_and_started_again() {
    let house = House::new().unit("store", "ready and hang").start();
    house.wait_for("store", UnitState::Ready);
    let after = house.wait_until("store", |unit| unit.restarts > 0);
    assert_eq!(after.last_exit.as_deref(), Some("signal 9"));
}

#[test]
fn a_flood_of_log_lines_blocks_neither_the_child_nor_the_supervisor() {
    let house = House::new()
        .unit("store", "flood")
        .unit("host", "ready")
        .start();
    // Said after the flood, so the pipe was read to its end.
    house.wait_in_log("store", "flooded");
    house.wait_for("store", UnitState::Ready);
    let lines = house.log("store");
    assert!(lines.len() <= 500, "{}", lines.len());
}

#[test]
fn logs_can_be_followed_and_files_are_kept() {
    let house = House::new().unit("store", "ready").start();
    house.wait_for("store", UnitState::Ready);
    let mut follower = house.connect();
    follower.say(&Request::Logs {
        unit: "store".into(),
        tail: 100,
        follow: true,
    });
    follower.hear_until(
        |response| matches!(response, Response::Log { line, .. } if line.contains("given: none")),
    );
    let pid = house.unit_now("store").pid;
    house.kill(pid);
    follower.hear_until(
        |response| matches!(response, Response::Log { line, .. } if line.contains("given: none")),
    );
    let file = house.state_dir().join("logs").join("store.log");
    house.wait_until("store", |_| {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("given: none"))
    });
}

#[test]
fn watchers_hear_of_every_change_and_unknown_units_are_refused_with_the_known_ones() {
    let house = House::new().unit("store", "ready").start();
    let mut watcher = house.connect();
    watcher.say(&Request::Watch);
    watcher.hear_until(|response| is_in(response, UnitState::Ready));
    house.ask(&Request::Stop {
        unit: "store".into(),
    });
    watcher.hear_until(|response| is_in(response, UnitState::Stopped));
    house.ask(&Request::Start {
        unit: "store".into(),
    });
    watcher.hear_until(|response| is_in(response, UnitState::Ready));
    let refused = house.ask(&Request::Restart {
        unit: "shop".into(),
    });
    assert!(matches!(refused, Response::Failed { why } if why.contains("store")));
}

fn is_in(response: &Response, state: UnitState) -> bool {
    matches!(response, Response::Status(status) if status.units[0].state == state)
}

#[test]
fn a_stop_of_everything_goes_in_reverse_order() {
    let mut house = House::new()
        .unit("host", "ready")
        .unit("store", "ready")
        .unit("apps", "ready")
        .start();
    house.wait_for("apps", UnitState::Ready);
    assert!(house.stop().success());
    let ended = house.ends();
    assert_eq!(ended, ["apps", "store", "host"]);
    assert!(!house.runtime_dir().join("control.sock").exists());
}

#[test]
fn children_get_a_clean_environment_and_a_group_of_their_own() {
    let house = House::new().unit("store", "ready").start();
    house.wait_for("store", UnitState::Ready);
    let lines = house.log("store").join("\n");
    for expected in [
        "PICCOLO_STATE_DIR=",
        "PICCOLO_PRIVILEGES=shared",
        "LANG=C.UTF-8",
        "PATH=/usr/local/sbin:",
        "NOTIFY_SOCKET=",
        "WATCHDOG_USEC=",
        "umask 0077",
        "group leader true",
        "directory /",
    ] {
        assert!(lines.contains(expected), "{expected} in {lines}");
    }
    assert!(!lines.contains("HOUSE_SECRET"), "{lines}");
}

#[test]
fn children_see_the_end_of_their_stdin_when_piccolod_is_killed() {
    let mut house = House::new().unit("store", "ready").start();
    let store = house.wait_for("store", UnitState::Ready);
    house.kill_supervisor();
    house.wait_gone(store.pid);
    let house = house.start_again();
    let next = house.wait_for("store", UnitState::Ready);
    assert_ne!(next.pid, store.pid);
}

#[test]
fn a_new_piccolod_waits_for_the_children_of_a_killed_one() {
    let mut house = House::new().unit("store", "linger").start();
    let store = house.wait_for("store", UnitState::Ready);
    house.kill_supervisor();
    let house = house.start_again();
    let next = house.wait_for("store", UnitState::Ready);
    assert_ne!(next.pid, store.pid);
    house.wait_gone(store.pid);
    house.wait_in_log("piccolod", "killed a leftover process");
}

#[test]
fn the_portal_sockets_are_handed_to_router_proxy_and_answer_while_it_is_away() {
    let house = House::new().unit("router-proxy", "ready").start();
    let router = house.wait_for("router-proxy", UnitState::Ready);
    house.wait_in_log("router-proxy", "given: portal-http, portal-https");
    let port = house.number_in_log("router-proxy", "portal-http port ");
    house.kill(router.pid);
    std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).expect("a port")))
        .expect("the socket stays while its service is away");
}

#[test]
fn a_busy_port_is_named_with_its_holder_and_taken_when_it_is_free() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("its address");
    let house = House::new()
        .setting("PICCOLO_PORTAL_HTTP", &address.to_string())
        .unit("router-proxy", "ready")
        .unit("host", "ready")
        .start();
    let router = house.wait_for("router-proxy", UnitState::Ready);
    let text = router.status_text.unwrap_or_default();
    assert!(text.contains(&address.port().to_string()), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    house.wait_in_log("router-proxy", "given: portal-https");
    house.wait_for("host", UnitState::Ready);
    drop(busy);
    house.wait_in_log("router-proxy", "given: portal-http, portal-https");
    house.wait_until("router-proxy", |unit| {
        unit.state == UnitState::Ready && unit.status_text.is_none()
    });
}

#[test]
fn systemd_is_told_of_readiness_and_keeps_what_units_deposit() {
    let (systemd, socket) = house::notify_socket();
    let house = House::new()
        .setting(
            "NOTIFY_SOCKET",
            &socket.path().join("systemd").to_string_lossy(),
        )
        .unit("store", "deposit")
        .start();
    house.wait_for("store", UnitState::Ready);
    let mut wanted = vec![
        "READY=1",
        "FDNAME=store/key",
        "FDNAME=piccolod/portal-http",
        "STATUS=1 of 1 services ready",
    ];
    let mut datagram = [0; 4096];
    while !wanted.is_empty() {
        let length = systemd.recv(&mut datagram).expect("in time");
        let text = String::from_utf8_lossy(&datagram[..length]);
        wanted.retain(|line| !text.contains(line));
    }
}

#[test]
fn what_systemd_kept_returns_to_its_unit() {
    let house = House::new().unit("store", "ready").unit("host", "ready");
    let house = house.start_with_kept("store/key", "first life");
    house.wait_in_log("store", "given: key holding first life");
    house.wait_in_log("host", "given: none");
}

#[test]
fn a_second_piccolod_on_the_same_state_names_the_first_one() {
    let house = House::new().unit("store", "ready").real();
    house.wait_for("store", UnitState::Ready);
    let output = house.run_real(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&house.status().pid.to_string()), "{text}");
}

#[test]
fn the_real_executable_runs_all_units_checks_its_configuration_and_refuses_bad_usage() {
    let mut house = House::new()
        .unit("host", "ready")
        .unit("store", "ready")
        .unit("health-api", "ready")
        .real();
    house.wait_for("store", UnitState::Ready);
    house.wait_for("health-api", UnitState::Ready);
    let apps = house.wait_until("apps", |unit| unit.last_exit.is_some());
    assert!(
        apps.last_exit
            .is_some_and(|exit| exit.contains("piccolo-apps"))
    );
    assert_eq!(house.status().units.len(), 7);
    assert_eq!(house.run_real(&["--check"]).status.code(), Some(0));
    assert_eq!(house.run_real(&["--bogus"]).status.code(), Some(64));
    let missing = house.run_real(&["--check", "--config", "/nonexistent.toml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(house.stop().success());
}
