//! The files of a new project, embedded in this binary.

use clap::ValueEnum;

use componentize::CONTRACTS;

use super::ports::Ports;
use super::sdk;

/// The contract that the templates are written for: its path in a project.
const CONTRACT: &str = "wit/0.3.0-draft/routing.wit";

/// A language with templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum Language {
    /// Built by cargo
    Rust,
    /// Built by componentize-py
    Python,
    /// Built by componentize-qjs
    #[value(alias = "js")]
    Javascript,
    /// Built by clang
    C,
    /// Built by Zig
    Zig,
}

/// The note on Python in the README of a project.
const PYTHON: &str = "
The component contains Python: 18 MB, which the gateway compiles for some 12 seconds, once for each build. So
`try/routing.yaml` has a `sandbox`, and your own `routing.yaml` needs it too. `time.time()` and `random` are faults:
use `now` of `wit_world.imports.clock` and `draw` of `wit_world.imports.chance`.";

/// The note on JavaScript in the README of a project.
const JAVASCRIPT: &str = "
The component contains its engine, QuickJS: 1 MB. There is no `fetch`, no `setTimeout`, and nothing of Node.";

/// A file of a project: its path in the project, and its content.
pub(super) type File = (&'static str, Vec<u8>);

/// The choices that select and fill templates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Project<'a> {
    /// The strategy's name.
    pub(super) name: &'a str,
    pub(super) language: Language,
    /// True if the strategy is asked for each request.
    pub(super) request: bool,
    /// True if the strategy learns how attempts ended. Only Rust has templates for it.
    pub(super) learning: bool,
    /// Where `try/` has engines and a gateway.
    pub(super) ports: Ports,
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../../templates/strategy/", $path))
    };
}

macro_rules! generated {
    ($path:literal) => {
        include_str!(concat!("../../../templates/strategy/c/generated/", $path))
    };
}

impl Project<'_> {
    /// All files of the project, each once.
    pub(super) fn files(self) -> Vec<File> {
        let mut files: Vec<File> = [
            (".gitignore", template!("all/gitignore")),
            ("README.md", template!("all/README.md")),
            ("fixtures.yaml", self.fixtures()),
            ("try/models.yaml", template!("all/models.yaml")),
            ("try/routing.yaml", template!("all/routing.yaml")),
        ]
        .into_iter()
        .chain(self.sources().iter().copied())
        .map(|(path, template)| (path, self.fill(template).into_bytes()))
        .collect();
        let (_, contract) = CONTRACTS[0];
        files.push((CONTRACT, contract.into()));
        match self.language {
            Language::Rust => {
                let sdk = [sdk::MANIFEST].into_iter().chain(sdk::SOURCES.iter().copied());
                files.extend(sdk.map(|(path, text)| (path, text.into())));
            }
            Language::C => {
                files.extend(bindings(self.request).map(|(path, text)| (path, text.into())));
            }
            Language::Python | Language::Javascript | Language::Zig => {}
        }
        files
    }

    /// The files of its language alone.
    fn sources(self) -> &'static [(&'static str, &'static str)] {
        match self.language {
            Language::Rust if self.learning => &[
                ("Cargo.toml", template!("rust/Cargo.toml")),
                ("build.sh", template!("rust/build.sh")),
                ("src/lib.rs", template!("rust/learning/lib.rs")),
            ],
            Language::Rust => &[
                ("Cargo.toml", template!("rust/Cargo.toml")),
                ("build.sh", template!("rust/build.sh")),
                ("src/lib.rs", template!("rust/src/lib.rs")),
            ],
            Language::Python => &[
                ("build.sh", template!("python/build.sh")),
                ("requirements.txt", template!("python/requirements.txt")),
                ("policy.py", template!("python/policy.py")),
            ],
            Language::Javascript => &[
                ("build.sh", template!("javascript/build.sh")),
                ("package.json", template!("javascript/package.json")),
                ("policy.js", template!("javascript/policy.js")),
            ],
            Language::C => {
                &[("build.sh", template!("c/build.sh")), ("policy.c", template!("c/policy.c"))]
            }
            Language::Zig => &[
                ("build.sh", template!("zig/build.sh")),
                ("policy.zig", template!("zig/policy.zig")),
                ("strategy.zig", template!("zig/strategy.zig")),
            ],
        }
    }

    fn fixtures(self) -> &'static str {
        match self.learning {
            true => template!("rust/learning/fixtures.yaml"),
            false => template!("all/fixtures.yaml"),
        }
    }

    fn world(self) -> &'static str {
        match (self.request, self.learning) {
            (false, false) => "strategy",
            (true, false) => "request-strategy",
            (false, true) => "learning-strategy",
            (true, true) => "learning-request-strategy",
        }
    }

    /// Selects the blocks of a template and inserts its values.
    ///
    /// A line `{{request}}` begins a block for strategies that are asked for each request. A line
    /// `{{plain}}` begins a block for the others. A line `{{end}}` ends either.
    fn fill(self, template: &str) -> String {
        let [local, remote, gateway] = self.ports.texts();
        let values = [
            ("{{contract}}", CONTRACT),
            ("{{local}}", &local),
            ("{{remote}}", &remote),
            ("{{port}}", &gateway),
            ("{{install}}", self.language.install()),
            ("{{limits}}", self.language.limits()),
            ("{{note}}", self.language.note()),
            ("{{sandbox}}", self.language.sandbox()),
            ("{{source}}", self.language.source()),
            ("{{world}}", self.world()),
            ("{{name}}", self.name),
        ];
        let (mut text, mut kept) = (String::with_capacity(template.len()), true);
        for line in template.lines() {
            match line {
                "{{request}}" => kept = self.request,
                "{{plain}}" => kept = !self.request,
                "{{end}}" => kept = true,
                _ if kept => {
                    let fill = |line: String, (key, value): (&str, &str)| line.replace(key, value);
                    let filled = values.into_iter().fold(line.to_owned(), fill);
                    // A line that becomes empty is left out.
                    if line.is_empty() || !filled.is_empty() {
                        text.push_str(&filled);
                        text.push('\n');
                    }
                }
                _ => {}
            }
        }
        text
    }
}

