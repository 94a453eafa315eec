//! Ctrl-C while something is watched: says how to go on, then ends.
//!
//! Invariants
//! - what runs on the servers goes on: only the watching ends.

/// Shells give this code to what was interrupted.
const INTERRUPTED: i32 = 130;

/// From now on Ctrl-C says `text` before the program ends.
pub(crate) fn say_on_interrupt(text: String) {
    let watch = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a runtime the system's own way of ending is left: only the words are missing.
        if let Ok(runtime) = runtime
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            crate::terminal::Terminal::of_process(true).complain(&text);
            std::process::exit(INTERRUPTED);
        }
    };
    // A watcher that cannot be started costs only the words, too.
    drop(std::thread::Builder::new().name("interrupt".to_owned()).spawn(watch));
}
