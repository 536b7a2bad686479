//! `piccolo-demo`: the whole road on one machine, step by step. Started by `compose/demo`.

use piccolo_tests::{Api, Result, World, engine::Engine, relay::random_secret, weight, world};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: compose/demo [--exit] [--state DIR]

  --exit       stop after the check; exit code 0 only if every step worked
  --state DIR  keep everything in DIR, which must be empty or of an earlier demo's making";

/// What was asked for.
struct Options {
    exit: bool,
    state: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(demonstrate(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("  ✗ {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> std::result::Result<Options, String> {
    let mut options = Options {
        exit: false,
        state: None,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--exit" => options.exit = true,
            "--state" => {
                let directory = arguments.next().ok_or("--state needs a directory")?;
                options.state = Some(std::path::absolute(directory).map_err(|e| e.to_string())?);
            }
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(options)
}

/// Prints each step with its time.
struct Steps {
    start: Instant,
    last: Instant,
}

impl Steps {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            last: now,
        }
    }

    fn done(&mut self, what: &str) {
        println!("  ✓ {:6.2} s  {what}", self.last.elapsed().as_secs_f64());
        let _ = std::io::stdout().flush();
        self.last = Instant::now();
    }
}

/// Walks the road, then waits if wished, then stops. Ctrl-C and SIGTERM end it wherever it is:
/// dropping the walk ends everything it started.
async fn demonstrate(options: &Options) -> Result<()> {
    let mut world = tokio::select! {
        walked = walk(options) => walked?,
        asked = asked_to_stop() => {
            asked?;
            return Err("stopped before the end of the road".into());
        }
    };
    if !options.exit {
        println!("\nRunning until Ctrl-C.");
        asked_to_stop().await?;
        println!("\nStopping.");
    }
    let status = world.device.stop()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("piccolod ended with {status}").into())
    }
}

async fn asked_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn walk(options: &Options) -> Result<World> {
    let temporary = tempfile::Builder::new().prefix("pic").tempdir_in("/tmp")?;
    let directory = match &options.state {
        Some(directory) => {
            std::fs::create_dir_all(directory)?;
            if directory.as_os_str().len() > 60 {
                return Err("--state: the path is over 60 bytes, too long for Unix sockets".into());
            }
            directory.clone()
        }
        None => temporary.path().to_owned(),
    };
    let password = password(&directory)?;
    let mut steps = Steps::new();
    println!("\nThe road, from first boot to an app over HTTPS:\n");
    let engine = Engine::find_or_start(&directory.join("engine")).await?;
    steps.done("container engine");
    let mut world = World::around(&directory, engine, &mut |part| steps.done(part)).await?;
    let mut api = world.device.api();
    road(&mut world, &mut api, &password, &mut steps).await?;
    println!(
        "\n  the whole road took {:.1} s\n",
        steps.start.elapsed().as_secs_f64()
    );
    print_weights(&directory);
    print_addresses(&world, &directory, &password).await?;
    world.keep(temporary);
    Ok(world)
}

async fn road(world: &mut World, api: &mut Api, password: &str, steps: &mut Steps) -> Result<()> {
    world.device.start().await?;
    let status = api.get("/api/v1/crypto/status").await?.json()?;
    if status["initialized"] == true {
        steps.done("piccolod and its services started on an earlier state");
    } else {
        steps.done("piccolod and its services started");
        let words = api.set_up(password).await?;
        steps.done(&format!(
            "owner's password set, {} recovery words given",
            words.len()
        ));
        world.device.stop()?;
        world.device.start().await?;
        api.health("locked", Duration::from_secs(60)).await?;
        steps.done("restarted: locked, waiting for its owner");
    }
    api.sign_in(password).await?;
    api.health("ready", Duration::from_secs(60)).await?;
    steps.done("unlocked and ready, every required component ok");
    world.configure_remote(api).await?;
    world
        .reachable(world::PORTAL, "/health/live", Duration::from_secs(120))
        .await?;
    steps.done(&format!(
        "portal at https://{} through the relay",
        world::PORTAL
    ));
    let app = match api.app("guestbook").await {
        Ok(app) => app,
        Err(_) => api.install(&World::spec("guestbook")).await?,
    };
    steps.done("sample app installed, its data on an encrypted volume");
    let port = app["listeners"][0]["public_port"]
        .as_u64()
        .unwrap_or_default();
    world
        .device
        .lan(u16::try_from(port)?, "/")
        .await?
        .expect(200)?;
    steps.done(&format!("sample app answers on the LAN at port {port}"));
    let name = format!("guestbook.{}", world::TLD);
    world
        .reachable(&name, "/", Duration::from_secs(120))
        .await?;
    let visits = world
        .visit_with("POST", &name, "/visits", "")
        .await?
        .expect(200)?
        .text();
    steps.done(&format!(
        "sample app at https://{name} through the relay, visit {visits}"
    ));
    Ok(())
}

fn print_weights(directory: &Path) {
    let weights = weight::of_device(&directory.join("device"));
    let mebibytes = |kib: u64| format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024);
    println!("  what each process weighs (proportional set size)");
    for one in &weights {
        println!("    {:22} {:>10}", one.name, mebibytes(one.pss_kib));
    }
    let sum = weights.iter().map(|one| one.pss_kib).sum();
    println!("    {:22} {:>10}\n", "together", mebibytes(sum));
}

/// The password of an earlier demo in this directory, or a new one.
fn password(directory: &Path) -> Result<String> {
    let file = directory.join("demo-password");
    if let Ok(password) = std::fs::read_to_string(&file) {
        return Ok(password);
    }
    let password: String = random_secret()?.chars().take(23).collect();
    std::fs::write(&file, &password)?;
    Ok(password)
}

async fn print_addresses(world: &World, directory: &Path, password: &str) -> Result<()> {
    let root = directory.join("issuing-root.pem");
    std::fs::write(&root, world.authority.root().await?)?;
    let (portal, relay) = (world.device.portal_http(), world.ports.relay_https);
    println!("  portal on this machine   http://127.0.0.1:{portal}/");
    println!(
        "  portal, encrypted        https://127.0.0.1:{}/",
        world.device.portal_https()
    );
    println!("  owner's password         {password}");
    println!(
        "  portal through the relay https://{}:{relay}/",
        world::PORTAL
    );
    println!(
        "  app through the relay    https://guestbook.{}:{relay}/",
        world::TLD
    );
    println!(
        "\n  try it:  curl --cacert {} --connect-to ::127.0.0.1:{relay} https://guestbook.{}/",
        root.display(),
        world::TLD
    );
    println!(
        "  operate: target/debug/piccoloctl --runtime-dir {} status",
        world.device.runtime_dir().display()
    );
    Ok(())
}