impl Language {
    /// The source file with the decision.
    fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Python => "policy.py",
            Self::Javascript => "policy.js",
            Self::C => "policy.c",
            Self::Zig => "policy.zig",
        }
    }

    /// The command that installs the build's tools on an empty machine.
    fn install(self) -> &'static str {
        match self {
            Self::Rust => {
                "sudo apt-get install curl gcc; curl -sSf https://sh.rustup.rs | sh       # unless there is Rust"
            }
            Self::Python => {
                "sudo apt-get install python3 python3-venv     # or any other Python from 3.10 on"
            }
            Self::Javascript => {
                "sudo apt-get install nodejs npm               # or any other Node from 18 on"
            }
            Self::C => "sudo apt-get install clang lld wasi-libc libclang-rt-dev-wasm32",
            Self::Zig => {
                "sudo apt-get install python3 python3-venv     # unless there is Zig 0.17: build.sh installs it from PyPI"
            }
        }
    }

    /// A note for the README on strategies in this language.
    fn note(self) -> &'static str {
        match self {
            Self::Rust | Self::C | Self::Zig => "",
            Self::Javascript => JAVASCRIPT,
            Self::Python => PYTHON,
        }
    }

    /// Lines of `routing.yaml` without which the gateway refuses the component.
    fn sandbox(self) -> &'static str {
        match self {
            Self::Rust | Self::Javascript | Self::C | Self::Zig => "",
            Self::Python => {
                "sandbox: {component_mib: 32, compile_timeout: 120}     # the component contains Python"
            }
        }
    }

    /// The same limits as flags of the commands that try a component.
    fn limits(self) -> &'static str {
        match self {
            Self::Rust | Self::Javascript | Self::C | Self::Zig => "",
            Self::Python => " --component-mib 32 --compile-timeout 120",
        }
    }
}

/// The C bindings of the project's world. `generated/make` generates them with wit-bindgen.
fn bindings(request: bool) -> [(&'static str, &'static str); 2] {
    let (source, header) = match request {
        false => (generated!("strategy/strategy.c"), generated!("strategy/strategy.h")),
        true => {
            (generated!("request-strategy/strategy.c"), generated!("request-strategy/strategy.h"))
        }
    };
    [("bindings/strategy.c", source), ("bindings/strategy.h", header)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projects() -> impl Iterator<Item = Project<'static>> {
        let name = "least-busy";
        let languages = Language::value_variants().iter();
        let kinds = languages.flat_map(|language| {
            [false, true].map(|request| Project {
                name,
                language: *language,
                request,
                learning: false,
                ports: Ports::free(),
            })
        });
        let (language, ports) = (Language::Rust, Ports::free());
        kinds.chain([Project { name, language, request: false, learning: true, ports }])
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for project in projects() {
            for (path, content) in project.files() {
                let text = String::from_utf8_lossy(&content);
                assert!(!text.contains("{{"), "{project:?}: {path}");
            }
        }
    }

    #[test]
    fn the_contract_is_the_newest() {
        assert_eq!(CONTRACT, format!("wit/{}/routing.wit", CONTRACTS[0].0));
    }

    #[test]
    fn every_file_is_written_once() {
        for project in projects() {
            let mut paths: Vec<_> = project.files().into_iter().map(|(path, _)| path).collect();
            paths.sort_unstable();
            assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");
            assert!(paths.contains(&project.language.source()), "{paths:?}");
        }
    }

    #[test]
    fn a_readme_is_read_in_a_minute() {
        for project in projects() {
            let files = project.files();
            let (_, readme) =
                files.iter().find(|(path, _)| *path == "README.md").expect("a README");
            let lines = readme.split(|byte| *byte == b'\n').count();
            assert!(lines < 30, "{project:?}: {lines} lines");
        }
    }
}
