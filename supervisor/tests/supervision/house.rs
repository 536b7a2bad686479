//! A supervisor with its directories, units and a client.

use piccolo_bus_schema::{
    endpoint,
    supervisor::{Request, Response, Status, Unit, UnitState},
};
use piccolod::{Config, Deployment, Layers, Limits, UNITS, prepare_process, run};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// The supervisor process: only the units that were given a behaviour, and short limits.
pub(crate) fn supervise() {
    let config = Config::load(Layers {
        file: None,
        environment: std::env::vars_os()
            .filter(|(key, _)| key.to_string_lossy().starts_with("PICCOLO_"))
            .collect(),
    });
    let names = std::env::var("HOUSE_UNITS").expect("set by the test");
    let units = UNITS
        .into_iter()
        .filter(|unit| names.split(',').any(|name| name == unit.name()))
        .collect();
    let deployment = Deployment {
        binaries: std::env::var_os("HOUSE_BINARIES")
            .expect("set by the test")
            .into(),
        units,
        limits: short_limits(),
    };
    prepare_process().expect("prepared");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime
        .block_on(run(config.expect("valid"), deployment))
        .expect("it ran");
}

fn short_limits() -> Limits {
    Limits {
        patience: Duration::from_secs(2),
        start: Duration::from_millis(1500),
        watchdog: Duration::from_millis(1500),
        grace: Duration::from_millis(500),
        back_off_ceiling: Duration::from_millis(400),
        slow_retry: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// What a test builds.
pub(crate) struct House {
    dir: tempfile::TempDir,
    units: Vec<String>,
    settings: Vec<(String, String)>,
}

/// A house with a supervisor in it. Ends with the test.
pub(crate) struct Running {
    house: House,
    child: Child,
}

impl House {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("bin")).expect("made");
        Self {
            dir,
            units: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// A unit that behaves so.
    pub(crate) fn unit(mut self, name: &str, behaviour: &str) -> Self {
        self.write(name, behaviour);
        self.units.push(name.to_owned());
        self
    }

    pub(crate) fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A script that becomes this test executable.
    fn write(&self, name: &str, behaviour: &str) {
        let me = std::env::current_exe().expect("this executable");
        // What a shell ignores, its successor does too.
        let trap = if behaviour.contains("ignore TERM") {
            "trap '' TERM; "
        } else {
            ""
        };
        let script = format!(
            "#!/bin/sh\n{trap}BEHAVIOUR='{behaviour}' exec {} --exact child --ignored --nocapture\n",
            me.display()
        );
        let path = self.binaries().join(format!("piccolo-{name}"));
        let next = path.with_extension("next");
        fs::write(&next, script).expect("written");
        fs::set_permissions(&next, Permissions::from_mode(0o755)).expect("executable");
        fs::rename(next, path).expect("in place");
    }

    fn binaries(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With short limits and only the units that were given.
    pub(crate) fn start(self) -> Running {
        let me = std::env::current_exe().expect("this executable");
        let mut command = Command::new(me);
        command
            .args(["--exact", "supervisor", "--ignored", "--nocapture"])
            .env("HOUSE_UNITS", self.units.join(","))
            .env("HOUSE_BINARIES", self.binaries());
        self.launch(command)
    }

    /// As if systemd had kept a descriptor, of a file with this text.
    pub(crate) fn start_with_kept(self, name: &str, text: &str) -> Running {
        let kept = self.path("kept");
        fs::write(&kept, text).expect("written");
        let me = std::env::current_exe().expect("this executable");
        let script = format!(
            "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} \
             exec {} --exact supervisor --ignored --nocapture 3<{}",
            me.display(),
            kept.display()
        );
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script])
            .env("HOUSE_UNITS", self.units.join(","))
            .env("HOUSE_BINARIES", self.binaries());
        self.launch(command)
    }

    /// The real executable, with its own units and limits.
    pub(crate) fn real(self) -> Running {
        let path = self.binaries().join("piccolod");
        fs::hard_link(env!("CARGO_BIN_EXE_piccolod"), &path)
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_piccolod"), &path).map(|_| ()))
            .expect("installed");
        let command = Command::new(path);
        self.launch(command)
    }

    fn launch(self, mut command: Command) -> Running {
        self.furnish(&mut command);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("stderr"))
            .expect("opened");
        let child = command
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started");
        let running = Running { house: self, child };
        wait("the control socket", || {
            UnixStream::connect(running.control()).ok().map(|_| ())
        });
        running
    }

    fn furnish(&self, command: &mut Command) {
        command
            .env("PICCOLO_STATE_DIR", self.path("state"))
            .env("PICCOLO_RUNTIME_DIR", self.path("run"))
            .env("PICCOLO_PRIVILEGES", "shared")
            .env("PICCOLO_PORTAL_HTTP", "127.0.0.1:0")
            .env("PICCOLO_PORTAL_HTTPS", "127.0.0.1:0")
            .env("HOUSE_SECRET", "not for children")
            .env_remove("NOTIFY_SOCKET")
            .envs(self.settings.iter().cloned());
    }
}

