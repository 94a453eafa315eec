//! Drover's consensus beside others', in one run and one thread: `-- --help` says what can be asked.
use std::process::ExitCode;

use drover_peers::Options;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => {
            drover_peers::run(&options);
            ExitCode::SUCCESS
        }
        Err(why) => {
            drover_peers::explain(&why);
            ExitCode::FAILURE
        }
    }
}
