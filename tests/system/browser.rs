//! The owner's road in a real browser, at desktop and phone size.

use piccolo_tests::{World, image::checkout, story};
use std::process::Command;

#[test]
fn an_owner_walks_the_road_in_a_browser() {
    story(|| async {
        let mut world = World::start().await?;
        world.device.start().await?;
        let pictures = checkout().join("target/portal-pictures");
        let output = Command::new("node")
            .arg("e2e/portal.e2e.mjs")
            .current_dir(checkout().join("portal-frontend"))
            .env(
                "PICCOLO_PORTAL_URL",
                format!("http://127.0.0.1:{}", world.device.portal_http()),
            )
            .env(
                "PICCOLO_SAMPLE_SPEC",
                checkout().join("compose/sample-app/guestbook.yaml"),
            )
            .env("PICCOLO_SCREENSHOT_DIR", pictures)
            .output()?;
        let words = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{words}{errors}\n{}", world.device.output_tail()).into())
    });
}
