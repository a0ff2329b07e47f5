use std::time::Instant;

use super::*;

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(file)
}

#[test]
fn shipped_policies_load_pass_their_tests_and_run() {
    let paths = ["floods.yaml", "scanners.yaml", "toll-fraud.yaml"].map(shipped);
    let loaded = load(&paths, &Names::default(), Instant::now()).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.report.is_empty(), "{}", loaded.report);
    assert!(loaded.runnable().is_ok());
    assert_eq!((loaded.policies.len(), loaded.tests), (3, 29));
}

#[test]
fn tmp_example() {
    for p in ["/work/shared/examples/toll-fraud.yaml", "/work/shared/bench/sip/turnpike/policies/edge.yaml"] {
        match load(&[p.into()], &Names::default(), Instant::now()) {
            Ok(l) => println!("{} {}", l.report, l.tests),
            Err(r) => panic!("{r}"),
        }
    }
}
