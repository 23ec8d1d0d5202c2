//! `gateway strategy test`: fixtures that set what a strategy of contract 0.3.0 sees, and that
//! demand whole verdicts.

use tests::VerdictGuest;

/// Runs the cases on this component. Returns whether all passed, and what was printed.
fn run(component: &[u8], cases: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [file, fixtures] = ["guest.wasm", "fixtures.yaml"].map(|name| folder.path().join(name));
    std::fs::write(&file, component).expect("a writable folder");
    std::fs::write(&fixtures, cases).expect("a writable folder");
    let setup = tests::setup!().arg("strategy").arg("test").arg(&file);
    let output = setup.arg("--fleets").arg("0").arg("--cache").arg("off").output();
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (output.status.success(), said.concat())
}

/// Refuses a request if the signal at the first local deployment is below 2, else holds it.
const BY_LIMIT: VerdictGuest<'_> = VerdictGuest {
    signal: "limit",
    verdict: "(if (result i32) (f64.lt (call $signal (i32.const 0)) (f64.const 2))
        (then (call $refuse (i32.const 7))) (else (call $hold (i32.const 250))))",
};

#[test]
fn what_a_strategy_logs_is_shown() {
    let cases = "- {name: any, places: [{name: gpu, side: local}], steps: [{local: [{id: 0}], weights: {local: [1]}}]}";
    let (_, said) = run(&tests::guest("log-flood"), cases);
    assert!(said.contains("log-flood") && said.contains("\"target\":\"strategy\""), "{said}");
}

const PLACES: &str = "
  places: [{name: gpu, side: local}, {name: api, side: remote}]
  steps:";

#[test]
fn a_fixture_sets_signals_and_demands_verdicts() {
    let component = BY_LIMIT.component();
    let good = format!(
        "- name: by its limit{PLACES}
    - local: [{{id: 0, signals: {{limit: 1}}}}]
      request: {{priority: 3}}
      refuse: {{retry_after: 7, reason: as the test wants it}}
    - {{local: [{{id: 0, signals: {{limit: 2}}}}], request: {{}}, hold: 250}}
"
    );
    let (passed, said) = run(&component, &good);
    assert!(passed && said.contains("  ok      by its limit"), "{said}");
    for (change, says) in [
        (["hold: 250", "hold: 300"], "step 2:\n            hold: expected 300 ms; actual 250 ms"),
        (["retry_after: 7", "retry_after: 8"], "retry_after: expected 8 s; actual 7 s"),
        (["as the test", "as no test"], "write one of `as the test wants it`"),
        (["limit: 2", "limits: 2"], "did you mean `limit`?"),
        (["limit: 2", "stalled: 1"], "this strategy does not read the signal `stalled`"),
        (["hold: 250", "weights: {local: [1]}"], "expected weights, and the strategy holds"),
        (["priority", "urgency"], "unknown key `urgency`"),
    ] {
        let (passed, said) = run(&component, &good.replace(change[0], change[1]));
        assert!(!passed && said.contains(says), "{says}: {said}");
    }
}
