//! Documents that name files, commands and messages must name real ones.

use piccolo_bus_schema::registry;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn checkout() -> PathBuf {
    piccolo_tests::image::checkout()
}

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Markdown files of the checkout, without what was installed or built.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![checkout()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "node_modules", "dist", ".git"].contains(&name.as_str())
            {
                waiting.push(path);
            } else if Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "md")
            {
                found.push(path);
            }
        }
    }
    found
}

/// Targets of `[text](target)` that are paths.
fn links(text: &str) -> Vec<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
        .collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        let directory = document.parent().expect("a directory");
        for link in links(&text) {
            assert!(
                directory.join(&link).exists(),
                "{} links to {link}",
                document.display()
            );
        }
    }
}

#[test]
fn the_bus_page_is_the_table_of_the_code() {
    let page = read("docs/bus.md");
    assert!(
        page == registry::page(),
        "run: cargo run -p piccolo-bus-schema --example bus-page > docs/bus.md"
    );
}

#[test]
fn every_dependency_has_its_reason() {
    let page = read("docs/dependencies.md");
    let manifest = read("Cargo.toml");
    let section = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .expect("dependencies");
    let section = section.split("\n[").next().expect("a section");
    for line in section
        .lines()
        .filter(|line| line.contains(" = ") && !line.contains("path = "))
    {
        let name = line.split(" = ").next().expect("a name");
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/dependencies.md lacks {name}"
        );
    }
}

#[test]
fn the_agents_page_links_every_design_page() {
    let page = read("AGENTS.md");
    for entry in fs::read_dir(checkout().join("docs"))
        .expect("docs")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            assert!(
                page.contains(&format!("docs/{name}")),
                "AGENTS.md does not link docs/{name}"
            );
        }
    }
}
