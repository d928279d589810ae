//! What the program shows of itself, and what is seen when it, or a part of it, stands still.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::site::Site;

#[test]
fn a_media_process_that_stands_still_is_seen_within_seconds_and_forgotten_when_it_moves() {
    let site = Site::new("frozen");
    let socket = site.folder.join("media.sock");
    let access = format!("listen = [\"{}\"]\ntls = false\n", site.access);
    let media = format!("apart = true\nsocket = {socket:?}\n");
    let config = site.configure(&access, &media, "");
    let plane = site.run("media", &config);
    let _gateway = site.run("run", &config);
    site.wait_for("/readyz", "ok\n");
    told(&site, "\"supervisor\":false");

    plane.signal("STOP");
    let stopped = Instant::now();
    site.wait_for("/readyz", "the media plane stands still");
    told(&site, "\"supervisor\":true");
    assert!(stopped.elapsed() < Duration::from_secs(15));
    // The control process itself is well, and its watchdog is fed.
    assert!(site.get("/livez").starts_with("HTTP/1.1 200 "));
    assert!(site.get("/").contains("<h1>Fault: "));

    plane.signal("CONT");
    site.wait_for("/readyz", "ok\n");
    told(&site, "\"supervisor\":false");
}

#[test]
fn a_gateway_that_stands_still_feeds_no_watchdog_and_tells_the_front_panel_nothing() {
    let site = Site::new("still");
    let gateway = site.start("");
    site.hear("WATCHDOG=1");
    told(&site, "\"phase\":\"running\"");
    gateway.signal("STOP");
    let file = site.runtime("run").join("state.json");
    std::thread::sleep(Duration::from_millis(300));
    let last = fs::read_to_string(&file).unwrap();
    site.notify.set_nonblocking(true).unwrap();
    while site.notify.recv(&mut [0; 1000]).is_ok() {}
    std::thread::sleep(Duration::from_millis(2500));
    assert!(site.notify.recv(&mut [0; 1000]).is_err(), "it was fed");
    assert_eq!(fs::read_to_string(&file).unwrap(), last);
    gateway.signal("CONT");
    site.notify.set_nonblocking(false).unwrap();
    site.hear("WATCHDOG=1");
}

#[test]
fn a_box_without_a_configuration_says_what_it_needs_and_goes_on_once_it_has_it() {
    let site = Site::new("setup");
    let file = site.folder.join("gatehouse.toml");
    let management = format!("[management]\nlisten = \"{}\"\n", site.management);
    fs::write(&file, &management).unwrap();
    let gateway = site.run_with("run", &file, &["--wait"]);
    told(&site, "\"phase\":\"needs-setup\"");
    site.wait_for("/readyz", "home_domains: is missing");
    let page = site.get("/");
    assert!(page.contains("<h1>"), "{page}");
    assert!(page.contains("home_domains: is missing"), "{page}");
    let good = "[ims]\npcscf = \"192.0.2.1\"\nhome_domains = [\"ims.test\"]\n";
    fs::write(&file, management + good).unwrap();
    let (is_well, _) = gateway.end();
    assert!(is_well, "systemd starts it anew:\n{}", site.log());
}

#[test]
fn a_box_without_a_network_says_so_and_leaves_when_it_is_told() {
    let site = Site::new("nowhere");
    let access = format!("listen = [\"{}\"]\ntls = false\n", site.access);
    let file = site.configure(&access, "", "");
    let text = fs::read_to_string(&file).unwrap();
    let peer = site.pcscf.local_addr().unwrap().to_string();
    // Nobody answers there.
    let named = "pcscf.nowhere.invalid\"\nname_servers = [\"127.0.0.1:9\"]\n# \"";
    fs::write(&file, text.replace(&peer, named)).unwrap();
    let gateway = site.run_with("run", &file, &["--wait"]);
    site.wait_for("/readyz", "has no address");
    told(&site, "\"phase\":\"running\"");
    gateway.signal("TERM");
    let (is_well, time) = gateway.end();
    assert!(is_well && time < Duration::from_secs(5), "{}", site.log());
}

#[test]
fn why_a_service_ended_is_kept_and_shown() {
    let site = Site::new("causes");
    let runtime = site.runtime("run");
    fs::create_dir_all(&runtime).unwrap();
    fs::write(runtime.join("silent"), "[\"media-0: no pulse for 7 s\"]").unwrap();
    fs::create_dir_all(site.folder.join("causes")).unwrap();
    let folder = site.folder.join("causes");
    for _ in 0..2 {
        assert!(cause(&site, &folder).contains("media-0"));
    }
    let _gateway = site.start("");
    site.read_log_until("before this start: gatehouse stood still");
    site.wait_for("/livez", "ok");
    let metrics = site.get("/metrics");
    let line = "gatehouse_service_ends_total{reason=\"watchdog\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
    let page = site.get("/");
    assert!(page.contains("media-0: no pulse for 7 s</li>"), "{page}");
    assert!(site.get("/state.json").contains("\"cause\":\"watchdog\""));

    // A folder that is not there: said, and nothing else fails.
    let said = cause(&site, &site.folder.join("nowhere"));
    assert!(
        said.contains("written nowhere but here: watchdog"),
        "{said}"
    );
}

#[test]
fn the_page_runs_nothing_but_its_own_and_names_nobody() {
    let site = Site::new("page");
    let _gateway = site.start("");
    site.wait_for("/livez", "ok");
    let answer = site.get("/");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("default-src 'none'"), "{head}");
    assert!(page.contains("<h1>") && page.contains("<svg "), "{page}");
    assert!(!page.contains("ims.test"), "{page}");
    for (path, kind) in [
        ("/style.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/state.json", "application/json"),
    ] {
        assert!(site.get(path).contains(kind), "{path}");
    }
}

/// Waits until the front panel's file holds something.
fn told(site: &Site, wanted: &str) {
    let file = site.runtime("run").join("state.json");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if text.contains(wanted) {
            return;
        }
        assert!(Instant::now() < until, "{wanted}: {text}\n{}", site.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Calls `gatehouse cause` as systemd does after a watchdog's bite; what it says.
fn cause(site: &Site, folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["cause", "unit", "gatehouse.service", "--folder"])
        .arg(folder)
        .env("RUNTIME_DIRECTORY", site.runtime("run"))
        .env("SERVICE_RESULT", "watchdog")
        .env("EXIT_CODE", "killed")
        .env("EXIT_STATUS", "ABRT")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
