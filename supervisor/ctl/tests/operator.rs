//! piccoloctl as its user sees it, against prepared answers.

mod counter;

use counter::Device;
use piccolo_bus_schema::supervisor::{Request, Response, Status, Unit, UnitState};

fn unit(name: &str, state: UnitState) -> Unit {
    Unit {
        name: name.to_owned(),
        state,
        for_seconds: 75,
        pid: Some(42),
        restarts: 3,
        memory: Some(9_000_000),
        last_exit: Some("signal 9".to_owned()),
        status_text: None,
        last_lines: vec!["out of matches".to_owned()],
    }
}

fn supervisor(request: Request) -> Vec<Response> {
    match request {
        Request::Status | Request::Watch => vec![Response::Status(Status {
            version: "0.1.0".to_owned(),
            uptime: 80,
            pid: 1,
            privileges: "shared".to_owned(),
            units: vec![
                unit("health-api", UnitState::Ready),
                unit("store", UnitState::Degraded),
            ],
        })],
        Request::Logs { unit, .. } => {
            let line = "first line".to_owned();
            vec![Response::Log { unit, line }, Response::Done]
        }
        Request::Restart { unit } if unit == "shop" => vec![Response::Failed {
            why: "there is no unit \"shop\"".to_owned(),
        }],
        Request::Start { .. } | Request::Stop { .. } | Request::Restart { .. } => {
            vec![Response::Done]
        }
    }
}

