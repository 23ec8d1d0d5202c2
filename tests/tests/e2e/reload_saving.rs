//! Editors, links and Kubernetes save files in different ways; the gateway notices each of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tests::{Gateway, eventually, one_model, split};

const LOCAL: &str = "http://127.0.0.1:1";
const REMOTE: &str = "http://127.0.0.1:2";

/// A `routing.yaml` for deployments that get no requests.
fn routing(local_fraction: f64) -> String {
    split(local_fraction, &[LOCAL], &[REMOTE], "")
}

fn models() -> String {
    one_model(&[LOCAL, REMOTE])
}

/// Waits until the gateway routes by this fraction.
async fn takes_up(gateway: &Gateway, local_fraction: f64) {
    let taken = async || (gateway.weights("m").await["local-1"] == local_fraction).then_some(());
    eventually(&format!("a local fraction of {local_fraction}"), taken).await;
}

/// Waits for a refused reload whose error contains these words.
async fn refused(gateway: &Gateway, words: &str) {
    let why = async || Some(gateway.refusal().await).filter(|why| !why.is_empty());
    let refused = async || why().await.filter(|why| why.contains(words));
    eventually(&format!("a refusal that says {words:?}"), refused).await;
}

/// Points a link at something else in one step.
fn relink(target: &str, link: &Path) {
    let new = link.with_file_name("link.new");
    symlink(target, &new).expect("a link");
    fs::rename(new, link).expect("a rename");
}

#[tokio::test]
async fn file_written_or_renamed_over_is_loaded() {
    let gateway = tests::setup!().models(models()).routing(routing(0.6)).start();
    for (edit, fraction) in [0.1, 0.2, 0.3, 0.4].into_iter().enumerate() {
        match edit % 2 {
            0 => gateway.write("config/routing.yaml", routing(fraction)),
            _ => gateway.replace("config/routing.yaml", routing(fraction)),
        }
        takes_up(&gateway, fraction).await;
    }
    // Editors that keep a backup rename the old file and write a new one.
    let file = gateway.path("config/routing.yaml");
    fs::rename(&file, gateway.path("config/routing.yaml~")).expect("a rename");
    fs::write(&file, routing(0.5)).expect("a new file");
    takes_up(&gateway, 0.5).await;
    gateway.replace("config/models.yaml", models() + "    aliases: [also]\n");
    let known = async || (gateway.get("/v1/models/also").await.status == 200).then_some(());
    eventually("the alias", known).await;
}

#[tokio::test]
async fn changed_link_is_loaded() {
    let setup = tests::setup!().models(models());
    let setup = setup.file("a.yaml", routing(0.1)).file("b.yaml", routing(0.2));
    let link = setup.folder().join("config/routing.yaml");
    symlink("../a.yaml", &link).expect("a link");
    let gateway = setup.start();
    takes_up(&gateway, 0.1).await;
    relink("../b.yaml", &link);
    takes_up(&gateway, 0.2).await;
    // The new target is watched, and the old one no longer matters.
    gateway.write("b.yaml", routing(0.3));
    takes_up(&gateway, 0.3).await;
    gateway.write("a.yaml", routing(0.4));
    gateway.replace("b.yaml", routing(0.5));
    takes_up(&gateway, 0.5).await;
}

#[tokio::test]
async fn folders_swapped_by_kubernetes_are_loaded() {
    let setup = tests::setup!();
    let config = setup.folder().join("config");
    let version = |name: &str, fraction| {
        fs::create_dir(config.join(name)).expect("a new folder");
        fs::write(config.join(name).join("routing.yaml"), routing(fraction)).expect("a file");
        fs::write(config.join(name).join("models.yaml"), models()).expect("a file");
    };
    version("..v1", 0.1);
    symlink("..v1", config.join("..data")).expect("a link");
    for file in ["models.yaml", "routing.yaml"] {
        symlink(Path::new("..data").join(file), config.join(file)).expect("a link");
    }
    let gateway = setup.start();
    takes_up(&gateway, 0.1).await;
    for (old, new, fraction) in [("..v1", "..v2", 0.2), ("..v2", "..v3", 0.3)] {
        version(new, fraction);
        relink(new, &config.join("..data"));
        fs::remove_dir_all(config.join(old)).expect("the folder of before");
        takes_up(&gateway, fraction).await;
    }
    assert_eq!((gateway.reloads("loaded").await, gateway.reloads("refused").await), (2, 0));
}

