//! Fetches one URL, twice: the second time over the same connection.
//!
//! ```sh
//! cargo run --example get -- http://127.0.0.1:8080/
//! ```

use ringpool::{Body, Config, Engine, Trip, block_on};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: get URL")?;
    let engine = Engine::start(Config {
        shards: 1,
        ..Config::default()
    })?;
    for _ in 0..2 {
        let request = http::Request::get(&url).body(Body::empty())?;
        let response = block_on(engine.call(request))?;
        let trip = Trip::of(&response).ok_or("an engine's response knows its trip")?;
        println!(
            "{} from {}, reused: {}",
            response.status(),
            url,
            trip.reused
        );
        let body = block_on(http_body_util::BodyExt::collect(response.into_body()))?.to_bytes();
        println!("{}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
