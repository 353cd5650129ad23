//! Compiles `src/tree.c` against the sources of libpg_query that the crate pg_query brings along and links.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed=src/tree.c");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rerun-if-env-changed=CARGO_HOME");

    let library = sources(&here)?.join("libpg_query");
    let proto = fs::read_to_string(library.join("protobuf/pg_query.proto"))?;
    fs::write(out.join("pg_query_fields.h"), fields(&proto)?)?;

    let mut build = cc::Build::new();
    build
        .file("src/tree.c")
        .include(&out)
        .include(&library)
        .include(library.join("src"))
        .include(library.join("src/include"))
        .include(library.join("src/postgres/include"))
        // libpg_query's own flags: structs and macros must be what they are there.
        .flag("-fno-strict-aliasing")
        .flag("-fwrapv")
        .warnings(false);
    if env::var("PROFILE")? == "debug" || env::var("DEBUG")? == "1" {
        build.define("USE_ASSERT_CHECKING", None);
    }
    build.compile("pgwarden_grammar");
    Ok(())
}

/// Where the sources of pg_query are, in the version that Cargo.lock names.
fn sources(here: &Path) -> Result<PathBuf, Error> {
    let lock = fs::read_to_string(here.join("../Cargo.lock"))?;
    let (_, package) = lock.split_once("name = \"pg_query\"\nversion = \"").ok_or("pg_query is not in Cargo.lock")?;
    let version = package.split('"').next().ok_or("pg_query has no version in Cargo.lock")?;

    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    for registry in fs::read_dir(home.join("registry/src")).into_iter().flatten() {
        let sources = registry?.path().join(format!("pg_query-{version}"));
        if sources.exists() {
            return Ok(sources);
        }
    }
    // A registry elsewhere, or vendored sources: cargo knows.
    let metadata = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &env::var("TARGET")?])
        .current_dir(here)
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)
        .map_err(|_| format!("cargo metadata: {}", String::from_utf8_lossy(&metadata.stderr)))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let package = packages.iter().find(|it| it["name"] == "pg_query" && it["version"] == version);
    let manifest =
        package.and_then(|it| it["manifest_path"].as_str()).ok_or("cargo metadata does not name pg_query")?;
    Ok(Path::new(manifest).parent().ok_or("pg_query has no directory")?.to_owned())
}

/// A C header with the number of each message's fields: `#define FIELD_<message>_<field> <number>`.
fn fields(proto: &str) -> Result<String, Error> {
    let mut text = String::new();
    for line in proto.lines() {
        let line = line.split("//").next().unwrap_or_default();
        text.extend(line.chars().flat_map(|it| if "{}=;[]".contains(it) { vec![' ', it, ' '] } else { vec![it] }));
        text.push('\n');
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut header = String::new();
    // What the braces that are open belong to: a message, or the one around a oneof, or neither.
    let mut open: Vec<Option<&str>> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        match *word {
            "{" => match words[at.saturating_sub(2)] {
                "message" => open.push(Some(words[at - 1])),
                "oneof" => open.push(open.last().copied().flatten()),
                _ => open.push(None),
            },
            "}" => drop(open.pop()),
            "=" => {
                let (Some(Some(message)), Some(number)) = (open.last(), words.get(at + 1)) else { continue };
                let (name, Ok(number)) = (words[at - 1], number.parse::<u32>()) else { continue };
                writeln!(header, "#define FIELD_{message}_{name} {number}")?;
                // What libpg_query's walk calls the member `float`, a word of C.
                if name == "float" {
                    writeln!(header, "#define FIELD_{message}_{name}_ {number}")?;
                }
            }
            _ => {}
        }
    }
    Ok(header)
}
