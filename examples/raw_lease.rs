//! Speaks a protocol of its own over a leased connection: PING to a Redis server.
//!
//! ```sh
//! cargo run --example raw_lease -- tcp://127.0.0.1:6379
//! ```

use ringpool::{Config, Engine, block_on, config::UpstreamConfig};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args()
        .nth(1)
        .ok_or("usage: raw_lease tcp://HOST:PORT")?;
    let engine = Engine::start(Config::with_upstream("redis", UpstreamConfig::at(&url)?))?;
    let redis = engine.upstream("redis")?;
    for _ in 0..2 {
        block_on(async {
            let mut lease = redis.checkout().await?;
            lease.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
            let reply = lease.read().await?.unwrap_or_default();
            println!(
                "{:?}, reused: {}",
                String::from_utf8_lossy(&reply),
                lease.reused()
            );
            // We know that the conversation is over, so others may use the connection. Without this
            // line it would be closed: the safe thing is the default.
            lease.release();
            Ok::<_, ringpool::Error>(())
        })?;
    }
    Ok(())
}
