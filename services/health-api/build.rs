//! Puts the built portal where the binary can embed it.
//!
//! A checkout whose portal was not built yet still compiles: its pages are then one page that says
//! how to build it, and the whole-system tests refuse such a binary.

use std::{env, fs, io, path::Path};

const UNBUILT: &str = "<!doctype html><meta charset=\"utf-8\"><title>Piccolo</title>\
<p data-portal=\"unbuilt\">The portal is not part of this build. Run <code>npm ci &amp;&amp; npm run build</code> \
in <code>portal-frontend/</code>, then build again.</p>";

fn main() -> io::Result<()> {
    let dist = Path::new("../../portal-frontend/dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let portal = Path::new(&out).join("portal");
    if portal.exists() {
        fs::remove_dir_all(&portal)?;
    }
    fs::create_dir_all(&portal)?;
    if dist.join("index.html").exists() {
        copy(dist, &portal)
    } else {
        fs::write(portal.join("index.html"), UNBUILT)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
