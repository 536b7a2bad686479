//! Roles: a follower of an app serves nothing locally, and serves again as its leader.

use piccolo_tests::{World, story, wait, world};
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_app_this_node_follows_is_not_served_here_and_returns_with_the_lead() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        world.configure_remote(&api).await?;
        let app = api.install(&World::spec("demo")).await?;
        let port = u16::try_from(
            app["listeners"][0]["public_port"]
                .as_u64()
                .ok_or("a port")?,
        )?;
        world.reachable("demo.home.test", "/", LIMIT).await?;

        world
            .device
            .ctl(&["leadership", "simulate", "app:demo", "follower"])?;
        wait::until("the container to be gone", LIMIT, || async {
            let running = world.engine.running().await?;
            if running.is_empty() {
                Ok(())
            } else {
                Err(format!("{running:?}").into())
            }
        })
        .await?;
        wait::until("the route to be a tunnel", LIMIT, || async {
            let app = api.app("demo").await?;
            let tunnel = app["listeners"][0]["mode"] == "tunnel" && app["status"] == "standby";
            if tunnel {
                Ok(())
            } else {
                Err(app.to_string().into())
            }
        })
        .await?;
        world.device.lan(port, "/").await?.expect(503)?;
        world.visit("demo.home.test", "/").await?.expect(503)?;
        api.health("ready", LIMIT).await?;

        world
            .device
            .ctl(&["leadership", "simulate", "app:demo", "leader"])?;
        world.reachable("demo.home.test", "/", LIMIT).await?;
        world.device.lan(port, "/").await?.expect(200)?;
        Ok(())
    });
}

#[test]
fn a_follower_of_the_kernel_can_be_read_but_not_changed() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        world
            .device
            .ctl(&["leadership", "simulate", "kernel", "follower"])?;
        let mut reader = world.device.api();
        reader.sign_in(world::PASSWORD).await?;
        reader.get("/api/v1/apps").await?.expect(200)?;
        let configure = json!({ "endpoint": "wss://relay.example/connect" });
        let refused = reader
            .post("/api/v1/remote/configure", &configure)
            .await?
            .expect(409)?;
        assert_eq!(refused.json()?["code"], "not_leader");
        world
            .device
            .ctl(&["leadership", "simulate", "kernel", "leader"])?;
        world.configure_remote(&reader).await?;
        Ok(())
    });
}
