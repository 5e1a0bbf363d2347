//! A tokio current-thread runtime, and callers on it.

use std::future::Future;
use tokio::runtime::{Builder, Runtime};

pub(super) fn new() -> Result<Runtime, String> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|why| format!("cannot start a runtime: {why}"))
}

/// Runs each of `tasks` as a task of its own until all have ended.
pub(super) async fn join<T>(tasks: impl Iterator<Item = T>) -> Result<(), String>
where
    T: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    for task in tasks {
        task.await.map_err(|why| why.to_string())?;
    }
    Ok(())
}
