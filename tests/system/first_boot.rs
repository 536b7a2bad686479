//! A device out of its box, and a device without its parts.

use piccolo_tests::{Device, Result, World, device::Settings, story, wait, world};
use serde_json::json;
use std::{path::PathBuf, time::Duration};

#[test]
fn a_new_device_is_healthy_in_setup_and_ready_once_it_has_an_owner() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        let health = api.health("setup", Duration::from_secs(30)).await?;
        assert_eq!(health["ready"], false);
        let weak = api
            .post("/api/v1/crypto/setup", &json!({ "password": "short" }))
            .await?;
        let problem = weak.expect(422)?.json()?;
        assert_eq!(problem["field"], "password", "{problem}");
        let words = api.set_up(world::PASSWORD).await?;
        assert_eq!(words.len(), 24);
        let health = api.health("ready", Duration::from_secs(30)).await?;
        for component in health["components"].as_array().ok_or("components")? {
            assert_eq!(component["level"], "ok", "{component}");
        }
        let again = api
            .post(
                "/api/v1/crypto/setup",
                &json!({ "password": world::PASSWORD }),
            )
            .await?;
        again.expect(409)?;
        assert!(world.device.stop()?.success());
        Ok(())
    });
}

#[test]
fn a_wrong_password_opens_nothing_and_is_slowed_down() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        api.send("POST", "/api/v1/crypto/lock", None, &[], "")
            .await?
            .expect(204)?;
        let mut stranger = world.device.api();
        let wrong = json!({ "password": "not the owner's password" });
        for _ in 0..5 {
            stranger
                .post("/api/v1/crypto/unlock", &wrong)
                .await?
                .expect(401)?;
        }
        let slowed = stranger
            .post("/api/v1/crypto/unlock", &wrong)
            .await?
            .expect(429)?;
        assert!(slowed.headers.contains_key("retry-after"));
        let status = stranger.get("/api/v1/crypto/status").await?.json()?;
        assert_eq!(status, json!({ "initialized": true, "locked": true }));
        wait::until("the throttle to end", Duration::from_secs(30), || async {
            let right = json!({ "password": world::PASSWORD });
            stranger
                .post("/api/v1/crypto/unlock", &right)
                .await?
                .expect(200)
                .map(|_| ())
        })
        .await?;
        stranger.sign_in(world::PASSWORD).await?;
        Ok(())
    });
}

#[test]
fn an_invalid_spec_names_every_problem_and_changes_nothing() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        let spec =
            "name: Demo\nimage: localhost/x:1\nlisteners:\n  - name: demo\n    guest_prot: 80\n";
        let yaml = Some("application/yaml");
        let checked = api
            .send("POST", "/api/v1/apps/validate", yaml, &[], spec)
            .await?
            .expect(200)?;
        let checked = checked.json()?;
        assert_eq!(checked["valid"], false);
        assert!(
            checked.to_string().contains("guest_port"),
            "names the nearest key: {checked}"
        );
        let refused = api
            .send("POST", "/api/v1/apps", yaml, &[], spec)
            .await?
            .expect(422)?
            .json()?;
        assert!(refused["field"].is_string(), "{refused}");
        assert_eq!(api.get("/api/v1/apps").await?.json()?, json!([]));
        assert!(world.engine.running().await?.is_empty());
        Ok(())
    });
}

#[test]
fn a_device_without_an_engine_says_what_to_install_and_serves_on() {
    story(|| async {
        let directory = tempfile::Builder::new().prefix("pic").tempdir_in("/tmp")?;
        let mut device = device_without_parts(directory.path().join("device"))?;
        device.start().await?;
        let mut api = device.api();
        api.set_up(world::PASSWORD).await?;
        let health = api.health("fault", Duration::from_secs(30)).await?;
        let engine = health["components"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|component| component["name"] == "engine")
            .ok_or("an engine component")?;
        assert_eq!(engine["level"], "error");
        assert!(
            engine["message"]
                .as_str()
                .is_some_and(|text| text.contains("nstall")),
            "{engine}"
        );
        let status = api.get("/health/ready").await?.status;
        assert_eq!(status, 503);
        let page = device.lan(device.portal_http(), "/").await?.expect(200)?;
        assert!(page.text().contains("<!doctype html") || page.text().contains("<!DOCTYPE html"));
        Ok(())
    });
}

fn device_without_parts(directory: PathBuf) -> Result<Device> {
    let ports = world::Ports::pick()?;
    Device::prepare(Settings {
        engine_socket: directory.join("no-engine.sock"),
        binaries: world::binaries()?,
        portal_http: ports.portal_http,
        portal_https: ports.portal_https,
        health: ports.health,
        acme_directory: format!("https://localhost:{}/dir", ports.acme),
        acme_ca_file: None,
        remote_ca_file: None,
        directory,
    })
}
