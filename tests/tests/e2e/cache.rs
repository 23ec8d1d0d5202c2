//! The cache of compiled strategies: a second start finds them, and a damaged cache is replaced.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tests::{CoreGuest, Engine, Gateway, Setup, one_model, routed};

const FOUND: &str = "machine code from the cache";
const KEPT: &str = "machine code kept in the cache";

/// A gateway for `strategy` that logs its use of the cache.
fn setup(engine: &Engine, strategy: &str) -> Setup {
    let (models, routing) = (one_model(&[&engine.url()]), routed(strategy, &[&engine.url()], &[]));
    let setup = tests::setup!().models(models).routing(routing).env("RUST_LOG", "gateway=debug");
    setup.without_env("GATEWAY_CACHE")
}

async fn serves(gateway: &Gateway) {
    assert_eq!(gateway.chat("m").await.status, 200, "{}", gateway.log());
}

/// The only file in a folder.
fn file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).expect("a cache").map(|entry| entry.expect("read").path());
    let file = files.next().expect("a file");
    assert_eq!(files.next(), None, "beside {}", file.display());
    file
}

#[tokio::test]
async fn the_second_start_does_not_compile() {
    let engine = Engine::start("a");
    let home = tempfile::tempdir().expect("a folder");
    let start = || setup(&engine, "fixed").env("HOME", home.path()).start();

    let first = start();
    serves(&first).await;
    assert!(first.log().contains(KEPT) && !first.log().contains(FOUND), "{}", first.log());
    let kept = file(&home.path().join(".cache/gateway"));
    let written = fs::metadata(&kept).expect("kept");
    assert_eq!(written.mode() & 0o777, 0o600);

    let second = start();
    serves(&second).await;
    assert!(second.log().contains(FOUND) && !second.log().contains(KEPT), "{}", second.log());
    let found = fs::metadata(&kept).expect("kept");
    assert_eq!((found.ino(), found.modified().ok()), (written.ino(), written.modified().ok()));
}

#[tokio::test]
async fn damaged_or_unsafe_cache_is_replaced() {
    let engine = Engine::start("a");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("cache");
    let start = || setup(&engine, "fixed").env("GATEWAY_CACHE", &folder).start();
    let works = async |says: &str| {
        let gateway = start();
        serves(&gateway).await;
        assert!(gateway.log().contains(says), "not {says:?}: {}", gateway.log());
    };
    works(KEPT).await;
    let kept = file(&folder);
    let good = fs::read(&kept).expect("kept");
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 0x40;
    for bad in [&changed, &good[..good.len() / 2], b""] {
        fs::write(&kept, bad).expect("written");
        works("is damaged").await;
        works(FOUND).await;
    }
    fs::set_permissions(&kept, Permissions::from_mode(0o666)).expect("ours");
    works("others can write to").await;
    works(FOUND).await;
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("ours");
    works("others can write to").await;
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("ours");
    works(FOUND).await;
}

#[tokio::test]
async fn another_component_of_the_same_name_is_another() {
    let engine = Engine::start("a");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, says) in [("one", KEPT), ("two", KEPT), ("one", FOUND), ("two", FOUND)] {
        let component = CoreGuest { name, ..CoreGuest::default() }.component();
        let setup = setup(&engine, "mine").file("plugins/mine.wasm", component);
        let gateway = setup.arg("--cache").arg(folder.path()).start();
        serves(&gateway).await;
        assert!(gateway.log().contains(says), "{name}, not {says:?}: {}", gateway.log());
        assert_eq!(gateway.routing().await["strategy"]["name"], name);
    }
}

#[tokio::test]
async fn gateway_works_without_a_cache() {
    let engine = Engine::start("a");
    for (cache, says) in [("/proc/nowhere", "cannot be written to"), ("off", ""), ("", "")] {
        let home = tempfile::tempdir().expect("a folder");
        let home = match cache {
            "" => Path::new("/proc/nobody"),
            _ => home.path(),
        };
        let setup = setup(&engine, "fixed").env("GATEWAY_CACHE", cache).env("HOME", home);
        let gateway = setup.start();
        serves(&gateway).await;
        assert!(gateway.log().contains(says), "not {says:?}: {}", gateway.log());
        assert_eq!(gateway.log().contains("WARN"), cache.starts_with('/'), "{}", gateway.log());
        assert!(!home.join(".cache").exists());
    }
}

/// A container image can be built with a filled cache: `gateway check` compiles, the gateway finds.
#[tokio::test]
async fn a_check_fills_it() {
    let engine = Engine::start("a");
    let folder = tempfile::tempdir().expect("a folder");
    let checked = setup(&engine, "fixed").arg("check").arg("--cache").arg(folder.path()).output();
    assert!(checked.status.success());
    let gateway = setup(&engine, "fixed").arg("--cache").arg(folder.path()).start();
    serves(&gateway).await;
    assert!(gateway.log().contains(FOUND), "{}", gateway.log());
}
