//! A relay that is away when it is configured, and comes later.

use piccolo_tests::{World, story, wait, world};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_relay_that_comes_later_is_found_and_one_that_comes_back_is_found_again() {
    story(|| async {
        let mut world = World::start().await?;
        world.relay.kill()?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        world.configure_remote(&api).await?;
        api.install(&World::spec("demo")).await?;
        wait::until("an honest status", LIMIT, || async {
            let status = api
                .get("/api/v1/remote/status")
                .await?
                .expect(200)?
                .json()?;
            let honest = status["state"] == "error" && status["last_error"].is_string();
            if honest {
                Ok(())
            } else {
                Err(status.to_string().into())
            }
        })
        .await?;
        let health = api.health("ready", LIMIT).await?;
        let agent = health["components"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|component| component["name"] == "nexus-agent")
            .ok_or("the agent's component")?;
        assert_eq!(
            agent["level"], "warn",
            "health never depends on the internet: {agent}"
        );
        for _ in 0..2 {
            world.relay.start().await?;
            world.reachable("demo.home.test", "/", LIMIT).await?;
            world.relay.kill()?;
        }
        Ok(())
    });
}
