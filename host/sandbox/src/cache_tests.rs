#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;
use wasmtime::Config;

use super::*;

/// Digests of two components. The cache does not check their form.
const ONE: &str = "1111";
const OTHER: &str = "2222";

/// A cache with the machine code of [`ONE`].
struct Kept {
    folder: TempDir,
    cache: Cache,
    engine: Engine,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("a/b"));
        let kept = Self { folder, cache, engine: Engine::default() };
        kept.keep();
        assert!(kept.is_found());
        kept
    }

    fn keep(&self) {
        self.cache.keep(&self.engine, ONE, &code(&self.engine));
    }

    fn is_found(&self) -> bool {
        self.cache.find(&self.engine, ONE).is_some()
    }

    fn file(&self) -> PathBuf {
        self.cache.folder.join(name(&self.engine, ONE))
    }
}

fn code(engine: &Engine) -> Vec<u8> {
    engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_kept_is_for_its_owner_alone() {
    let kept = Kept::new();
    assert_eq!(mode(&kept.file()), 0o600);
    assert_eq!(mode(&kept.cache.folder), 0o700);
    assert_eq!(mode(&kept.folder.path().join("a")), 0o700);
    assert_eq!(fs::read_dir(&kept.cache.folder).unwrap().count(), 1);
}

#[test]
fn what_was_changed_is_not_used_and_is_replaced() {
    let kept = Kept::new();
    let good = fs::read(kept.file()).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [good.as_slice(), b"x"].concat();
    let sealed = [seal("x", b"y").as_slice(), b"y"].concat();
    let cut = |length: usize| good[..length].to_vec();
    let (middle, end) = (good.len() / 2, good.len() - 1);
    for changed in [
        Vec::new(),
        cut(SUM - 1),
        cut(SUM),
        cut(middle),
        cut(end),
        flipped(0),
        flipped(SUM),
        flipped(middle),
        flipped(end),
        longer,
        sealed,
    ] {
        fs::write(kept.file(), &changed).unwrap();
        assert!(!kept.is_found(), "{} bytes", changed.len());
        kept.keep();
        assert!(kept.is_found());
    }
}

/// The file passes the checks of the cache. Wasmtime must still refuse it.
#[test]
fn what_is_whole_but_no_machine_code_is_not_used() {
    let kept = Kept::new();
    kept.cache.write(&name(&kept.engine, ONE), b"not machine code").unwrap();
    assert!(!kept.is_found());
}

#[test]
fn one_component_is_not_taken_for_another() {
    let kept = Kept::new();
    assert!(kept.cache.find(&kept.engine, OTHER).is_none());
    fs::copy(kept.file(), kept.cache.folder.join(name(&kept.engine, OTHER))).unwrap();
    assert!(kept.cache.find(&kept.engine, OTHER).is_none());
}

#[test]
fn machine_code_for_other_settings_is_not_used() {
    let kept = Kept::new();
    let other = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    assert!(kept.cache.find(&other, ONE).is_none());
    let same = Engine::default();
    assert!(kept.cache.find(&same, ONE).is_some());
}

#[test]
fn where_others_can_write_nothing_is_read_or_written() {
    let kept = Kept::new();
    let (file, above) = (kept.file(), kept.folder.path().join("a"));
    let begun = fs::read(&file).unwrap();
    for (path, ours) in [(&file, 0o600), (&kept.cache.folder, 0o700), (&above, 0o700)] {
        for open in [ours | 0o020, ours | 0o002, 0o777] {
            set_mode(path, open);
            assert!(!kept.is_found(), "{} {open:o}", path.display());
            if path != &file {
                fs::write(&file, "").unwrap();
                kept.keep();
                assert_eq!(fs::read(&file).unwrap(), b"", "{} {open:o}", path.display());
                fs::write(&file, &begun).unwrap();
            }
        }
        set_mode(path, ours);
        assert!(kept.is_found());
    }
    // Others may read it.
    set_mode(&kept.cache.folder, 0o755);
    set_mode(&file, 0o644);
    assert!(kept.is_found());
    // A new file takes the place of one that others could write to.
    set_mode(&file, 0o666);
    kept.keep();
    assert_eq!(mode(&file), 0o600);
    assert!(kept.is_found());
}

/// In a sticky folder others can add files but not replace ours. To the cache itself nobody may add
/// any.
#[test]
fn the_folder_above_may_be_like_tmp_and_the_cache_may_not() {
    let kept = Kept::new();
    set_mode(&kept.folder.path().join("a"), 0o1777);
    assert!(kept.is_found());
    set_mode(&kept.cache.folder, 0o1777);
    assert!(!kept.is_found());
}

#[test]
fn what_belongs_to_somebody_else_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("passed over: only root can give files away");
        return;
    }
    let kept = Kept::new();
    let above = kept.folder.path().join("a");
    for path in [&kept.file(), &kept.cache.folder, &above] {
        chown(path, Some(65_534), None).unwrap();
        assert!(!kept.is_found(), "{}", path.display());
        chown(path, Some(0), None).unwrap();
        assert!(kept.is_found());
    }
}

