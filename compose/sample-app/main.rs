//! A guest book in one file: the sample app of the demo and the tests.
//!
//! Built as one static binary for an image made `FROM scratch`; nothing but the standard library.
//! `GET /` is a page, `POST /visits` counts a visit in `/data/visits`, `GET /visits` tells the count,
//! `GET /headers` echoes the request head, `GET /bytes/N` answers N bytes, `GET /version` tells what
//! is in `/version`.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

const VISITS: &str = "/data/visits";
/// Requests are short; a visitor that sends nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 8080))?;
    println!("guest book open on port 8080, version {}", version());
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("visitor lost: {error}");
            }
        });
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    head: String,
    length: u64,
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader)? {
        io::copy(&mut reader.by_ref().take(request.length), &mut io::sink())?;
        answer(&mut writer, &request)?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.take(64 << 10).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" || line == "\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").into(), words.next().unwrap_or("/").into());
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    Ok(Some(Request { method, path, head, length }))
}

fn answer(writer: &mut impl Write, request: &Request) -> io::Result<()> {
    let path = request.path.split('?').next().unwrap_or("/");
    match (request.method.as_str(), path) {
        ("GET", "/") => respond(writer, "200 OK", "text/html; charset=utf-8", page().as_bytes()),
        ("GET", "/version") => respond(writer, "200 OK", "text/plain", version().as_bytes()),
        ("GET", "/headers") => respond(writer, "200 OK", "text/plain", request.head.as_bytes()),
        ("GET", "/visits") => respond(writer, "200 OK", "text/plain", visits().to_string().as_bytes()),
        ("POST", "/visits") => match count() {
            Ok(visits) => respond(writer, "200 OK", "text/plain", visits.to_string().as_bytes()),
            Err(error) => {
                respond(writer, "507 Insufficient Storage", "text/plain", error.to_string().as_bytes())
            }
        },
        ("GET", path) if path.starts_with("/bytes/") => {
            let size = path["/bytes/".len()..].parse().unwrap_or(0_usize).min(1 << 30);
            respond(writer, "200 OK", "application/octet-stream", &vec![b'x'; size])
        }
        _ => respond(writer, "404 Not Found", "text/plain", b"nothing here"),
    }
}

fn respond(writer: &mut impl Write, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    write!(writer, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    writer.write_all(body)?;
    writer.flush()
}

fn version() -> String {
    fs::read_to_string("/version").map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

fn visits() -> u64 {
    fs::read_to_string(VISITS).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn count() -> io::Result<u64> {
    let visits = visits() + 1;
    let mut file = fs::File::create("/data/visits.new")?;
    write!(file, "{visits}")?;
    file.sync_all()?;
    fs::rename("/data/visits.new", VISITS)?;
    Ok(visits)
}

fn page() -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Guest book</title>\
         <style>body{{font:18px/1.5 system-ui;max-width:32em;margin:4em auto;padding:0 1em}}</style>\
         <h1>Guest book</h1><p>This page comes from an app on your own device, version {}.</p>\
         <p>Visits so far: <strong>{}</strong></p></html>",
        version(),
        visits()
    )
}
