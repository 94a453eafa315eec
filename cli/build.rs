//! Names the commit that is built, where there is one to name.
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let named = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output();
    let named = named.ok().filter(|output| output.status.success());
    if let Some(commit) = named.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo::rustc-env=DROVER_COMMIT={}", commit.trim());
    }
}