impl Running {
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.house.path("run")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.house.path("state")
    }

    fn control(&self) -> PathBuf {
        endpoint::control(&self.runtime_dir())
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.control())
    }

    /// One request, one answer.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        let mut client = self.connect();
        client.say(request);
        client.hear().expect("an answer")
    }

    pub(crate) fn status(&self) -> Status {
        match self.ask(&Request::Status) {
            Response::Status(status) => status,
            other => panic!("no status but {other:?}"),
        }
    }

    pub(crate) fn unit_now(&self, name: &str) -> Unit {
        let units = self.status().units;
        let unit = units.into_iter().find(|unit| unit.name == name);
        unit.expect("it is in the table")
    }

    pub(crate) fn wait_until(&self, name: &str, enough: impl Fn(&Unit) -> bool) -> Unit {
        let mut last = None;
        let began = Instant::now();
        loop {
            let unit = self.unit_now(name);
            if enough(&unit) {
                return unit;
            }
            if began.elapsed() > LIMIT {
                let log = self.log(name).join("\n");
                panic!("{name} stays {last:?}\n{log}\n{}", self.stderr());
            }
            last = Some(unit);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn wait_for(&self, name: &str, state: UnitState) -> Unit {
        self.wait_until(name, |unit| unit.state == state)
    }

    /// All lines of a unit that are still kept.
    pub(crate) fn log(&self, unit: &str) -> Vec<String> {
        let mut client = self.connect();
        client.say(&Request::Logs {
            unit: unit.to_owned(),
            tail: 1000,
            follow: false,
        });
        let mut lines = Vec::new();
        while let Some(Response::Log { line, .. }) = client.hear() {
            lines.push(line);
        }
        lines
    }

    pub(crate) fn wait_in_log(&self, unit: &str, text: &str) -> String {
        wait(text, || {
            let lines = self.log(unit);
            lines.into_iter().rev().find(|line| line.contains(text))
        })
    }

    pub(crate) fn number_in_log(&self, unit: &str, before: &str) -> u32 {
        let line = self.wait_in_log(unit, before);
        let (_, number) = line.split_once(before).expect("it contains it");
        number.trim().parse().expect("a number")
    }

    pub(crate) fn kill(&self, pid: Option<u32>) {
        let pid = i32::try_from(pid.expect("it lives")).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("not zero"), Signal::KILL).expect("killed");
    }

    /// Waits until a process is gone: reaped, not only dead.
    pub(crate) fn wait_gone(&self, pid: Option<u32>) {
        let path = format!("/proc/{}", pid.expect("it lived"));
        wait("the end of a process", || {
            let text = fs::read_to_string(format!("{path}/stat")).unwrap_or_default();
            let adopted_zombie = text.contains(") Z 1 ");
            (!Path::new(&path).exists() || adopted_zombie).then_some(())
        });
    }

    pub(crate) fn replace(&self, name: &str, behaviour: &str) {
        self.house.write(name, behaviour);
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("asked");
        wait("the end of piccolod", || {
            self.child.try_wait().expect("a child")
        })
    }

    pub(crate) fn kill_supervisor(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    pub(crate) fn start_again(mut self) -> Running {
        let empty = House {
            dir: tempfile::tempdir().expect("a temporary directory"),
            units: Vec::new(),
            settings: Vec::new(),
        };
        std::mem::replace(&mut self.house, empty).start()
    }

    /// The real executable once more, with the same environment.
    pub(crate) fn run_real(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolod"));
        self.house.furnish(&mut command);
        command.args(arguments).output().expect("it ran")
    }

    /// Names of units in the order of their ends, by piccolod's own words.
    pub(crate) fn ends(&self) -> Vec<String> {
        let text = self.stderr();
        let ended = text.lines().filter(|line| line.contains("\"ended\""));
        ended
            .filter_map(|line| {
                let (_, rest) = line.split_once("\"unit\":\"")?;
                Some(rest.split_once('"')?.0.to_owned())
            })
            .collect()
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.house.path("stderr")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// A connection to the control socket.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connected");
        stream.set_read_timeout(Some(LIMIT)).expect("set");
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn say(&mut self, request: &Request) {
        let mut line = serde_json::to_vec(request).expect("encoded");
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).expect("sent");
    }

    pub(crate) fn hear(&mut self) -> Option<Response> {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("heard in time");
        (!line.is_empty()).then(|| serde_json::from_str(&line).expect("a response"))
    }

    pub(crate) fn hear_until(&mut self, enough: impl Fn(&Response) -> bool) {
        while !enough(&self.hear().expect("the connection stays open")) {}
    }
}

/// A socket that hears what systemd would hear, and the directory it is in.
pub(crate) fn notify_socket() -> (UnixDatagram, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = UnixDatagram::bind(dir.path().join("systemd")).expect("bound");
    socket.set_read_timeout(Some(LIMIT)).expect("set");
    (socket, dir)
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
