//! The sample app's image, built on the spot from one static binary: no registry is needed.

use crate::{
    Result,
    http_client::{self, request},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The root of this checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Compiles `compose/sample-app/main.rs` to a static binary.
pub fn compile(directory: &Path) -> Result<PathBuf> {
    let binary = directory.join("guestbook");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
        ])
        .arg("-o")
        .arg(&binary)
        .arg(checkout().join("compose/sample-app/main.rs"))
        .output()?;
    if output.status.success() {
        Ok(binary)
    } else {
        Err(format!("rustc failed: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Builds `tag` from the binary; `version` is what the app then says of itself.
pub async fn build(engine: &Path, binary: &Path, tag: &str, version: &str) -> Result<()> {
    let context = context(binary, version)?;
    let path = format!("/build?t={tag}&q=1&rm=1");
    let headers = [("content-type", "application/x-tar")];
    let request = request("POST", &path, "engine", &headers, context)?;
    let answer = http_client::send_unix(engine, request).await?.expect(200)?;
    // The engine answers 200 first and tells of failures in the stream.
    let text = answer.text();
    if text.contains("\"error\"") {
        Err(format!("image build failed: {text}").into())
    } else {
        Ok(())
    }
}

fn context(binary: &Path, version: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "guestbook", 0o755, &std::fs::read(binary)?)?;
    append(&mut archive, "version", 0o644, version.as_bytes())?;
    let dockerfile = "FROM scratch\nCOPY guestbook /guestbook\nCOPY version /version\n\
                      EXPOSE 8080\nENTRYPOINT [\"/guestbook\"]\n";
    append(&mut archive, "Dockerfile", 0o644, dockerfile.as_bytes())?;
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, data: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(data.len())?);
    header.set_mode(mode);
    header.set_cksum();
    archive.append_data(&mut header, name, data)?;
    Ok(())
}
