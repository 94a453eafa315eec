//! An agent's broken assertion ends its run and not the hunt, says where it was, and is not printed twice.
//!
//! Invariants
//! - panics of threads that make no run are told as ever.
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_IN_RUN: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic of a run was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does `work`. A panic becomes its words and its place.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(listen);
    let was_in_run = IS_IN_RUN.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    IS_IN_RUN.set(was_in_run);
    outcome.map_err(|panic| format!("{} ({})", words_of(panic.as_ref()), PLACE.take()))
}

fn listen() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if IS_IN_RUN.get() {
            let place = info.location().map(ToString::to_string);
            PLACE.set(place.unwrap_or_default());
        } else {
            before(info);
        }
    }));
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned()
}