#[test]
fn a_linked_file_is_not_used_and_a_linked_folder_is_as_good_as_where_it_leads() {
    let kept = Kept::new();
    let elsewhere = kept.folder.path().join("elsewhere");
    fs::rename(kept.file(), &elsewhere).unwrap();
    symlink(&elsewhere, kept.file()).unwrap();
    assert!(!kept.is_found());
    fs::rename(&elsewhere, kept.file()).unwrap();

    let link = kept.folder.path().join("link");
    symlink(&kept.cache.folder, &link).unwrap();
    let linked = Cache::at(link);
    assert!(linked.find(&kept.engine, ONE).is_some());
    set_mode(&kept.folder.path().join("a"), 0o777);
    assert!(linked.find(&kept.engine, ONE).is_none());
}

#[test]
fn a_folder_that_cannot_be_made_is_done_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let engine = Engine::default();
    for place in [file.join("cache"), file, "/proc/cache".into()] {
        let cache = Cache::at(place);
        cache.keep(&engine, ONE, &code(&engine));
        assert!(cache.find(&engine, ONE).is_none());
    }
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let kept = Kept::new();
    let long_ago = SystemTime::now() - 100 * MARKED;
    let old = |name: String, age: u32| {
        let file = File::create(kept.cache.folder.join(name)).unwrap();
        file.set_modified(long_ago - age * MARKED).unwrap();
    };
    (0..MOST_FILES as u32 - 1).for_each(|age| old(format!("{age:03}{KEPT}"), age));
    old(format!("x{UNFINISHED}"), 1_000);
    old("somebody-else's".to_owned(), 2_000);
    File::open(kept.file()).unwrap().set_modified(long_ago - 500 * MARKED).unwrap();
    assert!(kept.is_found(), "the read marks the file as used");
    kept.cache.tidy(&[], true);
    assert!(kept.is_found());
    let left = fs::read_dir(&kept.cache.folder).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left.len(), MOST_FILES + 1);
    assert_eq!(left[0], format!("000{KEPT}").as_str());
    assert_eq!(left[MOST_FILES], "somebody-else's");
}

#[test]
fn files_in_use_are_never_removed() {
    let kept = Kept::new();
    let used: Vec<_> = (0..2 * MOST_FILES).map(|n| (n.to_string(), kept.engine.clone())).collect();
    for (digest, engine) in &used {
        let file = File::create(kept.cache.folder.join(name(engine, digest))).unwrap();
        file.set_modified(SystemTime::now() - 1_000 * MARKED).unwrap();
    }
    let count = || fs::read_dir(&kept.cache.folder).unwrap().count();
    kept.cache.tidy(&used, true);
    assert_eq!(count(), used.len() + 1);
    // A load that failed has not named everything it uses.
    kept.cache.tidy(&[], false);
    assert_eq!(count(), used.len());
    assert!(kept.is_found());
    kept.cache.tidy(&[], true);
    assert_eq!(count(), MOST_FILES);
}

#[test]
fn the_users_own_folder_is_where_such_folders_are() {
    let of = |caches: &str, home: &str| {
        let value = |name: &str| match name {
            "XDG_CACHE_HOME" => Some(caches),
            "HOME" => Some(home),
            _ => None,
        };
        let cache = Cache::of_user(|name| value(name).filter(|v| !v.is_empty()).map(Into::into));
        cache.map(|cache| cache.folder.display().to_string())
    };
    assert_eq!(of("/c", "/h").as_deref(), Some("/c/gateway"));
    assert_eq!(of("", "/h").as_deref(), Some("/h/.cache/gateway"));
    assert_eq!(of("relative", "/h").as_deref(), Some("/h/.cache/gateway"));
    assert_eq!(of("", "relative"), None);
    assert_eq!(of("", ""), None);
}