#[tokio::test]
async fn linked_or_recreated_folder_is_loaded() {
    let setup = tests::setup!().models(models()).arg("--routing").arg("current/routing.yaml");
    for (folder, fraction) in [("v1", 0.1), ("v2", 0.2)] {
        fs::create_dir(setup.folder().join(folder)).expect("a new folder");
        fs::write(setup.folder().join(folder).join("routing.yaml"), routing(fraction))
            .expect("a file");
    }
    let link = setup.folder().join("current");
    symlink("v1", &link).expect("a link");
    let gateway = setup.start();
    takes_up(&gateway, 0.1).await;
    relink("v2", &link);
    takes_up(&gateway, 0.2).await;
    gateway.write("v2/routing.yaml", routing(0.3));
    takes_up(&gateway, 0.3).await;
    fs::remove_dir_all(gateway.path("v2")).expect("the folder");
    refused(&gateway, "").await;
    fs::create_dir(gateway.path("v2")).expect("the folder again");
    gateway.write("v2/routing.yaml", routing(0.4));
    takes_up(&gateway, 0.4).await;
}

#[tokio::test]
async fn a_half_written_file_never_takes_effect() {
    let gateway = tests::setup!().models(models()).routing(routing(0.6)).start();
    let whole = routing(0.1);
    // Cut inside a list: the first half alone is invalid.
    let half = whole.rfind("m]").expect("a list");
    gateway.write("config/routing.yaml", &whole[..half]);
    refused(&gateway, "").await;
    assert_eq!(gateway.weights("m").await["local-1"], 0.6);
    let mut file = fs::OpenOptions::new().append(true).open(gateway.path("config/routing.yaml"));
    let rest = &whole.as_bytes()[half..];
    std::io::Write::write_all(file.as_mut().expect("the file"), rest).expect("space");
    gateway.loaded_since(0).await;
    takes_up(&gateway, 0.1).await;
    assert_eq!(gateway.refusal().await, "");
}

#[tokio::test]
async fn deleted_file_is_refused_only_where_named() {
    let setup = tests::setup!().models(models()).routing(routing(0.6));
    let gateway = setup.env("ROUTING_CONFIG", "config/routing.yaml").start();
    let file = gateway.path("config/routing.yaml");
    fs::remove_file(&file).expect("the file");
    refused(&gateway, "routing.yaml").await;
    assert_eq!(gateway.weights("m").await["local-1"], 0.6);
    fs::write(&file, routing(0.1)).expect("a new file");
    takes_up(&gateway, 0.1).await;
    fs::remove_file(gateway.path("config/models.yaml")).expect("the file");
    refused(&gateway, "models.yaml").await;
    assert_eq!(gateway.weights("m").await["local-1"], 0.1);

    let gateway = tests::setup!().models(models()).routing(routing(0.6)).start();
    let file = gateway.path("config/routing.yaml");
    fs::remove_file(&file).expect("the file");
    let name = async || gateway.routing().await["strategy"]["name"].clone();
    gateway.loaded_since(0).await;
    assert_eq!(name().await, "models.yaml");
    assert_eq!(gateway.refusal().await, "");
    fs::write(&file, routing(0.1)).expect("a new file");
    takes_up(&gateway, 0.1).await;
}

#[tokio::test]
async fn pipes_and_devices_block_nothing() {
    let gateway = tests::setup!().models(models()).routing(routing(0.6)).start();
    // Opening a pipe blocks until someone writes to it.
    let fifo = gateway.path("pipe.wasm");
    let (mode, dev) = (rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, dev)
        .expect("a pipe");
    for odd in ["./pipe.wasm", "/dev/zero"] {
        let text = routing(0.1).replace("strategy: fixed", &format!("strategy: {odd}"));
        gateway.replace("config/routing.yaml", text);
        refused(&gateway, "not a regular file").await;
        gateway.replace("config/routing.yaml", routing(0.2));
        takes_up(&gateway, 0.2).await;
        gateway.replace("config/routing.yaml", routing(0.6));
        takes_up(&gateway, 0.6).await;
    }
}
