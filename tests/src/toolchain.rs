//! Programs that tests use beside Rust: toolchains that build strategies, browsers, proxies.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Setup;

/// How long compiling a strategy may take that contains its language's interpreter: 20 seconds of
/// processor time in a debug build. Ends a test that hangs.
pub const COMPILING: Duration = Duration::from_secs(600);

/// The tools of a language, or another program. `tests/tools.sh` installs them.
#[derive(Debug)]
pub struct Toolchain {
    /// The language.
    pub name: &'static str,
    /// The names of the tools.
    needs: &'static str,
    /// A shell command that succeeds where it is there.
    look: &'static str,
}

/// Rust, to build for another target.
pub const RUST: Toolchain = Toolchain {
    name: "rust",
    needs: "cargo and rustup",
    look: "cargo --version && rustup --version",
};
/// Python, to install packages into environments of their own.
pub const PYTHON: Toolchain = Toolchain {
    name: "python",
    needs: "python3 with venv",
    look: "python3 -c 'import ensurepip, venv'",
};
/// Node, to install packages.
pub const NODE: Toolchain = Toolchain {
    name: "node",
    needs: "node (18 or newer) and npm",
    look: "node -e 'fetch' && npm --version",
};
/// A C compiler and linker for WebAssembly.
pub const CLANG: Toolchain = Toolchain {
    name: "c",
    needs: "clang, lld and wasi-libc",
    look: "echo '#include <stdlib.h>' | clang --target=wasm32-wasi -x c -fsyntax-only - && \
           wasm-ld --version",
};
/// Python, to install Zig from PyPI.
pub const ZIG: Toolchain = Toolchain { name: "zig", ..PYTHON };
/// A browser.
pub(crate) const CHROMIUM: Toolchain =
    Toolchain { name: "chromium", needs: "chromium", look: "command -v chromium" };
/// A proxy. Its folder is in the path of root alone.
pub(crate) const NGINX: Toolchain =
    Toolchain { name: "nginx", needs: "nginx", look: "PATH=$PATH:/usr/sbin nginx -v" };

impl Toolchain {
    /// Whether this machine has it. If not, prints that, and fails in CI.
    ///
    /// # Panics
    /// Where it is missing and `CI` is set.
    #[must_use]
    pub fn is_here(&self) -> bool {
        let mut look = Command::new("sh");
        look.args(["-c", self.look]).stdout(Stdio::null()).stderr(Stdio::null());
        let here = look.status().is_ok_and(|status| status.success());
        if !here {
            assert!(std::env::var_os("CI").is_none(), "{} is not installed", self.needs);
            eprintln!("passed over: it needs {}, which is not installed", self.needs);
        }
        here
    }

    /// Builds a strategy with the `build.sh` in its folder, and gives the component, `NAME.wasm`.
    /// None: the toolchain is not installed. `gateway` is the binary that [`gateway!`](crate::gateway)
    /// names.
    ///
    /// # Panics
    /// Where it cannot be built.
    #[must_use]
    pub fn build(&self, gateway: &str, folder: &Path, name: &str) -> Option<Vec<u8>> {
        self.build_with(None, gateway, folder, name)
    }

    /// Like [`build`](Self::build), with one more folder of programs at the end of `PATH`.
    ///
    /// # Panics
    /// Where it cannot be built.
    #[must_use]
    pub fn build_with(
        &self,
        tools: Option<&Path>,
        gateway: &str,
        folder: &Path,
        name: &str,
    ) -> Option<Vec<u8>> {
        if !self.is_here() {
            return None;
        }
        let mut build = Command::new("sh");
        build.arg(folder.join("build.sh")).env("GATEWAY", gateway);
        if let Some(tools) = tools {
            let path = std::env::var("PATH").unwrap_or_default();
            build.env("PATH", format!("{path}:{}", tools.display()));
        }
        let output = build.output().expect("a shell");
        let [said, errors] =
            [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        assert!(output.status.success(), "{}: {said}\n{errors}", folder.display());
        Some(std::fs::read(folder.join(format!("{name}.wasm"))).expect("a component"))
    }
}

/// Runs `gateway strategy test` on a component. Its fixtures must pass and its answers must be
/// usable; its speed does not count, because the machine may be busy.
///
/// # Panics
/// Where that does not go well.
pub fn try_out(setup: Setup, component: &Path, more: &[&str]) {
    let arguments = ["--component-mib", "32", "--compile-timeout", "600", "--fleets", "10"];
    let setup = setup.arg("strategy").arg("test").arg(component);
    let setup = arguments.iter().chain(more).fold(setup, |setup, argument| setup.arg(argument));
    let output = setup.output_within(COMPILING);
    let [said, errors] =
        [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    let (fixtures, checks) = said.split_once("checks on").unwrap_or_default();
    assert!(fixtures.contains("  ok "), "no fixtures: {said}{errors}");
    assert!(!fixtures.contains("FAILED"), "{said}");
    assert!(checks.contains("  ok      answers have the right lengths"), "{said}");
}
