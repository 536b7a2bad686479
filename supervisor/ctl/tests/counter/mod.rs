//! The other side of the counter: a device made of two sockets and prepared answers.

use piccolo_bus_schema::supervisor::{Request, Response};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `POST /api/v1/apps`.
    pub(crate) what: String,
    pub(crate) headers: String,
    pub(crate) body: String,
}

/// Answers of a route, one after the other; the last one again and again.
type Answers = HashMap<String, Vec<(u16, String)>>;

pub(crate) struct Device {
    dir: tempfile::TempDir,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Device {
    /// With an API and no supervisor.
    pub(crate) fn new() -> Self {
        let device = Self::dark();
        let listener = UnixListener::bind(device.path("portal.sock")).expect("bound");
        let answers = Arc::clone(&device.answers);
        let asked = Arc::clone(&device.asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &answers, &asked);
            }
        });
        device
    }

    /// Nobody answers.
    pub(crate) fn dark() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            answers: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// What the API answers to `what`.
    pub(crate) fn on(self, what: &str, status: u16, body: &str) -> Self {
        let mut answers = self.answers.lock().expect("whole");
        let list = answers.entry(what.to_owned()).or_default();
        list.push((status, body.to_owned()));
        drop(answers);
        self
    }

    /// A supervisor that answers each request with these responses and closes.
    pub(crate) fn supervised(
        self,
        answer: impl Fn(Request) -> Vec<Response> + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(self.path("control.sock")).expect("bound");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
                reader.read_line(&mut line).expect("a line");
                let request = serde_json::from_str(&line).expect("a request");
                for response in answer(request) {
                    let line = serde_json::to_string(&response).expect("encoded");
                    let _ = writeln!(stream, "{line}");
                }
            }
        });
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A file with this text.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    }

    /// Everything the API was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("whole").clone()
    }

    /// piccoloctl on this device.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Said {
        run(self.dir.path(), arguments)
    }
}

/// What piccoloctl said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

fn run(runtime_dir: &Path, arguments: &[&str]) -> Said {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_piccoloctl"))
        .arg("--runtime-dir")
        .arg(runtime_dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it ran");
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn serve(mut stream: UnixStream, answers: &Mutex<Answers>, asked: &Mutex<Vec<Asked>>) {
    let Some(request) = read(&stream) else {
        return;
    };
    let mut answers = answers.lock().expect("whole");
    let (status, body) = match answers.get_mut(&request.what) {
        Some(list) if list.len() > 1 => list.remove(0),
        Some(list) => list[0].clone(),
        None => (
            404,
            r#"{"title":"Not Found","detail":"No such route."}"#.to_owned(),
        ),
    };
    asked.lock().expect("whole").push(request);
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn read(stream: &UnixStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let what = first.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        headers.push_str(&line.to_lowercase());
    }
    let length = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Asked {
        what,
        headers,
        body,
    })
}
