#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;

#[test]
fn ends_are_kept_bounded_and_their_counts_never_fall() {
    let folder = Folder::new("bounded");
    add(&folder.0, end("gatehouse.service", Cause::OomKill, 1)).unwrap();
    for at in 2..=100 {
        add(&folder.0, end("gatehouse.service", Cause::Watchdog, at)).unwrap();
    }
    add(
        &folder.0,
        end("gatehouse-media.service", Cause::Signal, 300),
    )
    .unwrap();
    let ends = Ends::read(&folder.0);
    assert_eq!(ends.latest.len(), MOST_ENDS + 1);
    assert_eq!(ends.latest[0].unit, "gatehouse-media.service");
    assert_eq!(ends.latest[1].count, 99);
    let count = |unit: &str, cause| ends.counts[&(unit.to_owned(), cause)];
    assert_eq!(count("gatehouse.service", Cause::Watchdog), 99);
    assert_eq!(count("gatehouse.service", Cause::OomKill), 1);
}

#[test]
fn a_damaged_line_or_one_of_a_newer_version_costs_that_line() {
    let folder = Folder::new("damaged");
    add(&folder.0, end("gatehouse.service", Cause::Signal, 1)).unwrap();
    let path = folder.0.join("gatehouse.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text += "{\"unit\": \"gatehou\n";
    text += r#"{"at":null,"boot":"","unit":"gatehouse.service","cause":"eaten","count":7}"#;
    fs::write(&path, text).unwrap();
    let ends = Ends::read(&folder.0);
    let causes: Vec<Cause> = ends.latest.iter().map(|end| end.cause).collect();
    assert_eq!(causes, [Cause::Signal, Cause::Other]);
}

#[test]
fn a_disk_that_does_not_take_an_end_keeps_those_before() {
    let folder = Folder::new("full");
    add(&folder.0, end("gatehouse.service", Cause::Signal, 1)).unwrap();
    // The new file cannot be made.
    fs::create_dir(folder.0.join("gatehouse.new")).unwrap();
    assert!(add(&folder.0, end("gatehouse.service", Cause::Signal, 2)).is_err());
    assert_eq!(Ends::read(&folder.0).latest.len(), 1);
    assert_eq!(Ends::read(&folder.0.join("none")), Ends::default());
}

#[test]
fn each_life_of_the_box_ends_for_one_reason() {
    let folder = Folder::new("box");
    let root = folder.0.join("root");
    let life = |id: &str| folder.write("root/proc/sys/kernel/random/boot_id", id);
    let started = || machine::started(&folder.0, &root, Some(5)).unwrap();

    life("first\n");
    assert_eq!(started(), None, "nothing was before");
    machine::ended(&folder.0, &root).unwrap();

    life("second\n");
    let end = started().unwrap();
    assert_eq!((end.cause, end.boot.as_str()), (Cause::Clean, "second"));
    assert_eq!(started(), None, "asked once in each life");

    life("third\n");
    assert_eq!(started().unwrap().cause, Cause::PowerCut);
    machine::ended(&folder.0, &root).unwrap();

    life("fourth\n");
    let watchdog = "root/sys/class/watchdog/watchdog0";
    folder.write(&format!("{watchdog}/identity"), "i6300ESB timer\n");
    folder.write(&format!("{watchdog}/bootstatus"), "32\n");
    let end = started().unwrap();
    assert_eq!(end.cause, Cause::Watchdog, "it hung while it shut down");
    assert_eq!(end.words(), "the box stood still and its watchdog reset it");

    life("fifth\n");
    folder.write("root/var/lib/systemd/pstore/1/dmesg-ramoops-0", "Oops");
    let end = started().unwrap();
    assert_eq!(end.cause, Cause::Panic);
    assert_eq!(
        end.words(),
        "the kernel stopped itself (panic): the watchdog was not fed; report dmesg-ramoops-0"
    );

    life("sixth\n");
    folder.write(&format!("{watchdog}/bootstatus"), "0\n");
    assert_eq!(started().unwrap().cause, Cause::PowerCut, "an old report");
    let counts = Ends::read(&folder.0).counts;
    assert_eq!(counts[&(BOX.to_owned(), Cause::PowerCut)], 2);
}

#[test]
fn no_unit_s_name_leads_out_of_the_folder() {
    assert_eq!(file_name("gatehouse-ota.service"), "gatehouse-ota");
    assert_eq!(file_name("../../etc/passwd"), "______etc_passwd");
    assert_eq!(file_name(""), "_");
}

fn end(unit: &str, cause: Cause, at: u64) -> End {
    End {
        at: Some(at),
        boot: "boot".to_owned(),
        unit: unit.to_owned(),
        cause,
        status: None,
        details: Vec::new(),
        count: 0,
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("causes-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
