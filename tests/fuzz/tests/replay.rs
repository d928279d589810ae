//! Every example goes through its target in every test run.

use fuzz::TARGETS;

#[test]
fn no_example_makes_its_target_panic() {
    for target in TARGETS {
        for (path, bytes) in target.examples() {
            println!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

#[test]
fn every_target_has_an_example() {
    let empty: Vec<_> = TARGETS
        .iter()
        .filter(|target| target.examples().is_empty())
        .map(|target| target.name)
        .collect();
    assert_eq!(empty, [""; 0]);
}
