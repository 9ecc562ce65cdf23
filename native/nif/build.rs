//! The layout stamp: two builds may hand state to each other only if all that shapes it is the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

// What lies in memory comes from these sources, the locked dependencies, the compiler and its settings.
const SHAPES: [&str; 5] = [
    "../core/src",
    "../store/src",
    "../exporters/src",
    "src",
    "../../Cargo.lock",
];

fn main() {
    let mut stamp = DefaultHasher::new();
    for variable in [
        "TARGET",
        "PROFILE",
        "OPT_LEVEL",
        "CARGO_PKG_VERSION",
        "CARGO_FEATURE_TLS",
    ] {
        env::var(variable).unwrap_or_default().hash(&mut stamp);
    }
    compiler().hash(&mut stamp);
    for path in SHAPES {
        println!("cargo:rerun-if-changed={path}");
        sources(Path::new(path))
            .iter()
            .for_each(|file| fs::read(file).unwrap_or_default().hash(&mut stamp));
    }
    if env::var_os("CARGO_FEATURE_OTHER_LAYOUT").is_some() {
        "other".hash(&mut stamp);
    }
    println!("cargo:rustc-env=KANTOKU_LAYOUT={:016x}", stamp.finish());
}

fn compiler() -> Vec<u8> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = std::process::Command::new(rustc).arg("-vV").output();
    told.map(|output| output.stdout).unwrap_or_default()
}

fn sources(path: &Path) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(path) else {
        return vec![path.to_path_buf()];
    };
    let mut entries: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries.iter().flat_map(|entry| sources(entry)).collect()
}
