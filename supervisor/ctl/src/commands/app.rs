//! `app`.

use super::{finish, segment};
use crate::{
    Failure, Screen,
    arguments::{App as Verb, Logs, Wait},
    http::{Api, Call},
    status::app_table,
    table::{Table, printable},
    view,
};
use bytes::Bytes;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Specifications are at most 256 KiB; one byte more is enough to be refused.
const SPEC_LIMIT: u64 = 256 * 1024 + 1;

pub(super) async fn run(api: &Api, screen: &Screen, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::List => list(api, screen).await,
        Verb::Install { file, wait } => install(api, screen, &file, wait).await,
        Verb::Show { name } => show(api, screen, &name).await,
        Verb::Start { name, wait } => act(api, screen, &name, "start", None, wait).await,
        Verb::Stop { name, wait } => act(api, screen, &name, "stop", None, wait).await,
        Verb::Update { name, image, wait } => {
            let body = image.map(|image| serde_json::json!({ "image": image }).to_string());
            act(api, screen, &name, "update", body.map(Bytes::from), wait).await
        }
        Verb::Revert { name, wait } => act(api, screen, &name, "revert", None, wait).await,
        Verb::Remove { name, purge, wait } => remove(api, screen, &name, purge, wait).await,
        Verb::Logs(logs) => show_logs(api, screen, &logs).await,
    }
}

async fn list(api: &Api, screen: &Screen) -> Result<(), Failure> {
    let answer = api.call(Call::get("/api/v1/apps")).await?;
    let apps: Vec<view::App> = answer.parse()?;
    screen.show(&answer.value()?, || app_table(&apps));
    Ok(())
}

async fn show(api: &Api, screen: &Screen, name: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/apps/{}", segment(name));
    let answer = api.call(Call::get(&path)).await?;
    let app: view::App = answer.parse()?;
    screen.show(&answer.value()?, || describe(&app));
    Ok(())
}

fn describe(app: &view::App) -> String {
    let mut text = format!("{}: {}\n  Image: {}\n", app.name, app.status, app.image);
    if let Some(detail) = &app.detail {
        text.push_str(&format!("  {}\n", printable(detail.clone())));
    }
    if app.can_revert {
        text.push_str("  The version before is kept: piccoloctl app revert\n");
    }
    let headings = [
        "LISTENER", "GUEST", "PUBLIC", "FLOW", "PROTOCOL", "ROUTE", "LOCAL", "REMOTE",
    ];
    let mut table = Table::new(&headings);
    for listener in &app.listeners {
        table.row([
            listener.name.clone(),
            listener.guest_port.to_string(),
            listener.public_port.to_string(),
            listener.flow.clone(),
            listener.protocol.clone(),
            listener.mode.clone(),
            listener.local_url.clone(),
            listener.remote_url.clone().unwrap_or_default(),
        ]);
    }
    text + &table.or("  It has no listeners.\n")
}

async fn install(api: &Api, screen: &Screen, file: &Path, wait: Wait) -> Result<(), Failure> {
    let spec = read(file).map_err(|source| Failure::File {
        path: PathBuf::from(file),
        source,
    })?;
    let call = Call::post("/api/v1/apps").yaml(Bytes::from(spec));
    let answer = api.call(call).await?;
    let accepted: view::Accepted = answer.parse()?;
    let name = accepted.app.unwrap_or_default();
    finish(api, screen, &answer, wait, &format!("{name} is installed.")).await?;
    if !wait.no_wait && !screen.is_json() {
        show(api, screen, &name).await?;
    }
    Ok(())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut spec = Vec::new();
    if file == Path::new("-") {
        io::stdin().take(SPEC_LIMIT).read_to_end(&mut spec)?;
    } else {
        let file = std::fs::File::open(file)?;
        file.take(SPEC_LIMIT).read_to_end(&mut spec)?;
    }
    Ok(spec)
}

async fn act(
    api: &Api,
    screen: &Screen,
    name: &str,
    verb: &str,
    body: Option<Bytes>,
    wait: Wait,
) -> Result<(), Failure> {
    let path = format!("/api/v1/apps/{}/{verb}", segment(name));
    let call = match body {
        Some(body) => Call::post(&path).json(body),
        None => Call::post(&path),
    };
    let answer = api.call(call).await?;
    finish(
        api,
        screen,
        &answer,
        wait,
        &format!("{name}: {verb} is done."),
    )
    .await
}

async fn remove(
    api: &Api,
    screen: &Screen,
    name: &str,
    purge: bool,
    wait: Wait,
) -> Result<(), Failure> {
    let path = format!("/api/v1/apps/{}?purge={purge}", segment(name));
    let answer = api.call(Call::delete(&path)).await?;
    let kept = if purge {
        "its data is erased"
    } else {
        "its data is kept"
    };
    let done = format!("{name} is removed; {kept}.");
    finish(api, screen, &answer, wait, &done).await
}

async fn show_logs(api: &Api, screen: &Screen, logs: &Logs) -> Result<(), Failure> {
    let name = segment(&logs.name);
    let path = format!(
        "/api/v1/apps/{name}/logs?tail={}&follow={}",
        logs.tail, logs.follow
    );
    if !logs.follow {
        let answer = api.call(Call::get(&path).accept("text/plain")).await?;
        let text = answer.text();
        if !text.is_empty() {
            screen.say(&text);
        }
        return Ok(());
    }
    let call = Call::get(&path).accept("text/event-stream");
    api.stream(call, |line| {
        if let Some(data) = line.strip_prefix("data:") {
            screen.say(&printable(data.trim_start().to_owned()));
        }
    })
    .await
}
