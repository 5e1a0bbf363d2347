//! What a panic said: kept for the verdict instead of printed.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps every panic's message from now on, of every thread for itself.
pub fn keep() {
    panic::set_hook(Box::new(|info| {
        LAST.with(|last| *last.borrow_mut() = info.to_string().replace('\n', " "));
    }));
}

/// What this thread's last panic said.
pub fn last() -> String {
    LAST.with(|last| last.borrow().clone())
}
