//! Runs its requests on the shards' own threads: no queue and no wake-up between a request and its
//! connection, and no allocation in the exchange.
//!
//! ```sh
//! cargo run --release --example on_the_shard -- http://127.0.0.1:8080
//! ```

use ringpool::on_shard::{Head, Shard};
use ringpool::{Config, Engine, block_on, config::UpstreamConfig};

const REQUESTS: u32 = 1000;

async fn load(shard: Shard) -> Result<usize, ringpool::Error> {
    let users = shard.upstream("users")?;
    let mut bytes = 0;
    for _ in 0..REQUESTS {
        let mut exchange = users
            .exchange(Head::get("/").header("accept", "*/*"))
            .await?;
        while let Some(chunk) = exchange.chunk().await? {
            bytes += chunk.len(); // a view of the ring's own buffer
        }
    }
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: on_the_shard URL")?;
    let engine = Engine::start(Config::with_upstream("users", UpstreamConfig::at(&url)?))?;
    for (shard, result) in block_on(engine.spawn_on_each(load)).into_iter().enumerate() {
        println!("shard {shard}: {} bytes in {REQUESTS} responses", result??);
    }
    let snapshot = block_on(engine.snapshot())?;
    println!(
        "{} connections opened, {} reuses",
        snapshot.connections_opened, snapshot.hits
    );
    Ok(())
}
