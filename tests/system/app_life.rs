//! An app's life: changed, gone back, stopped, removed with its data kept, purged.

use piccolo_tests::{Api, Result, World, image, story, wait, world};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_change_that_fails_leaves_the_old_version_serving() {
    story(|| async {
        let (world, api) = ready_world().await?;
        let app = api.install(&World::spec("demo")).await?;
        let port = public_port(&app)?;
        assert_eq!(world.device.lan(port, "/version").await?.text(), "1");

        let broken = World::spec("demo").replace("guestbook:1", "guestbook:absent");
        let refused = change(&api, &broken).await;
        let why = refused.expect_err("a failed job").to_string();
        assert!(why.contains("guestbook:absent"), "{why}");
        assert_eq!(
            world
                .device
                .lan(port, "/version")
                .await?
                .expect(200)?
                .text(),
            "1"
        );

        let socket = world.engine.socket();
        image::build(
            &socket,
            &world.guestbook,
            "localhost/piccolo-guestbook:2",
            "2",
        )
        .await?;
        change(
            &api,
            &World::spec("demo").replace("guestbook:1", "guestbook:2"),
        )
        .await?;
        assert_eq!(
            world
                .device
                .lan(port, "/version")
                .await?
                .expect(200)?
                .text(),
            "2"
        );
        api.act("demo", "revert").await?;
        assert_eq!(
            world
                .device
                .lan(port, "/version")
                .await?
                .expect(200)?
                .text(),
            "1"
        );
        assert_eq!(
            world.engine.running().await?.len(),
            1,
            "no old container is left running"
        );
        Ok(())
    });
}

#[test]
fn data_and_address_outlive_a_removal_and_not_a_purge() {
    story(|| async {
        let (world, api) = ready_world().await?;
        let port = public_port(&api.install(&World::spec("demo")).await?)?;
        let visit = || post_visit(port);
        assert_eq!(visit().await?, "1");
        api.act("demo", "stop").await?;
        // The edge hears of it a moment after the job's end.
        wait::until("the stopped app's page", LIMIT, || async {
            world.device.lan(port, "/").await?.expect(503).map(|_| ())
        })
        .await?;
        api.act("demo", "start").await?;
        assert_eq!(visit().await?, "2");

        remove(&api, "").await?;
        api.get("/api/v1/apps/demo").await?.expect(404)?;
        assert!(world.engine.running().await?.is_empty());
        let again = public_port(&api.install(&World::spec("demo")).await?)?;
        assert_eq!(again, port);
        assert_eq!(visit().await?, "3");

        remove(&api, "?purge=true").await?;
        assert!(
            !world
                .device
                .state_dir()
                .join("volumes/app-demo-data")
                .exists()
        );
        api.install(&World::spec("demo")).await?;
        assert_eq!(visit().await?, "1", "purged data is gone");
        Ok(())
    });
}

#[test]
fn an_app_is_confined_and_comes_back_when_it_is_killed() {
    story(|| async {
        let (world, api) = ready_world().await?;
        let port = public_port(&api.install(&World::spec("demo")).await?)?;
        let name = world.engine.running().await?.pop().ok_or("a container")?;
        let container = world
            .engine
            .get(&format!("/containers/{name}/json"))
            .await?;
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
        assert_eq!(host["LogConfig"]["Type"], "none");
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["Memory"], 64_000_000);
        assert_eq!(host["NanoCpus"], 500_000_000);
        let pid = container["State"]["Pid"].as_i64().ok_or("a process")?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        wait::until("the app to be back", LIMIT, || async {
            let running = world.engine.running().await?;
            let container = world
                .engine
                .get(&format!(
                    "/containers/{}/json",
                    running.first().ok_or("none")?
                ))
                .await?;
            if container["State"]["Pid"] == i64::from(pid.as_raw()) {
                return Err("still the dead one".into());
            }
            world.device.lan(port, "/").await?.expect(200).map(|_| ())
        })
        .await
    });
}

async fn ready_world() -> Result<(World, Api)> {
    let mut world = World::start().await?;
    world.device.start().await?;
    let mut api = world.device.api();
    api.set_up(world::PASSWORD).await?;
    api.health("ready", LIMIT).await?;
    Ok((world, api))
}

fn public_port(app: &Value) -> Result<u16> {
    Ok(u16::try_from(
        app["listeners"][0]["public_port"]
            .as_u64()
            .ok_or("a public port")?,
    )?)
}

async fn change(api: &Api, spec: &str) -> Result<Value> {
    let yaml = Some("application/yaml");
    let accepted = api
        .send("POST", "/api/v1/apps", yaml, &[], spec)
        .await?
        .expect(202)?
        .json()?;
    api.job_done(accepted["job"].as_str().unwrap_or_default())
        .await
}

async fn remove(api: &Api, query: &str) -> Result<Value> {
    let accepted = api
        .delete(&format!("/api/v1/apps/demo{query}"))
        .await?
        .expect(202)?
        .json()?;
    api.job_done(accepted["job"].as_str().unwrap_or_default())
        .await
}

/// One counted visit. Only an answer of the app counts: the edge's own page is asked past.
async fn post_visit(port: u16) -> Result<String> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let target = piccolo_tests::http_client::Target::Plain(address);
    wait::until("the app behind the edge", LIMIT, || async {
        let request = piccolo_tests::http_client::request("GET", "/version", "demo", &[], "")?;
        piccolo_tests::http_client::send(&target, request)
            .await?
            .expect(200)
            .map(|_| ())
    })
    .await?;
    let request = piccolo_tests::http_client::request("POST", "/visits", "demo", &[], "")?;
    Ok(piccolo_tests::http_client::send(&target, request)
        .await?
        .expect(200)?
        .text())
}
