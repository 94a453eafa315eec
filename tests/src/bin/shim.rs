//! The shim alone, for tests that start tasks.
fn main() {
    drover_shell::shim::run_if_asked();
}
