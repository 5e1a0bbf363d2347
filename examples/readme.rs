use http_body_util::BodyExt;
use ringpool::{Config, Engine, Trip, config::UpstreamConfig};
use std::{error::Error, time::Duration};

async fn fetch(url: &str, path: &str) -> Result<String, Box<dyn Error>> {
    let users = UpstreamConfig {
        connections_max: 64, // strict, over all shards
        idle_min: 2,         // dialled and handshaken before anyone asks
        ..UpstreamConfig::at(url)?
    };
    let engine = Engine::start(Config::with_upstream("users", users))?;
    engine.ready(Duration::from_secs(5)).await?;

    let users = engine.upstream("users")?; // Clone + Send + Sync, for any runtime or none
    let response = users.call(http::Request::get(path).body(())?).await?;
    if let Some(trip) = Trip::of(&response) {
        println!("{}, reused: {}", response.status(), trip.reused);
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    ringpool::block_on(fetch("http://localhost:8080", "/")).map(|body| println!("{body}"))
}
