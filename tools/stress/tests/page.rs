//! The report's page, as a browser sees it.

mod common;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use common::chromium::Chromium;
use common::{Served, run, words};
use serde_json::json;

/// Of a run.
const CHARTS: [&str; 9] = [
    "percentiles",
    "throughput",
    "latency",
    "heatmap",
    "states",
    "occupancy",
    "handshakes",
    "errors",
    "cpu",
];

/// Of two that are compared.
const BOTH: [&str; 7] = [
    "percentiles",
    "throughput",
    "p50",
    "p99",
    "errors",
    "leased",
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

/// Compares two short runs, the second slower than the first.
fn comparison(page: &Path) {
    let runs = ["before", "after"].map(|name| page.with_extension(format!("{name}.json")));
    for (delay, run_of) in ["2ms", "20ms"].into_iter().zip(&runs) {
        let served = Served::start(&format!("--delay {delay}"));
        let output = run(&format!(
            "run http://{}/ --connections 4 --duration 2s --warmup 100ms --json {}",
            served.plain,
            run_of.display()
        ));
        assert!(run_of.metadata().is_ok(), "{}", words(&output));
    }
    let [before, after] = runs.each_ref().map(|path| path.display());
    let output = run(&format!(
        "compare {before} {after} --report {}",
        page.display()
    ));
    for path in &runs {
        let _ = std::fs::remove_file(path);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("latency p50"), "{said}{}", words(&output));
}

/// Looks at a page as windows of several widths show it: each of `charts` is there, and those of `drawn` have something in them.
fn look(browser: &mut Chromium, page: &Path, charts: &[&str], drawn: &[&str]) {
    for (width, dark) in [(1280, false), (375, false), (375, true), (320, false)] {
        browser.open(page, width, dark);
        let wide = browser
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "at {width} px it is wider than the window");
        // Nothing is cut off by its own card either.
        let cut = browser.value(
            "[...document.querySelectorAll('.chart, .tiles li, td, th, p')].filter(e => e.scrollWidth > e.clientWidth + 1).length",
        );
        assert_eq!(cut, 0, "at {width} px something is cut off");
        for chart in charts {
            let there = format!("!!document.querySelector('#{chart} svg, #{chart} .none')");
            assert_eq!(browser.value(&there), true, "{chart}");
        }
        for chart in drawn {
            let size = browser.value(&format!(
                "Math.max(...[...document.querySelectorAll('#{chart} svg path.c1')].map(p => p.getBBox().width))"
            ));
            assert!(size.as_f64() > Some(200.0), "{chart}: {size}");
        }
        let text = browser.value(
            "Math.min(...[...document.querySelectorAll('svg > text')].map(t => t.getBoundingClientRect().height))",
        );
        assert!(
            text.as_f64() > Some(9.0),
            "at {width} px figures are {text} px high"
        );
        let ground = browser.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground == "rgb(22, 22, 21)", dark, "{ground}");
        told_within_its_chart(browser);
        offline_and_without_errors(browser, page);
    }
}

/// What is told where the pointer is shows, and stays within its drawing.
fn told_within_its_chart(browser: &mut Chromium) {
    browser.value("document.querySelector('#throughput').scrollIntoView({ block: 'center' })");
    let place = browser.value(
        "(() => { const b = document.querySelectorAll('#throughput .band rect')[5].getBoundingClientRect(); \
         return [b.x + b.width / 2, b.y + b.height / 2]; })()",
    );
    let moved = json!({ "type": "mouseMoved", "x": place[0], "y": place[1] });
    browser.ask("Input.dispatchMouseEvent", moved);
    let shown = "[...document.querySelectorAll('.band text')].filter(t => getComputedStyle(t).display !== 'none').length";
    assert_eq!(browser.value(shown), 1, "of the band at {place}");
    let outside = browser.value(
        "(() => { const all = [...document.querySelectorAll('.band text')]; \
         for (const t of all) t.style.display = 'inline'; \
         const outside = all.filter(t => { const b = t.getBBox(); return b.x < 0 || b.x + b.width > 400 || b.y + b.height > 230; }); \
         for (const t of all) t.style.display = ''; \
         return outside.map(t => t.textContent); })()",
    );
    assert_eq!(outside, json!([]));
}

fn offline_and_without_errors(browser: &Chromium, page: &Path) {
    let url = format!("file://{}", page.display());
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

#[test]
fn the_page_works_in_a_browser_offline_and_on_a_telephone() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let page = Page::named("page");
    report(&page.0);
    let drawn = [
        "percentiles",
        "throughput",
        "latency",
        "heatmap",
        "states",
        "cpu",
    ];
    look(&mut browser, &page.0, &CHARTS, &drawn);
}

#[test]
fn the_page_of_two_runs_has_both_in_each_chart() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let page = Page::named("both");
    comparison(&page.0);
    let drawn = ["percentiles", "throughput", "p50", "p99", "leased", "cpu"];
    look(&mut browser, &page.0, &BOTH, &drawn);
    for chart in drawn {
        let lines = format!(
            "document.querySelectorAll('#{chart} path.line.c1, #{chart} path.line.c2').length"
        );
        assert_eq!(browser.value(&lines), 2, "{chart}");
    }
    let judged = browser.value("document.querySelectorAll('td.worse').length");
    assert!(judged.as_u64() > Some(0), "{judged}");
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
