//! What a command costs: through both doors, beside a plain Unix socket in the same run.
//!
//! `cargo bench -p piccolo-bus-client` prints a table; nothing here fails on a number.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use piccolo_bus_client::{Bus, Handlers, Signal};
use piccolo_bus_schema::{
    ServiceName,
    app::{ListEndpoints, ReadLogs},
    ids::{AppName, UnixSeconds},
    lock::{LockChanged, LockState},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    runtime::Builder,
};

const PATIENCE: Duration = Duration::from_secs(10);
const WARM_UP: usize = 200;
const ROUNDS: usize = 5_000;
const EVENTS: u64 = 200_000;
/// Events published before the publisher yields: below every queue's bound.
const BURST: u64 = 64;

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("bus")).expect("the bus directory");
    println!(
        "{:44} {:>9} {:>9}",
        "one round trip, 200 bytes", "p50 µs", "p99 µs"
    );
    let plain = plain_socket(directory.path());
    show("plain Unix socket", &plain);
    let guarded = guarded_command(directory.path());
    show("guarded command (both doors, MessagePack)", &guarded);
    println!("ratio of the medians: {:.2}", ratio(&guarded, &plain));
    let rate = events(directory.path());
    println!("events to one subscriber: {rate:.0} per second");
}

fn show(name: &str, sorted: &[Duration]) {
    let micros = |share: usize| sorted[sorted.len() * share / 100].as_secs_f64() * 1e6;
    println!("{name:44} {:>9.1} {:>9.1}", micros(50), micros(99));
}

fn ratio(one: &[Duration], other: &[Duration]) -> f64 {
    let median = |sorted: &[Duration]| sorted[sorted.len() / 2].as_secs_f64();
    median(one) / median(other)
}

/// A process's runtime: one thread, as services have.
fn on_own_thread<F: Future<Output = ()> + Send + 'static>(work: F) {
    std::thread::spawn(move || {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work);
    });
}

fn plain_socket(directory: &Path) -> Vec<Duration> {
    let path = directory.join("plain");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    on_own_thread(async move {
        let listener = UnixListener::from_std(listener).expect("a listener");
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut buffer = [0; 200];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await.expect("a reader");
        }
    });
    measure(async move || {
        let mut stream = UnixStream::connect(&path).await.expect("a server");
        let mut buffer = [7; 200];
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..WARM_UP + ROUNDS {
            let start = Instant::now();
            stream.write_all(&buffer).await.expect("a server");
            stream.read_exact(&mut buffer).await.expect("a server");
            if round >= WARM_UP {
                times.push(start.elapsed());
            }
        }
        times
    })
}

fn measure<F: Future<Output = Vec<Duration>>>(work: impl FnOnce() -> F) -> Vec<Duration> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut times = runtime.block_on(work());
    times.sort_unstable();
    times
}

fn serve(directory: &Path) {
    let directory = directory.to_owned();
    on_own_thread(async move {
        let bus = Bus::open(&directory, ServiceName::Apps);
        let server = bus.bind().await.expect("the endpoints");
        let line = piccolo_bus_schema::app::LogLine {
            sequence: 1,
            at: UnixSeconds(1),
            text: "x".repeat(140),
        };
        let handlers = Handlers::new()
            .on::<ListEndpoints, _, _>(|_, _| async {
                Ok(piccolo_bus_schema::app::Endpoints {
                    endpoints: Vec::new(),
                })
            })
            .on::<ReadLogs, _, _>(move |_, _| {
                let line = line.clone();
                async move { Ok(vec![line]) }
            });
        server.run(handlers, || {}).await.expect("a serving bus");
    });
}

fn guarded_command(directory: &Path) -> Vec<Duration> {
    serve(directory);
    measure(async || {
        let bus = Bus::open(directory, ServiceName::HealthApi);
        let app = AppName::new("bench").expect("a name");
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..WARM_UP + ROUNDS {
            let start = Instant::now();
            let read = ReadLogs {
                app: app.clone(),
                tail: 1,
                after: 0,
            };
            bus.call(read, PATIENCE).await.expect("an answer");
            if round >= WARM_UP {
                times.push(start.elapsed());
            }
        }
        times
    })
}

/// Events per second that arrive at a subscriber of another thread.
fn events(directory: &Path) -> f64 {
    let publisher = directory.to_owned();
    on_own_thread(async move {
        let bus = Bus::open(&publisher, ServiceName::Store);
        let server = bus.bind().await.expect("the endpoints");
        tokio::spawn(server.run(Handlers::new(), || {}));
        loop {
            for _ in 0..BURST {
                bus.publish(&LockChanged {
                    state: LockState::Locked,
                });
            }
            tokio::task::yield_now().await;
        }
    });
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bus = Bus::open(directory, ServiceName::HealthApi);
        let mut signals = bus.subscribe::<LockChanged>(ServiceName::Store);
        let mut arrived = 0;
        let mut start = Instant::now();
        while arrived < EVENTS {
            match signals.next().await {
                Signal::Event(_) => arrived += 1,
                Signal::Resync if arrived == 0 => start = Instant::now(),
                Signal::Resync => {}
            }
        }
        f64::from(u32::try_from(EVENTS).expect("a count")) / start.elapsed().as_secs_f64()
    })
}
