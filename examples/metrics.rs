//! Calls a server once a second and shows the engine's figures to Prometheus:
//! `cargo run --features prometheus --example metrics -- http://localhost:8080 127.0.0.1:9464`, then `curl 127.0.0.1:9464/metrics`.

use ringpool::config::UpstreamConfig;
use ringpool::telemetry::PrometheusEndpoint;
use ringpool::{Config, Engine, block_on};
use std::error::Error;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, listen] = arguments.as_slice() else {
        return Err("usage: metrics URL ADDRESS".into());
    };
    let config = Config::with_upstream("server", UpstreamConfig::at(url)?);
    let engine = Engine::start(config)?;
    let endpoint = PrometheusEndpoint::start(listen.as_str(), engine.snapshots())?;
    println!("http://{}/metrics", endpoint.address());
    let server = engine.upstream("server")?;
    loop {
        match block_on(server.call(http::Request::get("/").body(())?)) {
            Ok(response) => println!("{}", response.status()),
            Err(error) => println!("{error}"),
        }
        thread::sleep(Duration::from_secs(1));
    }
}
