//! The report's page, as a browser sees it.

mod common;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use common::chromium::Chromium;
use common::{Served, run, words};
use serde_json::json;

const CHARTS: [&str; 8] = [
    "percentiles",
    "throughput",
    "latency",
    "states",
    "occupancy",
    "handshakes",
    "errors",
    "cpu",
];

/// A file that is gone with its handle.
struct Page(PathBuf);

impl Page {
    fn named(name: &str) -> Self {
        let name = format!("stress-{name}-{}.html", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reports a short run over TLS at a fixed rate, with some errors.
fn report(page: &Path) {
    let served = Served::start("");
    let ca = page.with_extension("pem");
    std::fs::write(&ca, &served.ca).expect("a file");
    let output = run(&format!(
        "run https://{}/?size=100 --connections 8 --rate 2000 --duration 1s --warmup 100ms --insecure-ca {} --report {}",
        served.tls,
        ca.display(),
        page.display()
    ));
    let _ = std::fs::remove_file(&ca);
    assert!(
        page.metadata().is_ok_and(|page| page.len() > 10_000),
        "{}",
        words(&output)
    );
}

#[test]
fn the_page_works_in_a_browser_offline_and_on_a_telephone() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let page = Page::named("page");
    report(&page.0);
    for (width, dark) in [(1280, false), (375, false), (375, true), (320, false)] {
        browser.open(&page.0, width, dark);
        let wide = browser
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "at {width} px it is wider than the window");
        // Nothing is cut off by its own card either.
        let cut = browser.value(
            "[...document.querySelectorAll('.chart, .tiles li, td, th, p')].filter(e => e.scrollWidth > e.clientWidth + 1).length",
        );
        assert_eq!(cut, 0, "at {width} px something is cut off");
        for chart in CHARTS {
            let drawn = format!("!!document.querySelector('#{chart} svg, #{chart} .none')");
            assert_eq!(browser.value(&drawn), true, "{chart}");
        }
        for chart in ["percentiles", "throughput", "latency", "states", "cpu"] {
            let size = browser.value(&format!(
                "(() => {{ const b = document.querySelector('#{chart} svg path.c1').getBBox(); return b.width; }})()"
            ));
            assert!(size.as_f64() > Some(200.0), "{chart}: {size}");
        }
        let text = browser.value(
            "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))",
        );
        assert!(
            text.as_f64() > Some(9.0),
            "at {width} px figures are {text} px high"
        );
        let ground = browser.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground == "rgb(22, 22, 21)", dark, "{ground}");

        let url = format!("file://{}", page.0.display());
        for event in &browser.events {
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown" | "Log.entryAdded" | "Runtime.consoleAPICalled") => {
                    panic!("{event}")
                }
                Some("Network.requestWillBeSent") => {
                    let asked = event["params"]["request"]["url"].as_str().unwrap_or("");
                    assert!(
                        asked == url || asked.starts_with("data:"),
                        "it asks for {asked}"
                    );
                }
                _ => {}
            }
        }
    }
}

/// Takes the picture of a report that stands in the documentation: see `docs/stress-report.md`.
#[test]
#[ignore = "STRESS_PAGE and STRESS_PICTURE name the files"]
fn a_picture_of_a_report() {
    let file = |name| PathBuf::from(std::env::var_os(name).expect(name));
    let mut browser = Chromium::start().expect("chromium");
    let width =
        std::env::var("STRESS_WIDTH").map_or(1200, |width| width.parse().expect("a number"));
    let dark = std::env::var_os("STRESS_DARK").is_some();
    browser.open(&file("STRESS_PAGE"), width, dark);
    let height =
        browser.value("document.querySelector('h2').getBoundingClientRect().top + scrollY");
    let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
    let ask = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
    let taken = browser.ask("Page.captureScreenshot", ask);
    let png = base64::engine::general_purpose::STANDARD
        .decode(taken["data"].as_str().expect("a picture"))
        .expect("it is base64");
    std::fs::write(file("STRESS_PICTURE"), png).expect("a file");
}
