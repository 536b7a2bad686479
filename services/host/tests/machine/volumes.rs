//! Real volumes: gocryptfs, the kernel, and this process as root.

use crate::world::{World, volume};
use nix::sys::signal::{Signal, kill};
use piccolo_bus_schema::{
    Fault,
    host::{ListMounts, MountState},
};
use std::{fs, io::ErrorKind, process::Stdio};

#[tokio::test]
async fn a_volume_keeps_its_data_encrypted_over_an_unmount() {
    let world = World::start().await;
    let mounted = world.mount("app-demo-data", false).await.expect("mounts");
    assert!(mounted.fresh);
    fs::write(mounted.path.join("letter.txt"), "dear diary").expect("writes");

    world.unmount("app-demo-data").await.expect("unmounts");
    assert!(!mounted.path.join("letter.txt").exists());
    assert!(!world.ciphertext_contains("app-demo-data", "letter.txt"));

    let again = world.mount("app-demo-data", false).await.expect("mounts");
    assert!(again.fresh);
    let text = fs::read_to_string(again.path.join("letter.txt")).expect("reads");
    assert_eq!(text, "dear diary");
}

#[tokio::test]
async fn a_mounted_volume_is_not_mounted_twice() {
    let world = World::start().await;
    assert!(world.mount("a", false).await.expect("mounts").fresh);
    assert!(!world.mount("a", false).await.expect("stands").fresh);
    let pids = world.servers("a");
    assert_eq!(pids.len(), 1, "one process serves it: {pids:?}");
}

#[tokio::test]
async fn a_read_only_volume_takes_no_writes() {
    let world = World::start().await;
    let mounted = world.mount("a", true).await.expect("mounts");
    let error = fs::write(mounted.path.join("x"), "x").expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);

    // The store asks for the other mode when it becomes leader.
    let writable = world.mount("a", false).await.expect("mounts anew");
    assert!(writable.fresh);
    fs::write(writable.path.join("x"), "x").expect("writes");
}

#[tokio::test]
async fn a_volume_whose_process_was_killed_is_stale_and_mounts_again() {
    let world = World::start().await;
    let mounted = world.mount("a", false).await.expect("mounts");
    fs::write(mounted.path.join("kept"), "kept").expect("writes");
    for pid in world.servers("a") {
        kill(pid, Signal::SIGKILL).expect("our own process");
    }
    world.until(MountState::Stale, "a").await;

    assert!(world.mount("a", false).await.expect("mounts").fresh);
    let text = fs::read_to_string(mounted.path.join("kept")).expect("reads");
    assert_eq!(text, "kept");
}

#[tokio::test]
async fn a_busy_volume_names_its_holder_and_stays_mounted() {
    let world = World::start().await;
    let mounted = world.mount("a", false).await.expect("mounts");
    let mut holder = std::process::Command::new("sleep")
        .arg("600")
        .current_dir(&mounted.path)
        .stdout(Stdio::null())
        .spawn()
        .expect("sleep runs");
    let fault = world.unmount("a").await.expect_err("held");
    let named = format!("held by sleep (pid {})", holder.id());
    assert!(
        matches!(&fault, Fault::Conflict { why } if why.contains(&named)),
        "{fault}"
    );
    assert_eq!(world.state("a").await, Some(MountState::Mounted));

    holder.kill().expect("our own process");
    holder.wait().expect("reaped");
    world.unmount("a").await.expect("free now");
    assert_eq!(world.state("a").await, Some(MountState::NotMounted));
    assert!(world.servers("a").is_empty(), "the key is out of memory");
}

#[tokio::test]
async fn a_volume_another_mount_namespace_keeps_is_not_called_unmounted() {
    let world = World::start().await;
    world.mount("a", false).await.expect("mounts");
    // As a container would: a namespace of its own that does not hear of our unmounting.
    let mut keeper = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sleep", "600"])
        .spawn()
        .expect("unshare runs");
    world.until_process_is("sleep", keeper.id()).await;
    let fault = world.unmount("a").await.expect_err("kept");
    let named = format!("held by sleep (pid {})", keeper.id());
    assert!(
        matches!(&fault, Fault::Conflict { why } if why.contains(&named)),
        "{fault}"
    );
    // Mounting over it would give two processes one ciphertext.
    let fault = world.mount("a", false).await.expect_err("kept");
    assert!(
        matches!(&fault, Fault::Conflict { why } if why.contains(&named)),
        "{fault}"
    );

    keeper.kill().expect("our own process");
    keeper.wait().expect("reaped");
    world.unmount("a").await.expect("gone now");
}

#[tokio::test]
async fn an_unmounted_mount_point_takes_no_plaintext() {
    let world = World::start().await;
    let mounted = world.mount("a", false).await.expect("mounts");
    world.unmount("a").await.expect("unmounts");
    let error = fs::create_dir(mounted.path.join("data")).expect_err("immutable");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_volume_without_ciphertext_or_with_a_short_key_is_refused_without_a_trace() {
    let world = World::start().await;
    let fault = world
        .mount_uninitialised("ghost")
        .await
        .expect_err("no ciphertext");
    assert!(matches!(fault, Fault::NotFound { .. }), "{fault}");
    let fault = world
        .mount_with_key("a", &[7; 16])
        .await
        .expect_err("a short key");
    assert!(
        matches!(&fault, Fault::Invalid { field, .. } if field == "key"),
        "{fault}"
    );
    assert_ne!(world.state("a").await, Some(MountState::Mounted));
}

#[tokio::test]
async fn what_was_never_mounted_unmounts_with_success() {
    let world = World::start().await;
    world.unmount("never").await.expect("nothing to do");
    let views = world.call(ListMounts {}).await.expect("lists");
    assert!(views.iter().all(|view| view.volume != volume("never")));
}

#[tokio::test]
async fn every_mount_leaves_an_audit_line() {
    let world = World::start().await;
    world.mount("a", false).await.expect("mounts");
    let line = world.audited("volume.mount").await;
    assert_eq!(line.subject, "volume a");
    assert_eq!(line.outcome, "done");
}
