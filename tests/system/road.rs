//! The owner's road, and the way back onto it after a power cut.

use piccolo_tests::{Api, World, story, wait, world};
use serde_json::Value;
use std::{path::Path, time::Duration};
use x509_parser::prelude::{FromDer, X509Certificate};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn from_first_boot_to_an_app_over_https_and_back_after_a_power_cut() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.set_up(world::PASSWORD).await?;
        api.health("ready", LIMIT).await?;
        world.configure_remote(&api).await?;
        let app = api.install(&World::spec("demo")).await?;
        assert_eq!(app["status"], "running", "{app}");
        let port = public_port(&app)?;
        world.device.lan(port, "/").await?.expect(200)?;

        let answer = world.reachable("demo.home.test", "/version", LIMIT).await?;
        assert_eq!(answer.text(), "1");
        names_match(
            &answer.certificate.ok_or("a certificate")?,
            "demo.home.test",
        )?;
        let portal = world.reachable(world::PORTAL, "/", LIMIT).await?;
        assert!(
            portal.text().contains("<div id=\"portal\">"),
            "the built portal: {}",
            portal.text()
        );

        the_edge_keeps_its_promises(&world).await?;
        the_owner_signs_in_from_afar(&world).await?;

        for visit in 1..=3 {
            let answer = world
                .visit_with("POST", "demo.home.test", "/visits", "")
                .await?;
            assert_eq!(answer.expect(200)?.text(), visit.to_string());
        }
        let volume = world.device.state_dir().join("volumes/app-demo-data");
        assert!(
            volume.is_dir(),
            "the app's data lives on an encrypted volume"
        );
        assert!(
            !contains_file(&volume, "visits")?,
            "names are encrypted at rest"
        );

        // A reboot without warning: every process, mount and the engine gone.
        world.device.cut_power()?;
        world.engine.kill();
        assert!(
            world.device.lan(port, "/").await.is_err(),
            "nothing answers any more"
        );
        world.engine.restart().await?;
        world.device.start().await?;
        let mut api = world.device.api();
        api.health("locked", LIMIT).await?;
        assert!(
            world.engine.running().await?.is_empty(),
            "nothing runs before the owner came"
        );
        api.sign_in(world::PASSWORD).await?;
        api.health("ready", LIMIT).await?;
        let answer = world.reachable("demo.home.test", "/visits", LIMIT).await?;
        assert_eq!(answer.text(), "3", "the data is still there");
        world
            .reachable(world::PORTAL, "/health/live", LIMIT)
            .await?;
        let again = api.app("demo").await?;
        assert_eq!(public_port(&again)?, port, "a LAN address never changes");
        assert!(world.device.stop()?.success());
        assert!(
            world.engine.running().await?.is_empty(),
            "a clean stop stops apps"
        );
        Ok(())
    });
}

fn public_port(app: &Value) -> piccolo_tests::Result<u16> {
    let port = app["listeners"][0]["public_port"]
        .as_u64()
        .ok_or("a public port")?;
    Ok(u16::try_from(port)?)
}

fn names_match(der: &[u8], name: &str) -> piccolo_tests::Result<()> {
    let (_, certificate) = X509Certificate::from_der(der)?;
    let names = certificate
        .subject_alternative_name()?
        .ok_or("alternative names")?;
    let text = format!("{:?}", names.value.general_names);
    assert!(text.contains(name), "{text}");
    Ok(())
}

async fn the_edge_keeps_its_promises(world: &World) -> piccolo_tests::Result<()> {
    let plain = world
        .visit_plain("demo.home.test", "/x?y=1")
        .await?
        .expect(308)?;
    assert_eq!(plain.headers["location"], "https://demo.home.test/x?y=1");
    assert!(
        world.visit("unknown.home.test", "/").await.is_err(),
        "an unknown name is closed"
    );
    let head = world
        .visit("demo.home.test", "/headers")
        .await?
        .expect(200)?
        .text()
        .to_lowercase();
    assert!(head.contains("x-forwarded-proto: https"), "{head}");
    assert!(head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
    let large = world
        .visit("demo.home.test", "/bytes/5000000")
        .await?
        .expect(200)?;
    assert_eq!(large.body.len(), 5_000_000);
    Ok(())
}

async fn the_owner_signs_in_from_afar(world: &World) -> piccolo_tests::Result<()> {
    let target = world.remote_target(world::PORTAL).await?;
    let mut afar = Api::over(target, world::PORTAL.to_owned());
    afar.sign_in(world::PASSWORD).await?;
    let status = afar
        .get("/api/v1/remote/status")
        .await?
        .expect(200)?
        .json()?;
    assert_eq!(status["state"], "connected", "{status}");
    wait::until("both certificates", LIMIT, || async {
        let list = afar
            .get("/api/v1/remote/certificates")
            .await?
            .expect(200)?
            .json()?;
        let valid = list["certificates"].as_array().into_iter().flatten();
        let valid = valid
            .filter(|certificate| certificate["status"] == "valid")
            .count();
        if valid == 2 {
            Ok(())
        } else {
            Err(list.to_string().into())
        }
    })
    .await
}

fn contains_file(directory: &Path, name: &str) -> piccolo_tests::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == name
            || (entry.file_type()?.is_dir() && contains_file(&entry.path(), name)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
