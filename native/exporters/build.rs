//! Embeds the page's files: all that lie in `assets`, by their paths below it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=assets");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where")).join("assets");
    let mut rows = String::new();
    for path in files(&root) {
        let name = path
            .strip_prefix(&root)
            .expect("it lies below")
            .to_string_lossy()
            .replace('\\', "/");
        writeln!(rows, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes all");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    let table = format!("&[\n{rows}]\n");
    fs::write(out.join("assets.rs"), table).expect("cargo's own folder takes it");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    entries.sort();
    entries
        .into_iter()
        .flat_map(|entry| {
            if entry.is_dir() {
                files(&entry)
            } else {
                vec![entry]
            }
        })
        .collect()
}
