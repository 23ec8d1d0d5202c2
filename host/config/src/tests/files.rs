//! The shipped files and the specification's example load. The reader agrees with serde_yaml.

use super::*;

/// The specification's example. Its page has lost the indentation, which is restored here.
const SPEC: &str = "\
routing_strategy: fixed
routing_parameter:
  local_fraction: 0.6
timeout: 2
health_check: 30
logging:
  output: output.log
local_deployment:
  - endpoint: ${LOCAL_BASE_URL:-http://localhost:8000}
    models:
      - llama-3.3-70b-instruct
      - llama-4-scout
remote_deployment:
  - endpoint: ${LLAMA_BASE_URL}
    models:
      - llama-3.3-70b-instruct
";

const MODELS: &str = "\
models:
  - id: llama-3.3-70b-instruct
    base_url: ${LLAMA_BASE_URL}
    api_key: ${LLAMA_API_KEY}
  - id: llama-4-scout
";

#[test]
fn the_specifications_example_works_as_written() {
    let vars = [("LLAMA_BASE_URL", "https://llama.example/v1"), ("LLAMA_API_KEY", "sk-1")];
    let config = load_texts(MODELS, Some(SPEC), &vars).unwrap();
    let strategy = &config.strategies[0];
    assert_eq!(strategy.reference, "fixed");
    assert_eq!(strategy.parameters, serde_json::json!({"local_fraction": 0.6}));
    assert_eq!(config.probing.timeout.as_secs(), 2);
    assert_eq!(config.probing.interval.unwrap().as_secs(), 30);
    assert_eq!(config.access_log, Some(LogOutput::File("output.log".into())));
    assert_eq!(
        deployments(&config),
        [
            "remote-1 https://llama.example 0.500 assigned",
            "local-1 http://localhost:8000 0.500 assigned",
            "local-1 http://localhost:8000 1.000 assigned",
        ]
    );
    let [remote, local] = &config.models[0].deployments[..] else { panic!("two") };
    assert_eq!(remote.api_key.as_ref().unwrap().expose(), "sk-1");
    assert_eq!(remote.probe, None);
    assert_eq!(local.api_key, None, "the key was not configured for localhost");
    assert_eq!(local.probe.as_ref().unwrap().path, "/health");
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

#[test]
fn what_is_shipped_loads_with_no_variable_set() {
    let paths = Paths {
        models: shipped().join("models.yaml"),
        routing: shipped().join("routing.yaml"),
        routing_required: true,
    };
    let config = load(&paths, &|_| None).unwrap();
    assert_eq!(config.models.len(), 2);
    assert!(!config.strategies.is_empty());
}

#[test]
fn the_examples_load() {
    let folders = std::fs::read_dir(shipped().join("examples")).unwrap();
    let folders: Vec<_> = folders.map(|folder| folder.unwrap().path()).collect();
    assert!(folders.len() >= 3);
    for folder in folders {
        let paths = Paths {
            models: folder.join("models.yaml"),
            routing: folder.join("routing.yaml"),
            routing_required: false,
        };
        let keys = |name: &str| name.ends_with("_API_KEY").then(|| "sk-x".to_owned());
        let config = load(&paths, &keys).unwrap();
        for model in &config.models {
            let sum: f64 = model.deployments.iter().map(|d| d.weight).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{}", folder.display());
        }
    }
}

/// Shipped configurations, scenarios and fixtures.
fn yaml_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut left: Vec<_> = ["config", "plugins"].map(|folder| root.join(folder)).into();
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_reader_agrees_with_serde_yaml() {
    let files = yaml_files();
    assert!(files.len() > 20, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        // Variables are escaped, because serde_yaml does not substitute them.
        let text = text.replace("${", "$${");
        let document = super::text("shipped.yaml", &text, &|_| None).unwrap();
        let read = schema::value(&document, &[], &serde_json::Value::Bool(true)).unwrap();
        assert_eq!(read, expected, "{}", path.display());
    }
}

#[test]
fn other_files_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        document(&path, "make one", &|_| None).map_err(|errors| errors.short())
    };
    assert_eq!(read("good", b"a: 1").unwrap().text(&["a".into()]), Some("1"));
    for (bytes, why) in [
        (&b"a: 1\na: 2"[..], "the key `a` is given twice"),
        (b"a: ${UNSET}", "the environment variable `UNSET` is not set"),
        (b"a: [", "not valid YAML"),
        (b"a: \xff", "is not UTF-8 text; save it as UTF-8"),
    ] {
        let said = read("bad", bytes).unwrap_err();
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
        if let Ok(text) = str::from_utf8(bytes) {
            let said = super::super::text("x", text, &|_| None).unwrap_err().short();
            assert!(said.contains(why), "{said}");
        }
    }
    let missing = |path: &Path| document(path, "make one", &|_| None).unwrap_err().short();
    let said = missing(&folder.path().join("none"));
    assert!(said.contains("cannot be read") && said.ends_with("; make one"), "{said}");
    let said = missing(folder.path());
    assert!(said.ends_with("it is a folder; name a regular file"), "{said}");
}
