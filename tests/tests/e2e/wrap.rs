//! `gateway strategy wrap`: a core module becomes a component, without other tools.

use std::path::Path;
use std::process::Output;

use tests::{CoreGuest, Engine, routed};

/// Writes a module and wraps it. The output goes to `wrapped.wasm` beside it.
fn wrap(folder: &Path, module: &[u8]) -> Output {
    let file = folder.join("core.wasm");
    std::fs::write(&file, module).expect("a writable folder");
    let setup = tests::setup!().arg("strategy").arg("wrap").arg(&file);
    setup.arg("--output").arg(folder.join("wrapped.wasm")).output()
}

#[tokio::test]
async fn a_wrapped_module_decides() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Three quarters local.
    let assign = "(return (call $answer (local.get $locals) (f64.const 3) (local.get $remotes) (f64.const 1)))";
    let output = wrap(folder.path(), &CoreGuest { assign, ..CoreGuest::default() }.module());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("bytes, exports hybrid:routing/policy@0.2.0"), "{said}");

    let component = std::fs::read(folder.path().join("wrapped.wasm")).expect("a component");
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let setup = tests::setup!().file("plugins/guest.wasm", component);
    let models = format!(
        "models: [{{id: m, route: [\
         {{name: gpu, side: local, base_url: {}}}, {{name: api, side: remote, base_url: {}}}]}}]",
        local.url(),
        remote.url()
    );
    let routing = routed("guest", &[&local.url()], &[&remote.url()]);
    let gateway = setup.models(models).routing(routing).start();
    assert!((gateway.weights("m").await["gpu"] - 0.75).abs() < 1e-9);
}

#[test]
fn a_module_that_does_not_fit_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let imports = r#"(import "env" "sqrt" (func (param f64) (result f64)))"#;
    let module = CoreGuest { imports, ..CoreGuest::default() }.module();
    for (bytes, says) in [
        (
            module,
            "nobody provides the import `env` `sqrt`, a function: the linker found no definition",
        ),
        (CoreGuest::default().component(), "it is a component already"),
        (b"#!/bin/sh".to_vec(), "it is not WebAssembly"),
    ] {
        let output = wrap(folder.path(), &bytes);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(says), "{says}: {said}");
        assert!(!folder.path().join("wrapped.wasm").exists());
    }
}

#[test]
fn a_component_goes_to_standard_output() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("core.wasm");
    std::fs::write(&file, CoreGuest::default().module()).expect("a writable folder");
    let setup = tests::setup!().arg("strategy").arg("wrap").arg(&file).arg("-o").arg("-");
    let output = setup.output();
    assert!(output.stdout.starts_with(b"\0asm\x0d\0\x01\0"), "{output:?}");
}

#[test]
fn a_device_without_end_is_not_read_to_its_end() {
    let setup = tests::setup!().arg("strategy").arg("wrap").arg("/dev/zero").arg("-o").arg("-");
    let output = setup.output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("more than 64 MiB"), "{said}");
}