#[test]
fn a_password_comes_from_a_file_and_reaches_the_device_in_the_body_only() {
    let device = Device::new().on("POST /api/v1/crypto/unlock", 200, r#"{"locked":false}"#);
    let file = device.file("password", "correct horse battery\n");
    let said = device.ctl(&["unlock", "--password-file", &file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("unlocked"));
    let asked = &device.asked()[0];
    assert_eq!(asked.body, r#"{"password":"correct horse battery"}"#);
    assert!(asked.headers.contains("content-type: application/json"));
    assert!(!format!("{said:?}").contains("horse"));
}

#[test]
fn a_password_in_argv_is_a_usage_error() {
    let device = Device::new();
    for arguments in [
        &["unlock", "--password", "horse"][..],
        &["unlock", "horse"],
        &["setup", "horse"],
    ] {
        assert_eq!(device.ctl(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(device.asked().is_empty());
}

#[test]
fn setup_shows_the_recovery_words_and_json_is_the_apis_own() {
    let words: Vec<_> = (1..=24).map(|number| format!("word{number}")).collect();
    let body = serde_json::json!({ "recovery_key": words }).to_string();
    let device = Device::new().on("POST /api/v1/crypto/setup", 201, &body);
    let file = device.file("password", "correct horse battery");
    let said = device.ctl(&["setup", "--password-file", &file]);
    assert!(said.out.contains("24. word24"), "{}", said.out);
    let said = device.ctl(&["--json", "setup", "--password-file", &file]);
    let printed: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(printed["recovery_key"][0], "word1");
}

#[test]
fn refusals_are_told_in_words_and_by_exit_code() {
    let locked = r#"{"title":"Locked","status":423,"detail":"The device is locked.",
        "code":"locked","next_step":"Unlock it with the owner's password."}"#;
    let follower = r#"{"title":"Conflict","status":409,"detail":"This device is a follower.",
        "code":"not_leader","leader":"https://other.example"}"#;
    let device = Device::new().on("GET /api/v1/apps", 423, locked).on(
        "POST /api/v1/remote/disable",
        409,
        follower,
    );
    let said = device.ctl(&["app", "list"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("Next step: Unlock it"), "{}", said.err);
    let said = device.ctl(&["remote", "disable"]);
    assert_eq!(said.code, Some(4));
    assert!(
        said.err.contains("Leader: https://other.example"),
        "{}",
        said.err
    );
    assert_eq!(device.ctl(&["app", "show", "x"]).code, Some(1));
    assert_eq!(device.ctl(&["app", "dance"]).code, Some(2));
}

#[test]
fn an_install_waits_for_its_job_shows_the_stages_and_ends_with_the_addresses() {
    let app = r#"{"name":"blog","status":"running","image":"x","listeners":[{"name":"web",
        "local_url":"http://piccolo.local:35000/","remote_url":"https://web.example.com/"}]}"#;
    let job =
        |stage: &str, end: &str| format!(r#"{{"id":"j1","stage":"{stage}","progress":10{end}}}"#);
    let device = Device::new()
        .on("POST /api/v1/apps", 202, r#"{"app":"blog","job":"j1"}"#)
        .on("GET /api/v1/jobs/j1", 200, &job("pulling", ""))
        .on("GET /api/v1/jobs/j1", 200, &job("starting", ""))
        .on(
            "GET /api/v1/jobs/j1",
            200,
            &job("running", r#","finished":"2026-01-01T00:00:00Z""#),
        )
        .on("GET /api/v1/apps/blog", 200, app);
    let spec = device.file("blog.yaml", "name: blog\n");
    let said = device.ctl(&["app", "install", &spec]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let stages = ["pulling", "starting", "running"].map(|stage| said.err.find(stage));
    assert!(
        stages.iter().all(Option::is_some) && stages.is_sorted(),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("https://web.example.com/"),
        "{}",
        said.out
    );
    let asked = &device.asked()[0];
    assert_eq!(asked.body, "name: blog\n");
    assert!(asked.headers.contains("content-type: application/yaml"));
    let said = device.ctl(&["app", "install", "--no-wait", &spec]);
    assert!(said.out.contains("j1"), "{}", said.out);
}

#[test]
fn a_failed_job_is_a_failed_command_with_the_jobs_explanation() {
    let job = r#"{"id":"j1","stage":"pulling","progress":5,"state":"failed",
        "finished":"2026-01-01T00:00:00Z","error":{"title":"Not Found","status":404,
        "detail":"There is no such image.","next_step":"Check the image's name."}}"#;
    let device = Device::new()
        .on("POST /api/v1/apps/blog/update", 202, r#"{"job":"j1"}"#)
        .on("GET /api/v1/jobs/j1", 200, job);
    let said = device.ctl(&["app", "update", "blog", "--image", "x:2"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no such image"), "{}", said.err);
    assert!(said.err.contains("Check the image's name"), "{}", said.err);
    assert_eq!(device.asked()[0].body, r#"{"image":"x:2"}"#);
}

#[test]
fn the_device_secret_is_read_from_a_file() {
    let device = Device::new().on(
        "POST /api/v1/remote/configure",
        200,
        r#"{"state":"connecting"}"#,
    );
    let file = device.file("secret", "s3cret\n");
    let said = device.ctl(&[
        "remote",
        "configure",
        "--endpoint",
        "wss://r/connect",
        "--tld",
        "b.example",
        "--portal-hostname",
        "p.example",
        "--secret-file",
        &file,
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let body: serde_json::Value = serde_json::from_str(&device.asked()[0].body).expect("JSON");
    assert_eq!(body["device_secret"], "s3cret");
    assert!(body.get("acme_email").is_none());
    assert!(!format!("{said:?}").contains("s3cret"));
}

#[test]
fn the_status_is_one_screen_with_what_is_wrong_and_what_to_do() {
    let health = r#"{"status":"locked","ready":false,"components":[
        {"name":"store","level":"ok","message":"locked"},
        {"name":"engine","level":"error","message":"No engine. Install podman."}]}"#;
    let system = r#"{"version":"0.1.0","uptime":80,"identity":{"hostname":"box"},
        "portal":{"http":"[::]:80","https":"[::]:443","lan_fingerprint":"AA:BB"}}"#;
    let device = Device::new()
        .supervised(supervisor)
        .on("GET /health/detail", 503, health)
        .on("GET /api/v1/system", 200, system)
        .on(
            "GET /api/v1/apps",
            423,
            r#"{"title":"Locked","detail":"The device is locked."}"#,
        )
        .on("GET /api/v1/remote/status", 200, r#"{"state":"disabled"}"#);
    let said = device.ctl(&["status"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in [
        "Device: locked",
        "piccoloctl unlock",
        "engine: No engine. Install podman.",
        "AA:BB",
        "health-api",
        "degraded",
        "out of matches",
        "8.6 MiB",
        "The device is locked",
        "Remote access: disabled",
    ] {
        assert!(said.out.contains(part), "{part} in\n{}", said.out);
    }
    assert!(
        !said.out.contains("store: locked"),
        "only what is wrong is listed"
    );
    let said = device.ctl(&["status", "--json"]);
    let printed: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(printed["health"]["status"], "locked");
    assert_eq!(printed["units"][1]["state"], "degraded");
    assert!(printed["apps"].is_null());
}

#[test]
fn the_status_shows_the_units_when_the_api_is_down_and_fails_when_nobody_answers() {
    let device = Device::dark().supervised(supervisor);
    let said = device.ctl(&["status"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("the API does not answer"), "{}", said.out);
    assert!(said.out.contains("degraded"), "{}", said.out);
    let said = Device::dark().ctl(&["status"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("control.sock"), "{}", said.err);
}

#[test]
fn services_are_listed_restarted_and_their_logs_shown() {
    let device = Device::dark().supervised(supervisor);
    let said = device.ctl(&["service", "list"]);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(lines[0].starts_with("SERVICE     STATE"), "{}", said.out);
    assert!(lines[2].starts_with("store       degraded"), "{}", said.out);
    assert_eq!(device.ctl(&["service", "restart", "store"]).code, Some(0));
    let said = device.ctl(&["service", "restart", "shop"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no unit"), "{}", said.err);
    assert_eq!(
        device.ctl(&["service", "logs", "store"]).out,
        "first line\n"
    );
}

#[test]
fn the_other_nouns_ask_what_they_should() {
    let device = Device::new()
        .on("POST /api/v1/crypto/lock", 204, "")
        .on(
            "POST /api/v1/storage/verify",
            200,
            r#"{"revision":7,"records":9,"commits":7}"#,
        )
        .on(
            "GET /api/v1/storage/volumes",
            200,
            r#"[{"id":"v1","class":"control","size":2048}]"#,
        )
        .on(
            "GET /api/v1/leadership",
            200,
            r#"[{"resource":"kernel","role":"leader","epoch":1}]"#,
        )
        .on(
            "POST /api/v1/leadership/simulate",
            200,
            r#"{"resource":"kernel","role":"follower"}"#,
        )
        .on(
            "GET /api/v1/audit?after=0",
            200,
            r#"[{"sequence":1,"actor":"operator","action":"lock"}]"#,
        )
        .on("GET /api/v1/updates/os", 200, r#"{"driver":"none"}"#)
        .on(
            "GET /api/v1/remote/certificates",
            200,
            r#"{"certificates":[{"id":"a.example"}]}"#,
        )
        .on(
            "DELETE /api/v1/apps/blog?purge=false",
            202,
            r#"{"job":"j"}"#,
        )
        .on(
            "GET /api/v1/apps/blog/logs?tail=5&follow=false",
            200,
            "one\ntwo\n",
        );
    for (arguments, expected) in [
        (&["lock"][..], "locked"),
        (&["store", "verify"], "revision 7"),
        (&["volume", "list"], "2.0 KiB"),
        (&["leadership", "show"], "kernel"),
        (
            &["leadership", "simulate", "kernel", "follower"],
            "follower",
        ),
        (&["audit", "tail"], "operator"),
        (&["update", "show"], "Driver: none"),
        (&["certificate", "list"], "a.example"),
        (&["app", "remove", "blog", "--no-wait"], "job j"),
        (&["app", "logs", "-n", "5", "blog"], "one\ntwo"),
    ] {
        let said = device.ctl(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        assert!(said.out.contains(expected), "{arguments:?}: {said:?}");
    }
    let simulate = device
        .asked()
        .into_iter()
        .find(|asked| asked.what.contains("simulate"));
    let body = simulate.expect("asked").body;
    assert_eq!(body, r#"{"resource":"kernel","role":"follower"}"#);
}

#[test]
fn a_followed_log_shows_lines_as_they_come() {
    let events = "id: 1\ndata: one\n\n: heartbeat\n\nid: 2\ndata: two\n\n";
    let device = Device::new().on(
        "GET /api/v1/apps/blog/logs?tail=100&follow=true",
        200,
        events,
    );
    let said = device.ctl(&["app", "logs", "-f", "blog"]);
    assert_eq!(said.out, "one\ntwo\n");
    assert!(device.asked()[0].headers.contains("text/event-stream"));
}

#[test]
fn a_device_elsewhere_needs_a_token_and_an_encrypted_connection() {
    let device = Device::dark();
    let token = device.file("token", "t0ken");
    let run = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_piccoloctl"))
            .args(arguments)
            .output()
            .expect("it ran")
    };
    let alone = run(&["--url", "https://box.example", "status"]);
    assert_eq!(alone.status.code(), Some(2));
    let clear = run(&[
        "--url",
        "http://box.example",
        "--token-file",
        &token,
        "status",
    ]);
    assert_eq!(clear.status.code(), Some(2));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, Write};
        let (mut stream, _) = listener.accept().expect("a client");
        let reader = std::io::BufReader::new(stream.try_clone().expect("cloned"));
        let lines = reader.lines().map_while(Result::ok);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").expect("sent");
        head.join("\n").to_lowercase()
    });
    let said = run(&["--url", &url, "--token-file", &token, "app", "list"]);
    assert_eq!(said.status.code(), Some(0));
    let head = server.join().expect("it served");
    assert!(head.contains("authorization: bearer t0ken"), "{head}");
}
