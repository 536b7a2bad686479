//! Any process may die at any moment: afterwards the old app answers, and a new one goes the whole
//! road.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use piccolo_tests::{World, story, wait, world};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

const SERVICES: [&str; 7] = [
    "store",
    "apps",
    "router-proxy",
    "nexus-agent",
    "acme",
    "health-api",
    "host",
];

#[test]
fn the_road_works_after_the_sudden_death_of_each_service() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        world.configure_remote(&api).await?;
        api.install(&World::spec("old")).await?;
        world.reachable("old.home.test", "/", LIMIT).await?;
        for service in SERVICES {
            let pid = world.device.pid_of(service).await?;
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            wait::until(&format!("{service} to be back"), LIMIT, || async {
                match world.device.pid_of(service).await? {
                    same if same == pid => Err("still the dead one".into()),
                    _ => Ok(()),
                }
            })
            .await?;
            api.health("ready", LIMIT)
                .await
                .map_err(|error| format!("after {service}: {error}"))?;
            world
                .reachable("old.home.test", "/", LIMIT)
                .await
                .map_err(|error| format!("after {service}: {error}"))?;
            let name = format!("new-{service}");
            api.install(&World::spec(&name))
                .await
                .map_err(|error| format!("after {service}: {error}"))?;
            world
                .reachable(&format!("{name}.home.test"), "/", LIMIT)
                .await
                .map_err(|error| format!("after {service}: {error}"))?;
        }
        assert!(world.device.stop()?.success());
        Ok(())
    });
}
